"""Segments, who was put into them by hand, and who came and went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.model.catalogue import Data, Index, OnErase, OnMerge, Origin, assigned, record, stored


def _document() -> Any:
    # The host's own text; but a rule may compare with somebody's e-mail.
    return stored(Data.TECHNICAL, Origin.ASSIGNED, erase=OnErase.KEEP, default=None, shown=False)


@record("crm_segments", key=("id",), indexes=(Index(("tenant", "name"), unique=True),))
class Segment:
    """A named set of customers: by rule, by hand, or both.

    `rules` is the JSON rule, or None for a static segment; `version` counts its changes.
    With `auto_update` the rule is asked at every question; without it, it was asked once,
    when the segment was made. `watched` says whether comings and goings are kept by now,
    `by_hand` whether anybody was ever put in or kept out by hand.
    """

    tenant: str = assigned()
    id: str = assigned()
    name: str = assigned()
    description: str | None = assigned(default=None)
    rules: Mapping[str, Any] | None = _document()
    auto_update: bool = assigned(default=True)
    version: int = assigned(default=1)
    watched: bool = assigned(default=False)
    by_hand: bool = assigned(default=False)
    created_at: datetime = assigned()
    archived_at: datetime | None = assigned(default=None)


@record("crm_segment_versions", key=("segment_id", "version"))
class SegmentVersion:
    """A rule that a segment has, or had, from `since` on."""

    tenant: str = assigned()
    segment_id: str = assigned()
    version: int = assigned()
    rules: Mapping[str, Any] | None = _document()
    since: datetime = assigned()


@record("crm_segment_catalogues", key=("id",))
class SegmentCatalogue:
    """The mark of a tenant's segments as they are now: another one after each change.

    There is one, and its id is the tenant's name. `basis` is a hash of the settings by which
    comings and goings were kept last: zone, currency, tiers and kinds.
    """

    tenant: str = assigned()
    id: str = assigned()
    mark: str = assigned()
    basis: str = assigned(default="")


@record("crm_segment_customers", key=("segment_id", "customer_id"), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class Membership:
    """A customer put into a segment by hand, or when a fixed segment was made.

    With `kept_out`, who is out of it by hand whatever the rule says; None where what was done
    by hand was taken back.
    """

    tenant: str = assigned()
    segment_id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    kept_out: bool | None = stored(
        Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.KEEP, default=False
    )
    added_at: datetime = stored(Data.BEHAVIOUR, Origin.OBSERVED, merge=OnMerge.EARLIEST)


@record(
    "crm_segment_states",
    key=("segment_id", "customer_id"),
    owner="customer_id",
    indexes=(
        Index(("tenant", "next_change_at"), where_present="next_change_at"),
        Index(("tenant", "customer_id")),
    ),
)
class SegmentState:
    """Whether a customer is in a watched segment, since when, and until when that is sure.

    There is none for who is not in and will not come in by time alone.
    `next_change_at` is the first instant at which time alone may change it; it may be early,
    never late.
    """

    tenant: str = assigned()
    segment_id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    member: bool = stored(Data.BEHAVIOUR, Origin.INFERRED, merge=OnMerge.FOLD)
    since: datetime = stored(Data.BEHAVIOUR, Origin.INFERRED, merge=OnMerge.FOLD)
    version: int = assigned(default=1)
    next_change_at: datetime | None = stored(
        Data.BEHAVIOUR, Origin.INFERRED, merge=OnMerge.FOLD, default=None
    )


@record(
    "crm_segment_stays",
    key=("segment_id", "customer_id", "entered_at"),
    owner="customer_id",
    indexes=(Index(("tenant", "customer_id")), Index(("tenant", "segment_id", "left_at"))),
)
class SegmentStay:
    """That a customer was in a segment from one instant until before another, and is past."""

    tenant: str = assigned()
    segment_id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    entered_at: datetime = stored(Data.TECHNICAL, Origin.INFERRED, merge=OnMerge.FOLD)
    left_at: datetime = stored(Data.BEHAVIOUR, Origin.INFERRED, merge=OnMerge.FOLD)
    version: int = assigned(default=1)


@record(
    "crm_segment_ranks",
    key=("customer_id", "field"),
    owner="customer_id",
    indexes=(Index(("tenant", "field", "value", "customer_id")),),
)
class Rank:
    """A number by which some watched segment ranks customers; kept only where it is positive."""

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    field: str = assigned()
    value: int = stored(Data.BEHAVIOUR, Origin.INFERRED, merge=OnMerge.FOLD)


@record("crm_segment_cutoffs", key=("id",))
class Cutoff:
    """Where a top or a bottom begins that some watched segment asks for; `id` names it.

    `value` is that of its last customer, None where nobody takes part. Of the `population`,
    who all have a positive number, `above` are strictly beyond it and `reached` reach it.
    """

    tenant: str = assigned()
    id: str = assigned()
    field: str = assigned()
    value: int | None = assigned(default=None)
    above: int = assigned(default=0)
    reached: int = assigned(default=0)
    population: int = assigned(default=0)
