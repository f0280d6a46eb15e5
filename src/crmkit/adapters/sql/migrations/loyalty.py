"""The tables of points and tiers."""

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
    _accounts()
    _enrolments()
    _entries()
    _grants()
    _lots()
    _milestones()
    _programmes()
    _redemptions()
    _stocks()
    _tiers()


def _accounts() -> None:
    op.create_table(
        "crm_loyalty_accounts",
        *texts("tenant", "customer_id", "programme"),
        *numbers("balance", "pending", "qualifying"),
        *empties("since", "next_at"),
        sa.Column("indebted", sa.Boolean(), nullable=False),
        sa.Column("enrols", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "programme"),
    )
    index("crm_loyalty_accounts", "next_at", "customer_id", **where("next_at"))


def _enrolments() -> None:
    op.create_table(
        "crm_loyalty_enrolments",
        *texts("tenant", "id", "customer_id", "programme"),
        sa.Column("joined", sa.Boolean(), nullable=False),
        *maybes("actor"),
        *numbers("occurred_at", "recorded_at"),
        *maybes("origin"),
        *maybes("sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_loyalty_enrolments", "customer_id", "programme", "occurred_at")


def _entries() -> None:
    op.create_table(
        "crm_loyalty_entries",
        *texts("tenant", "id"),
        *maybes("customer_id"),
        *texts("programme"),
        *maybes("lot_id"),
        *texts("kind"),
        *numbers("points", "qualifying", "available_at", "expires_at"),
        *maybes("story", "rule", "redemption_id", "actor", "reason", "version"),
        *numbers("occurred_at", "recorded_at"),
        *maybes("origin"),
        *maybes("sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_loyalty_entries", "customer_id", "occurred_at")
    index("crm_loyalty_entries", "occurred_at", "customer_id")
    index("crm_loyalty_entries", "story")
    index("crm_loyalty_entries", "lot_id")
    index("crm_loyalty_entries", "redemption_id", **where("redemption_id"))


def _grants() -> None:
    op.create_table(
        "crm_loyalty_grants",
        *texts("tenant", "id", "customer_id", "programme"),
        *maybes("tier"),
        *numbers("until"),
        *texts("source"),
        *maybes("actor", "reason"),
        *numbers("occurred_at", "recorded_at"),
        *maybes("origin"),
        *maybes("sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_loyalty_grants", "customer_id", "programme", "occurred_at")


def _lots() -> None:
    op.create_table(
        "crm_loyalty_lots",
        *texts("tenant", "id", "customer_id", "programme", "source"),
        *maybes("rule", "story"),
        *texts("times"),
        *numbers("full"),
        sa.Column("totals", JSON, nullable=False),
        *numbers("left", "used"),
        *texts("status"),
        *numbers("earned_at", "available_at", "expires_at"),
        *maybes("origin"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_loyalty_lots", "customer_id", "status", "expires_at", "id")
    index("crm_loyalty_lots", "story")


def _milestones() -> None:
    op.create_table(
        "crm_loyalty_milestones",
        *texts("tenant", "customer_id", "programme", "milestone"),
        *numbers("reached_at"),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "programme", "milestone"),
        sqlite_with_rowid=False,
    )


def _programmes() -> None:
    op.create_table(
        "crm_loyalty_programmes",
        *texts("tenant", "programme", "version"),
        sa.Column("document", JSON, nullable=False),
        *numbers("since"),
        *maybes("recounted_to"),
        *empties("recounted_at"),
        sa.PrimaryKeyConstraint("tenant", "programme", "version"),
    )


def _redemptions() -> None:
    op.create_table(
        "crm_loyalty_redemptions",
        *texts("tenant", "id"),
        *maybes("customer_id"),
        *texts("programme", "reward"),
        *numbers("cost"),
        *maybes("card"),
        *numbers("taken"),
        *maybes("code", "actor", "ended_by", "reason"),
        *numbers("reserved_at", "until"),
        *empties("fulfilled_at", "cancelled_at"),
        *maybes("origin"),
        *maybes("sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_loyalty_redemptions", "customer_id", "reward", "reserved_at")
    index("crm_loyalty_redemptions", "code", unique=True, **where("code"))
    index("crm_loyalty_redemptions", "reward", "reserved_at")


def _stocks() -> None:
    op.create_table(
        "crm_loyalty_stocks",
        *texts("tenant", "programme", "reward"),
        *numbers("level"),
        sa.PrimaryKeyConstraint("tenant", "programme", "reward"),
        sqlite_with_rowid=False,
    )


def _tiers() -> None:
    op.create_table(
        "crm_loyalty_tiers",
        *texts("tenant", "customer_id", "programme"),
        *numbers("since", "until", "rank"),
        *texts("tier", "cause"),
        *empties("tell_at", "warn_at"),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "programme", "since"),
    )
    index("crm_loyalty_tiers", "tell_at", "customer_id", **where("tell_at"))
    index("crm_loyalty_tiers", "warn_at", "customer_id", **where("warn_at"))
