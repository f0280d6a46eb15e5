"""UUIDs of version 7 that rise whatever the clock does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st

from crmkit.model.ids import TimeOrderedIds
from crmkit.testing import together


def zeros(n: int) -> bytes:
    return b"\0" * n


def ones(n: int) -> bytes:
    return b"\xff" * n


def ticking(times: Iterable[int]) -> Callable[[], int]:
    following = iter(times)
    return lambda: next(following)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=9, max_size=9))
def test_it_is_a_uuid_of_version_7(now: int, random: bytes) -> None:
    """RFC 9562: 48 bits of milliseconds, version 7, variant 10, in canonical text."""
    made = TimeOrderedIds(lambda: now, lambda _: random)()
    parsed = uuid.UUID(made)
    assert str(parsed) == made
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == now


def test_the_system_clock_is_in_it() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(TimeOrderedIds()())
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=50))
def test_ids_rise_whatever_the_clock_does(times: list[int]) -> None:
    """Standing still, going back, jumping: each id is above the last."""
    for random in (zeros, ones):
        ids = TimeOrderedIds(ticking(times), random)
        made = [ids() for _ in times]
        assert made == sorted(set(made))


def test_ids_rise_when_the_counter_runs_over() -> None:
    """More than 4,096 in one millisecond: the next millisecond is borrowed."""
    ids = TimeOrderedIds(lambda: 1_000, ones)
    made = [ids() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert uuid.UUID(made[-1]).int >> 80 > 1_000


def test_threads_never_get_the_same_and_each_sees_its_own_rise() -> None:
    ids = TimeOrderedIds()
    made: list[list[str]] = [[] for _ in range(16)]

    def each(number: int) -> None:
        made[number].extend(ids() for _ in range(500))

    together(16, each)
    assert all(own == sorted(own) for own in made)
    assert len({i for own in made for i in own}) == 8_000


def test_two_makers_differ() -> None:
    """Two processes at one millisecond are told apart by chance alone: 62 bits of it."""
    one, other = TimeOrderedIds(lambda: 5), TimeOrderedIds(lambda: 5)
    assert len({m() for m in (one, other) for _ in range(100)}) == 200
