"""What retention decides: what is past its time, and who is to be told or erased; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import attrs

from crmkit.model import Consent, RetentionNotice
from crmkit.model.time import Duration
from crmkit.retention import RetentionPolicy

Verdict: TypeAlias = Literal["keep", "tell", "wait", "erase"]


def cutoff(policy: RetentionPolicy, at: datetime, zone: ZoneInfo) -> datetime:
    """What happened at that instant or before is past its time."""
    return Duration.parse(policy.after, field="retention.after").before(at, zone)


@attrs.frozen
class Inactive:
    """A customer from whom nothing came for long, and what is to be done by a policy.

    `since` is when the last fact came from the person, `due_at` when they are to be erased.
    With a notice, `verdict` is ``tell`` from `tell_at` on until they were told (`noticed_at`),
    then ``wait`` until `due_at`.
    """

    customer_id: str
    policy: str
    since: datetime
    tell_at: datetime | None
    noticed_at: datetime | None
    due_at: datetime
    verdict: Verdict


def judged(
    customer_id: str,
    since: datetime,
    notices: Iterable[RetentionNotice],
    policy: RetentionPolicy,
    at: datetime,
    zone: ZoneInfo,
) -> Inactive:
    """What a policy asks for a customer; a notice counts until the person does something."""
    due = Duration.parse(policy.after).after(since, zone)
    if policy.notice is None:
        return Inactive(
            customer_id, policy.name, since, None, None, due, "erase" if due <= at else "keep"
        )
    wait = Duration.parse(policy.notice)
    tell = wait.before(due, zone)
    told = [n.occurred_at for n in notices if n.policy == policy.name and n.occurred_at >= since]
    noticed = min((t for t in told if t <= at), default=None)
    if noticed is None:
        verdict: Verdict = "tell" if tell <= at else "keep"
        return Inactive(customer_id, policy.name, since, tell, None, max(due, at), verdict)
    due = max(due, wait.after(noticed, zone))
    return Inactive(
        customer_id, policy.name, since, tell, noticed, due, "erase" if due <= at else "wait"
    )


def withdrawn(facts: Iterable[Consent], before: datetime) -> list[Consent]:
    """The facts of consents whose last word is a withdrawal of that instant or earlier.

    Of a purpose and a channel they go together, once that holds at every address, and nothing
    came after it.
    """
    words: dict[tuple[str, ...], list[Consent]] = defaultdict(list)
    for fact in facts:
        words[fact.customer_id, fact.purpose, fact.channel].append(fact)
    return [fact for said in words.values() if _is_over(said, before) for fact in said]


def _is_over(said: Sequence[Consent], before: datetime) -> bool:
    if any(fact.occurred_at > before for fact in said):
        return False
    spoken = [fact for fact in said if fact.granted is not None]
    for address in {fact.address_key for fact in said}:
        # What is about no address in particular is about all of them.
        about = [fact for fact in spoken if fact.address_key in (address, None)]
        last = max(about, key=lambda c: (c.occurred_at, not c.granted, c.id), default=None)
        if last is None or last.granted:
            return False
    return True


def latest(moments: Iterable[datetime | None], first: datetime) -> datetime:
    """The latest of these, and not earlier than the first."""
    return max([first, *(m for m in moments if m is not None)])


def same_day(one: datetime, other: datetime, zone: ZoneInfo) -> bool:
    """Whether two instants are of one day of the calendar."""
    return _day(one, zone) == _day(other, zone)


def _day(at: datetime, zone: ZoneInfo) -> date:
    return at.astimezone(zone).date()


def sample(ids: Sequence[str], known: Sequence[str], most: int = 10) -> tuple[str, ...]:
    """A few ids to look at."""
    return (*known, *ids[: most - len(known)]) if len(known) < most else tuple(known)
