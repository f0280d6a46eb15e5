from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from crmkit.config import Settings
from crmkit.model.rule import AllOf, AnyOf, Compare, Member, Not
from crmkit.rules import did, did_not, f, in_segment
from crmkit.segmentation.describe import describe
from crmkit.segmentation.rules import parse

SETTINGS = Settings(timezone="Europe/Bucharest")
BOOKED = did("booking", within="7d")


def told(rule: Mapping[str, Any]) -> str:
    return describe(parse(rule, SETTINGS), SETTINGS)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (f.total_spend > 1000, "total spend is above 1,000.00 EUR"),
        (f.visits != 3, "total visits is not 3"),
        (f.age.between(18, 30), "age is between 18 and 30"),
        (f.city == 'Cluj "N"', 'city is "Cluj \\"N\\""'),
        (f.city.is_in(["Cluj", ""]), 'city is one of "Cluj", ""'),
        (f.tags.contains_all(["a", "b"]), 'tags contains each of "a", "b"'),
        (f.name.starts_with("\u202ea"), 'name begins with "\\u202ea"'),
        (f["custom.club"] == 7, "custom.club is 7"),
        (f["consent.third_party_sms"] == True,  # noqa: E712 - it is written, not asked
         "consent to third party by sms is true"),
        (f.tier >= "GOLD", "tier is at least GOLD"),
        (f.email.exists(), "has email"),
        (f.email.missing(), "has no email"),
        (f.last_purchase.within("90d"), "last purchase within 90 days"),
        (f.last_purchase.not_within("1mo"), "last purchase not within 1 month"),
        (f.last_purchase.during("last month"), "last purchase was last month"),
        (f.last_purchase.during("this day"), "last purchase was today"),
        (f.last_purchase.after("2026-06-01"), "last purchase is after 2026-06-01"),
        (f.last_purchase < "2026-06-01T10:00:00Z", "last purchase is before 2026-06-01 13:00"),
        (f.birth_date <= "2000-01-01", "birth date is not after 2000-01-01"),
        (f.birth_date.anniversary_within("7d"), "anniversary of birth date is within 7 days"),
        (f.birth_date.anniversary_within(0), "anniversary of birth date is today"),
        (f.total_spend.top_percent(12.5), "is among the top 12.5 % by total spend"),
        (f.points.bottom_count(1_000), "is among the bottom 1,000 by points"),
        (f.location.near(44.43, -0.05, km=5), "is within 5 km of 44.43, -0.05"),
        (in_segment("vip"), 'is in the segment "vip"'),
        (~in_segment("vip"), 'is not in the segment "vip"'),
        (~(f.city == "Cluj"), 'not (city is "Cluj")'),
        (BOOKED, "had a booking in the last 7 days"),
        (did("order", during="today"), "had an order today"),
        (did_not("booking", since="2026-01-01"), "had no bookings since 2026-01-01"),
        (did("purchase", f.item == "X", within="1d").count >= 3,
         'had at least 3 purchases (item is "X") in the last day'),
        (did("visit").count == 1, "had exactly 1 visit"),
        (did("message_opened").count.is_in([1, 2]), "number of messages opened is one of 1, 2"),
        (did("visit", within="1y").count_per("month") > 2,
         "had more than 2 visits in one month, in the last year"),
        (did("visit", since="2026-01-01", until="2026-02-01").sum >= 9,
         "sum of visits from 2026-01-01 until before 2026-02-01 is at least 9.00 EUR"),
        (did("no_show").last.within("30d"), "last no show within 30 days"),
        (did("visit").first.missing(), "has no first visit"),
        (BOOKED.not_then(did("ticket"), within="1h"),
         "had a booking in the last 7 days, not followed by a ticket within 1 hour"),
        (BOOKED.then(did("ticket", f.amount > 5), within="2w"),
         "had a booking in the last 7 days,"
         " followed by a ticket (amount is above 5.00 EUR) within 2 weeks"),
    ],
)  # fmt: skip
def test_conditions_are_told(rule: Mapping[str, Any], expected: str) -> None:
    assert told(rule) == expected


def test_a_short_rule_is_told_on_one_line() -> None:
    rule = (f.total_spend >= 100) & (f.last_purchase.within("90d") | (f.events_attended >= 3))
    assert told(rule) == (
        "total spend is at least 100.00 EUR"
        " and (last purchase within 90 days or events attended is at least 3)"
    )


def test_a_long_rule_is_told_line_by_line() -> None:
    either = f.last_purchase.within("90d") | (f.events_attended >= 3)
    rule = (f.total_spend >= 100) & either & ~(either & did("visit", f.venue == "Club"))
    assert told(rule).split("\n") == [
        "all of:",
        "  total spend is at least 100.00 EUR",
        "  at least one of:",
        "    last purchase within 90 days",
        "    events attended is at least 3",
        "  not:",
        "    all of:",
        "      at least one of:",
        "        last purchase within 90 days",
        "        events attended is at least 3",
        '      had a visit (venue is "Club")',
    ]


def test_long_lists_are_cut() -> None:
    assert told(f.age.is_in(range(1_000))).endswith(" 8, 9 and 990 more")


def test_amounts_are_told_in_the_tenants_currency() -> None:
    settings = Settings(currency="JPY")
    assert describe(Compare("total_spend", ">", 5_000), settings).endswith("5,000 JPY")


def test_what_no_document_says_is_told_too() -> None:
    assert describe(AllOf(()), SETTINGS) == "everybody"
    assert describe(AnyOf(()), SETTINGS) == "nobody"
    assert describe(Member("s1"), SETTINGS) == "was put in by hand"
    assert describe(Not(Member("s1", kept_out=True)), SETTINGS) == "not (was kept out by hand)"
