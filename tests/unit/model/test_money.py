from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import InvalidInput, Money
from crmkit.model.money import digits, to_minor


@pytest.mark.parametrize(
    ("value", "currency", "minor"),
    [
        (150, "EUR", 15_000),
        (150.00, "EUR", 15_000),
        (0.1, "EUR", 10),
        (1.15, "EUR", 115),  # 1.15 * 100 is 114.99999999999999
        (" 150.00 ", "EUR", 15_000),
        ("1.50e2", "EUR", 15_000),
        (Decimal("99.99"), "EUR", 9_999),
        (Decimal("1.000000"), "EUR", 100),
        ("0", "EUR", 0),
        (Decimal("0e-999"), "EUR", 0),
        (-0.0, "EUR", 0),
        (-5, "EUR", -500),
        (150, "JPY", 150),
        ("1.234", "KWD", 1_234),
        (10**13, "EUR", 10**15),
    ],
)
def test_amounts_are_read_exactly(value: Any, currency: str, minor: int) -> None:
    assert to_minor(value, currency, field="amount") == minor


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, "", "x", "1,50", "1 000", "1_000x", [1], b"1", 1j, "NaN", "inf",
        float("nan"), float("inf"), float("-inf"), Decimal("NaN"), Decimal("sNaN"), 0.005, "0.001",
        10**14, -(10**14), 1e300, "1e999999999", "1e-999999999",
        Decimal("1e999999999"), Decimal("-1e-999999999"), Decimal("1" * 50), "9" * 41,
        Decimal("1." + "0" * 60),
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        to_minor(value, "EUR", field="payload.amount")
    assert caught.value.field == "payload.amount"


def test_a_whole_number_too_long_to_print_is_refused() -> None:
    with pytest.raises(InvalidInput):
        to_minor(10**5_000, "EUR", field="amount")


def test_a_yen_has_no_sen() -> None:
    with pytest.raises(InvalidInput, match="JPY has 0 decimal places"):
        to_minor("1.5", "JPY", field="amount")


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_an_amount_survives_its_way_out_and_in(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert to_minor(money.amount, currency, field="a") == minor
    assert to_minor(str(money.amount), currency, field="a") == minor


@given(st.lists(st.integers(0, 10**9), max_size=50))
def test_a_sum_is_exact(amounts: list[int]) -> None:
    total = Money(0, "EUR")
    for amount in amounts:
        total += Money(amount, "EUR")
    assert total.minor == sum(amounts)


def test_a_thousand_dimes() -> None:
    """The sum that floating point gets wrong."""
    assert sum(to_minor(0.10, "EUR", field="a") for _ in range(1_000)) == 10_000
    assert sum([0.10] * 1_000) != 100.0


def test_currencies_do_not_mix() -> None:
    with pytest.raises(InvalidInput, match="two currencies"):
        Money(1, "EUR") + Money(1, "USD")


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(123_456_789, "EUR"), "1,234,567.89 EUR"),
        (Money(-5, "EUR"), "-0.05 EUR"),
        (Money(1_500, "JPY"), "1,500 JPY"),
        (Money(1, "KWD"), "0.001 KWD"),
    ],
)
def test_it_is_shown_with_its_currency(money: Money, text: str) -> None:
    assert str(money) == text


def test_digits() -> None:
    assert [digits(c) for c in ("EUR", "JPY", "BHD", "XXX")] == [2, 0, 3, 2]
