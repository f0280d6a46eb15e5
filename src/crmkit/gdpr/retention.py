"""`crm.gdpr.retention`: carrying policies out, notices before erasures, and legal holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

import attrs

from crmkit.errors import InvalidInput, NotFound, unknown
from crmkit.gdpr import auditing, holds, retaining, sweeping
from crmkit.gdpr.retaining import Inactive
from crmkit.model import LegalHold, Metrics, RetentionNotice, RetentionRun
from crmkit.model.catalogue import evolved
from crmkit.model.document import text
from crmkit.model.time import instant
from crmkit.ports.events import MergeUndone
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork
from crmkit.retention import RetentionPolicy

_SKEW = timedelta(minutes=5)


@attrs.frozen
class Retained:
    """What a policy finds, or what a run has done by it: how many records, and some of their ids.

    `cutoff` is the instant until which what happened is past its time. Of activities and other
    records the sample names customers.
    """

    policy: str
    of: str
    action: str
    cutoff: datetime
    count: int = 0
    sample: tuple[str, ...] = ()


class Retention:
    """Policies of one tenant; see `Settings.retention`."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def preview(self, at: datetime | str | None = None) -> tuple[Retained, ...]:
        """What a run at that instant would do, policy by policy; nothing is changed."""
        moment = self._rt.at(at)
        return tuple(self._look(policy, moment) for policy in self._rt.settings.retention)

    def run(
        self,
        at: datetime | str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[Retained, ...]:
        """Carry the policies out as of that instant, never a later one than now.

        Some hundred records in each transaction, and each customer who is erased in one of
        their own: run it again where it was cut off. Customers under a legal hold are left
        alone. `progress` hears how many records are done.
        """
        moment = min(self._rt.at(at), self._rt.now())
        return tuple(
            self._carry_out(policy, moment, progress) for policy in self._rt.settings.retention
        )

    def run_due(self, at: datetime, progress: Callable[[int], None] | None = None) -> int:
        """Carry out what was not carried out to its end on this day; crmkit's own."""
        zone, done = self._rt.settings.zone, 0
        for policy in self._rt.settings.retention:
            with self._rt.read() as uow:
                last = uow.get(RetentionRun, policy.name)
            if last is None or not retaining.same_day(last.done_at, at, zone):
                done += self._carry_out(policy, at, progress).count
        return done

    def notices(self, at: datetime | str | None = None) -> Iterator[Inactive]:
        """Whom to tell by now that they will be erased, and who was told and is waited for.

        Tell those whose `verdict` is ``tell``, then call `noticed`.
        """
        moment = self._rt.at(at)
        for policy in self._rt.settings.retention:
            if policy.notice is not None:
                for found in sweeping.inactive(self._rt, policy, moment):
                    if found.verdict in ("tell", "wait"):
                        yield found

    def noticed(
        self, customer_id: str, policy: str, *, at: datetime | str | None = None
    ) -> RetentionNotice:
        """Record that a customer was told. They are erased once the notice has run out.

        Whatever the person does in between calls it off.
        """
        known = {p.name: p for p in self._rt.settings.retention if p.notice is not None}
        if not isinstance(policy, str) or policy not in known:
            raise InvalidInput(unknown("policy with a notice", policy, known), field="policy")
        checked_id(customer_id)
        moment = self._past(at)

        def work(uow: UnitOfWork) -> RetentionNotice:
            customer = self._rt.customer(uow, customer_id, lock=True)
            fact = RetentionNotice(
                tenant=self._rt.tenant,
                id=self._rt.new_id(),
                customer_id=customer.id,
                policy=policy,
                occurred_at=moment,
                recorded_at=self._rt.now(),
                origin=self._rt.whose(uow, customer_id, customer.id).origin,
            )
            uow.add(fact)
            auditing.note(uow, self._rt, "notice", customer_id, {"policy": policy})
            return fact

        return self._rt.write(work)

    def hold(
        self,
        customer_id: str,
        *,
        reason: str,
        actor: str | None = None,
        until: datetime | str | None = None,
    ) -> LegalHold:
        """Let nothing of a customer be erased, for a claim at law (GDPR Art. 17(3)(e)).

        It stands for good, or until that instant, unless `release` ends it: policies leave the
        customer alone, and `erase` raises `OnHold`.
        """
        why = text(reason, field="reason", limit=500)
        if why is None:
            raise InvalidInput("expected some text", field="reason")
        who = None if actor is None else text(actor, field="actor", limit=200)
        end = None if until is None else instant(until, field="until")
        checked_id(customer_id)
        now = self._rt.now()

        def work(uow: UnitOfWork) -> LegalHold:
            customer = self._rt.customer(uow, customer_id, lock=True)
            uow.hold(Metrics, [customer.id])  # what is being anonymised comes first
            made = LegalHold(
                tenant=self._rt.tenant,
                id=self._rt.new_id(),
                customer_id=customer.id,
                reason=why,
                actor=who,
                occurred_at=now,
                recorded_at=now,
                until=end,
                origin=self._rt.whose(uow, customer_id, customer.id).origin,
            )
            uow.add(made)
            auditing.note(uow, self._rt, "hold", customer_id)
            return made

        return self._rt.write(work)

    def release(self, hold_id: str) -> LegalHold:
        """End a legal hold; raises `NotFound`."""
        return self._rt.write(partial(self._release, hold_id=checked_id(hold_id)))

    def _release(self, uow: UnitOfWork, hold_id: str) -> LegalHold:
        found = uow.get(LegalHold, hold_id, lock=True)
        if found is None:
            raise NotFound("no such legal hold")
        if found.released_at is None:
            found = evolved(found, released_at=self._rt.now())
            uow.put(found)
            auditing.note(uow, self._rt, "release", found.customer_id)
        return found

    def holds(self, customer_id: str | None = None) -> tuple[LegalHold, ...]:
        """The legal holds that stand now, of all customers or of one."""
        with self._rt.read() as uow:
            if customer_id is None:
                found = uow.find(LegalHold)
            else:
                found = uow.find(LegalHold, customer_id=self._rt.customer(uow, customer_id).id)
        now = self._rt.now()
        return tuple(hold for hold in found if holds.stands(hold, now))

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Let holds of while two were one stand for each of them; crmkit's own."""
        holds.on_undone(uow, self._rt, event)

    def _past(self, at: datetime | str | None) -> datetime:
        moment = self._rt.at(at)
        if moment > self._rt.now() + _SKEW:
            raise InvalidInput("nobody can have been told in the future", field="at")
        return moment

    def _empty(self, policy: RetentionPolicy, at: datetime) -> Retained:
        edge = retaining.cutoff(policy, at, self._rt.settings.zone)
        return Retained(policy.name, policy.of, policy.action, edge)

    def _look(self, policy: RetentionPolicy, at: datetime) -> Retained:
        found = self._empty(policy, at)
        for batch in sweeping.batches(self._rt, policy, at):
            found = _more(found, batch.count, batch.customers)
        return found

    def _carry_out(
        self, policy: RetentionPolicy, at: datetime, progress: Callable[[int], None] | None
    ) -> Retained:
        found = self._empty(policy, at)
        for batch in sweeping.batches(self._rt, policy, at):
            found = _more(found, batch.carry_out(), batch.customers)
            if progress:
                progress(found.count)
        done = RetentionRun(tenant=self._rt.tenant, policy=policy.name, done_at=at)
        told = {"policy": policy.name, "count": found.count}

        def work(uow: UnitOfWork) -> None:
            uow.put(done)
            if found.count:
                auditing.note(uow, self._rt, "retention", details=told)

        self._rt.write(work)
        return found


def _more(found: Retained, count: int, customers: tuple[str, ...]) -> Retained:
    return attrs.evolve(
        found,
        count=found.count + count,
        sample=retaining.sample(customers, found.sample) if count else found.sample,
    )
