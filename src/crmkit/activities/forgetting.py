"""Anonymising what customers did long ago: stories go whole, their sums are carried on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from crmkit.activities import carrying
from crmkit.activities.holding import Unheld, hold
from crmkit.activities.metrics import Joined, fold
from crmkit.activities.signs import last_sign
from crmkit.activities.stories import CORRECTING, Kinds, stories
from crmkit.model import (
    Activity,
    IdempotencyKey,
    Metrics,
    Occasion,
    Participation,
    PointsEntry,
    PointsLot,
    entry_of,
)
from crmkit.model.catalogue import blanks
from crmkit.ports.events import ActivitiesAnonymised
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

Side = tuple[str, str | None]
"""A customer, and where among those of whom they were merged something belongs."""


def is_past(
    story: Sequence[Activity], cutoff: datetime, asked: Collection[str] | None, kinds: Kinds
) -> bool:
    """Whether all that a story tells is of the kinds asked, somebody's, and past the cut-off."""
    return all(
        fact.customer_id is not None
        and fact.occurred_at <= cutoff
        and (asked is None or fact.kind in asked or kinds[fact.kind].role in CORRECTING)
        for fact in story
    )


def past(
    uow: UnitOfWork,
    rt: Runtime,
    facts: Sequence[Activity],
    cutoff: datetime,
    asked: Collection[str] | None,
    spared: Collection[str] = (),
) -> list[Sequence[Activity]]:
    """The whole stories of these facts that are past, but for those that concern the spared."""
    named = tuple(sorted({fact.story for fact in facts}))
    told = uow.find(Activity, story=named, order=("story", "id")) if named else []
    kinds = rt.settings.kinds_by_name
    found = [story for story in stories(told) if is_past(story, cutoff, asked, kinds)]
    if not spared:
        return found
    parts = uow.find(Participation, story=tuple(s[0].story for s in found)) if found else []
    left = {p.story for p in parts if p.customer_id in spared}
    return [s for s in found if s[0].story not in left and s[0].customer_id not in spared]


def forget(
    uow: UnitOfWork,
    rt: Runtime,
    facts: Sequence[Activity],
    cutoff: datetime,
    asked: Collection[str] | None,
    spared: Callable[[Collection[str]], Collection[str]],
    also: frozenset[str],
) -> int:
    """Anonymise the past stories of these facts, within `holding.write`; how many facts.

    `spared` tells of customers, who are held, those of whom nothing is to go.
    """
    owners = {fact.customer_id or "" for fact in facts}
    held = hold(uow, rt, (), owners, also)
    found = past(uow, rt, facts, cutoff, asked, spared(held.there))
    named = tuple(story[0].story for story in found)
    if not named:
        return 0
    parts = uow.find(Participation, story=named)
    concerned = {p.customer_id for p in parts} | {s[0].customer_id or "" for s in found}
    if concerned - held.there:
        raise Unheld(frozenset(concerned))
    _carry(uow, rt, found, parts)
    _unlink(uow, rt, found, named)
    rt.events.publish(uow, ActivitiesAnonymised(frozenset(concerned), rt.now()))
    return sum(map(len, found))


def _carry(
    uow: UnitOfWork,
    rt: Runtime,
    found: Sequence[Sequence[Activity]],
    parts: Sequence[Participation],
) -> None:
    own: dict[Side, list[Activity]] = defaultdict(list)
    borne: dict[Side, list[Joined]] = defaultdict(list)
    for story in found:
        own[story[0].customer_id or "", story[0].origin] += story
    told = {story[0].story: story for story in found}
    for part in parts:
        borne[part.customer_id, part.origin].append((told[part.story], part.share))
    hashed = partial(rt.fingerprint, "counter")
    for side in sorted({*own, *borne}, key=str):
        nothing = Metrics(tenant=rt.tenant, customer_id=side[0])
        facts = own.get(side, ())
        numbers = fold(nothing, facts, rt.settings, hashed, borne.get(side, ()))
        carrying.carry(uow, rt, *side, numbers, last_sign(facts, rt.settings))


def _unlink(
    uow: UnitOfWork, rt: Runtime, found: Sequence[Sequence[Activity]], named: tuple[str, ...]
) -> None:
    uow.change(Activity, blanks(entry_of(Activity)), story=named)
    uow.remove(Occasion, story=named)
    uow.remove(Participation, story=named)
    results = tuple(fact.id for story in found for fact in story)
    of: dict[str, Any] = {"customer_id": tuple({s[0].customer_id or "" for s in found})}
    uow.change(IdempotencyKey, blanks(entry_of(IdempotencyKey)), result_id=results, **of)
    # Points stay with their customer. Under another name, the story does not lead there.
    earned: set[str | None] = {row.story for row in uow.find(PointsLot, story=named)}
    earned |= {row.story for row in uow.find(PointsEntry, story=named)}
    for story in sorted(name for name in earned if name is not None):
        anew = rt.fingerprint("story", rt.new_id())
        for kind in (PointsEntry, PointsLot):
            uow.change(kind, {"story": anew}, story=story)
