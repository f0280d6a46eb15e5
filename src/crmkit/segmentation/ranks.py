"""Keeping the numbers that watched segments rank customers by, and where each top begins.

Locks are taken in this order: customers, then their metrics, then the ranks. Who only asks
where a top begins shares the ranks with others; who moves a boundary, or a number over one,
or brings a number in, has them alone until the transaction ends. So an answer that was given
by a cut-off is stored before the cut-off moves, and whom a moved one passes can be asked
without holding them: nobody else asks about a segment that ranks meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from crmkit.model import Cutoff, Metrics, PointsAccount, Rank
from crmkit.model.rule import Top
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation.asking import places
from crmkit.segmentation.fields import Source, find
from crmkit.segmentation.ranking import Boundary, Miscounted, counted, passed, settled
from crmkit.segmentation.subjects import AT_ONCE

_NAME = "ranks of segments"
_FEW = 4
"""A move seldom passes more."""
_FIRST = ""
"""Before every id."""

Step = tuple[int, int]
"""What somebody's number was, and what it is."""


class Outdated(Exception):
    """There are tops that the caller does not know of: segments were changed meanwhile."""


@attrs.frozen
class Standing:
    """Where each top begins now, and for whom that has just changed: least and greatest number.

    A top that is not there yet has still to be built.
    """

    cutoffs: Mapping[Top, int | None]
    passed: Mapping[Top, tuple[int, int]] = attrs.field(factory=dict)


def followed(
    uow: UnitOfWork,
    rt: Runtime,
    tops: Iterable[Top],
    customers: Sequence[str] = (),
    *,
    gone: str | None = None,
) -> Standing:
    """Take in the numbers of these customers, as they are by now, and move the cut-offs.

    The customers are held; `gone` is one of them who takes part no longer. Raises `Outdated` before
    anything is stored, with the ranks held.
    """
    named = {_id(top): top for top in tops}
    steps = _steps(uow, rt, {_field(top) for top in named.values()}, customers, gone=gone)
    known = _locked(uow, rt, named, steps)
    if not steps:
        return Standing({top: known[id_].value for id_, top in named.items() if id_ in known})
    _store(uow, steps)
    cutoffs: dict[Top, int | None] = {}
    moves: dict[Top, tuple[int, int]] = {}
    for id_, top in named.items():
        before = known.get(id_)
        if before is None:
            continue
        after = _counted(top, before, steps[_field(top)].values())
        if after != before:
            after = _settled(uow, top, after)
            uow.put(_row(rt, top, after))
            known[id_] = after
        cutoffs[top] = after.value
        if between := passed(top, before.value, after.value):
            moves[top] = between
    return Standing(cutoffs, moves)


def between(uow: UnitOfWork, top: Top, edges: tuple[int, int]) -> Iterator[list[str]]:
    """Who has a number from the one to the other, a page at a time."""
    least, greatest = edges
    after: tuple[int, str] = (least, _FIRST)
    limit = _FEW
    while True:
        page = _ranks(uow, _field(top), after, limit)
        inside = [r.customer_id for r in page if r.value <= greatest]
        if inside:
            yield inside
        if len(inside) < limit:
            return
        limit = AT_ONCE
        after = (page[-1].value, page[-1].customer_id)


# --- building ---


def unfilled(uow: UnitOfWork, tops: Iterable[Top]) -> frozenset[str]:
    """The fields by which nobody was ranked until now."""
    return frozenset(map(_field, tops)) - {c.field for c in uow.find(Cutoff)}


def fill(uow: UnitOfWork, rt: Runtime, fields: Iterable[str], after: str | None) -> str | None:
    """Take in the numbers of a page of customers; who was the last, if there are more."""
    edge = None if after is None else (after,)
    page = [row[0] for row in uow.rows(Metrics, ("customer_id",), after=edge, limit=AT_ONCE)]
    held = sorted(uow.hold(Metrics, page))
    if held:
        _store(uow, _steps(uow, rt, {*fields}, held))
    return page[-1] if len(page) == AT_ONCE else None


def alone(uow: UnitOfWork) -> None:
    """Have the ranks alone until the unit of work ends."""
    uow.lock([_NAME])


def begin(uow: UnitOfWork, rt: Runtime, tops: Iterable[Top]) -> None:
    """Find where each top begins, once the numbers of its field are there."""
    for top in tops:
        uow.put(_row(rt, top, _found(uow, top)))


def forget(uow: UnitOfWork, tops: Iterable[Top]) -> None:
    """Keep the cut-offs of these, and the numbers that they rank by, and no others."""
    kept = {_id(top): _field(top) for top in tops}
    surplus = [c for c in uow.find(Cutoff) if c.id not in kept]
    for row in surplus:
        uow.remove(Cutoff, id=row.id)
    for field in {c.field for c in surplus} - {*kept.values()}:
        uow.remove(Rank, field=field)


def _settled(uow: UnitOfWork, top: Top, known: Boundary) -> Boundary:
    try:
        return settled(top, known, _Seeks(uow, _field(top)))
    except Miscounted:  # part of a backup was restored, say
        return _found(uow, top)


def _found(uow: UnitOfWork, top: Top) -> Boundary:
    """The boundary, counted from its end; who is beyond it is read a page at a time."""
    field = _field(top)
    population = uow.count(Rank, field=field)
    if not population:
        return Boundary()
    k = min(places(top, population), population)
    value, above = 0, 0
    for n, number in enumerate(islice(_from_the_end(uow, top), k)):
        if number != value:
            value, above = number, n
    reached = above + uow.count(Rank, field=field, value=value)
    return Boundary(value, above, reached, population)


def _from_the_end(uow: UnitOfWork, top: Top) -> Iterator[int]:
    after: tuple[int, str] | None = None
    while page := _ranks(uow, _field(top), after, AT_ONCE, descending=not top.bottom):
        yield from (row.value for row in page)
        after = (page[-1].value, page[-1].customer_id)


# --- the rows ---


@attrs.frozen
class _Seeks:
    """The numbers of a field in their order: each question is one seek in an index."""

    uow: UnitOfWork
    field: str

    def nearest(self, value: int, *, up: bool) -> int | None:
        """See `ranking.Seeks`."""
        edge = (value, _FIRST)
        if not up:
            edge = (value + 1, _FIRST) if value < 2**63 - 1 else None  # type: ignore[assignment]
        found = _ranks(self.uow, self.field, edge, 1, descending=not up)
        return found[0].value if found else None

    def holders(self, value: int) -> int:
        """See `ranking.Seeks`."""
        return self.uow.count(Rank, field=self.field, value=value)


def _ranks(
    uow: UnitOfWork,
    field: str,
    after: tuple[int, str] | None,
    limit: int,
    *,
    descending: bool = False,
) -> list[Rank]:
    order = ("value", "customer_id")
    return uow.find(Rank, field=field, order=order, after=after, limit=limit, descending=descending)


def _field(top: Top) -> str:
    return find(top.field).name


def _id(top: Top) -> str:
    many = f"{top.percent}m%" if top.count is None else str(top.count)
    return f"{'bottom' if top.bottom else 'top'} {many} {_field(top)}"


def _row(rt: Runtime, top: Top, of: Boundary) -> Cutoff:
    return Cutoff(
        tenant=rt.tenant,
        id=_id(top),
        field=_field(top),
        value=of.value,
        above=of.above,
        reached=of.reached,
        population=of.population,
    )


def _boundaries(uow: UnitOfWork) -> dict[str, Boundary]:
    rows = uow.find(Cutoff)
    return {c.id: Boundary(c.value, c.above, c.reached, c.population) for c in rows}


def _counted(top: Top, known: Boundary, steps: Iterable[Step]) -> Boundary:
    for old, new in steps:
        known = counted(top, known, old, new)
    return known


def _locked(
    uow: UnitOfWork, rt: Runtime, named: Mapping[str, Top], steps: Mapping[str, Mapping[str, Step]]
) -> dict[str, Boundary]:
    """The boundaries, with the ranks held: alone if one of them is touched."""
    place = (_NAME, rt.tenant)
    # Where they were last seen only tells how to lock: to begin shared and then want the
    # ranks alone is to wait for whoever does the same.
    seen: Mapping[str, Boundary] | None = rt.memory.get(place)
    alone = bool(steps) and (seen is None or _touched(named, seen, steps))
    uow.lock([_NAME], shared=not alone)
    known = _boundaries(uow)
    if not alone and _touched(named, known, steps):
        uow.lock([_NAME])
        known = _boundaries(uow)
    rt.memory[place] = known
    if known.keys() - named.keys():
        raise Outdated
    return known


def _touched(
    named: Mapping[str, Top],
    known: Mapping[str, Boundary],
    steps: Mapping[str, Mapping[str, Step]],
) -> bool:
    if not steps:
        return False
    return any(
        counted(top, known[id_], old, new) != known[id_]
        for id_, top in named.items()
        if id_ in known
        for old, new in steps[_field(top)].values()
    )


def _steps(
    uow: UnitOfWork,
    rt: Runtime,
    fields: set[str],
    customers: Sequence[str],
    *,
    gone: str | None = None,
) -> dict[str, dict[str, Step]]:
    """By field and customer, where a number has changed."""
    steps: dict[str, dict[str, Step]] = defaultdict(dict)
    for first in range(0, len(customers), AT_ONCE):
        some = tuple(customers[first : first + AT_ONCE])
        old = {
            (field, customer_id): value
            for customer_id, field, value in uow.rows(
                Rank, ("customer_id", "field", "value"), customer_id=some, field=tuple(fields)
            )
        }
        new = _numbers(uow, rt, fields, tuple(c for c in some if c != gone))
        for key in {**old, **new}:
            was, now = old.get(key, 0), max(new.get(key, 0), 0)
            if was != now:
                field, customer_id = key
                steps[field][customer_id] = (was, now)
    return steps


def _numbers(
    uow: UnitOfWork, rt: Runtime, fields: Iterable[str], customers: tuple[str, ...]
) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    of = sorted(fields)
    points = {"programme": rt.settings.programme.name}
    read_from: tuple[tuple[type, Source, Mapping[str, Any]], ...] = (
        (Metrics, Source.METRICS, {}),
        (PointsAccount, Source.LOYALTY, points),
    )
    for kind, source, of_it in read_from:
        mine = [f for f in of if find(f).source is source]
        if not mine or not customers:
            continue
        read = ("customer_id", *(find(f).attribute for f in mine))
        for customer_id, *values in uow.rows(kind, read, customer_id=customers, **of_it):
            found |= {(f, customer_id): v for f, v in zip(mine, values, strict=True)}
    return found


def _store(uow: UnitOfWork, steps: Mapping[str, Mapping[str, Step]]) -> None:
    for field, of in steps.items():
        if len(of) == 1 and all(new for _, new in of.values()):  # mostly; it costs less
            ((customer_id, (_, value)),) = of.items()
            uow.put(Rank(tenant=uow.tenant, customer_id=customer_id, field=field, value=value))
            continue
        lost = tuple(c for c, (_, new) in of.items() if not new)
        if lost:
            uow.remove(Rank, field=field, customer_id=lost)
        uow.put_many(
            Rank(tenant=uow.tenant, customer_id=c, field=field, value=new)
            for c, (_, new) in sorted(of.items())
            if new
        )
