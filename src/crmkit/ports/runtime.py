"""What every feature is given: where to store, what applies, and what time it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, TypeVar

import attrs

from crmkit.config import Settings
from crmkit.errors import DecryptionError, Erased, InvalidInput, NotFound
from crmkit.model import Customer, Erasure, Horizon, Metrics, Redirect
from crmkit.model.time import instant
from crmkit.ports.events import Events
from crmkit.ports.holders import Holder
from crmkit.ports.keys import Keys
from crmkit.ports.storage import Storage, UnitOfWork

R = TypeVar("R", Customer, Metrics)
T = TypeVar("T")

_TRIES = 20


@attrs.frozen
class Whose:
    """Whose a fact is: the customer who holds it, where it belongs, and the id it was told by.

    `origin` is as on a record: None unless the customer was merged and the fact is of one side.
    """

    customer_id: str
    origin: str | None
    told_as: str


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
    holders: list[Holder] = attrs.field(factory=list, repr=False)
    """Who answers for the host's own tables; the same list for all tenants of a service."""

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
        """A keyed hash for this tenant, the same for good."""
        return self.keys.fingerprint(self.tenant, purpose, value)

    def indexes(self, purpose: str, value: str) -> tuple[str, ...]:
        """Keyed hashes under which a value may be found; the first is how it is stored now."""
        return self.keys.indexes(self.tenant, purpose, value)

    def index(self, purpose: str, value: str) -> str:
        """The keyed hash that a value is stored by, to be found."""
        return self.keys.indexes(self.tenant, purpose, value)[0]

    @property
    def is_rotating(self) -> bool:
        """Whether what is looked for may be stored by several hashes."""
        return len(self.indexes("", "")) > 1

    def read(self) -> AbstractContextManager[UnitOfWork]:
        """A unit of work that only reads."""
        return self.storage.read(self.tenant)

    def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Run `work` in one transaction."""
        return self.storage.write(self.tenant, work)

    def customer(self, uow: UnitOfWork, customer_id: str, *, lock: bool = False) -> Customer:
        """The customer, by this id or one that was merged away.

        Raises `NotFound`, or `Erased` if there once was one.
        """
        found = self._led(uow, Customer, customer_id, lock=lock)
        check_open(found)
        return found

    def metrics(self, uow: UnitOfWork, customer_id: str, *, lock: bool = False) -> Metrics:
        """The customer's metrics, as `customer` finds them."""
        return self._led(uow, Metrics, customer_id, lock=lock)

    def _led(self, uow: UnitOfWork, kind: type[R], customer_id: str, *, lock: bool) -> R:
        at, gone = checked_id(customer_id), False
        for _ in range(_TRIES):  # it may be merged, or parted again, while it is waited for
            found = uow.get(kind, at, lock=lock)
            if found is not None and at == customer_id:
                return found
            led = uow.get(Redirect, customer_id)
            if found is not None and led is not None and led.customer_id == at:
                return found
            if led is None and at == customer_id:
                if gone:
                    break
                gone = True
            at = led.customer_id if led else customer_id
        raise self.missing(uow, customer_id)

    def led(self, uow: UnitOfWork, customer_id: str) -> str:
        """Where an id leads that was merged away; any other is itself."""
        redirect = uow.get(Redirect, checked_id(customer_id))
        return redirect.customer_id if redirect else customer_id

    def whose(self, uow: UnitOfWork, told_as: str, customer_id: str) -> Whose:
        """Whose a fact is that was told by this id of that customer."""
        led = None if told_as == customer_id else uow.get(Redirect, told_as)
        return Whose(customer_id, led.origin if led else None, told_as)

    def foresee(self, uow: UnitOfWork, at: datetime) -> None:
        """Remember that a fact lies ahead, if it does."""
        if at <= self.now():
            return
        known = uow.get(Horizon, self.tenant)
        if known is None or known.until < at:
            uow.put(Horizon(tenant=self.tenant, id=self.tenant, until=at))

    def missing(
        self, uow: UnitOfWork, customer_id: str, what: str = "customer"
    ) -> NotFound | Erased:
        """The error for an id without a customer, or without what is named."""
        if uow.get(Erasure, self.fingerprint("erased", customer_id)):
            return Erased(f"this {what} was erased")
        return NotFound(f"no such {what}")


def check_open(*customers: Customer | None) -> None:
    """Raise `DecryptionError` for a profile that is sealed, where nobody has the keys."""
    if any(c is not None and c.sealed is not None for c in customers):
        raise DecryptionError("this customer is sealed: CRMService needs the key ring")


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
