"""`crm.activities`: recording what happened, the timeline, and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from crmkit.activities import payload as payloads
from crmkit.activities.stories import NOTHING, advance, effect, fold
from crmkit.config import Kind
from crmkit.errors import IdempotencyConflict, InvalidInput, unknown
from crmkit.model import Activity, Metrics, Page
from crmkit.model.document import canonical
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import from_micros, iso, to_micros
from crmkit.ports.events import ActivityRecorded
from crmkit.ports.idempotency import Call
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork


class Activities:
    """Facts about customers, and the metrics folded from them."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
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

        `payload` may hold anything; crmkit reads `amount` (major units), `currency`,
        `status`, `party_size`, `item`, `venue`, and the host's id of the booking or order
        as `booking_id`, `order_id`, `ticket_id` or `reference`. Facts with one reference
        belong together: a cancellation or refund takes back what its booking added.

        With `key`, the same call again returns the first activity. Raises `InvalidInput`
        naming the path, `NotFound`, `Erased` and `IdempotencyConflict`.
        """
        spec = self._kinds.get(str(kind))
        if spec is None:
            raise InvalidInput(unknown("activity kind", kind, self._kinds), field="kind")
        read = payloads.read(spec, payload, self._rt.settings)
        now, identifier = self._rt.now(), self._rt.new_id()
        fact = Activity(
            tenant=self._rt.tenant,
            id=identifier,
            customer_id=checked_id(customer_id),
            kind=spec.name,
            occurred_at=now if at is None else self._rt.at(at),
            recorded_at=now,
            amount_minor=read.amount_minor,
            currency=read.currency,
            story=self._story(customer_id, read) or identifier,
            status=read.status,
            reference=read.reference,
            item=read.item,
            venue=read.venue,
            payload=read.document,
        )
        call = None
        if key is not None:
            when = None if at is None else iso(fact.occurred_at)
            call = Call.of(
                self._rt, "activities.track", key, canonical([spec.name, when, read.document])
            )
        return self._rt.write(lambda uow: self._record(uow, fact, call))

    def _story(self, customer_id: str, read: payloads.Payload) -> str | None:
        if read.reference is None:
            return None
        told = f"{customer_id}:{read.reference_name}:{read.reference}"
        return self._rt.fingerprint("story", told)

    def _record(self, uow: UnitOfWork, fact: Activity, call: Call | None) -> Activity:
        customer_id = fact.customer_id or ""
        metrics = uow.get(Metrics, customer_id, lock=True)
        if metrics is None:
            raise self._rt.missing(uow, customer_id)
        if call:
            seen = call.claim(uow, self._rt, customer_id=customer_id, result_id=fact.id)
            if seen:
                return self._replayed(uow, seen.result_id or "", customer_id)
        story: Sequence[Activity] = ()
        if fact.reference:
            story = uow.find(Activity, story=fact.story, order=("id",))
        uow.add(fact)
        before = effect(story, self._kinds) if story else NOTHING
        advanced = advance(metrics, before, effect([*story, fact], self._kinds))
        uow.put(advanced or self._folded(uow, customer_id))
        self._rt.events.publish(uow, ActivityRecorded(fact, story))
        return fact

    def _replayed(self, uow: UnitOfWork, activity_id: str, customer_id: str) -> Activity:
        earlier = uow.get(Activity, activity_id)
        if earlier is None or earlier.customer_id != customer_id:
            raise IdempotencyConflict("this key was used before for another customer")
        return earlier

    def _folded(self, uow: UnitOfWork, customer_id: str) -> Metrics:
        facts = uow.stream(Activity, customer_id=customer_id, order=("occurred_at", "id"))
        return fold(self._rt.tenant, customer_id, facts, self._kinds)

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
            if isinstance(kinds, str) or not isinstance(kinds, Iterable):
                raise InvalidInput("expected a list of kinds", field="kinds")
            equal["kind"] = wanted = tuple(kinds)
            for kind in wanted:
                if not isinstance(kind, str) or kind not in self._kinds:
                    raise InvalidInput(unknown("activity kind", kind, self._kinds), field="kinds")
        with self._rt.read() as uow:
            self._rt.customer(uow, customer_id)
            found = uow.find(
                Activity,
                order=("occurred_at", "id"),
                descending=True,
                after=start and (from_micros(start[0]), start[1]),
                limit=limit + 1,
                **equal,
            )
        return paged(found, limit, lambda a: (to_micros(a.occurred_at), a.id))

    def metrics(self, customer_id: str) -> Metrics:
        """The customer's counts, sums and dates."""
        with self._rt.read() as uow:
            found = uow.get(Metrics, checked_id(customer_id))
            if found is None:
                raise self._rt.missing(uow, customer_id)
            return found

    def rebuild(
        self,
        customer_id: str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Recompute metrics from the activities, for one customer or for all.

        Each customer is a transaction of its own. `progress` hears how many are done;
        returns how many metrics were wrong.
        """
        if customer_id is not None:
            return int(self._rebuild(checked_id(customer_id)))
        wrong = done = 0
        after: tuple[str, ...] | None = None
        while True:
            with self._rt.read() as uow:
                page = uow.find(Metrics, after=after, limit=500)
            for metrics in page:
                wrong += self._rebuild(metrics.customer_id, must_exist=False)
                done += 1
                if progress:
                    progress(done)
            if len(page) < 500:
                return wrong
            after = (page[-1].customer_id,)

    def _rebuild(self, customer_id: str, *, must_exist: bool = True) -> bool:
        def work(uow: UnitOfWork) -> bool:
            cached = uow.get(Metrics, customer_id, lock=True)
            if cached is None:
                if must_exist:
                    raise self._rt.missing(uow, customer_id)
                return False
            folded = self._folded(uow, customer_id)
            if folded == cached:
                return False
            uow.put(folded)
            return True

        return self._rt.write(work)
