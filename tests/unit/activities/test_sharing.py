"""What parts of an amount weigh, and how a sum is divided by them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import InvalidInput
from crmkit.activities.sharing import PAYER, divided, split, unnamed, weights


def parts(participants: list[dict[str, Any]], amount: int | None = 100) -> dict[str, Fraction]:
    """Everybody's part of the whole, to a thousandth."""
    found = weights(participants, None if amount is None else amount * 100, "EUR")
    whole = sum(found.values())
    return {who: Fraction(round(Fraction(w, whole) * 1000), 1000) for who, w in found.items()}


@pytest.mark.parametrize(
    ("participants", "expected"),
    [
        ([], {PAYER: 1}),
        ([{"customer_id": "b"}], {"b": 0.5, PAYER: 0.5}),
        ([{"customer_id": "b", "share": 0.25}], {"b": 0.25, PAYER: 0.75}),
        ([{"customer_id": "b", "amount": "40"}], {"b": 0.4, PAYER: 0.6}),
        ([{"customer_id": "b", "share": 1}], {"b": 1, PAYER: 0}),
        ([{"customer_id": "b", "share": 0}], {"b": 0, PAYER: 1}),
        (
            [{"customer_id": "b", "amount": 40}, {"customer_id": "c"}],
            {"b": 0.4, "c": 0.3, PAYER: 0.3},
        ),
        (
            [{"customer_id": "b", "share": 1 / 3}, {"customer_id": "c", "share": 2 / 3}],
            {"b": 0.333, "c": 0.667, PAYER: 0},
        ),
    ],
)
def test_what_is_told_becomes_parts(
    participants: list[dict[str, Any]], expected: dict[str, float]
) -> None:
    """A share, an amount, or an equal part of what is left."""
    assert parts(participants) == {who: Fraction(str(part)) for who, part in expected.items()}


def test_shares_need_no_amount() -> None:
    """It may be told later; an amount cannot be a part of nothing."""
    assert parts([{"customer_id": "b", "share": 0.25}], None) == {
        "b": Fraction(1, 4), PAYER: Fraction(3, 4),
    }  # fmt: skip
    with pytest.raises(InvalidInput, match=r"participants\[0\]\.amount: the activity has no"):
        weights([{"customer_id": "b", "amount": 1}], None, "EUR")


@pytest.mark.parametrize(
    ("participants", "place"),
    [
        ([{}], "[0].customer_id: whose part?"),
        ([{"customer_id": "b"}, {"customer_id": "b"}], "[1].customer_id: is named twice"),
        ([{"customer_id": "b", "share": 0.6}, {"customer_id": "c", "share": 0.5}], ": the parts"),
        ([{"customer_id": "b", "amount": "100.01"}], "[0].amount: the part is more than"),
        ([{"customer_id": "b", "amount": "0.001"}], "[0].amount: "),
        ([{"customer_id": "b", "amount": 1, "share": 0.1}], "[0]: expected a share or an amount"),
        ([{"customer_id": str(n)} for n in range(301)], ": more than 300"),
    ],
)
def test_what_makes_no_sense(participants: list[dict[str, Any]], place: str) -> None:
    with pytest.raises(InvalidInput) as error:
        weights(participants, 10_000, "EUR")
    assert str(error.value).startswith(f"payload.participants{place}")


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**18), max_size=8))
def test_nothing_is_lost_or_made(total: int, weighing: list[int]) -> None:
    """The parts make up the total, and none is a whole unit away from its due."""
    found = split(total, weighing)
    whole = sum(weighing)
    assert sum(found) == (total if whole else 0)
    for part, weight in zip(found, weighing, strict=True):
        due = Fraction(total * weight, whole) if whole else Fraction(0)
        assert abs(Fraction(part) - due) < 1


def test_the_payer_bears_what_rounding_leaves() -> None:
    assert divided(100, {"": 1, "b": 1, "c": 1}) == {"b": 33, "c": 33, "": 34}
    assert divided(100, {}) == {"": 100}


@pytest.mark.parametrize(
    ("payload", "left"),
    [
        ({"a": 1}, None),
        ({"participants": "a"}, None),
        ({"participants": [{"customer_id": "b"}], "referred_customer_id": "c"}, None),
        ({"referred_customer_id": "a", "code": "x"}, {"code": "x"}),
        (
            {"participants": [{"customer_id": "a", "share": 0.5}, {"customer_id": "b"}, "a"]},
            {"participants": [{"share": 0.5}, {"customer_id": "b"}, "a"]},
        ),
    ],
)
def test_a_payload_names_the_gone_no_more(payload: dict[str, Any], left: object) -> None:
    """What else it says of their part stays; None where they were not named."""
    assert unnamed(payload, {"a"}) == left
