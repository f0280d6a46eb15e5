"""Calling twice is calling once: what `key=` means, for every call that takes one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from crmkit.errors import Erased, IdempotencyConflict, InvalidInput
from crmkit.model import IdempotencyKey
from crmkit.model.time import instant, iso
from crmkit.ports.runtime import Runtime, Whose
from crmkit.ports.storage import UnitOfWork

_MAX_KEY = 500


def stated(at: datetime | str | None) -> str | None:
    """The `at` of a call as part of its content: what was left to the clock is not."""
    return None if at is None else iso(instant(at))


@attrs.frozen
class Call:
    """A call with a key, as keyed hashes; keys of different operations never meet."""

    fingerprint: str
    content: str

    @classmethod
    def of(cls, runtime: Runtime, operation: str, key: object, content: str) -> Call | None:
        """The call, or None without a key. `content` is the canonical text of what is asked."""
        if key is None:
            return None
        if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY:
            raise InvalidInput(f"expected a text of 1 to {_MAX_KEY} characters", field="key")
        try:
            return cls(
                runtime.fingerprint(f"key:{operation}", key),
                runtime.fingerprint(f"content:{operation}", content),
            )
        except UnicodeEncodeError as error:
            raise InvalidInput("not valid Unicode text", field="key") from error

    def earlier(self, uow: UnitOfWork) -> IdempotencyKey | None:
        """What the key led to before, or None; raises like `claim`."""
        seen = uow.get(IdempotencyKey, self.fingerprint)
        if seen is not None:
            self.check(seen)
        return seen

    def claim(
        self,
        uow: UnitOfWork,
        runtime: Runtime,
        *,
        customer_id: str,
        result_id: str,
        origin: str | None = None,
    ) -> IdempotencyKey | None:
        """Take the key for this result; None if it is ours, else what it led to before.

        Raises `IdempotencyConflict` if the key came with other content or for another
        customer, and `Erased` if what it led to was erased with its customer.
        """
        if uow.add_if_absent(self.key(runtime, customer_id, result_id, origin)):
            return None
        seen = self.earlier(uow)
        if seen is not None:
            of_same_customer(seen, customer_id)
        return seen

    def key(
        self, runtime: Runtime, customer_id: str, result_id: str, origin: str | None = None
    ) -> IdempotencyKey:
        """The key as it is kept, for this result."""
        return IdempotencyKey(
            tenant=runtime.tenant,
            fingerprint=self.fingerprint,
            customer_id=customer_id,
            content=self.content,
            result_id=result_id,
            recorded_at=runtime.now(),
            origin=origin,
        )

    def check(self, seen: IdempotencyKey) -> None:
        """Raise if the key came with other content, or its customer was erased."""
        if seen.customer_id is None:
            raise Erased("what this key stood for was erased with its customer")
        if seen.content != self.content:
            raise IdempotencyConflict("this key was used before with other content")


def of_same_customer(seen: IdempotencyKey, customer_id: str) -> None:
    """Raise if the key was used for another customer.

    The customer is no part of the content: a merge hands the key on, and whichever of
    both ids comes again, it is the same call.
    """
    if seen.customer_id != customer_id:
        raise IdempotencyConflict("this key was used before for another customer")


def earlier_of(uow: UnitOfWork, calls: Sequence[Call]) -> dict[Call, IdempotencyKey]:
    """What these calls led to before, of those that were made; raises like `claim`."""
    wanted = tuple(call.fingerprint for call in calls)
    known = {k.fingerprint: k for k in uow.find(IdempotencyKey, fingerprint=wanted)}
    found = {call: known[call.fingerprint] for call in calls if call.fingerprint in known}
    for call, seen in found.items():
        call.check(seen)
    return found


def claim_all(
    uow: UnitOfWork, runtime: Runtime, calls: Sequence[tuple[Call, Whose, str]]
) -> list[IdempotencyKey | None]:
    """`Call.claim` for many: calls with whose they are and the result each would have.

    A key that comes twice stands for its first result the second time.
    """
    known = {k.fingerprint: k for k in uow.find(
        IdempotencyKey, fingerprint=tuple(call.fingerprint for call, _, _ in calls))}  # fmt: skip
    earlier: list[IdempotencyKey | None] = []
    mine: list[IdempotencyKey] = []
    for call, whose, result_id in calls:
        seen = known.get(call.fingerprint)
        earlier.append(seen)
        if seen is not None:
            call.check(seen)
            of_same_customer(seen, whose.customer_id)
            continue
        mine.append(call.key(runtime, whose.customer_id, result_id, whose.origin))
        known[call.fingerprint] = mine[-1]
    uow.add_many(mine)
    return earlier
