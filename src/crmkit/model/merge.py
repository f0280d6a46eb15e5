"""Merges: that two customers were found to be one, and what it takes to part them again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.model.catalogue import (
    Data,
    Index,
    OnMerge,
    Origin,
    assigned,
    record,
    seal,
    side,
    stored,
)


def _holder() -> Any:
    return stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)


def _document() -> Any:
    return stored(Data.FREE_TEXT, Origin.PROVIDED, factory=dict)


@record(
    "crm_merges",
    key=("id",),
    owner="customer_id",
    indexes=(Index(("tenant", "customer_id")), Index(("tenant", "dropped_id"))),
)
class Merge:
    """A fact: the dropped customer was found to be the kept one.

    `customer_id` is who holds both by now, for the kept one may have been merged further.
    `step` orders the merges of one person, from 1. `undone_at` is None while the merge stands.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = _holder()
    kept_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED)
    dropped_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED)
    step: int = assigned()
    reason: str = stored(Data.FREE_TEXT, Origin.OBSERVED)
    actor: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    at: datetime = assigned()
    recorded_at: datetime = assigned()
    undone_at: datetime | None = assigned(default=None)
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record("crm_redirects", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class Redirect:
    """That an id stands for another customer since it was merged away.

    It always leads to the customer who is there: further merges move it on.
    """

    tenant: str = assigned()
    id: str = stored(Data.TECHNICAL, Origin.ASSIGNED)
    customer_id: str = _holder()
    origin: str | None = side(default=None)


@record("crm_merge_snapshots", key=("merge_id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class Snapshot:
    """Profile, tags and segments of both customers before a merge, and what it made of them."""

    tenant: str = assigned()
    merge_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED)
    customer_id: str = _holder()
    kept: Mapping[str, Any] = _document()
    dropped: Mapping[str, Any] = _document()
    result: Mapping[str, Any] = _document()
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)
