"""A customer's activities in the order in which they are shown: the latest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.model import Activity
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork


def latest(
    uow: UnitOfWork,
    rt: Runtime,
    equal: Mapping[str, Any],
    *,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Activity]:
    """The last activities with these fields, before a moment and id if those are given.

    Raises `NotFound` or `Erased` for the `customer_id` among the fields.
    """
    equal = {**equal, "customer_id": rt.customer(uow, equal["customer_id"]).id}
    return uow.find(
        Activity,
        order=("occurred_at", "id"),
        descending=True,
        after=before,
        limit=limit,
        **equal,
    )
