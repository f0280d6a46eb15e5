"""One page of a list, and the cursor that asks for the next."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import attrs

from crmkit.errors import InvalidInput

T = TypeVar("T")

MAX_LIMIT = 1_000


@attrs.frozen
class Page(Generic[T]):
    """Some items in order; `next` goes into `after=` for the following page, or is None."""

    items: tuple[T, ...]
    next: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def checked_limit(limit: object) -> int:
    """A page size between 1 and 1,000; raises `InvalidInput`."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"expected a whole number from 1 to {MAX_LIMIT}", field="limit")
    return limit


def cursor(position: Sequence[int | str]) -> str:
    """An opaque cursor for a position in the list's order."""
    text = json.dumps(list(position), separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position(after: str | None, kinds: Sequence[type]) -> tuple[Any, ...] | None:
    """The position a cursor stands for; raises `InvalidInput` for one that crmkit never gave."""
    if after is None:
        return None
    try:
        if len(after) > 500:
            raise ValueError
        values = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if not isinstance(values, list) or [type(v) for v in values] != list(kinds):
            raise ValueError
        if not all(map(_possible, values)):
            raise ValueError
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidInput("not a cursor of this list", field="after") from error
    return tuple(values)


def _possible(value: int | str) -> bool:
    """Whether crmkit may have given it: microseconds up to the year 2200, or an id."""
    if isinstance(value, int):
        return abs(value) < 10**16
    return value.isascii() and value.isprintable()


def paged(items: Sequence[T], limit: int, where: Any) -> Page[T]:
    """A page from up to `limit + 1` items; `where(item)` is its position."""
    if len(items) <= limit:
        return Page(tuple(items))
    kept = tuple(items[:limit])
    return Page(kept, cursor(where(kept[-1])))
