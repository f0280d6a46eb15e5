"""Reading the payload of an activity: what crmkit understands of it, and the rest as it came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import attrs

from crmkit.activities.sharing import weights
from crmkit.config import Kind, Settings
from crmkit.errors import InvalidInput, nearest
from crmkit.model.document import MAX_TEXT, document, text
from crmkit.model.money import to_minor
from crmkit.model.time import instant, iso
from crmkit.payload_fields import PayloadField

ITEMS: Final = ("item", "game", "event", "item_id", "game_id", "event_id")
VENUES: Final = ("venue", "venue_id")
_LONGEST_TEXT: Final = 2_000  # a link with all its parameters
_LONGEST_ID: Final = 200

Reader: TypeAlias = Callable[[Any, str], Any]
"""From a JSON value and its path to what is stored, None if it says nothing."""


@attrs.frozen(repr=False)
class Payload:
    """A payload, read."""

    amount_minor: int | None
    currency: str | None
    status: str | None
    reference: str | None
    reference_name: str
    item: str | None
    venue: str | None
    document: Mapping[str, Any]
    parts: Mapping[str, int]
    """What the part of each who shares weighs, by customer id; empty where nobody does."""


@attrs.frozen
class _Schema:
    """How the payloads of a kind are read, and the ids that name a story, in their order."""

    readers: Mapping[str, Reader]
    references: tuple[str, ...]


def read(kind: Kind, given: Mapping[str, Any] | None, settings: Settings) -> Payload:
    """Check a payload; raises `InvalidInput` naming the path.

    Values of the keys that the kind knows are stored in one spelling, and left out where
    they say nothing; all else is kept as it came.
    """
    schema = _schema(kind, settings.currency, settings.reference_names)
    said = _told(document({} if given is None else given, field="payload"), schema.readers)
    amount = _amount(kind, said.get("amount"), settings.currency)
    name = _first(said, schema.references)
    parts: Mapping[str, int] = {}
    if kind.spends and "participants" in said and kind.is_shared:
        parts = weights(said["participants"], amount, settings.currency)
    return Payload(
        amount_minor=amount,
        currency=None if amount is None else settings.currency,
        status=said.get("status"),
        reference=said.get(name),
        reference_name=name,
        item=said.get(_first(said, ITEMS)),
        venue=said.get(_first(said, VENUES)),
        document=said,
        parts=parts,
    )


def _amount(kind: Kind, value: object, currency: str) -> int | None:
    if value is None:
        if kind.needs_amount:
            raise InvalidInput(f"a {kind.name} needs its amount", field="payload.amount")
        return None
    amount = to_minor(value, currency, field="payload.amount")
    if amount < 0:
        raise InvalidInput(
            "expected zero or more; what was given back is a refund", field="payload.amount"
        )
    return amount


def _first(said: Mapping[str, Any], names: Iterable[str]) -> str:
    """The first of these names under which something is said, or none."""
    for name in names:
        if name in said:
            return name
    return ""


def _told(
    values: Mapping[str, Any], readers: Mapping[str, Reader], path: str = "payload"
) -> dict[str, Any]:
    told = {}
    for name, value in values.items():
        reader = readers.get(name)
        if reader is None:
            told[name] = value
        elif value is not None and value != "":
            value = reader(value, f"{path}.{name}")
            if value is not None:
                told[name] = value
    return told


# Reading is on the way of every activity, so what follows from a kind is worked out once.
# The bound is for hosts that make the settings of many tenants.
@lru_cache(maxsize=4_096)
def _schema(kind: Kind, currency: str, reference_names: tuple[str, ...]) -> _Schema:
    readers: dict[str, Reader] = dict.fromkeys(reference_names, _id)
    readers |= _readers(kind.fields.values(), currency)
    readers["amount"] = _as_it_is  # `_amount` reads it
    # A stated reference first, then the kind's own id, then those of others.
    own = (kind.own_id,) if kind.own_id else ()
    references = (*reference_names[:1], *own, *reference_names[1:])
    return _Schema(dict.fromkeys(own, _id) | readers, tuple(dict.fromkeys(references)))


def _readers(fields: Iterable[PayloadField], currency: str) -> dict[str, Reader]:
    return {field.name: _reader(field, currency) for field in fields}


def _reader(field: PayloadField, currency: str) -> Reader:
    match field.type:
        case "choice":
            return _choice(field)
        case "integer" | "number":
            return _number(field)
        case "money":
            return _money(field, currency)
        case "currency":
            return _currency(currency)
        case "object":
            return _object(field, currency)
        case "list":
            return _list(field, currency)
    return _PLAIN[field.type]


def _as_it_is(value: Any, _: str) -> Any:
    return value


def _text(value: Any, path: str) -> str | None:
    return text(value, field=path, limit=_LONGEST_TEXT)


def _long_text(value: Any, path: str) -> str | None:
    return text(value, field=path, limit=MAX_TEXT, multiline=True)


def _id(value: Any, path: str) -> str | None:
    if type(value) is int:  # never true or false
        value = str(value)
    return text(value, field=path, limit=_LONGEST_ID)


def _instant(value: Any, path: str) -> str:
    return iso(instant(value, field=path))


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("expected true or false", field=path)
    return value


_PLAIN: Final[Mapping[str, Reader]] = {
    "text": _text,
    "long_text": _long_text,
    "id": _id,
    "instant": _instant,
    "flag": _flag,
}


def _choice(field: PayloadField) -> Reader:
    words = {**field.aliases, **{choice: choice for choice in field.choices}}
    known = {word.casefold(): choice for word, choice in words.items()}

    def read(value: Any, path: str) -> str | None:
        word = text(value, field=path, limit=MAX_TEXT)
        if word is None:
            return None
        choice = known.get(word.casefold())
        if choice is None:
            # Without the value: a name may have slipped into the wrong column.
            raise InvalidInput(f"unknown {field.name}{nearest(word, words)}", field=path)
        return choice

    return read


def _number(field: PayloadField) -> Reader:
    types = (int,) if field.type == "integer" else (int, float)
    least = float("-inf") if field.least is None else field.least
    most = float("inf") if field.most is None else field.most
    what = "a whole number" if field.type == "integer" else "a number"
    expected = f"expected {what} {field.bounds}".rstrip()

    def read(value: Any, path: str) -> float:
        if type(value) not in types or not least <= value <= most:
            raise InvalidInput(expected, field=path)
        return value  # type: ignore[no-any-return]

    return read


def _money(field: PayloadField, currency: str) -> Reader:
    least, most = (
        None if bound is None else to_minor(bound, currency, field=field.name)
        for bound in (field.least, field.most)
    )
    expected = f"expected an amount {field.bounds}".rstrip()

    def read(value: Any, path: str) -> Any:
        minor = to_minor(value, currency, field=path)
        if (least is not None and minor < least) or (most is not None and minor > most):
            raise InvalidInput(expected, field=path)
        return value

    return read


def _currency(currency: str) -> Reader:
    def read(value: Any, path: str) -> str:
        if not isinstance(value, str) or value.strip().upper() != currency:
            raise InvalidInput(f"this tenant counts in {currency}", field=path)
        return currency

    return read


def _object(field: PayloadField, currency: str) -> Reader:
    readers = _readers(field.fields, currency)
    names = f" with {', '.join(readers)}" if readers else ""

    def read(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise InvalidInput(f"expected an object (a dict){names}", field=path)
        return _told(value, readers, path)

    return read


def _list(field: PayloadField, currency: str) -> Reader:
    each = _object(field, currency)

    def read(value: Any, path: str) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise InvalidInput("expected a list of objects", field=path)
        return [each(item, f"{path}[{n}]") for n, item in enumerate(value)]

    return read
