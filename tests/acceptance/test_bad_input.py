"""Bad input gets a typed error that names the field, at once, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from crmkit import CRMError, CRMService, Erased, InvalidInput, MemoryStorage, NotFound, RuleError
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from tests.populate import canary, populate, rows

MEGABYTE = "x" * 1_000_000
DIGITS = "1" * 1_000_000
LONE = "a\ud800"
NUL = "a\0b"


def deep(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"a": made}
    return made


def deep_rule(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {"field": "city", "operator": "=", "value": "x"}
    for _ in range(levels):
        made = {"operator": "not", "conditions": [made]}
    return made


def circular() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["a"] = [made]
    return made


Call = Callable[[CRMService, str], object]


def person(**fields: Any) -> Call:
    """`find_or_create` and `update` with these fields; both must refuse."""

    def call(crm: CRMService, customer: str) -> object:
        with pytest.raises(CRMError) as caught:
            crm.customers.update(customer, fields)
        with pytest.raises(type(caught.value), match=str(caught.value).split(":")[0].split("[")[0]):
            crm.identity.resolve(fields, dry_run=True)
        return crm.find_or_create(fields)

    return call


def track(payload: Any = None, kind: str = "purchase", **more: Any) -> Call:
    return lambda crm, customer: crm.track_activity(customer, kind, payload, **more)


def segment(rules: Any, name: Any = "s") -> Call:
    return lambda crm, _: crm.segments.create(name, rules)


def leaf(field: Any, operator: Any, value: Any) -> Call:
    return segment({"field": field, "operator": operator, "value": value})


# What is given, the field that the error names, and words that its message has.
CASES: dict[str, tuple[Call, str | None, str]] = {
    # --- people ---
    "unknown field": (person(emial="a@mail.com"), "emial", "did you mean 'email'"),
    "unknown preference": (
        person(preferences={"drink": ["gin"]}), "preferences.drink", "did you mean 'drinks'",
    ),
    "nothing": (lambda crm, _: crm.find_or_create({}), "customer", "nothing"),
    "empty": (lambda crm, _: crm.find_or_create({"email": ""}), "customer", "nothing"),
    "no mapping": (lambda crm, _: crm.find_or_create([("email", 1)]), None, "mapping"),  # type: ignore[arg-type]
    "names that are no text": (
        lambda crm, _: crm.find_or_create({1: "a"}), None, "text",  # type: ignore[dict-item]
    ),
    "a malformed e-mail": (person(email="ana@"), "email", "expected"),
    "two addresses": (person(email="a@mail.com, b@mail.com"), "email", "expected"),
    "a number for an e-mail": (person(email=12), "email", "text"),
    "a huge e-mail": (person(email=f"{MEGABYTE}@mail.com"), "email", "longer"),
    "look-alike digits": (person(email="a@mail..com"), "email", "expected"),
    "a malformed phone": (person(phone="call me"), "phone", "letters"),
    "a short phone": (person(phone="+39 12"), "phone", "phone"),
    "a huge phone": (person(phone=DIGITS), "phone", "longer"),
    "a handle with spaces": (person(instagram="ana pop"), "instagram", "handle"),
    "a malformed date": (person(birth_date="17.05.1990"), "birth_date", "1990-05-17"),
    "no such day": (person(birth_date="2023-02-29"), "birth_date", "1990-05-17"),
    "not born yet": (person(birth_date=date(2990, 1, 1)), "birth_date", "from"),
    "born too early": (person(birth_date="1066-10-14"), "birth_date", "from"),
    "a moment of birth": (
        person(birth_date=datetime(1990, 5, 17, tzinfo=UTC)), "birth_date", "without a time",
    ),
    "a huge date": (person(birth_date=DIGITS), "birth_date", "1990-05-17"),
    "a naive moment": (
        person(account_created_at=datetime(2020, 1, 1)), "account_created_at", "zone",
    ),
    "a gender": (person(gender="Q"), "gender", "F, M, NB, UNK"),
    "a country": (person(country="Romania"), "country", "3166"),
    "a number as name": (person(name=12), "name", "text"),
    "NUL in a name": (person(name=NUL), "name", "control"),
    "a lone surrogate in a name": (person(name=LONE), "name", "Unicode"),
    "a megabyte of name": (person(name=MEGABYTE), "name", "longer"),
    "a score": (
        person(preferences={"conversion_score": 101}), "preferences.conversion_score", "100",
    ),
    "true as a count": (person(instagram_followers=True), "instagram_followers", "whole"),
    "a negative count": (person(instagram_followers=-1), "instagram_followers", "whole"),
    "a place": (person(location=(91, 0)), "location.latitude", "90"),
    "a place that is no number": (person(location=("nan", 0)), "location.latitude", "degrees"),
    "tags that are text": (person(tags="vip"), "tags", "list"),
    "a tag that is a number": (person(tags=["vip", 3]), "tags[1]", "text"),
    "NaN in custom": (person(custom={"a": [1, float("nan")]}), "custom.a[1]", "finite"),
    "a set in custom": (person(custom={"a": {1, 2}}), "custom.a", "expected"),
    "NUL in custom": (person(custom={"a": NUL}), "custom.a", "NUL"),
    "a surrogate as key": (person(custom={LONE: 1}), "custom", "keys"),
    "a huge number": (person(custom={"a": 2**53}), "custom.a", "range"),
    "deep custom": (person(custom=deep(17)), "custom", "nested"),
    "very deep metadata": (person(metadata=deep(5_000)), "metadata", "nested"),
    "circular custom": (person(custom=circular()), "custom", "itself"),
    "wide custom": (person(custom=dict.fromkeys(map(str, range(1_001)), 1)), "custom", "1000"),
    "consent without a source": (
        person(name="a", consent={"marketing_email": True}), "consent", "",
    ),
    "consent on an unknown channel": (
        lambda crm, _: crm.find_or_create({"consent": {"marketing_fax": True, "source": "x"}}),
        "consent", "channels",
    ),
    "a person's key": (lambda crm, _: crm.find_or_create({"name": "a"}, key=""), "key", "text"),
    "a surrogate key": (lambda crm, _: crm.find_or_create({"name": "a"}, key=LONE), "key", "text"),
    "a megabyte of key": (track({"amount": 1}, key=MEGABYTE), "key", "500"),
    "a number as key": (track({"amount": 1}, key=7), "key", "text"),
    "an account of another": (
        lambda crm, _: crm.customers.update(
            crm.customers.list().items[1].id, {"user_id": canary("user_id")}
        ), "user_id", "another",
    ),
    "consent through update": (
        lambda crm, c: crm.customers.update(c, {"consent": {}}), "consent", "consents.give",
    ),
    # --- activities ---
    "an unknown kind": (track({}, "bookin"), "kind", "did you mean 'booking'"),
    "no kind": (track({}, None), "kind", "unknown"),  # type: ignore[arg-type]
    "a megabyte of kind": (track({}, MEGABYTE), "kind", "unknown"),
    "no amount": (track({}), "payload.amount", "needs its amount"),
    "a malformed amount": (track({"amount": "12,50"}), "payload.amount", "expected an amount"),
    "NaN": (track({"amount": float("nan")}), "payload.amount", "finite"),
    "NaN as text": (track({"amount": "NaN"}), "payload.amount", "finite"),
    "infinity": (track({"amount": float("-inf")}), "payload.amount", "finite"),
    "a signalling NaN": (track({"amount": Decimal("sNaN")}), "payload.amount", "finite"),
    "true as amount": (track({"amount": True}), "payload.amount", "expected an amount"),
    "a list as amount": (track({"amount": [1]}), "payload.amount", "expected"),
    "a huge amount": (track({"amount": 10**16}), "payload.amount", ""),
    "a monstrous amount": (track({"amount": 10**100_000}), "payload.amount", ""),
    "a huge exponent": (track({"amount": "1e999999999"}), "payload.amount", "range"),
    "a tiny exponent": (track({"amount": Decimal("1e-999999999")}), "payload.amount", ""),
    "a megabyte of digits": (track({"amount": DIGITS}), "payload.amount", ""),
    "a negative amount": (track({"amount": -1}), "payload.amount", "refund"),
    "half a cent": (track({"amount": "0.005"}), "payload.amount", "decimal places"),
    "another currency": (track({"amount": 1, "currency": "USD"}), "payload.currency", "EUR"),
    "an unknown status": (
        track({"status": "complete"}, "booking"), "payload.status", "did you mean 'completed'",
    ),
    "a party of none": (track({"party_size": 0}, "booking"), "payload.party_size", "whole"),
    "a party of true": (track({"party_size": True}, "booking"), "payload.party_size", "whole"),
    "a list as reference": (track({"booking_id": []}, "visit"), "payload.booking_id", "text"),
    "a long reference": (track({"order_id": MEGABYTE}, "visit"), "payload", ""),
    "NUL as venue": (track({"venue": NUL}, "visit"), "payload.venue", "NUL"),
    "text as payload": (track("booked", "visit"), "payload", "object"),
    "a deep payload": (track(deep(5_000), "visit"), "payload", "nested"),
    "a megabyte in the payload": (track({"a": MEGABYTE}, "visit"), "payload.a", "longer"),
    "a naive time": (track({}, "visit", at=datetime(2026, 1, 1)), "at", "zone"),
    "a naive text": (track({}, "visit", at="2026-01-01T00:00:00"), "at", "zone"),
    "a malformed time": (track({}, "visit", at="yesterday"), "at", "ISO 8601"),
    "a megabyte of time": (track({}, "visit", at=DIGITS), "at", "ISO 8601"),
    "a number as time": (track({}, "visit", at=1_700_000_000), "at", "ISO 8601"),
    "an early time": (track({}, "visit", at="1066-10-14T00:00:00Z"), "at", "1900"),
    "the end of time": (
        track({}, "visit", at=datetime.max.replace(tzinfo=UTC)), "at", "2200",
    ),
    "unknown kinds": (
        lambda crm, c: crm.activities.timeline(c, kinds=["visits"]), "kinds", "'visit'",
    ),
    "kinds that are text": (
        lambda crm, c: crm.activities.timeline(c, kinds="visit"), "kinds", "list",
    ),
    "a number as kind of a timeline": (
        lambda crm, c: crm.activities.timeline(c, kinds=["visit", 7]), "kinds", "unknown",  # type: ignore[list-item]
    ),
    "a list as kind of a timeline": (
        lambda crm, c: crm.activities.timeline(c, kinds=[["visit"]]), "kinds", "unknown",  # type: ignore[list-item]
    ),
    # --- pages ---
    "a cursor": (lambda crm, _: crm.customers.list(after="x"), "after", "cursor"),
    "a megabyte of cursor": (lambda crm, _: crm.customers.list(after=MEGABYTE), "after", "cursor"),
    "a cursor of another list": (
        lambda crm, c: crm.customers.list(after=crm.activities.timeline(c, limit=1).next),
        "after", "cursor",
    ),
    "a huge position": (  # [10**20, "x"]
        lambda crm, c: crm.activities.timeline(c, after="WzEwMDAwMDAwMDAwMDAwMDAwMDAwMCwieCJd"),
        "after", "cursor",
    ),
    "a lone surrogate as position": (  # ["\ud800"]
        lambda crm, _: crm.customers.list(after="WyJcdWQ4MDAiXQ"), "after", "cursor",
    ),
    "NUL as position": (  # ["a\u0000"]
        lambda crm, _: crm.customers.list(after="WyJhXHUwMDAwIl0"), "after", "cursor",
    ),
    "a cursor that is no text": (
        lambda crm, _: crm.customers.list(after=7), "after", "cursor",  # type: ignore[arg-type]
    ),
    "no limit": (lambda crm, _: crm.customers.list(limit=0), "limit", "1000"),
    "a negative limit": (lambda crm, c: crm.customers.notes(c, limit=-1), "limit", "1000"),
    "a huge limit": (lambda crm, c: crm.loyalty.history(c, limit=10**9), "limit", "1000"),
    "true as limit": (lambda crm, _: crm.customers.list(limit=True), "limit", "whole"),
    "text as limit": (
        lambda crm, _: crm.customers.list(limit="9"), "limit", "whole",  # type: ignore[arg-type]
    ),
    # --- notes, tags, points, consents ---
    "an empty note": (lambda crm, c: crm.customers.add_note(c, " "), "note", "text"),
    "a megabyte of note": (lambda crm, c: crm.customers.add_note(c, MEGABYTE), "note", "longer"),
    "a kind of note": (lambda crm, c: crm.customers.add_note(c, "a", kind="x"), "kind", "vip"),
    "NUL in a tag": (lambda crm, c: crm.customers.tag(c, "a", NUL), "tags[1]", "control"),
    "no points": (lambda crm, c: crm.loyalty.update_points(c, 0, reason="x"), "delta", "zero"),
    "half a point": (
        lambda crm, c: crm.loyalty.update_points(c, 0.5, reason="x"), "delta", "whole",  # type: ignore[arg-type]
    ),
    "true as points": (
        lambda crm, c: crm.loyalty.update_points(c, True, reason="x"), "delta", "whole",
    ),
    "too many points": (
        lambda crm, c: crm.loyalty.update_points(c, 10**13, reason="x"), "delta", "",
    ),
    "no reason": (lambda crm, c: crm.loyalty.update_points(c, 1, reason=""), "reason", "text"),
    "points that are not there": (
        lambda crm, c: crm.loyalty.update_points(c, -(10**9), reason="x"), None, "balance",
    ),
    "no source": (
        lambda crm, c: crm.gdpr.consents.give(c, "email", source=" "), "source", "source",
    ),
    "an unknown channel": (
        lambda crm, c: crm.gdpr.consents.give(c, "fax", source="x"), "channel", "email",
    ),
    "no purpose": (
        lambda crm, c: crm.gdpr.consents.give(c, "email", source="x", purpose=""), "purpose", "",
    ),
    "a yes from the future": (
        lambda crm, c: crm.gdpr.consents.give(c, "email", source="x", at="2190-01-01T00:00:00Z"),
        "consent.at", "future",
    ),
    "a no from the future": (
        lambda crm, c: crm.gdpr.consents.withdraw(c, "email", at="2190-01-01T00:00:00Z"),
        "consent.at", "future",
    ),
    "a person who will have agreed": (
        lambda crm, _: crm.find_or_create(
            {"name": "a", "consent": {
                "marketing_email": True, "source": "x", "at": "2190-01-01T00:00:00Z",
            }}
        ), "consent.at", "future",
    ),
    "a person of the future who agrees": (
        lambda crm, _: crm.find_or_create(
            {"name": "a", "consent": {"marketing_email": False}}, at="2190-01-01T00:00:00Z"
        ), "consent.at", "future",
    ),
    "a horizon": (
        lambda crm, c: crm.get_lifetime_value(c, horizon_days=-1), "horizon_days", "3650",
    ),
    # --- segments ---
    "an unknown rule field": (leaf("total_spent_", "=", 1), "field", "did you mean 'total_spent'"),
    "an unknown operator": (leaf("city", "equals", "x"), "operator", "unknown operator"),
    "an operator of another type": (leaf("city", "within", "90d"), "operator", ""),
    "a value of another type": (leaf("bookings", ">=", "many"), "value", "number"),
    "true as a number": (leaf("bookings", ">=", True), "value", "number"),
    "NaN in a rule": (leaf("bookings", ">=", float("nan")), "value", ""),
    "a duration": (leaf("last_booking", "within", "90 days ago"), "value", "90d"),
    "a monstrous duration": (leaf("last_booking", "within", "99999y"), "value", ""),
    "a naive moment in a rule": (leaf("last_booking", ">", "2026-01-01T00:00:00"), "value", ""),
    "NUL in a rule": (leaf("city", "=", NUL), "value", ""),
    "a surrogate in a rule": (leaf("city", "=", LONE), "value", ""),
    "a megabyte in a rule": (leaf("city", "=", MEGABYTE), "value", ""),
    "a megabyte of field": (leaf(MEGABYTE, "=", 1), "field", ""),
    "a list as field": (leaf(["city"], "=", 1), "field", ""),
    "a long list": (leaf("city", "in", ["x"] * 10_001), "value", ""),
    "an empty list": (leaf("city", "in", []), "value", ""),
    "an unknown key of a rule": (
        segment({"field": "city", "operator": "=", "valeu": 1}), None, "value",
    ),
    "no conditions": (segment({"operator": "and", "conditions": []}), "conditions", "at least one"),
    "the second of a group": (
        segment({"operator": "or", "conditions": [
            {"field": "city", "operator": "=", "value": "x"},
            {"field": "ctiy", "operator": "=", "value": "x"},
        ]}), "conditions[1].field", "did you mean 'city'",
    ),
    "a rule of text": (segment("city = x"), None, "object"),
    "a deep rule": (segment(deep_rule(16)), None, "nested"),
    "a very deep rule": (segment(deep_rule(5_000)), None, "nested"),
    "a wide rule": (
        segment({"operator": "and", "conditions": [{}] * 100_000}), "conditions[0].field", "",
    ),
    "no name": (segment(None, " "), "name", "text"),
    "a number as name of a segment": (segment(None, 7), "name", "text"),
    "a taken name": (segment(None, "by hand"), "name", "already"),
    "a surrogate as segment": (lambda crm, c: crm.add_to_segment(c, LONE), "name", "Unicode"),
    # --- the service ---
    "a tenant": (lambda crm, _: crm.for_tenant(" "), "tenant", "text"),
    "a broken tenant": (lambda crm, _: crm.for_tenant(NUL), "tenant", "control"),
    "a naive now": (lambda crm, _: crm.run_due(datetime(2026, 1, 1)), "at", "zone"),
}  # fmt: skip

UNKNOWN_SEGMENTS: dict[str, Call] = {
    "get": lambda crm, _: crm.segments.get("by hnd"),
    "members": lambda crm, _: crm.segments.members("by hnd"),
    "count": lambda crm, _: crm.segments.count("by hnd"),
    "is_member": lambda crm, c: crm.segments.is_member(c, "by hnd"),
    "remove": lambda crm, c: crm.segments.remove(c, "by hnd"),
}

CUSTOMER_CALLS: dict[str, Call] = {
    "get": lambda crm, c: crm.customers.get(c),
    "update": lambda crm, c: crm.customers.update(c, {"city": "x"}),
    "profile": lambda crm, c: crm.customers.profile(c),
    "tags": lambda crm, c: crm.customers.tags(c),
    "tag": lambda crm, c: crm.customers.tag(c, "x"),
    "untag": lambda crm, c: crm.customers.untag(c, "x"),
    "add_note": lambda crm, c: crm.customers.add_note(c, "x", key="new"),
    "notes": lambda crm, c: crm.customers.notes(c),
    "track": lambda crm, c: crm.track_activity(c, "visit", key="new"),
    "timeline": lambda crm, c: crm.activities.timeline(c),
    "metrics": lambda crm, c: crm.activities.metrics(c),
    "rebuild": lambda crm, c: crm.activities.rebuild("" if c is None else c),
    "lifetime_value": lambda crm, c: crm.get_lifetime_value(c),
    "add_to_segment": lambda crm, c: crm.add_to_segment(c, "a new one"),
    "segments.segments_of": lambda crm, c: crm.segments.segments_of(c),
    "account": lambda crm, c: crm.loyalty.account(c),
    "update_points": lambda crm, c: crm.loyalty.update_points(c, 5, reason="x", key="new"),
    "history": lambda crm, c: crm.loyalty.history(c),
    "consents.give": lambda crm, c: crm.gdpr.consents.give(c, "email", source="x", key="new"),
    "consents.withdraw": lambda crm, c: crm.gdpr.consents.withdraw(c, "email"),
    "consents.state": lambda crm, c: crm.gdpr.consents.state(c),
    "consents.history": lambda crm, c: crm.gdpr.consents.history(c),
}


@pytest.fixture
def someone(crm: CRMService) -> str:
    made = populate(crm)
    crm.find_or_create({"name": "second"})
    return made


def refused(crm: CRMService, storage: Storage, call: Call, customer: str) -> CRMError:
    """The error of a call that must write nothing, however often it is made."""
    before = rows(storage, crm.tenant)
    with pytest.raises(CRMError) as caught:
        call(crm, customer)
    with pytest.raises(type(caught.value)):
        call(crm, customer)
    assert rows(storage, crm.tenant) == before
    assert isinstance(caught.value, (ValueError, LookupError))
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused(crm: CRMService, storage: Storage, someone: str, case: str) -> None:
    """A `ValueError` or `LookupError` that names the field; nothing is half-written."""
    call, field, words = CASES[case]
    error = refused(crm, storage, call, someone)
    if field is not None:
        named = getattr(error, "field", None) or ""
        assert named == field or named.startswith((f"{field}.", f"{field}[")), error
        assert str(error).startswith(named)
    assert words in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize("call", CUSTOMER_CALLS)
@pytest.mark.parametrize(
    "nobody", ["00000000-0000-7000-8000-000000000000", "", MEGABYTE, NUL, LONE, "é", None, 7, b"x"]
)  # fmt: skip
def test_an_unknown_customer(nobody: Any, call: str) -> None:
    """Whatever is given for an id: `NotFound`, and nothing is written."""
    storage = MemoryStorage()
    crm = CRMService(storage, clock=FrozenClock())
    populate(crm)
    refused_with = refused(crm, storage, CUSTOMER_CALLS[call], nobody)
    assert type(refused_with) is NotFound


@pytest.mark.parametrize("call", CUSTOMER_CALLS)
def test_unknown_foreign_and_erased_customers(
    crm: CRMService, storage: Storage, someone: str, call: str
) -> None:
    """`NotFound` for who never was or is another tenant's, `Erased` for who was erased."""
    stranger = "00000000-0000-7000-8000-000000000000"
    assert type(refused(crm, storage, CUSTOMER_CALLS[call], stranger)) is NotFound
    foreign = crm.for_tenant("other").find_or_create({"name": "a"}).id
    assert type(refused(crm, storage, CUSTOMER_CALLS[call], foreign)) is NotFound
    crm.gdpr.erase(someone)
    assert type(refused(crm, storage, CUSTOMER_CALLS[call], someone)) is Erased


@pytest.mark.parametrize("call", UNKNOWN_SEGMENTS)
def test_an_unknown_segment(crm: CRMService, storage: Storage, someone: str, call: str) -> None:
    """The nearest name is suggested."""
    error = refused(crm, storage, UNKNOWN_SEGMENTS[call], someone)
    assert type(error) is NotFound
    assert "did you mean 'by hand'" in str(error)


@pytest.mark.parametrize("storage", ["mysql://x", "nonsense", "sqlite://", "", 7, None])
def test_no_storage(storage: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        CRMService(storage)
    assert caught.value.field == "storage"


def test_a_rule_error_is_a_value_error_with_its_path(crm: CRMService) -> None:
    with pytest.raises(RuleError) as caught:
        crm.segments.create("s", {"field": "citty", "operator": "=", "value": "x"})
    assert caught.value.field == "field"
    assert isinstance(caught.value, InvalidInput)
    assert isinstance(caught.value, ValueError)
