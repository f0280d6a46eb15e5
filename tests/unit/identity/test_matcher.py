"""Judging two profiles, with evidence that a person can follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from typing import Any

import attrs
import pytest

from crmkit.config import Matching
from crmkit.customers.traits import Traits, of_fields
from crmkit.identity import comparing as c
from crmkit.identity import matcher as m
from crmkit.identity import weights
from crmkit.identity.matcher import Evidence, Knowledge, Match, Matcher, given_names
from crmkit.identity.names import SHORT

ANA: dict[str, Any] = {
    "first_name": "Ana", "last_name": "Brum", "email": "ana.brum@mail.it", "city": "Cluj",
    "phone": "+40722123456", "birth_date": date(1984, 3, 5), "instagram": "ana_b",
    "gender": "F",
}  # fmt: skip


def knowledge(
    count: Callable[[str], int] = lambda _: 1,
    people: int = 1000,
    learned: Callable[[str, str], bool] = lambda _, __: False,
    **more: Any,
) -> Knowledge:
    return Knowledge(weights.shipped(), count, people, learned, **more)


def traits(told: dict[str, Any], **changes: Any) -> Traits:
    """The traits of some fields and changes to them; None takes a field away."""
    return of_fields(told | changes)


def judged(
    one: dict[str, Any], other: dict[str, Any], matching: Matching | None = None, **known: Any
) -> m.Judgement:
    return Matcher(matching or Matching(), knowledge(**known)).judge(traits(one), traits(other))


def name(text: str) -> dict[str, str]:
    first, _, last = text.partition(" ")
    return {"first_name": first, "last_name": last}


# --- judging ---


def test_one_person_and_two() -> None:
    assert judged(ANA, ANA).probability > 0.99
    other = name("Ion Felk") | {"email": "ion@felk.it", "phone": "+40733987651"}
    assert judged(ANA, other).probability < 0.01
    assert judged({}, {}).probability == 0.0  # nothing to go by


def test_what_forbids_is_told_and_leaves_the_probability() -> None:
    """An account of another's: the rest may be as equal as it is."""
    found = judged(ANA | {"user_id": "1"}, ANA | {"user_id": "2"})
    assert found.against == "user_id"
    assert found.probability == judged(ANA, ANA).probability
    assert judged(ANA, ANA).against is None


def test_a_rare_name_says_more_than_a_common_one() -> None:
    """By what is known of how many bear its words."""
    rare = judged(name("Ana Brum"), name("Ana Brum"))
    common = judged(name("Ana Brum"), name("Ana Brum"), count=lambda _: 300)
    assert rare.probability > common.probability


def test_namesakes_who_are_known_of_make_a_judgement_careful() -> None:
    one = traits(name("Ana Brum"))
    matcher = Matcher(Matching(), knowledge())
    assert matcher.judge(one, one).probability > matcher.judge(one, one, namesakes=9).probability


def test_a_contact_that_many_use_is_judged_as_such() -> None:
    one = traits({"phone": "+40722123456"})
    matcher = Matcher(Matching(), knowledge())
    crowd = matcher.judge(one, one, crowded={"722123456"})
    assert crowd.pattern[c.PHONE] == c.CROWDED
    assert crowd.probability < matcher.judge(one, one).probability


def test_details_that_both_have_are_compared() -> None:
    """One more of them for each pair that has it; in the order of the alphabet."""
    both = {"occupation": "cook", "gender": "F", "language": "ro"}
    found = judged(both, {"occupation": "cook", "gender": "M", "country": "RO"})
    assert found.weights.details == ("gender", "occupation")
    assert found.pattern[len(c.FIELDS) :] == (c.DIFFERS, c.EQUAL)
    assert judged(both, {"name": "Ana"}).weights.details == ()


def test_only_the_hosts_choice_of_fields_takes_part() -> None:
    matching = Matching(fields=("email", "gender"))
    found = judged(ANA, ANA, matching)
    assert {e.field for e in found.match().evidence} == {"email", "gender"}


def test_many_kinds_of_details_are_judged_alike_in_any_order() -> None:
    """What was prepared for some details does not stand in for others."""
    matcher = Matcher(Matching(), knowledge())
    profiles = [traits(ANA, custom={f"c{n}": "same value"}) for n in range(150)]
    first = [matcher.judge(p, p) for p in profiles]
    again = [matcher.judge(p, p) for p in reversed(profiles)]
    assert [j.weights.details[0] for j in first] == [f"custom.c{n}" for n in range(150)]
    assert [j.probability for j in first] == [j.probability for j in reversed(again)]


# --- what is known of names ---


def test_a_nickname_that_the_host_adds_is_known() -> None:
    """Beside those that crmkit knows, whatever way it is written."""
    one, other = name("Zvezdana Brum"), name("CICA Brum")
    assert judged(one, other).against == "name"
    for own in ({"zvezdana": ["cica"]}, {"Zvezdána": ["Čica"]}, {"Звездана": ["Цица"]}):
        known = judged(one, other, Matching(nicknames=own))
        assert known.against is None
        assert known.probability > judged(one, other).probability
        assert judged(name("William Brum"), name("Bill Brum"), Matching(nicknames=own)).named


def _short(matching: Matching, one: str, other: str) -> bool:
    names = given_names(matching, lambda _, __: False)
    return names.level(((one,), ("pop",)), ((other,), ("pop",))) == SHORT


def test_a_nickname_relates_both_ways_and_to_its_siblings() -> None:
    own = Matching(nicknames={"Xanthippe": ["xan", "ippi"]})
    assert _short(own, "xan", "xanthippe")
    assert _short(own, "xanthippe", "ippi")
    assert _short(own, "xan", "ippi")
    assert not _short(own, "xan", "ana")
    assert not _short(Matching(), "ippi", "xanthippe")


def test_a_nickname_that_was_learned_is_known() -> None:
    one, other = name("Zvezdana Brum"), name("Cica Brum")
    found = judged(one, other, learned=lambda a, b: {a, b} == {"zvezdana", "cica"})
    assert found.against is None
    assert found.named


def test_a_matcher_tells_the_version_of_what_it_knows() -> None:
    assert Matcher(Matching(), knowledge(version=7)).version == 7
    assert Matcher(Matching(), m.shipped()).version == 0


# --- what decides ---


@pytest.mark.parametrize("field", ["email", "phone", "birth_date", "instagram"])
def test_a_contact_or_a_birth_decides(field: str) -> None:
    """By itself, if it is equal."""
    assert judged({field: ANA[field]}, {field: ANA[field]}).decides


@pytest.mark.parametrize(
    "told",
    [
        {}, {"first_name": "Ana", "last_name": "Brum"}, {"city": "Cluj"}, {"gender": "F"},
        {"first_name": "Ana", "last_name": "Brum", "city": "Cluj", "gender": "F"},
    ],
)  # fmt: skip
def test_names_and_places_do_not_decide(told: dict[str, str]) -> None:
    """There are namesakes in every city."""
    assert not judged(told, told).decides


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"email": "ana.brum@mail.it"}, {"email": "ana.brum@home.it"}, id="e-mail"),
        pytest.param({"phone": "+40722123456"}, {"phone": "+40722123465"}, id="phone"),
        pytest.param({"birth_date": date(1984, 3, 5)}, {"birth_date": date(1984, 5, 3)}, id="day"),
    ],
)
def test_what_agrees_in_part_decides_beside_a_name_only(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """A name that agrees, given name and surname."""
    named, relative = name("Ana Brum"), name("Ion Brum")
    assert not judged(one, other).decides
    assert judged(one | named, other | named).decides
    assert not judged(one | named, other | relative).decides
    assert not judged(one | named, other | {"last_name": "Brum"}).decides


def test_a_contact_that_differs_leaves_what_agrees_in_part_undecided() -> None:
    """Unless another is equal."""
    one = name("Ana Brum") | {"email": "ana.brum@mail.it", "phone": "+40722123456"}
    other = one | {"email": "anabrum@mail.it"}
    assert judged(one, other).decides
    assert judged(one, other | {"phone": None}).decides
    assert not judged(one, other | {"phone": "+40733987651"}).decides


def test_what_differs_does_not_decide_and_what_a_crowd_uses_only_beside_the_name() -> None:
    one, other = traits(ANA), traits(name("Ana Brum"), email="x@y.it", phone="+40733987651")
    matcher = Matcher(Matching(), knowledge())
    assert not matcher.judge(one, other).decides
    phone, bare = traits(name("Ana Brum"), phone="+40722123456"), traits({}, phone="+40722123456")
    crowd = {"722123456"}
    assert matcher.judge(phone, bare).decides
    assert not matcher.judge(phone, bare, crowded=crowd).decides
    assert matcher.judge(phone, phone, crowded=crowd).decides


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ("Ana Brum", "Brum Ana", True),
        ("Ana Brumescu", "Ana Brumecsu", True),
        ("Bill Brum", "William Brum", True),
        ("A Brum", "Ana Brum", True),
        ("Ana", "Ana Brum", False),
        ("Ana Brum", "Ion Brum", False),
        ("Ana Brum", "Ana Felk", False),
    ],
)
def test_names_agree_or_not(one: str, other: str, named: bool) -> None:
    assert judged(name(one), name(other)).named is named


# --- evidence ---

PAIRS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (ANA, {"email": "ana.brum@home.it", "birth_date": date(1984, 5, 3)}),
    (ANA, name("Ana Felk") | {"phone": "+40722123465", "city": "Iasi"}),
    (ANA, name("Ion Brum") | {"phone": "+40722123456"}),
    (ANA, {"gender": "M", "email": "x84@y.it"}),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_evidence_adds_up(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Prior and weights together are the odds of the probability, but for rounding."""
    found = judged(one, other).match()
    bits = found.prior + sum(e.weight for e in found.evidence)
    odds = math.log2(found.probability / (1 - found.probability))
    assert bits == pytest.approx(odds, abs=0.005 * (len(found.evidence) + 2))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_each_field_that_says_something_is_evidence_once(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """In the order of the fields, details last; what is silent is left out."""
    judgement = judged(one, other)
    fields = [*c.FIELDS, *judgement.weights.details]
    assert [e.field for e in judgement.match().evidence] == [
        field for field, level in zip(fields, judgement.pattern, strict=True) if level
    ]


def test_a_match_has_what_was_judged() -> None:
    judgement = judged(ANA | {"user_id": "1"}, ANA | {"user_id": "2"})
    match = judgement.match()
    assert (match.probability, match.against) == (judgement.probability, "user_id")


def says(one: dict[str, Any], other: dict[str, Any], **known: Any) -> dict[str, str]:
    return {e.field: e.says for e in judged(one, other, **known).match().evidence}


@pytest.mark.parametrize(
    ("one", "other", "field", "said"),
    [
        (name("Ana Brum"), name("Ana Brum"), "name", "equal (very rare)"),
        (name("Bill Brum"), name("William Brum"), "name", "a nickname or an initial (very rare)"),
        (name("Ana"), name("Ana Brum"), "name", "the given name fits, a surname is missing"),
        ({"last_name": "Brum"}, name("Ana Brum"), "name",
         "the surname fits, a given name is missing"),
        (name("Ana Brum"), name("Ana Felk"), "name", "the surname differs"),
        (name("Ana Brum"), name("Ion Brum"), "name", "the given name differs"),
        (name("Ana Brum"), name("Ion Felk"), "name", "differs"),
        ({"email": "ana.brum@a.it"}, {"email": "anabrum@b.it"}, "email",
         "the same name at another provider"),
        ({"email": "ana.brum@a.it"}, {"email": "anabrum@a.it"}, "email", "nearly equal"),
        ({"birth_date": date(1984, 3, 5)}, {"birth_date": date(1984, 3, 6)}, "birth_date",
         "one part of it differs"),
        ({"birth_date": date(1984, 3, 5)}, {"birth_date": date(1984, 5, 3)}, "birth_date",
         "nearly equal"),
        ({"city": "Cluj"}, {"city": "Iasi"}, "city", "differs"),
        ({"gender": "F"}, {"gender": "F"}, "gender", "equal"),
    ],
)  # fmt: skip
def test_evidence_is_in_words(
    one: dict[str, Any], other: dict[str, Any], field: str, said: str
) -> None:
    assert says(one, other)[field] == said


def test_a_common_name_is_said_to_be_common() -> None:
    told = name("Ana Brum")
    assert says(told, told, count=lambda _: 300)["name"] == "equal (very common)"


def test_an_error_is_told_from_two_names() -> None:
    """By whether several bear both spellings."""
    one, other = name("Ana Brumescu"), name("Ana Brumecsu")
    assert says(one, other)["name"].startswith("equal but for an error of typing")
    assert says(one, other, count=lambda _: 5)["name"].startswith("similar, but both are names")


def test_a_crowd_and_years_are_in_words() -> None:
    one = traits({"phone": "+40722123456"})
    found = Matcher(Matching(), knowledge()).judge(one, one, crowded={"722123456"}).match()
    assert found.evidence[0].says == "equal, but many use it"
    address = {"email": "ana84@mail.it"}
    same = says(address, {"birth_date": date(1984, 3, 5)})["year"]
    other = says(address, {"birth_date": date(1961, 7, 9)})["year"]
    assert same != other


# --- in lines ---


def test_an_explanation_has_a_line_for_each_field() -> None:
    """Between the odds before any field and what all say together."""
    match = Match(0.9217, -0.89, (Evidence("phone", "equal", 5.24), Evidence("city", "x", -0.05)))
    first, phone, city, last = match.explain().splitlines()
    assert first.split() == ["before", "any", "field", "-0.9", "bits"]
    assert phone.split() == ["phone", "+5.2", "bits", "equal"]
    assert city.split()[0] == "city"
    assert last == "together 92.2% one person"


def test_an_explanation_says_what_forbids() -> None:
    match = Match(0.9217, -0.89, (), against="birth_date")
    assert match.explain().splitlines()[-1] == "never merged by itself: birth_date contradicts"
    assert "never" not in attrs.evolve(match, against=None).explain()


def test_lines_and_evidence_are_the_same() -> None:
    """Of a real judgement."""
    match = judged(ANA, ANA | name("Ana Felk") | {"phone": "+40722123465"}).match()
    lines = match.explain().splitlines()[1:-1]
    assert len(lines) == len(match.evidence) > 2
    for line, evidence in zip(lines, match.evidence, strict=True):
        assert line.startswith(evidence.field)
        assert line.endswith(evidence.says)
        assert f"{evidence.weight:+.1f} bits" in line
