from __future__ import annotations

from typing import Any

import attrs
import pytest

from crmkit import (
    CRMError,
    CRMService,
    EarnRule,
    InvalidInput,
    Kind,
    MemoryStorage,
    Programme,
    Settings,
)
from crmkit.config import CORRECTIONS, COUNTERS, DATES, DEFAULT_KINDS
from crmkit.model import Metrics
from crmkit.programmes import Multiplier, Reward

UNKNOWN = [EarnRule(name="r", kind="boooking", points=1)]
FREE = [EarnRule(name="r", kind="review", points=1, per=10)]


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ({"currency": "eur"}, "currency"),
        ({"currency": "EURO"}, "currency"),
        ({"currency": "\u0395UR"}, "currency"),  # a Greek letter
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"region": "ro"}, "region"),
        ({"region": "ROU"}, "region"),
        ({"programmes": ()}, "programmes"),
        ({"programmes": [Programme(), Programme()]}, "programmes"),
        ({"programmes": [Programme(earn_rules=UNKNOWN)]}, "programmes.earn_rules.kind"),
        ({"programmes": [Programme(earn_rules=FREE)]}, "programmes.earn_rules.per"),
        ({"kinds": [Kind(name="a"), Kind(name="a")]}, "kinds"),
        ({"kinds": [Kind(name="a", counts=("boookings",))]}, "kinds"),
        ({"kinds": [Kind(name="a", dates=("birthday",))]}, "kinds"),
    ],
)
def test_settings_that_cannot_be(setting: dict[str, Any], field: str) -> None:
    """Said when the settings are made, not when the first guest comes."""
    with pytest.raises(InvalidInput) as caught:
        Settings(**setting)
    assert caught.value.field == field
    assert isinstance(caught.value, CRMError)


def test_settings_are_frozen_and_lists_become_tuples() -> None:
    made = Settings(programmes=[Programme(name="a"), Programme(name="b")])
    assert made.programmes == (Programme(name="a"), Programme(name="b"))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.currency = "USD"  # type: ignore[misc]


def test_every_counter_and_date_of_a_kind_is_a_metric() -> None:
    known = {a.name for a in attrs.fields(Metrics)}  # type: ignore[arg-type]
    assert known >= COUNTERS
    assert {f"{end}_{family}_at" for end in ("first", "last") for family in DATES} <= known


def test_the_kinds_that_come_with_crmkit() -> None:
    made = Settings().kinds_by_name
    assert set(made) == {k.name for k in (*DEFAULT_KINDS, *CORRECTIONS)}
    assert {"purchase", "booking", "visit", "cancellation", "no_show", "refund"} <= set(made)
    assert Settings().zone.key == "UTC"


@pytest.mark.parametrize("place", ["earn_rules", "multipliers", "rewards"])
def test_a_condition_that_is_no_rule_is_refused_at_once(place: str) -> None:
    """When the service is made, with its place; not when a customer first asks."""
    when = {"field": "total_spendd", "operator": ">", "value": 1}
    parts: dict[str, Any] = {
        "earn_rules": EarnRule(name="p", kind="review", points=1, when=when),
        "multipliers": Multiplier(name="p", times=2, when=when),
        "rewards": Reward(name="p", when=when),
    }
    part: dict[str, Any] = {place: [parts[place]]}
    settings = Settings(programmes=[Programme(**part)])
    with pytest.raises(InvalidInput, match="total_spend") as caught:
        CRMService(MemoryStorage(), settings=settings)
    assert caught.value.field == f"programmes.{place}.when"
    plain = CRMService(MemoryStorage())
    with pytest.raises(InvalidInput):
        plain.for_tenant("other", settings=settings)
