"""How well a profile fits a search; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from crmkit.customers import tokens
from crmkit.customers.folding import parts
from crmkit.customers.tokens import Query
from crmkit.model import Customer


@attrs.frozen
class Fit:
    """How well one field fits: 1.0 is equal. `field` says which it was."""

    score: float
    field: str


@attrs.frozen
class _Profile:
    """A profile as it is searched; `email`, `phone` and `handle` may be empty."""

    names: list[str]
    email: str
    phone: str
    handle: str
    ids: frozenset[str]
    tags: frozenset[str]

    def value(self, field: str) -> str:
        """The text that a search by this field is compared with."""
        texts = {"name": " ".join(self.names), "email": self.email, "phone": self.phone}
        return texts.get(field, self.handle)


def fit(query: Query, customer: Customer, tags: Iterable[str] = ()) -> Fit | None:
    """How well a customer fits a search; None for one who does not.

    Every term must fit some field; the field that most letters fit is the one that is
    named. A whole id or tag fits too.
    """
    profile = _Profile(
        tokens.names(customer),
        tokens.mailbox(customer),
        tokens.digits(customer),
        customer.instagram or "",
        tokens.identifiers(customer),
        frozenset(tokens.of_tag(t) for t in tags),
    )
    if query.text in profile.ids:
        return Fit(1.0, "id")
    best = max(_fits(query, profile), key=lambda f: f.score, default=None)
    return best and Fit(round(best.score, 4), best.field)


def _fits(query: Query, profile: _Profile) -> Iterator[Fit]:
    tag = tokens.of_tag(query.text)
    yield from (Fit(0.8 * _begun(tag, t), "tag") for t in profile.tags if t.startswith(tag))
    if " " not in query.text and (len(query.terms) > 1 or "@" in query.text):
        whole = list(_addresses(query.text, profile))
        yield from whole
        if whole or "@" in query.text:
            return
    best = [_term(t, profile) for t in query.terms]
    if not best or not all(best):
        return
    letters = sum(map(len, query.terms))
    by_field: dict[str, int] = {}
    score = 0.0
    for term, found in zip(query.terms, best, strict=True):
        if found:
            score += found.score * len(term) / letters
            by_field[found.field] = by_field.get(found.field, 0) + len(term)
    field = max(sorted(by_field), key=lambda f: by_field[f])
    like = fuzz.token_sort_ratio(" ".join(query.terms), profile.value(field)) / 100
    yield Fit(0.9 * score + 0.1 * like, field)


def _addresses(text: str, profile: _Profile) -> Iterator[Fit]:
    """Fits of the beginning of an e-mail address, of a handle and of a domain."""
    if profile.email.startswith(text):
        yield Fit(_begun(text, profile.email), "email")
    name, domain = text.removeprefix("@"), profile.email.rpartition("@")[2]
    if name and profile.handle.startswith(name):
        yield Fit(_begun(name, profile.handle), "instagram")
    if name and domain.startswith(name):
        yield Fit(0.8 * _begun(name, domain), "email")


def _term(term: str, profile: _Profile) -> Fit | None:
    fits = _number(term, profile) if term.isdecimal() else _word(term, profile)
    found = max(fits, key=lambda f: f.score, default=None)
    return found if found and found.score else None


def _number(number: str, profile: _Profile) -> Iterator[Fit]:
    for dialled in {number, tokens.trunk(number)}:
        if profile.phone.endswith(dialled):
            yield Fit(_begun(dialled, profile.phone), "phone")
        elif len(dialled) > 3 and dialled in profile.phone:
            yield Fit(0.75, "phone")
    if number in parts(profile.email):
        yield Fit(0.7, "email")
    if number in parts(profile.handle):
        yield Fit(0.7, "instagram")
    if number in profile.names:
        yield Fit(1.0, "name")


def _word(word: str, profile: _Profile) -> Iterator[Fit]:
    yield from (Fit(_alike(word, name), "name") for name in profile.names)
    local, _, domain = profile.email.rpartition("@")
    for field, text in (("email", local), ("instagram", profile.handle)):
        yield from (Fit(0.9 * _alike(word, w), field) for w in (text, *parts(text)) if w)
    if domain.startswith(word):
        yield Fit(0.8 * _begun(word, domain), "email")


def _alike(typed: str, word: str) -> float:
    """How well a typed word fits one of a profile: equal, begun, or with one error in it."""
    if typed == word:
        return 1.0
    if word.startswith(typed):
        return _begun(typed, word)
    if len(typed) < tokens.TYPO_MIN:
        return 0.0
    if OSA.distance(typed, word, score_cutoff=1) <= 1:
        return 0.7
    # An error in the beginning of a longer word may leave it one letter short or long.
    ends = range(len(typed) - 1, min(len(typed) + 1, len(word) - 1) + 1)
    begun = any(OSA.distance(typed, word[:n], score_cutoff=1) <= 1 for n in ends)
    return 0.5 + 0.15 * len(typed) / len(word) if begun else 0.0


def _begun(beginning: str, text: str) -> float:
    return 0.75 + 0.25 * len(beginning) / len(text)
