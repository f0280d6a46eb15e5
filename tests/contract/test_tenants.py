"""No call crosses tenants: two with the same people, keys and names never meet."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import pytest
import sqlalchemy as sa

from crmkit import (
    AlreadyTaken,
    CRMError,
    CRMService,
    Erased,
    InvalidInput,
    MemoryStorage,
    NotFound,
    Settings,
    SqlStorage,
)
from crmkit.adapters.sql.engine import open_engine
from crmkit.ports.storage import Storage
from tests.calls import (
    ABOUT_A_CUSTOMER,
    ABOUT_A_REDEMPTION,
    ABOUT_A_REQUEST,
    ABOUT_ALL,
    ABOUT_AN_ACTIVITY,
    SETTINGS,
)
from tests.fixtures import sqlite_url
from tests.populate import populate, rows

ONE, OTHER = "tenant-one", "tenant-other"


# Called by crmkit itself inside a unit of work, which has its tenant.
_INTERNAL = {
    "insights.historic", "insights.run_due", "segments.names", "loyalty.run_due",
    "loyalty.standing",
    "consents.standing", "consents.on_stated", "consents.withdraw_all",
    "consents.on_erased",
    "referrals.on_stories", "referrals.on_anonymised", "retention.run_due", "retention.on_undone",
    "gdpr.run_due", "requests.run_due",
    "audit.note", "audit.record", "audit.run_due", "audit.on_consent", "audit.on_erased",
    *(f"{name}.on_{event}" for name in ("activities", "consents", "referrals", "audit")
      for event in ("merged", "undone")),
}  # fmt: skip
# What makes or closes a service, and what is about two customers, or about the
# host: these have tests of their own.
_ELSEWHERE = (
    {
        "for_tenant",
        "using",
        "close",
        "retention.release",
        "gdpr.register",
        "gdpr.rotate",
        "audit.acting",
    }
    | {f"identity.{name}" for name in ("merge", "unmerge", "compare", "dismiss")}
    | {
        # About links and single words, and about customers of whom a no is the answer.
        f"consents.{name}"
        for name in (
            "confirm",
            "unsubscribe",
            "unsubscribe_headers",
            "receipt",
            "may_contact",
            "may_contact_many",
        )
    }
)


def _methods(owner: object, name: str = "") -> Iterator[str]:
    for found, _ in inspect.getmembers(type(owner), inspect.isfunction):
        if not found.startswith("_"):
            yield f"{name}.{found}" if name else found


def test_every_public_method_is_tried() -> None:
    """A new method of a namespace must be added above."""
    crm = CRMService(MemoryStorage())
    known = set(_methods(crm)) | set(_methods(crm.gdpr.consents, "consents"))
    known |= set(_methods(crm.gdpr.retention, "retention"))
    known |= set(_methods(crm.gdpr.requests, "requests"))
    known |= set(_methods(crm.gdpr.audit, "audit"))
    known |= set(_methods(crm.segments.analytics, "analytics"))
    known |= set(_methods(crm.insights.standing, "standing"))
    known |= set(_methods(crm.loyalty.rewards, "rewards"))
    known |= set(_methods(crm.loyalty.referrals, "referrals"))
    known |= set(_methods(crm.loyalty.reports, "reports"))
    for name, made in inspect.getmembers(type(crm), lambda m: isinstance(m, cached_property)):
        assert made
        known |= set(_methods(getattr(crm, name), name))
    called = (*ABOUT_A_CUSTOMER, *ABOUT_AN_ACTIVITY, *ABOUT_A_REDEMPTION, *ABOUT_ALL)
    tried = {name.split(" ")[0] for name in (*called, *ABOUT_A_REQUEST)}
    assert known == tried | _INTERNAL | _ELSEWHERE


def ids(value: Any) -> set[str]:
    """All text in an answer, at any depth."""
    if isinstance(value, str):
        return {value}
    if attrs.has(type(value)):
        return {i for a in attrs.fields(type(value)) for i in ids(getattr(value, a.name))}
    if isinstance(value, dict):
        return {i for pair in value.items() for part in pair for i in ids(part)}
    if isinstance(value, (list, tuple, set, frozenset)) or hasattr(value, "__iter__"):
        return {i for part in value for i in ids(part)}
    return set()


@attrs.frozen
class Twins:
    """Two tenants with the same data, and the id of the one person in each."""

    mine: CRMService
    theirs: CRMService
    my_person: str
    their_person: str
    their_ids: frozenset[str]


@pytest.fixture
def twins(storage: Storage) -> Twins:
    mine = CRMService(storage, settings=SETTINGS, tenant=ONE)
    theirs = mine.for_tenant(OTHER)
    my_person, their_person = populate(mine), populate(theirs)
    assert my_person != their_person
    return Twins(mine, theirs, my_person, their_person, frozenset(_ids_of(storage, OTHER)))


def _ids_of(storage: Storage, tenant: str) -> Iterator[str]:
    for found in rows(storage, tenant).values():
        for row in found:
            yield from (
                row[f] for f in ("id", "fingerprint", "customer_id", "tenant") if row.get(f)
            )


@pytest.mark.parametrize("call", ABOUT_A_CUSTOMER)
def test_another_tenants_customer_is_nobody(twins: Twins, storage: Storage, call: str) -> None:
    """`NotFound`, and nothing is written for either tenant."""
    before = rows(storage, ONE), rows(storage, OTHER)
    with pytest.raises(NotFound):
        ABOUT_A_CUSTOMER[call](twins.mine, twins.their_person)
    assert (rows(storage, ONE), rows(storage, OTHER)) == before


def test_another_tenants_code_is_unknown(twins: Twins, storage: Storage) -> None:
    """`NotFound`, and nothing is written for either tenant."""
    code = twins.theirs.loyalty.referrals.code(twins.their_person)
    before = rows(storage, ONE), rows(storage, OTHER)
    with pytest.raises(NotFound):
        twins.mine.loyalty.referrals.accept(twins.my_person, code)
    assert (rows(storage, ONE), rows(storage, OTHER)) == before


@pytest.mark.parametrize("call", ABOUT_AN_ACTIVITY)
def test_another_tenants_activity_is_none(twins: Twins, storage: Storage, call: str) -> None:
    """`NotFound`, and nothing is written for either tenant; with the own id it is answered."""
    theirs = twins.theirs.track_activity(twins.their_person, "purchase", {"amount": 5})
    mine = twins.mine.track_activity(twins.my_person, "purchase", {"amount": 5})
    before = rows(storage, ONE), rows(storage, OTHER)
    with pytest.raises(NotFound):
        ABOUT_AN_ACTIVITY[call](twins.mine, theirs.id)
    assert (rows(storage, ONE), rows(storage, OTHER)) == before
    assert not ids(ABOUT_AN_ACTIVITY[call](twins.mine, mine.id)) & twins.their_ids


@pytest.mark.parametrize("call", ABOUT_A_REDEMPTION)
def test_another_tenants_redemption_is_none(twins: Twins, storage: Storage, call: str) -> None:
    """`NotFound`, and nothing is written for either tenant; with the own one it is answered."""
    theirs = twins.theirs.loyalty.redeem(twins.their_person, "free_beverage")
    mine = twins.mine.loyalty.redeem(twins.my_person, "free_beverage")
    before = rows(storage, ONE), rows(storage, OTHER)
    with pytest.raises(NotFound):
        ABOUT_A_REDEMPTION[call](twins.mine, theirs)
    assert (rows(storage, ONE), rows(storage, OTHER)) == before
    assert not ids(ABOUT_A_REDEMPTION[call](twins.mine, mine)) & twins.their_ids


@pytest.mark.parametrize("call", ABOUT_A_REQUEST)
def test_another_tenants_request_is_none(twins: Twins, storage: Storage, call: str) -> None:
    """`NotFound`, and nothing is written for either tenant; with the own one it is answered."""
    theirs = twins.theirs.gdpr.requests.open("access", twins.their_person, jurisdiction="ccpa")
    mine = twins.mine.gdpr.requests.open("access", twins.my_person, jurisdiction="ccpa")
    before = rows(storage, ONE), rows(storage, OTHER)
    with pytest.raises(NotFound):
        ABOUT_A_REQUEST[call](twins.mine, theirs.id)
    assert (rows(storage, ONE), rows(storage, OTHER)) == before
    assert not ids(ABOUT_A_REQUEST[call](twins.mine, mine.id)) & twins.their_ids


@pytest.mark.parametrize("call", ABOUT_ALL)
def test_answers_are_of_the_own_tenant(twins: Twins, storage: Storage, call: str) -> None:
    """The same as if the other tenant were not there, which stays as it was."""
    before = rows(storage, OTHER)
    answer = ABOUT_ALL[call](twins.mine)
    assert not ids(answer) & twins.their_ids
    assert rows(storage, OTHER) == before
    alone = CRMService(storage, settings=SETTINGS, tenant="alone")
    populate(alone)
    counted = ABOUT_ALL[call](alone)
    if isinstance(answer, (int, dict)):
        assert counted == answer
    elif isinstance(answer, list):
        assert len(counted) == len(answer)  # type: ignore[arg-type]


@pytest.mark.parametrize("call", ABOUT_A_CUSTOMER)
def test_answers_about_the_own_customer_hold_no_other(twins: Twins, call: str) -> None:
    if call in ("activities.track", "customers.add_note"):
        return  # its key was used before, with other content
    answer = ABOUT_A_CUSTOMER[call](twins.mine, twins.my_person)
    assert not ids(answer) & twins.their_ids


def test_nobody_may_contact_another_tenants_customer(twins: Twins) -> None:
    """It is an unknown one, though there they may be contacted."""
    twins.theirs.gdpr.consents.give(twins.their_person, "email", source="x", fresh=True)
    assert twins.theirs.gdpr.consents.may_contact(twins.their_person, "email")
    mine = twins.mine.gdpr.consents
    assert mine.may_contact(twins.their_person, "email").reason == "unknown"
    assert [p.reason for p in mine.may_contact_many([twins.their_person], "email")] == ["unknown"]


def test_another_tenants_word_and_links_are_none(twins: Twins, storage: Storage) -> None:
    """Neither its receipt, nor what its links would do."""
    theirs, mine = twins.theirs.gdpr.consents, twins.mine.gdpr.consents
    asked = theirs.request(twins.their_person, "push", source="x")
    leaving = theirs.unsubscribe_token(twins.their_person, "email")
    word = theirs.history(twins.their_person)[0]
    before = rows(storage, ONE), rows(storage, OTHER)
    with pytest.raises(NotFound):
        mine.receipt(word.id)
    with pytest.raises(InvalidInput):
        mine.confirm(asked)
    with pytest.raises(InvalidInput):
        mine.unsubscribe(leaving, post=True)
    assert (rows(storage, ONE), rows(storage, OTHER)) == before
    own = mine.receipt(mine.history(twins.my_person)[0].id)
    assert not ids(own) & twins.their_ids


def test_another_tenants_suppression_is_none(twins: Twins) -> None:
    twins.theirs.gdpr.suppress("bo@mail.com", "email", kind="bounced")
    assert twins.mine.gdpr.suppressed("bo@mail.com", "email") is None


def test_another_tenants_merge_is_none(twins: Twins, storage: Storage) -> None:
    """`NotFound`, and nothing is written for either tenant; the own is undone."""
    (theirs,) = twins.theirs.identity.merges(twins.their_person)
    (mine,) = twins.mine.identity.merges(twins.my_person)
    before = rows(storage, ONE), rows(storage, OTHER)
    with pytest.raises(NotFound):
        twins.mine.identity.unmerge(theirs.id)
    for pair in (
        (twins.my_person, twins.their_person),
        (twins.their_person, twins.my_person),
        (twins.their_person, twins.their_person),
    ):
        with pytest.raises(NotFound):
            twins.mine.identity.merge(*pair, reason="x")
    assert (rows(storage, ONE), rows(storage, OTHER)) == before
    assert not ids(twins.mine.identity.unmerge(mine.id)) & twins.their_ids
    assert rows(storage, OTHER) == before[1]


def test_another_tenants_hold_is_none(twins: Twins, storage: Storage) -> None:
    """`NotFound`, and it stands."""
    theirs = twins.theirs.gdpr.retention.hold(twins.their_person, reason="x")
    mine = twins.mine.gdpr.retention.hold(twins.my_person, reason="x")
    before = rows(storage, OTHER)
    with pytest.raises(NotFound):
        twins.mine.gdpr.retention.release(theirs.id)
    assert not ids(twins.mine.gdpr.retention.release(mine.id)) & twins.their_ids
    assert rows(storage, OTHER) == before


_TOLD_OF_THE_ERASED = {"gdpr.export", "gdpr.export to take along", "gdpr.erase"}


def test_whatever_is_told_or_asked_of_the_erased_is_refused(twins: Twins, storage: Storage) -> None:
    """`Erased` by each id, but for the empty export and erasing again.

    Nothing is written but that somebody asked.
    """
    (merge,) = twins.mine.identity.merges(twins.my_person)
    twins.mine.gdpr.erase(twins.my_person)
    before = _but_for_the_audit(rows(storage, ONE))
    for name, call in ABOUT_A_CUSTOMER.items():
        for gone in (twins.my_person, merge.dropped_id):
            if name in _TOLD_OF_THE_ERASED:
                call(twins.mine, gone)
                continue
            # The own code of a tenant without customers is nobody's.
            with pytest.raises((Erased, ValueError) if name == "referrals.accept" else Erased):
                call(twins.mine, gone)
    assert _but_for_the_audit(rows(storage, ONE)) == before


def _but_for_the_audit(found: dict[str, Any]) -> dict[str, Any]:
    return {table: told for table, told in found.items() if not table.startswith("crm_audit")}


def test_a_cursor_of_another_tenant_leads_to_the_own(twins: Twins) -> None:
    for crm in (twins.mine, twins.theirs):
        crm.find_or_create({"name": "second"})
    theirs = twins.theirs.customers.list(limit=1).next
    assert not ids(twins.mine.customers.list(after=theirs)) & twins.their_ids


def test_an_identifier_is_taken_within_its_tenant_only(twins: Twins) -> None:
    mine, theirs = (crm.find_or_create({"name": "x"}) for crm in (twins.mine, twins.theirs))
    twins.mine.customers.update(mine.id, {"user_id": "7"})
    twins.theirs.customers.update(theirs.id, {"user_id": "7"})
    second = twins.theirs.find_or_create({"name": "y"})
    with pytest.raises(AlreadyTaken):
        twins.theirs.customers.update(second.id, {"user_id": "7"})


def test_erasing_leaves_the_other_tenants_twin(twins: Twins, storage: Storage) -> None:
    before = rows(storage, OTHER)
    twins.mine.gdpr.erase(twins.my_person)
    assert rows(storage, OTHER) == before
    assert twins.theirs.customers.get(twins.their_person).email
    with pytest.raises(NotFound):  # not `Erased`: to the other tenant this id never was
        twins.theirs.customers.get(twins.my_person)


def test_fingerprints_of_two_tenants_differ(twins: Twins, storage: Storage) -> None:
    """The same e-mail cannot be recognised across tenants, even by who reads the tables."""
    prints = [
        {row["fingerprint"] for table in rows(storage, tenant).values() for row in table
         if "fingerprint" in row}
        for tenant in (ONE, OTHER)
    ]  # fmt: skip
    assert len(prints[0]) == len(prints[1]) > 10
    assert twins.my_person
    assert not prints[0] & prints[1]


# --- SQL ---

_TABLE = re.compile(r"\bcrm_(?!secrets\b|schema_version\b)\w+(?=\s|\()")
_MENTION = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(crm_(?!secrets\b|schema_version\b)\w+)(?:\s+AS\s+(\w+))?"
    r"|,\s*(crm_\w+)(?:\s+AS\s+(\w+))?(?=[\s,]*(?:WHERE|JOIN|,))"
)


def unbound(sql: str) -> set[str]:
    """The tables in a statement whose rows are not bound to a tenant."""
    if sql.lstrip().upper().startswith("INSERT"):
        columns = sql[sql.index("(") : sql.index(")")]
        return set() if re.search(r"\(\s*tenant\b|,\s*tenant\b", columns) else {sql}
    found = set()
    for table, alias, listed, listed_as in _MENTION.findall(sql):
        name = alias or listed_as or table or listed
        if not re.search(rf"(?:\b{name}\.)tenant\s*=|=\s*{name}\.tenant\b", sql):
            found.add(name)
    return found


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT crm_tags.tenant FROM crm_tags WHERE crm_tags.tag = 'x'",
        "DELETE FROM crm_tags WHERE crm_tags.tag = 'x'",
        "UPDATE crm_tags SET tag='x' WHERE crm_tags.customer_id = 'x'",
        "INSERT INTO crm_tags (customer_id, tag) VALUES ('x', 'y')",
        "SELECT 1 FROM crm_tags JOIN crm_notes ON crm_notes.id = crm_tags.tag"
        " WHERE crm_tags.tenant = 'x'",
        "SELECT 1 FROM crm_tags AS t WHERE EXISTS (SELECT 1 FROM crm_notes AS n"
        " WHERE n.customer_id = t.customer_id) AND t.tenant = 'x'",
    ],
)
def test_a_naive_statement_is_noticed(sql: str) -> None:
    assert unbound(sql)


def test_every_statement_is_bound_to_its_tenant(tmp_path: Path) -> None:
    """As SQLite runs them, values filled in: each table by its tenant, and by no other's."""
    engine, heard = open_engine(sqlite_url(tmp_path)), list[str]()

    @sa.event.listens_for(engine, "connect")
    def _listen(connection: Any, _: object) -> None:
        connection.set_trace_callback(heard.append)

    storage = SqlStorage(engine, owned=True)
    one = CRMService(storage, settings=Settings(region="RO"), tenant=ONE)
    people = {ONE: populate(one), OTHER: populate(one.for_tenant(OTHER))}
    for tenant, stranger in ((ONE, OTHER), (OTHER, ONE)):
        heard.clear()
        crm = one.for_tenant(tenant)
        for ask in ABOUT_ALL.values():
            ask(crm)
        for person in people[stranger], people[tenant]:
            for call in ABOUT_A_CUSTOMER.values():
                try:
                    call(crm, person)
                except CRMError:
                    continue
        statements = [s for s in heard if _TABLE.search(s) and "sqlite_master" not in s]
        assert len({re.sub(r"'[^']*'", "?", s) for s in statements}) > 60
        for statement in statements:
            assert unbound(statement) == set(), statement
            assert f"'{tenant}'" in statement, statement
            assert f"'{stranger}'" not in statement, statement
    storage.close()
