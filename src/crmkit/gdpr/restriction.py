"""Customers whose data is only stored (GDPR Art. 18); inside a unit of work."""

from __future__ import annotations

from datetime import datetime

from crmkit.customers.restriction import all_restricted, restricted_among
from crmkit.model import Restriction
from crmkit.model.catalogue import evolved
from crmkit.ports.runtime import Runtime, Whose
from crmkit.ports.storage import UnitOfWork

__all__ = ["all_restricted", "lift", "restrict", "restricted", "restricted_among"]


def restricted(uow: UnitOfWork, customer_id: str) -> bool:
    """Whether the customer's data is only stored; by the id of now, not one merged away."""
    return bool(restricted_among(uow, [customer_id]))


def restrict(
    uow: UnitOfWork, rt: Runtime, whose: Whose, reason: str, actor: str | None, at: datetime
) -> Restriction:
    """Restrict a customer; what stands for the same reason is told again."""
    for held in uow.find(Restriction, customer_id=whose.customer_id, lifted_at=None):
        if held.reason == reason:
            return held
    made = Restriction(
        tenant=rt.tenant,
        id=rt.new_id(),
        customer_id=whose.customer_id,
        reason=reason,
        actor=actor,
        occurred_at=at,
        recorded_at=rt.now(),
        origin=whose.origin,
    )
    uow.add(made)
    return made


def lift(
    uow: UnitOfWork, rt: Runtime, customer_id: str, reason: str, actor: str | None
) -> tuple[Restriction, ...]:
    """Lift what stands."""
    standing = uow.find(Restriction, customer_id=customer_id, lifted_at=None)
    ended = tuple(
        evolved(held, lifted_at=rt.now(), lifted_because=reason, lifted_by=actor)
        for held in standing
    )
    uow.put_many(ended)
    return ended
