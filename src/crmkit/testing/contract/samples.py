"""Records of every kind in the catalogue, filled to the edges of what each field may hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import attrs

from crmkit.model import Column, Entry
from crmkit.model.document import canonical
from crmkit.model.time import EARLIEST, LATEST

TEXT: Final = "Zoë \U0001f600 e\u0301 Привет \u05d0 'q' \"d\" \\ % %s ? :x $1 {} \t\n end "
"""Text with letters beyond the first plane, and what a careless storage would interpret."""

_SAFE: Final = 2**53 - 1  # beyond it JSON readers lose digits
_LONG: Final = 2**63 - 1
_MOMENT: Final = datetime(2026, 1, 15, 12, 30, 45, 123456, tzinfo=UTC)
_DOCUMENT: Final = {
    "text": TEXT,
    "\U0001f600 'key' \\": "",
    "numbers": [0, -1, _SAFE, -_SAFE, 0.1, -2.5, 1.0, 1e-7, 5e-324, 4503599627370497.5],
    "others": [None, True, False, "", [], {}],
    "nested": {"a": {"b": [{"c": [[["d"]]]}]}},
}


def samples(entry: Entry, tenant: str) -> list[Any]:
    """Records of one kind, each with a key of its own: full, sparse, lowest and highest."""
    return [
        filled(entry, tenant),
        _made(entry, tenant, "sparse", _sparse),
        _made(entry, tenant, "lowest", _lowest),
        _made(entry, tenant, "highest", _highest),
    ]


def filled(entry: Entry, tenant: str, name: str = "full") -> Any:
    """A record with something in every field; records with other names have other keys."""
    return _made(entry, tenant, name, _full)


def same(one: object, other: object) -> bool:
    """Whether two records are equal in type and value; for Python, 1, 1.0 and True are equal."""
    return type(one) is type(other) and one == other and canonical(one) == canonical(other)


def _made(entry: Entry, tenant: str, name: str, value: Callable[[Column], Any]) -> Any:
    values = {c.name: value(c) for c in entry.columns}
    unique = [f for index in entry.indexes if index.unique for f in index.fields]
    texts = [k for k in (*entry.key, *unique) if entry.column(k).type is str]
    values |= {k: f"{k} {name} \U0001f600é" for k in texts}
    return entry.record(**values | {"tenant": tenant})


def _nested(column: Column, value: Callable[[Column], Any]) -> Any:
    values = {c.name: value(c) for c in column.nested}
    # Whole numbers inside a document share the range of its other numbers.
    return column.type(
        **{k: max(-_SAFE, min(_SAFE, v)) if type(v) is int else v for k, v in values.items()}
    )


def _full(column: Column) -> Any:
    if attrs.has(column.type):
        return _nested(column, _full)
    values: dict[type, Any] = {
        str: f"{column.name}: {TEXT}",
        int: 42,
        bool: True,
        datetime: _MOMENT,
        date: date(2004, 2, 29),
        dict: _DOCUMENT,
        tuple: ("one", TEXT, "", "[]", "null"),
    }
    return values[column.type]


def _sparse(column: Column) -> Any:
    if column.optional:
        return None
    empty: dict[type, Any] = {datetime: _MOMENT, date: date(2004, 2, 29)}
    return empty[column.type] if column.type in empty else column.type()


def _lowest(column: Column) -> Any:
    if attrs.has(column.type):
        return _nested(column, _lowest)
    values: dict[type, Any] = {int: -_LONG, datetime: EARLIEST, date: date(1900, 1, 1)}
    return values[column.type] if column.type in values else column.type()


def _highest(column: Column) -> Any:
    if attrs.has(column.type):
        return _nested(column, _highest)
    values: dict[type, Any] = {
        str: "\U0010ffff" * 1_000,
        int: _LONG,
        datetime: LATEST - timedelta(microseconds=1),
        date: date(2199, 12, 31),
    }
    return values[column.type] if column.type in values else _full(column)
