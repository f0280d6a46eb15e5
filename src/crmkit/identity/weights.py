"""How much each agreement weighs: a mixture of classes, and its estimation; pure.

Two records are one person's with the probability

    P(match | levels) = p_match · Π m(level) / Σ_class p_class · Π q_class(level)

where q is how often a level is seen in a class of pairs (Fellegi and Sunter 1969). With two
classes only, relatives on one phone or namesakes would have to be chance; here they are
classes of their own, each by what makes it one. What is missing multiplies by one.

Weights are estimated without labels by expectation maximisation over the counts of patterns
(Winkler 1988), from the weights that ship. What defines a class is held: else the estimation
is free to call relatives a match.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias

import attrs

from crmkit.errors import InvalidInput
from crmkit.identity import names as n
from crmkit.identity.comparing import (
    BIRTH,
    CLOSE,
    CROWDED,
    DIFFERS,
    EMAIL,
    EQUAL,
    FIELDS,
    LOCAL,
    NAME,
    PHONE,
    Pattern,
    kind_of_name,
    levels_of_names,
)

Table: TypeAlias = Mapping[int, float]
"""The probability of each level of a field, within one class."""

MATCH: Final = "match"
CLASSES: Final = (MATCH, "relatives", "namesakes", "agency", "birthday", "strangers")
"""One person; and what looks like it: relatives on one contact, namesakes, clients of one
agency, people of one birthday, and chance."""

_PRIOR: Final = dict(zip(CLASSES, (0.35, 0.08, 0.25, 0.02, 0.05, 0.25), strict=True))

_KINDS: Final = (
    n.EQUAL, n.TYPED, n.SHORT, n.GIVEN_ONLY, n.SURNAME_ONLY,
    n.SURNAME_DIFFERS, n.GIVEN_DIFFERS, n.DIFFERENT, n.SIMILAR,
)  # fmt: skip
_NAMES: Final = {
    "match": (0.635, 0.12, 0.08, 0.105, 0.033, 0.008, 0.004, 0.003, 0.012),
    "relatives": (0.005, 0.01, 0.02, 0.03, 0.03, 0.15, 0.58, 0.155, 0.02),
    "namesakes": (0.50, 0.08, 0.08, 0.15, 0.09, 0.001, 0.001, 0.001, 0.097),
    "agency": (0.002, 0.002, 0.01, 0.03, 0.02, 0.05, 0.05, 0.831, 0.005),
    "birthday": (0.01, 0.01, 0.02, 0.05, 0.03, 0.10, 0.15, 0.61, 0.02),
    "strangers": (0.01, 0.01, 0.02, 0.06, 0.04, 0.20, 0.20, 0.42, 0.04),
}
# How rare the names of a class are: those of namesakes by chance are common.
_RARE: Final = (0.20, 0.15, 0.13, 0.12, 0.11, 0.10, 0.08, 0.06, 0.05)
_COMMON: Final = (0.002, 0.004, 0.01, 0.03, 0.08, 0.15, 0.20, 0.25, 0.274)

_EMAIL_LEVELS: Final = (EQUAL, CLOSE, LOCAL, DIFFERS, CROWDED)
_EMAIL: Final = {
    "match": (0.70, 0.04, 0.03, 0.22, 0.01),
    "relatives": (0.45, 0.01, 0.01, 0.48, 0.05),
    "namesakes": (0.002, 0.004, 0.05, 0.943, 0.001),
    "agency": (0.01, 0.001, 0.001, 0.30, 0.688),
    "birthday": (0.001, 0.001, 0.005, 0.992, 0.001),
    "strangers": (0.001, 0.01, 0.05, 0.938, 0.001),
}
_PHONE_LEVELS: Final = (EQUAL, CLOSE, DIFFERS, CROWDED)
_PHONE: Final = {
    "match": (0.78, 0.03, 0.18, 0.01),
    "relatives": (0.55, 0.01, 0.39, 0.05),
    "namesakes": (0.001, 0.001, 0.997, 0.001),
    "agency": (0.01, 0.001, 0.30, 0.689),
    "birthday": (0.001, 0.001, 0.997, 0.001),
    "strangers": (0.001, 0.002, 0.996, 0.001),
}
_BIRTH_LEVELS: Final = (EQUAL, CLOSE, LOCAL, DIFFERS)
_BIRTH: Final = {
    "match": (0.90, 0.015, 0.06, 0.025),
    "relatives": (0.02, 0.001, 0.01, 0.969),
    "namesakes": (0.003, 0.0005, 0.01, 0.9865),
    "agency": (0.002, 0.0005, 0.01, 0.9875),
    "birthday": (0.90, 0.05, 0.049, 0.001),
    "strangers": (0.01, 0.001, 0.03, 0.959),
}
_TWO: Final = (EQUAL, DIFFERS)
_CITY: Final = dict(zip(CLASSES, (0.80, 0.75, 0.20, 0.50, 0.15, 0.15), strict=True))
_HANDLE: Final = dict(zip(CLASSES, (0.90, 0.02, 0.02, 0.02, 0.02, 0.02), strict=True))
_YEAR: Final = dict(zip(CLASSES, (0.85, 0.05, 0.03, 0.03, 0.50, 0.03), strict=True))
_DETAIL_LEVELS: Final = (EQUAL, CLOSE, DIFFERS)
_DETAIL: Final = {
    "match": (0.80, 0.08, 0.12),
    "relatives": (0.50, 0.05, 0.45),
    "namesakes": (0.15, 0.05, 0.80),
    "agency": (0.20, 0.05, 0.75),
    "birthday": (0.10, 0.05, 0.85),
    "strangers": (0.10, 0.05, 0.85),
}

_LEAST: Final = 1e-6
_ROUNDS: Final = 25
_STRENGTH: Final = 50.0  # pairs that the shipped weights are worth
_HOLD: Final = 20.0  # how much more than the data the kinds of names count that define a class

# The contacts and births that define a class keep their shipped weights at least by half.
_HELD: Final = {
    "match": (),
    "relatives": (EMAIL, PHONE),
    "namesakes": (EMAIL, PHONE),
    "agency": (EMAIL, PHONE),
    "birthday": (EMAIL, PHONE, BIRTH),
    "strangers": (EMAIL, PHONE),
}


@attrs.frozen(repr=False)
class Weights:
    """Probabilities of classes, and of levels by class: one table for each field.

    `details` names the further fields, whose tables follow those of `comparing.FIELDS`.
    """

    prior: Mapping[str, float]
    tables: Mapping[str, Sequence[Table]]
    details: tuple[str, ...] = ()

    def with_details(self, details: Sequence[str]) -> Weights:
        """The same for these details; one that is new is weighed like any."""
        known = {name: len(FIELDS) + i for i, name in enumerate(self.details)}
        tables = {}
        for of in CLASSES:
            own, new = self.tables[of], dict(zip(_DETAIL_LEVELS, _DETAIL[of], strict=True))
            chosen = [own[known[d]] if d in known else new for d in details]
            tables[of] = [*own[: len(FIELDS)], *chosen]
        return Weights(self.prior, tables, tuple(details))

    @cached_property
    def logs(self) -> tuple[list[float], list[list[dict[int, float]]]]:
        """The logarithms of the prior and of the tables, by class."""
        prior = [math.log(self.prior[of]) for of in CLASSES]
        tables = [
            [{level: math.log(max(p, _LEAST)) for level, p in t.items()} for t in self.tables[of]]
            for of in CLASSES
        ]
        return prior, tables

    def document(self) -> dict[str, Any]:
        """The weights as a JSON document."""
        fields = [*FIELDS, *self.details]
        return {
            "prior": dict(self.prior),
            "levels": {
                of: {
                    f: {str(level): round(p, 9) for level, p in table.items()}
                    for f, table in zip(fields, self.tables[of], strict=True)
                }
                for of in CLASSES
            },
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Weights:
        """The weights of such a document; raises `InvalidInput` for another."""
        try:
            levels = document["levels"]
            details = tuple(f for f in levels[MATCH] if f not in FIELDS)
            tables = {
                of: [
                    {int(level): float(p) for level, p in levels[of][f].items()}
                    for f in (*FIELDS, *details)
                ]
                for of in CLASSES
            }
            prior = {of: float(document["prior"][of]) for of in CLASSES}
            if min(prior.values()) <= 0:
                raise ValueError
            return cls(prior, tables, details)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InvalidInput("expected the document of fitted weights", field="weights") from None


def shipped(details: Sequence[str] = ()) -> Weights:
    """The weights that crmkit comes with."""
    tables = {of: list(_shipped_tables(of)) for of in CLASSES}
    return Weights(dict(_PRIOR), tables).with_details(details)


def _shipped_tables(of: str) -> Iterator[Table]:
    rare = _RARE if of in (MATCH, "relatives") else _COMMON
    kinds = dict(zip(_KINDS, _NAMES[of], strict=True))
    spread = {
        level: kinds[kind_of_name(level)] * (rare[level % 10] if _has_rarity(level) else 1.0)
        for level in levels_of_names()
    }
    total = sum(spread.values())
    yield {level: p / total + _LEAST for level, p in spread.items()}
    yield dict(zip(_EMAIL_LEVELS, _EMAIL[of], strict=True))
    yield dict(zip(_PHONE_LEVELS, _PHONE[of], strict=True))
    yield dict(zip(_BIRTH_LEVELS, _BIRTH[of], strict=True))
    for equal in (_CITY[of], _HANDLE[of], _YEAR[of]):
        yield dict(zip(_TWO, (equal, 1 - equal), strict=True))


def _has_rarity(level: int) -> bool:
    return kind_of_name(level) not in (n.SURNAME_DIFFERS, *n.CONTRADICT)


# --- using weights ---


Scorer: TypeAlias = Callable[[Pattern], float]


def scorer(weights: Weights) -> Scorer:
    """The probability that a pair with a pattern is one person; remembers each pattern."""
    prior, tables = weights.logs
    known: dict[Pattern, float] = {}

    def score(pattern: Pattern) -> float:
        found = known.get(pattern)
        if found is None:
            found = known[pattern] = _shares(pattern, prior, tables)[0][0]
        return found

    return score


_UNSEEN: Final = math.log(_LEAST)


def _shares(
    pattern: Pattern, prior: Sequence[float], tables: Sequence[Sequence[Mapping[int, float]]]
) -> tuple[list[float], float]:
    """The probability of each class, and the logarithm of the pattern's own."""
    logs = []
    for start, table in zip(prior, tables, strict=True):
        total = start
        for field, level in enumerate(pattern):
            if level:
                total += table[field].get(level, _UNSEEN)
        logs.append(total)
    top = max(logs)
    shares = [math.exp(x - top) for x in logs]
    whole = sum(shares)
    return [s / whole for s in shares], top + math.log(whole)


def steps(weights: Weights, pattern: Pattern) -> list[float]:
    """The log odds, to the base of 2, before any field and after each of them in turn."""
    prior, tables = weights.logs
    out = []
    for upto in range(len(pattern) + 1):
        share = _shares(pattern[:upto], prior, tables)[0][0]
        out.append(math.log2(max(share, 1e-15) / max(1 - share, 1e-15)))
    return out


# --- estimating weights ---


def fit(counts: Mapping[Pattern, int], start: Weights, *, rounds: int = _ROUNDS) -> Weights:
    """The weights under which these counts of patterns are likeliest, from where `start` is.

    Deterministic: the same counts give the same weights.
    """
    seen = sorted(counts.items())
    pairs = sum(counts.values())
    weights = start
    for _ in range(rounds):
        prior, tables = weights.logs
        mass = [0.0] * len(CLASSES)
        sums = [[defaultdict[int, float](float) for _ in t] for t in tables]
        for pattern, count in seen:
            shares, _ = _shares(pattern, prior, tables)
            for of, share in enumerate(shares):
                weight = share * count
                if weight < 1e-9:
                    continue
                mass[of] += weight
                for field, level in enumerate(pattern):
                    if level:
                        sums[of][field][level] += weight
        weights = Weights(
            {
                of: (mass[i] + _STRENGTH * start.prior[of]) / (pairs + _STRENGTH)
                for i, of in enumerate(CLASSES)
            },
            {
                of: [
                    _estimated(of, field, sums[i][field], table)
                    for field, table in enumerate(start.tables[of])
                ]
                for i, of in enumerate(CLASSES)
            },
            start.details,
        )
    return weights


def _estimated(of: str, field: int, sums: Mapping[int, float], start: Table) -> Table:
    total = sum(sums.values())
    strength = max(_STRENGTH, total) if field in _HELD[of] else _STRENGTH
    table = {
        level: max((sums.get(level, 0.0) + strength * p) / (total + strength), _LEAST)
        for level, p in start.items()
    }
    return _held_by_kind(table, start) if field == NAME else table


def _held_by_kind(table: Table, start: Table) -> Table:
    """Names by kind about as often as at the start, by rarity as estimated."""
    found, held = _by_kind(table), _by_kind(start)
    return {
        level: p * (found[k] + _HOLD * held[k]) / (1 + _HOLD) / found[k]
        for level, p in table.items()
        for k in (kind_of_name(level),)
    }


def _by_kind(table: Table) -> dict[int, float]:
    kinds: dict[int, float] = defaultdict(float)
    for level, p in table.items():
        kinds[kind_of_name(level)] += p
    return kinds
