"""Which story a new fact continues: also one that was begun under an id that was merged away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from crmkit.activities.drafts import Draft, story_of
from crmkit.errors import Erased
from crmkit.model import Activity, Redirect
from crmkit.model.catalogue import evolved
from crmkit.ports.runtime import Runtime, Whose
from crmkit.ports.storage import UnitOfWork

Told = dict[str, list[Activity]]
"""What was told before, by story."""


def told_before(uow: UnitOfWork, facts: Iterable[Activity]) -> Told:
    """What was told before, of the stories that have a name."""
    return _told(uow, (f.story for f in facts if f.reference or f.corrects))


def placed(
    uow: UnitOfWork, rt: Runtime, drafts: Sequence[tuple[Draft, Whose]]
) -> tuple[list[Activity], Told]:
    """The drafts as activities of the stories that they continue, and what was told before.

    A story's name holds the id of its customer. So those of merged customers are looked for
    under each of their ids, first the one that was used now. A fact belongs where its story does.
    Raises `Erased` for one whose story was anonymised: it would tell again whose that is.
    """
    facts = [draft.of(rt, whose) for draft, whose in drafts]
    told = told_before(uow, facts)
    unknown = [n for n, fact in enumerate(facts) if fact.reference and fact.story not in told]
    ids = _ids(uow, {facts[n].customer_id or "" for n in unknown}) if unknown else {}
    meant = {
        n: [story_of(rt, c, drafts[n][0].read) or "" for c in ids[facts[n].customer_id or ""]]
        for n in unknown
        if facts[n].customer_id in ids
    }
    if meant:
        told |= _told(uow, (story for names in meant.values() for story in names))
    begun: dict[str, Activity] = {}
    for n, fact in enumerate(facts):
        first = _first(fact, meant.get(n, ()), told, begun)
        if first is None:
            begun[fact.story] = fact
        elif first.customer_id is None:
            raise Erased("what this belongs to was anonymised")
        elif first.story != fact.story or first.origin != fact.origin:
            draft, whose = drafts[n]
            facts[n] = draft.of(rt, attrs.evolve(whose, origin=first.origin), first.story)
    return facts, told


def _told(uow: UnitOfWork, stories: Iterable[str]) -> Told:
    named = tuple(dict.fromkeys(stories))
    told: Told = defaultdict(list)
    if named:
        for fact in uow.find(Activity, story=named, order=("story", "id")):
            told[fact.story].append(fact)
    return told


def _ids(uow: UnitOfWork, customers: Iterable[str]) -> dict[str, list[str]]:
    """All ids of those customers who were merged, their own first."""
    ids: dict[str, list[str]] = {}
    for redirect in uow.find(Redirect, customer_id=tuple(sorted(customers))):
        ids.setdefault(redirect.customer_id, [redirect.customer_id]).append(redirect.id)
    return ids


def _first(
    fact: Activity, others: Iterable[str], told: Told, begun: Mapping[str, Activity]
) -> Activity | None:
    """A fact of the story that this one continues, if there is one."""
    for story in (fact.story, *others):
        if told.get(story):
            return told[story][0]
        if story in begun:
            return begun[story]
    return None


def renamed(
    rt: Runtime, facts: Sequence[Activity], ids: Iterable[str], to: str
) -> Iterator[Activity]:
    """A story's facts under the name that it has as another customer's.

    Only `ids` may be in its name until now. What has no name keeps its own id.
    """
    named = next((f for f in facts if f.reference), None)
    story = named and _renamed(rt, named, ids, to)
    return (evolved(f, story=story) for f in facts) if story else iter(())


def _renamed(rt: Runtime, fact: Activity, ids: Iterable[str], to: str) -> str | None:
    def name(of: str, reference_name: str) -> str:
        return rt.fingerprint("story", f"{of}:{reference_name}:{fact.reference}")

    for told_as in ids:
        for reference_name in rt.settings.reference_names:
            if name(told_as, reference_name) == fact.story:
                return name(to, reference_name)
    return None
