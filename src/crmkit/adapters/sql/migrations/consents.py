"""The tables of consents, and of what stands against contacting somebody."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crmkit.adapters.sql.migrations.columns import JSON, empties, index, maybes, numbers, texts


def create() -> None:
    """Create them."""
    _consents()
    _notices()
    _objections()
    _restrictions()
    _suppressions()


def _consents() -> None:
    op.create_table(
        "crm_consents",
        *texts("tenant", "id", "customer_id", "purpose", "channel"),
        sa.Column("granted", sa.Boolean(), nullable=True),
        *texts("source", "event", "basis"),
        *maybes("address", "address_key", "notice_id", "policy", "language"),
        *maybes("jurisdiction", "proof", "follows"),
        *empties("expires_at"),
        *numbers("occurred_at", "recorded_at"),
        *maybes("origin", "sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_consents", "customer_id", "occurred_at")


def _notices() -> None:
    op.create_table(
        "crm_notices",
        *texts("tenant", "id", "purpose", "channel", "language", "version", "text"),
        *maybes("controller"),
        sa.Column("recipients", JSON, nullable=False),
        *maybes("withdrawal"),
        *numbers("recorded_at"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def _objections() -> None:
    op.create_table(
        "crm_objections",
        *texts("tenant", "id", "customer_id", "purpose", "channel", "source"),
        *numbers("occurred_at", "recorded_at"),
        *empties("ended_at"),
        *maybes("origin", "sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_objections", "customer_id")


def _restrictions() -> None:
    op.create_table(
        "crm_restrictions",
        *texts("tenant", "id", "customer_id", "reason"),
        *maybes("actor"),
        *numbers("occurred_at", "recorded_at"),
        *empties("lifted_at"),
        *maybes("lifted_because", "lifted_by", "origin", "sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_restrictions", "customer_id")


def _suppressions() -> None:
    op.create_table(
        "crm_suppressions",
        *texts("tenant", "id", "address_key"),
        *maybes("purpose_key"),
        *texts("channel", "kind"),
        *numbers("occurred_at", "recorded_at"),
        *empties("ended_at"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_suppressions", "address_key")
