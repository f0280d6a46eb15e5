"""What a mapping of rows must be."""

from __future__ import annotations

from typing import Any

import pytest

from crmkit import InvalidInput, Settings
from crmkit.activities.sync import RowMapping

KINDS = Settings().kinds_by_name
GOOD: dict[str, Any] = {"id": "id", "at": "at", "customer": {"email": "mail"}}


def test_what_is_needed_is_enough() -> None:
    """Rows are bookings unless something else is said."""
    assert RowMapping.read(GOOD, KINDS) == RowMapping("id", {"email": "mail"}, "at", kind="booking")


def test_no_time_of_change_may_be_said() -> None:
    assert RowMapping.read(GOOD | {"changed_at": None}, KINDS).changed_at is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"id": None}, "mapping.id: is missing"),
        ({"at": ""}, "mapping.at: is missing"),
        ({"customer": {}}, "mapping.customer: is missing"),
        ({"custmer": "mail"}, "mapping: unknown part 'custmer'; did you mean 'customer'?"),
        ({"customer": "mail"}, "mapping.customer: expected a mapping of fields to columns"),
        ({"payload": None}, "mapping.payload: expected a mapping of fields to columns"),
        ({"id": 7}, "mapping.id: expected a column's name or a function of the row"),
        (
            {"changed_at": 7},
            "mapping.changed_at: expected a column's name or a function of the row",
        ),
        (
            {"payload": {"amount": ["price"]}},
            "mapping.payload.amount: expected a column's name or a function of the row",
        ),
        ({"payload": {"reference": "code"}}, "mapping.payload.reference: a row goes by its id"),
        ({"payload": {"booking_id": "n"}}, "mapping.payload.booking_id: a row goes by its id"),
        (
            {"kind": "purchase", "payload": {"order_id": "n"}},
            "mapping.payload.order_id: a row goes by its id",
        ),
        ({"kind": "visit"}, "mapping.kind: expected a kind that counts once"),
        (
            {"kind": "boking"},
            "mapping.kind: unknown activity kind 'boking'; did you mean 'booking'?",
        ),
    ],
)
def test_a_mapping_that_makes_no_sense(wrong: dict[str, Any], said: str) -> None:
    """It is refused as a whole, with the place."""
    with pytest.raises(InvalidInput) as error:
        RowMapping.read(GOOD | wrong, KINDS)
    assert str(error.value) == said


@pytest.mark.parametrize("wrong", [None, "id", [("id", "id")]])
def test_no_mapping_at_all(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="mapping: expected a mapping"):
        RowMapping.read(wrong, KINDS)


@pytest.mark.parametrize("kind", [None, "", 7, ["booking"]])
def test_a_kind_that_is_none(kind: Any) -> None:
    with pytest.raises(InvalidInput, match=r"mapping\.kind: unknown activity kind"):
        RowMapping.read(GOOD | {"kind": kind}, KINDS)
