"""Calling twice is calling once: what `key=` means, for every call that takes one."""

from __future__ import annotations

from datetime import datetime

import attrs

from crmkit.errors import Erased, IdempotencyConflict, InvalidInput
from crmkit.model import IdempotencyKey
from crmkit.model.time import instant, iso
from crmkit.ports.runtime import Runtime
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
            self._check(seen)
        return seen

    def claim(
        self, uow: UnitOfWork, runtime: Runtime, *, customer_id: str, result_id: str
    ) -> IdempotencyKey | None:
        """Take the key for this result; None if it is ours, else what it led to before.

        Raises `IdempotencyConflict` if the key came with other content, and `Erased` if
        what it led to was erased with its customer.
        """
        mine = IdempotencyKey(
            tenant=runtime.tenant,
            fingerprint=self.fingerprint,
            customer_id=customer_id,
            content=self.content,
            result_id=result_id,
            recorded_at=runtime.now(),
        )
        if uow.add_if_absent(mine):
            return None
        return self.earlier(uow)

    def _check(self, seen: IdempotencyKey) -> None:
        if seen.customer_id is None:
            raise Erased("what this key stood for was erased with its customer")
        if seen.content != self.content:
            raise IdempotencyConflict("this key was used before with other content")
