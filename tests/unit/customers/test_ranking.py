"""How well a profile fits a search."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from crmkit.customers.ranking import fit
from crmkit.customers.tokens import Query
from crmkit.model import Customer

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def customer(**fields: Any) -> Customer:
    return Customer(tenant="t", id="1", created_at=_NOW, updated_at=_NOW, **fields)


def score(text: str, **fields: Any) -> float:
    found = fit(Query.of(text), customer(**fields))
    return found.score if found else 0.0


def test_the_better_name_comes_first() -> None:
    """Equal, then begun, then with one error; what else the name holds counts against it."""
    names = ["Ion Popescu", "Ion Andrei Popescu", "Ionela Popescu", "Ion Popsecu"]
    scores = [score("ion popescu", name=n) for n in names]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(names)
    assert scores[0] == 1.0
    assert scores[-1] > 0


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("popescu", "name"),
        ("dj.ion", "email"),
        ("dj.ion84@ve", "email"),
        ("@venue", "email"),
        ("venue.ro", "email"),
        ("3456", "phone"),
        ("0722 123 456", "phone"),
        ("7221", "phone"),
        ("@cool", "instagram"),
        ("cool_one", "instagram"),
        ("birthday regular", "tag"),
        ("u-17", "id"),
    ],
)
def test_the_field_that_fits_is_named(text: str, field: str) -> None:
    ion = customer(
        name="Ion Popescu",
        email="dj.ion84@venue.ro",
        phone="+40722123456",
        instagram="cool_one",
        external_ids={"pos": "U-17"},
    )
    found = fit(Query.of(text), ion, ["Birthday-Regular"])
    assert found is not None
    assert found.field == field


@pytest.mark.parametrize("text", ["ion ana", "popxscx", "ino", "9876", "@other", "vip"])
def test_every_word_must_fit(text: str) -> None:
    """Two errors are too many, and short words must be right."""
    assert fit(Query.of(text), customer(name="Ion Popescu", phone="+40722123456")) is None


def test_an_empty_profile_fits_nothing() -> None:
    assert fit(Query.of("ana"), customer()) is None
    assert fit(Query.of("@ana"), customer()) is None
    assert fit(Query.of("1234"), customer()) is None
