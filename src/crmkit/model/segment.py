"""Segments and who was put into them by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.model.catalogue import Data, Index, OnErase, OnMerge, Origin, assigned, record, stored


@record("crm_segments", key=("id",), indexes=(Index(("tenant", "name"), unique=True),))
class Segment:
    """A named set of customers: by rule, by hand, or both.

    `rules` is the JSON rule, or None for a static segment. With `auto_update` the
    rule is asked at every question; without it, it was asked once, when the segment
    was made.
    """

    tenant: str = assigned()
    id: str = assigned()
    name: str = assigned()
    description: str | None = assigned(default=None)
    # The host's own text; but a rule may compare with somebody's e-mail.
    rules: Mapping[str, Any] | None = stored(
        Data.TECHNICAL, Origin.ASSIGNED, erase=OnErase.KEEP, default=None, shown=False
    )
    auto_update: bool = assigned(default=True)
    created_at: datetime = assigned()


@record("crm_segment_customers", key=("segment_id", "customer_id"), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class Membership:
    """A customer put into a segment by hand, or when a fixed segment was made."""

    tenant: str = assigned()
    segment_id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    added_at: datetime = stored(Data.BEHAVIOUR, Origin.OBSERVED, merge=OnMerge.EARLIEST)
