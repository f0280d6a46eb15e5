"""The models by which lifetime values are predicted, and where customers stand by them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.model.catalogue import Data, Index, OnMerge, Origin, assigned, record, stored


def _inferred(*, default: Any = None) -> Any:
    return stored(Data.BEHAVIOUR, Origin.INFERRED, default=default)


@record("crm_value_models", key=("version",), indexes=(Index(("tenant", "at", "version")),))
class ValueModel:
    """A model of this tenant's customers, fitted to what they had bought by `at`.

    Of all versions the one with the latest `at` answers that is not after the instant asked
    about. `kind` is ``mbg`` or ``bg``, `prior` ``default`` or None, times are in units of
    `time_unit_days` and amounts in major units of the currency. `frequency` holds r, alpha, a and
    b, and is None where too few came back; `spend` p, q and v, None where no repeat purchase had
    an amount; `hiatus` the silence, rate and weight of the rule that answers where there is a
    `reason` not to trust the model. `quality` has the log-likelihoods and the misfit. All are
    numbers about everybody and tell of nobody.
    """

    tenant: str = assigned()
    version: int = assigned()
    at: datetime = assigned()
    fitted_at: datetime = assigned()
    kind: str = assigned()
    prior: str | None = assigned()
    time_unit_days: int = assigned()
    customers: int = assigned()
    repeating: int = assigned()
    frequency: Mapping[str, float] | None = assigned()
    spend: Mapping[str, float] | None = assigned()
    hiatus: Mapping[str, float] = assigned()
    quality: Mapping[str, float] = assigned()
    reason: str | None = assigned()

    @property
    def answers(self) -> str:
        """What answers: ``mbg``, ``bg``, or ``hiatus`` where there is a `reason`."""
        return "hiatus" if self.reason else self.kind

    @property
    def log_likelihood(self) -> float | None:
        """That of the frequencies, without the prior; None where nothing was fitted."""
        return self.quality.get("log_likelihood")


@record("crm_value_scores", key=("customer_id",), owner="customer_id")
class Score:
    """Where a customer stood when scores were last refreshed, for rules to ask.

    `lifetime_minor` is what was spent and, where it can be told, `predicted_minor` with it;
    `active_ppm` the chance of a purchase within the horizon in millionths; `engagement` from 0 to
    100. What asks for a purchase is None before the first one.
    """

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    lifetime_minor: int = _inferred(default=0)
    predicted_minor: int | None = _inferred()
    active_ppm: int | None = _inferred()
    churn_band: str | None = _inferred()
    rfm_group: str | None = _inferred()
    engagement: int = _inferred(default=0)
    refreshed_at: datetime = assigned()
