"""`crm.insights.standing`: where customers stand, each beside all the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final, TypeVar

import attrs

from crmkit.activities.dimensions import local
from crmkit.activities.stories import read, stories
from crmkit.errors import InvalidInput, unknown
from crmkit.insights.buying import LASTS, PAGE, History, bought, happened, metrics_page
from crmkit.insights.modelling import fitted, forecasted, histories
from crmkit.insights.reading import Asked, numbers
from crmkit.insights.scoring import buyer, engaged, refresh, silence
from crmkit.insights.value.churn import ChurnBounds, ChurnRisk, churn_risk
from crmkit.insights.value.cohorts import Cohort, cohorts
from crmkit.insights.value.engagement import EngagementScore
from crmkit.insights.value.journey import JourneyStage, journey
from crmkit.insights.value.response import (
    Pattern,
    Response,
    conversion_score,
    pattern,
    promo_response,
)
from crmkit.insights.value.rfm import Buyer, Population, Rfm
from crmkit.insights.value.stored import frequency_of
from crmkit.insights.value.summaries import summarise
from crmkit.model import Activity, Metrics, Page, ValueModel
from crmkit.model.page import checked_limit, paged, position
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

T = TypeVar("T")

_DAY: Final = timedelta(days=1)
_FAMILIES: Final = ("visit", "booking", "order")
_JOURNEY: Final = ("visits", "completed_bookings", "referrals", "reviews")


@attrs.frozen
class CustomerRisk:
    """One line of all customers' churn; see `ChurnRisk`."""

    customer_id: str
    band: str
    risk: float


@attrs.frozen
class CustomerEngagement:
    """One line of all customers' engagement; see `EngagementScore`."""

    customer_id: str
    score: float


@attrs.frozen
class CustomerStage:
    """One line of all customers' journeys; see `JourneyStage`."""

    customer_id: str
    stage: str


class Standing:
    """Churn, RFM, cohorts, engagement, response, rhythm and journey of one tenant's customers.

    What is about all customers is read as it is asked for, a page of them in memory at a time.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def models(self, *, limit: int = 100, after: str | None = None) -> Page[ValueModel]:
        """The models that were fitted, the last version first."""
        limit, start = checked_limit(limit), position(after, (int,))
        with self._rt.read() as uow:
            found = uow.find(
                ValueModel, order=("version",), descending=True, after=start, limit=limit + 1
            )
        return paged(found, limit, lambda model: (model.version,))

    def refresh(self) -> int:
        """Score all customers anew for the rules of segments; how many are other than before.

        By the model that answers now. From then on `run_due` refreshes the scores with each
        new model. Segments that ask for scores are kept in step. Raises `InvalidInput`
        where no model was fitted.
        """
        return refresh(self._rt, Asked.of(self._rt, None))

    def churn(
        self,
        customer_id: str,
        *,
        at: datetime | str | None = None,
        horizon_days: int | None = None,
    ) -> ChurnRisk | None:
        """How likely the customer is to stay away within the horizon, and the band of that.

        None before the first purchase. The horizon is the lifecycle's `churned_days` unless
        given; a longer silence than those makes the band ``churned``. Raises `InvalidInput`
        where no model was fitted.
        """
        asked, settings = Asked.of(self._rt, at), self._rt.settings
        days = _checked(horizon_days, settings.lifecycle.churned_days)
        chance = self._returning(customer_id, asked, days)
        if chance is None:
            return None
        metrics, p_active = chance
        last = max(filter(None, (getattr(metrics, name) for name in LASTS)), default=None)
        return churn_risk(p_active, silence(last, asked.at), self._bounds())

    def churn_risks(
        self, *, at: datetime | str | None = None, horizon_days: int | None = None
    ) -> Iterator[CustomerRisk]:
        """The same of all who ever bought, in the order of their ids."""
        asked, bounds = Asked.of(self._rt, at), self._bounds()
        days = _checked(horizon_days, bounds.threshold_days)
        model = fitted(self._rt, asked)
        return (
            CustomerRisk(history.customer_id, risk.band, risk.risk)
            for history, _, found in forecasted(self._rt, asked, model, days, heard=True)
            for risk in [churn_risk(found.p_active, silence(history.last_at, asked.at), bounds)]
        )

    def _bounds(self) -> ChurnBounds:
        return ChurnBounds(threshold_days=self._rt.settings.lifecycle.churned_days)

    def _returning(self, customer_id: str, asked: Asked, days: int) -> tuple[Metrics, float] | None:
        """The customer's numbers and the chance of a purchase; None before the first one."""
        model = fitted(self._rt, asked)
        with self._rt.read() as uow:
            metrics = numbers(uow, self._rt, customer_id, asked)
            purchases = bought(uow, self._rt, metrics.customer_id, asked)
        summary = summarise(purchases, self._today(asked), model.time_unit_days)
        if summary is None:
            return None
        seen = (summary.frequency, summary.recency, summary.age)
        horizon = days / model.time_unit_days
        return metrics, frequency_of(model).returning(*seen, horizon)

    def _today(self, asked: Asked) -> date:
        return local(asked.at, self._rt.settings)[0]

    def rfm(self, *, at: datetime | str | None = None) -> Iterator[Rfm]:
        """The RFM scores and groups of all who ever bought, in the order of their ids.

        Reads all purchases twice: to know the population, and to score each against it.
        """
        asked = Asked.of(self._rt, at)
        population = Population.of(self._buyers(asked))
        return map(population.scored, self._buyers(asked))

    def rfm_of(self, customer_id: str, *, at: datetime | str | None = None) -> Rfm | None:
        """The RFM scores and group of one customer against all; None before the first purchase."""
        asked = Asked.of(self._rt, at)
        with self._rt.read() as uow:
            metrics = numbers(uow, self._rt, customer_id, asked)
            purchases = bought(uow, self._rt, metrics.customer_id, asked)
        if not purchases:
            return None
        own = History(metrics.customer_id, metrics.spend_minor, purchases, None)
        population = Population.of(self._buyers(asked))
        return population.scored(buyer(own, self._today(asked)))

    def _buyers(self, asked: Asked) -> Iterator[Buyer]:
        today = self._today(asked)
        return (buyer(history, today) for history in histories(self._rt, asked))

    def cohorts(
        self, *, at: datetime | str | None = None, months: int = 12, by: str = "visit"
    ) -> tuple[Cohort, ...]:
        """Of those who first came in a month, how many came again in the months after it.

        `by` is what counts as coming: ``visit``, ``booking`` or ``order``.
        """
        if by not in _FAMILIES:
            raise InvalidInput(unknown("date", by, _FAMILIES), field="by")
        asked = Asked.of(self._rt, at)
        kinds = {k.name for k in self._rt.settings.kinds if by in k.dates}
        if by == "order":
            kinds |= {k.name for k in self._rt.settings.kinds if k.paid_is_order}
        return cohorts(self._days(asked, by, kinds), self._today(asked), months)

    def _days(self, asked: Asked, by: str, kinds: set[str]) -> Iterator[set[date]]:
        """The business days of such activities, customer by customer."""
        settings = self._rt.settings
        known = settings.kinds_by_name

        def ask(uow: UnitOfWork, ids: tuple[str, ...]) -> Iterable[set[date]]:
            days: defaultdict[str, set[date]] = defaultdict(set)
            for who, kind, when, amount in happened(uow, asked.at, ids, kinds):
                if by in known[kind].dates or amount is not None:
                    days[who].add(local(when, settings)[0])
            return days.values()

        return self._of_all(ask)

    def _of_all(self, ask: Callable[[UnitOfWork, tuple[str, ...]], Iterable[T]]) -> Iterator[T]:
        """What is asked of all customers, a page of them in a unit of work at a time."""
        after: tuple[str] | None = None
        while True:
            with self._rt.read() as uow:
                rows = uow.rows(Metrics, ("customer_id",), after=after, limit=PAGE)
                found = ask(uow, tuple(row[0] for row in rows))
            yield from found
            if not rows:
                return
            after = rows[-1]

    def engagement(self, customer_id: str, *, at: datetime | str | None = None) -> EngagementScore:
        """What the customer did lately, from 0 to 100, with what each kind of activity adds."""
        asked = Asked.of(self._rt, at)
        with self._rt.read() as uow:
            customer_id = self._rt.metrics(uow, customer_id).customer_id
            return engaged(uow, self._rt, asked, (customer_id,))[customer_id]

    def engagements(self, *, at: datetime | str | None = None) -> Iterator[CustomerEngagement]:
        """The same of all customers, in the order of their ids."""
        asked = Asked.of(self._rt, at)

        def ask(uow: UnitOfWork, ids: tuple[str, ...]) -> list[CustomerEngagement]:
            found = engaged(uow, self._rt, asked, ids)
            return [CustomerEngagement(who, of.score) for who, of in found.items()]

        return self._of_all(ask)

    def response(self, customer_id: str, *, at: datetime | str | None = None) -> Response:
        """How often the customer clicks on what is sent: high, medium or low."""
        asked = Asked.of(self._rt, at)
        with self._rt.read() as uow:
            return _response(numbers(uow, self._rt, customer_id, asked))

    def conversion(
        self,
        customer_id: str,
        *,
        at: datetime | str | None = None,
        horizon_days: int | None = None,
    ) -> int | None:
        """How likely a promotion leads to a purchase within the horizon, from 0 to 100.

        None before the first purchase: of leads the models know nothing. The horizon is that
        of lifetime values unless given. Raises `InvalidInput` where no model was fitted.
        """
        asked = Asked.of(self._rt, at)
        days = _checked(horizon_days, self._rt.settings.lifetime_horizon_days)
        chance = self._returning(customer_id, asked, days)
        return None if chance is None else conversion_score(chance[1], _response(chance[0]))

    def pattern(self, customer_id: str, *, at: datetime | str | None = None) -> Pattern:
        """The rhythm of the customer's purchases, and when the next would follow it."""
        asked = Asked.of(self._rt, at)
        with self._rt.read() as uow:
            customer_id = self._rt.metrics(uow, customer_id).customer_id
            purchases = bought(uow, self._rt, customer_id, asked)
        return pattern(day for day, _ in purchases)

    def journey(self, customer_id: str, *, at: datetime | str | None = None) -> JourneyStage:
        """The furthest stage that the customer has reached, from discovery to advocacy."""
        asked = Asked.of(self._rt, at)
        with self._rt.read() as uow:
            metrics = numbers(uow, self._rt, customer_id, asked)
            who = metrics.customer_id
            row = (who, *(getattr(metrics, name) for name in _JOURNEY))
            return _stage(row, _ratings(uow, self._rt, asked, [row]))

    def journeys(self, *, at: datetime | str | None = None) -> Iterator[CustomerStage]:
        """The same of all customers, in the order of their ids."""
        asked, after = Asked.of(self._rt, at), None
        while True:
            with self._rt.read() as uow:
                rows, _ = metrics_page(uow, self._rt, asked, _JOURNEY, after)
                ratings = _ratings(uow, self._rt, asked, rows)
            for row in rows:
                yield CustomerStage(row[0], _stage(row, ratings).stage)
            if not rows:
                return
            after = rows[-1][0]


def _checked(horizon_days: object, usual: int) -> int:
    days = usual if horizon_days is None else horizon_days
    if type(days) is not int or not 1 <= days <= 3_650:
        raise InvalidInput("expected 1 to 3650 days", field="horizon_days")
    return days


def _response(metrics: Metrics) -> Response:
    return promo_response(metrics.messages_delivered, metrics.messages_clicked)


def _ratings(
    uow: UnitOfWork, rt: Runtime, asked: Asked, rows: list[tuple[Any, ...]]
) -> Mapping[str, float]:
    """The mean rating in the reviews of those who wrote any."""
    kinds = rt.settings.kinds_by_name
    names = tuple(k.name for k in rt.settings.kinds if "reviews" in k.counts)
    who = tuple(row[0] for row in rows if row[-1])
    if not who or not names:
        return {}
    written = uow.find(Activity, customer_id=who, kind=names)
    facts = uow.find(Activity, story=tuple(sorted({fact.story for fact in written})))
    given: defaultdict[str, list[float]] = defaultdict(list)
    for told in stories(f for f in facts if asked.includes(f, kinds)):
        story = read(told, kinds)
        for fact in () if story.off else story.said:
            rating = fact.payload.get("rating")
            if fact.kind in names and isinstance(rating, (int, float)):
                given[fact.customer_id or ""].append(float(rating))
    return {who: sum(ratings) / len(ratings) for who, ratings in given.items()}


def _stage(row: tuple[Any, ...], ratings: Mapping[str, float]) -> JourneyStage:
    who, visits, completed, referrals, _ = row
    # Where arrivals are not recorded, a booking that took place was a visit.
    return journey(max(visits, completed), referrals, ratings.get(who))
