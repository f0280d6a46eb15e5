"""Text and JSON from outside, made safe to store, compare and print.

Everything here is bounded before it is looked at, so that hostile input costs
microseconds, and pure, so that it can be used below every other layer.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import attrs

from crmkit.errors import InvalidInput
from crmkit.model.time import instant, iso

MAX_TEXT: Final = 10_000
MAX_KEY: Final = 100
MAX_DEPTH: Final = 16
MAX_NODES: Final = 1_000
_INTEGERS: Final = 2**53  # beyond it other JSON readers lose digits

# Cc except newline, return and tab; and surrogates, which no encoding accepts.
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NEWLINE = re.compile("\r\n|[\r\n\u2028\u2029]")
# Overrides and isolates reorder what surrounds them, and a zero-width space, word joiner
# or byte order mark hides in equal-looking names. Joiners and direction marks stay:
# emoji and right-to-left scripts need them.
_DROPPED = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff]")
_INVISIBLE: Final = " \n\t\u200c\u200d\u200e\u200f"


def text(value: object, *, field: str, limit: int = 500, multiline: bool = False) -> str | None:
    """Trimmed NFC text, or None when nothing visible remains.

    Newlines and tabs become spaces unless `multiline`. Raises `InvalidInput` for what
    is no text, is longer than `limit` characters as given, or holds control
    characters or lone surrogates.
    """
    if not isinstance(value, str):
        raise InvalidInput("expected text", field=field)
    if len(value) > limit:
        raise InvalidInput(f"longer than {limit} characters", field=field)
    if value.isascii() and value.isprintable():
        return value.strip() or None
    return _cleaned(value, field, limit, multiline)


def _cleaned(value: str, field: str, limit: int, multiline: bool) -> str | None:
    if _REFUSED.search(value):
        raise InvalidInput("holds control characters or broken Unicode", field=field)
    value = _NEWLINE.sub("\n", value)
    if not multiline:
        value = value.replace("\n", " ").replace("\t", " ")
    if not value.isascii():
        value = unicodedata.normalize("NFC", _DROPPED.sub("", value))
        if len(value) > limit:  # a few letters grow when normalised
            raise InvalidInput(f"longer than {limit} characters", field=field)
    value = value.strip()
    return value if value.strip(_INVISIBLE) else None


class _Refused(Exception):
    """What is wrong, and the steps that lead there, innermost first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.steps: list[object] = []

    def path(self) -> str:
        return "".join(_step(step) for step in reversed(self.steps))


def _step(step: object) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    # A key that is no plain word may be anything, an e-mail address too.
    named = isinstance(step, str) and len(step) <= 60 and step.replace("-", "_").isidentifier()
    return f".{step}" if named else "[…]"


def document(
    value: object, *, field: str, nodes: int = MAX_NODES, depth: int = MAX_DEPTH
) -> dict[str, Any]:
    """A fresh copy of a JSON object, holding only what JSON and every storage can hold.

    Decimals and dates become text, tuples lists. Raises `InvalidInput` with the path
    of what cannot be kept, such as ``payload.items[3].price``, and for more than so many
    `nodes` or a greater `depth`.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput("expected an object (a dict)", field=field)
    try:
        return _object(value, 1, [nodes, depth, nodes])
    except _Refused as refused:
        raise InvalidInput(str(refused), field=field + refused.path()) from None


def _object(value: Mapping[Any, Any], depth: int, left: list[int]) -> dict[str, Any]:
    _spend(len(value), depth, left)
    out: dict[str, Any] = {}
    key: object = None
    try:
        for key, item in value.items():
            if type(key) is not str or not key or len(key) > MAX_KEY or not _plain(key):
                raise _Refused(f"expected keys of 1 to {MAX_KEY} characters of text")
            kind = type(item)
            if (
                (kind is str and len(item) <= MAX_TEXT and _plain(item))
                or (kind is int and -_INTEGERS < item < _INTEGERS)
                or (kind is float and item and -_INTEGERS < item < _INTEGERS)
                or item is None
                or kind is bool
            ):
                out[key] = item
            else:
                out[key] = _value(item, depth, left)
    except _Refused as refused:
        refused.steps.append(key if isinstance(key, str) else None)
        raise
    return out


def _array(value: Sequence[Any], depth: int, left: list[int]) -> list[Any]:
    _spend(len(value), depth, left)
    out: list[Any] = []
    try:
        for item in value:
            out.append(_value(item, depth, left))  # noqa: PERF401 - len(out) is the failing index
    except _Refused as refused:
        refused.steps.append(len(out))
        raise
    return out


def _spend(nodes: int, depth: int, left: list[int]) -> None:
    """Count nodes before they are visited; `depth` ends structures that hold themselves.

    `left` holds how many nodes may still come, and how deep they may lie, and
    how many there may be.
    """
    if depth > left[1]:
        raise _Refused(f"nested deeper than {left[1]} levels, or holding itself")
    left[0] -= nodes
    if left[0] < 0:
        raise _Refused(f"more than {left[2]} values")


def _plain(value: str) -> bool:
    if value.isascii():
        return "\0" not in value
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _value(item: object, depth: int, left: list[int]) -> Any:
    if isinstance(item, Mapping):
        return _object(item, depth + 1, left)
    if isinstance(item, (list, tuple)):
        return _array(item, depth + 1, left)
    return _scalar(item)


def _scalar(item: object) -> Any:
    if item is None or isinstance(item, bool):
        return item
    if isinstance(item, str):
        if len(item) > MAX_TEXT:
            raise _Refused(f"longer than {MAX_TEXT} characters")
        if not _plain(item):
            raise _Refused("holds NUL or broken Unicode")
        return str.__str__(item)  # an enumeration's member would lose its type in storage
    if isinstance(item, int):
        if not -_INTEGERS < item < _INTEGERS:
            raise _Refused("whole number out of range; give it as text")
        return int(item)
    if isinstance(item, float):
        if item - item != 0.0:
            raise _Refused("expected a finite number")
        if not -_INTEGERS < item < _INTEGERS:  # a database may give it back as a whole number
            raise _Refused("number out of range; give it as text")
        return float(item) + 0.0  # databases know no -0.0
    return _as_text(item)


def _as_text(item: object) -> str:
    if isinstance(item, Decimal):
        spelled = str(item)
        if not item.is_finite() or len(spelled) > MAX_KEY:
            raise _Refused(f"expected a finite number of at most {MAX_KEY} digits")
        return spelled
    if isinstance(item, datetime):
        try:
            return iso(instant(item))
        except InvalidInput as error:
            raise _Refused(str(error).removeprefix("at: ")) from None
    if isinstance(item, date):
        return item.isoformat()
    raise _Refused("expected text, a number, true or false, a date, a list or an object")


def _spelled(value: object) -> object:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if attrs.has(type(value)):
        # Not `repr`, which leaves personal values out.
        return attrs.asdict(value, recurse=False)  # type: ignore[arg-type]
    raise TypeError(f"no canonical form of {type(value).__name__}")


_CANONICAL = json.JSONEncoder(
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=False,
    allow_nan=False,
    default=_spelled,
)


def canonical(value: object) -> str:
    """The one JSON text of a safe value, for fingerprints: sorted keys, no spaces.

    Dates, instants and Decimals are spelled as `document` spells them, records as objects.
    """
    return _CANONICAL.encode(value)
