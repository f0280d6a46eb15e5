"""`crm.gdpr.consents`: what customers said about being contacted; facts, never edited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from crmkit.customers.profile import ConsentState
from crmkit.errors import InvalidInput
from crmkit.model import Consent, Merge
from crmkit.model.document import canonical, text
from crmkit.ports.events import ConsentChanged, ConsentStated, CustomersMerged, MergeUndone
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork

CHANNELS = ("email", "sms", "push", "whatsapp", "phone")


def state(facts: Iterable[Consent]) -> ConsentState:
    """What stands after these facts: for each purpose and channel, the latest word.

    Of two words at one instant the withdrawal stands.
    """
    ordered = sorted(facts, key=lambda c: (c.occurred_at, not c.granted, c.id))
    granted = {(c.purpose, c.channel): bool(c.granted) for c in ordered}
    return ConsentState(granted, ordered[-1].occurred_at if ordered else None)


def revived(
    one: Sequence[Consent], other: Sequence[Consent]
) -> list[tuple[tuple[str, str], datetime]]:
    """What either had withdrawn and the latest word of both would grant, and that word's time."""
    sides, united = (state(one), state(other)), state([*one, *other])
    return [
        (key, max(f.occurred_at for f in (*one, *other) if (f.purpose, f.channel) == key))
        for key, granted in united.granted.items()
        if granted and any(side.granted.get(key) is False for side in sides)
    ]


def _carried(merge: Merge) -> str:
    """The source of what a merge withdraws."""
    return f"merge {merge.id}"


_SKEW = timedelta(minutes=5)


def _check_past(at: datetime, now: datetime) -> None:
    # A word from the future would outlive every withdrawal until then.
    if at > now + _SKEW:
        raise InvalidInput("nobody can have agreed or refused in the future", field="consent.at")


class Consents:
    """Consents of one tenant's customers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def give(
        self,
        customer_id: str,
        channel: str,
        *,
        source: str,
        purpose: str = "marketing",
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Consent:
        """Record that the customer agreed; `source` says where, such as ``"booking form"``."""
        where = text(source, field="source", limit=200)
        if where is None:
            raise InvalidInput("consent needs its source", field="source")
        return self._say(customer_id, purpose, channel, True, where, at, key)

    def withdraw(
        self,
        customer_id: str,
        channel: str,
        *,
        purpose: str = "marketing",
        source: str = "unknown",
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Consent:
        """Record that the customer no longer agrees; as easy as giving (GDPR Art. 7(3))."""
        where = text(source, field="source", limit=200) or "unknown"
        return self._say(customer_id, purpose, channel, False, where, at, key)

    def state(self, customer_id: str) -> ConsentState:
        """What stands; nothing is consented by default."""
        with self._rt.read() as uow:
            return self.standing(uow, self._rt.customer(uow, customer_id).id)

    def history(self, customer_id: str) -> tuple[Consent, ...]:
        """All that was said, in order."""
        with self._rt.read() as uow:
            found = uow.find(
                Consent,
                customer_id=self._rt.customer(uow, customer_id).id,
                order=("occurred_at", "id"),
            )
        return tuple(found)

    def standing(self, uow: UnitOfWork, customer_id: str) -> ConsentState:
        """What stands, inside a unit of work that is under way."""
        return state(uow.find(Consent, customer_id=customer_id))

    def on_stated(self, uow: UnitOfWork, event: ConsentStated) -> None:
        """Record what was said while a customer was found or created, unless it is on record."""
        _check_past(event.at, self._rt.now())
        for fact in uow.find(Consent, customer_id=event.customer_id):
            same = (fact.purpose, fact.channel, fact.granted)
            if same == (event.purpose, event.channel, event.granted) and (
                fact.occurred_at == event.at
            ):
                return
        uow.add(
            self._fact(
                Whose(event.customer_id, event.origin, event.customer_id),
                event.purpose,
                event.channel,
                event.granted,
                event.source,
                event.at,
            )
        )
        self._rt.events.publish(uow, ConsentChanged(event.customer_id, event.at))

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Let what either side had withdrawn stay withdrawn, until the next word of the person."""
        merge, tenant = event.merge, self._rt.tenant
        facts = uow.find(Consent, customer_id=merge.kept_id)
        dropped = [fact for fact in facts if fact.origin in event.dropped_side]
        kept = [fact for fact in facts if fact.origin not in event.dropped_side]
        uow.add_many(
            Consent(
                tenant=tenant,
                id=self._rt.new_id(),
                customer_id=merge.kept_id,
                purpose=purpose,
                channel=channel,
                granted=False,
                event="withdrawn",
                source=_carried(merge),
                occurred_at=max(since, merge.recorded_at),
                recorded_at=merge.recorded_at,
            )
            for (purpose, channel), since in revived(kept, dropped)
        )

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Take back what the merge itself had withdrawn."""
        both = (event.merge.customer_id, event.merge.dropped_id)
        uow.remove(Consent, customer_id=both, source=_carried(event.merge))

    def _say(
        self,
        customer_id: str,
        purpose: str,
        channel: str,
        granted: bool,
        source: str,
        at: datetime | str | None,
        key: str | None,
    ) -> Consent:
        if channel not in CHANNELS:
            raise InvalidInput(f"expected one of {', '.join(CHANNELS)}", field="channel")
        meant = text(purpose, field="purpose", limit=100)
        if meant is None:
            raise InvalidInput("expected some text", field="purpose")
        checked_id(customer_id)
        call = Call.of(
            self._rt,
            "consents",
            key,
            canonical([meant, channel, granted, source, stated(at)]),
        )
        moment = self._rt.at(at)
        _check_past(moment, self._rt.now())

        def work(uow: UnitOfWork) -> Consent:
            customer = self._rt.customer(uow, customer_id, lock=True)
            whose = self._rt.whose(uow, customer_id, customer.id)
            fact = self._fact(whose, meant, channel, granted, source, moment)
            seen = call and call.claim(
                uow, self._rt, customer_id=customer.id, result_id=fact.id, origin=whose.origin
            )
            if seen and seen.result_id:
                return uow.get(Consent, seen.result_id) or fact
            uow.add(fact)
            self._rt.events.publish(uow, ConsentChanged(customer.id, moment))
            return fact

        return self._rt.write(work)

    def _fact(
        self,
        whose: Whose,
        purpose: str,
        channel: str,
        granted: bool,
        source: str,
        at: datetime,
    ) -> Consent:
        return Consent(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            customer_id=whose.customer_id,
            purpose=purpose,
            channel=channel,
            granted=granted,
            event="given" if granted else "withdrawn",
            source=source,
            occurred_at=at,
            recorded_at=self._rt.now(),
            origin=whose.origin,
        )
