"""The whole picture of one customer; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from crmkit.activities.metrics import spend
from crmkit.activities.stories import Story
from crmkit.config import Settings
from crmkit.customers.profile import ConsentState
from crmkit.insights.numbers import CustomerInsights
from crmkit.model import Activity, Customer, Metrics, Money, Note, Preferences
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import UnitOfWork


@attrs.frozen
class Recent:
    """An order or a booking as it stands: as it was said last, with what it came to.

    `state` is open, completed, cancelled or no_show; `spent` what its whole story
    brought in, net.
    """

    activity: Activity
    state: str
    spent: Money


@attrs.frozen(kw_only=True)
class Engagement:
    """How often a customer wrote, recommended and answered."""

    reviews: int
    feedbacks: int
    referrals: int
    support_requests: int
    messages_delivered: int
    messages_opened: int
    messages_clicked: int


class LoyaltyStanding(Protocol):
    """A customer's points and tier."""

    @property
    def balance(self) -> int:
        """The points that can be used."""

    @property
    def qualifying(self) -> int:
        """The points that decide the tier."""

    @property
    def tier(self) -> str:
        """The tier."""

    @property
    def next_tier(self) -> str | None:
        """The tier above, None at the top."""

    @property
    def to_next_tier(self) -> int | None:
        """How many qualifying points it takes."""


@attrs.frozen
class ViewSources:
    """Where the parts of a view come from that other features know."""

    segments: Callable[[UnitOfWork, str, datetime | None], Sequence[str]]
    consent: Callable[[UnitOfWork, str], ConsentState]
    loyalty: Callable[[UnitOfWork, str], LoyaltyStanding]


@attrs.frozen(kw_only=True)
class CustomerView:
    """All that is known of one customer, on one page."""

    insights: CustomerInsights
    orders: tuple[Recent, ...]
    reservations: tuple[Recent, ...]
    engagement: Engagement
    notes: tuple[Note, ...]
    tags: tuple[str, ...] = attrs.field(repr=False)
    segments: tuple[str, ...]
    loyalty: LoyaltyStanding
    consent: ConsentState

    @property
    def customer(self) -> Customer:
        """The profile."""
        return self.insights.customer

    @property
    def preferences(self) -> Preferences:
        """What the customer likes, as it was said."""
        return self.customer.preferences


def engagement(metrics: Metrics) -> Engagement:
    """What the metrics say of it."""
    return Engagement(
        reviews=metrics.reviews,
        feedbacks=metrics.feedbacks,
        referrals=metrics.referrals,
        support_requests=metrics.support_requests,
        messages_delivered=metrics.messages_delivered,
        messages_opened=metrics.messages_opened,
        messages_clicked=metrics.messages_clicked,
    )


def as_it_stands(story: Story, names: Collection[str], settings: Settings) -> Iterator[Recent]:
    """The facts of a story that are of these kinds, with what became of them."""
    spent = Money(spend(story, settings.kinds_by_name), settings.currency)
    for fact in story.said:
        if fact.kind in names:
            # Restated without its amount, or amended, it may bear one without a currency.
            priced = fact.amount_minor is not None
            told = evolved(fact, currency=settings.currency if priced else None)
            yield Recent(told, _state(story), spent)


def _state(story: Story) -> str:
    if story.off:
        return "no_show" if "no_shows" in story.called_off else "cancelled"
    return "completed" if story.completed else "open"
