"""`crm.insights`: what a customer is worth, and where all customers stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import groupby
from typing import Any, Literal

import attrs

from crmkit.activities.dimensions import local
from crmkit.activities.drafts import kinds_asked
from crmkit.activities.metrics import Folded, spend
from crmkit.activities.stories import read
from crmkit.activities.timeline import latest
from crmkit.errors import InvalidInput
from crmkit.insights.bands import (
    FREQUENCY_BANDS,
    LIFECYCLE_STAGES,
    SPENDING_BANDS,
    frequency_band,
    lifecycle,
    spending_band,
)
from crmkit.insights.buying import bought
from crmkit.insights.habits import Choice, HeatMap, choices, heat
from crmkit.insights.lifetime import CustomerValue, LifetimeValue, Terms, lifetime_value
from crmkit.insights.modelling import Choice as ModelChoice
from crmkit.insights.modelling import (
    ModelName,
    backtested,
    fit,
    fitted,
    model_at,
    refit,
    values,
)
from crmkit.insights.numbers import CustomerInsights, insights
from crmkit.insights.reading import (
    Asked,
    counters,
    facts,
    just_after,
    numbers,
    parts_of,
    recent,
    summary,
)
from crmkit.insights.scoring import refreshed
from crmkit.insights.series import (
    Period,
    checked_period,
    counted_by_day,
    paid_at,
    periods,
    spent_by_day,
)
from crmkit.insights.standing import Standing
from crmkit.insights.value.backtest import Backtest
from crmkit.insights.view import CustomerView, ViewSources, engagement
from crmkit.model import Activity, Metrics, Money, Note, Page, Tag, ValueModel
from crmkit.model.document import text
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import calendar_date, from_micros, instant, to_micros
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork

_RECENT = 10


@attrs.frozen
class Bands:
    """How many customers stand in each lifecycle stage and band, at an instant."""

    at: datetime
    lifecycle: Mapping[str, int]
    spending: Mapping[str, int]
    frequency: Mapping[str, int]


class Insights:
    """Numbers about one tenant's customers."""

    def __init__(self, runtime: Runtime, sources: ViewSources) -> None:
        self._rt = runtime
        self._sources = sources
        self.standing = Standing(runtime)

    def for_customer(
        self,
        customer_id: str,
        *,
        at: datetime | str | None = None,
        known_at: datetime | str | None = None,
    ) -> CustomerInsights:
        """All numbers of one customer: now, at an instant, or as they were known at one.

        The cached numbers answer where nothing in them came after that instant; else all
        facts are read. The profile is today's.
        """
        asked = Asked.of(self._rt, at, known_at)
        with self._rt.read() as uow:
            return self._insights(uow, summary(uow, self._rt, customer_id, asked), asked)

    def view(self, customer_id: str, *, at: datetime | str | None = None) -> CustomerView:
        """The whole picture of one customer, in a fixed number of queries.

        `at` is the instant of the numbers, orders, bookings, notes and
        segments; profile, tags, points and consents are today's.
        """
        asked, kinds = Asked.of(self._rt, at), self._rt.settings.kinds
        meant = None if at is None else asked.at
        bookings = {kind.name for kind in kinds if "bookings" in kind.counts}
        orders = {kind.name for kind in kinds if "orders" in kind.counts}
        with self._rt.read() as uow:
            found = summary(uow, self._rt, customer_id, asked)
            customer_id = found.metrics.customer_id
            return CustomerView(
                insights=self._insights(uow, found, asked),
                orders=recent(uow, self._rt, customer_id, asked, orders, _RECENT),
                reservations=recent(uow, self._rt, customer_id, asked, bookings, _RECENT),
                engagement=engagement(found.metrics),
                notes=_notes(uow, customer_id, asked.at),
                tags=tuple(sorted(t.tag for t in uow.find(Tag, customer_id=customer_id))),
                segments=tuple(self._sources.segments(uow, customer_id, meant)),
                loyalty=self._sources.loyalty(uow, customer_id),
                consent=self._sources.consent(uow, customer_id),
            )

    def _insights(self, uow: UnitOfWork, found: Folded, asked: Asked) -> CustomerInsights:
        customer = self._rt.customer(uow, found.metrics.customer_id)
        return insights(customer, found, asked.at, self._rt.settings)

    def items(
        self,
        customer_id: str,
        *,
        at: datetime | str | None = None,
        known_at: datetime | str | None = None,
    ) -> tuple[Choice, ...]:
        """What the customer played, ate or attended; the most chosen first, then by spend."""
        return self._choices(customer_id, "item", Asked.of(self._rt, at, known_at))

    def venues(
        self,
        customer_id: str,
        *,
        at: datetime | str | None = None,
        known_at: datetime | str | None = None,
    ) -> tuple[Choice, ...]:
        """Where the customer goes; the most chosen first, then by spend."""
        return self._choices(customer_id, "venue", Asked.of(self._rt, at, known_at))

    def _choices(self, customer_id: str, dimension: str, asked: Asked) -> tuple[Choice, ...]:
        with self._rt.read() as uow:
            found = counters(uow, self._rt, customer_id, asked, dimension)
        return choices(found, self._rt.settings.currency)

    def heatmap(
        self,
        customer_id: str,
        *,
        at: datetime | str | None = None,
        known_at: datetime | str | None = None,
    ) -> HeatMap:
        """How often the customer came, by weekday and hour."""
        asked = Asked.of(self._rt, at, known_at)
        with self._rt.read() as uow:
            customer_id = self._rt.metrics(uow, customer_id).customer_id
            slots = counters(uow, self._rt, customer_id, asked, "slot")
        return HeatMap(customer_id, asked.at, heat(slots))

    def spend_series(
        self, customer_id: str, by: str = "month", *, at: datetime | str | None = None
    ) -> tuple[Period[Money], ...]:
        """Net spend by day, week or month of the first payment; reads all facts."""
        settings, by = self._rt.settings, checked_period(by)
        asked = Asked.of(self._rt, at)
        with self._rt.read() as uow:
            customer_id = self._rt.metrics(uow, customer_id).customer_id
            told = facts(uow, self._rt, customer_id, asked)
            parts = parts_of(uow, self._rt, customer_id, asked)
            days = spent_by_day(told, parts, settings)
        return periods(days, by, lambda minor: Money(minor, settings.currency))

    def visit_series(
        self, customer_id: str, by: str = "month", *, at: datetime | str | None = None
    ) -> tuple[Period[int], ...]:
        """Visits by day, week or month; reads all facts."""
        by = checked_period(by)
        days = counted_by_day(self._facts(customer_id, at), "visits", self._rt.settings)
        return periods(days, by, int)

    def booking_series(
        self, customer_id: str, by: str = "month", *, at: datetime | str | None = None
    ) -> tuple[Period[int], ...]:
        """Bookings by the day, week or month that they are for; reads all facts."""
        by = checked_period(by)
        days = counted_by_day(self._facts(customer_id, at), "bookings", self._rt.settings)
        return periods(days, by, int)

    def _facts(self, customer_id: str, at: datetime | str | None) -> list[Activity]:
        asked = Asked.of(self._rt, at)
        with self._rt.read() as uow:
            customer_id = self._rt.metrics(uow, customer_id).customer_id
            return list(facts(uow, self._rt, customer_id, asked))

    def history(
        self,
        customer_id: str,
        *,
        item: str | None = None,
        venue: str | None = None,
        kinds: Iterable[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Activity]:
        """The customer's activities, the latest first, from `since` up to before `until`.

        `item` and `venue` are those of the activities: the name, or the id where no name
        was given.
        """
        limit, start = checked_limit(limit), position(after, (int, str))
        equal: dict[str, Any] = {"customer_id": checked_id(customer_id)}
        equal |= _named(item=item, venue=venue)
        if kinds is not None:
            equal["kind"] = kinds_asked(kinds, self._rt.settings.kinds_by_name)
        edges = [] if start is None else [(from_micros(start[0]), start[1])]
        if until is not None:
            edges.append((instant(until, field="until"), ""))
        earliest = None if since is None else instant(since, field="since")
        with self._rt.read() as uow:
            found = latest(uow, self._rt, equal, before=min(edges, default=None), limit=limit + 1)
        # In this order what came too early is all at the end.
        found = [a for a in found if earliest is None or a.occurred_at >= earliest]
        return paged(found, limit, lambda a: (to_micros(a.occurred_at), a.id))

    def lifetime_value(
        self,
        customer_id: str,
        *,
        horizon_days: int | None = None,
        at: datetime | str | None = None,
        discount_rate: float = 0.0,
        level: float = 0.8,
    ) -> LifetimeValue:
        """What the customer has spent, and is expected to spend within the horizon.

        By the model that was fitted last, of what is known of the customer now: it changes
        with each activity. The horizon is that of the settings unless given; a purchase after a
        year is worth 1 / (1 + `discount_rate`) of itself; `level` is the chance that the spend
        lies in the interval. Four queries, or all facts where `at` lies before the last.
        """
        asked, terms = Asked.of(self._rt, at), self._terms(horizon_days, discount_rate, level)
        with self._rt.read() as uow:
            metrics = numbers(uow, self._rt, customer_id, asked)
            customer_id = metrics.customer_id
            purchases = bought(uow, self._rt, customer_id, asked)
            model = model_at(uow, asked.at)
        historic = Money(metrics.spend_minor, self._rt.settings.currency)
        today, _ = local(asked.at, self._rt.settings)
        return lifetime_value(
            customer_id, historic, purchases, model, terms, at=asked.at, today=today
        )

    def _terms(
        self, horizon_days: int | None, discount_rate: float = 0.0, level: float = 0.8
    ) -> Terms:
        usual = self._rt.settings.lifetime_horizon_days
        return Terms(
            horizon_days=usual if horizon_days is None else horizon_days,
            discount_rate=discount_rate,
            level=level,
        )

    def values(
        self, *, at: datetime | str | None = None, horizon_days: int | None = None
    ) -> Iterator[CustomerValue]:
        """The values of all who ever bought, in the order of their ids, in little memory.

        Raises `InvalidInput` where no model was fitted by then.
        """
        asked, terms = Asked.of(self._rt, at), self._terms(horizon_days)
        return values(self._rt, asked, fitted(self._rt, asked), terms.horizon_days)

    def fit(
        self,
        *,
        at: datetime | str | None = None,
        model: ModelName = "mbg",
        prior: Literal["default"] | None = "default",
        time_unit_days: int = 1,
    ) -> ValueModel:
        """Fit a model to what all customers bought by that instant; stored as the next version.

        Purchases of one time unit count as one. Where fewer than 20 customers came back, and
        where the model fits badly, a simple rule answers in its place and `reason` says so.
        From then on `run_due` fits it anew. Deterministic: the same customers, the same model.
        """
        asked = Asked.of(self._rt, at)
        if asked.at > self._rt.now():
            raise InvalidInput("expected an instant that has come", field="at")
        return fit(self._rt, asked, ModelChoice(model, prior, time_unit_days))

    def backtest(
        self,
        cut: date | str,
        horizon_days: int,
        *,
        model: ModelName = "mbg",
        prior: Literal["default"] | None = "default",
        time_unit_days: int = 1,
    ) -> Backtest:
        """How good predictions made at the end of a business day would have been.

        A model is fitted to what was bought up to `cut` and held to what was bought in the days
        after it, beside two simple rules; nothing is stored. Amounts are in major units.
        """
        day = calendar_date(cut, field="cut")
        asked, terms = Asked.of(self._rt, None), self._terms(horizon_days)
        choice = ModelChoice(model, prior, time_unit_days)
        return backtested(self._rt, asked, day, terms.horizon_days, choice)

    def run_due(self, at: datetime) -> int:
        """Fit the model anew if it is due, and refresh scores by it; how much was. crmkit's own."""
        return refit(self._rt, at) + refreshed(self._rt, at)

    def historic(self, uow: UnitOfWork, customer_id: str) -> Money:
        """What the customer has spent, net, inside a unit of work; crmkit's own."""
        metrics = self._rt.metrics(uow, customer_id)
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
        """Net revenue by month of the first payment, ``YYYY-MM`` in the tenant's calendar.

        What erased customers had paid stays in it, linked to nobody.
        """
        settings, kinds = self._rt.settings, self._rt.settings.kinds_by_name
        months: Counter[str] = Counter()
        with self._rt.read() as uow:
            stored = uow.stream(Activity, order=("story", "id"))
            for _, told in groupby(stored, key=lambda fact: fact.story):
                story = read(list(told), kinds)
                spent = spend(story, kinds)
                if spent:
                    day, _ = local(paid_at(story), settings)
                    months[f"{day:%Y-%m}"] += spent
        return {m: Money(months[m], settings.currency) for m in sorted(months)}


def _named(**names: object) -> dict[str, str]:
    """The names that were given, as activities bear them."""
    found: dict[str, str] = {}
    for field, name in names.items():
        if name is None:
            continue
        called = text(name, field=field, limit=200)
        if called is None:
            raise InvalidInput("expected some text", field=field)
        found[field] = called
    return found


def _notes(uow: UnitOfWork, customer_id: str, at: datetime) -> tuple[Note, ...]:
    """The last notes that were there at that instant."""
    found = uow.find(
        Note,
        customer_id=customer_id,
        order=("occurred_at", "id"),
        descending=True,
        after=just_after(at),
        limit=_RECENT,
    )
    return tuple(found)
