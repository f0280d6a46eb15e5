"""Refreshing the scores that rules ask for: where each customer stands by the models of value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final

import attrs

from crmkit.activities.dimensions import local
from crmkit.customers.restriction import restricted_among
from crmkit.insights.buying import History, happened, page
from crmkit.insights.lifetime import money
from crmkit.insights.modelling import fitted, histories, model_at
from crmkit.insights.reading import Asked
from crmkit.insights.value.choosing import Frequency
from crmkit.insights.value.churn import ChurnBounds, churn_risk
from crmkit.insights.value.engagement import EngagementScore, engagement_score
from crmkit.insights.value.predicting import Forecast, forecasts
from crmkit.insights.value.rfm import Buyer, Population
from crmkit.insights.value.spending import Spending
from crmkit.insights.value.stored import frequency_of, spending_of
from crmkit.insights.value.summaries import Summary, summarise
from crmkit.model import Metrics, Score
from crmkit.model.catalogue import evolved
from crmkit.ports.events import ScoresRefreshed
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_PPM: Final = 1_000_000
_DAY: Final = timedelta(days=1)


@attrs.frozen
class Scorer:
    """What scores are made of, the same for all customers of a refresh."""

    rt: Runtime
    at: datetime
    today: date
    unit_days: int
    frequency: Frequency
    spending: Spending | None
    population: Population
    bounds: ChurnBounds

    @classmethod
    def of(cls, rt: Runtime, asked: Asked) -> Scorer:
        """By the model that answers; reads all purchases to know the population."""
        model = fitted(rt, asked)
        today, _ = local(asked.at, rt.settings)
        return cls(
            rt=rt,
            at=asked.at,
            today=today,
            unit_days=model.time_unit_days,
            frequency=frequency_of(model),
            spending=spending_of(model),
            population=Population.of(buyer(h, today) for h in histories(rt, asked)),
            bounds=ChurnBounds(threshold_days=rt.settings.lifecycle.churned_days),
        )

    def scores(
        self, found: Sequence[History], engaged: Mapping[str, EngagementScore]
    ) -> list[Score]:
        """The scores of these customers."""
        summaries = [summarise(h.purchases, self.today, self.unit_days) for h in found]
        told = [s for s in summaries if s is not None]
        horizon = self.rt.settings.lifetime_horizon_days / self.unit_days
        expected = forecasts(self.frequency, self.spending, told, horizon)
        return [
            self._score(history, summary, expected, engaged[history.customer_id].score)
            for history, summary in zip(found, summaries, strict=True)
        ]

    def _score(
        self,
        history: History,
        summary: Summary | None,
        expected: Iterator[Forecast],
        engaged: float,
    ) -> Score:
        score = Score(
            tenant=self.rt.tenant,
            customer_id=history.customer_id,
            lifetime_minor=history.spent_minor,
            engagement=round(engaged),
            refreshed_at=self.at,
        )
        if summary is None:
            return score
        forecast = next(expected)
        worth = None
        if forecast.value is not None:
            worth = money(forecast.value, self.rt.settings.currency).minor
        return evolved(
            score,
            lifetime_minor=history.spent_minor + (worth or 0),
            predicted_minor=worth,
            active_ppm=round(forecast.p_active * _PPM),
            churn_band=self._churn(history, summary),
            rfm_group=self.population.scored(buyer(history, self.today)).group,
        )

    def _churn(self, history: History, summary: Summary) -> str:
        horizon = self.bounds.threshold_days / self.unit_days
        seen = (summary.frequency, summary.recency, summary.age)
        silent = silence(history.last_at, self.at)
        return churn_risk(self.frequency.returning(*seen, horizon), silent, self.bounds).band


def buyer(history: History, today: date) -> Buyer:
    """Somebody who bought, as RFM sees them."""
    days = {day for day, _ in history.purchases}
    since = (today - max(days)).days
    return Buyer(history.customer_id, since, len(days), history.spent_minor)


def silence(last: datetime | None, at: datetime) -> float:
    """How many days a customer has not been heard of."""
    return 0.0 if last is None else (at - last) / _DAY


def engaged(
    uow: UnitOfWork, rt: Runtime, asked: Asked, ids: tuple[str, ...]
) -> Mapping[str, EngagementScore]:
    """The engagement of these customers."""
    value, known = rt.settings.value, {k.name for k in rt.settings.kinds}
    kinds = {k for k, weight in value.engagement_weights.items() if weight and k in known}
    events: dict[str, list[tuple[str, datetime]]] = {who: [] for who in ids}
    for who, kind, when, _ in happened(uow, asked.at, ids, kinds):
        events[who].append((kind, when))
    half_life = timedelta(days=value.half_life_days)
    return {
        who: engagement_score(found, asked.at, value.engagement_weights, half_life=half_life)
        for who, found in events.items()
    }


def refresh(rt: Runtime, asked: Asked) -> int:
    """Score all customers anew, a page of them in a transaction; how many are other than before."""
    scorer = Scorer.of(rt, asked)
    changed, after = 0, None
    while True:
        with rt.read() as uow:
            found = page(uow, rt, asked, after, heard=True)
            ids = tuple(history.customer_id for history in found)
            told = engaged(uow, rt, asked, ids)
        if not found:
            return changed
        scores = scorer.scores(found, told)
        changed += rt.write(partial(_kept, rt, scores))
        after = found[-1].customer_id


def _kept(rt: Runtime, scores: Sequence[Score], uow: UnitOfWork) -> int:
    """Store the scores of those who are still there; how many are other than before."""
    # Held, so that what is asked about them meanwhile waits, and nobody merges them.
    there = uow.hold(Metrics, [score.customer_id for score in scores])
    before = {s.customer_id: s for s in uow.find(Score, customer_id=tuple(there))} if there else {}
    only_stored = restricted_among(uow, there)
    kept = [
        score if score.customer_id not in only_stored else _as_before(before, score)
        for score in scores
        if score.customer_id in there
        and (score.customer_id not in only_stored or score.customer_id in before)
    ]
    moved = [score for score in kept if _other(before.get(score.customer_id), score)]
    uow.put_many(kept)
    if moved:
        who = frozenset(score.customer_id for score in moved)
        rt.events.publish(uow, ScoresRefreshed(who, moved[0].refreshed_at))
    return len(moved)


def _as_before(before: Mapping[str, Score], now: Score) -> Score:
    """The score somebody had whose data is only stored, marked as looked at."""
    return evolved(before[now.customer_id], refreshed_at=now.refreshed_at)


def _other(before: Score | None, now: Score) -> bool:
    return before is None or evolved(before, refreshed_at=now.refreshed_at) != now


def refreshed(rt: Runtime, at: datetime) -> int:
    """Refresh scores that are older than the model which answers; whether there were any, 0 or 1.

    Nothing where nobody ever asked for scores. A refresh that was broken off is done again.
    """
    with rt.read() as uow:
        model = model_at(uow, at)
        last = uow.find(Score, order=("customer_id",), descending=True, limit=1)
    if model is None or not last or last[0].refreshed_at >= model.at:
        return 0
    refresh(rt, Asked(at, None))
    return 1
