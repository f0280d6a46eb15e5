"""What a profile is found by, and what a search asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.customers import tokens
from crmkit.customers.tokens import Hasher, Query
from crmkit.model import Customer

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_HASHER = Hasher("key")
_WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=tokens.TYPO_MIN, max_size=12)


def customer(**fields: Any) -> Customer:
    return Customer(tenant="t", id="1", created_at=_NOW, updated_at=_NOW, **fields)


def stored(**fields: Any) -> set[str]:
    """The stored forms of a profile's tokens."""
    return {_HASHER.whole(t) for t in tokens.of_profile(customer(**fields))}


def asked_for(text: str, **fields: Any) -> bool:
    """Whether a reading of the text leads to such a profile."""
    rows = stored(**fields)
    return any(
        all(
            _HASHER.whole(a.token) in rows
            if a.whole
            else any(r.startswith(_HASHER.beginning(a.token)) for r in rows)
            for a in reading
        )
        for reading in tokens.readings(Query.of(text))
    )


def nearly(text: str, **fields: Any) -> bool:
    """Whether a search for errors of typing leads to such a profile."""
    rows = stored(**fields)
    sets = tokens.misspelt(Query.of(text))
    return any(rows & {_HASHER.whole(t) for t in some} for some in sets)


ION = {
    "name": "Ion Popescu",
    "email": "dj.ion84@venue.ro",
    "phone": "+40722123456",
    "instagram": "ion_pop",
    "user_id": "U-17",
}


@pytest.mark.parametrize(
    "text",
    [
        "popescu", "POPES", "po", "ion pop", "pop ion", "i popescu", "popescu i", "Поп",
        "dj.ion", "dj.ion84@venue.ro", "@venue", "venue.ro", "@ion_p", "ion_pop",
        "3456", "0722 123 456", "+40 (722) 123-456", "2212", "ion 3456", "u-17",
    ],
)  # fmt: skip
def test_every_kind_of_fragment_leads_to_the_profile(text: str) -> None:
    assert asked_for(text, **ION)


@pytest.mark.parametrize("text", ["opescu", "ana pop", "popa", "9999", "vexu.ro", "u-1"])
def test_what_is_not_in_the_profile_does_not_lead_there(text: str) -> None:
    assert not asked_for(text, **ION)


@given(_WORDS.flatmap(lambda w: st.tuples(st.just(w), st.text(max_size=3).map(lambda t: w + t))))
def test_every_beginning_of_a_name_leads_to_it(case: tuple[str, str]) -> None:
    """However long, and whatever follows it."""
    beginning, name = case
    assert asked_for(beginning, name=name)


@given(_WORDS, st.data())
def test_one_error_anywhere_in_a_name_leads_to_it(name: str, data: st.DataObject) -> None:
    """A letter lost, added or changed, or two swapped; but for the name that it already is."""
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from("aeknz"))
    typed = data.draw(
        st.sampled_from(
            [
                name[:at] + name[at + 1 :],
                name[:at] + letter + name[at:],
                name[:at] + letter + name[at + 1 :],
                name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :],
            ]
        )
    )
    if len(typed) >= tokens.TYPO_MIN and not (len(typed) == tokens.TYPO_MIN < len(name)):
        assert nearly(typed, name=name) or asked_for(typed[:5], name=name)


def test_an_error_in_one_of_two_words_leads_to_the_person() -> None:
    assert nearly("popsecu ion", **ION)
    assert nearly("ion oppescu", **ION)
    assert nearly("ioan popescu", **ION)


def test_no_stored_form_holds_the_text() -> None:
    """Only a hash is stored, under a key."""
    assert not any("pop" in row or "722" in row for row in stored(name="Pop", phone="+40722"))
    assert not {Hasher("other").whole(t) for t in tokens.of_profile(customer(**ION))} & stored(
        **ION
    )


def test_a_profile_gives_few_tokens() -> None:
    """Each is a row to write when a customer is created."""
    assert len(stored(**ION)) <= 20
    assert len(stored(name=" ".join(f"word{c}" for c in "abcdefghijkl" * 10))) <= 25


def test_one_letter_is_not_enough() -> None:
    assert not any(Query.of(text).is_enough for text in ("", " ", "a", "@a", "+4", "- ."))
    assert Query.of("ab").is_enough


def test_a_query_does_not_show_itself() -> None:
    assert "popescu" not in repr(Query.of("popescu")) + repr(
        list(tokens.readings(Query.of("popescu")))
    )
