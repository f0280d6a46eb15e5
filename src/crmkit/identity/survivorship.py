"""What one profile is made of two: which values survive, and where the others go; pure.

Values that belong together, such as an address and its city, survive together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from crmkit.config import Survivorship
from crmkit.errors import InvalidInput, unknown
from crmkit.model import Customer, Preferences, entry_of
from crmkit.model.catalogue import Column, OnMerge, evolved

_TOGETHER: Final = (
    ("name", "first_name", "last_name"),
    ("email", "email_typed"),
    ("phone", "phone_typed"),
    ("instagram", "instagram_typed", "instagram_followers"),
    ("address", "postal_code", "city", "country"),
    ("latitude_micro", "longitude_micro"),
)
_FILLED: Final = tuple(
    c.name
    for c in entry_of(Customer).columns
    if c.merge is OnMerge.FILL
)  # fmt: skip
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    fields[0]: fields
    for fields in (*_TOGETHER, *((f,) for f in _FILLED if not any(f in t for t in _TOGETHER)))
}
"""The fields of which one value survives, by the first of those that belong together."""

_ALIASED: Final = ("user_id", "name", "nickname", "email", "phone", "instagram")
_CHECKED: Final = frozenset({"email", "phone", "instagram"})
_WORD: Final = re.compile(r"[^\W\d_]+")

Dates = Mapping[str, datetime]
"""When each field was last told."""


def checked(policy: Survivorship) -> Survivorship:
    """The policy; raises `InvalidInput` for a field that is none."""
    known = [f for fields in GROUPS.values() for f in fields]
    for field in policy.fields:
        if field not in known:
            raise InvalidInput(unknown("field", field, known), field="survivorship")
    return policy


def winners(
    kept: Customer, dropped: Customer, told: tuple[Dates, Dates], policy: Survivorship
) -> frozenset[str]:
    """The groups of fields in which the dropped customer's values survive.

    `told` says when the fields of each were last told.
    """
    return frozenset(
        group
        for group in GROUPS
        if _filled(dropped, group)
        and (
            not _filled(kept, group)
            or _rank(dropped, group, told[1], policy) > _rank(kept, group, told[0], policy)
        )
    )


def united(kept: Customer, dropped: Customer, won: frozenset[str]) -> Customer:
    """The profile of both; in the groups that `won` the dropped customer's values survive."""
    changes: dict[str, Any] = {}
    for column in entry_of(Customer).columns:
        one, other = getattr(kept, column.name), getattr(dropped, column.name)
        if column.name == "preferences":
            changes[column.name] = _preferences(one, other)
        elif column.merge is not OnMerge.FILL:
            changes[column.name] = _joined(column, one, other)
    for group, fields in GROUPS.items():
        if _filled(dropped, group) and (group in won or not _filled(kept, group)):
            changes |= {f: getattr(dropped, f) for f in fields}
    survivor = evolved(kept, **changes)
    return evolved(survivor, aliases=_aliases(survivor, (kept, dropped)))


def _filled(customer: Customer, group: str) -> int:
    return sum(getattr(customer, f) is not None for f in GROUPS[group])


def _rank(customer: Customer, group: str, told: Dates, policy: Survivorship) -> tuple[Any, ...]:
    own = (policy.fields[f] for f in GROUPS[group] if f in policy.fields)
    order = next(own, policy.order)
    return tuple(_CRITERIA[name](customer, group, told) for name in order)


def _verified(customer: Customer, group: str, _: Dates) -> tuple[bool, bool]:
    # A contact that could be read over one that was only typed; what somebody with an
    # account said over what was said of somebody.
    checked = group in _CHECKED and getattr(customer, group) is not None
    return checked, customer.user_id is not None


def _fuller(customer: Customer, group: str, _: Dates) -> tuple[int, ...]:
    if group == "name":
        words = _WORD.findall(customer.full_name or "")
        return sum(len(word) > 1 for word in words), len(words)
    return (_filled(customer, group),)


def _newer(_: Customer, group: str, told: Dates) -> float:
    return max((told[f].timestamp() for f in GROUPS[group] if f in told), default=0.0)


_CRITERIA: Final = {"verified": _verified, "fuller": _fuller, "newer": _newer}


def _joined(column: Column, one: Any, other: Any) -> Any:
    """What two records' values of a field become; an empty one yields."""
    if one is None or other is None:
        return other if one is None else one
    if column.merge is OnMerge.EARLIEST:
        return min(one, other)
    if column.merge is OnMerge.LATEST and column.type is datetime:
        return max(one, other)
    if column.merge is OnMerge.UNION and isinstance(one, Mapping):
        return {**one, **{k: v for k, v in other.items() if k not in one}}
    if column.merge is OnMerge.UNION and isinstance(one, tuple):
        return tuple(dict.fromkeys((*one, *other)))
    return one


def _preferences(kept: Preferences, dropped: Preferences) -> Preferences:
    empty, (record,) = Preferences(), (c for c in entry_of(Customer).columns if c.nested)
    changes: dict[str, Any] = {}
    for column in record.nested:
        one, other = getattr(kept, column.name), getattr(dropped, column.name)
        said = one != getattr(empty, column.name)
        changes[column.name] = _joined(column, one, other) if said else other
    return attrs.evolve(kept, **changes)


def _aliases(survivor: Customer, both: Sequence[Customer]) -> Mapping[str, Sequence[str]]:
    """What either said that the profile does not show, by field; it still leads to the person."""
    found: dict[str, dict[str, None]] = {}

    def keep(field: str, values: Iterable[object], shown: object) -> None:
        # One value in two spellings is one; the profile's own is no further one.
        known = {str(shown).casefold(), *(v.casefold() for v in found.get(field, ()))}
        for value in values:
            if value and str(value).casefold() not in known:
                found.setdefault(field, {})[str(value)] = None
                known.add(str(value).casefold())

    for customer in both:
        for field, values in customer.aliases.items():
            keep(field, values, _shown(survivor, field))
        for field in _ALIASED:
            keep(field, [_shown(customer, field)], _shown(survivor, field))
        for system, value in customer.external_ids.items():
            keep(f"external:{system}", [value], survivor.external_ids.get(system))
    return {field: list(values) for field, values in found.items()}


def _shown(customer: Customer, field: str) -> Any:
    if field == "name":
        return customer.full_name
    if field.startswith("external:"):
        return customer.external_ids.get(field.partition(":")[2])
    value = getattr(customer, field, None)
    return getattr(customer, f"{field}_typed", None) if value is None else value
