"""Running code in many threads that start at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def together(count: int, work: Callable[[int], T]) -> list[T]:
    """What `work(0)` … `work(count - 1)` return, each in a thread of its own.

    No thread begins before all are there, and the first error is raised when all ended.
    """
    ready = threading.Barrier(count)

    def begin(number: int) -> T:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(begin, number) for number in range(count)]
    return [each.result() for each in running]
