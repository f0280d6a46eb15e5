"""What two profiles say of each other, field by field; pure.

The outcome is a pattern: one level per field, 0 where either side is silent. How much a
level weighs is the model's to say, see `weights`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date
from math import inf
from typing import Final, TypeAlias

from rapidfuzz.distance import OSA

from crmkit.customers import traits
from crmkit.customers.blocking import skeleton
from crmkit.customers.traits import Name, Traits, Words
from crmkit.identity import names as name_levels
from crmkit.identity.names import Names, spoken

Pattern: TypeAlias = tuple[int, ...]
"""A level for each of `FIELDS`, then for each detail that is compared."""

FIELDS: Final = ("name", "email", "phone", "birth_date", "city", "instagram", "year")
NAME, EMAIL, PHONE, BIRTH, CITY, HANDLE, YEAR = range(len(FIELDS))

# Levels of contacts and other fields.
EQUAL: Final = 1
CLOSE: Final = 2
LOCAL: Final = 3  # the same name at another provider
DIFFERS: Final = 4
CROWDED: Final = 5  # equal, but three or more persons use it

CROWD: Final = 3
"""So many incompatible names on one contact make it an agency's, or a filler."""

BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
"""Where the levels of rarity begin: persons of the same name to expect by chance."""
RARITIES: Final = len(BUCKETS) + 1
_TEN: Final = 10  # a level of a name is ten times its kind, plus its rarity
_ESTABLISHED: Final = 4
_LOCAL_MIN: Final = 6
_DIGITS: Final = re.compile(r"\d+", re.ASCII)
_SAME_PLACE: Final = 4


class Commonness:
    """How many persons bear a word in their name, at least one, of how many."""

    def __init__(self, count: Callable[[str], int], people: int) -> None:
        self.count = count
        self.people = max(people, 1)

    def namesakes(self, words: Iterable[str]) -> float:
        """How many persons are to be expected who bear these words, the two rarest of them."""
        expected: float = self.people
        for count in sorted(map(self.count, words))[:2]:
            expected *= count / self.people
        return expected


class Comparator:
    """Compares profiles; `details` names the further fields that are."""

    def __init__(
        self,
        names: Names,
        commonness: Commonness,
        *,
        fields: Collection[str] | None = None,
        details: Sequence[str] = (),
        crowded: Collection[str] = (),
    ) -> None:
        self.details = tuple(details)
        self.names = names
        self.commonness = commonness
        self.crowded = crowded
        self._off = frozenset(
            n for n, f in enumerate(FIELDS) if fields is not None and f not in fields
        )
        self._rarities: dict[tuple[Name, Name, int], int] = {}
        self._remembered: dict[tuple[int, str, str], int] = {}

    def pattern(
        self, a: Traits, b: Traits, namesakes: float = 0.0, crowded: Collection[str] = ()
    ) -> Pattern:
        """The levels of two profiles.

        `namesakes` is how many others of that name are known of, and `crowded` are contacts
        that many use, instead of those that were known before.
        """
        crowds = crowded or self.crowded
        email = self._contact(EMAIL, a.emails, b.emails, _mailboxes, crowds)
        found = (
            self._name(a.names, b.names, namesakes) if a.names and b.names else 0,
            email,
            self._contact(PHONE, a.phones, b.phones, _numbers, crowds),
            _births(a.births, b.births) if a.births and b.births else 0,
            self._best(CITY, a.cities, b.cities, _places) if a.cities and b.cities else 0,
            self._contact(HANDLE, a.handles, b.handles, _handles, crowds),
            _years(a, b, email) if a.years or b.years else 0,
            *(
                self._best(len(FIELDS), a.details.get(d, ()), b.details.get(d, ()), _texts)
                for d in self.details
            ),
        )
        if self._off:
            return tuple(0 if n in self._off else level for n, level in enumerate(found))
        return found

    # --- names ---

    def _name(self, a: tuple[Name, ...], b: tuple[Name, ...], namesakes: float) -> int:
        best, pair, against = 0, None, 0
        for one in spoken(a):
            for other in spoken(b):
                level = self.names.level(one, other)
                if level in name_levels.CONTRADICT and self.names.contradict(one, other):
                    against = level
                if pair is None or name_levels.better(level, best):
                    best, pair = level, (one, other)
        if pair is None or best == 0:
            return 0
        if best == name_levels.SHORT and against:
            return against * _TEN  # Gabi may be Gabriela, but not if he is Gabriel
        return self._with_rarity(*pair, best, namesakes)

    def _with_rarity(self, a: Name, b: Name, level: int, namesakes: float) -> int:
        if level in (name_levels.SURNAME_DIFFERS, *name_levels.CONTRADICT):
            return level * _TEN
        key = (a, b, level)
        found = self._rarities.get(key)
        if found is None:
            if len(self._rarities) >= 1 << 17:
                self._rarities.clear()
            found = self._rarities[key] = self._rarity(a, b, level)
        if namesakes:
            kind, rarity = divmod(found, _TEN)
            return kind * _TEN + max(rarity, _bucket(namesakes))
        return found

    def _rarity(self, a: Name, b: Name, level: int) -> int:
        if level == name_levels.TYPED and self._both_are_names(a, b):
            level = name_levels.SIMILAR
        one, other = a[0] + a[1], b[0] + b[1]
        if level in (name_levels.GIVEN_ONLY, name_levels.SURNAME_ONLY):
            common = tuple(w for w in one if w in other) or min(one, other, key=len)
            expected = min(map(self.commonness.count, common)) / _TEN
        else:
            # A word that was mistyped is as common as the right one.
            expected = max(map(self.commonness.namesakes, (one, other)))
        return level * _TEN + _bucket(expected)

    def _both_are_names(self, a: Name, b: Name) -> bool:
        """Whether what looks like an error is borne by several: errors are rare, names are not."""
        count, near = self.commonness.count, self.names.near
        mine, theirs = a[0] + a[1], b[0] + b[1]
        return any(
            min(count(x), count(y)) >= _ESTABLISHED and near(x, y)
            for x in mine
            if x not in theirs
            for y in theirs
            if y not in mine
        )

    # --- everything else ---

    def _contact(
        self,
        field: int,
        a: Words,
        b: Words,
        compare: Callable[[str, str], int],
        crowds: Collection[str],
    ) -> int:
        if not a or not b:
            return 0
        same = a if a == b else tuple(v for v in a if v in b)
        if same:
            return CROWDED if all(v in crowds for v in same) else EQUAL
        return self._best(field, a, b, compare)

    def _best(self, field: int, a: Words, b: Words, compare: Callable[[str, str], int]) -> int:
        if not a or not b:
            return 0
        best: float = inf
        for x in a:
            for y in b:
                key = (field, x, y)
                level = self._remembered.get(key)
                if level is None:
                    if len(self._remembered) >= 1 << 17:
                        self._remembered.clear()
                    level = self._remembered[key] = compare(x, y)
                best = min(best, level)
        return int(best)


def _bucket(expected: float) -> int:
    return sum(expected >= limit for limit in BUCKETS)


def _mailboxes(a: str, b: str) -> int:
    local, _, domain = a.partition("@")
    other, _, other_domain = b.partition("@")
    mine, theirs = traits.plain(local), traits.plain(other)
    if mine == theirs and mine and (domain == other_domain or traits.mended(a) == traits.mended(b)):
        return CLOSE  # but for its dots, or a slip in its domain; it may be another mailbox
    shorter = min(len(mine), len(theirs))
    if shorter < _LOCAL_MIN:
        return DIFFERS
    if mine == theirs:
        return LOCAL
    if _DIGITS.findall(mine) != _DIGITS.findall(theirs):
        return DIFFERS  # ana7 and ana8 are two people
    near = domain == other_domain and OSA.distance(mine, theirs, score_cutoff=1) <= 1
    return CLOSE if near else DIFFERS


def _numbers(a: str, b: str) -> int:
    if a[1:] == b[:-1] or b[1:] == a[:-1]:
        return CLOSE  # one digit was lost at an end
    return CLOSE if OSA.distance(a, b, score_cutoff=1) <= 1 else DIFFERS


def _handles(a: str, b: str) -> int:
    return EQUAL if traits.plain(a) == traits.plain(b) else DIFFERS


def _places(a: str, b: str) -> int:
    near = a[:_SAME_PLACE] == b[:_SAME_PLACE] or skeleton(a) == skeleton(b)
    return EQUAL if near or OSA.distance(a, b, score_cutoff=1) <= 1 else DIFFERS


def _texts(a: str, b: str) -> int:
    if a == b:
        return EQUAL
    longest = max(len(a), len(b))
    errors = longest // 5
    return CLOSE if errors and OSA.distance(a, b, score_cutoff=errors) <= errors else DIFFERS


def _births(a: tuple[date, ...], b: tuple[date, ...]) -> int:
    return min(_birth(x, y) for x in _often(a) for y in _often(b))


def _often(births: tuple[date, ...]) -> Collection[date]:
    """The dates that were given most often."""
    if len(births) == 1:
        return births
    counts: dict[date, int] = {}
    for born in births:
        counts[born] = counts.get(born, 0) + 1
    most = max(counts.values())
    return [born for born, k in counts.items() if k == most]


def _birth(a: date, b: date) -> int:
    if a == b:
        return EQUAL
    if a.year == b.year and a.month == b.day and a.day == b.month:
        return CLOSE  # day and month were swapped
    if a.year == b.year and (1, 1) in ((a.month, a.day), (b.month, b.day)):
        return LOCAL  # somebody knew, or gave, the year only
    if a.year == b.year and (a.month == b.month or a.day == b.day):
        return LOCAL  # one part of three was mistyped
    if OSA.distance(a.isoformat(), b.isoformat(), score_cutoff=1) <= 1:
        return LOCAL  # one digit was
    return DIFFERS


def _years(a: Traits, b: Traits, email: int) -> int:
    """The years that addresses end in, with the other side's birth or addresses."""
    mine, theirs = _short(a.births), _short(b.births)
    if (mine and mine & set(b.years)) or (theirs and theirs & set(a.years)):
        return EQUAL
    differs = bool((mine and b.years) or (theirs and a.years))
    if a.years and b.years and email not in (EQUAL, CROWDED):
        if not set(a.years).isdisjoint(b.years):
            return EQUAL
        differs = True
    return DIFFERS if differs else 0


def _short(births: tuple[date, ...]) -> set[str]:
    return {f"{born.year % 100:02}" for born in births}


_PERSONAL: Final = (EMAIL, PHONE, BIRTH, HANDLE)


def is_personal(pattern: Pattern) -> bool:
    """Whether anything that is a person's own agrees: a contact or a birth date."""
    return any(pattern[f] in (EQUAL, CLOSE, LOCAL) for f in _PERSONAL)


def contradiction(pattern: Pattern, a: Traits, b: Traits) -> str | None:
    """The field that forbids two profiles to be taken for one without asking, or None."""
    if pattern[BIRTH] == DIFFERS:
        return "birth_date"
    if pattern[NAME] // _TEN in name_levels.CONTRADICT:
        return "name"
    sexes = a.details.get("gender", ()), b.details.get("gender", ())
    named = pattern[NAME] // _TEN == name_levels.EQUAL
    if all(sexes) and not named and set(sexes[0]).isdisjoint(sexes[1]):
        return "gender"
    if a.accounts and b.accounts and set(a.accounts).isdisjoint(b.accounts):
        return "user_id"
    return None


def kind_of_name(level: int) -> int:
    """The kind of a name's level, without its rarity."""
    return level // _TEN


def levels_of_names() -> list[int]:
    """All levels of names, each kind with each rarity that it comes in."""
    return [
        kind * _TEN + rarity
        for kind in range(1, name_levels.SIMILAR + 1)
        for rarity in range(
            1 if kind in (name_levels.SURNAME_DIFFERS, *name_levels.CONTRADICT) else RARITIES
        )
    ]
