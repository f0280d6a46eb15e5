"""What is carried on of activities that were anonymised: numbers are these and the rest's fold.

That is exact: numbers are sums, firsts and lasts over stories, and stories go whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from crmkit.activities.metrics import Folded
from crmkit.model import Carried, Counter, Metrics, entry_of
from crmkit.model.catalogue import evolved, gathered
from crmkit.model.time import from_micros, to_micros
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

R = TypeVar("R", Metrics, Counter)

_WHOSE: Final = ("tenant", "customer_id")


def with_carried(told: Folded, gone: Iterable[Folded]) -> Folded:
    """What facts say, with what others had said before they went."""
    metrics = told.metrics
    counters = {(c.dimension, c.value): c for c in told.counters}
    for one in gone:
        metrics = gathered(metrics, one.metrics)
        for counter in one.counters:
            place = counter.dimension, counter.value
            known = counters.get(place)
            counters[place] = counter if known is None else gathered(known, counter)
    ordered = sorted(counters.values(), key=lambda c: (c.dimension, c.fingerprint))
    return Folded(metrics, ordered)


def carried(uow: UnitOfWork, customer_id: str) -> list[Folded]:
    """What is carried on of a customer."""
    return [unpacked(row) for row in uow.find(Carried, customer_id=customer_id)]


def had_ended(gone: Folded, at: datetime) -> bool:
    """Whether all of it had happened by an instant."""
    last = gone.metrics.last_activity_at
    return last is None or last <= at


def carry(
    uow: UnitOfWork,
    rt: Runtime,
    customer_id: str,
    origin: str | None,
    more: Folded,
    last_sign_at: datetime | None,
) -> None:
    """Carry on what further facts had said of a customer, of that side of their merges."""
    known = uow.find(Carried, customer_id=customer_id, origin=origin, limit=1)
    row = known[0] if known else Carried(
        tenant=rt.tenant, id=rt.new_id(), customer_id=customer_id, origin=origin
    )  # fmt: skip
    whole = with_carried(unpacked(row), [more])
    signs = [at for at in (row.last_sign_at, last_sign_at) if at is not None]
    uow.put(
        evolved(
            row,
            numbers=_packed(whole.metrics),
            counters=tuple(map(_packed, whole.counters)),
            last_sign_at=max(signs, default=None),
        )
    )


def unpacked(row: Carried) -> Folded:
    """The numbers of a row."""
    return Folded(
        _unpacked(Metrics, row, row.numbers), [_unpacked(Counter, row, c) for c in row.counters]
    )


def _packed(numbers: Metrics | Counter) -> dict[str, Any]:
    entry = entry_of(type(numbers))
    told = zip(entry.names, entry.values(numbers), strict=True)
    return {
        name: to_micros(value) if isinstance(value, datetime) else value
        for name, value in told
        if name not in _WHOSE and value not in (None, 0, "")
    }


def _unpacked(kind: type[R], row: Carried, document: Mapping[str, Any]) -> R:
    values = dict(document)
    for column in entry_of(kind).columns:
        if column.type is datetime and column.name in values:
            values[column.name] = from_micros(values[column.name])
    return kind(tenant=row.tenant, customer_id=row.customer_id, **values)
