"""Finding duplicates among all customers, dismissing them, and the fitted weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from crmkit import CRMService, InvalidInput, MemoryStorage
from crmkit.identity.review import Duplicate
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from tests.populate import rows

Record = dict[str, Any]

PHONE = "+39 347 1234567"
MAILBOX = "lucia@a.it"
BY_EMAIL: Record = {"first_name": "Lucia", "last_name": "Ferrari", "email": MAILBOX}
BY_PHONE: Record = {"first_name": "Lucia", "last_name": "Ferrari", "phone": PHONE}
BOTH: Record = BY_EMAIL | BY_PHONE

FIRST = "Marco Giulia Luca Anna Paolo Elena Matteo Sara Davide Chiara Laura Stefano".split()
LAST = (
    "Rossi Bianchi Ferrari Romano Colombo Ricci Marino Greco Bruno Gallo Conti Costa Mancini "
    "Giordano Lombardi Barbieri Moretti Fontana Santoro"
).split()
CITIES = "Roma Milano Napoli Torino Bari".split()
PERSONS, ROWS = 150, 210


# --- generated people ---


def _person(rng: random.Random, n: int) -> Record:
    first, last = rng.choice(FIRST), rng.choice(LAST)
    return {
        "first_name": first,
        "last_name": last,
        "email": f"{first}.{last}{n}x@mail.com".lower(),
        "phone": f"+39347{rng.randrange(10**7):07}",
        "birth_date": f"{rng.randrange(1950, 2000)}-{rng.randrange(1, 13):02}-{1 + n % 28:02}",
        "city": rng.choice(CITIES),
    }


def _again(person: Record) -> list[Record]:
    """The same person as three other tables have them."""
    first, last = person["first_name"], person["last_name"]
    slip = last[:2] + last[3] + last[2] + last[4:]
    return [
        person | {"last_name": slip, "email": None},
        person | {"first_name": last, "last_name": first, "phone": None},
        person | {"email": None, "birth_date": None, "phone": person["phone"][3:], "city": None},
    ]


def planted(crm: CRMService) -> dict[int, list[str]]:
    """Generated people, some of them up to four times; the ids by person."""
    rng = random.Random(7)
    told: list[tuple[int, Record]] = []
    for n in range(PERSONS):
        person = _person(rng, n)
        told += [(n, person)]
        told += [(n, again) for again in _again(person)[: n // 5 % 3 + 1] if n % 5 == 0]
    rng.shuffle(told)
    ids = crm.identity.resolve_many([record for _, record in told], match=False)
    assert len(set(ids)) == len(told) == ROWS
    found: dict[int, list[str]] = {}
    for (n, _), customer in zip(told, ids, strict=True):
        found.setdefault(n, []).append(customer)
    return found


def as_clusters(people: dict[int, list[str]]) -> set[tuple[str, ...]]:
    return {tuple(sorted(ids)) for ids in people.values() if len(ids) > 1}


class Heard:
    """A progress callback that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def __call__(self, *told: Any) -> None:
        self.told.append(told)


# --- scanning and merging all ---


def test_a_scan_finds_the_planted_duplicates(crm: CRMService) -> None:
    """All of them and nobody else; progress is heard, and nobody is merged."""
    people, heard = planted(crm), Heard()
    scan = crm.identity.scan(progress=heard)
    assert scan.customers == ROWS
    assert set(scan.clusters) == as_clusters(people)
    assert scan.links == ROWS - PERSONS
    assert heard.told
    assert all(isinstance(stage, str) and 0 <= done <= of for stage, done, of in heard.told)
    assert len(crm.customers.list(limit=1_000).items) == ROWS
    assert "@" not in repr(scan)


def test_a_scan_is_deterministic(crm: CRMService) -> None:
    """A second one gives the same clusters, and the same pairs in the same order."""
    planted(crm)
    first, pairs = crm.identity.scan(), _pairs(crm)
    second = crm.identity.scan()
    assert (second, second.clusters) == (first, first.clusters)
    assert _pairs(crm) == pairs
    assert pairs


def test_storages_find_the_same(crm: CRMService) -> None:
    """The clusters depend on the people alone, not on where they are kept."""
    people = planted(crm)
    elsewhere = CRMService(MemoryStorage(), settings=crm._runtime.settings)
    others = planted(elsewhere)
    names = [{c: n for n, ids in told.items() for c in ids} for told in (people, others)]
    clusters = [
        sorted(sorted(name[c] for c in group) for group in each.identity.scan().clusters)
        for each, name in zip((crm, elsewhere), names, strict=True)
    ]
    assert clusters[0] == clusters[1]


def _pairs(crm: CRMService) -> list[tuple[str, str, float]]:
    found: list[tuple[str, str, float]] = []
    after: str | None = None
    while True:
        page = crm.identity.duplicates(limit=7, after=after, min_score=0.05)
        found += [(d.customer.id, d.other.id, d.score) for d in page]
        after = page.next
        if after is None:
            return found


def test_pages_of_duplicates_hold_each_pair_once(crm: CRMService) -> None:
    """Whatever the size of a page; all the pairs that one long page has."""
    planted(crm)
    crm.identity.scan()
    whole = crm.identity.duplicates(limit=1_000, min_score=0.05)
    assert whole.next is None
    assert _pairs(crm) == [(d.customer.id, d.other.id, d.score) for d in whole]
    assert len({(d.customer.id, d.other.id) for d in whole}) == len(whole.items)


def test_the_likeliest_pair_comes_first(crm: CRMService) -> None:
    """By the score it was found with, also after a profile changed; the match is of today."""
    contacts: list[Record] = [{"email": "lf@a.it"}, {"phone": PHONE}, {"instagram": "@lf"}]
    ids = [
        crm.find_or_create(BY_EMAIL | {"email": None, "city": "Roma"} | contact).id
        for contact in contacts
    ]
    assert len(crm.identity.duplicates().items) == 3
    crm.customers.update(ids[1], {"city": "Bari", "birth_date": "1970-02-03"})
    crm.customers.update(ids[2], {"birth_date": "1970-02-03"})
    found = crm.identity.duplicates().items
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    assert {d.match for d in found} == {
        crm.identity.compare(d.customer.id, d.other.id) for d in found
    }
    assert any(abs(d.score - d.match.probability) > 0.01 for d in found)


def test_merging_all_leaves_one_customer_per_person(crm: CRMService) -> None:
    """Once; every activity is kept, and the old ids lead to the person."""
    people, heard = planted(crm), Heard()
    for ids in people.values():
        for customer in ids:
            crm.track_activity(customer, "purchase", {"amount": 10})
    crm.identity.scan()
    made = crm.identity.merge_all(0.5, actor="staff 7", progress=heard)
    assert len(made) == ROWS - PERSONS
    assert [n for (n,) in heard.told] == list(range(1, len(made) + 1))
    assert {m.actor for m in made} == {"staff 7"}
    kept = crm.customers.list(limit=1_000)
    assert len(kept.items) == PERSONS
    assert crm.activities.verify() == ()
    assert sum(crm.activities.metrics(c.id).activities for c in kept) == ROWS
    for ids in people.values():
        assert len({crm.customers.get(c).id for c in ids}) == 1
        assert crm.activities.metrics(ids[0]).spend_minor == 1_000 * len(ids)
    assert crm.identity.merge_all(0.5) == ()
    assert crm.identity.scan().clusters == ()
    assert crm.identity.merge_all(0.5) == ()


def test_merging_all_keeps_the_older_and_can_be_undone(
    crm: CRMService, clock: FrozenClock, storage: Storage
) -> None:
    """Each merge is a merge like any."""
    ids = crm.identity.resolve_many([BOTH], match=False)
    clock.advance(days=1)
    ids += crm.identity.resolve_many([BOTH], match=False)
    before = rows(storage, crm.tenant)["crm_customers"]
    crm.identity.scan()
    (fact,) = crm.identity.merge_all(0.5)
    assert (fact.kept_id, fact.dropped_id) == ids
    crm.identity.unmerge(fact.id)
    assert rows(storage, crm.tenant)["crm_customers"] == before


def _parted(name: str, **also: Any) -> Record:
    first, last = name.split(" ")
    return {"first_name": first, "last_name": last, **also}


def _whole(name: str, **also: Any) -> Record:
    return {"name": name, **also}


@pytest.mark.parametrize("form", [_parted, _whole])
def test_a_family_chain_is_not_one_person(crm: CRMService, form: Callable[..., Record]) -> None:
    """However their mailboxes and phones hang together; one of them twice is found."""
    one, other = "+39 347 1234561", "+39 347 1234562"
    family = [
        form("Marco Rossi", email="casa1@mail.com", phone=one),
        form("Giulia Rossi", email="casa1@mail.com", phone=other),
        form("Luca Rossi", email="casa2@mail.com", phone=other),
        form("Sara Rossi", email="casa2@mail.com", phone=one),
        form("Marco Rossi", email="casa2@mail.com", phone=one, birth_date="1950-01-02"),
        form("Marco Rossi", email="casa1@mail.com", birth_date="1980-03-04"),
        form("Sara Rossi", phone=one, instagram="@sara.r"),
    ]
    ids = crm.identity.resolve_many(family, match=False)
    scan = crm.identity.scan()
    assert all(_who(crm, group) in ({"Marco"}, {"Sara"}) for group in scan.clusters)
    assert tuple(sorted((ids[3], ids[6]))) in scan.clusters
    crm.identity.merge_all(0.5)
    now = [crm.customers.get(c).id for c in ids]
    assert now[3] == now[6]
    assert now[4] != now[5]
    assert len({now[0], now[1], now[2], now[3]}) == 4


def _who(crm: CRMService, ids: tuple[str, ...]) -> set[str]:
    names = (crm.customers.get(c).full_name or "" for c in ids)
    return {name.split(" ")[0] for name in names}


@pytest.mark.parametrize("score", [0, -0.1, 1.01, float("nan")])
def test_a_score_is_a_probability(crm: CRMService, score: float) -> None:
    with pytest.raises(InvalidInput, match="probability"):
        crm.identity.merge_all(score)
    if score:
        with pytest.raises(InvalidInput, match="probability"):
            crm.identity.duplicates(min_score=score)


# --- dismissed for ever ---


@pytest.fixture
def two(crm: CRMService) -> tuple[str, str]:
    """One name, two contacts: a pair that a record with both would join."""
    one, other = crm.find_or_create(BY_EMAIL).id, crm.find_or_create(BY_PHONE).id
    assert [_ids(d) for d in crm.identity.duplicates()] == [{one, other}]
    return one, other


def _ids(pair: Duplicate) -> set[str]:
    return {pair.customer.id, pair.other.id}


def stay_two(crm: CRMService, one: str, other: str) -> None:
    """Nothing brings them together: no list, no scan, no merging of all, nothing that comes in."""
    now = {crm.customers.get(one).id, crm.customers.get(other).id}
    assert len(now) == 2
    assert now not in [_ids(d) for d in crm.identity.duplicates(min_score=0)]
    scan = crm.identity.scan()
    assert not any(now <= set(group) for group in scan.clusters)
    assert now not in [_ids(d) for d in crm.identity.duplicates(min_score=0)]
    crm.identity.merge_all(0.01)
    for count, record in enumerate((BOTH, BOTH | {"city": "Roma"}, BOTH | {"city": "Bari"})):
        crm.identity.resolve(record | {"tags": [f"tag {count}"]})
        assert {crm.customers.get(one).id, crm.customers.get(other).id} == now


def test_without_a_word_the_two_become_one(crm: CRMService, two: tuple[str, str]) -> None:
    """What the tests below forbid does happen to a pair that was not dismissed."""
    crm.identity.resolve(BOTH)
    assert crm.customers.get(two[0]).id == crm.customers.get(two[1]).id


@pytest.mark.parametrize("back", [False, True])
def test_a_dismissed_pair_never_returns(
    crm: CRMService, two: tuple[str, str], *, back: bool
) -> None:
    crm.identity.dismiss(*(two[::-1] if back else two))
    stay_two(crm, *two)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("keep_third", [True, False])
def test_a_dismissed_pair_stays_apart_when_merged_with_a_third(
    crm: CRMService, two: tuple[str, str], side: int, *, keep_third: bool
) -> None:
    """Also when that is undone."""
    crm.identity.dismiss(*two)
    third = crm.find_or_create({"name": "Zoran Kovač", "email": "zoran@mail.com"}).id
    pair = (third, two[side]) if keep_third else (two[side], third)
    fact = crm.identity.merge(*pair, reason="one person")
    stay_two(crm, *two)
    stay_two(crm, third, two[1 - side])
    crm.identity.unmerge(fact.id)
    stay_two(crm, *two)


@pytest.mark.parametrize("side", [0, 1])
def test_who_was_dismissed_by_an_old_id_stays_apart(
    crm: CRMService, two: tuple[str, str], side: int
) -> None:
    """Said while that customer was merged into a third: it holds then, and when undone."""
    third = crm.find_or_create({"name": "Zoran Kovač", "email": "zoran@mail.com"}).id
    fact = crm.identity.merge(third, two[side], reason="one person")
    crm.identity.dismiss(*two)
    stay_two(crm, third, two[1 - side])
    crm.identity.unmerge(fact.id)
    stay_two(crm, *two)


def test_only_that_pair_is_dismissed(crm: CRMService, two: tuple[str, str]) -> None:
    """A third of the same name is still shown with each of them."""
    crm.identity.dismiss(*two)
    third = crm.find_or_create({**BY_EMAIL, "email": None, "instagram": "@lucia.f"}).id
    shown = [_ids(d) for d in crm.identity.duplicates()]
    assert sorted(map(sorted, shown)) == sorted(sorted((third, c)) for c in two)


@pytest.mark.parametrize("side", [0, 1])
def test_a_pair_that_was_open_goes_with_one_that_was_dismissed(
    crm: CRMService, two: tuple[str, str], side: int
) -> None:
    """A third becomes one with either: then their open pair with the other is no question."""
    third = crm.find_or_create({**BY_EMAIL, "email": None, "instagram": "@lucia.f"}).id
    crm.identity.dismiss(*two)
    fact = crm.identity.merge(third, two[side], reason="one person")
    assert crm.identity.duplicates(min_score=0).items == ()
    crm.identity.unmerge(fact.id)
    assert {third, two[1 - side]} in [_ids(d) for d in crm.identity.duplicates()]


# --- fitted weights ---


def test_fitting_is_deterministic_and_counts_up(crm: CRMService) -> None:
    """The same customers give the same weights, with the next version; none before."""
    assert crm.identity.model() is None
    planted(crm)
    heard = Heard()
    first = crm.identity.fit(progress=heard)
    second = crm.identity.fit()
    assert heard.told
    assert (first.version, second.version) == (1, 2)
    assert (first.weights, first.common) == (second.weights, second.common)
    assert first.customers == ROWS
    assert crm.identity.model() == second
    copy = crm.for_tenant("copy")
    assert copy.identity.model() is None
    planted(copy)
    assert copy.identity.fit().weights == first.weights


def test_a_scan_fits_once(crm: CRMService) -> None:
    planted(crm)
    assert crm.identity.scan().model_version == 1
    assert crm.identity.scan().model_version == 1
    crm.identity.fit()
    assert crm.identity.scan().model_version == 2


def test_other_services_use_the_fitted_weights(
    crm: CRMService, storage: Storage, clock: FrozenClock
) -> None:
    """New ones at once; one that judged before, some time later."""
    people = planted(crm)
    one, other = next(ids for ids in people.values() if len(ids) > 1)[:2]
    running = CRMService(storage, clock=clock, settings=crm._runtime.settings)
    before = running.identity.compare(one, other)
    crm.identity.fit()
    fitted = crm.identity.compare(one, other)
    assert fitted != before
    started = CRMService(storage, clock=clock, settings=crm._runtime.settings)
    assert started.identity.compare(one, other) == fitted
    clock.advance(hours=1)
    assert running.identity.compare(one, other) == fitted


def test_a_model_holds_no_personal_value(crm: CRMService) -> None:
    """Neither its weights nor what it knows of common words name anybody."""
    planted(crm)
    crm.identity.resolve_many(
        [{"name": "Ana Pop", "email": f"a{n}@mail.com", "custom": {"card": "Qx17"}}
         for n in range(20)], match=False,
    )  # fmt: skip
    model = crm.identity.fit()
    said = (repr(model.weights) + repr(dict(model.common)) + repr(model)).casefold()
    for value in ("rossi", "marco", "ferrari", "pop", "mail.com", "roma", "qx17"):
        assert value not in said


# --- whose they are ---


def mentions(storage: Storage, tenant: str, ids: set[str]) -> dict[str, int]:
    """How many rows of matching name one of these ids, by table."""
    held = rows(storage, tenant)
    return {
        table: sum(not ids.isdisjoint(row.values()) for row in held[table])
        for table in ("crm_match_pairs", "crm_match_tokens")
    }


@pytest.mark.parametrize("by_old_id", [True, False])
def test_erasing_a_person_removes_their_pairs_and_tokens(
    crm: CRMService, storage: Storage, two: tuple[str, str], *, by_old_id: bool
) -> None:
    """Of all their ids, dismissed ones too; other people's stay."""
    third = crm.find_or_create({**BY_EMAIL, "email": None, "instagram": "@lucia.f"}).id
    fourth = crm.find_or_create({**BY_EMAIL, "email": None, "instagram": "@lucia.g"}).id
    crm.identity.dismiss(*two)
    crm.identity.dismiss(two[0], third)
    crm.identity.merge(fourth, two[0], reason="one person")
    mine, left = {two[0], fourth}, {two[1], third}
    assert all(mentions(storage, crm.tenant, mine).values())
    crm.gdpr.erase(two[0] if by_old_id else fourth)
    assert mentions(storage, crm.tenant, mine) == {"crm_match_pairs": 0, "crm_match_tokens": 0}
    assert all(mentions(storage, crm.tenant, left).values())
    assert [_ids(d) for d in crm.identity.duplicates()] == [left]
    crm.identity.scan()
    assert mentions(storage, crm.tenant, mine) == {"crm_match_pairs": 0, "crm_match_tokens": 0}


def test_tenants_never_see_each_others_pairs_or_models(
    crm: CRMService, storage: Storage, two: tuple[str, str]
) -> None:
    """Nor does a scan, a merge of all or a fit of one change anything of the other's."""
    other = crm.for_tenant("other")
    assert other.identity.resolve(BOTH, dry_run=True).created
    mine = [other.find_or_create(r).id for r in (BY_EMAIL, BY_PHONE)]
    assert [_ids(d) for d in other.identity.duplicates()] == [set(mine)]
    assert [_ids(d) for d in crm.identity.duplicates()] == [set(two)]
    before = rows(storage, other.tenant)
    crm.identity.dismiss(*two)
    crm.identity.fit()
    crm.identity.scan()
    crm.identity.merge_all(0.01)
    assert rows(storage, other.tenant) == before
    assert other.identity.model() is None
    assert other.identity.scan().customers == 2
    other.identity.resolve(BOTH)
    assert other.customers.get(mine[0]).id == other.customers.get(mine[1]).id
    assert crm.customers.get(two[0]).id != crm.customers.get(two[1]).id
