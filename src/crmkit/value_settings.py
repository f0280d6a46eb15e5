"""What a host may set about value, churn and engagement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from crmkit.errors import InvalidInput

ENGAGEMENT_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "visit": 10, "check_in": 10, "attendance": 10, "purchase": 10, "order": 10,
        "booking": 8, "ticket": 8, "referral": 8, "review": 6, "feedback": 4,
        "interaction": 3, "message_clicked": 3,
    }
)  # fmt: skip
"""What each kind of activity is worth at once; what is not in it is worth nothing.

An opened message is not: mail programs open by themselves.
"""


def _names(value: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(value, str):
        raise InvalidInput("expected a list of kinds, not one text", field="value.purchase_kinds")
    return None if value is None else tuple(value)


def _frozen(value: Mapping[str, float]) -> Mapping[str, float]:
    return MappingProxyType(dict(value))


def _check_kinds(_: object, __: object, value: tuple[str, ...] | None) -> None:
    if value == ():
        raise InvalidInput("expected at least one kind, or None", field="value.purchase_kinds")


def _check_days(_: object, __: object, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 3_650:
        raise InvalidInput("expected 1 to 3650 days", field="value.refit_days")


def _check_half_life(_: object, __: object, value: object) -> None:
    if not _is_number(value) or not 0 < value <= 3_650:  # type: ignore[operator]
        raise InvalidInput("expected more than 0, to 3650 days", field="value.half_life_days")


def _check_weights(_: object, __: object, value: Mapping[str, object]) -> None:
    for weight in value.values():
        if not _is_number(weight) or not 0 <= weight <= 1_000_000:  # type: ignore[operator]
            raise InvalidInput("expected numbers from 0", field="value.engagement_weights")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@attrs.frozen(kw_only=True)
class Valuation:
    """What counts as a purchase, how often models are fitted, and what engagement is made of.

    A customer bought on each business day on which an activity of `purchase_kinds` counts; with
    None, one of any kind that spends, where it carries an amount. `refit_days` is the age from
    which on `run_due` fits a model anew. `engagement_weights` tells what an activity of each kind
    is worth, `half_life_days` after how many days half of it.
    """

    purchase_kinds: tuple[str, ...] | None = attrs.field(
        default=None, converter=_names, validator=_check_kinds
    )
    refit_days: int = attrs.field(default=7, validator=_check_days)
    engagement_weights: Mapping[str, float] = attrs.field(
        default=ENGAGEMENT_WEIGHTS, converter=_frozen, validator=_check_weights, hash=False
    )
    half_life_days: float = attrs.field(default=30, validator=_check_half_life)
