"""Match tokens: what two records of one person are likely to have in common; pure.

To compare a new record with a million customers is to compare it with the few who share a
token with it (blocking; Newcombe et al. 1959, Fellegi and Sunter 1969). A token is a family,
one letter, and a text; it is stored as a keyed hash, and so works as well where personal
data are encrypted. Each family joins two things at least, or is a contact: the frequencies
of bare surnames would give the surnames away.

A token that many share tells little. A family has a limit above which a token of it is
passed over, and rarer companions, such as name and city, that then lead on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from crmkit.customers import traits
from crmkit.customers.traits import Name, Traits
from crmkit.model import Customer, MatchToken
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

# Families, those of contacts first; the letters are stored, and sort.
MAILBOX: Final = "a"
PHONE: Final = "b"
HANDLE: Final = "c"
LOCAL: Final = "d"
NAME: Final = "e"
NAME_CITY: Final = "f"
NAME_YEAR: Final = "g"
BIRTH: Final = "h"
NAME_NUMBER: Final = "i"
INITIAL: Final = "j"
DETAIL: Final = "k"
NAME_AREA: Final = "l"
WORD_YEAR: Final = "m"

CONTACTS: Final = MAILBOX + PHONE + HANDLE
"""The families whose tokens are contacts."""

LIMIT: Final = 60
"""How many may share a token for it to lead anywhere."""
LIMITS: Final = dict.fromkeys("abcdefghijklm", LIMIT) | {INITIAL: 12, DETAIL: 30, WORD_YEAR: 8}
"""The same by family: weak evidence is worth few comparisons."""

TOKENS_MAX: Final = 40
_LOCAL_MIN: Final = 6
_DETAIL_MIN: Final = 4
_DETAILS_MAX: Final = 6


def of_traits(known: Traits) -> frozenset[str]:
    """The tokens of a record, or of all that is known of a person."""
    return frozenset(list(dict.fromkeys(_of_traits(known)))[:TOKENS_MAX])


def _of_traits(known: Traits) -> Iterator[str]:
    yield from (MAILBOX + traits.mended(v) for v in known.emails)
    yield from (PHONE + v for v in known.phones)
    yield from (HANDLE + v for v in known.handles)
    for address in known.emails:
        local = traits.plain(address.partition("@")[0])
        if len(local) >= _LOCAL_MIN:
            yield LOCAL + local
    for name in known.names:
        yield from _of_name(name, known)


def _of_name(name: Name, known: Traits) -> Iterator[str]:
    words = sorted({w for w in (*name[0], *name[1]) if len(w) > 1})
    if len(words) > 1:
        bones = " ".join(sorted(map(skeleton, words)))
        yield NAME + bones
        yield from (f"{NAME_CITY}{bones}|{city[:4]}" for city in known.cities)
        yield from (f"{NAME_YEAR}{bones}|{born.year}" for born in known.births)
    yield from _initials(name)
    for word in words:
        for born in known.births:
            # Day and month in either order, for they are often swapped.
            low, high = sorted((born.day, born.month))
            yield f"{BIRTH}{born.year}-{low}-{high}|{word[:2]}"
            yield f"{WORD_YEAR}{skeleton(word)}|{born.year}"
        # The end of a number, and its beginning: one of them holds no error, if there is one.
        yield from (f"{NAME_NUMBER}{word[:3]}|{number[-4:]}" for number in known.phones)
        yield from (f"{NAME_AREA}{word[:3]}|{number[:5]}" for number in known.phones)
    for key, value in _telling(known):
        yield from (f"{DETAIL}{key}={value}|{word[:2]}" for word in words)


def _telling(known: Traits) -> list[tuple[str, str]]:
    """The details that may part people; the host's own fields come first."""
    found = [
        (key, value)
        for key, values in known.details.items()
        for value in values
        if len(value) >= _DETAIL_MIN
    ]
    return sorted(found, key=lambda f: "." not in f[0])[:_DETAILS_MAX]


def _initials(name: Name) -> Iterator[str]:
    """An initial with the other word: ``M. Pop`` may be Maria Pop."""
    first, last = name
    if first and last:
        pairs = [(first[0], last[-1])]
    else:
        one = first or last
        pairs = [(one[0], one[-1]), (one[-1], one[0])] if len(one) > 1 else []
    yield from (f"{INITIAL}{a[0]}|{skeleton(b)}" for a, b in pairs if len(b) > 1)


@lru_cache(1 << 16)
def skeleton(word: str) -> str:
    """A word by its first letter and its consonants, which survive most slips of typing."""
    bones = word[:1]
    for letter in word[1:]:
        if letter not in "aeiouyhw" and letter != bones[-1]:
            bones += letter
    return bones


# --- stored ---


class Hasher:
    """Makes the stored forms of tokens with a key."""

    def __init__(self, key: str) -> None:
        self._base = blake2b(key=key.encode()[:64], digest_size=6)

    def __call__(self, token: str) -> str:
        """The family in clear, and 48 bits: profiles are compared in the end."""
        state = self._base.copy()
        state.update(token.encode())
        return token[0] + state.hexdigest()


def hashes(runtime: Runtime, tokens: Iterable[str]) -> set[str]:
    """The stored forms of tokens."""
    # The key of all tokens is a keyed hash itself: the host's key is asked once, not often.
    return set(map(Hasher(runtime.index("match", "tokens")), tokens))


def sought(runtime: Runtime, tokens: Iterable[str]) -> set[str]:
    """All forms in which tokens may be stored."""
    every = tuple(tokens)
    keys = runtime.indexes("match", "tokens")
    return {hashed for key in keys for hashed in map(Hasher(key), every)}


def names(runtime: Runtime, tokens: Iterable[str]) -> set[str]:
    """What tokens are locked by: the same whichever keys are current."""
    return set(map(Hasher(runtime.fingerprint("match", "tokens")), tokens))


def index(uow: UnitOfWork, runtime: Runtime, customer: Customer) -> None:
    """Store the tokens of a customer who is new."""
    _store(uow, runtime, customer.id, hashes(runtime, _tokens(customer)))


def reindex(uow: UnitOfWork, runtime: Runtime, before: Customer, after: Customer) -> None:
    """Store what a change of a profile does to its tokens."""
    if runtime.is_rotating:
        repair(uow, runtime, after)
        return
    old, new = (hashes(runtime, _tokens(c)) for c in (before, after))
    if old != new:
        # What is to be added goes too: an older version may have left it there.
        uow.remove(MatchToken, customer_id=after.id, fingerprint=tuple(sorted(old ^ new)))
        _store(uow, runtime, after.id, new - old)


def repair(uow: UnitOfWork, runtime: Runtime, customer: Customer) -> bool:
    """Make the stored tokens of a customer what they should be; tells whether they were not."""
    wanted = hashes(runtime, _tokens(customer))
    if wanted == {t.fingerprint for t in uow.find(MatchToken, customer_id=customer.id)}:
        return False
    uow.remove(MatchToken, customer_id=customer.id)
    _store(uow, runtime, customer.id, wanted)
    return True


def _tokens(customer: Customer) -> frozenset[str]:
    return of_traits(traits.of_customer(customer))


def _store(uow: UnitOfWork, runtime: Runtime, customer_id: str, found: Iterable[str]) -> None:
    uow.add_many(
        [
            MatchToken(tenant=runtime.tenant, fingerprint=h, customer_id=customer_id)
            for h in sorted(found)
        ]
    )
