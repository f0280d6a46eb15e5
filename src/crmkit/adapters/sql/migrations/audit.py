"""The tables of the audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crmkit.adapters.sql.migrations.columns import JSON, index, maybes, numbers, texts, where


def create() -> None:
    """Create them."""
    _rows()
    _subjects()
    _chains()


def _rows() -> None:
    op.create_table(
        "crm_audit",
        *texts("tenant", "id"),
        *numbers("occurred_at"),
        *maybes("actor", "actor_mark", "via"),
        *texts("action"),
        *maybes("subject"),
        sa.Column("details", JSON, nullable=False),
        *texts("mac"),
        *numbers("sequence"),
        *maybes("hash", "sealed"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_audit", "sequence", "id")
    index("crm_audit", "occurred_at", "id")
    index("crm_audit", "actor_mark", "occurred_at", "id", **where("actor_mark"))


def _subjects() -> None:
    op.create_table(
        "crm_audit_subjects",
        *texts("tenant", "audit_id"),
        *maybes("customer_id", "told_as", "reason", "nonce"),
        *numbers("occurred_at"),
        *maybes("unlinked", "sealed"),
        sa.PrimaryKeyConstraint("tenant", "audit_id"),
    )
    index("crm_audit_subjects", "customer_id", "occurred_at", "audit_id", **where("customer_id"))


def _chains() -> None:
    op.create_table(
        "crm_audit_chains",
        *texts("tenant", "id"),
        *numbers("sequence"),
        *texts("hash"),
        *numbers("pruned"),
        *texts("pruned_hash"),
        *numbers("sealed_at"),
        *texts("mac"),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_with_rowid=False,
    )
