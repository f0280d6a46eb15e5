"""Whether two customers can be reached in the same way, or live together; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from crmkit.customers import contacts, traits
from crmkit.model import Customer

_CONTACTS = ("email", "phone", "instagram")


def reached(customer: Customer, told: Iterable[Mapping[str, Any]] = ()) -> set[tuple[str, str]]:
    """Kind and canonical form of every contact: of the profile, and those it ever had.

    `told` are the changes of the profile.
    """
    now = {"aliases": customer.aliases, **{kind: getattr(customer, kind) for kind in _CONTACTS}}
    return {contact for fields in (now, *told) for contact in _contacts(fields)}


def _contacts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    also = fields.get("aliases") or {}
    for kind in _CONTACTS:
        for value in (fields.get(kind), *also.get(kind, ())):
            if value:
                yield kind, contacts.canonical_email(value) if kind == "email" else value


def household(one: Customer, other: Customer) -> tuple[str, ...]:
    """What speaks for one household: ``same_address``, ``same_family``.

    The same address in one town or of one postal code; the same family name in one town.
    """
    mine, theirs = traits.of_customer(one), traits.of_customer(other)
    town = bool(set(mine.cities) & set(theirs.cities))
    code = _same("postal_code", mine, theirs)
    found = []
    if _same("address", mine, theirs) and (town or code):
        found.append("same_address")
    if town and _families(mine) & _families(theirs):
        found.append("same_family")
    return tuple(found)


def _same(detail: str, one: traits.Traits, other: traits.Traits) -> bool:
    return not set(one.details.get(detail, ())).isdisjoint(other.details.get(detail, ()))


def _families(of: traits.Traits) -> set[str]:
    """The surnames; of a name that was given in one piece the last word."""
    return {" ".join(last) if first else last[-1] for first, last in of.names if last}
