"""What stands after all that was said; pure.

A word is a fact by which somebody agreed or withdrew. It concerns one address, or all that its
channel has. At each address the latest word that concerns it stands: so a withdrawal without an
address withdraws all, and one for an address leaves the others. Of two words at one instant the
withdrawal stands, and of two grants the one that lasts longer. What was only asked for, and
what the host claims by another lawful basis, is no word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from crmkit.customers.profile import ConsentState
from crmkit.model import Consent
from crmkit.model.time import FOREVER

Way: TypeAlias = tuple[str, str]
"""Purpose and channel."""
Place: TypeAlias = tuple[str, str, str | None]
"""Purpose, channel, and the keyed hash of an address; without one all that have no own word."""


def ends(fact: Consent) -> datetime:
    """Until when a grant holds by itself."""
    return fact.expires_at or FOREVER


def words(facts: Iterable[Consent]) -> list[Consent]:
    """The words among facts, each after those that it overrules where both concern an address."""
    said = [f for f in facts if f.granted is not None]
    return sorted(said, key=lambda f: (f.occurred_at, not f.granted, ends(f), f.id))


def latest(facts: Iterable[Consent]) -> Mapping[Place, Consent]:
    """The word that stands at each address that was spoken of, and where none was named."""
    by_way: dict[Way, list[Consent]] = defaultdict(list)
    for word in words(facts):
        by_way[word.purpose, word.channel].append(word)
    found: dict[Place, Consent] = {}
    for (purpose, channel), said in by_way.items():
        named = sorted({word.address_key for word in said}, key=lambda key: key or "")
        for word in said:
            concerned = named if word.address_key is None else (word.address_key,)
            for key in concerned:
                found[purpose, channel, key] = word
    return found


def after_all(facts: Iterable[Consent], way: Way, at: datetime) -> datetime:
    """That instant, or of a word that a clock ahead has stamped later: a refusal now comes last."""
    said = [f.occurred_at for f in words(facts) if (f.purpose, f.channel) == way]
    return max([at, *said])


def lasting(facts: Iterable[Consent]) -> Mapping[Way, datetime | None]:
    """By purpose and channel, until when consent holds for any address; None if it was withdrawn.

    Nothing else that is said is foreseen.
    """
    found: dict[Way, datetime | None] = {}
    for (purpose, channel, _), word in latest(facts).items():
        known = found.setdefault((purpose, channel), None)
        if word.granted and (known is None or known < ends(word)):
            found[purpose, channel] = ends(word)
    return found


def state(facts: Sequence[Consent], at: datetime) -> ConsentState:
    """What stands after these facts at an instant; by when each was said, see `said_by`."""
    said = words(facts)
    granted = {
        way: until is not None and at < until for way, until in sorted(lasting(said).items())
    }
    return ConsentState(granted, said[-1].occurred_at if said else None)


def said_by(
    facts: Iterable[Consent], at: datetime | None, known_at: datetime | None = None
) -> list[Consent]:
    """The facts said by an instant, of those recorded by another; None leaves none out."""
    return [
        f
        for f in facts
        if (at is None or f.occurred_at <= at) and (known_at is None or f.recorded_at <= known_at)
    ]


def revived(one: Sequence[Consent], other: Sequence[Consent]) -> list[tuple[Place, datetime]]:
    """What either had withdrawn and the latest word of both would grant, and that word's time."""
    both = latest([*one, *other])
    sides = [_everywhere(latest(side), both) for side in (one, other)]
    found = [
        (place, word.occurred_at)
        for place, word in both.items()
        if word.granted and any(_refused(side.get(place)) for side in sides)
    ]
    whole = {place[:2] for place, _ in found if place[2] is None}
    # A withdrawal of all addresses goes for each.
    return [(p, at) for p, at in found if p[2] is None or p[:2] not in whole]


def _everywhere(
    side: Mapping[Place, Consent], places: Iterable[Place]
) -> Mapping[Place, Consent | None]:
    return {p: side.get(p) or side.get((p[0], p[1], None)) for p in places}


def _refused(word: Consent | None) -> bool:
    return word is not None and not word.granted
