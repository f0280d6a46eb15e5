"""Every error crmkit raises: one root, and the standard type a caller would expect beside it.

A message says what was wrong, where, and what was expected; it never repeats a
personal value, so it can go into any log.
"""

from __future__ import annotations

from collections.abc import Iterable


class CRMError(Exception):
    """Root of all errors that crmkit raises on purpose."""


class InvalidInput(CRMError, ValueError):
    """A value the caller gave cannot be used; nothing was written.

    `field` is the path of the value, such as ``"email"`` or ``"payload.amount"``.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.message = message
        self.field = field

    def within(self, place: str) -> InvalidInput:
        """The same error of a value that stands at a place, such as ``people[3]``."""
        return InvalidInput(self.message, field=f"{place}.{self.field}" if self.field else place)


class RuleError(InvalidInput):
    """A segment rule cannot be understood; `field` is the path into the rule."""


class NotFound(CRMError, LookupError):
    """No such record for this tenant."""


class Erased(CRMError, LookupError):
    """The person behind this id or key was erased; nothing about them is accepted any more."""


class OnHold(CRMError, RuntimeError):
    """A legal hold stands for this customer: nothing of them is erased until it is released."""


class AlreadyTaken(CRMError, ValueError):
    """An identifier that belongs to one customer only already belongs to another."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class IdempotencyConflict(CRMError, ValueError):
    """The same `key=` came back with other content than the first time."""


class InsufficientPoints(CRMError, ValueError):
    """The balance does not cover the points to be taken."""


class RewardRefused(CRMError, ValueError):
    """A reward cannot be had, handed out or cancelled; nothing was changed.

    `reason` is a short word to tell cases apart by, such as ``sold_out`` or ``used``.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class StorageError(CRMError, RuntimeError):
    """The storage failed; the driver's own error is the `__cause__`."""


class DecryptionError(CRMError, ValueError):
    """What is stored sealed cannot be opened: it was changed or moved, or its key is gone."""


class StorageBusy(StorageError):
    """Other transactions kept winning; the unit of work was rolled back and may be tried again."""


class SchemaOutdated(StorageError):
    """The database holds no crmkit schema, or another version of it."""


class MissingExtra(CRMError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""


_DIGITS_OF_A_PHONE = 7


def shown(name: object, *, limit: int = 60) -> str:
    """A name from the caller made fit for a message: printable, bounded, quoted.

    What may be an address or a number of somebody, in the place of a name, is left out.
    """
    text = "".join(c if c.isprintable() else "?" for c in str(name)[: limit + 1])
    if "@" in text or sum(map(str.isdecimal, text)) >= _DIGITS_OF_A_PHONE:
        return "'…'"
    return repr(text[:limit] + "…" if len(text) > limit else text)


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """``unknown field 'emial'; did you mean 'email'?`` (or the list, when nothing is near)."""
    return f"unknown {what} {shown(name)}{nearest(name, known)}"


def nearest(name: object, known: Iterable[str]) -> str:
    """``; did you mean 'email'?``, or ``; known: …`` when nothing is near; never the name."""
    names = sorted(known)
    if not names:
        return ""
    # Imported here: needed only when something is already wrong.
    from rapidfuzz import process

    near = process.extractOne(str(name)[:60], names, processor=str.casefold, score_cutoff=60)
    if near:
        return f"; did you mean {near[0]!r}?"
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"; known: {listed}"
