"""The engagement score: what a customer did lately, from 0 to 100."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from math import fsum
from typing import Final

import attrs

from crmkit.errors import InvalidInput
from crmkit.value_settings import ENGAGEMENT_WEIGHTS

HALF_LIFE: Final = timedelta(days=30)

HALF_WAY: Final = 20.0
"""The points that make a score of 50: as two visits today."""


@attrs.frozen
class Contribution:
    """What one kind of activity adds to the score: its share of the score, of how many."""

    kind: str
    count: int
    points: float
    score: float


@attrs.frozen
class EngagementScore:
    """A score from 0 to 100, and where it comes from, the most first; the parts add up to it."""

    score: float
    contributions: tuple[Contribution, ...]


def engagement_score(
    events: Iterable[tuple[str, datetime]],
    at: datetime,
    weights: Mapping[str, float] = ENGAGEMENT_WEIGHTS,
    *,
    half_life: timedelta = HALF_LIFE,
    half_way: float = HALF_WAY,
) -> EngagementScore:
    """The score of what happened up to `at`, as kind and instant.

    Each event is worth the weight of its kind, half of it a half-life later, a quarter after
    two. Points p make a score of 100 · p / (p + `half_way`): every event adds to it, the more
    there are the less. Raises `InvalidInput` where a weight is below 0, a half-life or
    `half_way` not above it.
    """
    if half_life <= timedelta() or half_way <= 0 or min(weights.values(), default=0) < 0:
        raise InvalidInput("expected weights of at least 0, a half-life and half_way above 0")
    points: defaultdict[str, list[float]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for kind, happened_at in events:
        weight = weights.get(kind, 0.0)
        if weight and happened_at <= at:
            points[kind].append(weight * 0.5 ** ((at - happened_at) / half_life))
            counts[kind] += 1
    # fsum is exact, so that the order of the events is of no consequence.
    by_kind = {kind: fsum(each) for kind, each in points.items()}
    total = fsum(by_kind.values())
    worth = 100 / (total + half_way)
    parts = [Contribution(k, counts[k], p, p * worth) for k, p in by_kind.items()]
    parts.sort(key=lambda part: (-part.points, part.kind))
    return EngagementScore(total * worth, tuple(parts))
