"""Between records and rows: times as microseconds, documents as JSON text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, cast

import attrs

from crmkit.model import Column, Entry, entry_of
from crmkit.model.catalogue import as_document, from_document
from crmkit.model.time import from_micros, to_micros

F = TypeVar("F", bound=Callable[..., Any])


def remembered(function: F) -> F:
    """`functools.cache` that keeps the function's signature; type checkers lose it."""
    return cast(F, cache(function))


_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _decode_json(value: Any) -> Any:
    # A PostgreSQL driver hands JSON over decoded or not, as its connection was set up.
    return json.loads(value) if isinstance(value, (str, bytes)) else value


def _encoder(column: Column) -> Callable[[Any], Any] | None:
    if column.type is datetime:
        return to_micros
    if column.type is date:
        return date.isoformat
    if attrs.has(column.type):
        return lambda value: _encode_json(as_document(value))
    if column.type is dict:
        return lambda value: _encode_json(value) if value else "{}"
    if column.type is tuple:
        return lambda value: _encode_json(value) if value else "[]"
    return None


def _decoder(column: Column) -> Callable[[Any], Any] | None:
    if column.type is datetime:
        return from_micros
    if column.type is date:
        return date.fromisoformat
    if column.type is bool:
        return bool
    if attrs.has(column.type):
        nested = column.type
        empty = nested()
        return lambda v: empty if v == "{}" or not v else from_document(nested, _decode_json(v))
    if column.type is dict:
        return lambda v: {} if v == "{}" else _decode_json(v)
    if column.type is tuple:
        return lambda v: () if v == "[]" else tuple(_decode_json(v))
    return None


class Codec:
    """Turns records of one kind into rows and back."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.names = entry.names
        self._values = entry.values
        self._key = attrgetter(*entry.key)
        columns = list(enumerate(entry.columns))
        self._encoders = [(i, e) for i, c in columns if (e := _encoder(c))]
        self._decoders = [(i, d) for i, c in columns if (d := _decoder(c))]
        self._decoding = {c.name: _decoder(c) for c in entry.columns}
        self._by_name = {c.name: _encoder(c) for c in entry.columns}
        key = enumerate(self._by_name[name] for name in entry.key)
        self._key_encoders = [(i, e) for i, e in key if e]
        self._make = entry.record

    def encode(self, record: object) -> list[Any]:
        """The row of a record, in the columns' order."""
        row = list(self._values(record))
        for i, encode in self._encoders:
            if row[i] is not None:
                row[i] = encode(row[i])
        return row

    def decode(self, row: Sequence[Any]) -> Any:
        """The record of a row."""
        values = list(row)
        for i, decode in self._decoders:
            if values[i] is not None:
                values[i] = decode(values[i])
        return self._make(**dict(zip(self.names, values, strict=True)))

    def decode_fields(
        self, fields: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> list[tuple[Any, ...]]:
        """The values of these fields, row by row."""
        decoders = [(i, d) for i, f in enumerate(fields) if (d := self._decoding[f])]
        if not decoders:
            return [tuple(row) for row in rows]
        out = []
        for row in rows:
            values = list(row)
            for i, decode in decoders:
                if values[i] is not None:
                    values[i] = decode(values[i])
            out.append(tuple(values))
        return out

    def key(self, record: object) -> Sequence[Any]:
        """The record's key, as it is stored."""
        return self.stored_key(self._key(record))

    def stored_key(self, key: Sequence[Any]) -> Sequence[Any]:
        """A key's values, from the tenant on, as they are stored."""
        if not self._key_encoders:
            return key
        row = list(key)
        for i, encode in self._key_encoders:
            row[i] = encode(row[i])
        return tuple(row)

    def value(self, name: str, value: Any) -> Any:
        """One field's value as it is stored."""
        encode = self._by_name[name]
        return encode(value) if encode and value is not None else value


@remembered
def codec(kind: type) -> Codec:
    """The codec of a record class."""
    return Codec(entry_of(kind))
