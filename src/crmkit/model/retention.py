"""Legal holds, notices before an erasure, and what is carried on of what was anonymised."""

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


def _owner() -> Any:
    return stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)


@record("crm_legal_holds", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class LegalHold:
    """That nothing of a customer may be erased, for a claim at law (GDPR Art. 17(3)(e)).

    It stands until `until`, or for good, unless it was released.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = _owner()
    reason: str = stored(Data.FREE_TEXT, Origin.OBSERVED)
    actor: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    until: datetime | None = assigned(default=None)
    released_at: datetime | None = assigned(default=None)
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record("crm_retention_notices", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class RetentionNotice:
    """A fact: a customer was told that they will be erased by that policy."""

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = _owner()
    policy: str = assigned()
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)


@record("crm_retention_runs", key=("policy",))
class RetentionRun:
    """When a policy was last carried out to its end."""

    tenant: str = assigned()
    policy: str = assigned()
    done_at: datetime = assigned()


@record("crm_carried", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class Carried:
    """What activities that were anonymised had added to a customer's numbers.

    `numbers` are `Metrics` without what is nothing, instants in microseconds since 1970;
    `counters` are rows of `Counter` in the same way. Numbers are these and the fold of the
    activities that are there. `last_sign_at` is when the person last did something of themselves
    in what was anonymised, so that nobody counts as inactive before their time.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = _owner()
    numbers: Mapping[str, Any] = stored(Data.BEHAVIOUR, Origin.OBSERVED, factory=dict)
    counters: tuple[Mapping[str, Any], ...] = stored(Data.BEHAVIOUR, Origin.OBSERVED, default=())
    last_sign_at: datetime | None = stored(Data.BEHAVIOUR, Origin.OBSERVED, default=None)
    origin: str | None = side(default=None)
