"""Holding customers: nobody else changes their numbers before the transaction ends."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import chain
from typing import TypeVar

import attrs

from crmkit.activities.bulk import CHUNK, chunked
from crmkit.model import Metrics
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

T = TypeVar("T")


@attrs.frozen
class Held:
    """Whose metrics nobody else changes before the transaction ends; who of them is there."""

    asked: frozenset[str]
    there: frozenset[str]


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

    Who bears shares of a story is known when it has been read. Holding them only then could
    have two wait for each other; so it begins anew and holds all of them at once.
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
    for customer_id in owners:
        if customer_id not in there:
            raise rt.missing(uow, customer_id)
    return Held(asked, there)
