"""Reading all that is held about a customer, a page at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from crmkit.errors import InvalidInput, unknown
from crmkit.gdpr import informing, portable
from crmkit.gdpr.disclosing import REASON, shown, tells
from crmkit.gdpr.export import ACCESS, KINDS, Export, Row, Withheld
from crmkit.gdpr.holders import Holders
from crmkit.gdpr.restriction import restricted
from crmkit.model import (
    Activity,
    Consent,
    Customer,
    Entry,
    Erasure,
    Money,
    Objection,
    Participation,
    Redirect,
    Segment,
    entry_of,
)
from crmkit.model.catalogue import owned
from crmkit.model.time import iso
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork

_STORIES_AT_ONCE = 500
# Long tables are read whole, and by some orders each page costs a search of its own.
_PAGE = 2_000


@attrs.frozen
class ExportSources:
    """What is not stored about a customer but told, by features that gdpr does not know."""

    segments: Callable[[UnitOfWork, str, datetime | None], Sequence[str]]
    lifetime_value: Callable[[UnitOfWork, str, datetime], Money]


def reading_order(entry: Entry) -> tuple[str, ...]:
    """An order in which an index gives an owner's rows, so that pages cost what they hold."""
    key = [f for f in entry.key[1:] if f != entry.owner]
    for index in entry.indexes:
        if index.fields[:2] == ("tenant", entry.owner):
            lead = [f for f in index.fields[2:] if not entry.column(f).optional]
            return tuple(dict.fromkeys((*lead, *key)))
    return tuple(key) or entry.key[1:]


class Exporter:
    """Copies what is held about one tenant's customers."""

    def __init__(self, runtime: Runtime, sources: ExportSources) -> None:
        self._rt = runtime
        self._sources = sources
        informing.check(runtime.settings.privacy)

    def export(self, customer_id: str, kind: str) -> Export:
        """The copy; raises `InvalidInput` for an unknown kind, and `NotFound`."""
        if kind not in KINDS:
            raise InvalidInput(unknown("kind of export", kind, KINDS), field="kind")
        read = self._access if kind == ACCESS else self._portable
        with self._rt.read() as uow:
            holder = self._rt.led(uow, checked_id(customer_id))
            erased = uow.get(Erasure, self._rt.fingerprint("erased", holder))
            blank = Export(
                customer_id=holder,
                kind=kind,
                exported_at=self._rt.now(),
                erased_at=erased.erased_at if erased else None,
                records={},
                currency=self._rt.settings.currency,
            )
            made = read(uow, blank)
            if made.is_empty and erased is None:
                raise self._rt.missing(uow, holder)
        return made

    def _access(self, uow: UnitOfWork, blank: Export) -> Export:
        own = frozenset(
            (blank.customer_id, *(r.id for r in uow.find(Redirect, customer_id=blank.customer_id)))
        )
        records: dict[str, Sequence[Row]] = {}
        withheld: set[tuple[str, str]] = set()
        held: dict[Entry, set[str]] = {}
        for entry in filter(tells, owned()):
            rows = []
            for record in _stored(uow, entry, blank.customer_id):
                told = shown(entry, record, own)
                rows.append(told.document)
                withheld |= {(entry.table, field) for field in told.withheld}
            if rows:
                held[entry] = {name for row in rows for name in row}
                records[entry.table] = _with_names(uow, entry, rows)
        if records or blank.erased_at:  # else crmkit never knew the id
            records |= Holders(self._rt).export(uow, blank.customer_id)
        notice = self._rt.settings.privacy
        return attrs.evolve(
            blank,
            records=records,
            statements=informing.statements(notice, held),
            tables={entry.table: informing.about(entry, notice) for entry in held},
            worked_out=self._worked_out(uow, blank),
            withheld=tuple(Withheld(t, f, REASON) for t, f in sorted(withheld)),
        )

    def _portable(self, uow: UnitOfWork, blank: Export) -> Export:
        records: dict[str, Sequence[Row]] = {}
        for record in portable.PORTABLE:
            entry = entry_of(record)
            held = list(_stored(uow, entry, blank.customer_id))
            if record is Consent:
                theirs: dict[str, Any] = {"customer_id": blank.customer_id, "ended_at": None}
                held = portable.consents(held, uow.find(Objection, **theirs))
            if held:
                records[entry.table] = portable.rows(record, held)
        return attrs.evolve(
            blank,
            records=records,
            left_out=portable.left_out(),
            restricted=restricted(uow, blank.customer_id),
        )

    def _worked_out(self, uow: UnitOfWork, blank: Export) -> Mapping[str, Any]:
        """What a host can ask about a customer without its being stored."""
        if uow.get(Customer, blank.customer_id) is None:
            return {}
        value = self._sources.lifetime_value(uow, blank.customer_id, blank.exported_at)
        found = {
            "segments": list(self._sources.segments(uow, blank.customer_id, None)),
            "lifetime_value": {"amount": str(value.amount), "currency": value.currency},
            "shared": list(_shared(uow, blank.customer_id)),
        }
        return {name: told for name, told in found.items() if told}


def _stored(uow: UnitOfWork, entry: Entry, customer_id: str) -> Iterator[Any]:
    """A customer's records of a kind, a page in memory at a time."""
    theirs: dict[str, Any] = {entry.owner or "": customer_id}
    order, after = reading_order(entry), None
    while True:
        page: list[object] = uow.find(entry.record, order=order, after=after, limit=_PAGE, **theirs)
        yield from page
        if len(page) < _PAGE:
            return
        after = tuple(getattr(page[-1], field) for field in order)


def _with_names(uow: UnitOfWork, entry: Entry, rows: Sequence[Row]) -> Sequence[Row]:
    """Rows about a segment with its name, which is what the person can understand."""
    if "segment_id" not in entry.names:
        return rows
    named = tuple({row["segment_id"] for row in rows})
    names = {segment.id: segment.name for segment in uow.find(Segment, id=named)}
    return [{"segment": names.get(row["segment_id"]), **row} for row in rows]


def _shared(uow: UnitOfWork, customer_id: str) -> Iterator[Row]:
    """Of what others paid: what the customer had a part in, and which, without who paid."""
    shares: dict[str, list[str]] = defaultdict(list)
    for part in uow.find(Participation, customer_id=customer_id):
        shares[part.story].append(part.share)
    stories = sorted(shares)
    for start in range(0, len(stories), _STORIES_AT_ONCE):
        named = tuple(stories[start : start + _STORIES_AT_ONCE])
        for fact in uow.find(Activity, story=named, order=("story", "id")):
            mine = sum(fact.shares.get(share, 0) for share in shares[fact.story])
            if mine:
                yield {
                    "kind": fact.kind,
                    "occurred_at": iso(fact.occurred_at),
                    **({"item": fact.item} if fact.item else {}),
                    **({"venue": fact.venue} if fact.venue else {}),
                    "part": mine,
                    "of": sum(fact.shares.values()),
                }
