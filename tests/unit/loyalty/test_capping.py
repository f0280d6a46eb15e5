from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crmkit import Programme
from crmkit.loyalty.capping import caps, course, shared, sum_of, sums, totals, written
from crmkit.model import PointsEntry, PointsLot
from crmkit.programmes import Cap, EarnRule

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(n: int) -> datetime:
    return START + timedelta(days=n)


COURSES = st.lists(
    st.dictionaries(st.integers(0, 6), st.integers(0, 9), max_size=4), max_size=4
).map(lambda courses: [{day(n): points for n, points in some.items()} for some in courses])


@given(COURSES, st.integers(0, 15))
def test_at_every_instant_the_first_have_what_they_want(
    courses: list[dict[datetime, int]], most: int
) -> None:
    """And the next ones what is left: as if it were shared anew each day."""
    found = shared(most, courses)
    assert len(found) == len(courses)
    for n in range(7):
        left = most
        for wanted, given_ in zip(courses, found, strict=True):
            now = next((wanted[day(m)] for m in range(n, -1, -1) if day(m) in wanted), 0)
            due = min(now, left)
            left -= due
            assert sum(points for at, points in given_.items() if at <= day(n)) == due
    assert all(points for given_ in found for points in given_.values())


def lot(**told: object) -> PointsLot:
    plain = {
        "tenant": "t", "id": "l", "customer_id": "c", "source": "earn", "earned_at": day(1),
        "available_at": day(1), "expires_at": day(9),
    }  # fmt: skip
    return PointsLot(**plain | told)  # type: ignore[arg-type]  # as they are told


def entry(kind: str, points: int, at: int, lot_id: str = "l") -> PointsEntry:
    return PointsEntry(
        tenant="t", id=f"{kind}{points}{at}", lot_id=lot_id, kind=kind, points=points,
        qualifying=0, available_at=day(1), expires_at=day(9), occurred_at=day(at),
        recorded_at=day(at), customer_id="c",
    )  # fmt: skip


def test_what_a_lot_was_given_is_what_its_rule_gave() -> None:
    """Not what was used of it, nor what other lots were given."""
    told = [
        entry("earn", 50, 1), entry("earn", 7, 1), entry("reverse", -20, 3), entry("burn", -5, 2),
        entry("return", 5, 4), entry("waive", 3, 3), entry("earn", 9, 1, "other"),
    ]  # fmt: skip
    assert sums(told, lot()) == {day(1): 57, day(3): -20}
    assert sum_of(told, lot()) == 37
    assert totals({day(3): -20, day(1): 57}) == {day(1): 57, day(3): 37}


def test_a_course_is_read_as_it_was_written() -> None:
    """What never changed after its beginning is told by the lot alone."""
    changes = {day(1): 57, day(3): -20}
    kept = lot(full=37, totals=written(day(1), changes))
    assert course(kept) == {day(1): 57, day(3): 37}
    assert written(day(1), {day(1): 57}) == written(day(1), {}) == {}
    assert written(day(1), {day(2): 57}) != {}
    assert course(lot(full=57)) == {day(1): 57}


def test_caps_are_read_from_a_programmes_document() -> None:
    rules = [
        EarnRule(name="a", kind="visit", points=1, cap=Cap(5, "week")),
        EarnRule(name="b", kind="visit", points=1),
    ]
    found = caps(Programme(earn_rules=rules).document())
    assert found == {"a": {"points": 5, "per": "week"}, "b": None}
