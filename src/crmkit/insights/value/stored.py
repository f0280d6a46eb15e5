"""Between a fitted model and the record that is stored of it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from crmkit.insights.value.choosing import FittedModel, Frequency
from crmkit.insights.value.hiatus import Hiatus
from crmkit.insights.value.likelihood import PriorName
from crmkit.insights.value.purchasing import Kind, Purchasing
from crmkit.insights.value.spending import Spending
from crmkit.model import ValueModel


def as_record(
    fitted: FittedModel,
    *,
    tenant: str,
    version: int,
    at: datetime,
    fitted_at: datetime,
    kind: Kind,
    prior: PriorName | None,
    unit_days: int,
    customers: int,
    repeating: int,
) -> ValueModel:
    """The record of a fitted model."""
    fit, spend, rule = fitted.fit, fitted.spend, fitted.rule
    quality: dict[str, float] = {}
    if fit is not None:
        quality |= {"log_likelihood": fit.log_likelihood, "misfit": fitted.misfit or 0.0}
    if spend is not None:
        quality["spend_log_likelihood"] = spend.log_likelihood
    return ValueModel(
        tenant=tenant,
        version=version,
        at=at,
        fitted_at=fitted_at,
        kind=kind,
        prior=prior,
        time_unit_days=unit_days,
        customers=customers,
        repeating=repeating,
        frequency=None if fit is None else _numbers(fit.model, "r", "alpha", "a", "b"),
        spend=None if spend is None else _numbers(spend.model, "p", "q", "v"),
        hiatus=_numbers(rule, "silence", "rate", "weight"),
        quality=quality,
        reason=fitted.reason,
    )


def _numbers(of: Any, *names: str) -> Mapping[str, float]:
    return {name: float(getattr(of, name)) for name in names}


def frequency_of(model: ValueModel) -> Frequency:
    """What predicts the purchases."""
    if model.reason or model.frequency is None:
        return Hiatus(**model.hiatus)
    return Purchasing(kind=cast(Kind, model.kind), **model.frequency)


def spending_of(model: ValueModel) -> Spending | None:
    """What predicts the spend; None where there was nothing to learn it from."""
    return Spending(**model.spend) if model.spend else None
