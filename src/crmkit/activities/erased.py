"""What becomes of items of a bulk import that speak of somebody who was erased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

from crmkit.activities.bulk import Item
from crmkit.errors import InvalidInput, unknown
from crmkit.model import IdempotencyKey
from crmkit.ports.storage import UnitOfWork

OnErased: TypeAlias = Literal["raise", "skip", "create"]
_CHOICES: Final = get_args(OnErased)


def checked(on_erased: object) -> OnErased:
    """The choice; raises `InvalidInput`."""
    for choice in _CHOICES:
        if on_erased == choice:
            found: OnErased = choice
            return found
    raise InvalidInput(unknown("choice", on_erased, _CHOICES), field="on_erased")


def released(uow: UnitOfWork, items: Sequence[Item], on_erased: OnErased) -> Sequence[Item]:
    """The items without those to be skipped, by their keys.

    Where somebody is to be created anew, the keys of items that tell who it is are forgotten.
    """
    if on_erased == "raise":
        return items
    prints = tuple(item.draft.call.fingerprint for item in items if item.draft.call)
    found = uow.find(IdempotencyKey, fingerprint=prints, customer_id=None) if prints else []
    gone = {key.fingerprint for key in found}
    if not gone:
        return items
    if on_erased == "skip":
        return [i for i in items if not i.draft.call or i.draft.call.fingerprint not in gone]
    anew = {i.draft.call.fingerprint for i in items if i.draft.call and i.person is not None}
    if gone & anew:
        uow.remove(IdempotencyKey, fingerprint=tuple(sorted(gone & anew)), customer_id=None)
    return items
