"""What retention decides, at the ends of months and where clocks are turned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import InvalidInput, RetentionPolicy, Settings
from crmkit.activities.signs import by_the_person
from crmkit.gdpr.retaining import cutoff, judged, same_day, withdrawn
from crmkit.model import Consent, RetentionNotice
from crmkit.retention import checked

ROME = ZoneInfo("Europe/Rome")
TOLD = RetentionPolicy(name="inactive", of="customers", after="36mo", notice="30d")
PLAIN = RetentionPolicy(name="inactive", of="customers", after="36mo")

MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))
ZONES = st.sampled_from(["UTC", "Europe/Rome", "America/Santiago", "Asia/Kolkata"])
LENGTHS = st.sampled_from(["1mo", "24mo", "36mo", "1y", "90d", "12h", "2w"])
MICRO = timedelta(microseconds=1)


@given(MOMENTS, ZONES, LENGTHS)
def test_what_is_kept_stays_due_and_is_due_first_when_it_is_said(
    since: datetime, zone: str, after: str
) -> None:
    """Over month ends, leap days and summer time from 2024 to 2030."""
    policy = RetentionPolicy(name="p", of="customers", after=after)
    due = judged("c", since, (), policy, since, ZoneInfo(zone)).due_at
    for at, verdict in (
        (due - MICRO, "keep"),
        (due, "erase"),
        (due + timedelta(days=400), "erase"),
    ):
        assert judged("c", since, (), policy, at, ZoneInfo(zone)).verdict == verdict
        assert (since <= cutoff(policy, at, ZoneInfo(zone))) is (verdict == "erase")


@given(MOMENTS, ZONES, st.integers(0, 2_000), st.integers(0, 60))
def test_nobody_is_erased_before_the_notice_ran_out(
    since: datetime, zone: str, told_after: int, waited: int
) -> None:
    """Whenever they were told; and who did something after it is not."""
    told = since + timedelta(days=told_after)
    at = told + timedelta(days=waited)
    notice = _notice(told)
    found = judged("c", since, [notice], TOLD, at, ZoneInfo(zone))
    plain = judged("c", since, [], PLAIN, at, ZoneInfo(zone))
    assert (found.verdict == "erase") is (plain.verdict == "erase" and waited >= 30)
    later = judged("c", told + MICRO, [notice], TOLD, at, ZoneInfo(zone))
    assert later.verdict in ("keep", "tell")


def _notice(at: datetime, policy: str = "inactive") -> RetentionNotice:
    return RetentionNotice(
        tenant="t", id="n", customer_id="c", policy=policy, occurred_at=at, recorded_at=at
    )


def test_a_notice_of_another_policy_or_of_the_future_does_not_count() -> None:
    since, at = datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    for notice in (_notice(at - timedelta(days=90), "other"), _notice(at + MICRO)):
        assert judged("c", since, [notice], TOLD, at, ROME).verdict == "tell"


def test_the_last_of_february_is_36_months_before_the_end_of_it() -> None:
    """From 29 February to the first instant of 1 March where the tenant is."""
    since = datetime(2024, 2, 29, 20, tzinfo=UTC)
    due = judged("c", since, (), PLAIN, since, ROME).due_at
    assert due == datetime(2027, 2, 28, 23, tzinfo=UTC)


def test_what_machines_and_staff_do_is_no_sign_of_the_person() -> None:
    kinds = by_the_person(Settings())
    assert {"visit", "booking", "cancellation", "message_clicked", "completion"} <= {*kinds}
    assert not {"message_delivered", "message_opened", "no_show", "refund", "void"} & {*kinds}


def _said(n: int, day: int, *, granted: bool, channel: str = "email") -> Consent:
    at = datetime(2024, 1, day, tzinfo=UTC)
    return Consent(
        tenant="t", id=str(n), customer_id="c", purpose="marketing", channel=channel,
        granted=granted, source="x", occurred_at=at, recorded_at=at,
        event="given" if granted else "withdrawn",
    )  # fmt: skip


def test_only_what_ended_in_a_withdrawal_goes_and_goes_whole() -> None:
    yes, no = _said(1, 1, granted=True), _said(2, 5, granted=False)
    again = _said(3, 9, granted=True)
    other = _said(4, 1, granted=True, channel="sms")
    edge = datetime(2024, 1, 5, tzinfo=UTC)
    assert withdrawn([yes, no, other], edge) == [yes, no]
    assert withdrawn([yes, no, other], edge - MICRO) == []
    assert withdrawn([yes, no, again], edge + timedelta(days=99)) == []


def test_a_day_is_one_of_the_tenants() -> None:
    one, other = datetime(2024, 7, 1, 21, 59, tzinfo=UTC), datetime(2024, 7, 1, 22, tzinfo=UTC)
    assert not same_day(one, other, ROME)
    assert same_day(one, other, ZoneInfo("UTC"))


# --- policies ---


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\0"}, "name"),
        ({"of": "everything"}, "of"),
        ({"of": ["notes"]}, "of"),
        ({"after": "2 years"}, "after"),
        ({"after": "0d"}, "after"),
        ({"after": 24}, "after"),
        ({"after": "101y"}, "after"),
        ({"action": "erase"}, "action"),
        ({"kinds": "visit"}, "kinds"),
        ({"of": "notes", "kinds": ["visit"]}, "kinds"),
        ({"notice": "30d"}, "notice"),
        ({"of": "customers", "notice": "soon"}, "notice"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, object], field: str) -> None:
    given: dict[str, object] = {"name": "p", "after": "24mo"}
    with pytest.raises(InvalidInput) as caught:
        RetentionPolicy(**given | wrong)  # type: ignore[arg-type]
    assert caught.value.field == f"retention.{field}"


@pytest.mark.parametrize("wrong", [[PLAIN, PLAIN], ["p"]])
def test_policies_are_told_apart_by_their_names(wrong: list[RetentionPolicy]) -> None:
    with pytest.raises(InvalidInput):
        checked(wrong)


def test_a_policy_names_kinds_that_the_settings_know() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'visit'"):
        Settings(retention=[RetentionPolicy(name="p", after="1y", kinds=["vist"])])


def test_what_a_policy_does_follows_from_what_it_is_about() -> None:
    for of, action in (("activities", "anonymise"), ("notes", "delete"), ("customers", "erase")):
        assert RetentionPolicy(name="p", of=of, after="1y").action == action
