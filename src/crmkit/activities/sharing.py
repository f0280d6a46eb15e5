"""Who bears which part of what was paid: the payer, and participants with shares; pure.

An activity keeps weights, by the participant's pseudonym within the story. So the parts
hold whatever the amount becomes, and whoever of them is erased.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from crmkit.errors import InvalidInput
from crmkit.model.money import to_minor

PAYER: Final = ""
"""Stands for the customer of the activity among those who share."""

REFERRED: Final = "referred_customer_id"
"""The payload key that names a customer who came by the one of the activity."""

_FIELD: Final = "payload.participants"
_MOST: Final = 300
_SCALE: Final = 1_000_000  # shares are kept to a millionth of the smallest unit


def weights(
    participants: Sequence[Mapping[str, Any]], amount_minor: int | None, currency: str
) -> dict[str, int]:
    """What each participant's part weighs, by customer id, and the payer's.

    A part is a `share` of the amount, an `amount` of money, or equal to the parts of the
    payer and of all others who tell neither. Raises `InvalidInput` naming the place.
    """
    if len(participants) > _MOST:
        raise InvalidInput(f"more than {_MOST} participants", field=_FIELD)
    whole = (amount_minor or 1) * _SCALE
    told: dict[str, int | None] = {}
    for n, participant in enumerate(participants):
        customer_id = participant.get("customer_id")
        if customer_id is None:
            raise InvalidInput("whose part?", field=f"{_FIELD}[{n}].customer_id")
        if customer_id in told:
            raise InvalidInput("is named twice", field=f"{_FIELD}[{n}].customer_id")
        told[customer_id] = _weight(participant, amount_minor, currency, f"{_FIELD}[{n}]")
    left = whole - sum(weight or 0 for weight in told.values())
    if left < -len(told):  # so much may come of rounding
        raise InvalidInput("the parts are more than the whole", field=_FIELD)
    equal = max(0, left) // (1 + sum(1 for weight in told.values() if weight is None))
    found = {who: equal if weight is None else weight for who, weight in told.items()}
    return found | {PAYER: max(0, whole - sum(found.values()))}


def _weight(
    participant: Mapping[str, Any], amount_minor: int | None, currency: str, path: str
) -> int | None:
    share, amount = participant.get("share"), participant.get("amount")
    if share is not None and amount is not None:
        raise InvalidInput("expected a share or an amount, not both", field=path)
    if share is not None:
        return round(Decimal(str(share)) * (amount_minor or 1) * _SCALE)
    if amount is None:
        return None
    if amount_minor is None:
        raise InvalidInput("the activity has no amount to take part in", field=f"{path}.amount")
    part = to_minor(amount, currency, field=f"{path}.amount")
    if part > amount_minor:
        raise InvalidInput("the part is more than the whole", field=f"{path}.amount")
    return part * _SCALE


def split(total: int, weights: Sequence[int]) -> list[int]:
    """The total split by weights, to the last unit; nothing where nothing weighs."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    shares, weight, given = [], 0, 0
    for each in weights:
        weight += each
        shares.append(total * weight // whole - given)
        given += shares[-1]
    return shares


def divided(total: int, shares: Mapping[str, int]) -> dict[str, int]:
    """Everybody's part of a total; all is the payer's where nobody shares."""
    whole = sum(shares.values())
    parts = {who: total * weight // whole for who, weight in shares.items() if who != PAYER}
    # The payer bears what rounding leaves over.
    return {**parts, PAYER: total - sum(parts.values())}


def unnamed(payload: Mapping[str, Any], ids: Collection[str]) -> Mapping[str, Any] | None:
    """A payload that names none of these customers any more; None if it names none of them.

    The parts of participants stay, as those of nobody.
    """
    changed: dict[str, Any] = {}
    told = payload.get("participants")
    if isinstance(told, list | tuple):
        left = [_unnamed(part, ids) for part in told]
        if left != [*told]:
            changed["participants"] = left
    kept = {k: v for k, v in payload.items() if k != REFERRED or v not in ids}
    if len(kept) == len(payload) and not changed:
        return None
    return kept | changed


def _unnamed(part: Any, ids: Collection[str]) -> Any:
    if not isinstance(part, Mapping) or part.get("customer_id") not in ids:
        return part
    return {k: v for k, v in part.items() if k != "customer_id"}
