"""Whether a customer is only stored (GDPR Art. 18), for what must leave them alone."""

from __future__ import annotations

from crmkit.customers.restriction import all_restricted, restricted_among
from crmkit.ports.storage import UnitOfWork

__all__ = ["all_restricted", "restricted", "restricted_among"]


def restricted(uow: UnitOfWork, customer_id: str) -> bool:
    """Whether the customer's data is only stored; by the id of now, not one merged away."""
    return bool(restricted_among(uow, [customer_id]))
