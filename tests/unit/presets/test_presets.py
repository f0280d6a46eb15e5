"""Presets: readable, overridable, and in agreement with the bands of the settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crmkit import InvalidInput, Settings, SpendingBands, presets
from crmkit.presets import Preset
from crmkit.segmentation.describe import describe
from crmkit.segmentation.rules import parse

VERTICALS = (
    presets.nightclub,
    presets.restaurant,
    presets.escape_rooms,
    presets.playcentre,
    presets.ticketing,
)
every = pytest.mark.parametrize("vertical", VERTICALS, ids=lambda v: v.__name__)


@every
def test_names_are_unique_and_all_is_described(vertical: Callable[[], Preset]) -> None:
    preset = vertical()
    assert preset.name == vertical.__name__
    assert len({of.name for of in preset}) == len(preset) >= 15
    assert all(of.description for of in preset)


@every
def test_every_rule_is_understood_under_the_default_settings(
    vertical: Callable[[], Preset],
) -> None:
    for of in vertical():
        assert describe(parse(of.rules, Settings()), Settings())


@every
def test_the_bands_may_become_settings(vertical: Callable[[], Preset]) -> None:
    """What `crm.insights` calls at risk is then what the segment says."""
    preset = vertical()
    settings = Settings(lifecycle=preset.lifecycle, spending_bands=preset.spending_bands)
    assert f"{settings.lifecycle.active_days} to" in preset["lifecycle_at_risk"].description


def test_a_threshold_is_a_keyword() -> None:
    preset = presets.nightclub(at_risk_days=45, habitual_visits=6)
    assert preset.lifecycle.active_days == 45
    assert preset["at_risk_45d"] == presets.at_risk(45)
    assert preset["habituals"].description == "6 visits or more within 30d"


def test_spending_bands_are_those_given() -> None:
    bands = SpendingBands(medium=50, high=200, vip=400)
    preset = presets.escape_rooms(spending_bands=bands)
    assert preset["spending_vip"].rules == {"field": "total_spend", "operator": ">", "value": 400}


def test_visits_of_one_kind_make_a_plain_rule() -> None:
    rules = presets.habituals(kinds=["check_in"]).rules
    asked = {"operator": ">=", "value": 4}
    assert rules == {"did": "check_in", "within": "30d", "count": asked}


def test_a_preset_can_do_without_some() -> None:
    preset = presets.nightclub()
    less = preset.without("influencers", "dormant")
    assert {of.name for of in preset} - {of.name for of in less} == {"influencers", "dormant"}


def test_a_misspelt_segment_is_told() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'habituals'"):
        presets.nightclub().without("habitual")
