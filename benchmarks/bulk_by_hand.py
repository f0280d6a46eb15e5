"""The rows of `track_many` by hand: worked out in plain Python, written some hundreds at a time."""

from __future__ import annotations

import abc
import json
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import attrs
import psycopg

from benchmarks.by_hand import NEVER, TENANT, hashed, new_id
from crmkit.activities.bulk import CHUNK

POINTS = 100
KEYS = "tenant fingerprint customer_id content result_id recorded_at".split()
ACTIVITIES = (
    "tenant id customer_id kind story status occurred_at recorded_at amount_minor currency"
    " reference item venue shares payload"
).split()
ENTRIES = (
    "tenant id customer_id programme lot_id kind points qualifying available_at expires_at story"
    " rule occurred_at recorded_at"
).split()
LOTS = (
    'tenant id customer_id programme source rule story times "full" "left" used totals status'
    " earned_at available_at expires_at"
).split()
ACCOUNTS = ("tenant customer_id programme balance pending qualifying since indebted enrols").split()
RULE = "booking_completed"
COUNTERS = (
    "tenant customer_id dimension fingerprint value label count spend_minor first_at last_at"
).split()
EACH = "activities bookings completed_bookings orders parties".split()  # one for each booking
DATES = "booking order activity".split()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_hashed = cache(hashed)

Row = tuple[Any, ...]


@attrs.define
class Rows:
    """What a chunk of bookings leaves; sums by guest, and by guest and counter."""

    keys: list[Row] = attrs.field(factory=list)
    activities: list[Row] = attrs.field(factory=list)
    entries: list[Row] = attrs.field(factory=list)
    lots: list[Row] = attrs.field(factory=list)
    metrics: dict[str, list[int]] = attrs.field(factory=dict)
    """By customer: count, spend, guests, first, last."""
    counters: dict[tuple[str, str, str], list[int]] = attrs.field(factory=dict)
    """By customer, dimension and value: count, spend, first, last."""

    def add(self, item: dict[str, Any], now: int) -> None:
        """Work out what one booking adds."""
        owner, payload = item["customer_id"], item["payload"]
        at = (item["at"] - _EPOCH) // _MICROSECOND
        units, cents = payload["amount"].split(".")
        amount = int(units) * 100 + int(cents)
        written, reference = json.dumps(payload), payload["booking_id"]
        activity, story = new_id(), hashed(f"{owner}:{reference}")
        self.keys.append(
            (TENANT, hashed(item["key"]), owner, hashed(f"{at}{written}"), activity, now)
        )
        self.activities.append(
            (
                TENANT, activity, owner, "booking", story, payload["status"], at, now, amount,
                "EUR", reference, payload["item"], payload["venue"], "{}", written,
            )
        )  # fmt: skip
        entry = new_id()
        self.lots.append(
            (
                TENANT, entry, owner, "points", "earn", RULE, story, "1", POINTS, POINTS, 0, "{}",
                "open",
                at, at, NEVER,
            )
        )  # fmt: skip
        self.entries.append(
            (
                TENANT, entry, owner, "points", entry, "earn", POINTS, POINTS, at, NEVER, story,
                RULE, at, now,
            )
        )  # fmt: skip
        people = payload["party_size"]
        _join(self.metrics, owner, [1, amount, people], at)
        group = ("alone", "pair", *["small group"] * 3)[people - 1] if people < 6 else "large group"
        slot = f"{item['at'].weekday()} {item['at'].hour:02}"
        for dimension, value, spent in (
            ("item", payload["item"], amount),
            ("venue", payload["venue"], amount),
            ("companions", group, amount),
            ("slot", slot, 0),
        ):
            _join(self.counters, (owner, dimension, value), [1, spent], at)

    def accounts(self) -> list[Row]:
        """What the guests' points come to."""
        return [
            (TENANT, who, "points", n * POINTS, 0, n * POINTS, last, False, False)
            for who, (n, _, _, _, last) in self.metrics.items()
        ]

    def told(self) -> list[Row]:
        """The counters as they are stored."""
        return [
            (TENANT, owner, dimension, _hashed(value), value, value, *sums)
            for (owner, dimension, value), sums in self.counters.items()
        ]


def _join(sums: dict[Any, list[int]], key: Any, more: list[int], at: int) -> None:
    old = sums.get(key)
    if old is None:
        sums[key] = [*more, at, at]
        return
    for n, each in enumerate(more):
        old[n] += each
    old[-2], old[-1] = min(old[-2], at), max(old[-1], at)


class Tables(abc.ABC):
    """crmkit's tables on a connection of the driver."""

    def track(self, items: Sequence[dict[str, Any]]) -> int:
        """Record bookings of known guests with keys that are new, a chunk in each transaction."""
        for start in range(0, len(items), CHUNK):
            rows, now = Rows(), time.time_ns() // 1000
            for item in items[start : start + CHUNK]:
                rows.add(item, now)
            self.write(rows)
        return len(items)

    @abc.abstractmethod
    def write(self, rows: Rows) -> None:
        """Store a chunk in one transaction."""


def _insert(table: str, columns: Sequence[str], then: str = "") -> str:
    marks = ", ".join("?" for _ in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) {then}"


def _merged(least: str, most: str) -> str:
    """Take the counter that is there into account; its name is that of the last."""
    return (
        "ON CONFLICT (tenant, customer_id, dimension, fingerprint) DO UPDATE SET"
        " count = crm_counters.count + excluded.count,"
        " spend_minor = crm_counters.spend_minor + excluded.spend_minor,"
        " label = CASE WHEN excluded.last_at >= crm_counters.last_at"
        " THEN excluded.label ELSE crm_counters.label END,"
        f" first_at = {least}(crm_counters.first_at, excluded.first_at),"
        f" last_at = {most}(crm_counters.last_at, excluded.last_at)"
    )


_ACCOUNT = (
    "ON CONFLICT (tenant, customer_id, programme) DO UPDATE SET"
    " balance = crm_loyalty_accounts.balance + excluded.balance,"
    " qualifying = crm_loyalty_accounts.qualifying + excluded.qualifying, since = excluded.since"
)


class OnSqlite(Tables):
    """`executemany`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        sums = [f"{name} = {name} + ?1" for name in EACH]
        for family in DATES:
            first, last = f"first_{family}_at", f"last_{family}_at"
            sums.append(f"{first} = min(coalesce({first}, ?4), ?4)")
            sums.append(f"{last} = max(coalesce({last}, ?5), ?5)")
        self._metrics = (
            f"UPDATE crm_metrics SET {', '.join(sums)}, spend_minor = spend_minor + ?2,"
            " guests = guests + ?3 WHERE tenant = ?6 AND customer_id = ?7"
        )

    def write(self, rows: Rows) -> None:
        """See `Tables.write`."""
        run = self._connection.executemany
        self._connection.execute("BEGIN IMMEDIATE")
        run(_insert("crm_idempotency", KEYS, "ON CONFLICT DO NOTHING"), rows.keys)
        run(_insert("crm_activities", ACTIVITIES), rows.activities)
        run(self._metrics, [(*sums, TENANT, who) for who, sums in rows.metrics.items()])
        run(_insert("crm_counters", COUNTERS, _merged("min", "max")), rows.told())
        run(_insert("crm_loyalty_entries", ENTRIES), rows.entries)
        run(_insert("crm_loyalty_lots", LOTS), rows.lots)
        run(_insert("crm_loyalty_accounts", ACCOUNTS, _ACCOUNT), rows.accounts())
        self._connection.commit()


class OnPostgres(Tables):
    """COPY for what is only added, arrays for what is added to."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        sums = [f"{name} = m.{name} + d.n" for name in EACH]
        for family in DATES:
            first, last = f"first_{family}_at", f"last_{family}_at"
            sums.append(f"{first} = least(m.{first}, d.first)")
            sums.append(f"{last} = greatest(m.{last}, d.last)")
        self._metrics = (
            f"UPDATE crm_metrics m SET {', '.join(sums)},"
            " spend_minor = m.spend_minor + d.spend, guests = m.guests + d.guests"
            f" FROM unnest({_arrays('tiiiii')}) AS d(who, n, spend, guests, first, last)"
            f" WHERE m.tenant = '{TENANT}' AND m.customer_id = d.who"
        )

    def write(self, rows: Rows) -> None:
        """See `Tables.write`."""
        self._add("crm_idempotency", KEYS, "ttttti", rows.keys, "ON CONFLICT DO NOTHING")
        self._copy("crm_activities", ACTIVITIES, rows.activities)
        by_guest = [(who, *sums) for who, sums in rows.metrics.items()]
        self._cursor.execute(self._metrics, _columns(by_guest))
        merged = _merged("least", "greatest")
        self._add("crm_counters", COUNTERS, "ttttttiiii", rows.told(), merged)
        self._copy("crm_loyalty_entries", ENTRIES, rows.entries)
        self._copy("crm_loyalty_lots", LOTS, rows.lots)
        self._add("crm_loyalty_accounts", ACCOUNTS, "tttiiiibb", rows.accounts(), _ACCOUNT)
        self._connection.commit()

    def _copy(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        with self._cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def _add(
        self, table: str, columns: Sequence[str], types: str, rows: Sequence[Row], then: str
    ) -> None:
        self._cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)})"
            f" SELECT * FROM unnest({_arrays(types)}) {then}",
            _columns(rows),
        )


_ARRAYS = {"t": "%s::text[]", "i": "%s::bigint[]", "b": "%s::boolean[]"}


def _arrays(types: str) -> str:
    """Placeholders for arrays of text, integers and truths."""
    return ", ".join(_ARRAYS[letter] for letter in types)


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
