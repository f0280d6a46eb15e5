from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import attrs
import pytest

from crmkit.config import Settings
from crmkit.errors import RuleError
from crmkit.model import Customer, Metrics, PointsAccount, Preferences
from crmkit.model.catalogue import evolved
from crmkit.model.rule import AllOf, AnyOf, Compare, Member, Not, Rule
from crmkit.model.time import FOREVER
from crmkit.programmes import Programme, Tier
from crmkit.segmentation.evaluate import compiled, lasting, tier_name
from crmkit.segmentation.rules import parse
from crmkit.segmentation.subject import Subject
from tests.tiers import held

SETTINGS = Settings(timezone="Europe/Bucharest")
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def subject(**fields: Any) -> Subject:
    kept: dict[str, Any] = {"tenant": "t", "id": "c", "created_at": AT, "updated_at": AT}
    metrics = {f.name for f in attrs.fields(Metrics)}  # type: ignore[arg-type]
    own = {f.name for f in attrs.fields(Subject)}
    return Subject(
        customer=Customer(**kept, **{k: v for k, v in fields.items() if k not in metrics | own}),
        metrics=Metrics(**{"tenant": "t", "customer_id": "c"}
                        | {k: v for k, v in fields.items() if k in metrics}),
        **{k: v for k, v in fields.items() if k in own},
    )  # fmt: skip


def holds(document: dict[str, Any], who: Subject, at: datetime = AT) -> bool:
    answer = compiled(parse(document, SETTINGS), SETTINGS)(who, at)
    assert isinstance(answer, bool)
    return answer


def fits(field: str, operator: str, value: Any, *, at: datetime = AT, **fields: Any) -> bool:
    return holds({"field": field, "operator": operator, "value": value}, subject(**fields), at)


SEED = {
    "operator": "and",
    "conditions": [
        {"field": "total_spend", "operator": ">=", "value": 100},
        {
            "operator": "or",
            "conditions": [
                {"field": "last_purchase", "operator": "within", "value": "90d"},
                {"field": "events_attended", "operator": ">=", "value": 3},
            ],
        },
    ],
}


def test_the_nested_rule_of_the_sources() -> None:
    recent, old = AT - timedelta(days=89), AT - timedelta(days=90)
    assert holds(SEED, subject(spend_minor=10_000, last_order_at=recent))
    assert not holds(SEED, subject(spend_minor=10_000, last_order_at=old))
    assert holds(SEED, subject(spend_minor=10_000, last_order_at=old, events_attended=3))
    assert not holds(SEED, subject(spend_minor=9_999, last_order_at=recent))
    assert not holds(SEED, subject(spend_minor=10_000))


@pytest.mark.parametrize(
    ("operator", "value"),
    [("=", "a"), ("!=", "a"), ("<", "a"), ("in", ["a"]), ("not_in", ["a"]), ("contains", "")],
)
def test_a_missing_field_makes_every_comparison_false(operator: str, value: Any) -> None:
    document = {"field": "city", "operator": operator, "value": value}
    assert not holds(document, subject())
    assert holds({"operator": "not", "conditions": [document]}, subject())


def test_exists() -> None:
    assert fits("city", "exists", True, city="Iași")
    assert fits("city", "exists", False)
    assert fits("total_visits", "exists", True)
    assert fits("points", "exists", True)
    assert fits("consent.marketing_email", "exists", True)
    assert fits("average_order_value", "exists", False)
    assert fits("tags", "exists", False)
    assert fits("music_genres", "exists", True, preferences=Preferences(music_genres=("rock",)))
    assert fits("custom.x", "exists", False, custom={"x": None})


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (timedelta(0), True),
        (-TICK, False),
        (timedelta(days=90) - TICK, True),
        (timedelta(days=90), False),
    ],
)
def test_the_edges_of_within(ago: timedelta, expected: bool) -> None:
    assert fits("last_visit", "within", "90d", last_visit_at=AT - ago) is expected
    assert fits("last_visit", "not_within", "90d", last_visit_at=AT - ago) is not expected


def test_not_within_needs_a_moment() -> None:
    assert not fits("last_visit", "not_within", "90d")


def test_a_month_follows_the_tenants_calendar() -> None:
    at = datetime(2026, 4, 15, 9, tzinfo=UTC)  # noon in Bucharest, in summer time
    noon = datetime(2026, 3, 15, 10, tzinfo=UTC)  # noon there a month before, in winter time
    assert not fits("last_visit", "within", "1mo", at=at, last_visit_at=noon)
    assert fits("last_visit", "within", "1mo", at=at, last_visit_at=noon + TICK)


@pytest.mark.parametrize(
    ("born", "at", "years"),
    [
        (date(2004, 2, 29), datetime(2025, 2, 27, 21, 59, tzinfo=UTC), 20),
        (date(2004, 2, 29), datetime(2025, 2, 27, 22, tzinfo=UTC), 21),  # the 28th in Bucharest
        (date(2004, 2, 29), datetime(2028, 2, 28, 12, tzinfo=UTC), 23),
        (date(2026, 6, 1), AT, 0),
    ],
)
def test_age_is_counted_on_the_tenants_calendar(born: date, at: datetime, years: int) -> None:
    assert fits("age", "=", years, at=at, birth_date=born)
    assert fits("age", "between", [years, years], at=at, birth_date=born)
    assert fits("age", ">", years - 0.5, at=at, birth_date=born)


def test_nobody_has_an_age_before_birth() -> None:
    assert not fits("age", ">=", 0, birth_date=date(2026, 6, 2))
    assert fits("age", "exists", False, birth_date=date(2026, 6, 2))
    assert fits("age", "exists", False)


def test_the_average_is_not_rounded() -> None:
    third: dict[str, Any] = {"spend_minor": 10_000, "orders": 3}
    assert fits("average_order_value", ">", 33.33, **third)
    assert fits("average_order_value", "<", 33.34, **third)
    assert not fits("average_order_value", "=", 33.33, **third)
    assert fits("average_order_value", "in", [50, 100], spend_minor=10_000, orders=2)
    assert fits("average_order_value", "between", [50, 50], spend_minor=10_000, orders=2)
    assert not fits("average_order_value", "not_in", [50], spend_minor=10_000, orders=2)
    assert not fits("average_order_value", ">=", 0)


def account(qualifying: int, balance: int = 0) -> PointsAccount:
    return PointsAccount(tenant="t", customer_id="c", balance=balance, qualifying=qualifying)


def test_tiers_are_ordered_by_rank() -> None:
    assert fits("tier", "=", "BRONZE")
    assert fits("tier", "=", "SILVER", tiers=held((AT, "SILVER")))
    assert fits("tier", ">=", "SILVER", tiers=held((AT, "VIP")))
    assert fits("tier", "between", ["SILVER", "GOLD"], tiers=held((AT, "GOLD")))
    assert fits("tier", "not_in", ["BRONZE", "PLATINUM"], tiers=held((AT, "GOLD")))
    assert fits("tier", "exists", True)
    assert not fits("tier", "exists", False, tiers=held((AT, "GOLD")))


def test_points_reach_no_tier_by_themselves() -> None:
    assert fits("tier", "=", "BRONZE", account=account(6_000))


def test_a_tier_holds_for_its_period_and_says_until_when() -> None:
    day = timedelta(days=1)
    who = subject(tiers=held((AT, "GOLD"), (AT + day, "SILVER"), (AT + 2 * day, "BRONZE")))
    rule = parse({"field": "tier", "operator": "=", "value": "SILVER"}, SETTINGS)
    asked = [AT - TICK, AT, AT + day - TICK, AT + day, AT + 2 * day]
    who = attrs.evolve(who, customer=evolved(who.customer, created_at=AT - day))
    assert [lasting(rule, SETTINGS)(who, at) for at in asked] == [
        (False, AT),
        (False, AT + day),
        (False, AT + day),
        (True, AT + 2 * day),
        (False, FOREVER),
    ]
    assert [compiled(rule, SETTINGS)(who, at) for at in asked] == [False] * 3 + [True, False]


def _fewer() -> Settings:
    only = Programme(tiers=(Tier("BRONZE", 0),), milestones=())
    return Settings(programmes=(only,))


def test_a_tier_of_more_than_there_are_by_now_is_the_highest() -> None:
    """Until it is reckoned anew."""
    assert tier_name(held((AT, "GOLD")), AT, SETTINGS) == "GOLD"
    assert tier_name(held((AT, "GOLD")), AT, _fewer()) == "BRONZE"


def test_a_tier_that_is_gone_is_refused() -> None:
    fewer = _fewer()
    with pytest.raises(RuleError, match="unknown tier 'GOLD'"):
        compiled(Compare("tier", "=", "GOLD"), fewer)


def test_points_without_an_account_are_zero() -> None:
    assert fits("points", "=", 0)
    assert fits("points", ">", 49, account=account(0, balance=50))


def test_lists_and_texts() -> None:
    tags = frozenset({"vip", "wine"})
    assert fits("tags", "contains", "vip", tags=tags)
    assert not fits("tags", "contains", "vi", tags=tags)
    assert fits("tags", "contains_any", ["beer", "wine"], tags=tags)
    assert not fits("tags", "contains_all", ["beer", "wine"], tags=tags)
    assert fits("occupation", "contains", "J p", occupation="DJ producer")
    assert not fits("occupation", "contains", "dj", occupation="DJ producer")
    assert fits("occupation", "starts_with", "DJ", occupation="DJ producer")


def test_consents_are_false_until_given() -> None:
    assert fits("consent.marketing_email", "=", False)
    assert fits("consent.marketing_email", "!=", True)
    given = {("marketing", "email"): FOREVER}
    assert fits("consent.marketing_email", "=", True, consents=given)
    assert fits("consent.marketing_sms", "=", False, consents=given)


def test_a_flag_with_a_default_is_never_missing() -> None:
    assert fits("prefers_table", "=", False)
    assert not fits("always_same_drink", "=", False)


@pytest.mark.parametrize(
    ("stored", "operator", "value", "expected"),
    [
        (5, "=", 5, True),
        (5.0, "=", 5, True),
        ("5", "=", 5, False),
        (5, "=", "5", False),
        (True, "=", 1, False),
        (1, "=", True, False),
        (True, "=", True, True),
        (False, "!=", True, True),
        ("5", "!=", 5, False),
        (5, "in", [4, 5], True),
        (True, "in", [1], False),
        ("5", "not_in", [5], False),
        (["a", "b"], "contains", "a", True),
        ("abc", "contains", "b", True),
        ({"a": 1}, "contains", "a", False),
        (5, "contains", "5", False),
        ([1, None, "a"], "contains_all", ["a"], True),
        (["ab"], "starts_with", "a", False),
    ],
)
def test_custom_fields_compare_with_their_own_kind(
    stored: Any, operator: str, value: Any, expected: bool
) -> None:
    assert fits("custom.x", operator, value, custom={"x": stored}) is expected


def test_groups_and_membership() -> None:
    anybody, nobody = AllOf(()), AnyOf(())
    cases: list[tuple[Rule, bool]] = [
        (anybody, True),
        (nobody, False),
        (Not(nobody), True),
        (Member("s1"), True),
        (Member("s2"), False),
    ]
    for rule, expected in cases:
        who = subject(memberships=frozenset({"s1"}))
        assert compiled(rule, SETTINGS)(who, AT) is expected


def rich(next_at: datetime | None, **fields: Any) -> Subject:
    account = PointsAccount(tenant="t", customer_id="c", balance=100, since=AT, next_at=next_at)
    return subject(account=evolved(account, **fields))


def lasts(document: dict[str, Any], who: Subject) -> tuple[bool, datetime]:
    return lasting(parse(document, SETTINGS), SETTINGS)(who, AT)


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        (">=", 100, True),
        ("<", 100, False),
        ("between", [1, 100], True),
        ("in", [1, 100], True),
        ("not_in", [100], False),
    ],
)
def test_points_last_until_the_account_turns(operator: str, value: Any, expected: bool) -> None:
    """Whatever they are compared by, inside a negation too."""
    document = {"field": "points", "operator": operator, "value": value}
    negated = {"operator": "not", "conditions": [document]}
    for next_at, until in ((AT + TICK, AT + TICK), (None, FOREVER)):
        assert lasts(document, rich(next_at)) == (expected, until)
        assert lasts(negated, rich(next_at)) == (not expected, until)
        assert holds(document, rich(next_at)) is expected


def test_only_the_balance_turns_by_time_alone() -> None:
    """Not what qualifies, nor that there are points, nor the account that nobody has."""
    who = rich(AT + TICK, qualifying=100)
    qualifying = {"field": "qualifying_points", "operator": ">=", "value": 100}
    assert lasts(qualifying, who) == (True, FOREVER)
    assert lasts({"field": "points", "operator": "exists", "value": True}, who) == (True, FOREVER)
    none = {"field": "points", "operator": "=", "value": 0}
    assert lasts(none, subject()) == (True, FOREVER)


def test_a_group_lasts_as_long_as_what_decides_it() -> None:
    """Points that turn change nothing where another part decides for ever."""
    points = {"field": "points", "operator": ">=", "value": 100}
    none = {"field": "qualifying_points", "operator": ">=", "value": 1}
    for operator, expected in (("and", (False, FOREVER)), ("or", (True, AT + TICK))):
        document = {"operator": operator, "conditions": [points, none]}
        assert lasts(document, rich(AT + TICK)) == expected
