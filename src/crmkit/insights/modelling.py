"""Fitting models of value to a tenant's customers, and asking them of everybody at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import tee
from typing import Final, Literal, TypeAlias

from crmkit.activities.dimensions import local
from crmkit.errors import InvalidInput, unknown
from crmkit.insights.buying import History, page
from crmkit.insights.lifetime import NO_MODEL, CustomerValue, line
from crmkit.insights.reading import Asked
from crmkit.insights.value.backtest import Backtest, backtest, parted
from crmkit.insights.value.choosing import fit_value
from crmkit.insights.value.likelihood import PriorName
from crmkit.insights.value.predicting import Forecast, forecasts
from crmkit.insights.value.purchasing import Kind
from crmkit.insights.value.stored import as_record, frequency_of, spending_of
from crmkit.insights.value.summaries import Summary, summarise
from crmkit.model import Money, ValueModel
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

ModelName: TypeAlias = Literal["mbg", "bg"]

_MODELS: Final = ("mbg", "bg")
_LONGEST_UNIT: Final = 365
_MICROSECOND: Final = timedelta(microseconds=1)
_LOCK: Final = "value model"


class Choice:
    """Which model to fit, with which prior, in which unit of time; raises `InvalidInput`."""

    def __init__(self, model: object, prior: object, time_unit_days: object) -> None:
        if model not in _MODELS:
            raise InvalidInput(unknown("model", model, _MODELS), field="model")
        if prior not in ("default", None):
            raise InvalidInput("expected 'default' or None", field="prior")
        if type(time_unit_days) is not int or not 1 <= time_unit_days <= _LONGEST_UNIT:
            raise InvalidInput(f"expected 1 to {_LONGEST_UNIT} days", field="time_unit_days")
        self.kind: Kind = model
        self.prior: PriorName | None = prior
        self.unit_days = time_unit_days


def model_at(uow: UnitOfWork, at: datetime) -> ValueModel | None:
    """The model that answers at an instant: the one that was fitted to the latest by then."""
    found = uow.find(
        ValueModel,
        order=("at", "version"),
        descending=True,
        after=(at + _MICROSECOND, 0),
        limit=1,
    )
    return found[0] if found else None


def fitted(rt: Runtime, asked: Asked) -> ValueModel:
    """The model that answers; raises `InvalidInput` where there is none."""
    with rt.read() as uow:
        model = model_at(uow, asked.at)
    if model is None:
        raise InvalidInput(NO_MODEL)
    return model


def histories(rt: Runtime, asked: Asked, *, heard: bool = False) -> Iterator[History]:
    """All who ever bought, in the order of their ids; a page of customers in memory at a time."""
    after: str | None = None
    while True:
        with rt.read() as uow:
            found = page(uow, rt, asked, after, heard=heard)
        if not found:
            return
        yield from (history for history in found if history.purchases)
        after = found[-1].customer_id


def fit(
    rt: Runtime, asked: Asked, choice: Choice, *, instead_of: ValueModel | None = None
) -> ValueModel:
    """Fit a model to all customers and store it as the next version.

    With `instead_of` only if that is still the one which answers; else what does now.
    """
    today, _ = local(asked.at, rt.settings)
    found = (summarise(h.purchases, today, choice.unit_days) for h in histories(rt, asked))
    summaries = [summary for summary in found if summary is not None]
    silence = rt.settings.lifecycle.churned_days / choice.unit_days
    best = fit_value(summaries, silence, choice.kind, choice.prior)

    def work(uow: UnitOfWork) -> ValueModel:
        uow.lock([_LOCK])
        answers = model_at(uow, asked.at) if instead_of else None
        if answers is not None and answers != instead_of:
            return answers
        last = uow.find(ValueModel, order=("version",), descending=True, limit=1)
        model = as_record(
            best,
            tenant=rt.tenant,
            version=last[0].version + 1 if last else 1,
            at=asked.at,
            fitted_at=rt.now(),
            kind=choice.kind,
            prior=choice.prior,
            unit_days=choice.unit_days,
            customers=len(summaries),
            repeating=sum(1 for s in summaries if s.frequency),
        )
        uow.add(model)
        return model

    return rt.write(work)


def refit(rt: Runtime, at: datetime) -> int:
    """Fit anew what answers once it is old enough; how many models were fitted, 0 or 1."""
    with rt.read() as uow:
        model = model_at(uow, at)
    if model is None or at - model.at < timedelta(days=rt.settings.value.refit_days):
        return 0
    choice = Choice(model.kind, model.prior, model.time_unit_days)
    return int(fit(rt, Asked(at, None), choice, instead_of=model).at == at)


Forecasted: TypeAlias = tuple[History, Summary, Forecast]


def forecasted(
    rt: Runtime, asked: Asked, model: ValueModel, horizon_days: int, *, heard: bool = False
) -> Iterator[Forecasted]:
    """All who ever bought, with what the model expects of them; in little memory."""
    today, _ = local(asked.at, rt.settings)
    unit = model.time_unit_days
    pairs = (
        (history, summary)
        for history in histories(rt, asked, heard=heard)
        if (summary := summarise(history.purchases, today, unit)) is not None
    )
    told, asked_of = tee(pairs)
    found = forecasts(
        frequency_of(model),
        spending_of(model),
        (summary for _, summary in asked_of),
        horizon_days / unit,
    )
    for (history, summary), forecast in zip(told, found, strict=True):
        yield history, summary, forecast


def values(
    rt: Runtime, asked: Asked, model: ValueModel, horizon_days: int
) -> Iterator[CustomerValue]:
    """The values of all who ever bought."""
    currency = rt.settings.currency
    for history, _, forecast in forecasted(rt, asked, model, horizon_days):
        yield line(history.customer_id, Money(history.spent_minor, currency), forecast)


def backtested(rt: Runtime, asked: Asked, cut: date, horizon_days: int, choice: Choice) -> Backtest:
    """How good the predictions made at the end of the day `cut` would have been."""
    today, _ = local(asked.at, rt.settings)
    if not cut + timedelta(days=horizon_days) < today:
        raise InvalidInput("expected a cut whose horizon has passed", field="cut")
    found = (
        parted(history.purchases, cut, horizon_days, choice.unit_days)
        for history in histories(rt, asked)
    )
    return backtest(
        [case for case in found if case is not None],
        cut,
        horizon_days,
        rt.settings.lifecycle.churned_days,
        choice.kind,
        choice.prior,
        unit_days=choice.unit_days,
    )
