"""What an erasure hands back, and what it leaves of a row; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from crmkit.model import Entry, OnErase


@attrs.frozen
class ErasureReceipt:
    """Proof of an erasure: how many rows of each table were deleted or made anonymous."""

    customer_id: str
    erased_at: datetime
    deleted: Mapping[str, int]
    anonymised: Mapping[str, int]


def blanks(entry: Entry) -> dict[str, Any]:
    """The values that make a row of this record anonymous."""
    empty: dict[type, Any] = {dict: {}, tuple: ()}
    return {
        c.name: None if c.optional else empty[c.type]
        for c in entry.columns
        if c.erase is OnErase.DELETE or c.name == entry.owner
    }
