"""What a profile is found by, and what a search asks for; pure.

A token is a kind, one character, and a text: a word, an address, the end of a number. It is
stored as a path: a few digits of a keyed hash for each of its beginnings, then a hash of the
whole. So one row serves every beginning: tokens that begin alike lie side by side. A row
costs a page of the index to write, and there are some fourteen to a profile; what only some
searches need, such as errors of typing, the search spells out instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from itertools import combinations
from string import ascii_lowercase
from typing import Final

import attrs

from crmkit.customers import contacts
from crmkit.customers.folding import folded, parts
from crmkit.model import Customer

FIELDS: Final = frozenset(
    "name first_name last_name nickname email email_typed phone phone_typed "
    "instagram user_id external_ids".split()
)
"""The fields of `Customer` that give tokens."""

TYPO_MIN: Final = 4
"""Words shorter than this must be typed right."""

# Kinds of tokens.
_WORD: Final = "w"  # a word of a name, or an e-mail address
_HANDLE: Final = "i"
_NEAR: Final = "~"  # the beginning of a word, for errors in it
_PAIR: Final = "|"  # an initial, and the beginning of another word
_NUMBER: Final = "n"  # the digits of a phone number from some place on
_DOMAIN: Final = "@"
_TAG: Final = "#"
_ID: Final = "="

# The lengths of the beginnings that can be asked for, by kind.
_STEPS: Final = {
    _WORD: (2, 3, 4, 5, 6, 8, 12),
    _NUMBER: (4, 6, 8),
    _HANDLE: (2, 4, 6, 8),
    _DOMAIN: (2, 4, 8),
    _TAG: (2, 4, 8),
}
_STEP_SIZE: Final = 4  # hexadecimal digits: more values than four digits of a number have

_NEAR_SIZE: Final = 5
_PAIR_SIZE: Final = 3
_NUMBER_MIN: Final = 4
_NUMBER_MAX: Final = 10  # a country's prefix tells nobody apart
_WORDS_MAX: Final = 6
_PAIRED_MAX: Final = 4

_PREFIXES: Final = (1, 2, 3)  # digits that stand for a country
_IN_NUMBERS: Final = re.compile(r"(?<=\d)[ ().+/-]+(?=\d)")
_ADDRESS: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


class Hasher:
    """Makes the stored forms of tokens with a key."""

    def __init__(self, key: str) -> None:
        self._base = blake2b(key=key.encode()[:64], digest_size=4)

    def whole(self, token: str) -> str:
        """The form that is stored: 32 bits for the whole, for the profile is asked in the end."""
        state = self._base.copy()
        state.update(token.encode())
        return f"{self.beginning(token)}{state.hexdigest()}"

    def beginning(self, token: str) -> str:
        """What the stored forms of all tokens that begin so begin with.

        Between two steps it is that of the shorter one, and leads to more.
        """
        kind, text = token[0], token[1:]
        state, done, path = self._base.copy(), 0, kind
        state.update(kind.encode())
        for step in _STEPS.get(kind, ()):
            if step > len(text):
                break
            state.update(text[done:step].encode())
            path += state.hexdigest()[:_STEP_SIZE]
            done = step
        return path


# --- what a profile gives ---


def of_profile(customer: Customer) -> frozenset[str]:
    """The tokens of a profile, without those of its tags."""
    return frozenset(_of_profile(customer))


def of_tag(tag: str) -> str:
    """The token of a tag."""
    return _TAG + " ".join(parts(folded(tag)))


def names(customer: Customer) -> list[str]:
    """The words of a person's names, each once."""
    given = (customer.name, customer.first_name, customer.last_name, customer.nickname)
    found = [parts(folded(name)) for name in given if name]
    first = [w for words in found for w in words[:1]]  # a nickname counts, however long the name
    return list(dict.fromkeys((*first, *(w for words in found for w in words))))[:_WORDS_MAX]


def mailbox(customer: Customer) -> str:
    """The folded e-mail address, or an empty text."""
    return folded(customer.email or customer.email_typed or "")


def digits(customer: Customer) -> str:
    """The digits of the phone number, or an empty text."""
    return "".join(c for c in customer.phone or customer.phone_typed or "" if c.isdecimal())


def identifiers(customer: Customer) -> frozenset[str]:
    """The folded ids of other systems."""
    given = [customer.user_id, *customer.external_ids.values()]
    return frozenset(folded(i) for i in given if i)


def _of_profile(customer: Customer) -> Iterator[str]:
    found = names(customer)
    for word in found:
        yield _WORD + word
        if len(word) >= _NEAR_SIZE:
            yield _NEAR + word[:_NEAR_SIZE]
    yield from _pairs(found)
    address = mailbox(customer)
    if address:
        yield _WORD + address
        local, _, domain = address.rpartition("@")
        yield _DOMAIN + domain
        yield from (_WORD + p for p in parts(local)[1:_PAIRED_MAX] if len(p) >= _PAIR_SIZE)
    if customer.instagram:
        yield _HANDLE + customer.instagram
    number = digits(customer)[-_NUMBER_MAX:]
    yield from (_NUMBER + number[i:] for i in range(len(number) - _NUMBER_MIN + 1))
    yield from (_ID + i for i in identifiers(customer))


def _pairs(words: list[str]) -> Iterator[str]:
    """Each initial with the beginning of each other word: rarer than either, in any order."""
    for pair in combinations(words[:_PAIRED_MAX], 2):
        for initial, word in (pair, pair[::-1]):
            if len(word) >= _PAIR_SIZE:
                yield _PAIR + initial[0] + word[:_PAIR_SIZE]


# --- what a search asks for ---


@attrs.frozen
class Query:
    """A text that somebody is looked for by, folded and taken apart.

    `words` come with the longest first, for it leads to the fewest. `numbers` are those
    that are long enough to be a part of a phone number.
    """

    text: str = attrs.field(repr=False)
    typed: str = attrs.field(repr=False)
    terms: tuple[str, ...] = attrs.field(repr=False)
    words: tuple[str, ...] = attrs.field(repr=False)
    numbers: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def of(cls, text: str) -> Query:
        """The text, taken apart."""
        plain = " ".join(folded(text).split())
        terms = tuple(dict.fromkeys(parts(_joined(plain))))[:_WORDS_MAX]
        words = sorted((t for t in terms if not t.isdecimal()), key=len, reverse=True)
        numbers = (t for t in terms if t.isdecimal() and len(t) >= _NUMBER_MIN)
        return cls(plain, text.strip(), terms, tuple(words), tuple(numbers))

    @property
    def is_enough(self) -> bool:
        """Whether there is more than one letter or digit to go by."""
        return sum(map(str.isalnum, self.text)) > 1

    @property
    def email(self) -> str | None:
        """The canonical address, if this is a whole one."""
        found = _ADDRESS.fullmatch(self.typed)
        return contacts.canonical_email(found[0]) if found else None


@attrs.frozen
class Ask:
    """Whom a token leads to: as a whole, or as a beginning."""

    token: str = attrs.field(repr=False)
    whole: bool = False


def readings(query: Query) -> Iterator[tuple[Ask, ...]]:
    """What a text may mean, the likeliest first: whoever is meant fits every part of one.

    The parts come in the order in which they lead to few, so that mostly the first will do.
    """
    yield (Ask(_ID + query.text, whole=True),)
    address = () if " " in query.text else tuple(_addresses(query.text))
    if len(query.terms) > 1 or "@" in query.text:
        yield from address
    pairs = tuple(Ask(p, whole=True) for p in _pairs(list(query.words)))
    if len(query.terms) == 1 and query.words:
        yield (Ask(_WORD + query.words[0], whole=True),)
    words = tuple(Ask(_WORD + w) for w in query.words if len(w) > 1)
    for found in dict.fromkeys(_dialled(query.numbers)):
        numbers = tuple(Ask(_NUMBER + n[-_NUMBER_MAX:]) for n in found)
        if pairs:
            yield (*numbers, *pairs)
        if numbers or words:
            yield (*numbers, *words)
    yield from address
    for word in query.words if len(words) > 1 else ():
        rest = [ask for ask in words if ask.token != _WORD + word]
        yield (Ask(_HANDLE + word), *rest)
        yield (Ask(_DOMAIN + word), *rest)


def _joined(text: str) -> str:
    """The text with each number in one piece: spaces, dots and brackets in it mean nothing."""
    if "+" in text:
        text = text.replace("(0)", "")  # dialled only without the country's prefix
    return _IN_NUMBERS.sub("", text)


def _dialled(numbers: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The numbers as typed, and without what is dialled before those that are stored."""
    yield numbers
    bare = tuple(map(trunk, numbers))
    yield bare
    for prefix in _PREFIXES:
        if all(len(n) >= prefix + _NUMBER_MIN for n in bare):
            yield tuple(n[prefix:] for n in bare)


def trunk(number: str) -> str:
    """A number without the zeros that are dialled before it, if enough is left."""
    bare = number.lstrip("0")
    return bare if len(bare) >= _NUMBER_MIN else number


def _addresses(text: str) -> Iterator[tuple[Ask]]:
    """Whom a text without spaces leads to as an e-mail address, a handle or a domain."""
    if not text.startswith("@"):
        yield (Ask(_WORD + text),)
    yield (Ask(_HANDLE + text.removeprefix("@")),)
    domain = text.rpartition("@")[2]
    if len(domain) > 1:
        yield (Ask(_DOMAIN + domain),)


def misspelt(query: Query) -> Iterator[tuple[str, ...]]:
    """Where words may hold an error: whoever is meant has a token of one of these sets.

    Of several words, an initial of one with the beginning of another; of a single one, its
    beginning, for errors behind that. Then, for the longest words, all beginnings at one
    letter's change, loss or addition, or one swap of neighbours.
    """
    pairs = tuple(_pairs(list(query.words)))
    if pairs:
        yield pairs
    for word in query.words[:2]:
        beginning = word[:_NEAR_SIZE]
        if len(word) > _NEAR_SIZE and not pairs:
            yield (_near(beginning),)
        if len(word) >= TYPO_MIN:
            near = {w[:_NEAR_SIZE] for w in _one_off(word[: _NEAR_SIZE + 1])}
            yield tuple(sorted(_near(w) for w in near - {beginning}))


def _near(word: str) -> str:
    # A word that is shorter has no token of its own for this: the whole one will do.
    return f"{_NEAR if len(word) == _NEAR_SIZE else _WORD}{word}"


def _one_off(word: str) -> Iterator[str]:
    """The words at one letter's change, loss or addition, or one swap of neighbours."""
    for i in range(len(word) + 1):
        head, tail = word[:i], word[i:]
        yield from (head + c + tail for c in ascii_lowercase)
        if tail:
            yield head + tail[1:]
            yield from (head + c + tail[1:] for c in ascii_lowercase)
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
