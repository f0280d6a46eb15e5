"""Explaining an answer: each part of a rule asked by the closures that answer; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

import attrs
from attrs import evolve

from crmkit.config import Settings
from crmkit.model import Segment
from crmkit.model.money import Money
from crmkit.model.rule import (
    AllOf,
    AnyOf,
    Compare,
    Did,
    InSegment,
    Leaf,
    Member,
    Near,
    Not,
    Rule,
    Then,
    Top,
)
from crmkit.model.time import FOREVER, Duration, age, next_anniversary
from crmkit.segmentation.asking import Rank, alone, at_cutoff, replaced
from crmkit.segmentation.describe import describe, moment_words, value_words
from crmkit.segmentation.doings import Done, counted, followed, measured
from crmkit.segmentation.evaluate import distance, getter, lasting, once_known, tier_name
from crmkit.segmentation.fields import MEASURES, WHOLE_PPM, Field, Source, Type, find
from crmkit.segmentation.rules import parse
from crmkit.segmentation.subject import Subject
from crmkit.segmentation.verdicts import Counted, Explanation, Kind, Verdict

_NOTHING: Final = "nothing"
_LONGEST: Final = 200  # letters of what was found that are told
_LISTED: Final = 10  # values of a list that are told


def explain(
    name: str,
    subject: Subject,
    at: datetime,
    settings: Settings,
    named: Mapping[str, Segment],
    ranks: Mapping[Top, Rank],
) -> Explanation:
    """Why the subject, as known at an instant, is in the segment of that name, or is not.

    `named` are the segments by name, `ranks` the subject's own in each ranking that the
    rules ask for.
    """
    explainer = _Explainer(subject, at, settings, named, ranks)
    return Explanation(
        customer_id=subject.customer.id,
        segment=name,
        at=at,
        root=explainer.root(name),
        zone=settings.zone,
    )


@attrs.frozen
class _Explainer:
    subject: Subject
    at: datetime
    settings: Settings
    named: Mapping[str, Segment]
    ranks: Mapping[Top, Rank]

    # --- the tree ---

    def root(self, name: str) -> Verdict:
        asked = InSegment(name)
        holds, until = lasting(self.ready(asked), self.settings)(self.subject, self.at)
        begins = self.subject.begins_at
        if self.at >= begins:
            part = self.verdict(self.rule_of(name))
        else:
            part = Verdict(
                kind="known",
                words="something was known by then",
                holds=False,
                until=begins,
                found=_NOTHING,
            )
        return Verdict(
            kind="segment",
            words=self.line(asked),
            holds=holds,
            until=_end(until),
            parts=(part,),
        )

    def verdict(self, rule: Rule) -> Verdict:
        holds, until = once_known(self.ready(rule), self.settings)(self.subject, self.at)

        def group(kind: Kind, words: str, *parts: Rule) -> Verdict:
            return Verdict(
                kind=kind,
                words=words,
                holds=holds,
                until=_end(until),
                parts=tuple(map(self.verdict, parts)),
            )

        match rule:
            case AllOf(parts):
                return group("and", "all of", *parts)
            case AnyOf(parts):
                return group("or", "at least one of", *parts)
            case Not(part):
                return group("not", "not", part)
            case InSegment(name):
                return group("segment", self.line(rule), self.rule_of(name))
        leaf = Verdict(kind="comparison", words=self.line(rule), holds=holds, until=_end(until))
        return self.found(rule, leaf)

    def ready(self, rule: Rule) -> Rule:
        """The rule as it is asked: segments and ranks put in."""

        def put_in(leaf: Leaf) -> Rule:
            match leaf:
                case InSegment(name):
                    return self.ready(alone(self.named[name], self.settings))
                case Top():
                    return at_cutoff(leaf, self.ranks[leaf].cutoff)
            return leaf

        return replaced(rule, put_in)

    def rule_of(self, name: str) -> Rule:
        """Who is in a segment, with what was done by hand only where something was."""
        segment = self.named[name]
        by_hand, out = Member(segment.id), Member(segment.id, kept_out=True)
        inside: Rule = by_hand
        if segment.rules is not None and segment.auto_update:
            inside = parse(segment.rules, self.settings)
            if not segment.by_hand:
                return inside
            if segment.id in self.subject.memberships:
                inside = AnyOf((inside, by_hand))
        return AllOf((inside, Not(out))) if segment.id in self.subject.kept_out else inside

    # --- conditions ---

    def found(self, rule: Leaf, leaf: Verdict) -> Verdict:
        """The verdict with what was found."""
        match rule:
            case Compare():
                return self.comparison(rule, leaf)
            case Did():
                return self.doing(rule, leaf)
            case Then():
                return self.sequence(rule, leaf)
            case Top():
                return self.rank(rule, leaf)
            case Near():
                return self.place(rule, leaf)
            case Member():
                return self.by_hand(rule, leaf)
        raise AssertionError("a segment is asked by its own rule")

    def place(self, rule: Near, leaf: Verdict) -> Verdict:
        away = distance(rule, self.subject.customer)
        km = None if away is None else round(away / 1_000, 3)
        words = "no place" if km is None else f"{km:,} km"
        return evolve(leaf, kind="place", expected=rule.metres / 1_000, actual=km, found=words)

    def by_hand(self, rule: Member, leaf: Verdict) -> Verdict:
        fixed = (s.id for s in self.named.values() if s.rules is not None and not s.auto_update)
        if rule.kept_out or rule.segment_id not in fixed:
            return evolve(leaf, kind="by hand")
        words = "was put in by hand, or when the segment was made"
        return evolve(leaf, kind="by hand", words=words)

    def comparison(self, rule: Compare, leaf: Verdict) -> Verdict:
        field = find(rule.field)
        value = self.value_of(field)
        leaf = evolve(leaf, expected=self.public(field, rule.value))
        if field.source is Source.AVERAGE and isinstance(value, tuple):
            spend, orders = value
            average, whole = self.public(field, spend // orders), self.public(field, spend)
            words = f"{average} ({whole} in {orders:,} order{'s' if orders != 1 else ''})"
            return evolve(leaf, actual=average, found=words)
        return self.told(evolve(leaf, actual=self.public(field, value)), field, rule, value)

    def value_of(self, field: Field) -> Any:
        if field.source is Source.AGE:
            born = self.subject.customer.birth_date
            return None if born is None or born > self.today else age(born, self.today)
        if field.source is Source.CONSENT:
            return self.subject.consents_until(field.consent, self.at) is not None
        value = getter(field)(self.subject)
        if field.source is Source.TIER:
            return tier_name(value, self.at, self.settings)
        return tuple(sorted(value)) if isinstance(value, frozenset) else value

    def public(self, field: Field, value: Any) -> Any:
        """A value as the author of a rule knows it."""
        if isinstance(value, tuple):
            return tuple(self.public(field, item) for item in value)
        if field.type is Type.MONEY and isinstance(value, int) and not isinstance(value, bool):
            return Money(value, self.settings.currency)
        if field.type is Type.SHARE and isinstance(value, int) and not isinstance(value, bool):
            return value / WHOLE_PPM
        return value

    def told(self, leaf: Verdict, field: Field, rule: Compare | Did, value: Any) -> Verdict:
        """The verdict with what was found in words, and how long ago it was."""
        if value is None or (isinstance(value, (tuple, list)) and not value):
            return evolve(leaf, found=_NOTHING)
        words = self.words(field, value)
        if isinstance(rule.value, Duration):
            since = self.at - value
            return evolve(leaf, found=f"{words}, {_ago(since)}", age=since)
        if rule.operator == "anniversary_within":
            local = value.astimezone(self.settings.zone) if isinstance(value, datetime) else value
            coming = next_anniversary(date(local.year, local.month, local.day), self.today)
            return evolve(leaf, found=f"{words}, next on {coming}" if coming else words)
        return evolve(leaf, found=words)

    def words(self, field: Field, value: Any) -> str:
        if isinstance(value, (tuple, list)):
            told = [value_words(field, item, self.settings) for item in value[:_LISTED]]
            more = len(value) - _LISTED
            words = ", ".join(told) + (f" and {more:,} more" if more > 0 else "")
        else:
            words = value_words(field, value, self.settings)
        return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"

    def doing(self, rule: Did, leaf: Verdict) -> Verdict:
        zone, field = self.settings.zone, MEASURES.get(rule.measure, MEASURES["count"])
        inside = counted(rule.what, rule.window, zone)(self.subject.occasions, self.at)
        value = measured(rule.measure, zone)(inside)
        leaf = evolve(
            leaf,
            kind="doing",
            expected=self.public(field, rule.value),
            actual=self.public(field, value),
            activities=tuple(map(self.counted, inside)),
        )
        return self.told(leaf, field, rule, value)

    def sequence(self, rule: Then, leaf: Verdict) -> Verdict:
        zone = self.settings.zone
        pairs = followed(rule, zone)(self.subject.occasions, self.at)
        came = sum(then is not None for _, then in pairs)
        over = sum(then is None and self.at > rule.within.after(d.at, zone) for d, then in pairs)
        counts, word = (came, "followed") if rule.follows else (over, "not followed")
        waiting = len(pairs) - came - over
        told = f"{counts:,} of {len(pairs):,} {word}" if pairs else _NOTHING
        return evolve(
            leaf,
            kind="sequence",
            expected=rule.within,
            actual=counts,
            found=f"{told}, {waiting:,} may still be" if waiting else told,
            activities=tuple(
                evolve(self.counted(d), followed_by=None if then is None else self.counted(then))
                for d, then in pairs
            ),
        )

    def rank(self, rule: Top, leaf: Verdict) -> Verdict:
        rank, field = self.ranks[rule], find(rule.field)
        value = self.value_of(field)
        told = self.words(field, value)
        if rank.place is not None:
            told += f", place {rank.place:,} of {rank.population:,}"
        if rank.cutoff is not None:
            begins = "bottom ends" if rule.bottom else "top begins"
            told += f"; the {begins} at {self.words(field, rank.cutoff)}"
        return evolve(
            leaf,
            kind="rank",
            expected=self.public(field, rank.cutoff),
            actual=self.public(field, value),
            place=rank.place,
            population=rank.population,
            found=told,
        )

    # --- small parts ---

    def line(self, rule: Rule) -> str:
        return describe(rule, self.settings)

    def counted(self, done: Done) -> Counted:
        return Counted(done.fact, done.at, Money(done.amount_minor, self.settings.currency))

    def moment(self, at: datetime) -> str:
        return moment_words(at, self.settings.zone)

    @property
    def today(self) -> date:
        return self.at.astimezone(self.settings.zone).date()


def _end(until: datetime) -> datetime | None:
    return None if until == FOREVER else until


def _ago(since: timedelta) -> str:
    ahead = since < timedelta(0)
    minutes, seconds = divmod(abs(since) // timedelta(seconds=1), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = (("day", days), ("hour", hours), ("minute", minutes), ("second", seconds))
    told = [f"{n:,} {unit}{'s' if n != 1 else ''}" for unit, n in units if n][:2]
    length = " ".join(told) or "an instant"
    return f"in {length}" if ahead else f"{length} ago"
