"""Who is found by what resembles them, and who is not, on every storage."""

from __future__ import annotations

from typing import Any

import pytest

from crmkit import CRMService, InvalidInput, Matching, Settings
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from tests.populate import rows

Record = dict[str, Any]

PHONE = "+39 347 1234567"
OFFICE: dict[str, Record] = {
    "email": {"email": "office@agency.it"},
    "phone": {"phone": PHONE},
    "instagram": {"instagram": "@agency.it"},
}
CLIENTS = ("Marco Rossi", "Helga Schmidt", "Jean Dupont", "Olga Petrova")


def parted(name: str, **also: Any) -> Record:
    """A name in two fields, as most forms ask for it."""
    first, last = name.split(" ")
    return {"first_name": first, "last_name": last, **also}


def whole(name: str, **also: Any) -> Record:
    """A name in one field."""
    return {"name": name, **also}


both_forms = pytest.mark.parametrize("form", [parted, whole])


def are_one(crm: CRMService, one: str, other: str) -> bool:
    """Whether two ids stand for one customer."""
    return crm.customers.get(one).id == crm.customers.get(other).id


def with_matching(storage: Storage, clock: FrozenClock, **asked: Any) -> CRMService:
    """A CRM with these settings of matching."""
    settings = Settings(region="IT", identity=Matching(**asked))
    return CRMService(storage, clock=clock, settings=settings)


# --- found again ---

ONE_PERSON: dict[str, tuple[Record, Record]] = {
    "a slip in the name, one phone": (
        parted("Francesca Bianchi", phone=PHONE, email="fb@mail.com"),
        parted("Francesca Bainchi", phone=PHONE),
    ),
    "a slip in a whole name, one phone": (
        whole("Francesca Bianchi", phone=PHONE),
        whole("Francesa Bianchi", phone=PHONE),
    ),
    "a nickname, one e-mail": (
        parted("Giuseppe Russo", email="russo.g@mail.com"),
        parted("Beppe Russo", email="russo.g@mail.com"),
    ),
    "a nickname in a whole name, one phone": (
        whole("Alexandra Pop", phone=PHONE),
        whole("Sandra Pop", phone=PHONE),
    ),
    "given name and surname swapped, one phone": (
        {"first_name": "Marco", "last_name": "Rossi", "phone": PHONE},
        {"first_name": "Rossi", "last_name": "Marco", "phone": PHONE},
    ),
    "a whole name the other way round": (
        whole("Marco Rossi", phone=PHONE),
        whole("Rossi Marco", phone=PHONE),
    ),
    "Cyrillic and Latin, one e-mail": (
        parted("Ivan Petrov", email="ip@mail.com"),
        parted("Иван Петров", email="ip@mail.com"),
    ),
    "Cyrillic and Latin, one phone": (
        whole("Наталья Иванова", phone=PHONE),
        whole("Natalia Ivanova", phone=PHONE),
    ),
    "a national and an international phone": (
        parted("Marco Rossi", phone="+39 347 1234567"),
        parted("Marco Rossi", phone="347.123.4567"),
    ),
    "a national phone of another country than the tenant's": (
        parted("Ana Pop", phone="+40 722 123 456"),
        parted("Ana Pop", phone="0722 123 456"),
    ),
    "a slip in the domain, one name": (
        parted("Lucia Ferrari", email="lulu@gmail.com"),
        parted("Lucia Ferrari", email="lulu@gmial.com"),
    ),
    "day and month of the birth swapped, one phone": (
        parted("Lucia Ferrari", phone=PHONE, birth_date="1984-03-07"),
        parted("Lucia Ferrari", phone=PHONE, birth_date="1984-07-03"),
    ),
}


@pytest.mark.parametrize("case", ONE_PERSON)
@pytest.mark.parametrize("back", [False, True])
def test_who_resembles_a_customer_and_shares_a_contact_is_found(
    crm: CRMService, case: str, *, back: bool
) -> None:
    """The existing customer, whichever of the two records came first; nobody is added."""
    first, then = ONE_PERSON[case][::-1] if back else ONE_PERSON[case]
    known = crm.find_or_create(first).id
    crm.find_or_create(parted("Zoran Kovač", email="zoran@mail.com", phone="+39 333 7654321"))
    found = crm.identity.resolve(then)
    assert (found.customer.id, found.created) == (known, False)
    assert found.matched_by is not None
    assert found.probability >= Matching().same
    assert len(crm.customers.list().items) == 2


# --- kept apart ---

TWO_PERSONS: dict[str, tuple[Record, Record]] = {
    "husband and wife, one mailbox": (
        parted("Marco Rossi", email="casa99@mail.com"),
        parted("Giulia Rossi", email="casa99@mail.com"),
    ),
    "husband and wife, one mailbox, whole names": (
        whole("Marco Rossi", email="casa99@mail.com"),
        whole("Giulia Rossi", email="casa99@mail.com"),
    ),
    "husband and wife, his name whole and hers not": (
        whole("Marco Rossi", email="casa99@mail.com"),
        parted("Giulia Rossi", email="casa99@mail.com"),
    ),
    "husband and wife, her surname first": (
        parted("Marco Rossi", email="casa99@mail.com"),
        parted("Rossi Giulia", email="casa99@mail.com"),
    ),
    "husband and wife, mailbox and phone": (
        whole("Marco Rossi", email="casa99@mail.com", phone=PHONE),
        whole("Giulia Rossi", email="casa99@mail.com", phone=PHONE),
    ),
    "husband and wife of two surnames": (
        whole("Marco Rossi", email="casa99@mail.com", phone=PHONE),
        whole("Giulia Verdi", email="casa99@mail.com", phone=PHONE),
    ),
    "father and son of one name": (
        parted("Marco Rossi", phone=PHONE, email="casa99@mail.com", birth_date="1958-02-11"),
        parted("Marco Rossi", phone=PHONE, email="casa99@mail.com", birth_date="1988-09-30"),
    ),
    "twins": (
        parted("Luca Rossi", phone=PHONE, birth_date="1988-09-30"),
        parted("Marta Rossi", phone=PHONE, birth_date="1988-09-30"),
    ),
    "twins, whole names": (
        whole("Luca Rossi", phone=PHONE, birth_date="1988-09-30"),
        whole("Marta Rossi", phone=PHONE, birth_date="1988-09-30"),
    ),
    "twins, mailbox and phone": (
        whole("Luca Rossi", phone=PHONE, email="casa99@mail.com", birth_date="1988-09-30"),
        whole("Marta Rossi", phone=PHONE, email="casa99@mail.com", birth_date="1988-09-30"),
    ),
    "twins of names one letter apart": (
        parted("Mario Rossi", phone=PHONE, birth_date="1988-09-30"),
        parted("Maria Rossi", phone=PHONE, birth_date="1988-09-30"),
    ),
    "brother and sister of names one letter apart": (
        parted("Carlo Conti", phone=PHONE, gender="M"),
        parted("Carla Conti", phone=PHONE, gender="F"),
    ),
    "two accounts": (
        parted("Ana Pop", user_id="1", phone=PHONE, email="ana@mail.com"),
        parted("Ana Pop", user_id="2", phone=PHONE, email="ana@mail.com"),
    ),
}


@pytest.mark.parametrize("case", TWO_PERSONS)
@pytest.mark.parametrize("back", [False, True])
def test_a_shared_mailbox_or_phone_never_makes_one_of_two(
    crm: CRMService, case: str, *, back: bool
) -> None:
    """Not by what comes in, not by a scan, not by merging all; each is found by their own data."""
    one, other = TWO_PERSONS[case][::-1] if back else TWO_PERSONS[case]
    first, second = crm.find_or_create(one).id, crm.find_or_create(other).id
    assert first != second
    assert crm.find_or_create(other).id == second
    assert crm.find_or_create(one).id == first
    assert crm.find_or_create(one | {"city": "Roma"}).id == first
    assert crm.find_or_create(other | {"city": "Roma"}).id == second
    assert crm.identity.scan().clusters == ()
    assert crm.identity.merge_all(Matching().same) == ()
    assert not are_one(crm, first, second)


def test_two_accounts_are_never_compared_away(crm: CRMService) -> None:
    """However alike the rest is: the comparison names the account as what forbids it."""
    same: Record = parted("Ana Pop", phone=PHONE, birth_date="1990-05-17", city="Roma")
    one, other = (crm.find_or_create(same | {"user_id": n}).id for n in ("1", "2"))
    assert one != other
    assert crm.identity.compare(one, other).against == "user_id"
    assert "user_id" in crm.identity.compare(one, other).explain()
    crm.identity.scan()
    assert crm.identity.merge_all(0.01) == ()


@both_forms
@pytest.mark.parametrize("kind", OFFICE)
def test_an_agencys_contact_decides_nothing(crm: CRMService, form: Any, kind: str) -> None:
    """Three or more incompatible names use it: then neither it alone nor part of a name does."""
    office = OFFICE[kind]
    ids = [crm.find_or_create(form(name, **office)).id for name in CLIENTS]
    assert len(set(ids)) == len(CLIENTS)
    assert crm.identity.resolve(form("Anna Weber", **office), dry_run=True).created
    assert crm.identity.resolve(office, dry_run=True).created
    assert crm.identity.resolve({"first_name": "Marco", **office}, dry_run=True).created
    assert crm.identity.scan().clusters == ()
    assert crm.identity.merge_all(0.01) == ()
    assert len(crm.customers.list().items) == len(CLIENTS)


@both_forms
@pytest.mark.parametrize("kind", OFFICE)
def test_an_agencys_client_is_not_made_again_by_the_same_record(
    crm: CRMService, form: Any, kind: str
) -> None:
    """Booked by the agency a second time: the whole name beside its contact is the person's."""
    booked = [form(name, **OFFICE[kind]) for name in CLIENTS]
    ids = [crm.find_or_create(record).id for record in booked]
    assert [crm.find_or_create(record).id for record in booked] == ids


@both_forms
@pytest.mark.parametrize("kind", OFFICE)
def test_an_agencys_client_with_a_contact_of_their_own_is_found(
    crm: CRMService, form: Any, kind: str
) -> None:
    """The crowded contact neither helps nor hinders."""
    office = OFFICE[kind]
    own: Record = {"email": "marco.r@mail.com"} if kind != "email" else {"phone": PHONE}
    marco = crm.find_or_create(form("Marco Rossi", **office, **own)).id
    for name in CLIENTS[1:]:
        crm.find_or_create(form(name, **office))
    assert crm.find_or_create(form("Marco Rossi", **office, **own)).id == marco


@pytest.mark.parametrize(
    "extra", [{}, {"phone": PHONE, "birth_date": "1990-05-17"}], ids=["alone", "with more"]
)
def test_a_look_alike_letter_in_an_address_leads_nowhere(crm: CRMService, extra: Record) -> None:
    """A Cyrillic letter in a Latin address: it neither finds the owner nor is kept as theirs."""
    owner = crm.find_or_create(parted("Marco Rossi", email="marco.rossi@mail.com", **extra)).id
    forged = "m\u0430rco.rossi@mail.com"
    assert crm.identity.resolve({"email": forged}, dry_run=True).created
    thief = crm.identity.resolve(parted("Giulia Verdi", email=forged))
    assert thief.created
    assert thief.customer.email is None
    namesake = crm.identity.resolve(parted("Marco Rossi", email=forged))
    assert namesake.created
    assert crm.identity.merge_all(0.01) == ()
    assert "email" not in {e.field for e in crm.identity.compare(owner, thief.customer.id).evidence}
    assert crm.find_or_create({"email": "marco.rossi@mail.com"}).id == owner


@both_forms
@pytest.mark.parametrize("also", [{}, {"city": "Roma"}, {"city": "Roma", "language": "it"}])
def test_a_name_alone_never_decides(crm: CRMService, form: Any, also: Record) -> None:
    """Not a rare one, nor with the city: two namesakes, also after merging all."""
    rare: Record = form("Zbigniew Wojciechowski", **also)
    one, other = crm.identity.resolve(rare), crm.identity.resolve(rare)
    assert (one.created, other.created) == (True, True)
    known = form("Zbigniew Wojciechowski", email="zw@mail.com", **also)
    assert crm.identity.resolve(known).created
    crm.identity.scan()
    assert crm.identity.merge_all(0.01) == ()


# --- between the two ---


def test_a_doubtful_pair_is_kept_for_review(crm: CRMService) -> None:
    """A new customer is made, and the pair is listed with what speaks for it."""
    first = crm.find_or_create(parted("Lucia Ferrari", email="lucia.f@a.it", city="Palermo")).id
    asked = parted("Lucia Ferrari", phone="+39 333 7654321", city="Palermo")
    found = crm.identity.resolve(asked)
    assert found.created
    assert found.candidates == (first,)
    (pair,) = crm.identity.duplicates()
    assert {pair.customer.id, pair.other.id} == {first, found.customer.id}
    assert pair.score >= Matching().maybe
    assert {e.field for e in pair.match.evidence} == {"name", "city"}
    assert all(e.weight > 0 for e in pair.match.evidence)
    assert pair.match == crm.identity.compare(first, found.customer.id)
    above = min(1.0, pair.score + 0.001)
    assert crm.identity.duplicates(min_score=above).items == ()


def test_an_explanation_holds_no_personal_value(crm: CRMService) -> None:
    """It names fields and weights; no part of a name, contact, place or birth."""
    one = crm.find_or_create(
        parted("Lucia Ferrari", email="lucia84@zq.it", city="Palermo", birth_date="1984-03-07")
    )
    other = crm.find_or_create(
        parted("Lucia Ferari", phone=PHONE, email="lucia84@zp.it", city="Palermo", instagram="@luz")
        | {"custom": {"card": "Qx17"}}
    )
    found = crm.identity.compare(one.id, other.id)
    said = (found.explain() + repr(found)).casefold()
    for value in (
        "lucia", "ferrari", "ferari", "lucia84", "zq.it", "zp.it", "347", "palermo", "luz",
        "1984", "qx17", one.id, other.id,
    ):  # fmt: skip
        assert value not in said
    assert "name" in said
    assert f"{found.probability:.1%}" in said
    assert len(found.explain().splitlines()) == len(found.evidence) + 2


# --- settings ---


def test_without_fuzzy_matching_only_equal_identifiers_lead(
    storage: Storage, clock: FrozenClock
) -> None:
    """In canonical form; what merely resembles is somebody new, with no pair to review."""
    crm = with_matching(storage, clock, fuzzy_match=False)
    lucia = crm.find_or_create(parted("Lucia Ferrari", email="lulu@gmail.com", phone=PHONE)).id
    assert crm.find_or_create(parted("Lucia Ferrari", email="Lu.Lu@googlemail.com")).id == lucia
    assert crm.find_or_create(parted("Lucia Ferrari", phone="347 1234567")).id == lucia
    assert crm.identity.resolve(parted("Lucia Ferrari", email="lulu@gmial.com")).created
    assert crm.identity.resolve(parted("Lucia Ferrari", phone="347 1234568")).created
    assert crm.identity.duplicates(min_score=0).items == ()


@pytest.mark.parametrize(
    ("fields", "found_by"),
    [
        (("email",), {"email"}),
        (("name", "email"), {"email"}),
        (("phone", "name"), {"phone"}),
        (("email", "phone"), {"email", "phone"}),
        (("name",), set()),
        ((), set()),
        (None, {"email", "phone"}),
    ],
)
def test_only_the_fields_that_take_part_lead_to_a_customer(
    storage: Storage, clock: FrozenClock, fields: Any, found_by: set[str]
) -> None:
    """Accounts and external ids always do; and no other field is evidence."""
    crm = with_matching(storage, clock, fields=fields)
    lucia: Record = parted("Lucia Ferrari", email="lucia@a.it", phone=PHONE)
    known = crm.find_or_create(lucia | {"user_id": "7", "external_ids": {"pos": "8"}}).id
    for account in ({"user_id": "7"}, {"external_ids": {"pos": "8"}}):
        assert crm.find_or_create(account).id == known
    for kind in ("email", "phone"):
        asked = parted("Lucia Ferrari", **{kind: lucia[kind]})
        found = crm.identity.resolve(asked, dry_run=True)
        assert (found.customer.id == known) is (kind in found_by)
        if fields is not None:
            assert {e.field for e in found.evidence} <= set(fields)


def test_a_field_of_the_hosts_own_may_take_part(storage: Storage, clock: FrozenClock) -> None:
    """Named as ``custom.`` and its key; an unknown field is refused."""
    crm = with_matching(storage, clock, fields=("name", "custom.card"))
    one = crm.find_or_create(parted("Lucia Ferrari") | {"custom": {"card": "Q-17-88"}}).id
    other = crm.find_or_create(parted("Lucia Ferrari") | {"custom": {"card": "Q-17-88"}}).id
    fields = {e.field for e in crm.identity.compare(one, other).evidence}
    assert fields == {"name", "custom.card"}
    with pytest.raises(InvalidInput, match="unknown field"):
        Matching(fields=("shoe_size",))


def test_a_hosts_own_short_forms_count(storage: Storage, clock: FrozenClock) -> None:
    """Zuzu may be Svetlana where the host says so."""
    one, other = parted("Svetlana Ilić", phone=PHONE), parted("Zuzu Ilić", phone=PHONE)
    crm = with_matching(storage, clock)
    assert crm.find_or_create(one).id != crm.find_or_create(other).id
    told = with_matching(storage, clock, nicknames={"svetlana": ["zuzu"]}).for_tenant("told")
    assert told.find_or_create(one).id == told.find_or_create(other).id


# --- what comes in shows two to be one ---


def two_of_one(crm: CRMService) -> tuple[str, str, Record]:
    """One person as two customers, and a record that has the contacts of both."""
    by_email: Record = parted("Lucia Ferrari", email="lucia@a.it")
    by_phone: Record = parted("Lucia Ferrari", phone=PHONE)
    one, other = crm.find_or_create(by_email).id, crm.find_or_create(by_phone).id
    assert one != other
    for customer, amount in ((one, 10), (other, 20)):
        crm.track_activity(customer, "purchase", {"amount": amount})
    return one, other, by_email | by_phone


def test_what_shows_two_customers_to_be_one_merges_them(crm: CRMService) -> None:
    """Into the older; the old id leads to it, with all activities, until it is undone."""
    one, other, both = two_of_one(crm)
    found = crm.identity.resolve(both)
    assert found.customer.id == one
    assert crm.customers.get(other).id == one
    assert crm.activities.metrics(other).spend_minor == 3_000
    assert crm.identity.duplicates(min_score=0).items == ()
    (merge,) = crm.identity.merges(one)
    assert (merge.kept_id, merge.dropped_id) == (one, other)
    crm.identity.unmerge(merge.id)
    assert crm.customers.get(other).id == other
    assert crm.activities.metrics(one).spend_minor == 1_000
    assert crm.activities.metrics(other).spend_minor == 2_000
    assert crm.activities.verify() == ()


def test_without_automatic_merging_the_two_wait_for_review(
    storage: Storage, clock: FrozenClock
) -> None:
    """They stay two, and a scan reports the pair as one person."""
    crm = with_matching(storage, clock, merge_at=None)
    one, other, both = two_of_one(crm)
    found = crm.identity.resolve(both)
    assert found.customer.id in (one, other)
    assert not are_one(crm, one, other)
    assert crm.identity.scan().clusters == (tuple(sorted((one, other))),)
    (pair,) = crm.identity.duplicates()
    assert {pair.customer.id, pair.other.id} == {one, other}


def test_two_of_a_family_are_not_merged_by_what_has_both_contacts(crm: CRMService) -> None:
    """His mailbox and her phone on one booking of his: still two persons."""
    marco = crm.find_or_create(parted("Marco Rossi", email="marco@a.it")).id
    giulia = crm.find_or_create(parted("Giulia Rossi", phone=PHONE)).id
    found = crm.find_or_create(parted("Marco Rossi", email="marco@a.it", phone=PHONE))
    assert found.id == marco
    assert not are_one(crm, marco, giulia)


# --- what a person is also known by ---


def test_what_differs_is_kept_and_leads_to_the_customer(crm: CRMService) -> None:
    """The profile stays; the other spelling, address and city are aliases, and find."""
    known = crm.find_or_create(
        parted("Francesca Bianchi", phone=PHONE, email="fb@a.it", city="Roma")
    )
    told = parted("Francesca Bainchi", phone=PHONE, email="franci@b.it", city="Milano")
    found = crm.identity.resolve(told).customer
    assert (found.id, found.last_name, found.email) == (known.id, "Bianchi", "fb@a.it")
    assert found.aliases == {
        "name": ["Francesca Bainchi"], "email": ["franci@b.it"], "city": ["Milano"],
    }  # fmt: skip
    for query in ("Bainchi", "franci@b.it"):
        assert [hit.customer.id for hit in crm.customers.search(query)] == [known.id]
    assert crm.find_or_create({"email": "franci@b.it"}).id == known.id
    slip = parted("Francesca Bianchi", email="franci@b.ti", phone="+39 347 1234568")
    assert crm.find_or_create(slip).id == known.id


def test_who_sets_a_field_anew_drops_its_aliases(crm: CRMService) -> None:
    """Those of that field alone; they no longer find anybody."""
    known = crm.find_or_create(parted("Francesca Bianchi", phone=PHONE, email="fb@a.it")).id
    crm.find_or_create(parted("Francesca Bainchi", phone=PHONE, email="franci@b.it"))
    assert set(crm.customers.get(known).aliases) == {"name", "email"}
    assert crm.customers.update(known, {"city": "Bari"}).aliases.keys() == {"name", "email"}
    assert crm.customers.update(known, {"email": "new@a.it"}).aliases.keys() == {"name"}
    assert list(crm.customers.search("franci@b.it")) == []
    assert crm.identity.resolve({"email": "franci@b.it"}, dry_run=True).created
    assert crm.customers.update(known, {"last_name": "Verdi"}).aliases == {}
    assert list(crm.customers.search("Bainchi")) == []


# --- many ---


def test_many_are_found_or_made_in_their_order(crm: CRMService) -> None:
    """One id for each mapping, one for all that mean the same person, also across chunks."""
    people = [parted("Ana Pop", email=f"ana{n}@mail.com") for n in (*range(201), 0, 7)]
    done: list[int] = []
    ids = crm.identity.resolve_many(people, progress=done.append)
    assert len(ids) == 203
    assert len(set(ids)) == 201
    assert (ids[201], ids[202]) == (ids[0], ids[7])
    assert [crm.customers.get(c).email for c in (ids[0], ids[7])] == [
        "ana0@mail.com", "ana7@mail.com",
    ]  # fmt: skip
    assert done[-1] == 203
    assert done == sorted(done)
    assert crm.identity.resolve_many(people) == ids


def test_without_matching_each_mapping_is_a_customer(crm: CRMService) -> None:
    """But those with an account or an external id, which find theirs; a scan sees the rest."""
    twice: Record = parted("Ana Pop", email="ana@mail.com", phone=PHONE)
    known = crm.find_or_create(twice).id
    first, second, by_account, again, by_pos, again_by_pos = crm.identity.resolve_many(
        [twice, twice, {"user_id": "1"}, {"user_id": "1"}, *[{"external_ids": {"pos": "9"}}] * 2],
        match=False,
    )
    assert len({known, first, second, by_account, by_pos}) == 5
    assert (by_account, by_pos) == (again, again_by_pos)
    assert crm.identity.scan().clusters == (tuple(sorted((known, first, second))),)


BAD_ROWS: dict[str, tuple[Any, str]] = {
    "a malformed address": ({"email": "nonsense"}, "email"),
    "nothing to tell by": ({"name": ""}, "customer"),
    "an unknown field": ({"emial": "a@b.it"}, "emial"),
    "a consent of the future": (
        {"email": "q@q.it", "consent": {"marketing_email": True, "source": "form",
                                        "at": "2190-01-01T00:00:00Z"}},
        "consent.at",
    ),
}  # fmt: skip


@pytest.mark.parametrize("match", [True, False])
@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_mapping_is_named_by_its_place(
    crm: CRMService, storage: Storage, case: str, *, match: bool
) -> None:
    """Nothing of its chunk is stored; what came in earlier chunks stays."""
    row, field = BAD_ROWS[case]
    before = rows(storage, crm.tenant)
    with pytest.raises(InvalidInput) as caught:
        crm.identity.resolve_many([{"email": "a@mail.com"}, row, {"email": "b@mail.com"}],
                                  match=match)  # fmt: skip
    assert caught.value.field == f"people[1].{field}"
    assert rows(storage, crm.tenant) == before
    many = [{"email": f"g{n}@mail.com"} for n in range(450)]
    done: list[int] = []
    with pytest.raises(InvalidInput) as caught:
        crm.identity.resolve_many([*many, row], match=match, progress=done.append)
    assert caught.value.field == f"people[450].{field}"
    assert len(crm.customers.list(limit=1_000).items) == done[-1] < 450
