"""Which values survive a merge, and where the others go."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from crmkit import InvalidInput, Survivorship
from crmkit.identity.survivorship import GROUPS, checked, united, winners
from crmkit.model import Customer, Preferences, entry_of
from crmkit.model.catalogue import OnMerge

EARLY, LATE = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)


def customer(who: str = "c", **fields: Any) -> Customer:
    return Customer(tenant="t", id=who, **{"created_at": EARLY, "updated_at": EARLY} | fields)


def won(kept: Customer, dropped: Customer, **policy: Any) -> set[str]:
    told = (dict.fromkeys(entry_of(Customer).names, EARLY),
            dict.fromkeys(entry_of(Customer).names, LATE))  # fmt: skip
    return set(winners(kept, dropped, told, Survivorship(**policy)))


def test_every_field_that_is_filled_is_in_one_group() -> None:
    grouped = [f for fields in GROUPS.values() for f in fields]
    filled = [c.name for c in entry_of(Customer).columns if c.merge is OnMerge.FILL]
    assert sorted(grouped) == sorted(filled)


@pytest.mark.parametrize(
    ("kept", "dropped", "wins"),
    [
        ({"name": "Ana Pop"}, {"name": "Ana"}, False),
        ({"name": "A. Pop"}, {"name": "Ana Pop"}, True),
        ({"name": "Ana P."}, {"name": "Ana"}, False),
        ({"first_name": "Ana"}, {"name": "Ana Pop"}, True),
        ({"name": "Ana"}, {}, False),
        ({}, {"name": "Ana"}, True),
        ({"name": "Ana"}, {"name": "Eva"}, True),  # the newer
        ({"name": "Ana", "user_id": "1"}, {"name": "Eva Maria Pop"}, False),
    ],
)
def test_the_name_that_survives(kept: Any, dropped: Any, wins: bool) -> None:
    assert ("name" in won(customer(**kept), customer(**dropped))) is wins


def test_a_number_that_could_be_read_survives_one_that_was_typed() -> None:
    kept, dropped = customer(phone="+40722123456"), customer(phone_typed="call me")
    assert "phone" not in won(kept, dropped)
    assert "phone" in won(dropped, kept, order=("verified",))


def test_without_criteria_the_kept_value_stays() -> None:
    kept, dropped = customer(name="A", city="Roma"), customer(name="Ana Pop", city="Milano")
    assert won(kept, dropped, order=()) == set()
    assert won(kept, dropped, fields={"city": ()}) == {"name"}


def test_what_belongs_together_survives_together() -> None:
    """No address of one in the city of the other."""
    kept = customer(city="Roma", country="IT")
    dropped = customer(address="1 High St", city="Leeds", country="GB")
    found = united(kept, dropped, frozenset(won(kept, dropped)))
    assert (found.address, found.city, found.country) == ("1 High St", "Leeds", "GB")


def test_what_only_one_has_is_taken() -> None:
    kept = customer(created_at=LATE, updated_at=LATE)
    dropped = customer("d", birth_date=date(1990, 5, 17), gender="F")
    found = united(kept, dropped, frozenset())
    assert (found.id, found.birth_date, found.gender) == ("c", date(1990, 5, 17), "F")
    assert (found.created_at, found.updated_at) == (EARLY, LATE)


def test_lists_and_mappings_are_united() -> None:
    """The kept one's entries come first, and stand where both have one."""
    kept = customer(custom={"a": 1}, preferences=Preferences(drinks=("gin",), dress_style="formal"))
    dropped = customer(
        custom={"a": 2, "b": 3},
        preferences=Preferences(drinks=("rum", "gin"), dress_style="casual", prefers_table=True),
    )
    found = united(kept, dropped, frozenset())
    assert found.custom == {"a": 1, "b": 3}
    assert found.preferences == Preferences(
        drinks=("gin", "rum"), dress_style="formal", prefers_table=True
    )


def test_losers_become_aliases_once() -> None:
    """In either case of letters, of either side, and never what the profile shows."""
    kept = customer(
        name="Ana Pop", email="a@x.ro", user_id="1", external_ids={"pos": "7"},
        aliases={"name": ["Anna"], "email": ["b@x.ro"]},
    )  # fmt: skip
    dropped = customer(
        name="ANNA", email="b@x.ro", phone_typed="12", user_id="2", external_ids={"pos": "8"}
    )
    assert united(kept, dropped, frozenset()).aliases == {
        "name": ["Anna"], "email": ["b@x.ro"], "user_id": ["2"], "external:pos": ["8"],
    }  # fmt: skip
    assert united(kept, dropped, frozenset({"email"})).aliases["email"] == ["a@x.ro"]


@pytest.mark.parametrize("policy", [{"order": ("best",)}, {"fields": {"name": ("best",)}}])
def test_an_unknown_criterion_is_refused(policy: Any) -> None:
    with pytest.raises(InvalidInput, match="unknown criterion 'best'"):
        Survivorship(**policy)


def test_an_unknown_field_is_refused() -> None:
    assert checked(Survivorship(fields={"city": ["newer"]})).fields == {"city": ("newer",)}
    with pytest.raises(InvalidInput, match="did you mean 'email'"):
        checked(Survivorship(fields={"emial": ()}))
