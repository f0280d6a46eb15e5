"""The tables of models of value and of the scores by them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crmkit.adapters.sql.migrations.columns import JSON, empties, index, maybes, numbers, texts


def create() -> None:
    """Create them."""
    _models()
    _scores()


def _models() -> None:
    op.create_table(
        "crm_value_models",
        *texts("tenant"),
        *numbers("version", "at", "fitted_at"),
        *texts("kind"),
        *maybes("prior"),
        *numbers("time_unit_days", "customers", "repeating"),
        sa.Column("frequency", JSON, nullable=True),
        sa.Column("spend", JSON, nullable=True),
        sa.Column("hiatus", JSON, nullable=False),
        sa.Column("quality", JSON, nullable=False),
        *maybes("reason"),
        sa.PrimaryKeyConstraint("tenant", "version"),
    )
    index("crm_value_models", "at", "version")


def _scores() -> None:
    op.create_table(
        "crm_value_scores",
        *texts("tenant", "customer_id"),
        *numbers("lifetime_minor"),
        *empties("predicted_minor", "active_ppm"),
        *maybes("churn_band", "rfm_group"),
        *numbers("engagement", "refreshed_at"),
        sa.PrimaryKeyConstraint("tenant", "customer_id"),
        sqlite_with_rowid=False,
    )
