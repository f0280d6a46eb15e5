"""A copy of what is held about a person, and the forms in which it is handed over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

import attrs

from crmkit.gdpr import informing, portable
from crmkit.gdpr.informing import Statement
from crmkit.model.time import iso

ACCESS: Final = "access"
PORTABILITY: Final = "portability"
KINDS: Final = (ACCESS, PORTABILITY)
_VERSION: Final = 1
"""Of the access document; a change that readers must know of raises it."""

Row = Mapping[str, Any]


@attrs.frozen
class Withheld:
    """A field of a table in which something was not shown, and why."""

    table: str
    field: str
    reason: str


@attrs.frozen(kw_only=True)
class Export:
    """A copy of what is held about a customer, by table; empty for one that was erased.

    An ``access`` export (GDPR Art. 15) has everything. `statements` is what the person must
    be told with it, `tables` tells of each table what it is for, `worked_out` what is not stored
    but told when somebody asks, and `withheld` where somebody else was left out.

    A ``portability`` export (Art. 20) has what the person provided, or what was observed of
    them; `left_out` says of the other tables why they are not in it, and `restricted` whether
    the data may only be stored (Art. 18).
    """

    customer_id: str
    kind: str
    exported_at: datetime
    erased_at: datetime | None
    records: Mapping[str, Sequence[Row]] = attrs.field(repr=False)
    currency: str
    statements: tuple[Statement, ...] = attrs.field(default=(), repr=False)
    tables: Mapping[str, Row] = attrs.field(factory=dict, repr=False)
    worked_out: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    withheld: tuple[Withheld, ...] = ()
    left_out: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    restricted: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self.records

    @property
    def missing(self) -> tuple[str, ...]:
        """What `Settings.privacy` does not state and the person must be told."""
        return tuple(s.name for s in self.statements if s.is_missing)

    def to_dict(self) -> dict[str, Any]:
        """The export as a JSON document."""
        return {**self._head(), "records": {t: [dict(r) for r in rows]
                                            for t, rows in self.records.items()}}  # fmt: skip

    def json(self) -> str:
        """The export as JSON text."""
        return _ENCODER.encode(self._document())

    def to_json(self, target: str | Path | IO[str]) -> None:
        """Write the export as JSON into a file, piece by piece."""
        if isinstance(target, (str, Path)):
            with Path(target).open("w", encoding="utf-8") as file:
                self.to_json(file)
            return
        for piece in _ENCODER.iterencode(self._document()):
            target.write(piece)

    def html(self) -> str:
        """The export as a page to read, which needs no other file and runs nothing."""
        from crmkit.gdpr import page  # on its own, as only who prints one needs it

        return page.html(self)

    def csv(self, target: str | Path | IO[bytes]) -> tuple[str, ...]:
        """Write one CSV file for each table; returns their names.

        Into a folder that exists, else into a ZIP archive, a path or an open binary file.
        Cells that a spreadsheet would run as formulas begin with an apostrophe.
        """
        from crmkit.gdpr import sheets

        return sheets.write(self, target)

    @staticmethod
    def schema() -> dict[str, Any]:
        """The JSON Schema of a portability document."""
        return portable.schema()

    def _document(self) -> dict[str, Any]:
        return {**self._head(), "records": self.records}

    def _head(self) -> dict[str, Any]:
        portability = self.kind == PORTABILITY
        head = {
            "format": portable.FORMAT if portability else "crmkit-access",
            "version": portable.VERSION if portability else _VERSION,
            "customer_id": self.customer_id,
            "exported_at": iso(self.exported_at),
            "erased_at": iso(self.erased_at) if self.erased_at else None,
            "currency": self.currency,
        }
        if portability:
            return {**head, "restricted": self.restricted, "left_out": dict(self.left_out)}
        return {
            **head,
            "information": informing.as_json(self.statements),
            "tables": dict(self.tables),
            "worked_out": dict(self.worked_out),
            "withheld": [attrs.asdict(w) for w in self.withheld],
        }


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=1)
