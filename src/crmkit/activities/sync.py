"""Bookings that are there already: rows of a host's table read by a mapping; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from crmkit.activities.bulk import Item, People
from crmkit.activities.drafts import draft
from crmkit.activities.stories import Kinds, Story
from crmkit.errors import InvalidInput, unknown
from crmkit.model import Activity
from crmkit.model.catalogue import evolved
from crmkit.model.document import text
from crmkit.model.time import instant
from crmkit.ports.idempotency import Call
from crmkit.ports.runtime import Runtime

Source = str | Callable[[Mapping[Any, Any]], Any]
"""Where a value comes from: a column, or a function of the row.

The keys of SQLAlchemy's rows are typed as names or columns, hence Any.
"""

_LARGEST_ID = 10**30
_NEXT = timedelta(microseconds=1)
_PARTS = ("id", "customer", "kind", "payload", "at", "changed_at")


@attrs.frozen
class RowMapping:
    """How rows become bookings.

    `id` and `at` (when it was booked) are needed, and `customer`: the fields of
    `find_or_create`. `changed_at` is when the row last changed. Each is a column's name or
    a function of the row; `kind` is the activity's kind itself.
    """

    id: Source
    customer: Mapping[str, Source]
    at: Source
    kind: str = "booking"
    payload: Mapping[str, Source] = attrs.field(factory=dict)
    changed_at: Source | None = None

    @classmethod
    def read(cls, given: Mapping[str, Any], kinds: Kinds) -> RowMapping:
        """Check a mapping as a host writes it; raises `InvalidInput`."""
        if not isinstance(given, Mapping):
            raise InvalidInput("expected a mapping", field="mapping")
        for name in given:
            if name not in _PARTS:
                raise InvalidInput(unknown("part", name, _PARTS), field="mapping")
        missing = [name for name in ("id", "customer", "at") if not given.get(name)]
        if missing:
            raise InvalidInput("is missing", field=f"mapping.{missing[0]}")
        named = given.get("kind", "booking")
        kind = kinds.get(named) if isinstance(named, str) else None
        if kind is None:
            raise InvalidInput(unknown("activity kind", named, kinds), field="mapping.kind")
        if not kind.once:  # a change of it would count twice
            raise InvalidInput("expected a kind that counts once", field="mapping.kind")
        for place, source in _sources(given):
            if place in ("payload.reference", f"payload.{kind.own_id}"):
                raise InvalidInput("a row goes by its id", field=f"mapping.{place}")
            if not isinstance(source, str) and not callable(source):
                said = "expected a column's name or a function of the row"
                raise InvalidInput(said, field=f"mapping.{place}")
        return cls(**given)


def _sources(given: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name in ("id", "at", "changed_at"):
        if given.get(name) is not None:
            yield name, given[name]
    for part in ("customer", "payload"):
        fields = given.get(part, {})
        if not isinstance(fields, Mapping):
            raise InvalidInput("expected a mapping of fields to columns", field=f"mapping.{part}")
        for name, source in fields.items():
            yield f"{part}.{name}", source


def read_row(rt: Runtime, people: People, mapping: RowMapping, position: int, row: object) -> Item:
    """A row as an item; raises `InvalidInput` naming the column or the field."""
    if not isinstance(row, Mapping):
        raise InvalidInput("expected a row as a mapping of columns to values")
    told = _identifier(_value(row, mapping.id))
    payload = {name: _value(row, source) for name, source in mapping.payload.items()}
    payload[rt.settings.kinds_by_name[mapping.kind].own_id or "reference"] = told
    at = _value(row, mapping.at)
    if at is None:
        raise InvalidInput("expected when it was booked", field="at")
    changed = None if mapping.changed_at is None else _value(row, mapping.changed_at)
    made = draft(rt, mapping.kind, payload, at, None)
    call = Call.of(rt, "activities.sync", f"{mapping.kind} {told}", "")
    person = {name: _value(row, source) for name, source in mapping.customer.items()}
    return Item(
        position,
        attrs.evolve(made, call=call),
        None,
        people.understood(person),
        None if changed is None else instant(changed, field="changed_at"),
    )


def _identifier(value: object) -> str:
    # An empty cell of a data frame is no number; a huge number has no text in Python.
    odd = value is None or isinstance(value, bool | float)
    huge = isinstance(value, int) and abs(value) > _LARGEST_ID
    told = None if odd or huge else text(str(value), field="id", limit=200)
    if told is None:
        raise InvalidInput("expected the booking's id", field="id")
    return told


def _value(row: Mapping[Any, Any], source: Source) -> Any:
    if callable(source):
        return source(row)
    if source not in row:
        raise InvalidInput(unknown("column", source, [c for c in row if isinstance(c, str)]))
    return row[source]


def said_again(fact: Activity, before: Sequence[Activity], changed: datetime | None) -> Activity:
    """The fact as of the row's change, or of now: after all that was said before."""
    last = max(f.occurred_at for f in before)
    return evolved(fact, occurred_at=max(changed or fact.recorded_at, last + _NEXT))


def says(story: Story, fact: Activity) -> bool:
    """Whether the story says already what the fact would."""
    for said in story.said:
        if said.kind != fact.kind:
            continue
        columns = ("amount_minor", "status", "item", "venue")
        same = all(getattr(fact, c) in (None, getattr(said, c)) for c in columns)
        # An amount may be spelled in several ways; its column is one of those above. Participants
        # weigh in `shares`, also once one of them was erased and the payload names them no more.
        same = same and fact.shares in ({}, said.shares)
        other = ("amount", "participants") if fact.shares else ("amount",)
        told = ((k, v) for k, v in fact.payload.items() if k not in other)
        if same and all(said.payload.get(k) == v for k, v in told):
            return True
    return False
