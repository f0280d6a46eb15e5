"""Storing facts, and with them what follows from them, in one unit of work.

Metrics and counters are added up; occasions are the versions of what counts of each story.

One fact or a thousand go the same way: what is there is read once, each story is folded
before and after, and what changed is written once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from itertools import chain

import attrs

from crmkit.activities import carrying
from crmkit.activities.bulk import CHUNK, chunked
from crmkit.activities.dimensions import Place
from crmkit.activities.drafts import referred, share_of
from crmkit.activities.holding import Held, Unheld
from crmkit.activities.joining import Told
from crmkit.activities.metrics import (
    NOTHING,
    Difference,
    Effect,
    Folded,
    Joined,
    added,
    advance,
    counted,
    differences,
    effect,
    fold,
    shared,
)
from crmkit.activities.occasions import by_key, occasions
from crmkit.activities.sharing import unnamed
from crmkit.activities.stories import CORRECTING, Kinds, Story, read, stories
from crmkit.errors import Erased, InvalidInput
from crmkit.model import Activity, Counter, Metrics, Occasion, Participation
from crmkit.model.catalogue import evolved
from crmkit.model.time import EARLIEST
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork


@attrs.frozen
class StoryChange:
    """A story that new facts joined: the last of them, what it said before, and says now.

    `since` is the first instant as of which it says something else than before.
    """

    fact: Activity
    before: Story | None
    after: Story
    since: datetime


@attrs.frozen
class StoriesChanged:
    """Activities were recorded; metrics, counters and occasions have followed.

    `customers` are all whose numbers may have changed: who paid, and who bears shares.
    """

    changes: Sequence[StoryChange]
    customers: frozenset[str]


Step = tuple[Effect, Effect]
"""What a story added before, and adds now."""


def record(
    uow: UnitOfWork, rt: Runtime, facts: Sequence[Activity], told: Told, held: Held
) -> Sequence[Activity]:
    """Store new facts about customers who are held, and all that follows; as they are stored.

    `told` is what was told before of their stories (see `joining`). Raises `Unheld` if it
    concerns others too, and `InvalidInput` for a participant who is no customer.
    """
    sharing = _sharing(uow, rt, facts, told, held)
    recorded = facts = [_of_those_there(uow, rt, fact, held) for fact in facts]
    uow.add_many(facts)
    _mention(uow, rt, facts, held)
    rt.foresee(uow, max((fact.occurred_at for fact in facts), default=EARLIEST))
    news: dict[str, list[Activity]] = defaultdict(list)
    for fact in facts:
        news[fact.story].append(fact)
    kinds = rt.settings.kinds_by_name
    changes: list[StoryChange] = []
    steps: dict[str, list[Step]] = defaultdict(list)
    fresh: list[Occasion] = []
    for story, new in news.items():
        earlier = told.get(story, ())
        facts = [*earlier, *new] if earlier else new
        before = read(earlier, kinds) if earlier else None
        after = read(facts, kinds)
        changes.append(StoryChange(new[-1], before, after, _since(facts, new, kinds)))
        counts = occasions(facts, rt.settings, after)
        if earlier:
            _exchange(uow, occasions(earlier, rt.settings, before), counts)
        else:
            fresh += counts
        steps[new[-1].customer_id or ""].append(
            (effect(before, rt.settings) if before else NOTHING, effect(after, rt.settings))
        )
        for part in sharing.get(story, ()):
            steps[part.customer_id].append(
                (
                    shared(before, part.share, rt.settings) if before else NOTHING,
                    shared(after, part.share, rt.settings),
                )
            )
    uow.add_many(fresh)
    _keep(uow, rt, steps)
    rt.events.publish(uow, StoriesChanged(changes, frozenset(steps)))
    return recorded


def _of_those_there(uow: UnitOfWork, rt: Runtime, fact: Activity, held: Held) -> Activity:
    """The fact without the ids of others who were erased."""
    named = [told["customer_id"] for told in fact.payload["participants"]] if fact.shares else []
    gone = [who for who in named if held.customer(who) is None]
    named_too = referred(fact.payload, rt.settings.kinds_by_name[fact.kind])
    if named_too and isinstance(rt.missing(uow, named_too), Erased):
        gone.append(named_too)
    if not gone:
        return fact
    payload = unnamed(fact.payload, gone)
    return fact if payload is None else evolved(fact, payload=payload)


def _mention(uow: UnitOfWork, rt: Runtime, facts: Sequence[Activity], held: Held) -> None:
    """Note who is named in another's story without bearing a part, for their erasure."""
    for fact in facts:
        who = referred(fact.payload, rt.settings.kinds_by_name[fact.kind])
        there = held.customer(who) if who else None
        if who and there is not None and there != fact.customer_id:
            uow.put(
                Participation(
                    tenant=rt.tenant,
                    story=fact.story,
                    share=share_of(rt, fact.story, who),
                    customer_id=there,
                    origin=held.whose(who).origin,
                )
            )


def _since(facts: Sequence[Activity], new: Sequence[Activity], kinds: Kinds) -> datetime:
    """From when on a story says something else; a void or an amendment tells what always was."""
    if len(new) == 1 == len(facts):
        return new[0].occurred_at
    tells_anew = any(kinds[f.kind].role in CORRECTING for f in new)
    told = [f for f in facts if kinds[f.kind].role not in CORRECTING] if tells_anew else new
    return min(f.occurred_at for f in told or new)


def _exchange(uow: UnitOfWork, old: Iterable[Occasion], new: Iterable[Occasion]) -> None:
    """Store the new occasions of a story in place of the old ones; only what differs."""
    before, after = by_key(old), by_key(new)
    for key in before.keys() - after.keys():
        story, fact, part, since = key
        uow.remove(Occasion, story=story, fact=fact, part=part, since=since)
    uow.put_many([row for key, row in after.items() if row != before.get(key)])


def _sharing(
    uow: UnitOfWork,
    rt: Runtime,
    facts: Sequence[Activity],
    told: Mapping[str, Sequence[Activity]],
    held: Held,
) -> Mapping[str, Sequence[Participation]]:
    """Who bears shares of these stories."""
    named = tuple({f.story for f in chain(facts, *told.values()) if f.shares})
    if not named:
        return {}
    known = {(story, share) for story, said in told.items() for f in said for share in f.shares}
    uow.put_many(p for fact in facts for p in _participations(rt, fact, held, known))
    sharing: dict[str, list[Participation]] = defaultdict(list)
    for part in uow.find(Participation, story=named):
        sharing[part.story].append(part)
    unheld = {p.customer_id for p in chain(*sharing.values())} - held.asked
    if unheld:
        raise Unheld(frozenset(unheld))
    return sharing


def _participations(
    rt: Runtime, fact: Activity, held: Held, known: Collection[tuple[str, str]]
) -> Iterator[Participation]:
    for n, told in enumerate(fact.payload["participants"] if fact.shares else ()):
        who = told["customer_id"]
        share = share_of(rt, fact.story, who)
        bearer = held.customer(who)
        if bearer is not None:
            origin = held.whose(who).origin
            yield Participation(
                tenant=rt.tenant, story=fact.story, share=share, customer_id=bearer, origin=origin
            )
        elif (fact.story, share) not in known:  # else it was somebody who was erased since
            field = f"payload.participants[{n}].customer_id"
            raise InvalidInput("no such customer", field=field)


def _keep(uow: UnitOfWork, rt: Runtime, steps: Mapping[str, Sequence[Step]]) -> None:
    """Carry what stories add into metrics and counters."""
    metrics: list[Metrics] = []
    counters: list[Counter] = []
    going_on: dict[str, list[Step]] = {}
    hashed = cache(partial(_hashed, rt))
    for customer_id, taken in steps.items():
        nothing = Metrics(tenant=rt.tenant, customer_id=customer_id)
        more = added(nothing, [now for was, now in taken if was is NOTHING], hashed)
        if more.metrics is not nothing:
            metrics.append(more.metrics)
        counters += more.counters
        rest = [step for step in taken if step[0] is not NOTHING]
        if rest:
            going_on[customer_id] = rest
    # What is new is added without reading; only a story that goes on may take something away.
    uow.gather(metrics)
    uow.gather(counters)
    for some in chunked(sorted(going_on), CHUNK):
        _move(uow, rt, {customer_id: going_on[customer_id] for customer_id in some})


def _move(uow: UnitOfWork, rt: Runtime, steps: Mapping[str, Sequence[Step]]) -> None:
    """Replace what stories said before by what they say now."""
    counters = _touched(uow, rt, steps)
    metrics: list[Metrics] = []
    moved: list[Counter] = []
    for cached in uow.find(Metrics, customer_id=tuple(steps)):
        grown = _grown(cached, counters[cached.customer_id], steps[cached.customer_id], rt)
        if grown is None:
            refold(uow, rt, cached)
            continue
        if grown[0] is not cached:
            metrics.append(grown[0])
        for counter in grown[1]:
            if counter.count:
                moved.append(counter)
            else:
                drop(uow, counter)
    uow.put_many(metrics)
    uow.put_many(moved)


def _touched(
    uow: UnitOfWork, rt: Runtime, steps: Mapping[str, Sequence[Step]]
) -> dict[str, dict[Place, Counter]]:
    """The counters that these steps may change, as they are stored."""
    places = {p for taken in steps.values() for s in taken for e in s for p in e.tallies}
    found: dict[str, dict[Place, Counter]] = defaultdict(dict)
    if places:
        stored = uow.find(
            Counter,
            customer_id=tuple(steps),
            dimension=tuple(sorted({dimension for dimension, _ in places})),
            fingerprint=tuple(sorted({_hashed(rt, value) for _, value in places})),
        )
        for counter in stored:
            found[counter.customer_id][counter.dimension, counter.value] = counter
    return found


def _hashed(rt: Runtime, value: str) -> str:
    return rt.fingerprint("counter", value)


def _grown(
    metrics: Metrics, counters: Mapping[Place, Counter], steps: Sequence[Step], rt: Runtime
) -> tuple[Metrics, Iterable[Counter]] | None:
    """Metrics and changed counters after these steps; None if only all facts can tell."""
    changed: dict[Place, Counter] = {}
    for before, after in steps:
        advanced = advance(metrics, before, after)
        if advanced is None:
            return None
        metrics = advanced
        for place in {**before.tallies, **after.tallies}:
            old, new = before.tallies.get(place), after.tallies.get(place)
            if old == new:
                continue
            counter = changed.get(place) or counters.get(place) or _empty(metrics, place, rt)
            grown = counted(counter, old, new)
            if grown is None:
                return None
            changed[place] = grown
    return metrics, changed.values()


def _empty(owner: Metrics, place: Place, rt: Runtime) -> Counter:
    dimension, value = place
    return Counter(
        tenant=owner.tenant,
        customer_id=owner.customer_id,
        dimension=dimension,
        fingerprint=_hashed(rt, value),
        value=value,
    )


def folded(uow: UnitOfWork, rt: Runtime, customer_id: str) -> Folded:
    """What all facts about a customer say, with what is carried on of those that are gone."""
    facts = uow.stream(Activity, customer_id=customer_id, order=("occurred_at", "id"))
    nothing = Metrics(tenant=rt.tenant, customer_id=customer_id)
    told = fold(nothing, facts, rt.settings, partial(_hashed, rt), joined(uow, customer_id))
    return carrying.with_carried(told, carrying.carried(uow, customer_id))


def joined(
    uow: UnitOfWork, customer_id: str, asked: Callable[[Activity], bool] | None = None
) -> Iterator[Joined]:
    """The stories of others of which a customer bears shares; only the facts that are asked."""
    shares: dict[str, list[str]] = defaultdict(list)
    for part in uow.find(Participation, customer_id=customer_id):
        shares[part.story].append(part.share)
    for named in chunked(shares, CHUNK):
        found = uow.find(Activity, story=tuple(named), order=("story", "id"))
        for facts in stories(f for f in found if asked is None or asked(f)):
            yield from ((facts, share) for share in shares[facts[0].story])


def miscounted(uow: UnitOfWork, rt: Runtime, customer_id: str) -> Sequence[Difference]:
    """Where the occasions that are kept of a customer differ from what the facts tell."""
    kept = by_key(uow.find(Occasion, customer_id=customer_id))
    facts = stories(uow.stream(Activity, customer_id=customer_id, order=("occurred_at", "id")))
    told = by_key(chain.from_iterable(occasions(story, rt.settings) for story in facts))
    return [
        Difference(customer_id, "occasion", kept.get(key), told.get(key))
        for key in sorted({*kept, *told})
        if kept.get(key) != told.get(key)
    ]


def recount(uow: UnitOfWork, rt: Runtime, customer_id: str) -> Sequence[Difference]:
    """Put a customer's occasions right; returns what was wrong."""
    wrong = miscounted(uow, rt, customer_id)
    _exchange(uow, (w.kept for w in wrong if w.kept), (w.told for w in wrong if w.told))
    return wrong


def refold(uow: UnitOfWork, rt: Runtime, cached: Metrics) -> Sequence[Difference]:
    """Put metrics and counters right; returns what was wrong."""
    right = folded(uow, rt, cached.customer_id)
    stored = uow.find(Counter, customer_id=cached.customer_id)
    wrong = differences(Folded(cached, stored), right)
    if wrong:
        uow.put(right.metrics)
        for counter in {*stored} - {*right.counters}:
            drop(uow, counter)
        uow.put_many(c for c in right.counters if c not in {*stored})
    return wrong


def drop(uow: UnitOfWork, counter: Counter) -> None:
    """Remove a counter."""
    uow.remove(
        Counter,
        customer_id=counter.customer_id,
        dimension=counter.dimension,
        fingerprint=counter.fingerprint,
    )
