"""`crm.activities`: recording what happened, the timeline, and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import attrs

from crmkit.activities import merging
from crmkit.activities.bulk import CHUNK, Item, People, Tracked, chunked, parsed
from crmkit.activities.corrections import Target, changed, refunded, spelled, standing
from crmkit.activities.drafts import Draft, draft, kinds_asked
from crmkit.activities.erased import OnErased, checked, released
from crmkit.activities.holding import Held, Unheld, hold, write
from crmkit.activities.joining import Told, placed
from crmkit.activities.metrics import Difference, Folded, differences
from crmkit.activities.payload import ITEMS, VENUES
from crmkit.activities.recording import folded, miscounted, record, recount, refold
from crmkit.activities.stories import read
from crmkit.activities.sync import RowMapping, read_row, said_again, says
from crmkit.activities.timeline import latest
from crmkit.config import Kind
from crmkit.errors import (
    CRMError,
    Erased,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    StorageError,
)
from crmkit.model import Activity, Counter, IdempotencyKey, Metrics, Page, Redirect
from crmkit.model.document import canonical, text
from crmkit.model.document import document as as_document
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import from_micros, to_micros
from crmkit.ports.events import CustomersMerged, MergeUndone, NumbersCorrected
from crmkit.ports.idempotency import Call, claim_all, earlier_of, stated
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork

_LONGEST = 100
_PAGE = 500


Work = Callable[[Sequence[Item], UnitOfWork, frozenset[str]], Tracked]
"""Records some items in one transaction; also holds those customers."""


class Activities:
    """Facts about customers, and the metrics folded from them."""

    def __init__(self, runtime: Runtime, people: People) -> None:
        self._rt = runtime
        self._people = people
        self._kinds: Mapping[str, Kind] = runtime.settings.kinds_by_name

    def track(
        self,
        customer_id: str,
        kind: str,
        payload: Mapping[str, Any] | None = None,
        *,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Activity:
        """Record that something happened; metrics and points follow in the same transaction.

        `payload` may hold anything; what crmkit understands of it is listed by kind in the
        reference. `reference`, or the host's id of the ticket, order or booking, names the
        story: a cancellation or refund with the same id takes back what its booking added.

        With `key`, the same call again returns the first activity. Raises `InvalidInput`
        naming the path, `NotFound`, `Erased` and `IdempotencyConflict`.
        """
        made = draft(self._rt, kind, payload, at, key)
        checked_id(customer_id)

        def work(uow: UnitOfWork, also: frozenset[str]) -> Activity:
            held = hold(uow, self._rt, [customer_id], made.participants, also)
            whose = held.whose(customer_id)
            (fact,), told = placed(uow, self._rt, [(made, whose)])
            whose = attrs.evolve(whose, origin=fact.origin)
            if made.call and (seen := self._claim(uow, made.call, whose, fact.id)):
                return seen
            (recorded,) = record(uow, self._rt, [fact], told, held)
            return recorded

        return write(self._rt, work)

    def _claim(self, uow: UnitOfWork, call: Call, whose: Whose, result_id: str) -> Activity | None:
        """The activity that the call led to before; None if its key is ours."""
        seen = call.claim(
            uow, self._rt, customer_id=whose.customer_id, result_id=result_id, origin=whose.origin
        )
        if seen is None:
            return None
        earlier = uow.get(Activity, seen.result_id or "")
        if earlier is None or earlier.customer_id != whose.customer_id:
            raise IdempotencyConflict("this key was used before for another customer")
        return earlier

    def track_many(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        on_erased: OnErased = "raise",
        progress: Callable[[Tracked], None] | None = None,
    ) -> Tracked:
        """Record many activities, some hundreds in each transaction, in bounded memory.

        An item is a mapping with `kind`, `payload`, `at` and `key` as in `track`, and either
        `customer_id` or `customer`: the data of a person who is found or created. An item
        that cannot be used is refused and named in the result; the others are recorded.
        Give each item a `key`: then a run that was cut off is simply run again.

        An item whose `customer_id` or `key` is of somebody who was erased is refused with
        `Erased`, with `on_erased` ``"skip"`` passed over. With ``"create"`` such a key is
        forgotten, and the `customer` of the item begins as a new person.
        """
        understood = partial(parsed, self._rt, self._people)
        return self._in_chunks(items, understood, self._record_all, checked(on_erased), progress)

    def sync(
        self,
        bookings: Iterable[Mapping[Any, Any]],
        mapping: Mapping[str, Any],
        *,
        on_erased: OnErased = "raise",
        progress: Callable[[Tracked], None] | None = None,
    ) -> Tracked:
        """Bring customers and numbers in line with bookings that are there already.

        `bookings` are rows as mappings, such as ``connection.execute(query).mappings()``;
        `mapping` says which columns are what (see `RowMapping`). A row that is new is
        recorded as of its `at`, one that has changed is said again as of its `changed_at`
        or now, and one that says nothing new changes nothing: so it may be run as often as
        you like, and again where it was cut off. A booking stays with the customer it was
        first found to be of. `on_erased` is as in `track_many`.
        """
        understood = partial(
            read_row, self._rt, self._people, RowMapping.read(mapping, self._kinds)
        )
        return self._in_chunks(bookings, understood, self._sync_all, checked(on_erased), progress)

    def _in_chunks(
        self,
        given: Iterable[object],
        understood: Callable[[int, object], Item],
        record_all: Work,
        on_erased: OnErased,
        progress: Callable[[Tracked], None] | None,
    ) -> Tracked:
        """Some hundreds in each transaction; what cannot be used is refused by itself."""

        def work(items: Sequence[Item], uow: UnitOfWork, also: frozenset[str]) -> Tracked:
            left = released(uow, items, on_erased)
            done = record_all(left, uow, also) if left else Tracked()
            return attrs.evolve(done, skipped=len(items) - len(left))

        if not isinstance(given, Iterable):
            raise InvalidInput("expected items that can be gone through")
        total = Tracked()
        for chunk in chunked(enumerate(given), CHUNK):
            refused, sound = Tracked(), list[Item]()
            for place, item in chunk:
                try:
                    sound.append(understood(place, item))
                except StorageError:
                    raise
                except CRMError as error:
                    refused += Tracked.refusal(place, error)
            found = refused + self._by_halves(sound, work, on_erased) if sound else refused
            in_order = sorted(found.refusals, key=lambda r: r.position)
            total += attrs.evolve(found, refusals=in_order)
            if progress:
                progress(total)
        return total

    def _by_halves(self, items: Sequence[Item], work: Work, on_erased: OnErased) -> Tracked:
        try:
            return write(self._rt, partial(work, items))
        except StorageError:
            raise
        except CRMError as error:
            if len(items) == 1 and on_erased == "skip" and isinstance(error, Erased):
                return Tracked(skipped=1)
            if len(items) == 1:
                return Tracked.refusal(items[0].position, error)
        # One of them cannot be recorded: looking for it by halves costs few transactions.
        half = len(items) // 2
        return self._by_halves(items[:half], work, on_erased) + self._by_halves(
            items[half:], work, on_erased
        )

    def _record_all(self, items: Sequence[Item], uow: UnitOfWork, also: frozenset[str]) -> Tracked:
        whose, held = self._owned(uow, items, also)
        facts, told = placed(uow, self._rt, self._drafted(items, whose))
        calls = [
            (i.draft.call, attrs.evolve(w, origin=fact.origin), fact.id)
            for i, w, fact in zip(items, whose, facts, strict=True)
            if i.draft.call
        ]
        earlier = claim_all(uow, self._rt, calls) if calls else []
        repeated = {call[2] for call, seen in zip(calls, earlier, strict=True) if seen}
        fresh = [fact for fact in facts if fact.id not in repeated]
        if fresh:
            record(uow, self._rt, fresh, told, held)
        return Tracked(recorded=len(fresh), repeated=len(repeated))

    def _sync_all(self, items: Sequence[Item], uow: UnitOfWork, also: frozenset[str]) -> Tracked:
        whose, held = self._owned(uow, items, also)
        facts, told = placed(uow, self._rt, self._drafted(items, whose))
        news: Told = dict(told)
        fresh: list[Activity] = []
        claims: list[tuple[Call, Whose, str]] = []
        for item, owner, fact in zip(items, whose, facts, strict=True):
            before = news.get(fact.story)
            if item.draft.call:  # also where it was tracked otherwise: from now on it stays here
                first = before[0] if before else fact
                owner = attrs.evolve(owner, origin=fact.origin)
                claims.append((item.draft.call, owner, first.id))
            if before:
                if says(read(before, self._kinds), fact):
                    continue
                fact = said_again(fact, before, item.changed_at)
            news[fact.story] = [*(before or ()), fact]
            fresh.append(fact)
        claim_all(uow, self._rt, claims)
        record(uow, self._rt, fresh, told, held)
        return Tracked(recorded=len(fresh), repeated=len(items) - len(fresh))

    def _owned(
        self, uow: UnitOfWork, items: Sequence[Item], also: frozenset[str]
    ) -> tuple[list[Whose], Held]:
        """Whose the items are, who are found or created; and who is held.

        An item whose key was used stays with the customer it was first found to be of.
        """
        known = earlier_of(uow, [i.draft.call for i in items if i.draft.call])
        owners = [item.customer_id or self._known_owner(item, known) for item in items]
        told = [
            (item.person, item.draft.occurred_at)
            for item, owner in zip(items, owners, strict=True)
            if owner is None
        ]
        found = iter(self._people.found(uow, told) if told else ())
        people = [None if owner else next(found) for owner in owners]
        asked = {p.customer_id if p else o or "" for p, o in zip(people, owners, strict=True)}
        participants = {who for item in items for who in item.draft.participants}
        held = hold(uow, self._rt, asked, participants, also)
        sides = {p.told_as: p.customer_id for p in people if p and p.told_as != p.customer_id}
        led = {r.id: r.customer_id for r in uow.find(Redirect, id=tuple(sides))} if sides else {}
        if led != sides:  # some were parted while they were waited for
            raise Unheld(frozenset(sides.values()))
        whose = [
            p if p and p.customer_id in held.there else held.whose(p.customer_id if p else o or "")
            for p, o in zip(people, owners, strict=True)
        ]
        return whose, held

    def _known_owner(self, item: Item, known: Mapping[Call, IdempotencyKey]) -> str | None:
        seen = known.get(item.draft.call) if item.draft.call else None
        return seen.customer_id if seen else None

    def _drafted(self, items: Sequence[Item], whose: Sequence[Whose]) -> list[tuple[Draft, Whose]]:
        return [(item.draft, owner) for item, owner in zip(items, whose, strict=True)]

    def void(
        self,
        activity_id: str,
        *,
        reason: str | None = None,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Activity:
        """Record that an activity never was: nothing of it counts any more.

        A refund or an amendment may be voided too, a void may not. Returns the void.
        """
        because = _because(reason)

        def said(_: Target) -> dict[str, Any]:
            return {"kind": "void", "payload": because}

        return self._correct(activity_id, "void", said, [because], at, key)

    def refund(
        self,
        activity_id: str,
        *,
        amount: object = None,
        fraction: object = None,
        reason: str | None = None,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Activity:
        """Record that money was given back: an amount, a fraction of it, or all that is left.

        Returns the refund. Raises `InvalidInput` for more than is left.
        """
        settings, because = self._rt.settings, _because(reason)

        def said(target: Target) -> dict[str, Any]:
            back = refunded(target, amount, fraction, settings)
            currency = None if back is None else settings.currency
            return {
                "kind": "refund", "amount_minor": back, "currency": currency, "payload": because,
            }  # fmt: skip

        asked = [None if v is None else spelled(v) for v in (amount, fraction)]
        return self._correct(activity_id, "refund", said, [*asked, because], at, key)

    def amend(
        self,
        activity_id: str,
        changes: Mapping[str, Any],
        *,
        reason: str | None = None,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Activity:
        """Record that keys of an activity's payload should have been others; None removes one.

        What it was about and when it happened stay: for those, void it and track it anew.
        Returns the amendment.
        """
        because = _because(reason)

        def said(target: Target) -> dict[str, Any]:
            document, kept = changed(target, changes, self._rt.settings)
            return {
                "kind": "amendment",
                "amount_minor": document.amount_minor if "amount" in kept else None,
                "currency": document.currency if "amount" in kept else None,
                "status": document.status if "status" in kept else None,
                "item": document.item if not kept.keys().isdisjoint(ITEMS) else None,
                "venue": document.venue if not kept.keys().isdisjoint(VENUES) else None,
                "payload": because | {"changes": kept},
            }

        asked = as_document(changes, field="changes") if isinstance(changes, Mapping) else {}
        return self._correct(activity_id, "amend", said, [asked, because], at, key)

    def _correct(
        self,
        activity_id: str,
        operation: str,
        said: Callable[[Target], Mapping[str, Any]],
        asked: Sequence[Any],
        at: datetime | str | None,
        key: str | None,
    ) -> Activity:
        """Store the correction that `said` makes of an activity as it stands."""
        _check_id(activity_id)
        content = canonical([activity_id, *asked, stated(at)]) if key is not None else ""
        call = Call.of(self._rt, f"activities.{operation}", key, content)
        now, identifier = self._rt.now(), self._rt.new_id()
        occurred = now if at is None else self._rt.at(at)

        def work(uow: UnitOfWork, also: frozenset[str]) -> Activity:
            owner = self._activity(uow, activity_id).customer_id or ""
            held = hold(uow, self._rt, [owner], (), also)
            target = self._activity(uow, activity_id)  # it may have moved with a merge
            customer_id = target.customer_id or ""
            if customer_id not in held.there:
                raise Unheld(frozenset({customer_id}))
            whose = Whose(customer_id, target.origin, customer_id)
            if call and (seen := self._claim(uow, call, whose, identifier)):
                return seen
            told = uow.find(Activity, story=target.story, order=("story", "id"))
            correction = Activity(
                tenant=self._rt.tenant,
                id=identifier,
                customer_id=customer_id,
                origin=target.origin,
                occurred_at=occurred,
                recorded_at=now,
                story=target.story,
                corrects=target.id,
                **said(standing(target, told, self._kinds)),
            )
            record(uow, self._rt, [correction], {target.story: told}, held)
            return correction

        return write(self._rt, work)

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Add the dropped customer's numbers to the kept one's."""
        merging.united(uow, event.merge.kept_id, event.merge.dropped_id)

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Part the numbers of the customer who is back from the other's."""
        merging.parted(uow, self._rt, event)

    def _activity(self, uow: UnitOfWork, activity_id: object) -> Activity:
        found = uow.get(Activity, _check_id(activity_id))
        if found is None:
            raise NotFound("no such activity")
        if found.customer_id is None:
            raise Erased(
                "this activity is nobody's any more: it was anonymised, or its person erased"
            )
        return found

    def get(self, activity_id: str) -> Activity:
        """An activity, as it was recorded."""
        with self._rt.read() as uow:
            return self._activity(uow, activity_id)

    def timeline(
        self,
        customer_id: str,
        *,
        kinds: Iterable[str] | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Activity]:
        """A customer's activities, the latest first, of these kinds if any are named."""
        limit, start = checked_limit(limit), position(after, (int, str))
        equal: dict[str, Any] = {"customer_id": checked_id(customer_id)}
        if kinds is not None:
            equal["kind"] = kinds_asked(kinds, self._kinds)
        with self._rt.read() as uow:
            before = start and (from_micros(start[0]), start[1])
            found = latest(uow, self._rt, equal, before=before, limit=limit + 1)
        return paged(found, limit, lambda a: (to_micros(a.occurred_at), a.id))

    def metrics(self, customer_id: str) -> Metrics:
        """The customer's counts, sums and dates."""
        with self._rt.read() as uow:
            return self._rt.metrics(uow, customer_id)

    def rebuild(
        self,
        customer_id: str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Recompute metrics, counters and occasions from the activities.

        For one customer or for all, each in a transaction of its own. `progress` hears how
        many are done; returns how many customers' numbers were wrong.
        """
        wrong = self._each(customer_id, self._rebuild, progress)
        return sum(1 for found in wrong if found)

    def verify(
        self,
        customer_id: str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[Difference, ...]:
        """Compare metrics, counters and occasions with the activities; changes nothing."""
        wrong = self._each(customer_id, self._verify, progress)
        return tuple(difference for found in wrong for difference in found)

    def _each(
        self,
        customer_id: str | None,
        check: Callable[[UnitOfWork, Metrics], Sequence[Difference]],
        progress: Callable[[int], None] | None,
    ) -> Iterator[Sequence[Difference]]:
        """Check one customer or all, each in a transaction of its own."""
        if customer_id is not None:
            yield self._checked(checked_id(customer_id), check, must_exist=True)
            return
        done, after = 0, None
        while True:
            with self._rt.read() as uow:
                page = uow.find(Metrics, after=after, limit=_PAGE)
            for metrics in page:
                yield self._checked(metrics.customer_id, check, must_exist=False)
                done += 1
                if progress:
                    progress(done)
            if len(page) < _PAGE:
                return
            after = (page[-1].customer_id,)

    def _checked(
        self,
        customer_id: str,
        check: Callable[[UnitOfWork, Metrics], Sequence[Difference]],
        *,
        must_exist: bool,
    ) -> Sequence[Difference]:
        def work(uow: UnitOfWork) -> Sequence[Difference]:
            # Held while it is read, so that nothing is recorded in between.
            if must_exist:
                return check(uow, self._rt.metrics(uow, customer_id, lock=True))
            cached = uow.get(Metrics, customer_id, lock=True)
            return () if cached is None else check(uow, cached)

        return self._rt.write(work)

    def _rebuild(self, uow: UnitOfWork, cached: Metrics) -> Sequence[Difference]:
        numbers = refold(uow, self._rt, cached)
        found = [*numbers, *recount(uow, self._rt, cached.customer_id)]
        if found:
            self._rt.events.publish(uow, NumbersCorrected(cached.customer_id))
        return found

    def _verify(self, uow: UnitOfWork, cached: Metrics) -> Sequence[Difference]:
        counters = uow.find(Counter, customer_id=cached.customer_id)
        told = folded(uow, self._rt, cached.customer_id)
        numbers = differences(Folded(cached, counters), told)
        return [*numbers, *miscounted(uow, self._rt, cached.customer_id)]


def _because(reason: str | None) -> dict[str, Any]:
    why = None if reason is None else text(reason, field="reason", limit=500)
    return {} if why is None else {"reason": why}


def _check_id(activity_id: object) -> str:
    if not isinstance(activity_id, str) or not 0 < len(activity_id) <= _LONGEST:
        raise NotFound("no such activity: expected the `id` of an activity")
    if not activity_id.isascii() or not activity_id.isprintable():
        raise NotFound("no such activity: expected the `id` of an activity")
    return activity_id
