"""Short forms of given names: who may be meant by one, and who may not."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations

import pytest

from crmkit.identity.nicknames import extended, parsed, related, shipped

TEXT = files("crmkit.identity").joinpath("nicknames.txt").read_text(encoding="utf-8")
SECTION = re.compile(r"\[([a-z]{2})\]")
FAMILY = re.compile(r"[a-z]+( [a-z]+)*(:( [a-z]+)+)?")
SMALL = "[aa]\nalexander aleksander: alex sandy\nalexandra: alex\n  sandy\n\n[bb]\nalex: lex\n"

# Formal names that one person may bear in turn, as short for a third.
MEETING = {
    "hans jan",  # Johannes
    "hans johann",
    "jan johann",
    "heinz karl",  # Karlheinz
    "ionel ionut",  # Ion
    "sandra sasa",  # Aleksandra
}


def lines() -> list[tuple[str, list[str], list[str]]]:
    """The families of the shipped file: language, formal forms, short forms."""
    found, language = [], ""
    for line in TEXT.replace("\n  ", " ").splitlines():
        if section := SECTION.fullmatch(line):
            language = section[1]
        elif line and not line.startswith("#"):
            assert FAMILY.fullmatch(line), line
            formal, _, short = line.partition(":")
            found.append((language, formal.split(), short.split()))
    return found


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param("william bill, margaret peggy, catherine kathryn, stephen steven", id="en"),
        pytest.param("giuseppe beppe, francesco checco, luigi gigi, salvatore turi", id="it"),
        pytest.param("ion nelu, gheorghe gigi, mihai misu, ecaterina catrinel", id="ro"),
        pytest.param("nikola nidza, aleksandar aca, djordje dorde, milica mica", id="Serbian"),
        pytest.param("josip joza, stjepan stipe, ivan ivica, ante toni", id="Croatian"),
        pytest.param("mustafa mujo, muhamed mujo, hasan haso, ibrahim ibro", id="Bosnian"),
        pytest.param("francisco paco, jose pepe, ignacio nacho, dolores lola", id="es"),
        pytest.param("josef sepp, georg schorsch, jurgen juergen, elisabeth sissi", id="de"),
        pytest.param("pierre pierrot, elisabeth babette, francois fanfan", id="fr"),
        pytest.param("malgorzata gosia, jakub kuba, zbigniew zbyszek", id="pl"),
        pytest.param("dmitry dima, evgenii zhenya, aleksandr sasha", id="ru"),
        pytest.param("georgios yorgos, dimitrios mitsos, evangelos eyaggelos", id="el"),
    ],
)
def test_a_short_form_is_related_to_its_formal_one_whichever_is_named_first(pairs: str) -> None:
    """Of every language some well-known pairs are there, in both orders."""
    for one, other in (pair.split() for pair in pairs.split(", ")):
        assert related(one, other), (one, other)
        assert related(other, one), (other, one)


def test_two_short_forms_of_one_name_are_related() -> None:
    """Who is Bill to one and Willy to another is William to both."""
    assert related("bill", "willy")
    assert related("beppe", "pino")


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("alexander", "alexandra", "alex"),
        ("alessandro", "alessandra", "ale"),
        ("aleksandar", "aleksandra", "sasa"),
        ("daniele", "daniela", "dani"),
        ("michele", "michela", "michi"),
        ("gabriele", "gabriella", "gabri"),
        ("simone", "simona", "simo"),
        ("federico", "federica", "fede"),
        ("francesco", "francesca", "fra"),
        ("marius", "maria", "mari"),
        ("jovan", "jovana", "jova"),
        ("nikola", "nikolina", "niko nikica niki"),
        ("andrei", "andreea", "andy"),
        ("patrick", "patricia", "pat"),
        ("samuel", "samantha", "sam"),
        ("milan", "milos", "mile"),
    ],
)
def test_formal_names_that_share_a_short_form_are_not_related(
    one: str, other: str, shared: str
) -> None:
    """A shared short form may mean either bearer, and makes them no one person."""
    assert any(related(one, short) and related(other, short) for short in shared.split())
    assert not related(one, other)


@pytest.mark.parametrize(
    ("man", "woman"),
    [("mario", "maria"), ("paolo", "paola"), ("ivan", "ivana"), ("daniel", "daniela")],
)
def test_a_man_and_a_woman_of_one_root_are_not_related(man: str, woman: str) -> None:
    """One letter parts two persons."""
    assert not related(man, woman)


def test_a_name_is_not_related_to_itself() -> None:
    """Equality is another level of likeness, and is not told here."""
    assert not related("william", "william")
    assert not related("alex", "alex")


def test_names_that_nobody_listed_are_not_related() -> None:
    """Unknown names, and no name at all, have no families."""
    assert not related("qwerty", "william")
    assert not related("qwerty", "asdf")
    assert not related("", "william")


def test_spellings_are_related_and_continued_lines_belong_to_their_family() -> None:
    """Every form of a line, and of the indented line below it, is in the family of its first."""
    assert parsed(SMALL) == {
        "alexander": {"aa:alexander"},
        "aleksander": {"aa:alexander"},
        "alex": {"aa:alexander", "aa:alexandra", "bb:alex"},
        "sandy": {"aa:alexander", "aa:alexandra"},
        "alexandra": {"aa:alexandra"},
        "lex": {"bb:alex"},
    }


def test_a_host_adds_its_own_short_forms() -> None:
    """They are related to their formal name, and to its shipped short forms."""
    own = extended({"svetlana": ["lanche"], "zzyzx": iter(["zyz", "zed"])})

    assert related("svetlana", "lanche", own)
    assert related("lanche", "ceca", own)
    assert related("zzyzx", "zyz", own)
    assert related("zyz", "zed", own)
    assert related("bill", "william", own)


def test_a_host_s_short_forms_join_no_family_in_which_the_name_is_itself_short() -> None:
    """Jack is short for John, yet what a host calls its Jacks is nothing to its Johns."""
    own = extended({"jack": ["jackster"]})

    assert related("jack", "john", own)
    assert related("jack", "jackster", own)
    assert not related("john", "jackster", own)


def test_a_host_s_short_forms_leave_the_shipped_table_as_it_was() -> None:
    """One host's names are unknown to the next."""
    before = dict(shipped())

    extended({"svetlana": ["lanche"], "zzyzx": ["zyz"], "mario": ["bill"]})

    assert dict(shipped()) == before
    assert not related("svetlana", "lanche")


def test_every_form_is_folded() -> None:
    """Names are looked up as folded text: in plain small letters, two at least."""
    assert [form for form in shipped() if not re.fullmatch("[a-z]{2,}", form)] == []


def test_no_line_repeats_a_word() -> None:
    """Neither among its short forms, nor between them and the formal ones."""
    for _, formal, short in lines():
        forms = [*formal, *short]
        assert sorted(forms) == sorted(set(forms))
        assert len(forms) > 1


def test_a_formal_form_has_one_line_in_its_language() -> None:
    """So the name of a family is unique, and a host's addition finds it."""
    formal = [(language, form) for language, forms, _ in lines() for form in forms]

    assert sorted(formal) == sorted(set(formal))


def test_every_line_of_the_file_is_read() -> None:
    """Each form of each line is in the family named by the line, and nothing else is."""
    expected: dict[str, set[str]] = {}
    for language, formal, short in lines():
        for form in (*formal, *short):
            expected.setdefault(form, set()).add(f"{language}:{formal[0]}")

    assert dict(shipped()) == expected
    assert {language for language, _, _ in lines()} == set("en it ro sr es de fr pl ru el".split())
    assert max(map(len, TEXT.splitlines())) <= 100


def test_short_forms_that_are_names_of_their_own_meet_in_few_families() -> None:
    """Two formal names become related where both are short for a third: only where they are."""
    listed = lines()
    home = {(language, form): forms[0] for language, forms, _ in listed for form in forms}
    met = {
        f"{a} {b}"
        for language, _, short in listed
        for a, b in combinations(sorted(s for s in short if (language, s) in home), 2)
        if home[language, a] != home[language, b]
    }

    assert met <= MEETING
