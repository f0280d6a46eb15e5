"""Holding customers: nobody else changes their numbers before the transaction ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import TypeVar

import attrs

from crmkit.activities.bulk import CHUNK, chunked
from crmkit.errors import Erased, NotFound
from crmkit.model import Metrics, Redirect
from crmkit.ports.runtime import Runtime, Whose
from crmkit.ports.storage import UnitOfWork

T = TypeVar("T")


@attrs.frozen
class Held:
    """Whose metrics nobody else changes before the transaction ends; who of them is there.

    `led` tells of ids that were merged away where they lead.
    """

    asked: frozenset[str]
    there: frozenset[str]
    led: Mapping[str, Redirect] = attrs.field(factory=dict)

    def whose(self, told_as: str) -> Whose:
        """Whose a fact is that was told by this id."""
        led = self.led.get(told_as)
        return Whose(led.customer_id, led.origin, told_as) if led else Whose(told_as, None, told_as)

    def customer(self, told_as: str) -> str | None:
        """The customer an id stands for, if there is one."""
        found = self.whose(told_as).customer_id
        return found if found in self.there else None


class Unheld(Exception):
    """A story concerns customers who are not held; see `write`."""

    def __init__(self, customers: frozenset[str]) -> None:
        super().__init__("more customers must be held")
        self.customers = customers


def write(
    rt: Runtime,
    work: Callable[[UnitOfWork, frozenset[str]], T],
    also: frozenset[str] = frozenset(),
) -> T:
    """Run `work` in one transaction; it is given whom to hold beside those that it knows of.

    Who bears shares of a story, or where an id leads that was merged away, is known when it has
    been read. Holding them only then could have two wait for each other; so it begins anew and
    holds all of them at once.
    """
    try:
        return rt.write(lambda uow: work(uow, also))
    except Unheld as unheld:
        return write(rt, work, also | unheld.customers)


def hold(
    uow: UnitOfWork,
    rt: Runtime,
    owners: Collection[str],
    participants: Collection[str] = (),
    also: frozenset[str] = frozenset(),
) -> Held:
    """Hold these customers; raises `NotFound` or `Erased` for an owner."""
    asked = also.union(owners, participants)
    # Sorted throughout, so that nobody waits crosswise.
    batches = chunked(sorted(asked), CHUNK)
    there = frozenset(chain.from_iterable(uow.hold(Metrics, batch) for batch in batches))
    gone = asked.intersection((*owners, *participants)) - there
    led = {r.id: r for r in uow.find(Redirect, id=tuple(sorted(gone)))} if gone else {}
    leads_to = frozenset(r.customer_id for r in led.values())
    if leads_to - asked:
        raise Unheld(leads_to)
    held = Held(asked, there, led)
    for customer_id in sorted(gone):
        if held.customer(customer_id) is None:
            # Either there is nobody, or they moved while they were waited for.
            try:
                raise Unheld(frozenset({rt.metrics(uow, customer_id).customer_id}))
            except (NotFound, Erased):
                if customer_id in owners:
                    raise
    return held
