"""Deciding whether given data and a stored customer may be one person; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from crmkit.model import Customer


@attrs.frozen
class Evidence:
    """One field's word on whether two profiles are one person."""

    field: str
    says: str


@attrs.frozen
class Resolution:
    """The customer that data stands for, and why.

    `matched_by` is the kind of identifier that decided, or None for a new customer;
    `candidates` are other customers who share an identifier with the data.
    """

    customer: Customer
    created: bool
    matched_by: str | None
    evidence: tuple[Evidence, ...]
    candidates: tuple[str, ...]


def conflict(customer: Customer, fields: Mapping[str, Any]) -> Evidence | None:
    """What forbids a shared phone or handle to decide, or None."""
    born = fields.get("birth_date")
    if born and customer.birth_date and born != customer.birth_date:
        return Evidence("birth_date", "differs")
    return None
