from __future__ import annotations

import pytest

from crmkit import (
    AlreadyTaken,
    CRMError,
    Erased,
    IdempotencyConflict,
    InsufficientPoints,
    InvalidInput,
    MissingExtra,
    NotFound,
    RuleError,
    SchemaOutdated,
    StorageBusy,
    StorageError,
)
from crmkit.errors import shown, unknown


@pytest.mark.parametrize(
    ("error", "natural"),
    [
        (InvalidInput, ValueError),
        (RuleError, ValueError),
        (NotFound, LookupError),
        (Erased, LookupError),
        (AlreadyTaken, ValueError),
        (IdempotencyConflict, ValueError),
        (InsufficientPoints, ValueError),
        (StorageError, RuntimeError),
        (StorageBusy, StorageError),
        (SchemaOutdated, StorageError),
        (MissingExtra, ImportError),
    ],
)
def test_one_root_and_the_natural_type(error: type[Exception], natural: type[Exception]) -> None:
    assert issubclass(error, CRMError)
    assert issubclass(error, natural)


def test_the_field_comes_first() -> None:
    error = InvalidInput("expected text", field="payload.amount")
    assert (str(error), error.field) == ("payload.amount: expected text", "payload.amount")
    assert str(InvalidInput("expected text")) == "expected text"
    assert AlreadyTaken("belongs to another", field="email").field == "email"


@pytest.mark.parametrize(
    ("name", "near"),
    [("emial", "email"), ("e-mail", "email"), ("phon", "phone"), ("mail", "email")],
)
def test_the_nearest_name(name: str, near: str) -> None:
    assert f"did you mean '{near}'?" in unknown("field", name, ["email", "phone", "city"])


def test_without_a_near_name_the_known_are_listed() -> None:
    assert unknown("field", "zzz", ["b", "a"]) == "unknown field 'zzz'; known: a, b"
    assert unknown("field", "zzz", [f"n{i:02}" for i in range(20)]).endswith("n11, …")
    assert unknown("segment", "zzz", []) == "unknown segment 'zzz'"


def test_a_name_is_made_fit_for_a_message() -> None:
    """Bounded, on one line, without what a terminal would obey."""
    assert shown("a\nb\x1b[31m") == "'a?b?[31m'"
    assert shown("\ud800") == "'?'"
    assert len(shown("x" * 1_000_000)) < 70
    assert shown(None) == "'None'"


@pytest.mark.parametrize("name", ["ana.pop@mail.com", "+40 722 123 456", "0722123", "a@b"])
def test_a_name_that_may_be_somebodys_is_left_out(name: str) -> None:
    """A host that puts a value where a name belongs finds it in no log."""
    assert shown(name) == "'…'"
    assert unknown("field", name, ["email"]).startswith("unknown field '…'")


def test_a_monstrous_name_makes_a_short_message() -> None:
    assert len(unknown("field", "x" * 1_000_000, [f"name {i}" for i in range(100)])) < 300
