"""Comparisons of a customer's own fields as SQL: profile, metrics, points, tags, consents."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from math import ceil, floor, isqrt
from typing import Any, Final, TypeAlias

import attrs
import sqlalchemy as sa
from dateutil.relativedelta import relativedelta

from crmkit.adapters.sql.rule_times import Instant
from crmkit.adapters.sql.rule_values import Condition, Expression, Values, joined
from crmkit.adapters.sql.tables import table
from crmkit.config import Settings
from crmkit.model import (
    Consent,
    Customer,
    Membership,
    Metrics,
    PointsAccount,
    Score,
    Tag,
    TierPeriod,
)
from crmkit.model.rule import Member, Near, Top
from crmkit.segmentation.comparing import value_test
from crmkit.segmentation.evaluate import plane, tier_ranks
from crmkit.segmentation.fields import Field, Source, Type, find

_JSON_KINDS: Final = {
    Type.TEXT: "string",
    Type.NUMBER: "number",
    Type.MONEY: "number",
    Type.FLAG: "boolean",
}
_TURN: Final = 360_000_000  # millionths of a degree
_ZERO: Final = sa.literal_column("0", sa.Integer())
_HIGHEST: Final = sa.literal_column(str(2**63 - 1), sa.BigInteger())
_Reached: TypeAlias = Callable[[int], Condition]


@attrs.frozen
class Fields:
    """Writes the comparisons of one rule; `customer` is the column with the customer's id."""

    tenant: str
    instant: Instant
    customer: Expression
    values: Values

    def compare(self, name: str, operator: str, value: Any) -> Condition:
        """A field compared."""
        field = find(name)
        match field.source:
            case Source.AGE:
                return self._age(operator, value)
            case Source.AVERAGE:
                return self._average(operator, value)
            case Source.TIER:
                return self._tier(operator, value)
            case Source.TAGS:
                return self._tags(operator, value)
            case Source.CONSENT:
                return self._flag(self._consent(field), operator, value, default=False)
            case Source.CUSTOM:
                return self._custom(field, operator, value)
            case Source.PREFERENCES:
                return self._preference(field, operator, value)
        if field.type is Type.LIST:
            return self.values.array(table(Customer).c[field.attribute], None, operator, value)
        return self._column(field, operator, value)

    def _column(self, field: Field, operator: str, value: Any) -> Condition:
        left: Expression
        if field.source is Source.LOYALTY:
            left = sa.func.coalesce(table(PointsAccount).c[field.attribute], sa.literal(0))
            optional = False
        elif field.source is Source.SCORE:
            left, optional = table(Score).c[field.attribute], True
        else:
            record = Metrics if field.source is Source.METRICS else Customer
            left = table(record).c[field.attribute]
            optional = table(record).c[field.attribute].nullable is True
        if operator == "exists":
            present = left.is_not(None) if optional else sa.true()
            return present if value else sa.not_(present)
        if field.type is Type.MOMENT:
            test = self.instant.moment(left, operator, value, self.values)
        elif field.type is Type.DATE:
            test = self.instant.day(left, operator, value, self.values)
        else:
            test = self.values.test(left, operator, value)
        return sa.and_(left.is_not(None), test) if optional else test

    def _average(self, operator: str, value: Any) -> Condition:
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

    def member(self, rule: Member) -> Condition:
        """Put into a segment by hand, or kept out of it."""
        by_hand = table(Membership).c
        kept_out = by_hand.kept_out.is_(sa.true() if rule.kept_out else sa.false())
        return self._among(Membership, by_hand.segment_id == rule.segment_id, kept_out)

    def top(self, rule: Top) -> Condition:
        """Among the highest, or the lowest, of all who have some."""
        field = find(rule.field)
        record = PointsAccount if field.source is Source.LOYALTY else Metrics
        mine = table(record).c[field.attribute]
        edge = cutoff(rule, self.instant.settings, self.tenant, self.values).scalar_subquery()
        if rule.bottom:
            found = sa.and_(mine > _ZERO, mine <= sa.func.coalesce(edge, _HIGHEST))
        else:
            found = sa.and_(mine > _ZERO, mine >= sa.func.coalesce(edge, _ZERO))
        return found if record is Metrics else sa.and_(mine.is_not(None), found)

    def near(self, rule: Near) -> Condition:
        """Within reach of a point, in whole numbers that fit 64 bits."""
        latitude, longitude = table(Customer).c.latitude_micro, table(Customer).c.longitude_micro
        reach, share = plane(rule)
        north = latitude - self.values.literal(rule.latitude_micro)
        east: Expression = sa.func.abs(longitude - self.values.literal(rule.longitude_micro))
        east = sa.case((east > _TURN // 2, _TURN - east), else_=east)
        widest = min(_TURN // 2, -(-reach * 1_000 // isqrt(share)) + 1) if share else _TURN // 2
        squares = north * north * 1_000_000 + east * east * share
        # CASE, for AND promises no order and far away the squares do not fit.
        return sa.case(
            (
                sa.and_(
                    latitude.is_not(None),
                    longitude.is_not(None),
                    latitude >= rule.latitude_micro - reach,
                    latitude <= rule.latitude_micro + reach,
                    east <= widest,
                ),
                squares <= reach * reach * 1_000_000,
            ),
            else_=sa.false(),
        )

    def _age(self, operator: str, value: Any) -> Condition:
        born = table(Customer).c.birth_date
        today = self.instant.today
        known = sa.and_(born.is_not(None), born <= today.isoformat())
        if operator == "exists":
            return known if value else sa.not_(known.self_group())

        def reached(years: int) -> Condition:
            if years <= 0:
                return sa.true()
            latest = _born_by(years, today)
            return sa.false() if latest is None else born <= latest.isoformat()

        return sa.and_(known, _stepped(operator, value, reached))

    def _tier(self, operator: str, value: Any) -> Condition:
        if operator == "exists":
            return sa.true() if value else sa.false()
        periods, settings = table(TierPeriod).c, self.instant.settings
        ranks, now = tier_ranks(value, settings), self.instant.micros

        def covered(test: Condition) -> Condition:
            # Not IN: SQLite would list the periods of everybody for each page of customers.
            return sa.exists().where(
                periods.tenant == self.tenant,
                periods.customer_id == self.customer,
                periods.programme == settings.programme.name,
                periods.since <= now,
                periods.until > now,
                test,
            )

        test = self.values.test(periods.rank, operator, ranks)
        if not value_test(operator, ranks)(0):
            return covered(test)
        # Who was never above the first tier has no period.
        return sa.not_(covered(sa.not_(test.self_group())))

    def _tags(self, operator: str, value: Any) -> Condition:
        tag = table(Tag).c.tag
        if operator == "exists":
            tagged = self._among(Tag)
            return tagged if value else sa.not_(tagged)
        wanted = list(dict.fromkeys([value] if operator == "contains" else value))
        if operator == "contains_all" and len(wanted) > 1:
            return self._among(Tag, tag.in_(wanted), tag=len(wanted))
        return self._among(Tag, tag.in_(wanted))

    def _consent(self, field: Field) -> Condition:
        """Whether the latest word granted it, for any address, and it has not run out."""
        purpose, channel = field.consent
        fact, later = table(Consent), table(Consent).alias("later")
        overruled = sa.exists().where(
            later.c.tenant == self.tenant,
            later.c.customer_id == fact.c.customer_id,
            later.c.purpose == purpose,
            later.c.channel == channel,
            later.c.granted.is_not(None),
            # A word without an address is about all of them.
            sa.or_(later.c.address_key.is_(None), later.c.address_key == fact.c.address_key),
            later.c.occurred_at <= self.instant.micros,
            # Of two words at one instant the withdrawal stands.
            sa.or_(
                later.c.occurred_at > fact.c.occurred_at,
                sa.and_(later.c.occurred_at == fact.c.occurred_at, later.c.granted.is_(sa.false())),
            ),
        )
        return self._among(
            Consent,
            fact.c.purpose == purpose,
            fact.c.channel == channel,
            fact.c.granted.is_(sa.true()),
            fact.c.occurred_at <= self.instant.micros,
            sa.or_(fact.c.expires_at.is_(None), fact.c.expires_at > self.instant.micros),
            sa.not_(overruled),
        )

    def _among(self, record: type, *where: Condition, tag: int = 0) -> Condition:
        """The customer owns a row of the record; with `tag`, that many different ones."""
        owned = table(record)
        query = sa.select(owned.c.customer_id).where(owned.c.tenant == self.tenant, *where)
        if tag:
            different = sa.func.count(sa.distinct(owned.c.tag))
            query = query.group_by(owned.c.customer_id).having(different == tag)
        return self.values.among(self.customer, query)

    def _flag(self, is_set: Condition, operator: str, value: bool, *, default: bool) -> Condition:
        """A flag that is never missing; `is_set` says that it is not its default."""
        if operator == "exists":
            return sa.true() if value else sa.false()
        wanted = value if operator == "=" else not value
        return is_set if wanted is not default else sa.not_(is_set.self_group())

    def _preference(self, field: Field, operator: str, value: Any) -> Condition:
        column, key = table(Customer).c.preferences, field.attribute
        if field.type is Type.LIST:
            return self.values.array(column, key, operator, value)
        kind = _JSON_KINDS[field.type]
        if field.default is not None:  # documents leave out what equals the default
            is_set = self.values.scalar(column, key, kind, "=", not field.default)
            return self._flag(is_set, operator, value, default=field.default)
        return self.values.scalar(column, key, kind, operator, value)

    def _custom(self, field: Field, operator: str, value: Any) -> Condition:
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


def cutoff(rule: Top, settings: Settings, tenant: str, values: Values) -> sa.Select[tuple[int]]:
    """The value of the last who is among the top, or the bottom; no row if all are."""
    field = find(rule.field)
    record = PointsAccount if field.source is Source.LOYALTY else Metrics
    ranked = table(record).alias("ranked")
    value = ranked.c[field.attribute]
    some = [ranked.c.tenant == tenant, value > _ZERO]
    if record is PointsAccount:
        some.append(ranked.c.programme == settings.programme.name)
    if rule.count is not None:
        before: Expression = values.literal(rule.count - 1)
    else:
        share = sa.func.count() * values.literal(rule.percent) - 1
        # Rounded up; of nobody it is 0, for whole numbers are cut towards 0.
        before = sa.select(share // 100_000).where(*some).scalar_subquery()
    order = value.asc() if rule.bottom else value.desc()
    return sa.select(value).where(*some).order_by(order).limit(1).offset(before)
