"""What holders of the host's own tables are asked, inside crmkit's unit of work."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, Final
from uuid import UUID

from crmkit.errors import InvalidInput
from crmkit.model import Redirect
from crmkit.model.time import iso
from crmkit.ports.events import CustomersMerged, MergeUndone
from crmkit.ports.holders import Holder
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_DEPTH: Final = 16  # of lists and objects in a row; it ends those that hold themselves
_INTEGERS: Final = 2**53  # beyond it other JSON readers lose digits
_NAME = re.compile(r"(?!crm_)[a-z][a-z0-9_]{0,59}", re.ASCII)
_NEEDED: Final = ("describe", "export", "erase")


class Holders:
    """The holders that a host registered, for all tenants of the service."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def add(self, holder: Holder) -> None:
        """Register a holder; raises `InvalidInput` for what is none, or a name that is taken."""
        name = getattr(holder, "name", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidInput(
                "expected small letters, digits and underscores, not beginning with crm_",
                field="holder.name",
            )
        if any(held.name == name for held in self._rt.holders):
            raise InvalidInput("a holder of this name is registered already", field="holder.name")
        for needed in _NEEDED:
            if not callable(getattr(holder, needed, None)):
                raise InvalidInput("expected a method", field=f"holder.{needed}")
        self._rt.holders.append(holder)

    def all(self) -> tuple[Holder, ...]:
        """All of them, in the order in which they were registered."""
        return tuple(self._rt.holders)

    def export(self, uow: UnitOfWork, customer_id: str) -> dict[str, tuple[Mapping[str, Any], ...]]:
        """What they hold about a customer, by holder."""
        told: dict[str, tuple[Mapping[str, Any], ...]] = {}
        ids = self._ids(uow, customer_id) if self._rt.holders else []
        for holder in self._rt.holders:
            found: object = holder.export(uow.lend(), ids)
            if not isinstance(found, Iterable):
                raise InvalidInput("expected rows", field=f"{holder.name}.export")
            rows = tuple(_row(row, f"{holder.name}[{n}]") for n, row in enumerate(found))
            if rows:
                told[holder.name] = rows
        return told

    def erase(self, uow: UnitOfWork, ids: Sequence[str]) -> dict[str, int]:
        """Have them erase the customer of these ids; how many rows, by holder and table.

        Raises `InvalidInput` for a holder that tells something else.
        """
        counts: dict[str, int] = {}
        for holder in self._rt.holders:
            done: object = holder.erase(uow.lend(), list(ids))
            if not isinstance(done, Mapping):
                raise InvalidInput("expected numbers by table", field=f"{holder.name}.erase")
            for table, count in done.items():
                if not isinstance(count, int):
                    raise InvalidInput("expected whole numbers", field=f"{holder.name}.erase")
                counts[f"{holder.name}.{table}"] = int(count)
        return counts

    def restrict(self, uow: UnitOfWork, customer_id: str, *, restricted: bool) -> None:
        """Tell those who want to know that processing is restricted, or no longer is."""
        for holder in self._rt.holders:
            hook = getattr(holder, "restrict", None)
            if hook is not None:
                hook(uow.lend(), self._ids(uow, customer_id), restricted)

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Tell those who want to know of a merge; crmkit's own."""
        self._told(uow, "merge", event.merge.kept_id, event.merge.dropped_id)

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Tell those who want to know that a merge was undone; crmkit's own."""
        self._told(uow, "unmerge", event.merge.customer_id, event.merge.dropped_id)

    def _told(self, uow: UnitOfWork, what: str, kept: str, dropped: str) -> None:
        for holder in self._rt.holders:
            hook = getattr(holder, what, None)
            if hook is not None:
                hook(uow.lend(), kept, dropped)

    def _ids(self, uow: UnitOfWork, customer_id: str) -> list[str]:
        return [customer_id, *(r.id for r in uow.find(Redirect, customer_id=customer_id))]


def _row(row: object, field: str) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise InvalidInput("expected an object (a dict)", field=field)
    # Names of columns may be of a class of their own.
    return {str(name): _told(value, f"{field}.{name}", _DEPTH) for name, value in row.items()}


def _told(value: object, field: str, depth: int) -> Any:
    """A value of the host's as JSON; what JSON does not know is told as text."""
    if isinstance(value, Mapping | list | tuple | Set):
        if depth <= 1:
            raise InvalidInput("nested too deeply, or holding itself", field=field)
        if isinstance(value, Mapping):
            return {str(name): _told(item, field, depth - 1) for name, item in value.items()}
        return [_told(item, field, depth - 1) for item in value]
    if isinstance(value, Enum):
        return _told(value.value, field, depth - 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _INTEGERS else str(int(value))
    if isinstance(value, float):
        return float(value) if isfinite(value) else str(float(value))
    return _text(value, field)


def _text(value: object, field: str) -> str:
    if isinstance(value, str):
        return str.__str__(value).encode(errors="backslashreplace").decode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return iso(value)
    if isinstance(value, date | time):  # an instant without a zone is told as it is stored
        return value.isoformat()
    if isinstance(value, Decimal | UUID | timedelta):
        return str(value)
    raise InvalidInput("expected text, a number, a date, bytes, a list or an object", field=field)
