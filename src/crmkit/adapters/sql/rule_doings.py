"""What customers did, as selections of their ids from the occasions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import attrs
import sqlalchemy as sa

from crmkit.adapters.sql.rule_times import Instant, numbered
from crmkit.adapters.sql.rule_values import Condition, Expression, Values, joined
from crmkit.adapters.sql.tables import table
from crmkit.errors import RuleError
from crmkit.model import Occasion
from crmkit.model.rule import AllOf, AnyOf, Compare, Did, Not, Occurs, Rule, Then, Window, leaves
from crmkit.model.time import CALENDAR_UNITS
from crmkit.segmentation.comparing import value_test

_COLUMNS: Final = {"amount": "amount_minor"}
_MICROSECOND: Final = timedelta(microseconds=1)
_AT_ALL: Final = ((">=", 1), (">", 0))
_ONE: Final = sa.literal_column("1", sa.Integer())
_NONE: Final = sa.literal_column("0", sa.Integer())


@attrs.frozen
class Chosen:
    """The customers of a selection of ids, or with `others` all the others.

    `unique` says that each is there once.
    """

    ids: sa.Select[Any]
    others: bool = False
    unique: bool = True


@attrs.frozen
class Doings:
    """Writes the selections of one rule."""

    tenant: str
    instant: Instant
    values: Values

    def tells(self, rule: Did | Then) -> bool:
        """Whether a statement can tell; else only who did nothing of that is surely known."""
        if isinstance(rule, Then):
            return rule.within.exact is not None
        units = rule.measure in CALENDAR_UNITS
        return not units or self.instant.edges(rule.measure, rule.window) is not None

    def chosen(self, rule: Did | Then) -> Chosen:
        """Those whom the leaf fits."""
        return self.did(rule) if isinstance(rule, Did) else self.then(rule)

    def did(self, rule: Did) -> Chosen:
        """Those whose occasions measure up."""
        o = table(Occasion).alias("o")
        named = _names_item(rule.what.where)
        query = self._begun(o, rule.what, rule.window)
        several = named and not _one_item(rule.what.where)
        count = sa.func.count(sa.distinct(o.c.fact)) if several else sa.func.count()
        owner = self.values.unindexed(o.c.customer_id)
        match rule.measure:
            case "count" if (rule.operator, rule.value) in _AT_ALL:
                return Chosen(query, unique=False)
            case "count":
                return self._measured(query.group_by(owner), count, rule)
            case "sum":
                kept = sa.func.sum(sa.func.coalesce(o.c.amount_minor, _NONE))
                return self._measured(query.group_by(owner), kept, rule)
            case "first" | "last":
                end = sa.func.min if rule.measure == "first" else sa.func.max
                return self._moment(query, owner, end(o.c.happened_at), rule)
        edges = self.instant.edges(rule.measure, rule.window) or []
        return self._fullest(o, query, count, edges, rule)

    def _measured(self, grouped: sa.Select[Any], number: Expression, rule: Did) -> Chosen:
        """A number that is 0 where there are no occasions."""
        if rule.operator == "exists":
            return Chosen(grouped.having(sa.false()), others=bool(rule.value))
        holds = self.values.test(number, rule.operator, rule.value)
        if value_test(rule.operator, rule.value)(0):
            return Chosen(grouped.having(sa.not_(holds.self_group())), others=True)
        return Chosen(grouped.having(holds))

    def _moment(
        self, query: sa.Select[Any], owner: Expression, end: Expression, rule: Did
    ) -> Chosen:
        if rule.operator == "exists":
            return Chosen(query.group_by(owner), others=not rule.value)
        holds = self.instant.moment(end, rule.operator, rule.value, self.values)
        return Chosen(query.group_by(owner).having(holds))

    def _fullest(
        self, o: Any, query: sa.Select[Any], count: Expression, edges: list[int], rule: Did
    ) -> Chosen:
        unit = [numbered(o.c.happened_at, edges)] if edges else []
        in_units = query.group_by(self.values.unindexed(o.c.customer_id), *unit)
        if rule.operator in (">", ">=", "<", "<="):
            # The fullest is above exactly if one is: no need to look for it.
            return attrs.evolve(self._measured(in_units, count, rule), unique=False)
        units = in_units.add_columns(count.label("n")).subquery("units")
        owners = sa.select(units.c.customer_id).group_by(units.c.customer_id)
        return self._measured(owners, sa.func.max(units.c.n), rule)

    def then(self, rule: Then) -> Chosen:
        """Those of whom one occasion was followed by another, or was not."""
        within = (rule.within.exact or timedelta(0)) // _MICROSECOND
        f, s = table(Occasion).alias("f"), table(Occasion).alias("s")
        deadline = f.c.happened_at + self.values.literal(within)
        same = rule.first.kind == rule.second.kind
        follower = sa.select(_ONE).where(
            s.c.tenant == f.c.tenant,
            s.c.customer_id == f.c.customer_id,
            s.c.kind == rule.second.kind,
            s.c.happened_at >= f.c.happened_at,
            s.c.happened_at <= deadline,
            s.c.happened_at <= self.instant.micros,
            *self._counting(s, rule.second),
            *([s.c.fact != f.c.fact] if same else []),
        )
        query = self._begun(f, rule.first, rule.window)
        if rule.follows:
            return Chosen(query.where(follower.exists()), unique=False)
        over = f.c.happened_at < self.instant.micros - within
        return Chosen(query.where(over, sa.not_(follower.exists())), unique=False)

    def begun(self, rule: Did | Then) -> sa.Select[Any]:
        """All who did that at all, the first of the two."""
        what = rule.what if isinstance(rule, Did) else rule.first
        return self._begun(table(Occasion).alias("o"), what, rule.window)

    def _begun(self, o: Any, what: Occurs, window: Window | None) -> sa.Select[Any]:
        low, high = self.instant.bounds(window)
        start = [] if low is None else [o.c.happened_at >= low]
        return sa.select(o.c.customer_id).where(
            o.c.tenant == self.tenant,
            o.c.kind == what.kind,
            *start,
            o.c.happened_at < high,
            *self._counting(o, what),
        )

    def _holding(self, o: Any) -> Condition:
        now = self.instant.micros
        return sa.and_(o.c.since <= now, sa.or_(o.c.until.is_(None), o.c.until > now))

    def _counting(self, o: Any, what: Occurs) -> list[Condition]:
        """The version that holds, the parts that count, and the rule's own condition."""
        found = [self._holding(o)]
        if not _names_item(what.where):
            found.append(o.c.part == _NONE)
        elif not _one_item(what.where):  # the whole of several items names none
            p = table(Occasion).alias(f"{o.name}_part")
            parted = sa.select(_ONE).where(
                p.c.tenant == o.c.tenant,
                p.c.story == o.c.story,
                p.c.fact == o.c.fact,
                p.c.part > _NONE,
                self._holding(p),
            )
            found.append(sa.or_(o.c.part > _NONE, sa.not_(parted.exists())))
        return [*found, self._where(o, what.where)] if what.where is not None else found

    def _where(self, o: Any, where: Rule) -> Condition:
        match where:
            case AllOf(parts):
                return joined(sa.and_, [self._where(o, p) for p in parts])
            case AnyOf(parts):
                return joined(sa.or_, [self._where(o, p) for p in parts])
            case Not(part):
                return sa.not_(self._where(o, part).self_group())
            case Compare(field, operator, value):
                left: Expression = o.c[_COLUMNS.get(field, field)]
                if operator == "exists":
                    return left.is_not(None) if value else left.is_(None)
                return sa.and_(left.is_not(None), self.values.test(left, operator, value))
        raise RuleError("an occasion has no such condition")


def _names_item(where: Rule | None) -> bool:
    named = () if where is None else leaves(where)
    return any(isinstance(leaf, Compare) and leaf.field == "item" for leaf in named)


def _one_item(where: Rule | None) -> bool:
    """Whether only one item fits, of which a fact has one part at the most."""
    match where:
        case AllOf(parts):
            return any(map(_one_item, parts))
        case Compare("item", "="):
            return True
    return False
