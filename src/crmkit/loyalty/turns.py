"""By which booking or visit a referral counts, and from when until when; pure.

A story is read as of each instant at which one of its facts happened, a void or an amendment
at its own instant too: what is called off before the points of it can be used counted until
then, and what is called off later counts for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import attrs

from crmkit.activities.stories import Kinds, Story, read
from crmkit.loyalty.earning import counts_from
from crmkit.model import Activity
from crmkit.model.time import FOREVER

_COMING = frozenset({"bookings", "orders", "visits"})
"""What makes somebody a customer."""


@attrs.frozen
class Turn:
    """A referral counts by what took place at `since`, from `start` until `end`.

    `start` is later than `since` where something else counted before; `end` is None for good.
    """

    since: datetime
    start: datetime
    end: datetime | None


def turns(
    stories: Iterable[Sequence[Activity]], accepted_at: datetime, days: int, kinds: Kinds
) -> list[Turn]:
    """By what a referral counts, one after the other: what came first while it stands.

    What is called off within `days` gives way to what came next, or came in the meantime.
    """
    window = timedelta(days=days)
    stays = sorted(stay for facts in stories for stay in _stays(facts, kinds))
    found: list[Turn] = []
    over = accepted_at
    for since, until in stays:
        start = max(since, over)
        if since < accepted_at or until <= start:
            continue
        if until >= since + window:
            return [*found, Turn(since, start, None)]
        found.append(Turn(since, start, until))
        over = until
    return found


def _stays(facts: Sequence[Activity], kinds: Kinds) -> Iterator[tuple[datetime, datetime]]:
    """From when until when it counted that somebody came, as far as one story tells."""
    told: list[Activity] = []
    since: datetime | None = None
    for moment, news in groupby(sorted(facts, key=counts_from), counts_from):
        told += news
        came = has_come(read(told, kinds), kinds)
        if came and since is None:
            since = moment
        elif since is not None and not came:
            yield since, moment
            since = None
    if since is not None:
        yield since, FOREVER


def has_come(story: Story, kinds: Kinds) -> bool:
    """Whether a booking took place or somebody came, and not all was given back."""
    if story.off or not story.kept_of_paid[0]:
        return False
    counts = {name for fact in story.said for name in kinds[fact.kind].counts}
    return "visits" in counts or (story.completed and "bookings" in counts)


def makes_customer(story: Story, kinds: Kinds) -> bool:
    """Whether a story holds a booking, an order or a visit."""
    return any(not _COMING.isdisjoint(kinds[fact.kind].counts) for fact in story.standing)


def was_customer(facts: Sequence[Activity], before: datetime, kinds: Kinds) -> bool:
    """Whether a story tells that somebody was a customer before an instant."""
    story = read(facts, kinds)
    return not story.off and any(
        counts_from(fact) < before and not _COMING.isdisjoint(kinds[fact.kind].counts)
        for fact in story.said
    )
