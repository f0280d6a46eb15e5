"""The tables of referrals."""

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
    _codes()
    _accepted()
    _made()


def _codes() -> None:
    op.create_table(
        "crm_referral_codes",
        *texts("tenant", "fingerprint", "customer_id", "issued_to"),
        *maybes("origin"),
        sa.PrimaryKeyConstraint("tenant", "fingerprint"),
    )
    index("crm_referral_codes", "customer_id")


def _accepted() -> None:
    op.create_table(
        "crm_referrals",
        *texts("tenant", "id"),
        *maybes("customer_id"),
        *texts("programme"),
        sa.Column("terms", JSON, nullable=False),
        *numbers("accepted_at", "recorded_at"),
        sa.Column("flags", JSON, nullable=False),
        *maybes("reason"),
        *empties("qualified_at", "usable_at"),
        sa.Column("within_limit", sa.Boolean(), nullable=False),
        *maybes("kept_by", "origin"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_referrals", "customer_id", **where("customer_id"))


def _made() -> None:
    op.create_table(
        "crm_referrals_made",
        *texts("tenant", "id"),
        *maybes("customer_id"),
        *texts("programme"),
        *numbers("accepted_at"),
        *maybes("origin"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_referrals_made", "customer_id", "accepted_at", "id", **where("customer_id"))
