"""What holders of the host's own tables are asked, inside crmkit's unit of work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from crmkit.errors import InvalidInput
from crmkit.model import Redirect
from crmkit.model.document import document
from crmkit.ports.events import CustomersMerged, MergeUndone
from crmkit.ports.holders import Holder
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

MOST_VALUES: Final = 100_000
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
            rows = tuple(
                # Names of columns may be of a class of their own.
                document(
                    {str(name): value for name, value in row.items()},
                    field=f"{holder.name}[{n}]",
                    nodes=MOST_VALUES,
                )
                for n, row in enumerate(holder.export(uow.lend(), ids))
            )
            if rows:
                told[holder.name] = rows
        return told

    def erase(self, uow: UnitOfWork, ids: Sequence[str]) -> dict[str, int]:
        """Have them erase the customer of these ids; how many rows, by holder and table."""
        counts: dict[str, int] = {}
        for holder in self._rt.holders:
            for table, count in holder.erase(uow.lend(), list(ids)).items():
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
