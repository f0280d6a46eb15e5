"""A customer taken from one database into another, and documents that cannot be taken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from crmkit import (
    AlreadyTaken,
    CRMService,
    Erased,
    IdempotencyConflict,
    InvalidInput,
    MemoryStorage,
    Settings,
)
from crmkit.gdpr import portable
from crmkit.gdpr.export import Export
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from crmkit.testing.threads import together
from tests.populate import populate, rows
from tests.schemas import fits

Document = dict[str, Any]


@pytest.fixture
def document() -> Document:
    """What a customer with everything takes along, through JSON."""
    clock = FrozenClock("2026-01-01T10:00:00Z")
    elsewhere = CRMService(MemoryStorage(), settings=Settings(region="RO"), clock=clock)
    person = populate(elsewhere)
    booked = elsewhere.track_activity(person, "booking", {"booking_id": "b9", "amount": 10})
    elsewhere.activities.amend(booked.id, {"amount": 12})
    elsewhere.activities.refund(booked.id, amount=2)
    wrong = elsewhere.track_activity(person, "visit")
    elsewhere.activities.void(wrong.id)
    found: Document = json.loads(elsewhere.gdpr.export(person, "portability").json())
    return found


def test_the_customer_is_equal_on_every_storage(crm: CRMService, document: Document) -> None:
    """Up to ids, the document of the new customer says what the old one's said."""
    made = crm.gdpr.import_portable(document, same_controller=True)
    assert (made.tags, made.consents) == (2, 6)
    assert made.activities == len(document["records"]["crm_activities"]) == 11
    again = crm.gdpr.export(made.customer.id, "portability").to_dict()
    for table in ("crm_tags", "crm_consents", "crm_activities"):
        assert again["records"][table] == document["records"][table]
    profile = dict(document["records"]["crm_customers"][0])
    del profile["user_id"], profile["external_ids"]  # they mean something over there only
    assert again["records"]["crm_customers"] == [profile]
    assert fits(document, Export.schema())


def test_who_was_taken_over_is_found_and_goes_on(crm: CRMService, document: Document) -> None:
    """By e-mail and phone; and a booking that was begun over there is completed here."""
    made = crm.gdpr.import_portable(document, same_controller=True).customer
    assert crm.find_or_create({"email": "canary.zqemailzq@mail.com"}).id == made.id
    before = crm.activities.metrics(made.id)
    crm.track_activity(made.id, "refund", {"booking_id": "b9", "amount": 10})
    after = crm.activities.metrics(made.id)
    assert before.spend_minor - after.spend_minor == 1_000
    assert crm.activities.verify() == ()


def test_from_somebody_else_only_the_profile_comes(crm: CRMService, document: Document) -> None:
    """Consent to others is none to you, and purchases elsewhere earn nothing here."""
    made = crm.gdpr.import_portable(document, same_controller=False)
    assert (made.tags, made.consents, made.activities) == (0, 0, 0)
    assert made.customer.occupation == document["records"]["crm_customers"][0]["occupation"]
    assert not crm.gdpr.consents.state(made.customer.id).granted
    assert crm.loyalty.account(made.customer.id).balance == 0
    assert crm.activities.metrics(made.customer.id).activities == 0


@pytest.fixture
def bo(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Bo", "email": "bo@mail.com"}).id


def _moved(crm: CRMService, customer_id: str, *, same_controller: bool = True) -> tuple[Any, str]:
    document = json.loads(crm.gdpr.export(customer_id, "portability").json())
    assert fits(document, Export.schema())
    there = CRMService(MemoryStorage(), clock=crm._runtime.clock)
    made = there.gdpr.import_portable(document, same_controller=same_controller)
    return there, made.customer.id


def test_a_claim_of_the_business_is_not_taken_along(crm: CRMService, bo: str) -> None:
    """Neither where nothing stands against it, nor where an objection did."""
    crm.gdpr.consents.rely_on(bo, "email", basis="legitimate_interest", source="order")
    assert crm.gdpr.consents.may_contact(bo, "email").basis == "legitimate_interest"
    there, moved = _moved(crm, bo)
    assert there.gdpr.consents.may_contact(moved, "email").reason == "no_consent"
    crm.gdpr.object(bo, channel="email")
    there, moved = _moved(crm, bo)
    assert there.gdpr.consents.may_contact(moved, "email").reason == "withdrawn"


@pytest.mark.parametrize(
    ("purpose", "channel", "objected"),
    [
        ("marketing", "email", "marketing"),
        ("news", "profiling", "profiling"),
    ],
)
def test_an_objection_is_taken_along_as_a_withdrawal(
    crm: CRMService, clock: FrozenClock, bo: str, purpose: str, channel: str, objected: str
) -> None:
    """It beats a yes that came later without ending it; a fresh one ends it over there too."""
    consents = crm.gdpr.consents
    crm.gdpr.object(bo, objected, channel=channel)
    for _ in range(2):
        clock.advance(timedelta(days=1))
        consents.give(bo, channel, purpose=purpose, source="form")
    assert not consents.may_contact(bo, channel, purpose)
    there, moved = _moved(crm, bo)
    assert not there.gdpr.consents.may_contact(moved, channel, purpose)
    assert there.gdpr.consents.state(moved).granted[purpose, channel] is False
    again = there.gdpr.export(moved, "portability").records["crm_consents"]
    assert again == crm.gdpr.export(bo, "portability").records["crm_consents"]
    clock.advance(timedelta(days=1))
    consents.give(bo, channel, purpose=purpose, source="form", fresh=True)
    there, moved = _moved(crm, bo)
    assert there.gdpr.consents.may_contact(moved, channel, purpose)


def test_who_is_restricted_is_not_taken_over(crm: CRMService, bo: str) -> None:
    """Or they would be contacted over there; to others, who may do nothing yet, they may go."""
    crm.gdpr.consents.give(bo, "email", source="form")
    crm.gdpr.restrict(bo, reason="disputed")
    with pytest.raises(InvalidInput) as refused:
        _moved(crm, bo)
    assert refused.value.field == "restricted"
    there, moved = _moved(crm, bo, same_controller=False)
    assert not there.gdpr.consents.may_contact(moved, "email")
    crm.gdpr.lift(bo, reason="settled")
    there, moved = _moved(crm, bo)
    assert there.gdpr.consents.may_contact(moved, "email")


def test_an_address_that_is_somebodys_is_taken(
    crm: CRMService, storage: Storage, document: Document
) -> None:
    """Nobody is overwritten or merged, and nothing is written."""
    crm.find_or_create({"email": "canary.zqemailzq@mail.com"})
    before = rows(storage, crm.tenant)
    with pytest.raises(AlreadyTaken) as taken:
        crm.gdpr.import_portable(document, same_controller=True)
    assert taken.value.field == "email"
    assert rows(storage, crm.tenant) == before


def test_a_phone_may_be_a_familys(crm: CRMService, document: Document) -> None:
    other = crm.find_or_create({"phone": "+40722987654", "name": "Somebody"})
    made = crm.gdpr.import_portable(document, same_controller=True)
    assert made.customer.id != other.id
    assert made.customer.phone == other.phone


def test_a_key_takes_over_once(crm: CRMService, storage: Storage, document: Document) -> None:
    """The same call again is the same customer; another document is a conflict."""
    made = crm.gdpr.import_portable(document, same_controller=True, key="k")
    before = rows(storage, crm.tenant)
    assert crm.gdpr.import_portable(document, same_controller=True, key="k") == made
    assert rows(storage, crm.tenant) == before
    with pytest.raises(IdempotencyConflict):
        crm.gdpr.import_portable(document, same_controller=False, key="k")
    crm.gdpr.erase(made.customer.id)
    with pytest.raises(Erased):
        crm.gdpr.import_portable(document, same_controller=True, key="k")


def test_threads_with_one_key_make_one_customer(crm: CRMService, document: Document) -> None:
    made = together(
        4, lambda _: crm.gdpr.import_portable(document, same_controller=True, key="k").customer.id
    )
    assert len(set(made)) == len(crm.customers.list()) == 1


def test_threads_without_a_key_take_an_address_once(crm: CRMService, document: Document) -> None:
    """The first gets it, the others hear that it is taken."""

    def take(_: int) -> str | None:
        try:
            return crm.gdpr.import_portable(document, same_controller=True).customer.id
        except AlreadyTaken:
            return None

    assert len([made for made in together(4, take) if made]) == 1
    assert len(crm.customers.list()) == 1


Damage = Callable[[Document], object]


def _set(table: str, n: int, name: str, value: object) -> Damage:
    def damage(document: Document) -> None:
        document["records"][table][n][name] = value

    return damage


def _drop(table: str, n: int, name: str) -> Damage:
    return lambda document: document["records"][table][n].pop(name)


def _fact(name: str, value: object) -> Damage:
    """Something else in the completion, the second activity."""
    return _set("crm_activities", 1, name, value)


_PERSON, _FACT = "records.crm_customers[0]", "records.crm_activities[1]"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "another format": (lambda d: d.update(format="vcard"), "format"),
    "another version": (lambda d: d.update(version=2), "version"),
    "another currency": (lambda d: d.update(currency="RON"), "currency"),
    "an unknown key": (lambda d: d.update(more=1), "document"),
    "no records": (lambda d: d.pop("records"), "records"),
    "an unknown table": (lambda d: d["records"].update(crm_notes=[]), "records"),
    "nobody": (lambda d: d["records"].pop("crm_customers"), "records.crm_customers"),
    "no list": (lambda d: d["records"].update(crm_tags={}), "records.crm_tags"),
    "two persons": (
        lambda d: d["records"]["crm_customers"].append({}), "records.crm_customers",
    ),
    "an address": (_set("crm_customers", 0, "email", "a@b@c"), f"{_PERSON}.email"),
    "an unknown field": (_set("crm_customers", 0, "emial", "x"), f"{_PERSON}.emial"),
    "tags in the profile": (_set("crm_customers", 0, "tags", ["x"]), _PERSON),
    "a birthday": (_set("crm_customers", 0, "birth_date", "2999-01-01"), f"{_PERSON}.birth_date"),
    "no beginning": (_drop("crm_customers", 0, "created_at"), f"{_PERSON}.created_at"),
    "a beginning ahead": (
        _set("crm_customers", 0, "created_at", "2027-01-01T00:00:00Z"), f"{_PERSON}.created_at",
    ),
    "an alias": (_set("crm_customers", 0, "aliases", {"custom": []}), f"{_PERSON}.aliases"),
    "an alias's value": (
        _set("crm_customers", 0, "aliases", {"name": [1]}), f"{_PERSON}.aliases.name",
    ),
    "a typed phone": (_set("crm_customers", 0, "phone_typed", 5), f"{_PERSON}.phone_typed"),
    "a tag's time": (_drop("crm_tags", 1, "tagged_at"), "records.crm_tags[1].tagged_at"),
    "an empty tag": (_set("crm_tags", 0, "tag", " "), "records.crm_tags[0].tag"),
    "a channel": (_set("crm_consents", 0, "channel", "pigeon"), "records.crm_consents[0].channel"),
    "a word ahead": (
        _set("crm_consents", 2, "occurred_at", "2027-01-01T00:00:00Z"),
        "records.crm_consents[2].occurred_at",
    ),
    "no yes or no": (_set("crm_consents", 0, "granted", 1), "records.crm_consents[0].granted"),
    "a claim": (
        lambda d: d["records"]["crm_consents"][0].update(event="claimed", basis="contract"),
        "records.crm_consents[0]",
    ),
    "another basis": (_set("crm_consents", 0, "basis", "contract"), "records.crm_consents[0]"),
    "neither restricted nor not": (lambda d: d.update(restricted="no"), "restricted"),
    "no source": (_drop("crm_consents", 0, "source"), "records.crm_consents[0].source"),
    "a number": (_fact("no", 7), f"{_FACT}.no"),
    "a story": (_fact("story", 5), f"{_FACT}.story"),
    "a story of a story": (
        _set("crm_activities", 2, "story", 2), "records.crm_activities[2].story",
    ),
    "no kind": (_fact("kind", None), f"{_FACT}.kind"),
    "no time": (_drop("crm_activities", 1, "occurred_at"), f"{_FACT}.occurred_at"),
    "a kind": (_fact("kind", "booked"), f"{_FACT}.kind"),
    "a time": (_fact("occurred_at", "2026-01-01"), f"{_FACT}.occurred_at"),
    "a status": (_fact("status", "booked"), f"{_FACT}.status"),
    "a long item": (_fact("item", "x" * 201), f"{_FACT}.item"),
    "an amount": (_fact("amount_minor", -1), f"{_FACT}.amount_minor"),
    "half a cent": (_fact("amount_minor", 1.5), f"{_FACT}.amount_minor"),
    "an activity's currency": (_fact("currency", "RON"), f"{_FACT}.currency"),
    "a payload": (_fact("payload", []), f"{_FACT}.payload"),
    "what a payload says": (_fact("payload", {"party_size": 0}), f"{_FACT}.payload.party_size"),
    "a hidden customer": (_fact("customer_id", "x"), _FACT),
    "a correction by no correction": (_fact("corrects", 1), f"{_FACT}.corrects"),
    "a correction of nothing": (
        _set("crm_activities", 7, "corrects", 99), "records.crm_activities[7].corrects",
    ),
    "a correction of another story": (
        _set("crm_activities", 7, "corrects", 1), "records.crm_activities[7].corrects",
    ),
    "a void of nothing": (_drop("crm_activities", 10, "corrects"),
                          "records.crm_activities[10].corrects"),
    "what an amendment says": (
        lambda d: d["records"]["crm_activities"][7]["payload"]["changes"].update(party_size=0),
        "records.crm_activities[7].payload.party_size",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_document_names_the_place(document: Document, damage: str) -> None:
    """And nothing is written, nor is anything of the document told."""
    storage = MemoryStorage()
    crm = CRMService(storage, clock=FrozenClock("2026-01-15T12:00:00Z"))
    change, place = DAMAGES[damage]
    changed = copy.deepcopy(document)
    change(changed)
    before = rows(storage, crm.tenant)
    with pytest.raises(InvalidInput) as refused:
        crm.gdpr.import_portable(changed, same_controller=True)
    assert refused.value.field == place
    assert "zq" not in str(refused.value).replace(place, "")
    assert rows(storage, crm.tenant) == before
    assert crm.gdpr.import_portable(document, same_controller=True).activities == 11


@pytest.mark.parametrize("value", [None, [], "x", 5, {}])
def test_what_is_no_document_is_refused(value: Any) -> None:
    crm = CRMService(MemoryStorage())
    with pytest.raises(InvalidInput):
        crm.gdpr.import_portable(value, same_controller=True)
    with pytest.raises(InvalidInput):
        crm.gdpr.import_portable(value, same_controller=False)


def test_whose_document_it_is_must_be_said(document: Document) -> None:
    crm = CRMService(MemoryStorage())
    with pytest.raises(InvalidInput) as refused:
        crm.gdpr.import_portable(document, same_controller="yes")  # type: ignore[arg-type]
    assert refused.value.field == "same_controller"


def test_who_shared_a_bill_is_taken_out_of_a_foreign_document(document: Document) -> None:
    """A document cannot make customers bear parts of somebody's bill."""
    crm = CRMService(MemoryStorage())
    victim = crm.find_or_create({"name": "Victim"}).id
    (bill,) = [f for f in document["records"]["crm_activities"] if f["kind"] == "purchase"]
    bill["payload"]["participants"] = [{"customer_id": victim, "share": 1}]
    made = crm.gdpr.import_portable(document, same_controller=True).customer
    assert crm.activities.metrics(victim).spend_minor == 0
    assert crm.activities.metrics(made.id).spend_minor > 100_000


def test_the_schema_follows_the_catalogue() -> None:
    """Every portable field is in it and nothing else is allowed; wrong types do not fit."""
    tables = portable.schema()["properties"]["records"]["properties"]
    assert set(tables) == {"crm_customers", "crm_tags", "crm_consents", "crm_activities"}
    person = tables["crm_customers"]["items"]
    assert "name" in person["properties"]
    assert "conversion_score" not in person["properties"]["preferences"]["properties"]
    document = {
        "format": "crmkit-portable", "version": 1, "currency": "EUR",
        "records": {"crm_customers": [{"created_at": "2026-01-01T00:00:00Z"}]},
    }  # fmt: skip
    assert fits(document, portable.schema())
    assert not fits({**document, "version": 2}, portable.schema())
    wrong = [{"created_at": "2026-01-01T00:00:00Z", "name": 5}]
    assert not fits({**document, "records": {"crm_customers": wrong}}, portable.schema())
    assert not fits({**document, "records": {}} | {"more": 1}, portable.schema())
