"""Codes that customers show: unguessable, readable, found however they are typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.loyalty.codes import code_of, read_code


@given(st.text(max_size=40))
def test_a_code_is_read_back_as_what_it_was(secret: str) -> None:
    """Four groups of four; in any case, with or without dashes, it is the same 16 digits."""
    code = code_of(secret)
    digits = code.replace("-", "")
    assert [len(group) for group in code.split("-")] == [4] * 4
    for typed in (code, code.lower(), digits, f" {' '.join(digits)} ", code.replace("-", "–")):
        assert read_code(typed) == digits


@given(st.text(alphabet="0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=16, max_size=16))
def test_letters_that_are_taken_for_others_do_not_matter(digits: str) -> None:
    mistaken = digits.replace("0", "o").replace("1", "l").replace("V", "u")
    assert read_code(mistaken) == digits
    assert read_code(digits.replace("1", "i")) == digits


def test_codes_have_eighty_bits() -> None:
    """Every digit takes every value, and of many codes no two are the same."""
    codes = [code_of(str(n)) for n in range(2_000)]
    assert len(set(codes)) == 2_000
    for place in range(16):
        assert len({code.replace("-", "")[place] for code in codes}) == 32


@pytest.mark.parametrize(
    "typed", ["", "A", "ABCD-EFGH-JKMN-PQR", "ABCD-EFGH-JKMN-PQRST", "!" * 16, "ß" * 8, "A" * 999,
              "ABCD-EFGH-JKMN-PQR*", None, 7, b"ABCDEFGHJKMNPQRS"],
)  # fmt: skip
def test_what_can_be_no_code_is_none(typed: object) -> None:
    assert read_code(typed) is None
