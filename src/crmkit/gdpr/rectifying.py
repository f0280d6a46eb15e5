"""Putting a profile right because the person asked (GDPR Art. 16), and the log of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from crmkit.customers import changing, records
from crmkit.errors import InvalidInput
from crmkit.gdpr import auditing
from crmkit.model import Customer, Rectification, entry_of
from crmkit.model.document import canonical, text
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_ON_ITS_OWN = frozenset({"tenant", "id", "created_at", "updated_at"})
_EMPTY: tuple[object, ...] = (None, (), {}, [])


@attrs.frozen
class Rectified:
    """What a rectification did.

    `corrected` fields had held something else, `completed` ones nothing. `tell` are the
    recipients who must hear of it (GDPR Art. 19), as the settings name them; None where they
    name none. `rectification` is the fact, None where all was right before.
    """

    customer: Customer
    rectification: Rectification | None
    corrected: tuple[str, ...]
    completed: tuple[str, ...]
    tell: tuple[str, ...] | None


def difference(before: Customer, after: Customer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the fields that differ, before and after, without what is empty."""
    names = [
        name
        for name in entry_of(Customer).names
        if name not in _ON_ITS_OWN and getattr(before, name) != getattr(after, name)
    ]
    old, new = (
        records.plain({n: v for n in names if (v := getattr(of, n)) not in _EMPTY})
        for of in (before, after)
    )
    return _filled(old), _filled(new)


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in _EMPTY}


class Rectifying:
    """Corrects profiles of one tenant's customers, and tells what was corrected."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def rectify(
        self,
        customer_id: str,
        changes: Mapping[str, Any],
        reason: str,
        actor: str | None,
        at: datetime | str | None,
        key: str | None,
    ) -> Rectified:
        """Change the profile, and store who did it, why, and what was there before."""
        moment = self._rt.at(at)
        why = text(reason, field="reason", limit=500)
        if why is None:
            raise InvalidInput("expected some text", field="reason")
        who = None if actor is None else text(actor, field="actor", limit=200)
        if isinstance(changes, Mapping) and "tags" in changes:
            raise InvalidInput("use crm.customers.tag and .untag", field="tags")
        asked = changing.read(self._rt, customer_id, changes)
        content = canonical([asked.content, why, who, stated(at)])
        call = Call.of(self._rt, "gdpr.rectify", key, content)
        fact_id = self._rt.new_id()

        def work(uow: UnitOfWork) -> Rectified:
            asked.lock(uow, self._rt)
            customer = self._rt.customer(uow, customer_id, lock=True)
            origin = self._rt.whose(uow, customer_id, customer.id).origin
            seen = call and call.claim(
                uow, self._rt, customer_id=customer.id, result_id=fact_id, origin=origin
            )
            if seen:
                return self._done(customer, uow.get(Rectification, seen.result_id or ""))
            changed = asked.apply(uow, self._rt, customer, moment, origin)
            before, after = difference(customer, changed)
            if not before and not after:
                return self._done(changed, None)
            fact = Rectification(
                tenant=self._rt.tenant,
                id=fact_id,
                customer_id=customer.id,
                before=before,
                after=after,
                reason=why,
                actor=who,
                occurred_at=moment,
                recorded_at=self._rt.now(),
                origin=origin,
            )
            uow.add(fact)
            auditing.note(
                uow, self._rt, "rectify", customer_id, {"fields": sorted({*before, *after})}
            )
            return self._done(changed, fact)

        return self._rt.write(work)

    def of(self, customer_id: str) -> tuple[Rectification, ...]:
        """What was put right of a customer, in order."""
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            return tuple(uow.find(Rectification, customer_id=holder, order=("occurred_at", "id")))

    def _done(self, customer: Customer, fact: Rectification | None) -> Rectified:
        before = fact.before if fact else {}
        names = sorted({*before, *fact.after} if fact else ())
        return Rectified(
            customer,
            fact,
            corrected=tuple(n for n in names if n in before),
            completed=tuple(n for n in names if n not in before),
            tell=self._rt.settings.privacy.recipients,
        )
