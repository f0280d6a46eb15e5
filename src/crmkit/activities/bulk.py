"""Many activities at once: items read one by one, and what became of them; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Protocol, TypeVar

import attrs

from crmkit.activities.drafts import Draft, draft
from crmkit.errors import CRMError, InvalidInput, unknown
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork

T = TypeVar("T")

CHUNK = 500
REFUSALS_SHOWN = 1_000
_KEYS = ("customer_id", "customer", "kind", "payload", "at", "key")


class People(Protocol):
    """Finds or creates the customers that data speaks of."""

    def understood(self, data: Mapping[str, Any]) -> Any:
        """What a mapping tells about a person; raises `InvalidInput`."""
        ...

    def found(self, uow: UnitOfWork, people: Sequence[tuple[Any, datetime]]) -> list[Whose]:
        """Whose the data is; who is not there yet is created as of that moment."""
        ...


@attrs.frozen
class Refusal:
    """An item that was not recorded: its position, from 0, and why."""

    position: int
    error: CRMError


@attrs.frozen
class Tracked:
    """What became of the items: recorded, known before by their keys, refused, or skipped.

    `refusals` names the first thousand. Skipped are those about somebody who was erased, where
    that was asked for.
    """

    recorded: int = 0
    repeated: int = 0
    refused: int = 0
    refusals: Sequence[Refusal] = ()
    skipped: int = 0

    @property
    def total(self) -> int:
        """How many items there were."""
        return self.recorded + self.repeated + self.refused + self.skipped

    def __add__(self, other: Tracked) -> Tracked:
        room = max(0, REFUSALS_SHOWN - len(self.refusals))
        return Tracked(
            self.recorded + other.recorded,
            self.repeated + other.repeated,
            self.refused + other.refused,
            (*self.refusals, *other.refusals[:room]) if other.refusals else self.refusals,
            self.skipped + other.skipped,
        )

    @classmethod
    def refusal(cls, position: int, error: CRMError) -> Tracked:
        """One item refused."""
        return cls(refused=1, refusals=(Refusal(position, error),))


@attrs.frozen(repr=False)
class Item:
    """An item that was read: whose it is, or the data that tells."""

    position: int
    draft: Draft
    customer_id: str | None
    person: Any
    changed_at: datetime | None = None


def parsed(rt: Runtime, people: People, position: int, item: object) -> Item:
    """Read one item; raises `InvalidInput` naming the place in it, or `NotFound`."""
    if not isinstance(item, Mapping):
        raise InvalidInput("expected a mapping with a kind and a customer")
    for name in item:
        if name not in _KEYS:
            raise InvalidInput(unknown("key", name, _KEYS))
    if (item.get("customer_id") is None) == (item.get("customer") is None):
        raise InvalidInput("expected a customer_id, or the data of a customer", field="customer_id")
    made = draft(rt, item.get("kind"), item.get("payload"), item.get("at"), item.get("key"))
    if item.get("customer_id") is not None:
        return Item(position, made, checked_id(item["customer_id"]), None)
    return Item(position, made, None, people.understood(item["customer"]))


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, so many at a time."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
