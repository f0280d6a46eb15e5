"""The table of the keys that personal fields are sealed with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crmkit.adapters.sql.migrations.columns import index, texts


def create() -> None:
    """Create it."""
    op.create_table(
        "crm_data_keys",
        *texts("tenant", "customer_id", "epoch", "wrapped"),
        sa.Column("partly", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id"),
    )
    index("crm_data_keys", "epoch", "customer_id")
