"""Reading the payload of an activity: what crmkit understands of it, and the rest as it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from crmkit.config import Kind, Settings
from crmkit.errors import InvalidInput, unknown
from crmkit.model.document import document, text
from crmkit.model.money import to_minor

ITEMS = ("item", "game", "event")
STATUSES = {
    **{s: s for s in "requested pending approved confirmed completed cancelled no_show".split()},
    "canceled": "cancelled",
    "no-show": "no_show",
    "noshow": "no_show",
}
"""The statuses that are understood, each with its name."""


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


def read(kind: Kind, given: Mapping[str, Any] | None, settings: Settings) -> Payload:
    """Check a payload; raises `InvalidInput` naming the path."""
    if given is None:
        given = {}
    checked = document(given, field="payload")
    amount = _amount(kind, given, settings)
    if "party_size" in checked:
        _check_party(checked["party_size"])
    name, reference = _reference(kind, checked, settings.reference_names)
    return Payload(
        amount_minor=amount,
        currency=None if amount is None else settings.currency,
        status=_status(checked.get("status")),
        reference=reference,
        reference_name=name,
        item=_first(checked, ITEMS),
        venue=_first(checked, ("venue",)),
        document=checked,
    )


def _amount(kind: Kind, given: Mapping[str, Any], settings: Settings) -> int | None:
    raw = given.get("amount")
    if raw is None or raw == "":
        if kind.needs_amount:
            raise InvalidInput(f"a {kind.name} needs its amount", field="payload.amount")
        return None
    amount = to_minor(raw, settings.currency, field="payload.amount")
    if amount < 0:
        raise InvalidInput(
            "expected zero or more; what was given back is a refund", field="payload.amount"
        )
    currency = given.get("currency")
    if currency not in (None, "", settings.currency):
        raise InvalidInput(f"this tenant counts in {settings.currency}", field="payload.currency")
    return amount


def _status(value: object) -> str | None:
    if value in (None, ""):
        return None
    name = STATUSES.get(value.lower()) if isinstance(value, str) else None
    if name is None:
        raise InvalidInput(unknown("status", value, STATUSES), field="payload.status")
    return name


def _check_party(value: object) -> None:
    if value in (None, ""):
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100_000:
        raise InvalidInput("expected a whole number from 1", field="payload.party_size")


def _reference(
    kind: Kind, checked: Mapping[str, Any], names: tuple[str, ...]
) -> tuple[str, str | None]:
    """The id that names the story, and which it is: booking 7 is not order 7.

    `reference` if it is given, else the kind's own id, else the first of the others.
    """
    own = (kind.own_id,) if kind.own_id else ()
    for name in (*names[:1], *own, *names[1:]):
        value = _first(checked, (name,))
        if value is not None:
            return name, value
    return "", None


def _first(checked: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = checked.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return text(value, field=f"payload.{name}", limit=200)
    return None
