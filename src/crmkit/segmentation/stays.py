"""From when until when somebody was in a segment; pure.

What is kept is replaced from one instant on by what the facts say now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

import attrs

from crmkit.segmentation.moments import Answer

Change: TypeAlias = tuple[datetime, bool]
"""From that instant on somebody is in, or is not."""


@attrs.frozen
class Stay:
    """In a segment from one instant until before another, or to this day."""

    entered_at: datetime
    left_at: datetime | None
    version: int


@attrs.frozen
class Swept:
    """What the facts say from an instant on; and when time alone may next change it, if ever."""

    changes: Sequence[Change]
    until: datetime | None


def sweep(
    ask: Callable[[datetime], Answer],
    following: Callable[[datetime], datetime | None],
    start: datetime,
    now: datetime,
    forever: datetime,
) -> Swept:
    """Ask at each instant at which the answer may have changed, from `start` to now.

    `following` is the next instant at which something happened.
    """
    at, changes = start, list[Change]()
    while True:
        truth, until = ask(at)
        if not changes or changes[-1][1] is not truth:
            changes.append((at, truth))
        fact = following(at)
        coming = until if fact is None else min(until, fact)
        if coming <= at:
            raise AssertionError("an answer holds for a while")
        if coming > now:
            return Swept(changes, None if coming == forever else coming)
        at = coming


def replaced(
    stays: Sequence[Stay], changes: Sequence[Change], version: int
) -> tuple[list[Stay], list[Change]]:
    """The stays as they are once these changes hold from the first of them on.

    Also the changes that made a difference to what was so until then.
    """
    start = changes[0][0]
    kept: list[Stay] = []
    inside: Stay | None = None
    for stay in stays:
        if stay.entered_at >= start:
            continue
        if stay.left_at is None or stay.left_at >= start:
            inside = attrs.evolve(stay, left_at=None)
        else:
            kept.append(stay)
    flips: list[Change] = []
    for at, truth in changes:
        if truth and inside is None:
            inside = Stay(at, None, version)
            flips.append((at, truth))
        elif not truth and inside is not None:
            kept.append(attrs.evolve(inside, left_at=at))
            inside = None
            flips.append((at, truth))
    return [*kept, inside] if inside else kept, flips
