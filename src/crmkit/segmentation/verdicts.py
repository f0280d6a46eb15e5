"""Why somebody is in a segment or is not: a tree of verdicts, and the least that decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

import attrs

from crmkit.model.money import Money
from crmkit.model.time import Calendar, Duration, iso
from crmkit.segmentation.describe import moment_words

Kind: TypeAlias = Literal[
    "and",
    "or",
    "not",
    "segment",
    "comparison",
    "doing",
    "sequence",
    "rank",
    "place",
    "by hand",
    "known",
]

_GROUPS: Final = ("and", "or", "not", "segment")
_LISTED: Final = 5  # activities that a text tells of each condition


@attrs.frozen
class Counted:
    """An activity that counts for a condition, with what it adds to a sum.

    `followed_by` is what first followed it in time, where the condition asks for that.
    """

    activity_id: str
    at: datetime
    amount: Money = attrs.field(repr=False)
    followed_by: Counted | None = None


@attrs.frozen(kw_only=True)
class Verdict:
    """Whether a part of a rule holds, why, and until when time alone leaves it so.

    `kind` is a group's (``and``, ``or``, ``not``, ``segment``) or a condition's. `words` say
    what is asked and `found` what was found; `expected` and `actual` are the values behind
    them: money as `Money`, a moment as a datetime, a window as a `Duration` or `Calendar`, a
    distance in km; None where there is none. `until` is None where time alone will never
    change it. `age` is how long ago a moment was that a duration is asked of. `activities`
    are those that count; for a sequence, all that it begins with. `place` is the customer's
    among a `population`.
    """

    kind: Kind
    words: str = attrs.field(repr=False)
    holds: bool
    until: datetime | None
    found: str = attrs.field(default="", repr=False)
    expected: Any = attrs.field(default=None, repr=False)
    actual: Any = attrs.field(default=None, repr=False)
    age: timedelta | None = attrs.field(default=None, repr=False)
    activities: tuple[Counted, ...] = attrs.field(default=(), repr=False)
    place: int | None = attrs.field(default=None, repr=False)
    population: int | None = attrs.field(default=None, repr=False)
    parts: tuple[Verdict, ...] = ()

    @property
    def is_group(self) -> bool:
        """Whether its parts decide."""
        return self.kind in _GROUPS

    @property
    def line(self) -> str:
        """What is asked, and what was found; personal."""
        return f"{self.words}: {self.found}" if self.found else self.words

    def leaves(self) -> Iterator[Verdict]:
        """The conditions, in the order of the rule."""
        if not self.is_group:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def to_dict(self) -> dict[str, Any]:
        """The verdict as a JSON document; amounts are numbers in major units."""
        told: dict[str, Any] = {
            "kind": self.kind,
            "words": self.words,
            "holds": self.holds,
            "until": _json(self.until),
        }
        if self.is_group:
            return told | {"parts": [part.to_dict() for part in self.parts]}
        told |= {name: _json(getattr(self, name)) for name in ("found", "expected", "actual")}
        if self.age is not None:
            told["age_seconds"] = self.age.total_seconds()
        if self.population is not None:
            told |= {"place": self.place, "population": self.population}
        if self.kind in ("doing", "sequence"):
            told["activities"] = [_activity(a) for a in self.activities]
        return told


@attrs.frozen(kw_only=True)
class Explanation:
    """Why a customer is in a segment at an instant, or is not.

    For the people whom the host lets see the customer: it tells values. `root` is the
    verdict on the segment; its parts mirror the rule.
    """

    customer_id: str
    segment: str
    at: datetime
    root: Verdict = attrs.field(repr=lambda root: "in" if root.holds else "out")
    zone: ZoneInfo = attrs.field(repr=False)

    @property
    def holds(self) -> bool:
        """Whether the customer is in."""
        return self.root.holds

    @property
    def until(self) -> datetime | None:
        """Until when time alone leaves it so; None for good."""
        return self.root.until

    @property
    def why(self) -> tuple[Verdict, ...]:
        """The fewest conditions that make the customer be in, whatever the others say.

        Empty for who is out.
        """
        return _deciding(self.root) if self.root.holds else ()

    @property
    def why_not(self) -> tuple[Verdict, ...]:
        """The fewest conditions that would have to be otherwise for the customer to be in.

        Empty for who is in. A condition that stands at two places of the rule is two.
        """
        return () if self.root.holds else _changing(self.root, to=True) or ()

    def text(self) -> str:
        """The tree in lines, in the tenant's time."""
        word = "in" if self.holds else "not in"
        head = (
            f"{word} {self.segment!r} at {moment_words(self.at, self.zone)}{self._until(self.root)}"
        )
        body = (line for part in self.root.parts for line in self._lines(part, 0))
        return "\n".join((head, *body))

    def to_dict(self) -> dict[str, Any]:
        """The explanation as a JSON document; amounts are numbers in major units."""
        return {
            "customer_id": self.customer_id,
            "segment": self.segment,
            "at": iso(self.at),
            "holds": self.holds,
            "until": _json(self.until),
            "why": [verdict.line for verdict in self.why],
            "why_not": [verdict.line for verdict in self.why_not],
            "rule": [part.to_dict() for part in self.root.parts],
        }

    def _lines(self, verdict: Verdict, depth: int) -> Iterator[str]:
        indent = "  " * depth
        yield f"{indent}{'✓' if verdict.holds else '✗'} {verdict.line}{self._until(verdict)}"
        for counted in verdict.activities[:_LISTED]:
            yield f"{indent}    {self._counted(counted)}"
        if (more := len(verdict.activities) - _LISTED) > 0:
            yield f"{indent}    and {more:,} more"
        for part in verdict.parts:
            yield from self._lines(part, depth + 1)

    def _until(self, verdict: Verdict) -> str:
        return f", until {moment_words(verdict.until, self.zone)}" if verdict.until else ""

    def _counted(self, counted: Counted) -> str:
        amount = f", {counted.amount}" if counted.amount.minor else ""
        told = f"{moment_words(counted.at, self.zone)}{amount} ({counted.activity_id})"
        then = counted.followed_by
        return told if then is None else f"{told} → {self._counted(then)}"


def _changing(verdict: Verdict, *, to: bool) -> tuple[Verdict, ...] | None:
    """The fewest leaves whose change makes the verdict so; None where none does."""
    if verdict.holds is to:
        return ()
    if not verdict.is_group:
        return (verdict,)
    if verdict.kind == "not":
        return _changing(verdict.parts[0], to=not to)
    sets = [_changing(part, to=to) for part in verdict.parts]
    if (verdict.kind != "or") is to:  # each part has to be so
        if None in sets:
            return None
        return tuple(leaf for found in sets for leaf in found or ())
    return min((found for found in sets if found is not None), key=len, default=None)


def _deciding(verdict: Verdict) -> tuple[Verdict, ...]:
    """The fewest leaves by which the verdict is what it is, whatever the others are."""
    if not verdict.is_group:
        return (verdict,)
    alike = [part for part in verdict.parts if part.holds is verdict.holds]
    if verdict.kind == "not":
        return _deciding(verdict.parts[0])
    if (verdict.kind != "or") is verdict.holds:
        return tuple(leaf for part in alike for leaf in _deciding(part))
    return min((_deciding(part) for part in alike), key=len, default=())


def _activity(counted: Counted) -> dict[str, Any]:
    told = {
        "id": counted.activity_id,
        "at": iso(counted.at),
        "amount": float(counted.amount.amount),
    }
    then = counted.followed_by
    return told if then is None else told | {"followed_by": _activity(then)}


def _json(value: Any) -> Any:
    match value:
        case Money():
            return float(value.amount)
        case datetime():
            return iso(value)
        case date():
            return value.isoformat()
        case Duration() | Calendar():
            return str(value)
        case Mapping():
            return {key: _json(of) for key, of in value.items()}
        case str():
            return value
        case Sequence():
            return [_json(item) for item in value]
    return value
