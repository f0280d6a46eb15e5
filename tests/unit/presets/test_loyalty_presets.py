"""Programmes for lines of business: whole, and with rules that are understood."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crmkit import Programme, Settings
from crmkit.presets import loyalty
from crmkit.segmentation.describe import describe
from crmkit.segmentation.rules import parse

every = pytest.mark.parametrize(
    "made", [loyalty.nightclub, loyalty.restaurant], ids=lambda made: made.__name__
)


@every
def test_a_preset_is_a_programme_of_the_default_settings(made: Callable[[], Programme]) -> None:
    assert Settings(programmes=[made()]).programme == made()


@every
def test_every_rule_of_a_reward_is_understood(made: Callable[[], Programme]) -> None:
    rules = [reward.when for reward in made().rewards if reward.when]
    assert rules
    assert all(describe(parse(rule, Settings()), Settings()) for rule in rules)


def test_numbers_are_keywords() -> None:
    club = loyalty.nightclub(vip_events=3, table_every=7, group=9)
    assert [milestone.reaches for milestone in club.milestones] == [3]
    assert [card.every for card in club.cards] == [7]
    assert {reward.party_size for reward in club.rewards} == {None, 9}
    bistro = loyalty.restaurant(points_per_ten=3, dessert_every=7)
    assert {rule.points for rule in bistro.earn_rules if rule.per} == {3}
    assert loyalty.welcome_discount(25).type == "DISCOUNT_25"
