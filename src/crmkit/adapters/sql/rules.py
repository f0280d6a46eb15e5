"""A rule as SQL, with the answers that the evaluator in memory gives.

Every condition is true or false and never NULL, so that `not` means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from math import ceil, floor
from typing import Any, Final, TypeAlias

import attrs
import sqlalchemy as sa
from dateutil.relativedelta import relativedelta

from crmkit.adapters.sql.rule_values import (
    Condition,
    Expression,
    Values,
    joined,
    values_of,
)
from crmkit.adapters.sql.tables import table
from crmkit.config import Settings
from crmkit.errors import RuleError
from crmkit.model import Consent, Customer, Membership, Metrics, PointsAccount, Tag
from crmkit.model.rule import AllOf, AnyOf, Compare, Member, Not, Rule, leaves
from crmkit.model.time import to_micros
from crmkit.segmentation.evaluate import tier_ranks
from crmkit.segmentation.fields import Field, Source, Type, find

_OF_CUSTOMER: Final = frozenset({Source.CUSTOMER, Source.PREFERENCES, Source.CUSTOM, Source.AGE})
_OF_METRICS: Final = frozenset({Source.METRICS, Source.AVERAGE})
_OF_ACCOUNT: Final = frozenset({Source.LOYALTY, Source.TIER})
_JSON_KINDS: Final = {
    Type.TEXT: "string",
    Type.NUMBER: "number",
    Type.MONEY: "number",
    Type.FLAG: "boolean",
}
_Reached: TypeAlias = Callable[[int], Condition]


def matching(
    rule: Rule, settings: Settings, at: datetime, tenant: str, dialect: str
) -> sa.Select[tuple[str]]:
    """The ids of the customers whom the rule fits at an instant, from as few tables as it needs."""
    sources = {find(leaf.field).source for leaf in leaves(rule) if isinstance(leaf, Compare)}
    metrics, accounts = table(Metrics), table(PointsAccount)
    # Every customer has a row of metrics, and that table is the narrower one.
    base, customer = metrics, metrics.c.customer_id
    source: sa.FromClause = base
    if sources & _OF_CUSTOMER:
        base, customer = table(Customer), table(Customer).c.id
        source = base
        if sources & _OF_METRICS:
            source = source.join(metrics, _same(metrics, tenant, customer))
    if sources & _OF_ACCOUNT:
        source = source.outerjoin(accounts, _same(accounts, tenant, customer))
    wanted = condition(rule, settings, at, tenant, dialect, customer=customer)
    return sa.select(customer).select_from(source).where(base.c.tenant == tenant, wanted)


def condition(
    rule: Rule,
    settings: Settings,
    at: datetime,
    tenant: str,
    dialect: str,
    *,
    customer: Expression | None = None,
) -> Condition:
    """The rule as a condition over the rows that `matching` selects from.

    `customer` is the column with the customer's id, that of `crm_customers` unless said
    otherwise.
    """
    column = table(Customer).c.id if customer is None else customer
    return _Writer(settings, at, tenant, column, values_of(dialect)).rule(rule)


def _same(joined_table: sa.Table, tenant: str, customer: Expression) -> Condition:
    return sa.and_(joined_table.c.tenant == tenant, joined_table.c.customer_id == customer)


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
    settings: Settings
    at: datetime
    tenant: str
    customer: Expression
    values: Values

    def rule(self, rule: Rule) -> Condition:
        match rule:
            case AllOf():
                return joined(sa.and_, self.parts(rule))
            case AnyOf():
                return joined(sa.or_, self.parts(rule))
            case Not(part):
                return sa.not_(self.rule(part).self_group())
            case Member(segment_id):
                return self.among(Membership, table(Membership).c.segment_id == segment_id)
            case Compare():
                return self.leaf(find(rule.field), rule.operator, rule.value)
            case _:
                raise RuleError("cannot be asked yet")

    def parts(self, group: AllOf | AnyOf) -> list[Condition]:
        # The deepest last: a chain of operators leans left, and SQLite bounds its depth.
        return [self.rule(part) for part in sorted(_flat(group, type(group)), key=_height)]

    def leaf(self, field: Field, operator: str, value: Any) -> Condition:
        match field.source:
            case Source.AGE:
                return self.age(operator, value)
            case Source.AVERAGE:
                return self.average(operator, value)
            case Source.TIER:
                return self.tier(operator, value)
            case Source.TAGS:
                return self.tags(operator, value)
            case Source.CONSENT:
                return self.flag(self.consent(field), operator, value, default=False)
            case Source.CUSTOM:
                return self.custom(field, operator, value)
            case Source.PREFERENCES:
                return self.preference(field, operator, value)
        if field.type is Type.LIST:
            return self.values.array(table(Customer).c[field.attribute], None, operator, value)
        return self.column(field, operator, value)

    def column(self, field: Field, operator: str, value: Any) -> Condition:
        left: Expression
        if field.source is Source.LOYALTY:
            left = sa.func.coalesce(table(PointsAccount).c[field.attribute], sa.literal(0))
            optional = False
        else:
            record = Metrics if field.source is Source.METRICS else Customer
            left = table(record).c[field.attribute]
            optional = table(record).c[field.attribute].nullable is True
        if operator == "exists":
            present = left.is_not(None) if optional else sa.true()
            return present if value else sa.not_(present)
        if operator in ("within", "not_within"):
            start = to_micros(value.before(self.at, self.settings.zone))
            test = sa.and_(left > start, left <= to_micros(self.at))
            test = test if operator == "within" else sa.not_(test.self_group())
        else:
            test = self.values.test(left, operator, _as_stored(value))
        return sa.and_(left.is_not(None), test) if optional else test

    def average(self, operator: str, value: Any) -> Condition:
        metrics = table(Metrics)
        spend, some = metrics.c.spend_minor, metrics.c.orders > 0
        if operator == "exists":
            return some if value else sa.not_(some)
        # An amount times the orders may not fit PostgreSQL's bigint.
        orders = self.values.wide(metrics.c.orders)

        def equal(amount: int) -> Condition:
            return spend == orders * self.values.literal(amount)

        if operator == "between":
            low, high = (orders * self.values.literal(v) for v in value)
            return sa.and_(some, spend >= low, spend <= high)
        if operator in ("in", "not_in"):
            found = joined(sa.or_, [equal(amount) for amount in dict.fromkeys(value)])
            return sa.and_(some, found if operator == "in" else sa.not_(found.self_group()))
        product = orders * self.values.literal(value)
        return sa.and_(some, self.values.compared(spend, operator, product))

    def age(self, operator: str, value: Any) -> Condition:
        born = table(Customer).c.birth_date
        today = self.at.astimezone(self.settings.zone).date()
        known = sa.and_(born.is_not(None), born <= today.isoformat())
        if operator == "exists":
            return known if value else sa.not_(known.self_group())

        def reached(years: int) -> Condition:
            if years <= 0:
                return sa.true()
            latest = _born_by(years, today)
            return sa.false() if latest is None else born <= latest.isoformat()

        return sa.and_(known, _stepped(operator, value, reached))

    def tier(self, operator: str, value: Any) -> Condition:
        if operator == "exists":
            return sa.true() if value else sa.false()
        starts = [tier.from_points for tier in self.settings.tiers]
        points = sa.func.coalesce(table(PointsAccount).c.qualifying, sa.literal(0))

        def reached(rank: int) -> Condition:
            if rank <= 0:
                return sa.true()
            return points >= starts[rank] if rank < len(starts) else sa.false()

        return _stepped(operator, tier_ranks(value, self.settings), reached)

    def tags(self, operator: str, value: Any) -> Condition:
        tag = table(Tag).c.tag
        if operator == "exists":
            tagged = self.among(Tag)
            return tagged if value else sa.not_(tagged)
        wanted = list(dict.fromkeys([value] if operator == "contains" else value))
        if operator == "contains_all" and len(wanted) > 1:
            return self.among(Tag, tag.in_(wanted), tag=len(wanted))
        return self.among(Tag, tag.in_(wanted))

    def consent(self, field: Field) -> Condition:
        """Whether the latest fact granted it."""
        purpose, channel = field.consent
        fact, later = table(Consent), table(Consent).alias("later")
        overruled = sa.exists().where(
            later.c.tenant == self.tenant,
            later.c.customer_id == fact.c.customer_id,
            later.c.purpose == purpose,
            later.c.channel == channel,
            # Of two words at one instant the withdrawal stands.
            sa.or_(
                later.c.occurred_at > fact.c.occurred_at,
                sa.and_(later.c.occurred_at == fact.c.occurred_at, later.c.granted.is_(sa.false())),
            ),
        )
        return self.among(
            Consent,
            fact.c.purpose == purpose,
            fact.c.channel == channel,
            fact.c.granted.is_(sa.true()),
            sa.not_(overruled),
        )

    def among(self, record: type, *where: Condition, tag: int = 0) -> Condition:
        """The customer owns a row of the record; with `tag`, that many different ones."""
        owned = table(record)
        query = sa.select(owned.c.customer_id).where(owned.c.tenant == self.tenant, *where)
        if tag:
            different = sa.func.count(sa.distinct(owned.c.tag))
            query = query.group_by(owned.c.customer_id).having(different == tag)
        return self.customer.in_(query)

    def flag(self, is_set: Condition, operator: str, value: bool, *, default: bool) -> Condition:
        """A flag that is never missing; `is_set` says that it is not its default."""
        if operator == "exists":
            return sa.true() if value else sa.false()
        wanted = value if operator == "=" else not value
        return is_set if wanted is not default else sa.not_(is_set.self_group())

    def preference(self, field: Field, operator: str, value: Any) -> Condition:
        column, key = table(Customer).c.preferences, field.attribute
        if field.type is Type.LIST:
            return self.values.array(column, key, operator, value)
        kind = _JSON_KINDS[field.type]
        if field.default is not None:  # documents leave out what equals the default
            is_set = self.values.scalar(column, key, kind, "=", not field.default)
            return self.flag(is_set, operator, value, default=field.default)
        return self.values.scalar(column, key, kind, operator, value)

    def custom(self, field: Field, operator: str, value: Any) -> Condition:
        column, key = table(Customer).c.custom, field.attribute
        sample = value[0] if isinstance(value, tuple) else value
        if operator.startswith("contains"):
            return sa.or_(
                self.values.scalar(column, key, "string", operator, value),
                self.values.array(column, key, operator, value),
            )
        if isinstance(sample, bool):
            return self.values.scalar(column, key, "boolean", operator, value)
        kind = "string" if isinstance(sample, str) else "number"
        return self.values.scalar(column, key, kind, operator, value)


def _as_stored(value: Any) -> Any:
    match value:
        case tuple():
            return tuple(_as_stored(v) for v in value)
        case datetime():
            return to_micros(value)
        case date():
            return value.isoformat()
    return value


def _born_by(years: int, today: date) -> date | None:
    """The latest birth date of those who are that old today; None if nobody can be."""
    if years >= today.year:
        return None
    day = today - relativedelta(years=years)
    # On 28 February those born on the 29th are that old too.
    following = day + timedelta(days=1)
    return following if following + relativedelta(years=years) <= today else day


def _stepped(operator: str, value: Any, reached: _Reached) -> Condition:
    """A comparison of a whole number of which only “at least n” can be asked."""

    def inside(low: float, high: float) -> Condition:
        return sa.and_(reached(ceil(low)), sa.not_(reached(floor(high) + 1)))

    match operator:
        case "<" | ">=":
            found = reached(ceil(value))
        case ">" | "<=":
            found = reached(floor(value) + 1)
        case "between":
            found = inside(*value)
        case "=" | "!=":
            found = inside(value, value)
        case _:
            found = joined(sa.or_, [inside(v, v) for v in dict.fromkeys(value)])
    negative = operator in ("<", "<=", "!=", "not_in")
    return sa.not_(found.self_group()) if negative else found
