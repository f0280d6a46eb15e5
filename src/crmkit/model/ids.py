"""Ids: UUID version 7 (RFC 9562), ordered by time, as canonical text."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable


class TimeOrderedIds:
    """Makes UUIDv7 text; ids from one maker rise strictly.

    `now_ms` gives milliseconds since 1970 and `random_bytes(n)` n random bytes; both
    are injected for tests.
    """

    def __init__(
        self,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._now_ms = now_ms
        self._random = random_bytes
        self._lock = threading.Lock()
        self._last_ms = -1
        self._counter = 0

    def __call__(self) -> str:
        """The next id."""
        entropy = int.from_bytes(self._random(9))
        with self._lock:
            now = self._now_ms()
            if now > self._last_ms:
                # The counter starts in the lower half, so that it cannot run over
                # within a millisecond (RFC 9562, section 6.2, method 1).
                self._last_ms, self._counter = now, entropy >> 61 & 0x7FF
            else:
                self._counter += 1
                if self._counter > 0xFFF:
                    self._last_ms, self._counter = self._last_ms + 1, 0
            ms, counter = self._last_ms, self._counter
        value = ms << 80 | 7 << 76 | counter << 64 | 2 << 62 | entropy & (1 << 62) - 1
        h = f"{value:032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
