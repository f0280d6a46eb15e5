"""Who is only stored and nothing else (GDPR Art. 18); read inside a unit of work."""

from __future__ import annotations

from collections.abc import Iterable

from crmkit.model import Restriction
from crmkit.ports.storage import UnitOfWork


def restricted_among(uow: UnitOfWork, customer_ids: Iterable[str]) -> frozenset[str]:
    """Those of these customers whose data is only stored."""
    ids = tuple(customer_ids)
    if not ids:
        return frozenset()
    found = uow.rows(Restriction, ("customer_id",), customer_id=ids, lifted_at=None)
    return frozenset(customer_id for (customer_id,) in found)


def all_restricted(uow: UnitOfWork) -> frozenset[str]:
    """Everybody whose data is only stored; few, so that a run may know them all."""
    return frozenset(c for (c,) in uow.stream_rows(Restriction, ("customer_id",), lifted_at=None))
