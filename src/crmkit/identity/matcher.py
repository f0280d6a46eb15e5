"""Judging two profiles: the comparison, the weights, and what forbids; with its evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

import attrs

from crmkit.config import Matching
from crmkit.customers.folding import folded
from crmkit.customers.traits import Traits
from crmkit.identity import names, nicknames, weights
from crmkit.identity.comparing import (
    BIRTH,
    CLOSE,
    CROWDED,
    DIFFERS,
    EMAIL,
    EQUAL,
    FIELDS,
    HANDLE,
    LOCAL,
    NAME,
    PHONE,
    YEAR,
    Commonness,
    Comparator,
    Pattern,
    contradiction,
    kind_of_name,
)
from crmkit.identity.names import Names, Related
from crmkit.identity.weights import Weights

_CONTACTS: Final = (EMAIL, PHONE, HANDLE)
_AGREE: Final = frozenset({CLOSE, LOCAL, CROWDED})
_NAMED: Final = frozenset({names.EQUAL, names.TYPED, names.SHORT, names.SIMILAR})

_NAMES: Final = {
    names.EQUAL: "equal",
    names.TYPED: "equal but for an error of typing",
    names.SHORT: "a nickname or an initial",
    names.GIVEN_ONLY: "the given name fits, a surname is missing",
    names.SURNAME_ONLY: "the surname fits, a given name is missing",
    names.SURNAME_DIFFERS: "the surname differs",
    names.GIVEN_DIFFERS: "the given name differs",
    names.DIFFERENT: "differs",
    names.SIMILAR: "similar, but both are names",
}
_RARITY: Final = ("very rare", "rare", "rare", "uncommon", "uncommon", "common", "common") + (
    "very common",
) * 2
_LEVELS: Final = {
    EQUAL: "equal",
    CLOSE: "nearly equal",
    LOCAL: "partly equal",
    DIFFERS: "differs",
    CROWDED: "equal, but many use it",
}
_PARTLY: Final = {EMAIL: "the same name at another provider", BIRTH: "one part of it differs"}
_YEARS: Final = {
    EQUAL: "an address ends in the other's year of birth",
    DIFFERS: "an address ends in another year",
}


@attrs.frozen
class Evidence:
    """One field's word on whether two profiles are one person.

    `weight` is what it adds to the odds, in bits: 1 doubles them, -1 halves them.
    """

    field: str
    says: str
    weight: float = 0.0


@attrs.frozen
class Match:
    """How probable it is that two profiles are one person, and why.

    `against` is the field that forbids to take them for one without asking, or None.
    `prior` are the odds before any field was looked at, in bits like the evidence's weights.
    """

    probability: float
    prior: float
    evidence: tuple[Evidence, ...]
    against: str | None = None

    def explain(self) -> str:
        """The evidence in words and numbers, a line for each field."""
        lines = [f"{'before any field':<16} {self.prior:+6.1f} bits"]
        lines += [f"{e.field:<16} {e.weight:+6.1f} bits  {e.says}" for e in self.evidence]
        lines.append(f"together {self.probability:.1%} one person")
        if self.against:
            lines.append(f"never merged by itself: {self.against} contradicts")
        return "\n".join(lines)


@attrs.frozen(repr=False)
class Knowledge:
    """What is known of names and weights, shipped or fitted; `version` 0 is what is shipped."""

    weights: Weights
    count: Callable[[str], int]
    people: int
    learned: Callable[[str, str], bool]
    version: int = 0


def shipped() -> Knowledge:
    """What crmkit knows before it was fitted to anything: of a name not even whether it is rare."""
    return Knowledge(weights.shipped(), lambda _: 3, 80, lambda _, __: False)


def given_names(matching: Matching, learned: Related) -> Names:
    """What compares names: by the short forms that are known, the host's own included."""
    own = {_plain(n): [_plain(s) for s in short] for n, short in matching.nicknames.items()}
    families = nicknames.extended(own) if own else nicknames.shipped()
    return Names(
        lambda a, b: nicknames.related(a, b, families) or learned(a, b),
        lambda name: name in families,
    )


def _plain(name: str) -> str:
    return "".join(c for c in folded(name) if c.isalpha())


class Matcher:
    """Judges profiles with one state of knowledge."""

    def __init__(self, matching: Matching, knowledge: Knowledge) -> None:
        self.matching = matching
        self.version = knowledge.version
        self._knowledge = knowledge
        self.names = given_names(matching, knowledge.learned)
        self._commonness = Commonness(knowledge.count, knowledge.people)
        self._ready: dict[tuple[str, ...], tuple[Comparator, Weights, weights.Scorer]] = {}

    def judge(
        self,
        a: Traits,
        b: Traits,
        *,
        namesakes: float = 0.0,
        crowded: Collection[str] = (),
    ) -> Judgement:
        """What two profiles say of each other."""
        compare, model, score = self._for(a.details, b.details)
        pattern = compare.pattern(a, b, namesakes, crowded)
        against = contradiction(pattern, a, b)
        # Where nothing can be compared there is nothing to go by, not even the prior.
        return Judgement(pattern, score(pattern) if any(pattern) else 0.0, against, model)

    def _for(
        self, a: Mapping[str, object], b: Mapping[str, object]
    ) -> tuple[Comparator, Weights, weights.Scorer]:
        details = tuple(sorted(a.keys() & b.keys())) if a and b else ()
        if self.matching.fields is not None:
            details = tuple(d for d in details if d in self.matching.fields)
        ready = self._ready.get(details)
        if ready is None:
            if len(self._ready) > 100:
                self._ready.clear()
            model = self._knowledge.weights.with_details(details)
            compare = Comparator(
                self.names, self._commonness, fields=self.matching.fields, details=details
            )
            ready = self._ready[details] = (compare, model, weights.scorer(model))
        return ready


@attrs.frozen(repr=False)
class Judgement:
    """A pattern with its probability, and what forbids to act on it."""

    pattern: Pattern
    probability: float
    against: str | None
    weights: Weights

    @property
    def decides(self) -> bool:
        """Whether something but names and places speaks for one person.

        What agrees in part only does so beside a name that agrees, and contacts that do not
        differ.
        """
        contacts = [self.pattern[f] for f in _CONTACTS]
        if EQUAL in contacts:
            return True
        differs = DIFFERS in contacts
        if self.pattern[BIRTH] == EQUAL:
            return self.named or not differs
        partly = not _AGREE.isdisjoint((*contacts, self.pattern[BIRTH]))
        return self.named and not differs and partly

    @property
    def is_beyond_doubt(self) -> bool:
        """Whether two customers may be merged though nobody asked for it.

        Nothing differs, and the names are equal; or two things that are a person's own are.
        """
        own = [self.pattern[f] for f in (*_CONTACTS, BIRTH)]
        if not self.decides or not self.named or DIFFERS in (*own, self.pattern[YEAR]):
            return False
        return kind_of_name(self.pattern[NAME]) == names.EQUAL or own.count(EQUAL) > 1

    @property
    def named(self) -> bool:
        """Whether the names agree, given name and surname."""
        return kind_of_name(self.pattern[NAME]) in _NAMED

    def match(self) -> Match:
        """The same with its evidence."""
        return explained(self.pattern, self.weights, self.probability, self.against)


def explained(
    pattern: Pattern, model: Weights, probability: float, against: str | None = None
) -> Match:
    """The evidence of a pattern: what each field added, one after the other."""
    prior, *after = weights.steps(model, pattern)
    fields = [*FIELDS, *model.details]
    evidence = []
    before = prior
    for n, (field, level) in enumerate(zip(fields, pattern, strict=True)):
        if level:
            evidence.append(Evidence(field, _said(n, level), round(after[n] - before, 2)))
        before = after[n]
    return Match(probability, round(prior, 2), tuple(evidence), against)


def _said(field: int, level: int) -> str:
    if field == YEAR:
        return _YEARS[level]
    if field != NAME:
        return _PARTLY.get(field, _LEVELS[level]) if level == LOCAL else _LEVELS[level]
    kind = kind_of_name(level)
    rare = kind in (names.EQUAL, names.TYPED, names.SHORT, names.SIMILAR)
    return f"{_NAMES[kind]} ({_RARITY[level % 10]})" if rare else _NAMES[kind]
