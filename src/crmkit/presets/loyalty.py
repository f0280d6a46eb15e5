"""A loyalty programme for each line of business, with its numbers to set; pure.

``Settings(programmes=[loyalty.nightclub()])``.
"""

from __future__ import annotations

from typing import Final

from crmkit.programmes import (
    DEFAULT_EARN_RULES,
    EarnRule,
    Limit,
    Milestone,
    Programme,
    Reward,
    StampCard,
)
from crmkit.rules import f

_ONCE: Final = Limit(1)
_A_DAY: Final = Limit(1, "day")
_A_YEAR: Final = Limit(1, "year")


def welcome_discount(percent: int = 10) -> Reward:
    """A discount for who never came, once."""
    return Reward(
        name="welcome_discount",
        type=f"DISCOUNT_{percent}",
        title=f"{percent} % on your first visit",
        when=((f.total_visits == 0) & (f.completed_bookings == 0)).to_dict(),
        limit=_ONCE,
    )


def birthday_club(group: int = 6) -> tuple[Reward, ...]:
    """Free entry on the birthday, and a free bottle for groups of at least so many."""
    return (
        Reward(
            name="birthday_entry",
            type="FREE_ENTRY",
            title="Free entry on your birthday",
            during="birthday",
            limit=_A_YEAR,
            hold_days=1,
        ),
        Reward(
            name="birthday_bottle",
            type="FREE_BOTTLE",
            title="A free bottle for you and your friends",
            during="birthday",
            party_size=group,
            limit=_A_YEAR,
            hold_days=1,
        ),
    )


def nightclub(*, vip_events: int = 10, table_every: int = 5, group: int = 6) -> Programme:
    """A club: guests of so many events are VIP, every so many a table is free."""
    return Programme(
        earn_rules=(*DEFAULT_EARN_RULES, EarnRule(name="night", kind="attendance", points=50)),
        rewards=(
            Reward(name="free_beverage", cost=500, type="FREE_BEVERAGE"),
            Reward(name="free_table", type="FREE_TABLE", by_card=True),
            Reward(name="priority_entry", type="PRIORITY_ENTRY", tier="VIP", limit=_A_DAY,
                   hold_days=1),
            *birthday_club(group),
            welcome_discount(),
        ),
        cards=(
            StampCard(
                name="nights", reward="free_table", every=table_every, counts="events_attended"
            ),
        ),
        milestones=(
            Milestone(name="vip", counts="events_attended", reaches=vip_events, tier="VIP"),
        ),
    )  # fmt: skip


def restaurant(*, points_per_ten: int = 10, dessert_every: int = 5) -> Programme:
    """A restaurant: points for what is spent, and every so many visits a dessert."""
    return Programme(
        earn_rules=(
            EarnRule(name="table", kind="booking", points=points_per_ten, per=10, completed=True),
            EarnRule(name="bill", kind="purchase", points=points_per_ten, per=10),
            EarnRule(name="review", kind="review", points=25),
        ),
        rewards=(
            Reward(name="coffee", cost=200, type="FREE_COFFEE"),
            Reward(name="discount_10", cost=1_000, type="DISCOUNT_10"),
            Reward(name="dessert", type="FREE_DESSERT", by_card=True),
            Reward(name="birthday_dessert", type="FREE_DESSERT", during="birthday_month",
                   limit=_A_YEAR),
            welcome_discount(),
        ),
        cards=(StampCard(name="visits", reward="dessert", every=dessert_every),),
        milestones=(
            Milestone(name="tenth_booking", counts="completed_bookings", reaches=10, points=100),
            Milestone(name="spent_1000", counts="spend", reaches=1_000, points=250),
        ),
    )  # fmt: skip
