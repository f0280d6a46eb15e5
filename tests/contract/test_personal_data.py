"""What is personal shows nowhere but in the rows that hold it, and goes with its person."""

from __future__ import annotations

import io
import logging
import sqlite3
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crmkit import CRMError, CRMService, Erased, MemoryStorage, Settings, SqlStorage, StorageError
from crmkit.model import Customer, DataKey, Identity, MatchPair, PointsEntry, catalogue
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.segmentation.definition import SegmentDefinition
from crmkit.segmentation.figures import Group
from crmkit.testing import FrozenClock
from tests.canaries import canaries
from tests.fixtures import sqlite_url
from tests.populate import OTHERS, canary, is_filled, populate, profile, rows


@pytest.fixture
def person(crm: CRMService) -> str:
    return populate(crm)


_NOBODY_LEFT_YET = "crm_segment_stays"
_NOTHING_HAS_A_STOCK = "crm_loyalty_stocks"
_NO_POLICY = {"crm_carried", "crm_retention_notices", "crm_retention_runs"}


def test_every_field_is_filled(crm: CRMService, person: str, storage: Storage) -> None:
    """A field or record that is added to the catalogue must get its canary here."""
    assert all(is_filled(crm.customers.get(person)).values())
    friend = crm.find_or_create({"nickname": "friend"})
    bill = {"amount": 80, "participants": [{"customer_id": person}]}
    crm.track_activity(friend.id, "purchase", bill)
    stored = rows(storage, crm.tenant)
    empty = {"crm_erasures", _NOBODY_LEFT_YET, _NOTHING_HAS_A_STOCK} | _NO_POLICY
    assert {t for t, found in stored.items() if not found} == empty
    assert len(canaries(str(stored))) > 40


# --- repr, errors, logs ---


def _about(crm: CRMService, person: str) -> str:
    """A segment whose rule is all about a person."""
    customer = crm.customers.get(person)
    asked = {
        "name": customer.name,
        "email": customer.email,
        "occupation": canary("occupation"),
        "custom.deep": "x",
    }
    conditions: list[dict[str, object]] = [
        {"field": field, "operator": "=", "value": value} for field, value in asked.items()
    ]
    conditions.append({"did": "booking", "count": 1})
    crm.segments.create("about", {"operator": "or", "conditions": conditions})
    return "about"


def _answers(crm: CRMService, person: str) -> Iterator[object]:
    yield crm
    yield crm.settings
    yield crm.customers.get(person)
    yield crm.customers.list()
    yield crm.customers.profile(person)
    yield crm.customers.notes(person)
    yield crm.identity.resolve(profile())
    yield crm.identity.resolve({"phone": "0722987654", "country": "RO"}, dry_run=True)
    yield crm.activities.timeline(person)
    yield crm.activities.metrics(person)
    yield crm.loyalty.account(person)
    yield crm.loyalty.history(person)
    yield crm.loyalty.progress(person)
    yield crm.loyalty.tier_history(person)
    yield crm.loyalty.redeem(person, "free_beverage", actor=canary("waiter"))
    yield crm.loyalty.rewards.offers(person)
    yield crm.loyalty.rewards.history(person)
    yield list(crm.loyalty.rewards.birthdays(within="1y"))
    yield crm.loyalty.referrals.accept(person, crm.loyalty.referrals.code(person))
    yield crm.loyalty.referrals.of(person)
    yield crm.loyalty.referrals.by(person)
    yield crm.loyalty.referrals.count(person)
    yield crm.loyalty.reports.liability()
    yield crm.loyalty.reports.points()
    yield crm.loyalty.reports.tiers()
    yield crm.loyalty.reports.timeline("2025-01-01T00:00:00Z")
    yield crm.loyalty.reports.flow("2025-01-01T00:00:00Z")
    yield crm.gdpr.consents.state(person)
    yield crm.gdpr.consents.history(person)
    yield from _permissions(crm, person)
    taken = crm.gdpr.export(person, "portability")
    yield taken
    elsewhere = CRMService(MemoryStorage())
    yield elsewhere.gdpr.import_portable(taken.to_dict(), same_controller=True)
    yield crm.gdpr.rectify(person, {"city": canary("city")}, reason=canary("reason"))
    yield crm.gdpr.rectifications(person)
    requests = crm.gdpr.requests
    (asked,) = requests.of(person)
    yield (asked, requests.get(asked.id), requests.list(), requests.due(), requests.overdue())
    with crm.gdpr.audit.acting(canary("clerk"), reason=canary("reason")):
        yield crm.gdpr.export(person)
    audit = crm.gdpr.audit
    yield (audit.entries(), audit.entries(customer_id=person), audit.entries(actor=canary("clerk")))
    yield (audit.export_head(), audit.verify(), crm.gdpr.processing_record())
    yield crm.get_lifetime_value(person)
    yield crm.insights.bands()
    yield crm.get_lifetime_value(person).explain()
    yield crm.insights.fit()
    yield list(crm.insights.values())
    standing = crm.insights.standing
    yield standing.models()
    yield (standing.churn(person), list(standing.churn_risks()))
    yield (standing.rfm_of(person), list(standing.rfm()))
    yield standing.cohorts(by="booking")
    yield (standing.engagement(person), list(standing.engagements()))
    yield (standing.response(person), standing.conversion(person), standing.pattern(person))
    yield (standing.journey(person), list(standing.journeys()))
    yield crm.insights.backtest("2025-11-01", 1)
    yield crm.insights.for_customer(person)
    yield crm.insights.view(person)
    yield crm.insights.items(person)
    yield crm.insights.venues(person)
    yield crm.insights.history(person)
    yield crm.insights.spend_series(person)
    reports = crm.reports
    yield (reports.active(), reports.acquisition(), reports.channels(), reports.values())
    yield (reports.retention(), reports.cohorts(), reports.segments(), reports.distribution())
    yield (reports.consent(), reports.birthdays(days=366), reports.promoters(), reports.visits())
    yield (reports.revenue(), reports.items(), reports.page())
    yield list(crm.segments.members("by rule"))
    yield crm.segments.list()
    told = crm.segments.explain(person, _about(crm, person))
    assert canaries(told.text())  # it does tell, to who asks
    yield from (told, told.root, told.why, *told.root.leaves())
    yield crm.segments.preview({"field": "email", "operator": "exists", "value": True})
    yield crm.segments.verify("by rule")
    analytics = crm.segments.analytics
    yield analytics.overview()
    yield analytics.customers(analytics.overview().frequency_tiers[1])
    yield analytics.distribution()
    yield analytics.compare("by rule", "fixed")
    yield analytics.overlap(["by rule", "fixed"])
    yield analytics.growth("by rule", "2025-01-01T00:00:00Z")
    yield analytics.history("by rule")
    yield analytics.versions("by rule")
    yield analytics.metadata(person)
    yield analytics.export("by rule", io.StringIO())
    retention = crm.gdpr.retention
    yield retention.hold(person, reason=canary("suit"), actor=canary("clerk"))
    yield (retention.holds(), retention.release(retention.holds(person)[0].id))
    yield (retention.preview(), list(retention.notices()), retention.run())
    yield crm.gdpr.erase(person)


def _permissions(crm: CRMService, person: str) -> Iterator[object]:
    consents = crm.gdpr.consents
    said: Any = {"source": canary("source"), "proof": canary("evidence")}
    yield consents.rely_on(person, "sms", basis="contract", **said)
    yield consents.confirm(consents.request(person, "email", address=_MAIL, **said))
    yield consents.may_contact(person, "email", address=_MAIL)
    yield list(consents.may_contact_many([person], "email", canary("purpose")))
    yield consents.receipt(consents.history(person)[0].id)
    yield consents.preferences(person)
    token = consents.unsubscribe_token(person, "email", canary("purpose"), address=_MAIL)
    yield consents.unsubscribe(token, post=True)
    yield consents.notice("marketing", "sms", language="en", version="1", text="May we?")
    yield crm.gdpr.object(person, canary("purpose"), source=canary("call"))
    yield crm.gdpr.suppress(_MAIL, "email", kind="bounced")
    yield crm.gdpr.suppressed(_MAIL, "email")
    yield crm.gdpr.restrict(person, reason=canary("why"), actor=canary("who"))
    yield crm.gdpr.lift(person, reason=canary("why"), actor=canary("who"))


def test_no_answer_shows_what_is_personal(crm: CRMService, person: str) -> None:
    """Records, pages, profiles and exports may be printed and logged."""
    for answer in _answers(crm, person):
        assert canaries(repr(answer)) == set(), type(answer)
        assert canaries(str(answer)) == set(), type(answer)


def test_no_stored_record_shows_what_is_personal(
    crm: CRMService, person: str, storage: Storage
) -> None:
    assert person
    with storage.read(crm.tenant) as uow:
        for entry in catalogue():
            records: Iterator[object] = uow.stream(entry.record)
            for record in records:
                assert canaries(repr(record)) == set(), entry.table


_WRONG = canary("wrong")
_MAIL = OTHERS[0]  # where the name of something is expected
_RULE = {"field": "email", "operator": "=", "value": _WRONG}
HOSTILE: dict[str, Callable[[CRMService, str], object]] = {
    "an e-mail": lambda crm, _: crm.find_or_create({"email": _WRONG}),
    "a phone": lambda crm, _: crm.find_or_create({"phone": _WRONG}),
    "a birth date": lambda crm, _: crm.find_or_create({"birth_date": _WRONG}),
    "a handle": lambda crm, _: crm.find_or_create({"instagram": f"{_WRONG} !"}),
    "a gender": lambda crm, _: crm.find_or_create({"gender": _WRONG}),
    "a country": lambda crm, _: crm.find_or_create({"country": _WRONG}),
    "a language": lambda crm, _: crm.find_or_create({"language": _WRONG}),
    "a zone": lambda crm, _: crm.find_or_create({"timezone": _WRONG}),
    "a photo": lambda crm, _: crm.find_or_create({"photo_url": _WRONG}),
    "a location": lambda crm, _: crm.find_or_create({"location": (_WRONG, 1)}),
    "a long name": lambda crm, _: crm.find_or_create({"name": _WRONG * 100}),
    "a broken name": lambda crm, _: crm.find_or_create({"name": f"{_WRONG}\0"}),
    "a score": lambda crm, _: crm.find_or_create({"preferences": {"conversion_score": _WRONG}}),
    "a channel": lambda crm, _: crm.find_or_create({"communication": [_WRONG]}),
    "a consent's time": lambda crm, _: crm.find_or_create(
        {"name": "a", "consent": {"marketing_email": True, "source": "x", "at": _WRONG}}
    ),
    "a moment of the past": lambda crm, _: crm.find_or_create({"account_created_at": _WRONG}),
    "a custom value": lambda crm, _: crm.find_or_create({"custom": {"a": {_WRONG}}}),
    "a custom key": lambda crm, _: crm.find_or_create({"custom": {f"{_WRONG}\0": 1}}),
    "an e-mail as field": lambda crm, _: crm.find_or_create({_MAIL: "x"}),
    "an e-mail as kind": lambda crm, p: crm.track_activity(p, _MAIL),
    "an e-mail as status": lambda crm, p: crm.track_activity(p, "visit", {"status": _MAIL}),
    "an e-mail as segment": lambda crm, _: crm.segments.get(_MAIL),
    "an e-mail as column": lambda crm, _: crm.segments.analytics.export(
        "by rule", io.StringIO(), [_MAIL]
    ),
    "an e-mail as step": lambda crm, _: crm.segments.analytics.growth(
        "by rule", "2025-01-01T00:00:00Z", step=_MAIL
    ),
    "an e-mail as group": lambda crm, _: crm.segments.analytics.customers(
        Group(_MAIL, _MAIL, _MAIL, 0, crm.segments.get("by rule").created_at)
    ),
    "a cursor of history": lambda crm, p: crm.segments.analytics.history(
        customer_id=p, after=_WRONG
    ),
    "an e-mail installed": lambda crm, _: crm.segments.install(
        [SegmentDefinition("s", "", _RULE | {"field": _MAIL})]
    ),
    "two e-mails installed": lambda crm, _: crm.segments.install(
        [SegmentDefinition(_MAIL, "", _RULE), SegmentDefinition(_MAIL, "", _RULE)]
    ),
    "an e-mail as preference": lambda crm, _: crm.find_or_create({"preferences": {_MAIL: 1}}),
    "an e-mail as rule field": lambda crm, _: crm.segments.create("s", _RULE | {"field": _MAIL}),
    "an e-mail as operator": lambda crm, _: crm.segments.create("s", _RULE | {"operator": _MAIL}),
    "an e-mail as tier": lambda crm, _: crm.segments.create(
        "s", {"field": "tier", "operator": "=", "value": _MAIL}
    ),
    "an e-mail as key of a rule": lambda crm, _: crm.segments.create("s", _RULE | {_MAIL: 1}),
    "a phone as kinds": lambda crm, p: crm.activities.timeline(p, kinds=[OTHERS[2]]),
    "an amount": lambda crm, p: crm.track_activity(p, "purchase", {"amount": _WRONG}),
    "a currency": lambda crm, p: crm.track_activity(
        p, "purchase", {"amount": 1, "currency": _WRONG}
    ),
    "a party": lambda crm, p: crm.track_activity(p, "booking", {"party_size": _WRONG}),
    "a reference": lambda crm, p: crm.track_activity(p, "visit", {"reference": _WRONG * 50}),
    "a moment": lambda crm, p: crm.track_activity(p, "visit", at=_WRONG),
    "a payload": lambda crm, p: crm.track_activity(p, "visit", _WRONG),  # type: ignore[arg-type]
    "another's e-mail": lambda crm, p: crm.customers.update(
        crm.find_or_create({"name": "x"}).id, {"email": crm.customers.get(p).email}
    ),
    "another's account": lambda crm, p: crm.customers.update(
        crm.find_or_create({"name": "x"}).id, {"user_id": crm.customers.get(p).user_id}
    ),
    "another's number": lambda crm, p: crm.customers.update(
        crm.find_or_create({"name": "x"}).id, {"external_ids": crm.customers.get(p).external_ids}
    ),
    "a used key": lambda crm, p: crm.track_activity(p, "visit", key=canary("key")),
    "a used key of a note": lambda crm, p: crm.customers.add_note(
        p, "x", key=canary("key of note")
    ),
    "a broken key": lambda crm, p: crm.track_activity(p, "visit", key=f"{_WRONG}\ud800"),
    "a long key": lambda crm, p: crm.track_activity(p, "visit", key=_WRONG * 100),
    "an id": lambda crm, _: crm.customers.get(_WRONG),
    "a cursor": lambda crm, _: crm.customers.list(after=_WRONG),
    "a limit": lambda crm, _: crm.customers.list(limit=_WRONG),  # type: ignore[arg-type]
    "a note": lambda crm, p: crm.customers.add_note(p, f"{_WRONG}\0"),
    "an author": lambda crm, p: crm.customers.add_note(p, "a", author=_WRONG * 50),
    "a kind of note": lambda crm, p: crm.customers.add_note(p, "a", kind=_WRONG),
    "a tag": lambda crm, p: crm.customers.tag(p, _WRONG * 50),
    "points": lambda crm, p: crm.loyalty.update_points(p, _WRONG, reason="x"),  # type: ignore[arg-type]
    "a reason": lambda crm, p: crm.loyalty.update_points(p, 1, reason=_WRONG * 100),
    "too many points": lambda crm, p: crm.loyalty.update_points(p, -(10**9), reason=_WRONG),
    "an e-mail as reward": lambda crm, p: crm.loyalty.redeem(p, _MAIL),
    "a phone as programme": lambda crm, p: crm.loyalty.redeem(p, "x", programme=OTHERS[2]),
    "a waiter": lambda crm, p: crm.loyalty.redeem(p, "free_beverage", actor=_WRONG * 50),
    "a party that asks": lambda crm, p: crm.loyalty.redeem(
        p, "free_beverage", party_size=_WRONG  # type: ignore[arg-type]
    ),
    "a reward of too many points": lambda crm, p: crm.loyalty.redeem(p, "private_hour"),
    "a code": lambda crm, _: crm.loyalty.fulfil(_WRONG),
    "an id of a redemption": lambda crm, _: crm.loyalty.cancel(_WRONG),
    "a used key of redeeming": lambda crm, p: crm.loyalty.redeem(
        p, "discount_10", key=canary("key of redeem")
    ),
    "a code of a friend": lambda crm, p: crm.loyalty.referrals.accept(p, _WRONG),
    "a used key of a code": lambda crm, p: crm.loyalty.referrals.accept(
        crm.find_or_create({"name": "x"}).id,
        crm.loyalty.referrals.code(p),
        key=canary("key of code"),
    ),
    "a cursor of referrals": lambda crm, p: crm.loyalty.referrals.of(p, after=_WRONG),
    "an e-mail as step of tiers": lambda crm, _: crm.loyalty.reports.timeline(
        "2025-01-01T00:00:00Z", step=_MAIL
    ),
    "a moment of tiers": lambda crm, _: crm.loyalty.reports.flow(_WRONG),
    "an actor": lambda crm, _: crm.gdpr.audit.acting(_WRONG * 50).__enter__(),
    "a reason of acting": lambda crm, _: crm.gdpr.audit.acting(
        "x", reason=_WRONG * 100
    ).__enter__(),
    "a cursor of the audit": lambda crm, _: crm.gdpr.audit.entries(after=_WRONG),
    "a head": lambda crm, _: crm.gdpr.audit.verify({"tenant": _WRONG}),
    "a source": lambda crm, p: crm.gdpr.consents.give(p, "email", source=_WRONG * 50),
    "a channel of consent": lambda crm, p: crm.gdpr.consents.give(p, _WRONG, source="x"),
    "an address of consent": lambda crm, p: crm.gdpr.consents.give(
        p, "email", source="x", address=_WRONG
    ),
    "a proof": lambda crm, p: crm.gdpr.consents.give(p, "email", source="x", proof=_WRONG * 200),
    "a basis": lambda crm, p: crm.gdpr.consents.rely_on(p, "email", basis=_WRONG, source="x"),
    "a token": lambda crm, _: crm.gdpr.consents.unsubscribe(_WRONG, post=True),
    "a token to confirm": lambda crm, _: crm.gdpr.consents.confirm(_WRONG),
    "a kind of suppression": lambda crm, _: crm.gdpr.suppress(_MAIL, "email", kind=_MAIL),
    "an address to suppress": lambda crm, _: crm.gdpr.suppress(_WRONG, "email", kind="bounced"),
    "a link's address": lambda crm, _: crm.gdpr.consents.unsubscribe_headers("t", _WRONG),
    "a reason of restricting": lambda crm, p: crm.gdpr.restrict(p, reason=_WRONG * 200),
    "a reason of a hold": lambda crm, p: crm.gdpr.retention.hold(p, reason=_WRONG * 100),
    "an e-mail as policy": lambda crm, p: crm.gdpr.retention.noticed(p, _MAIL),
    "a receipt of a wrong id": lambda crm, _: crm.gdpr.replay_erasures([_WRONG]),  # type: ignore[list-item]
    "a rule's value": lambda crm, _: crm.segments.create("s", _RULE | {"value": {"a": _WRONG}}),
    "a rule's list": lambda crm, _: crm.segments.create("s", _RULE | {"operator": "in"}),
    "a rule's number": lambda crm, _: crm.segments.create("s", _RULE | {"field": "total_spend"}),
    "a rule's date": lambda crm, _: crm.segments.create("s", _RULE | {"field": "birth_date"}),
    "a rule's moment": lambda crm, _: crm.segments.create("s", _RULE | {"field": "last_purchase"}),
    "a rule's length": lambda crm, _: crm.segments.create(
        "s", _RULE | {"field": "last_purchase", "operator": "within"}
    ),
    "a rule's flag": lambda crm, _: crm.segments.create("s", _RULE | {"operator": "exists"}),
}  # fmt: skip


@pytest.mark.parametrize("wrong", HOSTILE)
def test_no_error_shows_what_is_personal(wrong: str, clock: FrozenClock) -> None:
    """Neither its text, nor the text of the errors behind it, which logs print too."""
    crm = CRMService(MemoryStorage(), clock=clock, settings=Settings(region="RO"))
    person = populate(crm)
    with pytest.raises(CRMError) as caught:
        HOSTILE[wrong](crm, person)
    assert canaries(repr(caught.value)) == set()
    assert canaries(str(vars(caught.value))) == set()
    assert canaries("".join(traceback.format_exception_only(caught.value))) == set()
    behind: BaseException | None = caught.value
    while behind is not None:
        assert canaries(str(behind)) == set(), type(behind)
        behind = behind.__cause__ or (None if behind.__suppress_context__ else behind.__context__)


def test_no_log_shows_what_is_personal(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    """At the level DEBUG, SQLAlchemy's loggers included."""
    for name in ("sqlalchemy.engine", "sqlalchemy.pool", "psycopg"):
        caplog.set_level(logging.DEBUG, logger=name)
    caplog.set_level(logging.DEBUG)
    crm = CRMService(storage, settings=Settings(region="RO"))
    person = populate(crm)
    for call in HOSTILE.values():
        with pytest.raises(CRMError):
            call(crm, person)
    list(_answers(crm, person))
    assert canaries(caplog.text) == set()


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_a_violated_key_names_no_value(
    crm: CRMService, person: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's own error, which the server writes into its log, holds hashes alone."""
    monkeypatch.setattr("crmkit.adapters.sql.storage.ATTEMPTS", 1)  # nobody else is in a race
    with storage.read(crm.tenant) as uow:
        records: list[object] = [uow.find(e.record)[0] for e in catalogue() if uow.count(e.record)]
    assert len(records) > 10
    assert person
    for record in records:
        with pytest.raises(StorageError) as caught:
            storage.write(crm.tenant, partial(_add, record))
        assert caught.value.__cause__ is not None
        assert canaries(f"{caught.value} {caught.value.__cause__}") == set(), type(record)


def _add(record: object, uow: UnitOfWork) -> None:
    uow.add(record)


# --- erasure ---


def _books(crm: CRMService, storage: Storage) -> Counter[tuple[Any, ...]]:
    """What the business's books need: amounts, points and their dates."""
    stored = rows(storage, crm.tenant)
    return Counter(
        (table, row.get("kind"), row.get("occurred_at"), *(row.get(f) for f in amounts))
        for table, amounts in (
            ("crm_activities", ("amount_minor", "currency", "item", "venue")),
            ("crm_loyalty_entries", ("points", "qualifying")),
            ("crm_loyalty_redemptions", ("reward", "cost", "card")),
        )
        for row in stored[table]
    )


def test_erased_is_erased(crm: CRMService, storage: Storage, person: str) -> None:
    """No record of any table holds the id or a canary; amounts, points and dates survive."""
    other = crm.find_or_create({"email": "other@mail.com"}).id
    before = _books(crm, storage)
    crm.gdpr.erase(person)
    stored = rows(storage, crm.tenant)
    for table, found in stored.items():
        assert canaries(str(found)) == set(), table
        assert person not in str(found), table
    assert _books(crm, storage) == before
    assert len(stored["crm_customers"]) == len(stored["crm_metrics"]) == 1
    assert crm.customers.get(other).email == "other@mail.com"
    with pytest.raises(Erased):
        crm.customers.get(person)
    assert crm.gdpr.export(person).is_empty


def test_sums_survive_erasure(crm: CRMService, storage: Storage, person: str) -> None:
    def sums() -> tuple[int, int]:
        stored = rows(storage, crm.tenant)
        return (
            sum(row["amount_minor"] or 0 for row in stored["crm_activities"]),
            sum(row["points"] for row in stored["crm_loyalty_entries"]),
        )

    before = sums()
    crm.gdpr.erase(person)
    assert sums() == before != (0, 0)


def test_reports_are_the_same_after_erasure(crm: CRMService, person: str) -> None:
    """Revenue by month has lost nobody's money."""
    before = crm.insights.revenue_by_month()
    crm.gdpr.erase(person)
    assert crm.insights.revenue_by_month() == before != {}


@pytest.mark.parametrize(
    "key",
    [
        "key of resolve", "key", "key of update", "key of note", "key of points", "key of yes",
        "key of redeem", "key of code", "key of rectifying", "key of request",
    ],
)  # fmt: skip
def test_a_replayed_key_does_not_revive(crm: CRMService, person: str, key: str) -> None:
    """A host's queue that delivers an old message again gets `Erased`, and nothing comes back."""
    crm.gdpr.erase(person)
    used = canary(key)
    calls: dict[str, Callable[[], object]] = {
        "key of resolve": lambda: crm.find_or_create(profile(), key=used),
        "key": lambda: crm.track_activity(person, "visit", key=used),
        "key of update": lambda: crm.customers.update(person, {"city": "x"}, key=used),
        "key of note": lambda: crm.customers.add_note(person, "x", key=used),
        "key of points": lambda: crm.loyalty.update_points(person, 1, reason="x", key=used),
        "key of redeem": lambda: crm.loyalty.redeem(person, "free_beverage", key=used),
        "key of yes": lambda: crm.gdpr.consents.give(person, "email", source="x", key=used),
        "key of code": lambda: crm.loyalty.referrals.accept(person, "0000-0000-0000", key=used),
        "key of rectifying": lambda: crm.gdpr.rectify(person, {}, reason="x", key=used),
        "key of request": lambda: crm.gdpr.requests.open("access", person, key=used),
    }
    with pytest.raises(Erased):
        calls[key]()
    assert len(crm.customers.list()) == 0


def test_no_byte_of_the_erased_is_left_in_the_file(tmp_path: Path) -> None:
    """Neither in free pages nor in the write-ahead log."""
    storage = SqlStorage.open(sqlite_url(tmp_path))
    crm = CRMService(storage, settings=Settings(region="RO"))
    person = populate(crm)
    crm.customers.add_note(person, canary("long") * 1_000)  # on overflow pages
    connection = sqlite3.connect(tmp_path / "crm.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert len(canaries(_files(tmp_path))) > 40
    crm.gdpr.erase(person)
    storage.close()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    left = _files(tmp_path)
    assert canaries(left) == set()
    assert person.encode() not in left


def _files(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.glob("crm.db*")))


def test_erasure_reaches_every_record_with_an_owner(
    crm: CRMService, storage: Storage, person: str
) -> None:
    """The receipt counts what was there, table by table."""
    with storage.read(crm.tenant) as uow:
        had = {
            e.table: uow.count(e.record, **{e.owner: person}) for e in catalogue() if e.owner
        }  # fmt: skip
        had["crm_match_pairs"] = uow.count(MatchPair)
        assert {Customer, Identity, PointsEntry} <= {e.record for e in catalogue() if e.owner}
    receipt = crm.gdpr.erase(person)
    assert {**receipt.deleted, **receipt.anonymised} == {t: n for t, n in had.items() if n}
    assert set(receipt.anonymised) == {
        "crm_activities", "crm_loyalty_entries", "crm_loyalty_redemptions", "crm_idempotency",
        "crm_audit_subjects", "crm_privacy_requests", "crm_referrals", "crm_referrals_made",
    }  # fmt: skip


@pytest.mark.parametrize("with_profile", [False, True], ids=["late rows", "a restored profile"])
def test_erasing_again_reaches_what_appeared_since(
    crm: CRMService, storage: Storage, person: str, clock: FrozenClock, with_profile: bool
) -> None:
    """Whatever record it is: the receipt counts it, and the erasure keeps its date."""
    returned = list[object]()
    with storage.read(crm.tenant) as uow:
        for entry in catalogue():
            if entry.record is DataKey:
                continue  # what is put back gets a key anew
            if entry.owner and (with_profile or entry.record is not Customer):
                theirs: dict[str, Any] = {entry.owner: person}
                returned += uow.find(entry.record, **theirs)
    receipt = crm.gdpr.erase(person)

    def come_back(uow: UnitOfWork) -> None:
        for record in returned:
            uow.put(record)

    storage.write(crm.tenant, come_back)
    clock.advance(days=1)
    again = crm.gdpr.erase(person)
    assert again.erased_at == receipt.erased_at
    again_gone = {**again.deleted, **again.anonymised}
    assert sum(n for t, n in again_gone.items() if t != "crm_data_keys") == len(returned)
    assert crm.gdpr.export(person).is_empty
    last = crm.gdpr.erase(person)
    assert (last.erased_at, last.deleted, last.anonymised) == (receipt.erased_at, {}, {})


def test_a_refused_statement_that_nobody_waited_for_is_not_logged(
    crm: CRMService, storage: Storage, person: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Drivers that send ahead would tell of it when an exception ends the transaction first."""

    def work(uow: UnitOfWork) -> None:
        customer = uow.get(Customer, person)
        assert customer is not None
        with suppress(CRMError):
            uow.add(customer)
        raise LookupError

    with caplog.at_level(logging.DEBUG), pytest.raises((LookupError, CRMError)):
        storage.write(crm.tenant, work)
    assert not canaries(caplog.text)
    assert "already exists" not in caplog.text
