"""The same commands on memory, SQLite and PostgreSQL get the same answers, errors included."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from crmkit import CRMError, CRMService, MemoryStorage, SqlStorage
from crmkit.customers.profile import Profile
from crmkit.gdpr.export import Export
from crmkit.model import Page
from crmkit.ports.keys import StoredKey
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.testing import CountingIds, FrozenClock
from crmkit.testing.strategies import INSTANTS, SETTINGS, activities, instants, rules
from tests.fixtures import sqlite_url

_tenants = (f"twin {n}" for n in itertools.count())

EMAILS = ("ana.pop@gmail.com", "AnaPop+x@googlemail.com", "b@mail.com", "no@email.com", "broken")
PHONES = ("+40722123456", "0722 123 456", "+39 347 1234567", "0000000000", "12")
NAMES = ("Ana", " Ana ", "Zoë 😀", "", "x" * 201)
TAGS = st.lists(st.sampled_from(["vip", " vip", "Ana", "é", ""]), max_size=3)
CUSTOM = st.dictionaries(
    st.sampled_from(["a", "x", "é"]),
    st.sampled_from([None, True, 0, 1, 1.0, -0.0, 0.1, 1e16, 1e22, 1e23, 5e-324, "1", "", [1, {}]]),
    max_size=2,
)
PROFILES = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(EMAILS),
        "phone": st.sampled_from(PHONES),
        "instagram": st.sampled_from(["@ana", "https://instagram.com/Ana/", "bob", "!"]),
        "user_id": st.sampled_from([1, "1", "u2"]),
        "external_ids": st.dictionaries(
            st.sampled_from(["pos", "web"]), st.sampled_from(["1", "2", None]), max_size=2
        ),
        "name": st.sampled_from(NAMES),
        "city": st.sampled_from(["Roma", "Iași", ""]),
        "country": st.sampled_from(["RO", "IT", "XX"]),
        "birth_date": st.sampled_from(["1990-05-17", "2004-02-29", "3000-01-01"]),
        "tags": TAGS,
        "custom": CUSTOM,
        "preferences": st.sampled_from(
            [{}, {"drinks": ["gin"]}, {"prefers_table": True}, {"x": 1}]
        ),
        "consent": st.sampled_from(
            [
                {"marketing_email": True, "source": "form"},
                {"marketing_email": False},
                {"marketing_sms": True},
                {"marketing_sms": True, "source": "form", "at": "2020-01-01T00:00:00Z"},
            ]
        ),
    },
)
KEYS = st.sampled_from([None, None, "k1", "k2"])
MOMENTS = st.none() | st.sampled_from(INSTANTS)
SEGMENTS = st.sampled_from(["vip", "fans", "VIP", ""])


def answer(ask: Callable[[CRMService], Any], crm: CRMService) -> Any:
    """What a call gives back, as something that compares by all of its values."""
    try:
        return _plain(ask(crm))
    except CRMError as error:
        return type(error).__name__, str(error)


def _plain(value: Any) -> Any:
    if isinstance(value, (Profile, Export)):
        return value.to_dict()
    if isinstance(value, Page):
        return [_plain(item) for item in value], value.next
    if attrs.has(type(value)):
        return {a.name: _plain(getattr(value, a.name)) for a in attrs.fields(type(value))}
    if isinstance(value, Iterator | tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    # To Python 1, 1.0 and True are one; to a host's JSON they are not.
    return value if isinstance(value, datetime) or value is None else repr(value)


class SameAnswers(RuleBasedStateMachine):
    """One CRM on each storage, told the same; whatever is asked, all say the same."""

    customers = Bundle("customers")

    def __init__(self, storages: Sequence[Storage]) -> None:
        super().__init__()
        tenant, self.clock = next(_tenants), FrozenClock()
        self.crms = [
            CRMService(
                storage,
                settings=SETTINGS,
                clock=self.clock,
                ids=CountingIds(),
                keys=StoredKey(lambda: b"the same on every storage"),
                tenant=tenant,
            )
            for storage in storages
        ]
        self.known: list[str] = []

    def told(self, ask: Callable[[CRMService], Any]) -> Any:
        answers = [answer(ask, crm) for crm in self.crms]
        for other in answers[1:]:
            assert other == answers[0]
        return answers[0]

    def changed(self, ask: Callable[[CRMService], Any], customer: str = "") -> Any:
        done = self.told(ask)
        if customer:
            self.told(lambda crm: crm.gdpr.export(customer))
        return done

    @initialize(target=customers)
    def somebody(self) -> str:
        return self.added({"name": "Ana"}, None, None)

    def added(self, profile: dict[str, Any], key: str | None, at: datetime | None) -> str:
        done = self.changed(lambda crm: crm.identity.resolve(profile, key=key, at=at))
        if not isinstance(done, dict):
            return ""
        identifier = str(done["customer"]["id"]).strip("'")
        if identifier not in self.known:
            self.known.append(identifier)
        self.told(lambda crm: crm.gdpr.export(identifier))
        return identifier

    @rule(target=customers, profile=PROFILES, key=KEYS, at=MOMENTS)
    def find_or_create(self, profile: dict[str, Any], key: str | None, at: datetime | None) -> Any:
        self.told(lambda crm: crm.identity.resolve(profile, at=at, dry_run=True))
        identifier = self.added(profile, key, at)
        return identifier or multiple()

    @rule(customer=customers, changes=PROFILES, key=KEYS, clear=st.booleans())
    def update(self, customer: str, changes: dict[str, Any], key: str | None, clear: bool) -> None:
        given = dict.fromkeys(changes) if clear else changes
        self.changed(lambda crm: crm.customers.update(customer, given, key=key), customer)

    @rule(customer=customers, tags=TAGS, on=st.booleans())
    def tag(self, customer: str, tags: list[str], on: bool) -> None:
        def ask(crm: CRMService) -> None:
            (crm.customers.tag if on else crm.customers.untag)(customer, *tags)

        self.changed(ask, customer)

    @rule(customer=customers, note=st.sampled_from(NAMES), key=KEYS, at=MOMENTS)
    def note(self, customer: str, note: str, key: str | None, at: datetime | None) -> None:
        self.changed(lambda crm: crm.customers.add_note(customer, note, key=key, at=at), customer)

    @rule(customer=customers, call=activities(), key=KEYS)
    def track(self, customer: str, call: dict[str, Any], key: str | None) -> None:
        self.changed(lambda crm: crm.activities.track(customer, **call, key=key), customer)

    @rule(
        customer=customers,
        delta=st.sampled_from([-1_000, -1, 0, 1, 1_000, 3_000, 10**12]),
        key=KEYS,
    )
    def points(self, customer: str, delta: int, key: str | None) -> None:
        self.changed(
            lambda crm: crm.loyalty.update_points(customer, delta, reason="why", key=key), customer
        )

    @rule(
        customer=customers,
        channel=st.sampled_from(["email", "sms", "pigeon"]),
        given=st.booleans(),
        at=MOMENTS,
        key=KEYS,
    )
    def consent(
        self, customer: str, channel: str, given: bool, at: datetime | None, key: str | None
    ) -> None:
        def ask(crm: CRMService) -> Any:
            say = crm.gdpr.consents.give if given else crm.gdpr.consents.withdraw
            return say(customer, channel, source="form", at=at, key=key)

        self.changed(ask, customer)

    @rule(customer=customers, what=st.sampled_from(["object", "restrict", "lift", "request"]))
    def refuse(self, customer: str, what: str) -> None:
        def ask(crm: CRMService) -> Any:
            if what == "object":
                return crm.gdpr.object(customer, channel="email")
            if what == "request":
                return crm.gdpr.consents.request(customer, "email", source="form").split(".")[0]
            return (crm.gdpr.restrict if what == "restrict" else crm.gdpr.lift)(
                customer, reason="accuracy"
            )

        self.changed(ask, customer)

    @rule(name=SEGMENTS, rules=st.none() | rules(ranked=False), auto=st.booleans())
    def segment(self, name: str, rules: dict[str, Any] | None, auto: bool) -> None:
        self.changed(lambda crm: crm.segments.create(name, rules, auto_update=auto))

    @rule(customer=customers, name=SEGMENTS, into=st.booleans())
    def by_hand(self, customer: str, name: str, into: bool) -> None:
        def ask(crm: CRMService) -> None:
            (crm.segments.add if into else crm.segments.remove)(customer, name)

        self.changed(ask, customer)

    @rule(keep=customers, drop=customers, key=KEYS)
    def merge(self, keep: str, drop: str, key: str | None) -> None:
        self.changed(lambda crm: crm.identity.merge(keep, drop, reason="why", key=key), keep)

    @rule(customer=customers, which=st.integers(0, 2), dry_run=st.booleans())
    def unmerge(self, customer: str, which: int, dry_run: bool) -> None:
        def ask(crm: CRMService) -> Any:
            merges = [m.id for m in crm.identity.merges(customer)]
            return crm.identity.unmerge([*merges, "none"][: which + 1][-1], dry_run=dry_run)

        self.changed(ask, customer)

    @rule(customer=customers, sure=st.integers(0, 3))
    def erase(self, customer: str, sure: int) -> None:
        if sure == 0:
            self.changed(lambda crm: crm.gdpr.erase(customer), customer)

    @rule(hours=st.sampled_from([1, 24, 24 * 90]))
    def time_passes(self, hours: int) -> None:
        self.clock.advance(hours=hours)
        self.told(lambda crm: crm.run_due())

    @rule(model=st.sampled_from(["mbg", "bg"]), at=MOMENTS, unit=st.sampled_from([1, 7]))
    def fit(self, model: Any, at: datetime | None, unit: int) -> None:
        self.told(lambda crm: crm.insights.fit(model=model, at=at, time_unit_days=unit))
        self.changed(lambda crm: crm.insights.standing.refresh())

    @rule(name=SEGMENTS, at=instants())
    def asked_about_a_segment(self, name: str, at: datetime) -> None:
        self.told(lambda crm: crm.segments.members(name, at=at))
        self.told(lambda crm: crm.segments.count(name, at=at))
        for customer in self.known[:3]:
            self.told(partial(_is_member, customer, name, at))

    @rule(customer=customers, limit=st.integers(1, 3))
    def asked_about_a_customer(self, customer: str, limit: int) -> None:
        self.told(lambda crm: crm.customers.get(customer))
        self.told(lambda crm: crm.customers.profile(customer))
        self.told(lambda crm: crm.customers.tags(customer))
        self.told(lambda crm: crm.customers.notes(customer, limit=limit))
        self.told(lambda crm: crm.activities.metrics(customer))
        self.told(lambda crm: crm.activities.timeline(customer, limit=limit))
        self.told(lambda crm: crm.activities.timeline(customer, kinds=["booking"]))
        self.told(lambda crm: crm.loyalty.account(customer))
        self.told(lambda crm: crm.loyalty.history(customer, limit=limit))
        self.told(lambda crm: crm.gdpr.consents.state(customer))
        self.told(lambda crm: crm.gdpr.consents.history(customer))
        self.told(lambda crm: crm.gdpr.consents.preferences(customer))
        self.told(lambda crm: list(crm.gdpr.consents.may_contact_many([customer, "x"], "email")))
        self.told(lambda crm: crm.get_lifetime_value(customer).explain())

    @rule(limit=st.integers(1, 3))
    def asked_about_all(self, limit: int) -> None:
        self.told(lambda crm: list(_all(crm, limit)))
        self.told(lambda crm: crm.segments.list())
        self.told(lambda crm: crm.insights.bands())
        self.told(lambda crm: crm.insights.revenue_by_month())
        self.told(_values)
        self.told(lambda crm: crm.loyalty.tiers())

    def teardown(self) -> None:
        self.asked_about_all(2)
        for customer in self.known:
            self.asked_about_a_customer(customer, 2)
        for crm in self.crms:
            assert crm.activities.rebuild() == 0


def _is_member(customer: str, name: str, at: datetime, crm: CRMService) -> bool:
    return crm.segments.is_member(customer, name, at=at)


def _values(crm: CRMService) -> list[Any]:
    standing = crm.insights.standing
    told: list[Any] = [*standing.rfm(), *standing.engagements(), *standing.journeys()]
    return [*told, *standing.cohorts(by="booking"), *standing.churn_risks(), *crm.insights.values()]


def _all(crm: CRMService, limit: int) -> Iterator[Any]:
    after: str | None = None
    while True:
        page = crm.customers.list(limit=limit, after=after)
        yield from page
        if page.next is None:
            return
        after = page.next


def test_memory_sqlite_and_postgresql_say_the_same(tmp_path: Path, crm_database: str) -> None:
    storages: list[Storage] = [
        MemoryStorage(),
        SqlStorage.open(sqlite_url(tmp_path)),
        SqlStorage.open(crm_database),
    ]
    try:
        run_state_machine_as_test(
            lambda: SameAnswers(storages),  # type: ignore[arg-type]  # it may be any maker
            settings=settings(
                stateful_step_count=30,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    finally:
        for storage in storages:
            storage.close()


def test_an_answer_that_differs_is_noticed(tmp_path: Path) -> None:
    """A storage that forgets one row in a list fails the same test."""

    class Forgetful(MemoryStorage):
        @contextmanager
        def read(self, tenant: str) -> Iterator[UnitOfWork]:
            with super().read(tenant) as uow:
                find = uow.find
                uow.find = lambda *a, **k: find(*a, **k)[:2]  # type: ignore[method-assign]
                yield uow

    storages: list[Storage] = [Forgetful(), SqlStorage.open(sqlite_url(tmp_path))]
    try:
        with pytest.raises(AssertionError):
            run_state_machine_as_test(
                lambda: SameAnswers(storages),  # type: ignore[arg-type]  # it may be any maker
                settings=settings(
                    stateful_step_count=30,
                    max_examples=1_000,
                    phases=[Phase.generate],  # any failure will do
                    report_multiple_bugs=False,
                    database=None,
                ),
            )
    finally:
        for storage in storages:
            storage.close()
