"""`crm.insights`: what a customer is worth, and where all customers stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from itertools import groupby

import attrs

from crmkit.activities.stories import effect
from crmkit.errors import InvalidInput
from crmkit.insights.bands import (
    FREQUENCY_BANDS,
    LIFECYCLE_STAGES,
    SPENDING_BANDS,
    frequency_band,
    lifecycle,
    spending_band,
)
from crmkit.model import Activity, Metrics, Money
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork


@attrs.frozen
class LifetimeValue:
    """What a customer has spent, and is expected to spend within the horizon.

    The two are never mixed. `predicted` and `model` are None: this version of crmkit has
    no model to predict with, and a guess would be worse than none.
    """

    customer_id: str
    historic: Money
    predicted: Money | None
    horizon_days: int
    model: str | None


@attrs.frozen
class Bands:
    """How many customers stand in each lifecycle stage and band, at an instant."""

    at: datetime
    lifecycle: Mapping[str, int]
    spending: Mapping[str, int]
    frequency: Mapping[str, int]


class Insights:
    """Numbers about one tenant's customers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def lifetime_value(self, customer_id: str, *, horizon_days: int | None = None) -> LifetimeValue:
        """The customer's value; the horizon is that of the settings unless given."""
        days: object = (
            self._rt.settings.lifetime_horizon_days if horizon_days is None else horizon_days
        )
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 3_650:
            raise InvalidInput("expected 1 to 3650 days", field="horizon_days")
        with self._rt.read() as uow:
            historic = self.historic(uow, customer_id)
        return LifetimeValue(customer_id, historic, None, days, None)

    def historic(self, uow: UnitOfWork, customer_id: str) -> Money:
        """What the customer has spent, net of what was given back."""
        metrics = uow.get(Metrics, checked_id(customer_id))
        if metrics is None:
            raise self._rt.missing(uow, customer_id)
        return Money(metrics.spend_minor, self._rt.settings.currency)

    def bands(self, *, at: datetime | str | None = None) -> Bands:
        """All customers by lifecycle stage, spending band and frequency band."""
        moment, settings = self._rt.at(at), self._rt.settings
        stages: Counter[str] = Counter()
        spending: Counter[str] = Counter()
        frequency: Counter[str] = Counter()
        with self._rt.read() as uow:
            for m in uow.stream(Metrics):
                stages[lifecycle(m, moment, settings.lifecycle)] += 1
                spending[
                    spending_band(m.spend_minor, settings.currency, settings.spending_bands)
                ] += 1
                frequency[frequency_band(m.bookings)] += 1
        return Bands(
            moment,
            {name: stages[name] for name in LIFECYCLE_STAGES},
            {name: spending[name] for name in SPENDING_BANDS},
            {name: frequency[name] for name in FREQUENCY_BANDS},
        )

    def revenue_by_month(self) -> dict[str, Money]:
        """Net revenue by month of the first payment, ``YYYY-MM`` in the tenant's zone.

        What erased customers had paid stays in it, linked to nobody.
        """
        zone, kinds = self._rt.settings.zone, self._rt.settings.kinds_by_name
        months: Counter[str] = Counter()
        with self._rt.read() as uow:
            facts = uow.stream(Activity, order=("story", "id"))
            for _, story in groupby(facts, key=lambda fact: fact.story):
                told = list(story)
                spent = effect(told, kinds).spend_minor
                if spent:
                    when = min(f.occurred_at for f in told if f.amount_minor is not None)
                    months[when.astimezone(zone).strftime("%Y-%m")] += spent
        return {m: Money(months[m], self._rt.settings.currency) for m in sorted(months)}
