"""What every feature is given: where to store, what applies, and what time it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, TypeVar

import attrs

from crmkit.config import Settings
from crmkit.errors import Erased, InvalidInput, NotFound
from crmkit.model import Customer, Erasure
from crmkit.model.time import instant
from crmkit.ports.events import Events
from crmkit.ports.keys import Keys
from crmkit.ports.storage import Storage, UnitOfWork

T = TypeVar("T")


@attrs.frozen
class Runtime:
    """One tenant's storage, settings, clock, ids and keys."""

    storage: Storage
    tenant: str
    settings: Settings
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    keys: Keys
    events: Events
    memory: dict[Any, Any] = attrs.field(factory=dict, repr=False)
    """What is worth remembering between calls, by whom it is of use to."""

    def now(self) -> datetime:
        """The clock's instant, in UTC."""
        moment = self.clock()
        if moment.tzinfo is None:
            raise InvalidInput("expected a clock whose times have a zone", field="clock")
        return moment.astimezone(UTC)

    def at(self, at: datetime | str | None) -> datetime:
        """The instant asked for, or now; raises `InvalidInput`."""
        return self.now() if at is None else instant(at)

    def fingerprint(self, purpose: str, value: str) -> str:
        """A keyed hash for this tenant."""
        return self.keys.fingerprint(self.tenant, purpose, value)

    def read(self) -> AbstractContextManager[UnitOfWork]:
        """A unit of work that only reads."""
        return self.storage.read(self.tenant)

    def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Run `work` in one transaction."""
        return self.storage.write(self.tenant, work)

    def customer(self, uow: UnitOfWork, customer_id: str, *, lock: bool = False) -> Customer:
        """The customer; raises `NotFound`, or `Erased` if there once was one."""
        found = uow.get(Customer, checked_id(customer_id), lock=lock)
        if found is None:
            raise self.missing(uow, customer_id)
        return found

    def living(self, uow: UnitOfWork, customer_id: str) -> str | None:
        """Who an id stands for by now; None for nobody."""
        found = uow.get(Customer, customer_id)
        return found.id if found else None

    def missing(self, uow: UnitOfWork, customer_id: str) -> NotFound | Erased:
        """The error for an id without a customer."""
        if uow.get(Erasure, self.fingerprint("erased", customer_id)):
            return Erased("this customer was erased")
        return NotFound("no such customer")


def checked_id(customer_id: object) -> str:
    """The id as text; raises `NotFound` for what can be no id."""
    if (
        not isinstance(customer_id, str)
        or not 0 < len(customer_id) <= 64
        or not customer_id.isascii()
        or not customer_id.isprintable()
    ):
        raise NotFound("no such customer: expected the `id` of a customer")
    return customer_id
