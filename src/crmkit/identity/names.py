"""Whether two names may be one person's; pure.

A name is compared as one whole, aligned both ways round, for guests type their surname
first as often as forms ask for it. What is said of a pair of names is one level: the words
of given names and of surnames are not independent evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rapidfuzz.distance import OSA

from crmkit.customers.blocking import skeleton
from crmkit.customers.traits import Name, Words

# Levels of two names, 0 where either has none.
EQUAL: Final = 1
TYPED: Final = 2  # an error of typing in one of them
SHORT: Final = 3  # a nickname or an initial
GIVEN_ONLY: Final = 4  # one has no surname; the given names fit
SURNAME_ONLY: Final = 5
SURNAME_DIFFERS: Final = 6
GIVEN_DIFFERS: Final = 7  # as between relatives
DIFFERENT: Final = 8
SIMILAR: Final = 9  # as if by an error of typing, but both spellings are names

CONTRADICT: Final = frozenset({GIVEN_DIFFERS, DIFFERENT})
"""Levels at which two names cannot be one person's, unless a nickname is not known."""

_BEST_FIRST: Final = (
    EQUAL, TYPED, SHORT, GIVEN_ONLY, SURNAME_ONLY, SURNAME_DIFFERS, GIVEN_DIFFERS, DIFFERENT,
)  # fmt: skip
_RANK: Final = {level: n for n, level in enumerate(_BEST_FIRST)} | {SIMILAR: 1, 0: len(_BEST_FIRST)}

# How two words relate, the better the greater.
_SAME, _NEAR, _RELATED, _INITIAL, _OTHER = 4, 3, 2, 1, 0

_NEAR_MIN: Final = 4  # letters that a word needs for one error in it
_NEAR_TWICE: Final = 8
_TWICE_MIN: Final = 6
_BONES_MIN: Final = 4
_PREFIX_MIN: Final = 4
_MEMORY: Final = 1 << 18

Related = Callable[[str, str], bool]
"""Whether one word is a short form of the other, or both are of a third."""


def _nobodys(_: str) -> bool:
    return False


class Names:
    """Compares names, and remembers what it compared: the same few come again and again.

    `is_given` tells of a word that it is a given name: then only `related` makes two one.
    """

    def __init__(self, related: Related, is_given: Callable[[str], bool] = _nobodys) -> None:
        self._related = related
        self._is_given = is_given
        self._words: dict[tuple[str, str], int] = {}
        self._names: dict[tuple[Name, Name], int] = {}

    def level(self, a: Name, b: Name) -> int:
        """The best level over all ways in which the two can be aligned."""
        key = (a, b)
        found = self._names.get(key)
        if found is None:
            if len(self._names) >= _MEMORY:
                self._names.clear()
            found = self._names[key] = self._level(a, b)
        return found

    def near(self, a: str, b: str) -> bool:
        """Whether two words differ as if by an error of typing."""
        return self._word(a, b) == _NEAR

    def given_differ(self, a: str, b: str) -> bool:
        """Whether two given names have nothing to do with each other."""
        return self._word(a, b) == _OTHER

    def contradict(self, a: Name, b: Name) -> bool:
        """Whether two names that are known as names are two persons', not slips of one."""
        known = all(any(map(self._is_given, (*n[0], *n[1]))) for n in (a, b))
        return known and self.level(a, b) in CONTRADICT

    def same_surname(self, a: Words, b: Words) -> bool:
        """Whether two surnames are one, but for errors of typing."""
        return (self._side(a, b) or 0) >= _NEAR

    def _level(self, a: Name, b: Name) -> int:
        best = 0
        usual = True  # the first reading of each, given name before surname
        for first, last, single in _readings(a):
            for other_first, other_last, other_single in _readings(b):
                straight = self._aligned(first, other_first, last, other_last)
                # Whose surname stands first is not known: either reading, so that it does not
                # matter which of the two is asked about first.
                crossed = _better(
                    self._aligned(first, other_last, last, other_first),
                    self._aligned(last, other_first, first, other_last),
                )
                if single != other_single and straight == SURNAME_DIFFERS:
                    # Or these were two given names: Ana Maria, and Ana Pop.
                    best = _better(best, GIVEN_ONLY)
                best = _better(best, straight if usual else _unsure(straight))
                best = _better(best, _unsure(crossed))
                usual = False
        if best in (EQUAL, TYPED, SHORT) and self._both_left_over(a[0] + a[1], b[0] + b[1]):
            return GIVEN_DIFFERS  # Maria Ana Pop is not Maria Elena Pop
        return best

    def _aligned(self, first: Words, other_first: Words, last: Words, other_last: Words) -> int:
        given, surname = self._side(first, other_first), self._side(last, other_last)
        if given is None and surname is None:
            return 0
        if surname is None:
            return GIVEN_ONLY if given else DIFFERENT
        if given is None:
            return SURNAME_ONLY if surname >= _NEAR else DIFFERENT
        if surname >= _NEAR and given >= _NEAR:
            return EQUAL if surname == given == _SAME else TYPED
        if (surname >= _NEAR and given >= _INITIAL) or (given >= _NEAR and surname == _INITIAL):
            return SHORT
        if given >= _NEAR:
            return SURNAME_DIFFERS
        return GIVEN_DIFFERS if surname >= _NEAR else DIFFERENT

    def _side(self, a: Words, b: Words) -> int | None:
        """The best relation of words on one side; a second name may be left out."""
        if not a or not b:
            return None
        best = max(self._word(x, y) for x in a for y in b)
        if best > _OTHER and len(a) > 1 and len(b) > 1 and self._both_left_over(a, b):
            return _OTHER  # but a second name may be left out
        if best < _SAME and len(a) + len(b) > 2:
            return max(best, self._word("".join(a), "".join(b)))
        return best

    def _both_left_over(self, a: Words, b: Words) -> bool:
        """Whether each side has words that nothing on the other fits, apart or in one."""
        mine, theirs = (
            "".join(x for x in here if all(self._word(x, y) == _OTHER for y in there))
            for here, there in ((a, b), (b, a))
        )
        return bool(mine and theirs) and self._word(mine, theirs) < _NEAR

    def _word(self, a: str, b: str) -> int:
        if a == b:
            return _SAME
        key = (a, b) if a < b else (b, a)
        found = self._words.get(key)
        if found is None:
            if len(self._words) >= _MEMORY:
                self._words.clear()
            found = self._words[key] = self._compared(*key)
        return found

    def _compared(self, a: str, b: str) -> int:
        if a.isdecimal() or b.isdecimal():
            return _OTHER  # Guest 7 is not Guest 70
        shorter = min(len(a), len(b))
        if shorter == 1:
            return _INITIAL if a[0] == b[0] else _OTHER
        if self._is_given(a) and self._is_given(b):
            # Ana and Anna are spellings of one name; Carlo is no slip for Carla.
            if _sound(a) == _sound(b):
                return _NEAR
            return _RELATED if self._related(a, b) else _OTHER
        if shorter >= _NEAR_MIN:
            errors = 2 if shorter >= _NEAR_TWICE else 1
            if OSA.distance(a, b, score_cutoff=errors) <= errors:
                return _NEAR
            if shorter >= _BONES_MIN and skeleton(a) == skeleton(b):
                return _NEAR
        if self._related(a, b):
            return _RELATED
        if shorter >= _TWICE_MIN and OSA.distance(a, b, score_cutoff=2) <= 2:
            return _RELATED  # two errors at once happen too, and are no contradiction
        return _RELATED if shorter >= _PREFIX_MIN and (a.startswith(b) or b.startswith(a)) else 0


def better(level: int, than: int) -> bool:
    """Whether one level says more for one person than another does."""
    return _RANK[level] < _RANK[than]


_SPELT: Final = str.maketrans({"k": "c", "y": "i", "j": "i", "w": "v", "h": ""})


def _sound(name: str) -> str:
    """A given name without what its spellings differ in: Sara and Sarah, Marco and Marko."""
    plain = name.replace("ph", "f").translate(_SPELT)
    return "".join(c for c, before in zip(plain, " " + plain, strict=False) if c != before)


def _unsure(level: int) -> int:
    """One word fits, but which is the surname is a guess: that must not join relatives."""
    return GIVEN_DIFFERS if level == SURNAME_DIFFERS else level


def _better(a: int, b: int) -> int:
    return b if better(b, a) else a


def _readings(name: Name) -> tuple[tuple[Words, Words, bool], ...]:
    """The ways to read a name as given name and surname; True where they were not parted."""
    first, last = name
    one = first or last
    if len(one) > 1 and not (first and last):
        return (one[:1], one[1:], True), (one[-1:], one[:-1], True)
    return ((first, last, False),)


def spoken(names: tuple[Name, ...]) -> tuple[Name, ...]:
    """The names that stand for a person of whom several are known.

    The full ones, and of these the ones that were given often: an initial or a slip must not
    let a stranger in.
    """
    if len(names) < 2:
        return names
    counts: dict[Name, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    full = {n: k for n, k in counts.items() if _is_full(n)} or counts
    most = max(full.values())
    return tuple(n for n, k in full.items() if k * 3 >= most)


def _is_full(name: Name) -> bool:
    first, last = name
    if first and last:
        return len(first[0]) > 1 and len(last[0]) > 1
    one = first or last
    return len(one) > 1 and all(len(w) > 1 for w in one)
