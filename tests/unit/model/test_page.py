from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import InvalidInput
from crmkit.model import Page
from crmkit.model.page import MAX_LIMIT, checked_limit, cursor, paged, position

ids = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64)


@given(st.integers(-(10**15), 10**15), ids)
def test_a_cursor_is_read_back(moment: int, identifier: str) -> None:
    assert position(cursor((moment, identifier)), (int, str)) == (moment, identifier)


def test_no_cursor_is_the_beginning() -> None:
    assert position(None, (str,)) is None


def given_by_nobody(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "after",
    [
        "", "x", "é", "\0", "====", 7, b"x", ["x"], "W" * 501, "[" * 400,
        *map(given_by_nobody, (
            [], ["a"], ["a", 1], [1, "a", 2], {"a": 1}, None, [True, "a"], [1.0, "a"], [None, "a"],
            [10**16, "a"], [-(10**16), "a"], [10**300, "a"], [1, "\ud800"], [1, "\0"], [1, "é"],
        )),
    ],
)  # fmt: skip
def test_what_crmkit_never_gave_is_refused(after: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        position(after, (int, str))
    assert caught.value.field == "after"


@pytest.mark.parametrize("limit", [1, 100, MAX_LIMIT])
def test_limits(limit: int) -> None:
    assert checked_limit(limit) == limit


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, True, 1.0, "1", None])
def test_what_is_no_limit(limit: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_limit(limit)
    assert caught.value.field == "limit"


def test_a_page_has_a_next_only_where_more_was_found() -> None:
    """One more than the limit is read; it tells, and is not shown."""
    place = lambda n: (n,)  # noqa: E731
    assert paged([1, 2], 2, place) == Page((1, 2))
    page = paged([1, 2, 3], 2, place)
    assert (list(page), len(page)) == ([1, 2], 2)
    assert position(page.next, (int,)) == (2,)
    assert paged([], 2, place).next is None
