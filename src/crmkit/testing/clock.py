"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from crmkit.model.time import instant

START: Final = datetime(2026, 1, 15, 12, tzinfo=UTC)


class FrozenClock:
    """The `clock=` of a test: ``crm = CRMService(storage, clock=FrozenClock())``.

    Takes aware datetimes or ISO 8601 text with an offset; may be shared by threads.
    """

    def __init__(self, start: datetime | str = START) -> None:
        self._now = instant(start, field="start")
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        """The instant the clock stands at, in UTC."""
        with self._lock:
            return self._now

    def set(self, to: datetime | str) -> datetime:
        """Move the clock to an instant, forward or back; returns it."""
        moved = instant(to, field="to")
        with self._lock:
            self._now = moved
        return moved

    def advance(self, by: timedelta | None = None, **parts: float) -> datetime:
        """Move the clock by a timedelta, or by its parts as in ``advance(days=90)``."""
        step = (by or timedelta()) + timedelta(**parts)
        with self._lock:
            self._now = instant(self._now + step)
            return self._now

    def __repr__(self) -> str:
        return f"FrozenClock({self().isoformat()!r})"
