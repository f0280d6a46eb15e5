"""Holders: tables of the host's own that hold personal data of crmkit's customers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs


@attrs.frozen(kw_only=True)
class HeldTable:
    """What a host holds about people in one of its tables, for the record of processing.

    `fields` are those that are personal, each with what it tells; `purpose` is what the table
    is for, `retention` how long rows stay and `erasure` what erasing somebody does to
    them. What is None is to be stated by the host.
    """

    table: str
    fields: Mapping[str, str]
    purpose: str | None = None
    retention: str | None = None
    erasure: str | None = None
    recipients: tuple[str, ...] = ()


class Holder(Protocol):
    """Who answers for personal data in tables of the host's.

    `tx` is a SQLAlchemy Connection inside the very transaction in which crmkit works: the
    host's own inside ``crm.using(session)``, else crmkit's, to the same database. A holder
    executes statements on it and never ends the transaction. It is None on a storage in memory.
    `ids` are the customer's id and all ids that were merged into it. What a holder raises
    undoes the whole call.

    It may have more, each called if it is there: ``merge(tx, kept, dropped)`` and
    ``unmerge(tx, kept, dropped)`` after crmkit's own rows have moved, and
    ``restrict(tx, ids, restricted)`` when processing is restricted or no longer is.
    """

    @property
    def name(self) -> str:
        """Under which the data is exported, such as ``bookings``."""
        ...

    def describe(self) -> Sequence[HeldTable]:
        """What is held, for the record of processing activities."""
        ...

    def export(self, tx: Any, ids: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        """All that is held about the customer, each row as a document."""
        ...

    def erase(self, tx: Any, ids: Sequence[str]) -> Mapping[str, int]:
        """Erase it, or make it anonymous; returns how many rows of each table."""
        ...
