"""Ids that are the same in every run."""

from __future__ import annotations

import itertools


class CountingIds:
    """The `ids=` of a test: UUIDs that count up, ``…-000000000001`` first.

    May be shared by threads: taking the next number is one step.
    """

    def __init__(self, start: int = 1) -> None:
        self._numbers = itertools.count(start)

    def __call__(self) -> str:
        """The next id."""
        return f"00000000-0000-7000-8000-{next(self._numbers):012x}"
