"""Who came in which month, and came again; pure counting over days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from datetime import date, timedelta

import attrs

from crmkit.errors import InvalidInput

_MOST_MONTHS = 120


def month_of(day: date) -> str:
    """The month of a day, ``2026-03``."""
    return f"{day:%Y-%m}"


def months_up_to(last: date, months: object) -> tuple[str, ...]:
    """The names of so many months up to that of a day; raises `InvalidInput`."""
    if type(months) is not int or not 1 <= months <= _MOST_MONTHS:
        raise InvalidInput(f"expected 1 to {_MOST_MONTHS} months", field="months")
    ends = last.year * 12 + last.month
    return tuple(
        f"{(n - 1) // 12:04}-{(n - 1) % 12 + 1:02}" for n in range(ends - months + 1, ends + 1)
    )


@attrs.define
class Coming:
    """What is counted of the days on which customers came, up to the end of `today`.

    By month who `came`, who of them for the first time (`new`), and who came in the month before
    too (`again`). Two windows of `days` end with today: who came in the `earlier`, and of these
    in the later one again (`kept_on`).
    """

    today: date
    days: int
    came: Counter[str] = attrs.Factory(Counter)
    new: Counter[str] = attrs.Factory(Counter)
    again: Counter[str] = attrs.Factory(Counter)
    customers: int = 0
    repeating: int = 0
    earlier: int = 0
    kept_on: int = 0

    def take(self, histories: Iterable[Set[date]]) -> None:
        """Count these customers, each with the days on which they came."""
        for history in histories:
            days = {day for day in history if day <= self.today}
            if days:
                self._take(days)

    def _take(self, days: Set[date]) -> None:
        months = {month_of(day) for day in days}
        self.came.update(months)
        self.new[month_of(min(days))] += 1
        self.again.update(m for m in months if _before(m) in months)
        self.customers += 1
        self.repeating += len(days) > 1
        later = self.today - timedelta(days=self.days)
        if any(later - timedelta(days=self.days) < day <= later for day in days):
            self.earlier += 1
            self.kept_on += any(day > later for day in days)

    def kept(self, month: str) -> float | None:
        """Of those who came in the month before, the share who came in this one."""
        before = self.came[_before(month)]
        return self.again[month] / before if before else None

    @property
    def repeat(self) -> float | None:
        """Of all who ever came, the share who came on a second day."""
        return self.repeating / self.customers if self.customers else None

    @property
    def retention(self) -> float | None:
        """Of those who came in the earlier window, the share who came in the later one."""
        return self.kept_on / self.earlier if self.earlier else None


def _before(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year - 1:04}-12" if number == 1 else f"{year:04}-{number - 1:02}"
