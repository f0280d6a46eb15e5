"""Which of the ids in a payload names the story."""

from __future__ import annotations

from typing import Any

import pytest

from crmkit import Kind, Settings
from crmkit.activities.payload import read
from crmkit.config import DEFAULT_KINDS

SETTINGS = Settings()


def named(kind: Kind, **payload: Any) -> tuple[str, str | None]:
    found = read(kind, {"amount": 1, **payload}, SETTINGS)
    return found.reference_name, found.reference


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("purchase", "order_id"),
        ("order", "order_id"),
        ("ticket", "ticket_id"),
        ("booking", "booking_id"),
    ],
)
def test_the_kinds_own_id_comes_before_the_others(kind: str, own: str) -> None:
    ids = {"ticket_id": "t", "order_id": "o", "booking_id": "b"}
    assert named(SETTINGS.kinds_by_name[kind], **ids) == (own, own[0])


@pytest.mark.parametrize(
    ("ids", "name"),
    [
        (("booking_id", "order_id", "ticket_id"), "ticket_id"),
        (("booking_id", "order_id"), "order_id"),
        (("booking_id",), "booking_id"),
        ((), ""),
    ],
)
@pytest.mark.parametrize("kind", ["visit", "completion", "cancellation", "no_show", "refund"])
def test_a_kind_without_an_own_id_takes_the_most_particular(
    kind: str, ids: tuple[str, ...], name: str
) -> None:
    found = named(SETTINGS.kinds_by_name[kind], **dict.fromkeys(ids, "7"))
    assert found == (name, "7" if name else None)


@pytest.mark.parametrize("kind", SETTINGS.kinds_by_name)
def test_a_stated_reference_comes_first(kind: str) -> None:
    ids = {"ticket_id": "t", "order_id": "o", "booking_id": "b", "reference": "r"}
    assert named(SETTINGS.kinds_by_name[kind], **ids) == ("reference", "r")


def test_an_own_id_that_is_not_given_gives_way() -> None:
    """A ticket that names only its booking belongs to the booking."""
    assert named(SETTINGS.kinds_by_name["ticket"], ticket_id="", booking_id=7) == (
        "booking_id", "7",
    )  # fmt: skip


def test_a_hosts_own_kind_names_its_id() -> None:
    table = Kind(name="table", own_id="seating_id")
    assert named(table, seating_id=4, ticket_id="t") == ("seating_id", "4")
    assert named(table, ticket_id="t") == ("ticket_id", "t")


def test_a_cancellation_may_name_what_a_hosts_own_kind_made() -> None:
    table = Kind(name="table", own_id="seating_id")
    settings = Settings(kinds=(*DEFAULT_KINDS, table))
    kind = settings.kinds_by_name["cancellation"]
    found = read(kind, {"seating_id": 4}, settings)
    assert (found.reference_name, found.reference) == ("seating_id", "4")
