"""What people are made from: the pools that the sample fills."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

COUNTRY_CODES = {"IT": "39", "RO": "40", "GB": "44", "RS": "381"}
# Children's birth dates are given where nobody asks.
CHILDS_BIRTH_DATE = 0.45


class Row(NamedTuple):
    """A customer record, as in the sample."""

    record_id: str
    created_at: str
    source: str
    venue_country: str
    first_name: str
    last_name: str
    email: str
    phone: str
    birth_date: str
    city: str
    instagram: str


class Weighted(Generic[T]):
    """Values to draw from, some more often than others."""

    def __init__(self, weights: Mapping[T, float]) -> None:
        self.values = list(weights)
        self._sums = list(accumulate(weights.values()))

    def draw(self, rng: Random) -> T:
        """One of the values."""
        return self.values[bisect(self._sums, rng.random() * self._sums[-1])]


@lru_cache(maxsize=200_000)
def plain(text: str) -> str:
    """The text without its accents."""
    text = text.replace("đ", "dj").replace("Đ", "Dj")
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


@lru_cache(maxsize=200_000)
def letters(text: str) -> str:
    """What an e-mail address keeps of a name."""
    return re.sub("[^a-z]", "", plain(text).lower())


class City(NamedTuple):
    """A city as its own people spell it, and the other ways."""

    name: str
    others: Sequence[str]


class Agency(NamedTuple):
    """A desk whose contacts stand on the records of its guests."""

    email: str
    phone: str


class NumberRange(NamedTuple):
    """How national numbers begin, and how long they are."""

    start: str
    length: int

    def digits(self, rng: Random) -> str:
        """A national number."""
        return self.start + "".join(rng.choices("0123456789", k=self.length - len(self.start)))


class Filled(NamedTuple):
    """Which fields of a record are filled in."""

    email: bool
    phone: bool
    birth_date: bool
    city: bool


@dataclass(frozen=True, slots=True)
class Country:
    """Where a person's name and contacts come from."""

    given: Weighted[str]
    nicknames: Mapping[str, Weighted[str]]
    surnames: Weighted[str]
    cities: Weighted[City]
    domains: Weighted[str]
    mobiles: Weighted[NumberRange]
    landlines: Weighted[NumberRange]


@dataclass(frozen=True, slots=True)
class Source:
    """Which fields a source of records fills in."""

    handle: float
    no_first_name: float
    no_last_name: float
    birth_date_asked: float  # of those that are filled in, children's apart
    filled: Mapping[bool, Weighted[Filled]]  # with the handle, and without


@dataclass(frozen=True, slots=True)
class Pools:
    """All that is taken from the sample."""

    homes: Weighted[str]
    countries: Mapping[str, Country]
    channels: Weighted[str]
    sources: Mapping[str, Source]
    has_handle: float
    words: Sequence[str]
    slips: Mapping[str, Weighted[str]]
    agencies: Mapping[str, Sequence[Agency]]
    no_emails: Sequence[str]
    no_phones: Sequence[str]
