"""What a person is told with the copy of their data (GDPR Art. 15(1) and (2)); pure.

What the host states is repeated, and what it does not state is named as missing. Nothing is
made up: only the categories and the origin of what is held follow from the catalogue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from crmkit.errors import InvalidInput, unknown
from crmkit.model import Column, Entry, OnErase, catalogue
from crmkit.privacy_settings import PrivacyNotice, Purpose

RIGHTS: Final = (
    "You may ask to have your data corrected or completed, erased, or its use restricted; you may"
    " object to its use, take back a consent at any time, and receive what you provided in a form"
    " that another service can read."
)
"""Art. 15(1)(e): the rights that the law gives whatever the host states."""

# The article, the field of the notice, and what a reader is told that it is.
_STATED: Final = (
    ("Art. 15(1)", "controller", "Who is responsible"),
    ("Art. 15(1)", "contact", "How to reach them"),
    ("Art. 15(1)", "dpo", "Data protection officer"),
    ("Art. 15(1)(a)", "purposes", "What your data is used for"),
    ("Art. 15(1)(c)", "recipients", "Who receives it"),
    ("Art. 15(1)(d)", "retention", "How long it is kept"),
    ("Art. 15(1)(f)", "authority", "Where you may complain"),
    ("Art. 15(1)(g)", "source", "Where data comes from that you did not give"),
    ("Art. 15(1)(h)", "automated", "What is decided about you by machine"),
    ("Art. 15(2)", "transfers", "To which countries outside the EEA it goes, and how it is safe"),
)
OPTIONAL: Final = frozenset({"dpo"})
"""Not everybody needs a data protection officer (Art. 37)."""


@attrs.frozen
class Statement:
    """One thing that a person must be told; `says` is None where the host does not state it."""

    name: str
    article: str
    title: str
    says: str | tuple[str, ...] | None

    @property
    def is_missing(self) -> bool:
        """Whether it must be said and is not."""
        return self.says is None and self.name not in OPTIONAL


def check(notice: PrivacyNotice) -> None:
    """Raise `InvalidInput` for a purpose of a table that there is not."""
    known = {entry.table for entry in catalogue()}
    for table in (table for purpose in notice.purposes or () for table in purpose.tables):
        if table not in known:
            raise InvalidInput(unknown("table", table, known), field="privacy.purposes.tables")


def statements(
    notice: PrivacyNotice, held: Mapping[Entry, Collection[str]]
) -> tuple[Statement, ...]:
    """All that must be said to somebody about whom these fields of these tables are held."""
    said = [Statement(n, article, title, _says(notice, n)) for article, n, title in _STATED]
    columns = [c for entry, names in held.items() for c in entry.columns if c.name in names]
    columns += [inner for c in columns for inner in c.nested]
    held_of = tuple(sorted({c.data.value for c in columns if c.data.personal}))
    said.insert(4, Statement("categories", "Art. 15(1)(b)", "What sorts of data it is", held_of))
    said.insert(7, Statement("rights", "Art. 15(1)(e)", "Your rights", RIGHTS))
    return tuple(said)


def _says(notice: PrivacyNotice, name: str) -> str | tuple[str, ...] | None:
    if name == "purposes":
        return None if notice.purposes is None else tuple(map(_purpose, notice.purposes))
    stated: str | tuple[str, ...] | None = getattr(notice, name)
    return stated


def _purpose(purpose: Purpose) -> str:
    basis = f"; legal basis: {purpose.legal_basis}" if purpose.legal_basis else ""
    kept = f"; kept: {purpose.retention}" if purpose.retention else ""
    return f"{purpose.name}{basis}{kept}"


def about(entry: Entry, notice: PrivacyNotice) -> dict[str, Any]:
    """What a table holds, what for, and where each field comes from."""
    serves = [p for p in notice.purposes or () if not p.tables or entry.table in p.tables]
    return {
        "title": entry.title,
        "purposes": [p.name for p in serves],
        "legal_bases": sorted({p.legal_basis for p in serves if p.legal_basis}),
        "retention": sorted({p.retention for p in serves if p.retention}),
        "when_erased": _when_erased(entry),
        "fields": {
            name: {"category": c.data.value, "origin": c.origin.value}
            for column in entry.columns
            if column.name != "tenant"
            for name, c in _with_nested(column)
        },
    }


def _with_nested(column: Column) -> Iterator[tuple[str, Column]]:
    yield column.name, column
    yield from ((f"{column.name}.{inner.name}", inner) for inner in column.nested)


def _when_erased(entry: Entry) -> str:
    if entry.erase is OnErase.ANONYMISE:
        return f"made anonymous: {entry.reason}"
    return "deleted"


def as_json(said: Iterable[Statement]) -> Mapping[str, Any]:
    """The statements as JSON; what is missing is null, and listed under ``missing``."""
    listed = tuple(said)
    return {
        **{s.name: list(s.says) if isinstance(s.says, tuple) else s.says for s in listed},
        "missing": [s.name for s in listed if s.is_missing],
    }
