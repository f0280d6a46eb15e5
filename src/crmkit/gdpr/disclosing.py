"""What of a stored record its person is shown: all of it, but nobody else; pure.

A copy must not harm the rights of others (GDPR Art. 15(4), 20(4)). So the names and ids of
people other than the person are not in it: who wrote a note, who shared a bill.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from functools import cache
from typing import Any, Final

import attrs

from crmkit.model import Activity, Column, Data, Entry, Merge, Origin, ReferralCode, entry_of
from crmkit.model.catalogue import as_document
from crmkit.model.time import iso

SOMEBODY: Final = "(somebody else)"
"""What stands in the place of another person."""

REASON: Final = "another person; their rights come first (GDPR Art. 15(4))"

_IDS: Final = frozenset({(Merge, "kept_id"), (Merge, "dropped_id"), (ReferralCode, "issued_to")})
"""Ids of customers in technical fields: the person's own, or those of somebody else."""

_NAMED_IN: Final = frozenset({"customer_id", "referred_customer_id"})
"""Keys of a payload that name a customer."""

_EMPTY: Final[tuple[object, ...]] = (None, (), {})


@attrs.frozen
class Shown:
    """A record as its person is shown it, and the fields in which there was somebody else."""

    document: Mapping[str, Any] = attrs.field(repr=False)
    withheld: frozenset[str]


def tells(entry: Entry) -> bool:
    """Whether a row says anything but whose it is; one of keyed hashes alone does not."""
    silent = ("tenant", entry.owner)
    return any(c.name not in silent and not c.data.secret for c in entry.columns)


def of_others(entry: Entry, column: Column) -> bool:
    """Whether the field may hold somebody else: who acted, or with whom it was.

    A link that the person did not give leads to somebody who acted for the business, but for
    the host's id of a booking.
    """
    if (entry.record, column.name) in _IDS:
        return True
    acted = column.data is Data.LINK and column.origin is not Origin.PROVIDED
    return acted and (entry.record, column.name) != (Activity, "reference")


def shown(entry: Entry, record: object, own: Collection[str]) -> Shown:
    """A record as a document: what is filled in, without keyed hashes and the tenant.

    `own` are the ids by which the person is known here.
    """
    out: dict[str, Any] = {}
    withheld = set()
    for name, masked in _fields(entry.record):
        value = getattr(record, name)
        if value in _EMPTY:
            continue
        told = plain(value)
        if masked and value not in own:
            told = SOMEBODY
            withheld.add(name)
        elif isinstance(value, dict):
            told = _without_others(value, own)
            if told != value:
                withheld.add(name)
        if told != {}:
            out[name] = told
    return Shown(out, frozenset(withheld))


@cache
def _fields(record: type) -> tuple[tuple[str, bool], ...]:
    """The fields that are shown, and whether they may hold somebody else."""
    entry = entry_of(record)
    return tuple(
        (c.name, of_others(entry, c))
        for c in entry.columns
        if c.name != "tenant" and not c.data.secret
    )


_JSON: Final = frozenset({str, int, bool, dict})


def plain(value: Any) -> Any:
    """A stored value as JSON."""
    if type(value) in _JSON:  # most are
        return value
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if attrs.has(type(value)):
        return as_document(value)
    return list(value) if isinstance(value, tuple) else value


def _without_others(value: Any, own: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: SOMEBODY
            if key in _NAMED_IN and isinstance(item, str) and item not in own
            else _without_others(item, own)
            for key, item in value.items()
        }
    return [_without_others(item, own) for item in value] if isinstance(value, list) else value
