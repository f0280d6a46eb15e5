"""A unit of work on a driver's connection that has a transaction open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from hashlib import blake2b
from itertools import groupby, islice
from typing import Any, TypeVar

from crmkit.adapters.sql import rules, statements
from crmkit.adapters.sql.codec import Codec, codec
from crmkit.config import Settings
from crmkit.errors import RuleError, StorageError
from crmkit.model import Customer, Identity
from crmkit.model.catalogue import evolved, gathered
from crmkit.model.rule import Rule, Top
from crmkit.model.time import to_micros
from crmkit.ports.storage import UnitOfWork

R = TypeVar("R")

BATCH_ROWS = 500


def _lock_key(tenant: str, name: str) -> int:
    """PostgreSQL locks whole numbers of 64 bits."""
    return int.from_bytes(blake2b(f"{tenant}:{name}".encode(), digest_size=8).digest(), signed=True)


def _pad(values: list[Any]) -> None:
    """Repeat the last, so that lists have few lengths and there are few statements to prepare."""
    if len(values) > 2:
        values += values[-1:] * ((1 << (len(values) - 1).bit_length()) - len(values))


def _batched(records: Iterable[object], size: int) -> Iterator[list[object]]:
    """The records, so many at a time."""
    if isinstance(records, list) and len(records) <= size:
        yield records
        return
    rest = iter(records)
    while batch := list(islice(rest, size)):
        yield batch


def _unique(
    coder: Codec, records: Sequence[object], joined: Callable[[Any, Any], object]
) -> Iterable[object]:
    found: dict[Sequence[Any], object] = {}
    for record in records:
        key = coder.key(record)
        found[key] = joined(found[key], record) if key in found else record
    return found.values()


class SqlUnitOfWork(UnitOfWork):
    """The generic operations as SQL; `cursor` is the driver's.

    Where statements are sent without waiting for their answers, `sync` waits for them. `lender`
    makes the connection that the host's own code may use in this transaction.
    """

    def __init__(
        self,
        cursor: Any,
        dialect: str,
        tenant: str,
        *,
        writable: bool,
        sync: Callable[[], None] | None = None,
        lender: Callable[[], Any] | None = None,
    ) -> None:
        self.tenant = tenant
        self._cursor = cursor
        self._dialect = dialect
        self._writable = writable
        self._sync = sync
        self._lender = lender
        self._lent: Any = None

    def _write(self, sql: str, values: Sequence[Any]) -> None:
        if not self._writable:
            raise StorageError("this unit of work only reads")
        self._cursor.execute(sql, values)

    def _change(self, sql: str, values: Sequence[Any]) -> int:
        """Execute a change; returns how many rows it changed."""
        self._write(sql, values)
        if self._sync:
            self._sync()
        return int(self._cursor.rowcount)

    def _row(self, record: Any) -> tuple[Codec, list[Any]]:
        coder = codec(type(record))
        return coder, self._rows(coder, [record])[0]

    def _rows(self, coder: Codec, records: Iterable[Any]) -> list[list[Any]]:
        rows = [coder.encode(record) for record in records]
        tenant = coder.names.index("tenant")
        if any(row[tenant] != self.tenant for row in rows):
            raise StorageError("a record of another tenant")
        return rows

    def add(self, record: object) -> None:
        """See `UnitOfWork.add`."""
        _, row = self._row(record)
        self._write(statements.add(self._dialect, type(record)).sql, row)

    def add_if_absent(self, record: object) -> bool:
        """See `UnitOfWork.add_if_absent`."""
        _, row = self._row(record)
        return self._change(statements.add_if_absent(self._dialect, type(record)).sql, row) == 1

    def add_many(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.add_many`."""
        self._write_many(statements.add, records)

    def put_many(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.put_many`."""
        self._write_many(statements.put, records, lambda _, later: later)

    def gather(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.gather`."""
        for kind, group in groupby(records, type):
            coder = codec(kind)
            for batch in _batched(group, BATCH_ROWS):
                rows = self._rows(coder, _unique(coder, batch, gathered))
                # Most of what could be counted is nothing, and need not be sent.
                telling = [n for n, column in enumerate(zip(*rows, strict=True)) if any(column)]
                told = tuple(coder.names[n] for n in telling)
                trimmed = [[row[n] for n in telling] for row in rows]
                self._write_rows(kind, partial(statements.gather, told=told), trimmed)

    def hold(self, kind: type, keys: Iterable[str]) -> frozenset[str]:
        """See `UnitOfWork.hold`."""
        field, wanted = codec(kind).entry.key[-1], tuple(dict.fromkeys(keys))
        if not wanted:
            return frozenset()
        shape, values = self._filter(kind, {field: wanted})
        statement = statements.hold(self._dialect, kind, shape, lock=self._writable)
        self._cursor.execute(statement.sql, statement.values(values))
        return frozenset([row[0] for row in self._cursor.fetchall()])

    def _write_many(
        self,
        statement: Callable[..., statements.Statement],
        records: Iterable[object],
        joined: Callable[[Any, Any], object] | None = None,
    ) -> None:
        """Write records, some hundreds at a time; `joined` makes one of two with one key."""
        for kind, group in groupby(records, type):
            for batch in _batched(group, BATCH_ROWS):
                # A statement on PostgreSQL may not meet a row twice.
                coder = codec(kind)
                unique = batch if joined is None else _unique(coder, batch, joined)
                self._write_rows(kind, statement, self._rows(coder, unique))

    def _write_rows(
        self,
        kind: type,
        statement: Callable[..., statements.Statement],
        rows: Sequence[Sequence[Any]],
    ) -> None:
        if len(rows) == 1:
            self._write(statement(self._dialect, kind).sql, rows[0])
        elif self._dialect == "postgresql":
            columns = [list(column) for column in zip(*rows, strict=True)]
            self._write(statement(self._dialect, kind, many=True).sql, columns)
        elif not self._writable:
            raise StorageError("this unit of work only reads")
        else:
            self._cursor.executemany(statement(self._dialect, kind).sql, rows)

    def put(self, record: object) -> None:
        """See `UnitOfWork.put`."""
        _, row = self._row(record)
        self._write(statements.put(self._dialect, type(record)).sql, row)

    def get(self, kind: type[R], *key: Any, lock: bool = False) -> R | None:
        """See `UnitOfWork.get`."""
        coder = codec(kind)
        statement = statements.get(self._dialect, kind, lock=lock and self._writable)
        self._cursor.execute(statement.sql, coder.stored_key((self.tenant, *key)))
        row = self._cursor.fetchone()
        return None if row is None else coder.decode(row)

    def _filter(
        self, kind: type, equal: Mapping[str, Any]
    ) -> tuple[statements.Shape, dict[str, Any]]:
        coder = codec(kind)
        shape: list[tuple[str, int, bool]] = []
        values: dict[str, Any] = {"tenant": self.tenant}
        for field, wanted in equal.items():
            choices = wanted if isinstance(wanted, tuple) else (wanted,)
            present = [c for c in choices if c is not None]
            empty = len(present) < len(choices)
            if len(present) > 2 and self._dialect == "postgresql":
                shape.append((field, statements.AS_ARRAY, empty))
                values[f"{field}_0"] = [coder.value(field, choice) for choice in present]
                continue
            _pad(present)
            shape.append((field, len(present), empty))
            for i, choice in enumerate(present):
                values[f"{field}_{i}"] = coder.value(field, choice)
        return tuple(shape), values

    def remove(self, kind: type, /, **equal: Any) -> int:
        """See `UnitOfWork.remove`."""
        shape, values = self._filter(kind, equal)
        statement = statements.remove(self._dialect, kind, shape)
        return self._change(statement.sql, statement.values(values))

    def linked(
        self, kinds: Sequence[str], fingerprints: Sequence[str]
    ) -> list[tuple[Identity, Customer]]:
        """See `UnitOfWork.linked`."""
        statement = statements.linked(self._dialect, len(kinds), len(fingerprints))
        values = {"tenant": self.tenant}
        values |= {f"kind_{n}": kind for n, kind in enumerate(kinds)}
        values |= {f"fingerprint_{n}": print_ for n, print_ in enumerate(fingerprints)}
        self._cursor.execute(statement.sql, statement.values(values))
        identities, customers = codec(Identity), codec(Customer)
        edge = len(identities.names)
        return [
            (identities.decode(row[:edge]), customers.decode(row[edge:]))
            for row in self._cursor.fetchall()
        ]

    def change(self, kind: type, values: Mapping[str, Any], /, **equal: Any) -> int:
        """See `UnitOfWork.change`."""
        coder = codec(kind)
        shape, given = self._filter(kind, equal)
        statement = statements.change(self._dialect, kind, tuple(values), shape)
        given |= {f"set_{f}": coder.value(f, v) for f, v in values.items()}
        return self._change(statement.sql, statement.values(given))

    def find(
        self,
        kind: type[R],
        /,
        *,
        order: Sequence[str] = (),
        descending: bool = False,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
        lock: bool = False,
        **equal: Any,
    ) -> list[R]:
        """See `UnitOfWork.find`."""
        coder = codec(kind)
        fields = tuple(order) or coder.entry.key[1:]
        shape, values = self._filter(kind, equal)
        if after is not None:
            for field, edge in zip(fields, after, strict=True):
                values[f"after_{field}"] = coder.value(field, edge)
        if limit is not None:
            values["limit"] = limit
        statement = statements.find(
            self._dialect, kind, shape, fields, descending, after is not None, limit is not None,
            lock and self._writable,
        )  # fmt: skip
        self._cursor.execute(statement.sql, statement.values(values))
        return [coder.decode(row) for row in self._cursor.fetchall()]

    def due(self, kind: type[R], field: str, by: datetime, /, *, limit: int) -> list[R]:
        """See `UnitOfWork.due`."""
        statement = statements.due(self._dialect, kind, field)
        values = {"tenant": self.tenant, "by": to_micros(by), "limit": limit}
        self._cursor.execute(statement.sql, statement.values(values))
        return [codec(kind).decode(row) for row in self._cursor.fetchall()]

    def totals(
        self,
        kind: type,
        field: str,
        /,
        *,
        by: Sequence[str] = (),
        upto: Mapping[str, datetime] | None = None,
        beyond: Mapping[str, datetime] | None = None,
        **equal: Any,
    ) -> dict[tuple[Any, ...], int]:
        """See `UnitOfWork.totals`."""
        coder, low, high = codec(kind), beyond or {}, upto or {}
        shape, values = self._filter(kind, equal)
        values |= {f"upto_{f}": to_micros(t) for f, t in high.items()}
        values |= {f"beyond_{f}": to_micros(t) for f, t in low.items()}
        statement = statements.totals(
            self._dialect, kind, field, tuple(by), tuple(high), tuple(low), shape
        )
        self._cursor.execute(statement.sql, statement.values(values))
        found = [row for row in self._cursor.fetchall() if row[-1] is not None]
        groups = coder.decode_fields(by, [row[:-1] for row in found])
        return {group: int(row[-1]) for group, row in zip(groups, found, strict=True)}

    def rows(
        self,
        kind: type,
        fields: Sequence[str],
        /,
        *,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
        **equal: Any,
    ) -> list[tuple[Any, ...]]:
        """See `UnitOfWork.rows`."""
        coder = codec(kind)
        shape, values = self._filter(kind, equal)
        if after is not None:
            for field, edge in zip(coder.entry.key[1:], after, strict=True):
                values[f"after_{field}"] = coder.value(field, edge)
        if limit is not None:
            values["limit"] = limit
        statement = statements.rows(
            self._dialect, kind, tuple(fields), shape, after is not None, limit is not None
        )
        self._cursor.execute(statement.sql, statement.values(values))
        return coder.decode_fields(fields, self._cursor.fetchall())

    def sharing(self, tokens: Mapping[str, int]) -> dict[str, list[str]]:
        """See `UnitOfWork.sharing`."""
        found: dict[str, list[str]] = {token: [] for token in tokens}
        asked = list(tokens.items())
        values: dict[str, Any] = {"tenant": self.tenant}
        if self._dialect == "postgresql":
            values |= {"tokens": list(tokens), "limits": list(tokens.values())}
        else:
            _pad(asked)
            for n, (token, limit) in enumerate(asked):
                # What only pads finds nobody.
                values |= {f"token_{n}": token if n < len(tokens) else "", f"most_{n}": limit}
        statement = statements.sharing(self._dialect, len(asked))
        self._cursor.execute(statement.sql, statement.values(values))
        for token, customer_id in self._cursor.fetchall():
            found[token].append(customer_id)
        return found

    def count(self, kind: type, /, **equal: Any) -> int:
        """See `UnitOfWork.count`."""
        shape, values = self._filter(kind, equal)
        statement = statements.count(self._dialect, kind, shape)
        self._cursor.execute(statement.sql, statement.values(values))
        return int(self._cursor.fetchone()[0])

    def lock(self, names: Iterable[str], *, shared: bool = False) -> None:
        """See `UnitOfWork.lock`; on SQLite a writing unit of work has the file to itself."""
        if self._dialect != "postgresql":
            return
        # Sorted, so that two units of work never wait for each other crosswise.
        keys = sorted({_lock_key(self.tenant, name) for name in names})
        how = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        self._cursor.execute(
            f"SELECT {how}(k), current_setting('transaction_isolation')"  # noqa: S608 - one of two names
            " FROM unnest(%s::bigint[]) WITH ORDINALITY AS t(k, n) ORDER BY n",
            (keys,),
        )
        row = self._cursor.fetchone()
        if row and row[1] == "repeatable read":
            # It sees the past from before it waited, and nothing warns it at the end.
            raise StorageError(
                "the transaction is REPEATABLE READ; crmkit needs READ COMMITTED or SERIALIZABLE"
            )

    def lend(self) -> Any:
        """See `UnitOfWork.lend`; a SQLAlchemy Connection."""
        if self._lent is None and self._lender is not None:
            self._lent = self._lender()
        return self._lent

    def increase(
        self, record: object, by: Mapping[str, int], *, floor: Mapping[str, int] | None = None
    ) -> bool:
        """See `UnitOfWork.increase`: a conditional UPDATE, never read-then-write."""
        coder, row = self._row(record)
        kind, fields = type(record), tuple(sorted(by))
        values: dict[str, Any] = {f"by_{f}": n for f, n in by.items()}
        if not floor:
            statement = statements.increase(self._dialect, kind, fields)
            values |= zip(coder.names, row, strict=True)
            for field, n in by.items():
                values[field] += n
            self._write(statement.sql, statement.values(values))
            return True
        first = evolved(record, **{f: getattr(record, f) + n for f, n in by.items()})
        allowed = all(getattr(first, f) >= low for f, low in floor.items())
        if allowed and self.add_if_absent(first):
            return True
        statement = statements.take(self._dialect, kind, fields, tuple(sorted(floor)))
        values = {f"by_{f}": 0 for f in floor} | values
        values |= {f"low_{f}": n for f, n in floor.items()}
        values |= {f"k_{k}": v for k, v in zip(coder.entry.key, coder.key(record), strict=True)}
        return self._change(statement.sql, statement.values(values)) == 1

    def matching(
        self,
        rule: Rule,
        settings: Settings,
        at: datetime,
        *,
        settled: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, bool]]:
        """See `RulePushdown.matching`."""
        query = rules.matching(rule, settings, at, self.tenant, self._dialect, settled=settled)
        picked = statements.page_of_ids(query, after, limit, self._dialect)
        self._ask(picked)
        return [(row[0], bool(row[1])) for row in self._cursor.fetchall()]

    def _ask(self, query: Any) -> None:
        """Run a rule; raises `RuleError` for one that is beyond the database's limits."""
        sql, values = statements.rendered(query, self._dialect)
        try:
            self._cursor.execute(sql, values)
        except Exception as error:
            told = getattr(error, "sqlstate", None) or str(error)
            # PostgreSQL's class 54, and SQLite's words for the same.
            if told.startswith("54") or "too large" in told or "too many" in told:
                raise RuleError("larger than the database can ask; make it smaller") from error
            raise

    def cutoff(self, top: Top, settings: Settings) -> int | None:
        """See `RulePushdown.cutoff`."""
        query = rules.cutoff_of(top, settings, self.tenant, self._dialect)
        sql, values = statements.rendered(query, self._dialect)
        self._cursor.execute(sql, values)
        row = self._cursor.fetchone()
        return None if row is None else row[0]

    def count_matching(
        self, rule: Rule, settings: Settings, at: datetime, *, settled: bool = False
    ) -> tuple[int, list[str]]:
        """See `RulePushdown.count_matching`."""
        query = rules.matching(rule, settings, at, self.tenant, self._dialect, settled=settled)
        counted = statements.counted(query, self._dialect)
        self._ask(counted)
        count, unsure = self._cursor.fetchone()
        doubtful = sorted(json.loads(unsure) if isinstance(unsure, str) else unsure or [])
        return count - len(doubtful), doubtful
