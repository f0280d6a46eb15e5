"""How a segment grew, counted from who came and went; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from crmkit.errors import InvalidInput, unknown
from crmkit.model.time import CALENDAR_UNITS, Calendar
from crmkit.segmentation.figures import Step

MAX_STEPS = 1_000


def edges(since: datetime, until: datetime, step: object, zone: ZoneInfo) -> Sequence[datetime]:
    """From `since` to `until`, with the beginnings of the local days, weeks … between them.

    Raises `InvalidInput` for another step, for no time at all and for more than 1,000 steps.
    """
    if not isinstance(step, str) or step not in CALENDAR_UNITS:
        raise InvalidInput(unknown("step", step, CALENDAR_UNITS), field="step")
    if since >= until:
        raise InvalidInput("expected an instant before 'until'", field="since")
    found, unit = [since], Calendar(step)
    while found[-1] < until:
        if len(found) > MAX_STEPS:
            raise InvalidInput(f"more than {MAX_STEPS:,} steps", field="step")
        found.append(min(unit.span(found[-1], zone)[1], until))
    return found


def steps(
    at: Sequence[datetime], stays: Iterable[tuple[datetime, datetime | None]]
) -> tuple[Step, ...]:
    """What became of it between each two of these instants, from who came and went when."""
    entered, left = [0] * (len(at) + 1), [0] * (len(at) + 1)
    for came, went in stays:  # place 0 is what was before the first instant
        entered[bisect_right(at, came)] += 1
        if went is not None:
            left[bisect_right(at, went)] += 1
    members, found = entered[0] - left[0], []
    for n, (since, until) in enumerate(pairwise(at), 1):
        members += entered[n] - left[n]
        found.append(Step(since, until, entered[n], left[n], members))
    return tuple(found)
