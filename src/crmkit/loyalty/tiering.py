"""Tiers as they are stored: kept with what qualifies, told when time has changed them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from crmkit.loyalty import tiers
from crmkit.loyalty.accounts import Posted
from crmkit.loyalty.tiers import Step
from crmkit.model import (
    Metrics,
    PointsAccount,
    PointsEntry,
    ProgrammeVersion,
    TierGrant,
    TierPeriod,
)
from crmkit.model.catalogue import evolved
from crmkit.model.money import digits
from crmkit.model.time import FOREVER
from crmkit.ports.events import TierChanged, TierExpiring
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme

_BEHIND = "~"
"""Behind every programme's name."""
_ENTRY = ("customer_id", "lot_id", "story", "qualifying", "occurred_at")


def follow(
    uow: UnitOfWork, rt: Runtime, programme: Programme, posted: Mapping[str, Posted]
) -> None:
    """Let the tiers follow entries that were posted."""
    touched = [
        customer_id
        for customer_id, change in posted.items()
        if _may_move(programme, change, 10 ** digits(rt.settings.currency))
    ]
    if touched:
        retier(uow, rt, programme, touched)


def _may_move(programme: Programme, change: Posted, minor: int) -> bool:
    """Whether any tier at any instant may be another than before.

    Of all that ever came, entries that all add, or all take, change nothing but what is
    beyond the last instant that was known, and there only if another tier is reached.
    """
    news = [e for e in change.news if e.qualifying]
    if not news:
        return False
    policy = programme.policy
    if policy.window_days or policy.calendar or policy.grace_days or policy.review:
        return True
    since = change.before.since
    late = any(since is not None and e.occurred_at < since for e in news)
    mixed = len({e.qualifying > 0 for e in news}) > 1
    if late or mixed:
        return True
    unit = minor if policy.by == "spend" else 1
    starts = [start * unit for start in programme.starts]
    before, after = change.before.qualifying, change.after.qualifying
    return bisect_right(starts, before) != bisect_right(starts, after)


def retier(uow: UnitOfWork, rt: Runtime, programme: Programme, customers: Collection[str]) -> int:
    """Reckon the tiers of customers anew, who are held; returns how many changed."""
    now, changed = rt.now(), 0
    kept: list[TierPeriod] = []
    for customer_id, stored, right in reckoned(uow, rt, programme, customers):
        marked = _marked(right, stored, programme, now)
        if marked == stored:
            continue
        changed += 1
        for gone in {p.since for p in stored} - {p.since for p in marked}:
            uow.remove(TierPeriod, customer_id=customer_id, programme=programme.name, since=gone)
        kept += [p for p in marked if p not in stored]
        _tell(uow, rt, programme, customer_id, stored, marked)
    uow.put_many(kept)
    return changed


def reckoned(
    uow: UnitOfWork, rt: Runtime, programme: Programme, customers: Collection[str]
) -> Iterator[tuple[str, list[TierPeriod], list[TierPeriod]]]:
    """Of each of these customers the tiers that are kept, and those that the facts tell."""
    ids = tuple(sorted(customers))
    of: dict[str, Any] = {"customer_id": ids, "programme": programme.name}
    steps = qualified(uow, of)
    grants: dict[str, list[TierGrant]] = defaultdict(list)
    for grant in uow.find(TierGrant, **of):
        grants[grant.customer_id].append(grant)
    stored: dict[str, list[TierPeriod]] = defaultdict(list)
    for period in uow.find(TierPeriod, order=("customer_id", "since"), **of):
        stored[period.customer_id].append(period)
    for customer_id in ids:
        right = tiers.periods(
            steps[customer_id],
            grants[customer_id],
            programme,
            rt.settings,
            tenant=rt.tenant,
            customer_id=customer_id,
        )
        yield customer_id, stored[customer_id], right


def plain(period: TierPeriod) -> TierPeriod:
    """A period without what is yet to be told of it."""
    return evolved(period, tell_at=None, warn_at=None)


def qualified(uow: UnitOfWork, of: Mapping[str, Any]) -> Mapping[str, list[Step]]:
    """What qualifies of these customers' entries.

    What is taken back counts from when it was earned that it takes back.
    """
    rows = [row for row in uow.rows(PointsEntry, _ENTRY, **of) if row[3]]
    since: dict[Any, datetime] = {}
    for _, lot_id, story, _, at in rows:
        place = lot_id or story
        since[place] = min(at, since.get(place, at))
    steps: dict[str, list[Step]] = defaultdict(list)
    for customer_id, lot_id, story, amount, at in rows:
        steps[customer_id].append(Step(at, amount, since[lot_id or story]))
    return steps


def _marked(
    right: Sequence[TierPeriod],
    stored: Iterable[TierPeriod],
    programme: Programme,
    now: datetime,
) -> list[TierPeriod]:
    """The periods with what is yet to be told of them; of those that stay, as it was."""
    known = {plain(p): p for p in stored}
    notice = timedelta(days=programme.policy.notice_days)
    found: list[TierPeriod] = []
    for n, period in enumerate(right):
        if period in known:
            found.append(known[period])
            continue
        falls = period.until != FOREVER and (n + 1 == len(right) or right[n + 1].rank < period.rank)
        found.append(
            evolved(
                period,
                tell_at=period.since if period.since > now else None,
                warn_at=period.until - notice if falls and period.until > now else None,
            )
        )
    return found


def _tell(
    uow: UnitOfWork,
    rt: Runtime,
    programme: Programme,
    customer_id: str,
    before: Sequence[TierPeriod],
    after: Sequence[TierPeriod],
) -> None:
    now = rt.now()
    was, _ = tiers.rank_at(before, now)
    rank, _ = tiers.rank_at(after, now)
    if rank == was:
        return
    current = next((p for p in after if p.since <= now < p.until), None)
    at = current.since if current else max((p.until for p in after if p.until <= now), default=now)
    cause = current.cause if current else "lowered"
    name = programme.tiers[rank].name
    rt.events.publish(uow, TierChanged(customer_id, programme.name, name, rank, cause, at))


def tell_due(uow: UnitOfWork, rt: Runtime, now: datetime, limit: int) -> int:
    """Tell of tiers that time has changed, and of those that are about to be lost."""
    changed = uow.due(TierPeriod, "tell_at", now, limit=limit)
    for period in changed:
        rt.events.publish(
            uow,
            TierChanged(
                period.customer_id,
                period.programme,
                period.tier,
                period.rank,
                period.cause,
                period.since,
            ),
        )
    told = [evolved(period, tell_at=None) for period in changed]
    uow.put_many(told)
    warned = uow.due(TierPeriod, "warn_at", now, limit=limit)
    for period in warned:
        if period.until > now:
            rt.events.publish(
                uow,
                TierExpiring(period.customer_id, period.programme, period.tier, period.until),
            )
    uow.put_many(evolved(period, warn_at=None) for period in warned)
    return len(changed) + len(warned)


def note(uow: UnitOfWork, rt: Runtime, programme: Programme) -> ProgrammeVersion:
    """The configuration that applies, remembered; the tiers have yet to follow a new one."""
    versions = uow.find(ProgrammeVersion, programme=programme.name)
    last = max(versions, key=lambda v: (v.since, v.version == programme.version), default=None)
    if last is not None and last.version == programme.version:
        return last
    version = ProgrammeVersion(
        tenant=rt.tenant,
        programme=programme.name,
        version=programme.version,
        document=programme.document(),
        since=rt.now(),
    )
    uow.put(version)
    return version


def note_once(uow: UnitOfWork, rt: Runtime, programme: Programme) -> None:
    """`note`, the first time that this process posts something by a configuration."""
    known = rt.memory.setdefault("programmes", set())
    mark = (rt.tenant, programme.name, programme.version)
    if mark not in known:
        note(uow, rt, programme)
        known.add(mark)  # should this unit of work be undone, `run_due` notes it


def recount_some(uow: UnitOfWork, rt: Runtime, programme: Programme, limit: int) -> int:
    """Let the tiers of some customers follow a new configuration: how many; 0 when all do."""
    version = note(uow, rt, programme)
    if version.recounted_at is not None:
        return 0
    after = (version.recounted_to, _BEHIND) if version.recounted_to else None
    found = uow.rows(
        PointsAccount, ("customer_id",), programme=programme.name, after=after, limit=limit
    )
    ids = [row[0] for row in found]
    if ids:
        retier(uow, rt, programme, uow.hold(Metrics, ids))
    recounted_at = rt.now() if len(ids) < limit else None
    to = ids[-1] if ids else version.recounted_to
    uow.put(evolved(version, recounted_to=to, recounted_at=recounted_at))
    return len(ids)
