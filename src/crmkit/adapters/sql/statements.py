"""SQL text for the generic operations, built by SQLAlchemy once and then reused.

The units of work hand this text to the driver itself: on the hot path SQLAlchemy's own
execution costs several times what SQLite needs for the statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import operators

from crmkit.adapters.sql.codec import remembered
from crmkit.adapters.sql.tables import JSON_TEXT, table
from crmkit.model import Customer, Identity, MatchToken, entry_of
from crmkit.model.catalogue import Gather


@remembered
def dialect(name: str) -> Dialect:
    """A dialect whose placeholders are positional; such text suits every driver we name."""
    if name == "sqlite":
        return sqlite.dialect(paramstyle="qmark")
    return psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]


@attrs.frozen
class Statement:
    """SQL text, and where its values come from: parameter names in order."""

    sql: str
    order: tuple[str, ...]
    constants: Mapping[str, Any]

    def values(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values in the text's order."""
        return tuple([given[n] if n in given else self.constants[n] for n in self.order])


def rendered(statement: Any, name: str) -> tuple[str, tuple[Any, ...]]:
    """Text and values of a statement that is built for one use."""
    compiled = statement.compile(dialect=dialect(name), compile_kwargs={"render_postcompile": True})
    params = compiled.construct_params(escape_names=False)
    return str(compiled), tuple(params[p] for p in compiled.positiontup or ())


def _compiled(statement: Any, name: str) -> Statement:
    compiled = statement.compile(dialect=dialect(name))
    constants = {n: v for n, v in compiled.params.items() if v is not None}
    return Statement(str(compiled), tuple(compiled.positiontup or ()), constants)


Shape = tuple[tuple[str, int, bool], ...]
"""What a filter looks like: each field, how many values fit it, and whether being empty does."""

AS_ARRAY = -1
"""In a shape: the values come as one array, so that their number changes no statement."""


def _insert(
    name: str, kind: type, *, many: bool = False, told: tuple[str, ...] | None = None
) -> Any:
    """Insert a row; with `many`, on PostgreSQL, rows of which each column is an array.

    Columns that are not `told`, if those are named, are zero or empty.
    """
    build = sqlite.insert if name == "sqlite" else postgresql.insert
    t = table(kind)
    empty = {c.name: _EMPTY[c.type.python_type] for c in t.c if told and c.name not in told}
    empty = {c: sa.null() if t.c[c].nullable else value for c, value in empty.items()}
    if not many:
        given: dict[str, Any] = {c: sa.bindparam(c) for c in t.c.keys() if c not in empty}  # noqa: SIM118
        return build(t).values(given | empty)
    sent = {c.name: _sent(c) for c in t.c if c.name not in empty}
    arrays = [sa.bindparam(c, type_=postgresql.ARRAY(type_)) for c, type_ in sent.items()]
    rows = sa.func.unnest(*arrays).table_valued(*(sa.column(c, sent[c]) for c in sent))
    named = rows.render_derived().c
    chosen = [
        named[c] if type_ is t.c[c].type else sa.cast(named[c], t.c[c].type)
        for c, type_ in sent.items()
    ]
    return build(t).from_select([*sent, *empty], sa.select(*chosen, *empty.values()))


_EMPTY: Final[Mapping[type, Any]] = {
    int: sa.literal_column("0"),
    str: sa.literal_column("''"),
    bool: sa.false(),
}


def _sent(column: sa.Column[Any]) -> Any:
    """How a column's values are sent in an array: documents as text."""
    return sa.Text() if column.type is JSON_TEXT else column.type


@remembered
def add(name: str, kind: type, *, many: bool = False) -> Statement:
    """Insert; values are the columns in order."""
    return _compiled(_insert(name, kind, many=many), name)


@remembered
def add_if_absent(name: str, kind: type, *, many: bool = False) -> Statement:
    """Insert unless the key is there."""
    return _compiled(_insert(name, kind, many=many).on_conflict_do_nothing(
        index_elements=list(entry_of(kind).key)), name)  # fmt: skip


@remembered
def put(name: str, kind: type, *, many: bool = False) -> Statement:
    """Insert, or replace the row with the same key."""
    insert, entry = _insert(name, kind, many=many), entry_of(kind)
    rest = {c: insert.excluded[c] for c in entry.names if c not in entry.key}
    if not rest:
        return add_if_absent(name, kind, many=many)
    upsert = insert.on_conflict_do_update(index_elements=list(entry.key), set_=rest)
    return _compiled(upsert, name)


@remembered
def gather(name: str, kind: type, told: tuple[str, ...], *, many: bool = False) -> Statement:
    """Insert, or take the cached values in; those of these columns, all others are nothing."""
    insert, entry, t = _insert(name, kind, many=many, told=told), entry_of(kind), table(kind)
    taken = {
        c.name: _gathered(name, c.gather, t.c, insert.excluded, c.name)
        for c in entry.columns
        if c.gather is not None and c.name in told
    }
    key = list(entry.key)
    if not taken:
        return _compiled(insert.on_conflict_do_nothing(index_elements=key), name)
    return _compiled(insert.on_conflict_do_update(index_elements=key, set_=taken), name)


def _gathered(name: str, how: Gather, kept: Any, added: Any, field: str) -> Any:
    old, new = kept[field], added[field]
    if how is Gather.SUM:
        return old + new
    if how is Gather.NAME:
        later = sa.or_(
            kept.last_at.is_(None),
            added.last_at > kept.last_at,
            sa.and_(added.last_at == kept.last_at, new > old),
        )
        return sa.case((later, new), else_=old)
    if name == "sqlite":  # its min and max give nothing where one of the two is empty
        both = sa.func.coalesce(old, new), sa.func.coalesce(new, old)
        return sa.func.min(*both) if how is Gather.FIRST else sa.func.max(*both)
    return sa.func.least(old, new) if how is Gather.FIRST else sa.func.greatest(old, new)


@remembered
def hold(name: str, kind: type, shape: Shape, *, lock: bool) -> Statement:
    """Select keys, in their order; on PostgreSQL their rows are locked."""
    t, field = table(kind), entry_of(kind).key[-1]
    query = sa.select(t.c[field]).where(*_where(t, shape)).order_by(t.c[field])
    return _compiled(query.with_for_update(key_share=True) if lock else query, name)


@remembered
def increase(name: str, kind: type, fields: tuple[str, ...]) -> Statement:
    """Insert, or add to these fields of the row with the same key."""
    insert, entry, t = _insert(name, kind), entry_of(kind), table(kind)
    added = {f: t.c[f] + sa.bindparam(f"by_{f}") for f in fields}
    upsert = insert.on_conflict_do_update(index_elements=list(entry.key), set_=added)
    return _compiled(upsert, name)


@remembered
def take(name: str, kind: type, fields: tuple[str, ...], floored: tuple[str, ...]) -> Statement:
    """Add to fields of a row unless one would fall below its floor."""
    entry, t = entry_of(kind), table(kind)
    where = [t.c[k] == sa.bindparam(f"k_{k}") for k in entry.key]
    where += [t.c[f] + sa.bindparam(f"by_{f}") >= sa.bindparam(f"low_{f}") for f in floored]
    added = {f: t.c[f] + sa.bindparam(f"by_{f}") for f in fields}
    return _compiled(sa.update(t).where(*where).values(added), name)


@remembered
def get(name: str, kind: type, *, lock: bool) -> Statement:
    """Select by key."""
    t = table(kind)
    query = sa.select(t).where(*(t.c[k] == sa.bindparam(k) for k in entry_of(kind).key))
    if lock:
        query = query.with_for_update(key_share=True)
    return _compiled(query, name)


def _where(t: sa.Table, shape: Shape) -> list[Any]:
    conditions: list[Any] = [t.c.tenant == sa.bindparam("tenant")]
    for field, count, empty in shape:
        column = t.c[field]
        fits: list[Any] = []
        if count > 0:
            choices: list[Any] = [sa.bindparam(f"{field}_{i}") for i in range(count)]
            fits.append(column == choices[0] if count == 1 else column.in_(choices))
        if count == AS_ARRAY:
            array = sa.bindparam(f"{field}_0", type_=postgresql.ARRAY(column.type))
            fits.append(column == sa.any_(array))
        if empty:
            fits.append(column.is_(None))
        conditions.append(sa.or_(*fits) if fits else sa.false())
    return conditions


def _indexed(kind: type, shape: Shape, order: Sequence[str]) -> bool:
    """Whether an index holds the filtered rows together and in this order."""
    entry = entry_of(kind)
    led = {"tenant", *(f for f, *_ in shape)}
    for fields in (entry.key, *(i.fields for i in entry.indexes)):
        n = len(led)
        if set(fields[:n]) == led and fields[n : n + len(order)] == tuple(order):
            return True
    return False


def _plus(column: Any) -> Any:
    # SQLite would rather walk a whole tenant in the key's order than sort the few rows
    # that the filter leaves; unary plus keeps that index out of its reach.
    return sa.sql.expression.UnaryExpression(column, operator=operators.custom_op("+"))


@remembered
def find(
    name: str,
    kind: type,
    shape: Shape,
    order: Sequence[str],
    descending: bool,
    after: bool,
    limit: bool,
    lock: bool = False,
) -> Statement:
    """Select by equality, in order, from a position on."""
    t = table(kind)
    query = sa.select(t).where(*_where(t, shape))
    columns: list[Any] = [t.c[f] for f in order]
    if name == "sqlite" and shape and not _indexed(kind, shape, order):
        columns = [_plus(c) for c in columns]
    if after:
        place = sa.tuple_(*columns)
        edge = sa.tuple_(*(sa.bindparam(f"after_{f}") for f in order))
        query = query.where(place < edge if descending else place > edge)
    query = query.order_by(*(c.desc() if descending else c for c in columns))
    if limit:
        query = query.limit(sa.bindparam("limit"))
    if lock:
        query = query.with_for_update(key_share=True)
    return _compiled(query, name)


@remembered
def due(name: str, kind: type, field: str) -> Statement:
    """Select those whose field is not later than an instant, the earliest first."""
    t = table(kind)
    query = sa.select(t).where(
        t.c.tenant == sa.bindparam("tenant"),
        t.c[field].is_not(None),  # the index may leave out the others
        t.c[field] <= sa.bindparam("by"),
    )
    return _compiled(query.order_by(t.c[field]).limit(sa.bindparam("limit")), name)


@remembered
def totals(
    name: str,
    kind: type,
    field: str,
    by: tuple[str, ...],
    upto: tuple[str, ...],
    beyond: tuple[str, ...],
    shape: Shape,
) -> Statement:
    """Sum a column, for each combination of values in others."""
    t = table(kind)
    groups = [t.c[f] for f in by]
    query = sa.select(*groups, sa.func.sum(t.c[field])).where(*_where(t, shape))
    query = query.where(*(t.c[f] <= sa.bindparam(f"upto_{f}") for f in upto))
    query = query.where(*(t.c[f] > sa.bindparam(f"beyond_{f}") for f in beyond))
    return _compiled(query.group_by(*groups) if groups else query, name)


@remembered
def rows(
    name: str, kind: type, fields: tuple[str, ...], shape: Shape, after: bool, limit: bool
) -> Statement:
    """Select some columns by equality, in the order of the key, from a position on."""
    t, key = table(kind), entry_of(kind).key[1:]
    query = sa.select(*(t.c[f] for f in fields)).where(*_where(t, shape))
    columns: list[Any] = [t.c[f] for f in key]
    if name == "sqlite" and shape and not _indexed(kind, shape, key):
        columns = [_plus(c) for c in columns]
    if after:
        edge = sa.tuple_(*(sa.bindparam(f"after_{f}") for f in key))
        query = query.where(sa.tuple_(*columns) > edge)
    query = query.order_by(*columns)
    return _compiled(query.limit(sa.bindparam("limit")) if limit else query, name)


@remembered
def sharing(name: str, tokens: int) -> Statement:
    """The first customers of each of some match tokens."""
    t = table(MatchToken)
    if name == "postgresql":
        asked = (
            sa.func.unnest(
                sa.bindparam("tokens", type_=postgresql.ARRAY(sa.Text())),
                sa.bindparam("limits", type_=postgresql.ARRAY(sa.Integer())),
            )
            .table_valued(sa.column("token", sa.Text()), sa.column("most", sa.Integer()))
            .render_derived("asked")
        )
        of = [t.c.tenant == sa.bindparam("tenant"), t.c.fingerprint == asked.c.token]
        found = sa.select(t.c.customer_id).where(*of).order_by(t.c.customer_id)
        first = found.limit(asked.c.most).lateral()
        query = sa.select(asked.c.token, first.c.customer_id).select_from(
            asked.join(first, sa.true())
        )
        return _compiled(query, name)
    parts = []
    for n in range(tokens):
        of = [t.c.tenant == sa.bindparam("tenant"), t.c.fingerprint == sa.bindparam(f"token_{n}")]
        found = sa.select(t.c.fingerprint, t.c.customer_id).where(*of).order_by(t.c.customer_id)
        parts.append(sa.select(found.limit(sa.bindparam(f"most_{n}")).subquery()))
    return _compiled(sa.union_all(*parts), name)


@remembered
def linked(name: str, kinds: int, fingerprints: int) -> Statement:
    """Identities with their customers: the columns of both, one after the other."""
    i, c = table(Identity), table(Customer)
    query = sa.select(*i.c, *c.c).select_from(
        i.join(c, sa.and_(c.c.tenant == i.c.tenant, c.c.id == i.c.customer_id))
    )
    where = _where(i, (("kind", kinds, False), ("fingerprint", fingerprints, False)))
    # In the key's order, so that of several owners every storage names the same first.
    return _compiled(query.where(*where).order_by(i.c.kind, i.c.fingerprint, i.c.slot), name)


@remembered
def change(name: str, kind: type, fields: tuple[str, ...], shape: Shape) -> Statement:
    """Set fields of the rows a filter fits."""
    t = table(kind)
    update = sa.update(t).where(*_where(t, shape))
    return _compiled(update.values({f: sa.bindparam(f"set_{f}") for f in fields}), name)


@remembered
def count(name: str, kind: type, shape: Shape) -> Statement:
    """Count by equality."""
    t = table(kind)
    return _compiled(sa.select(sa.func.count()).select_from(t).where(*_where(t, shape)), name)


@remembered
def remove(name: str, kind: type, shape: Shape) -> Statement:
    """Delete by equality."""
    t = table(kind)
    return _compiled(sa.delete(t).where(*_where(t, shape)), name)


def page_of_ids(query: Any, after: str | None, limit: int | None, name: str) -> Any:
    """A page of a selection of customer ids, each with a flag, ascending."""
    (identifier, _), found = query.selected_columns, query.subquery()
    # All of them SQLite would else find by the key, one customer's row after the other.
    scanned = name == "sqlite" and limit is None and identifier is table(Customer).c.id
    identifier = found.c[0]
    picked = sa.select(found).order_by(_plus(identifier) if scanned else identifier)
    if after is not None:
        picked = picked.where(identifier > after)
    return picked if limit is None else picked.limit(limit)


def counted(query: Any, name: str) -> Any:
    """How many rows such a selection has, and the ids of those without the flag."""
    flag = query.selected_columns[1]
    if isinstance(getattr(flag, "element", None), type(sa.true())):  # nobody is in doubt
        return sa.select(sa.func.count(), sa.null()).select_from(query.subquery())
    found = query.subquery()
    identifier, flag = found.c
    listed = sa.func.json_group_array if name == "sqlite" else sa.func.array_agg
    return sa.select(sa.func.count(), listed(identifier).filter(sa.not_(flag)))
