"""A record's fields as one sealed document, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from crmkit.adapters.encryption.ring import decrypt, encrypt
from crmkit.errors import DecryptionError
from crmkit.model import Column, Entry, entry_of
from crmkit.model.catalogue import SEAL, as_document, evolved, from_document
from crmkit.model.time import from_micros, to_micros

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

R = TypeVar("R")

_VERSION = "1"
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def about(*place: str) -> bytes:
    """What sealed text is bound to: each part with its length, so that no two run together."""
    return "".join([f"{len(part)}:{part}" for part in (_VERSION, *place)]).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_micros(value)
    if isinstance(value, date):
        return value.isoformat()
    return as_document(value) if attrs.has(type(value)) else value


def _restoring(column: Column) -> Callable[[Any], Any] | None:
    """What makes a value again of what JSON holds; None where that is the value itself."""
    if attrs.has(column.type):
        return partial(from_document, column.type)
    given: dict[type, Callable[[Any], Any]] = {
        datetime: from_micros,
        date: date.fromisoformat,
        tuple: tuple,
    }
    return given.get(column.type)


def _blank(column: Column) -> Any:
    """What a sealed field holds in the database."""
    if column.optional:
        return None
    return column.type()


@attrs.frozen
class Sealing:
    """How records of one kind are sealed."""

    entry: Entry
    place: str
    restored: Mapping[str, Callable[[Any], Any] | None]
    blanks: Mapping[str, Any]
    key_of: Callable[[Any], tuple[Any, ...]]

    def owner(self, record: object) -> str:
        """Whose key seals the record; the tenant's, if it has no owner."""
        return (getattr(record, self.entry.owner) if self.entry.owner else None) or ""

    def sealed(self, record: R, aead: AESGCM) -> R:
        """The record as it is stored."""
        document = {
            name: _plain(value)
            for name, blank in self.blanks.items()
            if (value := getattr(record, name)) != blank
        }
        text = encrypt(aead, _write(document).encode(), self._about(record))
        return evolved(record, **self.blanks, sealed=text)

    def opened(self, record: R, aead: AESGCM) -> R:
        """The record as it is; raises `DecryptionError`."""
        text = decrypt(aead, getattr(record, SEAL), self._about(record))
        return self.filled(record, text)

    def filled(self, record: R, text: bytes) -> R:
        """The record with what was sealed. What stands open in its place is nobody's word."""
        values = dict(zip(self.entry.names, self.entry.values(record), strict=True))
        values.update(self.blanks)
        values[SEAL] = None
        if not self._fill(values, text):
            raise DecryptionError("what is sealed is not what was written")
        return type(record)(**values)

    def _fill(self, values: dict[str, Any], text: bytes) -> bool:
        """Whether it could be read; an error about it would hold the text."""
        try:
            for name, value in json.loads(text).items():
                restore = self.restored[name]
                values[name] = restore(value) if restore else value
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    def is_blank(self, record: object) -> bool:
        """Whether there is nothing to seal."""
        return all(getattr(record, name) == blank for name, blank in self.blanks.items())

    def touches(self, fields: Iterable[str]) -> bool:
        """Whether any of the fields is sealed."""
        return not self.blanks.keys().isdisjoint(fields)

    def _about(self, record: object) -> bytes:
        tenant, *key = self.key_of(record)
        rest = "".join([f"{len(part)}:{part}" for part in map(str, key)])
        return f"{self.place}{len(tenant)}:{tenant}{rest}".encode()


_KNOWN: dict[type, Sealing | None] = {}


def sealing_of(kind: type) -> Sealing | None:
    """How records of a kind are sealed; None for those with nothing to seal."""
    if kind not in _KNOWN:
        entry = entry_of(kind)
        columns = [c for c in entry.columns if c.sealed]
        _KNOWN[kind] = (
            Sealing(
                entry,
                about(entry.table, SEAL).decode(),
                {c.name: _restoring(c) for c in columns},
                {c.name: _blank(c) for c in columns},
                attrgetter(*entry.key),
            )
            if columns
            else None
        )
    return _KNOWN[kind]
