"""A rule as SQL, with the answers that the evaluator in memory gives.

Every condition is true or false and never NULL, so that `not` means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import attrs
import sqlalchemy as sa

from crmkit.adapters.sql.rule_doings import Chosen, Doings
from crmkit.adapters.sql.rule_fields import Fields, cutoff
from crmkit.adapters.sql.rule_times import Instant
from crmkit.adapters.sql.rule_values import Condition, Expression, joined, values_of
from crmkit.adapters.sql.tables import table
from crmkit.config import Settings
from crmkit.errors import RuleError
from crmkit.model import Customer, Metrics, PointsAccount, PointsEntry, ProfileChange, Score
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
    leaves,
)
from crmkit.segmentation.comparing import value_test
from crmkit.segmentation.fields import BALANCE, QUALIFYING, Source, find

_PROFILE: Final = frozenset({Source.CUSTOMER, Source.PREFERENCES, Source.CUSTOM, Source.AGE})
_METRICS: Final = frozenset({Source.METRICS, Source.AVERAGE})
_SCORE: Final = frozenset({Source.SCORE})


def matching(
    rule: Rule,
    settings: Settings,
    at: datetime,
    tenant: str,
    dialect: str,
    *,
    settled: bool = False,
) -> sa.Select[tuple[str, bool]]:
    """The customers whom the rule fits at an instant, from as few tables as it needs.

    Each with whether that is sure: `RulePushdown.matching` says when it is not, and what
    `settled` spares.
    """
    instant, values = Instant(at, settings), values_of(dialect)
    doings = Doings(tenant, instant, values)
    sources = _sources(rule)
    joins = _PROFILE | _METRICS | _SCORE | {Source.LOYALTY}
    led = None if sources & joins else _leading(rule, doings)
    origin = _Origin.of(sources, instant) if led is None else _Origin.led(led[1])
    unsure = _unsure(rule, origin, doings, settled=settled)
    fields = Fields(tenant, instant, origin.customer, values)
    writer = _Writer(fields, doings, unsure, settled)
    where = [] if origin.tenant is None else [origin.tenant == tenant]
    if led is None:
        where.append(writer.rule(rule))
    else:
        where += [writer.rule(part) for part in _flat(rule, AllOf) if part is not led[0]]
    if origin.known is not None and not settled:
        where.append(origin.known)
    sure = sa.true() if unsure is None else sa.not_(unsure.self_group())
    return sa.select(origin.customer, sure.label("sure")).select_from(origin.rows).where(*where)


def cutoff_of(top: Top, settings: Settings, tenant: str, dialect: str) -> sa.Select[tuple[int]]:
    """The value of the last who is among the top; of the population where that is smaller."""
    # With fewer customers than places everybody is in: from the last of them on.
    edge = cutoff(top, settings, tenant, values_of(dialect))
    everybody = attrs.evolve(top, percent=100_000, count=None)
    last = cutoff(everybody, settings, tenant, values_of(dialect))
    return sa.select(sa.func.coalesce(edge.scalar_subquery(), last.scalar_subquery()))


def _sources(rule: Rule) -> frozenset[Source]:
    return frozenset(s for leaf in leaves(rule) if (s := _source(leaf)) is not None)


def _source(leaf: Leaf) -> Source | None:
    """Where a leaf looks, but for what people did and where they were put."""
    match leaf:
        case Compare(field) | Top(field):
            return find(field).source
        case Near():
            return Source.CUSTOMER
    return None


@attrs.frozen
class _Origin:
    """The rows that are selected from, one a customer; `known` says who was known by then.

    `tenant` is None where the rows are of the tenant already.
    """

    rows: sa.FromClause
    customer: Expression
    tenant: Expression | None = None
    known: Condition | None = None

    @classmethod
    def led(cls, chosen: Chosen) -> _Origin:
        """Those of whom something is known to have happened by then."""
        ids = chosen.ids if chosen.unique else chosen.ids.distinct()
        rows = ids.subquery("led")
        return cls(rows, rows.c.customer_id)

    @classmethod
    def of(cls, sources: frozenset[Source], instant: Instant) -> _Origin:
        """All customers, with the tables that these sources are read from."""
        metrics, customers, accounts = table(Metrics), table(Customer), table(PointsAccount)
        now = instant.micros
        # Every customer has a row of metrics, and that table is the narrower one.
        base, customer = metrics, metrics.c.customer_id
        rows: sa.FromClause = metrics
        own: Expression = metrics.c.first_activity_at
        other: Expression = _of(customers, customers.c.created_at, customers.c.id, metrics)
        if sources & _PROFILE:
            base, customer, own = customers, customers.c.id, customers.c.created_at
            rows, other = customers, metrics.c.first_activity_at
            if sources & _METRICS:
                rows = rows.join(metrics, _same(metrics, customers.c.tenant, customer))
            else:
                other = _of(metrics, other, metrics.c.customer_id, customers)
        if Source.LOYALTY in sources:
            mine = accounts.c.programme == instant.settings.programme.name
            same = _same(accounts, base.c.tenant, customer)
            rows = rows.outerjoin(accounts, sa.and_(same, mine))
        if sources & _SCORE:
            scores = table(Score)
            rows = rows.outerjoin(scores, _same(scores, base.c.tenant, customer))
        return cls(rows, customer, base.c.tenant, sa.or_(own <= now, other <= now))


def _of(there: sa.Table, value: Expression, owner: Expression, here: sa.Table) -> Expression:
    """One value of the customer's row in another table, looked up only if it is needed."""
    mine = here.c.id if "id" in here.c else here.c.customer_id
    return (
        sa.select(value)
        .where(there.c.tenant == here.c.tenant, owner == mine)
        .correlate(here)
        .scalar_subquery()
    )


def _same(joined_table: sa.Table, tenant: Expression, customer: Expression) -> Condition:
    return sa.and_(joined_table.c.tenant == tenant, joined_table.c.customer_id == customer)


def _leading(rule: Rule, doings: Doings) -> tuple[Rule, Chosen] | None:
    """A part without which the rule does not hold, and the few whom it leaves."""
    for part in _flat(rule, AllOf):
        if isinstance(part, Did | Then) and doings.tells(part):
            chosen = doings.chosen(part)
            if not chosen.others:
                return part, chosen
    return None


def _unsure(rule: Rule, origin: _Origin, doings: Doings, *, settled: bool) -> Condition | None:
    """Of whom something came after the instant, of a sort that the rule looks at as it is now."""
    every = list(leaves(rule))
    # A cut-off is that of now, and so is the whole rule with it.
    ranked = any(isinstance(leaf, Top) for leaf in every)
    asked = {find(leaf.field) for leaf in every if isinstance(leaf, Compare) and not ranked}
    sources = frozenset[Source]() if ranked or settled else _sources(rule)
    now, among = doings.instant.micros, doings.values.among
    found: list[Condition] = [_turned(now)] if BALANCE in asked else []
    if sources & _METRICS:
        last = table(Metrics).c.last_activity_at
        found.append(sa.and_(last.is_not(None), last > now))
    if sources & _PROFILE:
        # No change of the profile is later than that.
        found.append(table(Customer).c.updated_at > now)
    for needed, record in (
        (Source.TAGS in sources, ProfileChange),
        (QUALIFYING in asked and not settled, PointsEntry),
    ):
        if needed:
            facts = table(record).c
            later = sa.select(facts.customer_id).where(
                facts.tenant == doings.tenant,
                facts.occurred_at > now,
                facts.customer_id.is_not(None),
            )
            # Asked once whether there are any at all, for mostly there are none.
            any_at_all = sa.select(later.exists()).scalar_subquery()
            found.append(sa.and_(any_at_all, among(origin.customer, later)))
    found += [
        among(origin.customer, doings.begun(leaf))
        for leaf in every
        if isinstance(leaf, Did | Then) and not doings.tells(leaf)
    ]
    return joined(sa.or_, found) if found else None


def _turned(now: int) -> Condition:
    """The balance that is stored does not hold: it is of later, or was not settled since."""
    account = table(PointsAccount).c
    return sa.or_(
        sa.and_(account.next_at.is_not(None), account.next_at <= now),
        sa.and_(account.since.is_not(None), account.since > now),
    )


def _height(rule: Rule) -> int:
    match rule:
        case AllOf(parts) | AnyOf(parts):
            return 1 + max(map(_height, parts), default=0)
        case Not(part):
            return 1 + _height(part)
    return 0


def _flat(rule: Rule, kind: type[AllOf | AnyOf]) -> Iterator[Rule]:
    """The parts of a group, with those of groups of the same kind within it."""
    if isinstance(rule, kind):
        for part in rule.parts:
            yield from _flat(part, kind)
    else:
        yield rule


@attrs.frozen
class _Writer:
    """Writes a rule so that it holds also for those of whom it is unsure whether it does."""

    fields: Fields
    doings: Doings
    unsure: Condition | None
    settled: bool

    def rule(self, rule: Rule, *, negated: bool = False) -> Condition:
        if self.unsure is not None and self.doubtful(rule):
            plain = self.plain(rule)
            if negated:
                return sa.and_(plain, sa.not_(self.unsure.self_group()))
            return sa.or_(plain, self.unsure)
        match rule:
            case AllOf():
                return joined(sa.and_, self.parts(rule, negated=negated))
            case AnyOf():
                return joined(sa.or_, self.parts(rule, negated=negated))
            case Not(part):
                return sa.not_(self.rule(part, negated=not negated).self_group())
        return self.leaf(rule)

    def parts(self, group: AllOf | AnyOf, *, negated: bool) -> list[Condition]:
        # The deepest last: a chain of operators leans left, and SQLite bounds its depth.
        parts = sorted(_flat(group, type(group)), key=_height)
        if self.unsure is None:
            return [self.rule(part) for part in parts]
        # What is doubtful is kept together, so that the doubt is asked about once.
        doubtful = tuple(filter(self.doubtful, parts))
        others = [self.rule(p, negated=negated) for p in parts if not self.doubtful(p)]
        if not doubtful:
            return others
        return [self.rule(attrs.evolve(group, parts=doubtful), negated=negated), *others]

    def doubtful(self, rule: Rule) -> bool:
        """Whether all that the rule looks at is as it is now, or not told by the database.

        Where nothing came later, it is only the balance that may be another.
        """
        match rule:
            case AllOf(parts) | AnyOf(parts):
                return all(map(self.doubtful, parts))
            case Not(part):
                return self.doubtful(part)
            case Did() | Then():
                return not self.doings.tells(rule)
            case Compare(field) if self.settled:
                return find(field) is BALANCE
        sure = (None, Source.CONSENT, Source.TIER, Source.SCORE)
        return not self.settled and _source(rule) not in sure

    def plain(self, rule: Rule) -> Condition:
        """The rule without the doubt."""
        return attrs.evolve(self, unsure=None).rule(rule)

    def untold(self, leaf: Did | Then) -> Condition:
        """The answer for those who did nothing of that; all others are unsure."""
        nothing = isinstance(leaf, Did) and value_test(leaf.operator, leaf.value)(0)
        return sa.true() if nothing else sa.false()

    def leaf(self, leaf: Leaf) -> Condition:
        match leaf:
            case Compare(field, operator, value):
                return self.fields.compare(field, operator, value)
            case Member():
                return self.fields.member(leaf)
            case Top():
                return self.fields.top(leaf)
            case Near():
                return self.fields.near(leaf)
            case Did() | Then() if not self.doings.tells(leaf):
                return self.untold(leaf)
            case Did() | Then():
                chosen = self.doings.chosen(leaf)
                found = self.doings.values.among(self.fields.customer, chosen.ids)
                return sa.not_(found) if chosen.others else found
            case InSegment(name):
                raise RuleError(f"segment {name!r} must be put in before it can be asked")
