"""The tables of requests about personal data, and of what was put right."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crmkit.adapters.sql.migrations.columns import (
    JSON,
    empties,
    index,
    maybes,
    numbers,
    texts,
    where,
)


def create() -> None:
    """Create them."""
    _requests()
    _rectifications()


def _requests() -> None:
    op.create_table(
        "crm_privacy_requests",
        *texts("tenant", "id"),
        *maybes("customer_id"),
        *texts("kind", "jurisdiction", "status"),
        *numbers("received_at", "recorded_at", "due_at"),
        *empties("confirm_by", "confirmed_at", "verified_at", "extended_at"),
        *empties("closed_at", "forget_at"),
        *maybes("contact", "details", "extension", "outcome", "call", "content", "origin"),
        *maybes("sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_privacy_requests", "status", "due_at", "id")
    index("crm_privacy_requests", "customer_id", "received_at", **where("customer_id"))
    index("crm_privacy_requests", "call", **where("call"))
    index("crm_privacy_requests", "forget_at", **where("forget_at"))


def _rectifications() -> None:
    op.create_table(
        "crm_rectifications",
        *texts("tenant", "id", "customer_id"),
        sa.Column("before", JSON, nullable=False),
        sa.Column("after", JSON, nullable=False),
        *texts("reason"),
        *maybes("actor"),
        *numbers("occurred_at", "recorded_at"),
        *maybes("origin", "sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_rectifications", "customer_id", "occurred_at")
