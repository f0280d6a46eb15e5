"""A record's fields as one sealed document, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
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
    return "".join(f"{len(part)}:{part}" for part in (_VERSION, *place)).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_micros(value)
    if isinstance(value, date):
        return value.isoformat()
    return as_document(value) if attrs.has(type(value)) else value


def _restored(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.type is datetime:
        return from_micros(value)
    if column.type is date:
        return date.fromisoformat(value)
    if column.type is tuple:
        return tuple(value)
    return from_document(column.type, value) if attrs.has(column.type) else value


def _blank(column: Column) -> Any:
    """What a sealed field holds in the database."""
    if column.optional:
        return None
    return column.type()


@attrs.frozen
class Sealing:
    """How records of one kind are sealed."""

    entry: Entry
    columns: Mapping[str, Column]
    blanks: Mapping[str, Any]

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
        try:
            document = json.loads(text)
            values = {n: _restored(self.columns[n], v) for n, v in document.items()}
        except (ValueError, KeyError, AttributeError) as error:
            raise DecryptionError("what is sealed is not what was written") from error
        return evolved(record, **{**self.blanks, **values}, sealed=None)

    def is_blank(self, record: object) -> bool:
        """Whether there is nothing to seal."""
        return all(getattr(record, name) == blank for name, blank in self.blanks.items())

    def touches(self, fields: Iterable[str]) -> bool:
        """Whether any of the fields is sealed."""
        return not self.columns.keys().isdisjoint(fields)

    def _about(self, record: object) -> bytes:
        entry = self.entry
        key = (str(getattr(record, f)) for f in entry.key[1:])
        return about(record.tenant, entry.table, *key, SEAL)  # type: ignore[attr-defined]


_KNOWN: dict[type, Sealing | None] = {}


def sealing_of(kind: type) -> Sealing | None:
    """How records of a kind are sealed; None for those with nothing to seal."""
    if kind not in _KNOWN:
        entry = entry_of(kind)
        columns = {c.name: c for c in entry.columns if c.sealed}
        blanks = {name: _blank(c) for name, c in columns.items()}
        _KNOWN[kind] = Sealing(entry, columns, blanks) if columns else None
    return _KNOWN[kind]
