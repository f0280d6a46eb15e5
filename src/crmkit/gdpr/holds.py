"""Legal holds: who may not be erased, and whose records no policy touches."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from crmkit.model import LegalHold
from crmkit.ports.storage import UnitOfWork


def stands(hold: LegalHold, at: datetime) -> bool:
    """Whether the hold stands at that instant."""
    if hold.occurred_at > at or (hold.released_at is not None and hold.released_at <= at):
        return False
    return hold.until is None or at < hold.until


def standing(uow: UnitOfWork, customers: Collection[str], at: datetime) -> frozenset[str]:
    """Those of the customers for whom a legal hold stands."""
    found = uow.find(LegalHold, customer_id=tuple(sorted(customers))) if customers else []
    return holders(found, at)


def holders(holds: Iterable[LegalHold], at: datetime) -> frozenset[str]:
    """The customers of the holds that stand."""
    return frozenset(hold.customer_id for hold in holds if stands(hold, at))
