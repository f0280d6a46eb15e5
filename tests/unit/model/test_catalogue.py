"""Every stored column is classified, and what follows from the classes holds together."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
import pytest

from crmkit.model import Customer, Data, Entry, OnErase, OnMerge, Origin, Preferences, catalogue
from crmkit.model import catalogue as entries
from crmkit.model.catalogue import (
    _CATALOGUE,
    as_document,
    assigned,
    blanks,
    columns_of,
    entry_of,
    from_document,
    owned,
    record,
    stored,
)

every = pytest.mark.parametrize("entry", catalogue(), ids=lambda e: e.table)


@every
def test_every_column_is_classified(entry: Entry) -> None:
    """Each field of the record is a column with a data class, an origin and both behaviours."""
    assert entry.names == tuple(a.name for a in attrs.fields(entry.record))
    for column in entry.columns:
        for nested in (column, *column.nested):
            assert isinstance(nested.data, Data)
            assert isinstance(nested.origin, Origin)
            assert isinstance(nested.erase, OnErase)
            assert isinstance(nested.merge, OnMerge)


@every
def test_no_personal_value_is_in_the_repr(entry: Entry) -> None:
    shown = {a.name for a in attrs.fields(entry.record) if a.repr}
    assert not shown & {c.name for c in entry.columns if c.personal}


@every
def test_every_key_and_index_starts_with_the_tenant(entry: Entry) -> None:
    assert entry.key[0] == "tenant"
    assert entry.column("tenant").type is str
    for index in entry.indexes:
        assert index.fields[0] == "tenant"
        assert set(index.fields) <= set(entry.names)


@every
def test_no_unique_key_is_personal(entry: Entry) -> None:
    """A database prints the values of a key that is violated."""
    unique = [entry.key, *(i.fields for i in entry.indexes if i.unique)]
    for fields in unique:
        assert not any(entry.column(f).personal for f in fields), fields


@every
def test_who_has_a_customer_has_an_owner(entry: Entry) -> None:
    """So that export, erasure and merging find the record."""
    if entry.record is Customer:
        assert entry.owner == "id"
    else:
        assert entry.owner == ("customer_id" if "customer_id" in entry.names else None)
    assert (entry in owned()) is (entry.owner is not None)


@every
def test_nobodys_record_holds_nothing_personal(entry: Entry) -> None:
    """What no erasure reaches may not speak of anybody, but for who acts in the audit: staff."""
    if entry.owner is None:
        personal = {f"{entry.table}.{c.name}" for c in entry.columns if c.personal}
        assert personal <= {"crm_audit.actor"}


@every
def test_a_record_that_moves_in_a_merge_names_its_customer(entry: Entry) -> None:
    if entry.owner and entry.record is not Customer:
        assert entry.column(entry.owner).merge in (OnMerge.MOVE, OnMerge.FOLD)


@every
def test_what_outlives_its_person_says_why_and_can_be_emptied(entry: Entry) -> None:
    """The owner too can be taken out; what stays is a sum, a date or a hash."""
    if entry.owner is None or entry.erase is OnErase.DELETE:
        return
    assert len(entry.reason) > 20
    emptied = blanks(entry)
    assert entry.owner in emptied
    for name, value in emptied.items():
        column = entry.column(name)
        assert value is None if column.optional else value in ({}, ()), name
        assert name not in entry.key
    for column in entry.columns:
        if column.name not in emptied:
            assert column.data in (Data.TECHNICAL, Data.FINGERPRINT, Data.BEHAVIOUR), column.name


def test_a_preference_is_classified_too() -> None:
    """What is nested has classes of its own; diet is a special category (GDPR Art. 9)."""
    preferences = entry_of(Customer).column("preferences")
    classes = {c.name: c.data for c in preferences.nested}
    assert set(classes) == {a.name for a in attrs.fields(Preferences)}
    assert classes["dietary"] is Data.SPECIAL
    assert classes["special_requests"] is Data.FREE_TEXT
    assert all(c.personal for c in preferences.nested)
    assert {c.name for c in preferences.nested if c.origin is Origin.INFERRED} == {
        "conversion_score"
    }


def test_an_unclassified_field_cannot_be_registered() -> None:
    @attrs.frozen
    class Plain:
        tenant: str = assigned()
        note: str = attrs.field(default="")

    with pytest.raises(TypeError, match=r"Plain\.note is not classified"):
        columns_of(Plain)


def test_an_unclassified_nested_field_cannot_be_registered() -> None:
    with pytest.raises(TypeError, match=r"_Nested\.street is not classified"):
        columns_of(_Outer)


@attrs.frozen
class _Nested:
    street: str


@attrs.frozen
class _Outer:
    tenant: str = assigned()
    address: _Nested | None = stored(  # noqa: RUF009 - a field, as in every record
        Data.LOCATION, Origin.PROVIDED, default=None
    )


def test_a_type_that_no_storage_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be stored"):
        columns_of(_Float)


@attrs.frozen
class _Float:
    amount: float = stored(Data.BEHAVIOUR, Origin.OBSERVED)


def test_outliving_ones_person_needs_a_reason() -> None:
    before = dict(_CATALOGUE)
    with pytest.raises(TypeError, match="needs a reason"):

        @record("crm_x", key=("id",), owner="customer_id", erase=OnErase.ANONYMISE)
        class Secret:
            tenant: str = assigned()
            id: str = assigned()
            customer_id: str | None = assigned()

    assert before == _CATALOGUE


def test_tables_are_the_projects_own() -> None:
    tables = [e.table for e in catalogue()]
    assert len(set(tables)) == len(tables)
    assert all(t.startswith("crm_") for t in tables)
    assert {"crm_customers", "crm_activities", "crm_segments", "crm_segment_customers"} <= {*tables}
    assert all(e.title for e in entries())


def test_columns_are_looked_up_by_name() -> None:
    assert entry_of(Customer).column("created_at").type is datetime
    with pytest.raises(KeyError):
        entry_of(Customer).column("emial")


@pytest.mark.parametrize(
    "preferences",
    [
        Preferences(),
        Preferences(drinks=("gin", "rum"), prefers_table=True, average_group_size=0),
        Preferences(comes_alone=False, special_requests="a"),
    ],
)
def test_preferences_survive_being_a_document(preferences: Preferences) -> None:
    document = as_document(preferences)
    assert from_document(Preferences, document) == preferences
    assert None not in document.values()


def test_a_document_of_a_newer_version_can_be_read() -> None:
    given: dict[str, Any] = {"drinks": ["gin"], "from the future": 1}
    assert from_document(Preferences, given) == Preferences(drinks=("gin",))
