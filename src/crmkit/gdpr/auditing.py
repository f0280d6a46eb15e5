"""Writing the audit: who is acting, and what is put down about it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from crmkit.errors import InvalidInput
from crmkit.model import AuditRow, AuditSubject, Erasure
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical, text
from crmkit.model.time import to_micros
from crmkit.ports.keys import Keys
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

START: Final = "0" * 64
"""What the first row of a chain follows."""


@attrs.frozen
class Acting:
    """Who acts, why, and by which program."""

    actor: str | None = attrs.field(default=None, repr=False)
    reason: str | None = attrs.field(default=None, repr=False)
    via: str | None = None


# A context of its own for each thread and each task of an event loop.
_ACTING: ContextVar[Acting] = ContextVar("crmkit_acting", default=Acting())  # noqa: B039 - frozen


def who_acts() -> Acting:
    """Who acts by now; nobody is known outside of every `acting`."""
    return _ACTING.get()


@contextmanager
def acting(actor: str, *, reason: str | None = None, via: str | None = None) -> Iterator[None]:
    """Name who acts while the block lasts; what an inner block leaves out is as outside."""
    outer, who = who_acts(), text(actor, field="actor", limit=200)
    if who is None:
        raise InvalidInput("expected some text", field="actor")
    why = text(reason, field="reason", limit=500) if reason is not None else outer.reason
    how = text(via, field="via", limit=100) if via is not None else outer.via
    before = _ACTING.set(Acting(who, why, how))
    try:
        yield
    finally:
        _ACTING.reset(before)


def unless_named(actor: str, *, via: str) -> AbstractContextManager[None]:
    """`acting`, where nobody else acts."""
    return nullcontext() if who_acts().actor is not None else acting(actor, via=via)


def commitment(nonce: str, told_as: str | None, reason: str | None) -> str:
    """The salted hash of whom a row is about, and why; BLAKE2b, 256 bits."""
    told = canonical([nonce, told_as, reason])
    return hashlib.blake2b(told.encode(), digest_size=32).hexdigest()


def content(row: AuditRow) -> str:
    """What a row's `mac` covers, as canonical JSON."""
    at = to_micros(row.occurred_at)
    who = [row.actor, row.actor_mark, row.via]
    return canonical([row.tenant, row.id, at, *who, row.action, row.subject, row.details])


def link(previous: str, sequence: int, row: AuditRow) -> str:
    """The hash of a row in its place behind another; BLAKE2b, 256 bits."""
    told = canonical([previous, sequence, row.mac, content(row)])
    return hashlib.blake2b(told.encode(), digest_size=32).hexdigest()


@attrs.frozen
class Scribe:
    """Drafts rows of the audit with a database's keys, ids and clock."""

    keys: Keys = attrs.field(repr=False)
    new_id: Callable[[], str]
    clock: Callable[[], datetime]

    @classmethod
    def of(cls, rt: Runtime) -> Scribe:
        """The one with what a runtime has."""
        return cls(rt.keys, rt.new_id, rt.clock)

    def draft(
        self,
        tenant: str,
        action: str,
        customer_id: str | None = None,
        details: Mapping[str, Any] | None = None,
        *,
        told_as: str | None = None,
        gone: bool = False,
    ) -> tuple[AuditRow, AuditSubject | None]:
        """A row, and its subject where there is one.

        `told_as` is the id that the customer was asked for by, if another. Of one who is `gone`
        the subject is empty from the start.
        """
        who, at = who_acts(), self.clock().astimezone(UTC)
        why, told = who.reason, told_as or customer_id
        nonce = secrets.token_hex(16) if told or why else None
        row = AuditRow(
            tenant=tenant,
            id=self.new_id(),
            occurred_at=at,
            actor=who.actor,
            actor_mark=actor_mark(self.keys, tenant, who.actor) if who.actor else None,
            via=who.via,
            action=action,
            subject=commitment(nonce, told, why) if nonce else None,
            details=dict(details or {}),
            mac="",
        )
        row = evolved(row, mac=mac(self.keys, row))
        if nonce is None:
            return row, None
        if gone:
            return row, AuditSubject(
                tenant=tenant,
                audit_id=row.id,
                occurred_at=at,
                unlinked=unlinked(self.keys, tenant, row.id),
            )
        return row, AuditSubject(
            tenant=tenant,
            audit_id=row.id,
            customer_id=customer_id,
            told_as=told,
            reason=why,
            nonce=nonce,
            occurred_at=at,
        )


def mac(keys: Keys, row: AuditRow) -> str:
    """The keyed hash that a row should have."""
    return keys.fingerprint(row.tenant, "audit", content(row))


def actor_mark(keys: Keys, tenant: str, actor: str) -> str:
    """The keyed hash that an actor's rows are found by."""
    return keys.fingerprint(tenant, "audit actor", actor)


def unlinked(keys: Keys, tenant: str, audit_id: str) -> str:
    """The keyed hash that an erasure leaves where it emptied a subject."""
    return keys.fingerprint(tenant, "audit unlinked", audit_id)


def note(
    uow: UnitOfWork,
    rt: Runtime,
    action: str,
    customer_id: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Put down that something is done to a customer, in the transaction that does it.

    `action` is a short word; `details` may count things and name tables, and holds nothing
    personal. Whoever calls this holds the customer, so that no erasure comes between. Of one
    who was erased nothing is linked.
    """
    holder = rt.led(uow, customer_id) if customer_id else None
    gone = customer_id is not None and is_gone(uow, rt, customer_id)
    add(
        uow,
        Scribe.of(rt).draft(rt.tenant, action, holder, details, told_as=customer_id, gone=gone),
    )


def is_gone(uow: UnitOfWork, rt: Runtime, customer_id: str) -> bool:
    """Whether the customer of this id was erased."""
    return uow.get(Erasure, rt.fingerprint("erased", customer_id)) is not None


def add(uow: UnitOfWork, *drafts: tuple[AuditRow, AuditSubject | None]) -> None:
    """Store what was drafted."""
    uow.add_many([row for row, _ in drafts])
    uow.add_many([subject for _, subject in drafts if subject is not None])
