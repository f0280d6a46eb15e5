"""What a customer is worth: spent so far, expected within the horizon, and why; pure."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

import attrs

from crmkit.errors import InvalidInput
from crmkit.insights.value.predicting import Forecast, Prediction, predict
from crmkit.insights.value.stored import frequency_of, spending_of
from crmkit.insights.value.summaries import Purchase, Summary, summarise
from crmkit.model import Money, ValueModel
from crmkit.model.money import digits

NO_MODEL: Final = "no model was fitted by then: call crm.insights.fit()"
NO_PURCHASE: Final = "no purchase yet"
NO_SPENDING: Final = "no customer made a repeat purchase with an amount"

_NAMES: Final = {"mbg": "MBG/NBD", "bg": "BG/NBD", "hiatus": "hiatus rule"}
_YEAR_DAYS: Final = 365


@attrs.frozen(kw_only=True)
class Terms:
    """How far to look ahead, what money is worth later, and how sure the bounds should be."""

    horizon_days: int
    discount_rate: float = 0.0
    level: float = 0.8

    def __attrs_post_init__(self) -> None:
        if type(self.horizon_days) is not int or not 1 <= self.horizon_days <= 3_650:
            raise InvalidInput("expected 1 to 3650 days", field="horizon_days")
        if not _is_number(self.discount_rate) or not 0 <= self.discount_rate <= 10:
            raise InvalidInput("expected a yearly rate from 0 to 10", field="discount_rate")
        if not _is_number(self.level) or not 0 < self.level < 1:
            raise InvalidInput("expected a chance between 0 and 1", field="level")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@attrs.frozen
class ValueExplanation:
    """Where a lifetime value comes from.

    `purchases` are the purchases that count, by business day, with their amounts; `summary`
    what a model needs to know of them, in its time units. `active` is the chance that the
    customer has not left for good, and `spend_per_purchase` what a purchase is expected to come
    to. `reason` says why nothing is predicted, or why the hiatus rule answers.
    """

    value: LifetimeValue
    purchases: tuple[tuple[date, Money], ...]
    summary: Summary | None
    model: ValueModel | None
    active: float | None
    spend_per_purchase: Money | None
    reason: str | None

    def text(self) -> str:
        """The same in plain words, a line for each step."""
        return "\n".join(line for line in self._lines() if line)

    def _lines(self) -> tuple[str, ...]:
        return (self._spent(), self._answered(), self._expected(), self._worth())

    def _spent(self) -> str:
        days = sorted({day for day, _ in self.purchases})
        spent = f"Spent so far, net: {self.value.historic}"
        if not days:
            return f"{spent}."
        on = f"on {days[0]}" if len(days) == 1 else f"on {len(days)} days, {days[0]} to {days[-1]}"
        return f"{spent}; bought {on}."

    def _answered(self) -> str:
        if self.model is None or self.summary is None:
            return f"Nothing is predicted: {self.reason}."
        model, name = self.model, _NAMES[self.model.answers]
        who = "1 customer" if model.customers == 1 else f"{model.customers:,} customers"
        why = f", because {model.reason}" if model.reason else ""
        return (
            f"Answered by version {model.version}, the {name}, fitted to {who} as of "
            f"{model.at:%Y-%m-%d}{why}."
        )

    def _expected(self) -> str:
        value = self.value
        if self.active is None or value.p_active is None or value.expected_purchases is None:
            return ""
        return (
            f"Still a customer: {self.active:.1%}. At least one purchase within "
            f"{value.horizon_days} days: {value.p_active:.1%}; expected: "
            f"{value.expected_purchases:.2f}."
        )

    def _worth(self) -> str:
        value = self.value
        if value.predicted is None or value.interval is None:
            return f"No spend is predicted: {NO_SPENDING}." if self.active is not None else ""
        low, high = value.interval
        rate = f", discounted by {value.discount_rate:.1%} a year" if value.discount_rate else ""
        return (
            f"A purchase is expected to come to {self.spend_per_purchase}, all of them together to "
            f"{value.predicted}{rate}; with a chance of {value.level:.0%} between {low} and {high}."
        )


@attrs.frozen(kw_only=True)
class LifetimeValue:
    """What a customer has spent, and is expected to spend within the horizon.

    The two are never mixed. `predicted`, the `interval` in which the spend lies with the chance
    `level`, `expected_purchases` and `p_active`, the chance of at least one purchase, are None
    where nothing can be told: without a model, before the first purchase, and of the spend where
    nobody made a repeat purchase with an amount. `model` is ``mbg``, ``bg`` or ``hiatus``, and
    `version` that of `crm.insights.fit`.
    """

    customer_id: str
    at: datetime
    historic: Money
    predicted: Money | None
    horizon_days: int
    model: str | None
    version: int | None = None
    interval: tuple[Money, Money] | None = None
    level: float = 0.8
    expected_purchases: float | None = None
    p_active: float | None = None
    discount_rate: float = 0.0
    purchases: tuple[Purchase, ...] = attrs.field(default=(), repr=False)
    fitted: ValueModel | None = attrs.field(default=None, repr=False)
    today: date | None = attrs.field(default=None, repr=False)

    @property
    def total(self) -> Money | None:
        """Historic and predicted together; None where nothing is predicted."""
        return None if self.predicted is None else self.historic + self.predicted

    def explain(self) -> ValueExplanation:
        """Which purchases, which model and which steps lead to these numbers."""
        currency, model, summary = self.historic.currency, self.fitted, None
        active = each = None
        reason = NO_MODEL
        if model is not None and self.today is not None:
            summary = summarise(self.purchases, self.today, model.time_unit_days)
            reason = model.reason or "" if summary else NO_PURCHASE
        if model is not None and summary is not None:
            seen = (summary.frequency, summary.recency, summary.age)
            active = frequency_of(model).active(*seen)
            spending = spending_of(model)
            if spending is not None:
                each = money(spending.expected(summary.frequency, summary.monetary), currency)
        told = tuple((day, money(paid, currency)) for day, paid in self.purchases)
        return ValueExplanation(self, told, summary, model, active, each, reason or None)


@attrs.frozen
class CustomerValue:
    """One line of all customers' values; see `LifetimeValue`.

    `predicted` is None where no spend can be predicted.
    """

    customer_id: str
    historic: Money
    predicted: Money | None
    expected_purchases: float
    p_active: float


def money(amount: float, currency: str) -> Money:
    """An amount in major units as money, rounded to the minor unit."""
    return Money(round(amount * 10 ** digits(currency)), currency)


def forecast(model: ValueModel, summary: Summary, terms: Terms) -> Prediction:
    """What the model predicts of one customer."""
    unit = model.time_unit_days
    return predict(
        frequency_of(model),
        spending_of(model),
        summary,
        terms.horizon_days / unit,
        level=terms.level,
        discount=(1 + terms.discount_rate) ** (unit / _YEAR_DAYS) - 1,
    )


def lifetime_value(
    customer_id: str,
    historic: Money,
    purchases: tuple[Purchase, ...],
    model: ValueModel | None,
    terms: Terms,
    *,
    at: datetime,
    today: date,
) -> LifetimeValue:
    """The value of one customer at an instant whose business day is `today`."""
    told = LifetimeValue(
        customer_id=customer_id,
        at=at,
        historic=historic,
        predicted=None,
        horizon_days=terms.horizon_days,
        model=None if model is None else model.answers,
        version=None if model is None else model.version,
        level=terms.level,
        discount_rate=terms.discount_rate,
        purchases=purchases,
        fitted=model,
        today=today,
    )
    summary = None if model is None else summarise(purchases, today, model.time_unit_days)
    if model is None or summary is None:
        return told
    found, currency = forecast(model, summary, terms), historic.currency
    bounds = None
    if found.low is not None and found.high is not None:
        bounds = money(found.low, currency), money(found.high, currency)
    return attrs.evolve(
        told,
        predicted=None if found.value is None else money(found.value, currency),
        interval=bounds,
        expected_purchases=found.expected_purchases,
        p_active=found.p_active,
    )


def line(customer_id: str, historic: Money, found: Forecast) -> CustomerValue:
    """A forecast as a line of all values."""
    worth = None if found.value is None else money(found.value, historic.currency)
    return CustomerValue(customer_id, historic, worth, found.expected_purchases, found.p_active)
