"""Columns and indexes as revisions write them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON = sa.Text().with_variant(JSONB(), "postgresql")


def texts(*names: str) -> tuple[sa.Column[str], ...]:
    """Columns of text that is never missing."""
    return tuple(sa.Column(name, TEXT, nullable=False) for name in names)


def maybes(*names: str) -> tuple[sa.Column[str], ...]:
    """Columns of text that may be missing."""
    return tuple(sa.Column(name, TEXT, nullable=True) for name in names)


def numbers(*names: str) -> tuple[sa.Column[int], ...]:
    """Columns of whole numbers, or instants, that are never missing."""
    return tuple(sa.Column(name, sa.BigInteger(), nullable=False) for name in names)


def empties(*names: str) -> tuple[sa.Column[int], ...]:
    """Columns of whole numbers, or instants, that may be missing."""
    return tuple(sa.Column(name, sa.BigInteger(), nullable=True) for name in names)


def where(present: str) -> dict[str, Any]:
    """The options of an index that leaves out rows without that field."""
    there = sa.text(f"{present} IS NOT NULL")
    return {"sqlite_where": there, "postgresql_where": there}


def index(table: str, *fields: str, **options: Any) -> None:
    """An index over the tenant and these fields."""
    op.create_index("_".join(["ix", table, *fields]), table, ["tenant", *fields], **options)
