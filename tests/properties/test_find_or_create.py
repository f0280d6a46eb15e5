"""Who is found, who is created, and what becomes of what was known."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from crmkit import CRMService, IdempotencyConflict, Settings
from crmkit.model import Identity
from crmkit.ports.storage import Storage
from tests.populate import rows

shared_storage = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
_tenants = (f"people {n}" for n in itertools.count())


def fresh(storage: Storage) -> CRMService:
    return CRMService(storage, settings=Settings(region="RO"), tenant=next(_tenants))


def people(crm: CRMService) -> list[str]:
    return [c.id for c in crm.customers.list()]


@st.composite
def typings(draw: st.DrawFn, local: str = "ana.pop", domain: str = "mail.com") -> str:
    """One of the ways in which an address is typed: case and spaces around."""
    typed = "".join(draw(st.sampled_from((c, c.upper()))) for c in f"{local}@{domain}")
    return draw(st.sampled_from(("", " ", "\t"))) + typed + draw(st.sampled_from(("", "  ")))


@st.composite
def gmail_typings(draw: st.DrawFn) -> str:
    """The same for Gmail, where dots and what follows a plus do not count."""
    dots = [draw(st.sampled_from(("", "."))) for _ in range(5)]
    local = "".join(itertools.chain(*zip("anapop", [*dots, ""], strict=True)))
    local += draw(st.sampled_from(("", "+", "+news", "+a.b")))
    domain = draw(st.sampled_from(("gmail.com", "googlemail.com")))
    return draw(typings(local, domain))


PHONES = (
    "+40722123456", "0722 123 456", "0722.123.456", "0040 722-123-456", "+40 (722) 123456",
    "+40 0722 123 456",
)  # fmt: skip
HANDLES = ("@ana.pop", "ANA.pop", "https://www.instagram.com/Ana.Pop/?hl=ro", "instagr.am/ana.pop")


@given(typed=st.lists(typings(), min_size=2, max_size=5))
@shared_storage
def test_one_address_in_any_typing_is_one_person(storage: Storage, typed: list[str]) -> None:
    crm = fresh(storage)
    assert len({crm.find_or_create({"email": t}).id for t in typed}) == 1
    assert len(people(crm)) == 1


@given(typed=st.lists(gmail_typings(), min_size=2, max_size=5))
@shared_storage
def test_one_gmail_box_in_any_typing_is_one_person(storage: Storage, typed: list[str]) -> None:
    """Kept as it was typed first."""
    crm = fresh(storage)
    first = crm.find_or_create({"email": typed[0]})
    for again in typed[1:]:
        assert crm.find_or_create({"email": again}).id == first.id
    kept = crm.customers.get(first.id).email
    assert kept is not None
    assert kept.lower() == typed[0].strip().lower()


@given(st.data())
@shared_storage
def test_dots_count_where_they_may_be_another_box(storage: Storage, data: st.DataObject) -> None:
    crm = fresh(storage)
    one = crm.find_or_create({"email": data.draw(typings("ana.pop"))})
    other = crm.find_or_create({"email": data.draw(typings("anapop"))})
    assert one.id != other.id


@pytest.mark.parametrize(("field", "typed"), [("phone", PHONES), ("instagram", HANDLES)])
def test_one_number_or_handle_in_any_typing_is_one_person(
    storage: Storage, field: str, typed: tuple[str, ...]
) -> None:
    for one, other in itertools.permutations(typed, 2):
        crm = fresh(storage)
        assert crm.find_or_create({field: one}).id == crm.find_or_create({field: other}).id


IDENTIFIERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("user_id", {"user_id": "17"}),
    ("external:pos", {"external_ids": {"pos": "a"}}),
    ("email", {"email": "ana@mail.com"}),
    ("phone", {"phone": "+40722123456"}),
    ("instagram", {"instagram": "@ana"}),
)


@pytest.mark.parametrize(
    "several", [c for n in (2, 3, 5) for c in itertools.combinations(IDENTIFIERS, n)]
)
def test_the_most_trusted_identifier_decides(
    storage: Storage, several: tuple[tuple[str, dict[str, Any]], ...]
) -> None:
    """Account, external id, e-mail, phone, Instagram; the others' owners are candidates.

    No identifier moves, and nobody's profile gets what is another's.
    """
    crm = fresh(storage)
    owners = [crm.find_or_create(alone).id for _, alone in reversed(several)][::-1]
    together = {k: v for _, alone in reversed(several) for k, v in alone.items()}
    found = crm.identity.resolve(together)
    assert found.customer.id == owners[0]
    assert found.matched_by == several[0][0]
    assert not found.created
    assert set(found.candidates) == set(owners[1:])
    for owner, (_, alone) in zip(owners, several, strict=True):
        assert crm.find_or_create(alone).id == owner
    assert len(people(crm)) == len(several)


def test_an_exclusive_identifier_stays_with_its_owner(storage: Storage) -> None:
    """Found by account, the e-mail of somebody else is neither taken nor shown."""
    crm = fresh(storage)
    owner = crm.find_or_create({"email": "ana@mail.com"})
    user = crm.find_or_create({"user_id": "17", "name": "Bob"})
    found = crm.find_or_create({"user_id": "17", "email": "ana@mail.com"})
    assert (found.id, found.email, found.email_typed) == (user.id, None, None)
    assert crm.find_or_create({"email": "ana@mail.com"}).id == owner.id


_WORDS = st.sampled_from(["", "Ana", "Bob", "Roma"])
PROFILES = st.fixed_dictionaries(
    {"email": st.just("ana@mail.com")},
    optional={
        "name": _WORDS,
        "city": _WORDS,
        "phone": st.sampled_from(["", "+40722123456", "+40722999888"]),
        "instagram": st.sampled_from(["", "@ana", "@bob"]),
        "user_id": st.sampled_from(["1", "2"]),
        "birth_date": st.sampled_from(["", "1990-05-17", "1991-06-18"]),
        "custom": st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
        "external_ids": st.dictionaries(st.sampled_from(["x", "y"]), st.just("1"), max_size=2),
        "preferences": st.fixed_dictionaries(
            {}, optional={"drinks": st.sampled_from([[], ["gin"], ["rum"]]),
                          "prefers_table": st.booleans(), "dress_style": _WORDS}
        ),
        "tags": st.lists(st.sampled_from(["vip", "new"]), max_size=2),
    },
)  # fmt: skip


_CONTRADICTING = ("name", "birth_date", "user_id")


def _known(crm: CRMService, customer: str) -> dict[str, Any]:
    """What a profile holds, key by key."""
    (document,) = crm.gdpr.export(customer).records["crm_customers"]
    out: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            out |= {f"{name}.{k}": v for k, v in value.items()}
        elif name != "updated_at":
            out[name] = value
    return out


@given(first=PROFILES, then=PROFILES)
@example(  # more that is new of one known by mailbox and given name than the other fields agree in
    first={"email": "ana@mail.com", "name": "Ana", "phone": "+40722999888", "custom": {"a": 1}},
    then={"email": "ana@mail.com", "name": "Ana", "phone": "+40722123456", "custom": {"a": 0},
          "birth_date": "1990-05-17"},
)  # fmt: skip
@shared_storage
def test_what_is_there_stays_and_what_is_missing_is_filled(
    storage: Storage, first: dict[str, Any], then: dict[str, Any]
) -> None:
    """Never overwritten, not with more and not with less; each gap is filled from what comes."""
    assume(not any(first.get(f) and then.get(f) and first[f] != then[f] for f in _CONTRADICTING))
    crm = fresh(storage)
    customer = crm.find_or_create(first)
    before = _known(crm, customer.id)
    found = crm.find_or_create(then)
    assert found.id == customer.id
    after = _known(crm, customer.id)
    assert {k: after[k] for k in before} == before
    alone = fresh(storage)
    offered = _known(alone, alone.find_or_create(then).id)
    missing = {k: v for k, v in offered.items() if k not in before and not _taken(k, before)}
    assert {k: after.get(k) for k in missing} == missing
    assert {k for k in after if not k.startswith("aliases.")} == set(before) | set(missing)


@given(
    first=PROFILES,
    then=PROFILES,
    apart=st.sampled_from(
        [("name", "Ana", "Bob"), ("birth_date", "1990-05-17", "1991-06-18"), ("user_id", "1", "2")]
    ),
)
@shared_storage
def test_what_contradicts_is_another_person(
    storage: Storage, first: dict[str, Any], then: dict[str, Any], apart: tuple[str, str, str]
) -> None:
    """One mailbox, but two names, births or accounts; both are found by it again."""
    for person in (first, then):
        for account in ("user_id", "external_ids"):
            person.pop(account, None)  # they would decide by themselves
    field, first[field], then[field] = apart
    crm = fresh(storage)
    one, other = crm.find_or_create(first), crm.find_or_create(then)
    assert one.id != other.id
    assert other.email == one.email
    assert crm.find_or_create(first).id == one.id
    assert crm.find_or_create(then).id == other.id


def _taken(name: str, known: dict[str, Any]) -> bool:
    """What was typed belongs to the canonical form beside it."""
    return name.endswith("_typed") and name.removesuffix("_typed") in known


@given(profile=PROFILES, key=st.none() | st.just("k"))
@shared_storage
def test_calling_twice_is_calling_once(
    storage: Storage, profile: dict[str, Any], key: str | None
) -> None:
    crm = fresh(storage)
    first = crm.find_or_create(profile, key=key)
    stored = rows(storage, crm.tenant)
    assert crm.find_or_create(profile, key=key) == first
    assert rows(storage, crm.tenant) == stored


def test_a_key_leads_to_its_person_alone(storage: Storage) -> None:
    """Two guests without any identifier: the keys of their bookings tell them apart."""
    crm = fresh(storage)
    one, other = (crm.find_or_create({"name": "Ana"}, key=k).id for k in ("b1", "b2"))
    assert one != other
    assert crm.find_or_create({"name": "Ana"}, key="b1").id == one
    with pytest.raises(IdempotencyConflict):
        crm.find_or_create({"name": "Bob"}, key="b1")


PLACEHOLDERS: tuple[dict[str, Any], ...] = (
    {"phone": "0000000000"},
    {"phone": "+40000000000"},
    {"phone": "1234567890"},
    {"phone": "n/a"},
    {"email": "no@email.com"},
    {"email": "noemail@gmail.com"},
    {"email": "test@test.com"},
    {"email": "-"},
    {"instagram": "@none"},
)


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_identifies_nobody(storage: Storage, placeholder: dict[str, Any]) -> None:
    """It is kept as typed, but two who typed it are two."""
    crm = fresh(storage)
    one, other = (crm.find_or_create({**placeholder, "name": n}) for n in ("Ana", "Bob"))
    assert one.id != other.id
    (field, typed), *_ = placeholder.items()
    assert getattr(one, f"{field}_typed") == typed
    with storage.read(crm.tenant) as uow:
        assert uow.count(Identity) == 0


@pytest.mark.parametrize("shared", [{"phone": "+40722123456"}, {"instagram": "@family"}])
def test_a_family_shares_its_phone(storage: Storage, shared: dict[str, str]) -> None:
    """Two birth dates make two people; each is found again, and the phone is on both."""
    crm = fresh(storage)
    parent = crm.find_or_create({**shared, "birth_date": "1980-01-01"})
    child = crm.find_or_create({**shared, "birth_date": "2010-02-02"})
    assert parent.id != child.id
    assert crm.find_or_create({**shared, "birth_date": "2010-02-02"}).id == child.id
    assert crm.find_or_create({**shared, "birth_date": "1980-01-01"}).id == parent.id
    found = crm.identity.resolve(shared)
    assert (found.customer.id, found.candidates) == (parent.id, (child.id,))
    assert len(people(crm)) == 2


def test_an_email_decides_even_where_birth_dates_differ(storage: Storage) -> None:
    """An address is one person's: a date that was typed wrong does not make two."""
    crm = fresh(storage)
    one = crm.find_or_create({"email": "ana@mail.com", "birth_date": "1980-01-01"})
    assert crm.find_or_create({"email": "ana@mail.com", "birth_date": "1981-01-01"}).id == one.id
    assert str(crm.customers.get(one.id).birth_date) == "1980-01-01"


def test_who_shares_a_phone_is_found_in_the_order_of_creation(storage: Storage) -> None:
    """Whoever came first, however late the phone was added; the same on every storage."""
    crm = fresh(storage)
    ids = [crm.find_or_create({"user_id": n}).id for n in range(6)]
    for customer in reversed(ids):
        crm.customers.update(customer, {"phone": "+40722123456"})
    found = crm.identity.resolve({"phone": "0722 123 456"})
    assert (found.customer.id, found.candidates) == (ids[0], tuple(ids[1:]))


@given(profile=PROFILES, known=st.booleans())
@shared_storage
def test_a_dry_run_writes_nothing(storage: Storage, profile: dict[str, Any], known: bool) -> None:
    """And says what would happen; a customer that would be created has no id."""
    crm = fresh(storage)
    if known:
        crm.find_or_create({"email": "Ana@mail.com"})
    before = rows(storage, crm.tenant)
    said = crm.identity.resolve(profile, dry_run=True)
    assert rows(storage, crm.tenant) == before
    assert said.created is not known
    assert bool(said.customer.id) is known
    done = crm.identity.resolve(profile)
    assert (done.created, done.matched_by) == (said.created, said.matched_by)


def test_a_dry_run_with_a_key_writes_nothing(storage: Storage) -> None:
    """Neither the customer nor the key."""
    crm = fresh(storage)
    before = rows(storage, crm.tenant)
    said = crm.identity.resolve({"email": "ana@mail.com"}, key="k", dry_run=True)
    assert said.created
    assert rows(storage, crm.tenant) == before
    crm.find_or_create({"email": "bob@mail.com"}, key="k")
