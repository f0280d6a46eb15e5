"""The profile document: one person at a glance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from crmkit.model import Customer, Metrics, Money
from crmkit.model.catalogue import as_document
from crmkit.model.money import digits
from crmkit.model.time import iso
from crmkit.ports.storage import UnitOfWork


@attrs.frozen
class ConsentState:
    """What a customer said about marketing, as it stands."""

    granted: Mapping[tuple[str, str], bool] = attrs.field(repr=False)
    updated_at: datetime | None

    def given(self, purpose: str, channel: str) -> bool:
        """Whether consent stands; without a word it does not."""
        return self.granted.get((purpose, channel), False)


@attrs.frozen
class ProfileSources:
    """Where the parts of a profile come from that other features know."""

    segments: Callable[[UnitOfWork, str, datetime | None], Sequence[str]]
    lifetime_value: Callable[[UnitOfWork, str, datetime], Money]
    consent: Callable[[UnitOfWork, str], ConsentState]


@attrs.frozen
class Profile:
    """One person: profile, metrics, segments, tags, preferences, consent."""

    customer: Customer
    metrics: Metrics
    lifetime_value: Money
    segments: tuple[str, ...]
    tags: tuple[str, ...] = attrs.field(repr=False)
    consent: ConsentState

    def to_dict(self) -> dict[str, Any]:
        """The profile as a JSON document; amounts are numbers in major units."""
        metrics, money = self.metrics, self.lifetime_value
        spend = Money(metrics.spend_minor, money.currency)
        average = spend.amount / metrics.orders if metrics.orders else None
        updated = self.consent.updated_at
        return {
            "id": self.customer.id,
            "email": self.customer.email,
            "name": self.customer.full_name,
            "phone": self.customer.phone,
            "created_at": iso(self.customer.created_at),
            "metrics": {
                "total_orders": metrics.orders,
                "total_spend": float(spend.amount),
                "events_attended": metrics.events_attended,
                "average_order_value": None if average is None else _rounded(average, money),
                "lifetime_value": float(money.amount),
                "last_purchase": iso(metrics.last_order_at) if metrics.last_order_at else None,
            },
            "segments": list(self.segments),
            "tags": list(self.tags),
            "preferences": _preferences(self.customer),
            "consent": {
                "marketing_email": self.consent.given("marketing", "email"),
                "marketing_sms": self.consent.given("marketing", "sms"),
                "updated_at": iso(updated) if updated else None,
            },
        }


def _rounded(amount: Decimal, like: Money) -> float:
    return float(round(amount, digits(like.currency)))


def _preferences(customer: Customer) -> dict[str, Any]:
    preferences = as_document(customer.preferences)
    if customer.communication:
        preferences["communication"] = list(customer.communication)
    if customer.preferred_contact:
        preferences["preferred_contact"] = customer.preferred_contact
    return preferences
