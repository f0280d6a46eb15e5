"""What an export hands back; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import attrs

from crmkit.model import Data, Entry
from crmkit.model.catalogue import as_document
from crmkit.model.time import iso


@attrs.frozen
class Export:
    """Everything held about a customer, by table; empty for one that was erased."""

    customer_id: str
    exported_at: datetime
    erased_at: datetime | None
    records: Mapping[str, tuple[Mapping[str, Any], ...]] = attrs.field(repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self.records

    def to_dict(self) -> dict[str, Any]:
        """The export as a JSON document."""
        return {
            "customer_id": self.customer_id,
            "exported_at": iso(self.exported_at),
            "erased_at": iso(self.erased_at) if self.erased_at else None,
            "records": {table: [dict(r) for r in rows] for table, rows in self.records.items()},
        }


_SECRET = (Data.FINGERPRINT, Data.CIPHERTEXT)


def tells(entry: Entry) -> bool:
    """Whether a row says anything but whose it is; one of keyed hashes alone does not."""
    silent = ("tenant", entry.owner)
    return any(c.name not in silent and c.data not in _SECRET for c in entry.columns)


def exported(entry: Entry, record: object) -> dict[str, Any]:
    """A record as a document: what is filled in, without keyed hashes and the tenant."""
    out: dict[str, Any] = {}
    for column in entry.columns:
        value = getattr(record, column.name)
        if column.name == "tenant" or column.data in _SECRET:
            continue
        if value is None or value == () or value == {}:
            continue
        plain = _plain(value)
        if plain != {}:
            out[column.name] = plain
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if attrs.has(type(value)):
        return as_document(value)
    return list(value) if isinstance(value, tuple) else value
