"""The tables of legal holds, notices, and what is carried on of anonymised activities."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crmkit.adapters.sql.migrations.columns import JSON, empties, index, maybes, numbers, texts


def create() -> None:
    """Create them."""
    _carried()
    _holds()
    _notices()
    _runs()


def _holds() -> None:
    op.create_table(
        "crm_legal_holds",
        *texts("tenant", "id", "customer_id", "reason"),
        *maybes("actor"),
        *numbers("occurred_at", "recorded_at"),
        *empties("until", "released_at"),
        *maybes("origin", "sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_legal_holds", "customer_id")


def _notices() -> None:
    op.create_table(
        "crm_retention_notices",
        *texts("tenant", "id", "customer_id", "policy"),
        *numbers("occurred_at", "recorded_at"),
        *maybes("origin"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_retention_notices", "customer_id")


def _runs() -> None:
    op.create_table(
        "crm_retention_runs",
        *texts("tenant", "policy"),
        *numbers("done_at"),
        sa.PrimaryKeyConstraint("tenant", "policy"),
        sqlite_with_rowid=False,
    )


def _carried() -> None:
    op.create_table(
        "crm_carried",
        *texts("tenant", "id", "customer_id"),
        sa.Column("numbers", JSON, nullable=False),
        sa.Column("counters", JSON, nullable=False),
        *empties("last_sign_at"),
        *maybes("origin"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_carried", "customer_id")
