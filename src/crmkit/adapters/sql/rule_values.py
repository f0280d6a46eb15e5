"""Comparisons of columns and of JSON values, where SQLite and PostgreSQL differ."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import operators

from crmkit.errors import StorageError

Expression: TypeAlias = sa.ColumnElement[Any]
Condition: TypeAlias = sa.ColumnElement[bool]

_LONGEST_CHAIN: Final = 100
_ZERO: Final = sa.literal_column("0", sa.Integer())
_ONE: Final = sa.literal_column("1", sa.Integer())


def _word(word: str) -> Expression:
    """One of crmkit's own words, written out: databases bound the parameters of a query."""
    return sa.literal_column(f"'{word}'", sa.Text())


def joined(operator: Callable[..., Condition], parts: Sequence[Condition]) -> Condition:
    """`and_` or `or_` of many parts, grouped so that SQLite's limit of depth is kept."""
    if len(parts) > _LONGEST_CHAIN:
        chunks = range(0, len(parts), _LONGEST_CHAIN)
        parts = [sealed(operator(*parts[i : i + _LONGEST_CHAIN])) for i in chunks]
    if not parts:
        # Sealed, or SQLAlchemy leaves out what stands beside it, the tenant too.
        return sa.true() if operator is sa.and_ else sealed(sa.false())
    return operator(*parts)


def plus(column: Expression) -> Expression:
    """The column out of the reach of SQLite's indexes: it likes to walk a whole tenant in order."""
    return sa.sql.expression.UnaryExpression(column, operator=operators.custom_op("+"))


def sealed(condition: Condition) -> Condition:
    """The condition kept together: SQLAlchemy flattens `and` within `and`, grouped or not."""
    return sa.func.coalesce(condition, sa.false())


class Values(Protocol):
    """What each database writes in its own way.

    A `key` names a member of the column's JSON object; without one the column itself is
    the value. `kind` is string, number or boolean: a JSON value of another kind does not
    compare.
    """

    def literal(self, value: Any) -> Expression:
        """A parameter, typed so that comparing it rounds nothing."""
        ...

    def wide(self, whole: Expression) -> Expression:
        """A whole number whose products do not overflow."""
        ...

    def test(self, left: Expression, operator: str, value: Any) -> Condition:
        """A present value compared."""
        ...

    def compared(self, left: Expression, operator: str, right: Expression) -> Condition:
        """One of the six comparisons between two expressions."""
        ...

    def among(self, customer: Expression, ids: sa.Select[Any]) -> Condition:
        """The customer is one of a selection of ids that are never missing."""
        ...

    def unindexed(self, column: Expression) -> Expression:
        """The column, without its index being walked for the sake of its order."""
        ...

    def scalar(
        self, column: Expression, key: str, kind: str, operator: str, value: Any
    ) -> Condition:
        """A scalar of a JSON object compared; `exists` asks for any value but null."""
        ...

    def array(self, column: Expression, key: str | None, operator: str, value: Any) -> Condition:
        """Whether a JSON array of texts contains a text, or any or all of several."""
        ...


class _Common(abc.ABC):
    _position: Callable[..., Expression]

    def literal(self, value: Any) -> Expression:
        if isinstance(value, str):
            return sa.literal(value, sa.Text())
        if isinstance(value, bool):
            return sa.literal(value, sa.Boolean())
        return sa.literal(value, sa.BigInteger()) if isinstance(value, int) else self.real(value)

    @abc.abstractmethod
    def real(self, value: float) -> Expression: ...

    def compared(self, left: Expression, operator: str, right: Expression) -> Condition:
        match operator:
            case "=":
                return left == right
            case "!=":
                return left != right
            case "<":
                return left < right
            case "<=":
                return left <= right
            case ">":
                return left > right
        return left >= right

    def test(self, left: Expression, operator: str, value: Any) -> Condition:
        match operator:
            case "between":
                low, high = map(self.literal, value)
                return sa.and_(left >= low, left <= high)
            case "in":
                return left.in_([self.literal(v) for v in value])
            case "not_in":
                return left.not_in([self.literal(v) for v in value])
            case "contains":
                # Not LIKE: it knows wildcards and, on SQLite, ignores case.
                return self._position(left, self.literal(value)) > _ZERO
            case "contains_any" | "contains_all":
                every = sa.or_ if operator == "contains_any" else sa.and_
                return sealed(joined(every, [self.test(left, "contains", v) for v in value]))
            case "starts_with":
                return sa.func.substr(left, 1, len(value)) == self.literal(value)
        return self.compared(left, operator, self.literal(value))


class _Sqlite(_Common):
    _position = staticmethod(sa.func.instr)
    _KINDS: Final = {
        "string": ("text",),
        "number": ("integer", "real"),
        "boolean": ("true", "false"),
    }

    def real(self, value: float) -> Expression:
        return sa.literal(value, sa.Float())

    def wide(self, whole: Expression) -> Expression:
        return whole  # products that overflow become floating, far from any spend

    def among(self, customer: Expression, ids: sa.Select[Any]) -> Condition:
        return customer.in_(ids)

    def unindexed(self, column: Expression) -> Expression:
        return plus(column)

    def scalar(
        self, column: Expression, key: str, kind: str, operator: str, value: Any
    ) -> Condition:
        if operator == "exists":
            found = self._member(column, key, lambda m: m.c.type != _word("null"))
            return found if value else sa.not_(found)
        return self._member(
            column,
            key,
            lambda m: sa.and_(
                m.c.type.in_([_word(k) for k in self._KINDS[kind]]),
                self.test(m.c.value, operator, value),
            ),
        )

    def array(self, column: Expression, key: str | None, operator: str, value: Any) -> Condition:
        if key is None:
            return self._holds(column, operator, value)
        if operator == "exists":
            found = self._member(column, key, lambda m: self._holds(_array(m), "exists", True))
            return found if value else sa.not_(found)
        return self._member(column, key, lambda m: self._holds(_array(m), operator, value))

    def _member(
        self, column: Expression, key: str, test: Callable[[sa.TableValuedAlias], Condition]
    ) -> Condition:
        # Not by path: paths cannot quote every name, and older versions compare a name
        # with its escaped form.
        member = sa.func.json_each(column).table_valued("key", "value", "type", name="member")
        found = sa.select(_ONE).select_from(member)
        return found.where(member.c.key == self.literal(key), test(member)).exists()

    def _holds(self, array: Expression, operator: str, value: Any) -> Condition:
        element = sa.func.json_each(array).table_valued("value", "type", name="element")
        if operator == "exists":
            some = sa.select(_ONE).select_from(element).exists()
            return some if value else sa.not_(some)
        wanted = list(dict.fromkeys([value] if operator == "contains" else value))
        count = (
            sa.select(sa.func.count(sa.distinct(element.c.value)))
            .select_from(element)
            .where(
                element.c.type == _word("text"),
                element.c.value.in_([self.literal(w) for w in wanted]),
            )
            .scalar_subquery()
        )
        return count >= (len(wanted) if operator == "contains_all" else 1)


def _array(member: sa.TableValuedAlias) -> Expression:
    # Guarded: json_each of a text that is no JSON is an error.
    return sa.case((member.c.type == _word("array"), member.c.value))


class _Postgres(_Common):
    _position = staticmethod(sa.func.strpos)

    def real(self, value: float) -> Expression:
        # As decimal digits: PostgreSQL would round whole numbers to compare with a float.
        return sa.literal(Decimal(repr(value)), sa.Numeric())

    def wide(self, whole: Expression) -> Expression:
        return sa.cast(whole, sa.Numeric())

    def among(self, customer: Expression, ids: sa.Select[Any]) -> Condition:
        # Not IN: where it cannot be a join, PostgreSQL compares with one id after the other
        # as soon as it expects more of them than its memory for a hash holds.
        found = ids.subquery()
        (owner,) = found.c
        return sa.select(_ONE).where(owner == customer).exists()

    def unindexed(self, column: Expression) -> Expression:
        return column

    def scalar(
        self, column: Expression, key: str, kind: str, operator: str, value: Any
    ) -> Condition:
        document = sa.func.jsonb_extract_path(column, self.literal(key))
        text = sa.func.jsonb_extract_path_text(column, self.literal(key), type_=sa.Text())
        typed: Expression = sa.collate(text, "C")
        if operator == "exists":
            kind_of = sa.func.jsonb_typeof(document)
            found: Condition = sa.func.coalesce(kind_of != _word("null"), sa.false())
            return found if value else sa.not_(found)
        if kind == "number":
            typed = sa.cast(text, sa.Numeric())
        elif kind == "boolean":
            typed = sa.cast(text, sa.Boolean())
        return self._of_kind(document, kind, self.test(typed, operator, value))

    def array(self, column: Expression, key: str | None, operator: str, value: Any) -> Condition:
        document = column if key is None else sa.func.jsonb_extract_path(column, self.literal(key))
        if operator == "exists":
            some = self._of_kind(document, "array", sa.func.jsonb_array_length(document) > _ZERO)
            return some if value else sa.not_(some)
        wanted = [self.literal(w) for w in ([value] if operator == "contains" else value)]
        holds = document.op("?&" if operator == "contains_all" else "?|", is_comparison=True)
        return self._of_kind(document, "array", holds(postgresql.array(wanted)))

    def _of_kind(self, document: Expression, kind: str, test: Condition) -> Condition:
        # CASE, for AND promises no order and a cast of the wrong kind is an error.
        return sa.case((sa.func.jsonb_typeof(document) == _word(kind), test), else_=sa.false())


def values_of(dialect: str) -> Values:
    """The comparisons of a database, by SQLAlchemy's name of its dialect."""
    if dialect == "sqlite":
        return _Sqlite()
    if dialect == "postgresql":
        return _Postgres()
    raise StorageError(f"rules cannot run on {dialect!r}; expected sqlite or postgresql")
