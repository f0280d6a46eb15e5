"""Rules through crmkit against the best SQL written by hand over the same tables.

``python -m benchmarks.segments [customers] [activities of each] [sqlite|postgresql]``
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import create_engine, make_url

from benchmarks.generated import NOW, TENANT, fill
from crmkit import migrate
from crmkit.adapters.sql import rules, statements
from crmkit.adapters.sql.codec import codec
from crmkit.adapters.sql.tables import table
from crmkit.config import DEFAULT_KINDS, Kind, Settings
from crmkit.model.rule import Rule
from crmkit.model.time import Calendar, to_micros
from crmkit.segmentation.rules import parse
from tests.postgres import database, postgres

SETTINGS: Final = Settings(timezone="Europe/Rome", kinds=(*DEFAULT_KINDS, Kind(name="form_start")))
ROUNDS: Final = 5


def _all(*conditions: Any) -> dict[str, Any]:
    return {"operator": "and", "conditions": list(conditions)}


def _any(*conditions: Any) -> dict[str, Any]:
    return {"operator": "or", "conditions": list(conditions)}


def _not(condition: Any) -> dict[str, Any]:
    return {"operator": "not", "conditions": [condition]}


def _is(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


_MICROS: Final = to_micros(NOW)


def _ago(**length: int) -> int:
    return to_micros(NOW - timedelta(**length))


def _months() -> str:
    """The local month of what happened, as a tree of comparisons."""
    edges, moment = [], NOW - timedelta(days=365)
    while (moment := Calendar("month").span(moment, SETTINGS.zone)[1]) <= NOW:
        edges.append(to_micros(moment))

    def tree(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high) // 2
        return (
            f"CASE WHEN happened_at < {edges[middle]} THEN {tree(low, middle)}"
            f" ELSE {tree(middle + 1, high)} END"
        )

    return tree(0, len(edges))


_M: Final = f"SELECT customer_id FROM crm_metrics WHERE tenant = '{TENANT}'"
_O: Final = (
    f"tenant = '{TENANT}' AND happened_at <= {_MICROS} AND part = 0 AND since <= {_MICROS}"
    f" AND (until IS NULL OR until > {_MICROS})"
)
_WHO: Final = f"SELECT customer_id FROM crm_occasions WHERE {_O}"
_T: Final = f"FROM crm_tags WHERE tenant = '{TENANT}'"
_AT_RISK: Final = (
    f" AND last_order_at <= {_ago(days=60)} AND last_order_at > {_ago(days=180)}"
    f" AND first_order_at <= {_ago(days=365)}"
)
_DAYS: Final = ", ".join(f"'{NOW + timedelta(days=n):%m-%d}'" for n in range(8))


def _cart(now: str) -> str:
    hour = 3_600_000_000
    f = now.replace("happened_at", "f.happened_at").replace("part ", "f.part ")
    f = f.replace("since", "f.since").replace("until", "f.until").replace("tenant", "f.tenant")
    s = f.replace("f.", "s.")
    return (
        f"SELECT DISTINCT f.customer_id FROM crm_occasions f WHERE {f} AND f.kind = 'form_start'"
        f" AND f.happened_at > {_ago(days=7)} AND f.happened_at < {_ago(hours=1)}"
        f" AND NOT EXISTS (SELECT 1 FROM crm_occasions s WHERE {s} AND s.kind = 'ticket'"
        " AND s.customer_id = f.customer_id"
        f" AND s.happened_at BETWEEN f.happened_at AND f.happened_at + {hour})"
    )


Case = tuple[str, dict[str, Any], str]
CASES: Final[tuple[Case, ...]] = (
    (
        "1 spend and orders",
        _all(_is("total_spend", ">=", 1_000), _is("total_orders", ">=", 3)),
        f"{_M} AND spend_minor >= 100000 AND orders >= 3",
    ),
    (
        "2 spend, recent or often, not",
        _all(
            _is("total_spend", ">=", 100),
            _any(_is("last_purchase", "within", "90d"), _is("events_attended", ">=", 5)),
            _not(_is("total_visits", ">", 50)),
        ),
        f"{_M} AND spend_minor >= 10000 AND (last_order_at > {_ago(days=90)}"
        " OR events_attended >= 5) AND NOT visits > 50",
    ),
    (
        "3 nine nested",
        _all(
            _any(
                _is("total_visits", "between", [3, 9]),
                _all(_is("events_attended", "in", [2, 4]), _not(_is("no_shows", ">", 0))),
            ),
            _any(_is("total_orders", "between", [2, 20]), _is("cancellations", ">=", 3)),
            _not(_all(_is("last_visit", "exists", True), _is("refunds", ">", 1))),
            _is("total_spend", "<", 5_000),
            _is("reviews", "=", 0),
        ),
        f"{_M} AND (visits BETWEEN 3 AND 9 OR (events_attended IN (2, 4) AND NOT no_shows > 0))"
        " AND (orders BETWEEN 2 AND 20 OR cancellations >= 3)"
        " AND NOT (last_visit_at IS NOT NULL AND refunds > 1) AND spend_minor < 500000"
        " AND reviews = 0",
    ),
    (
        "4 at risk, three windows",
        _all(
            _is("last_purchase", "not_within", "60d"),
            _is("last_purchase", "within", "180d"),
            _is("first_purchase", "not_within", "365d"),
        ),
        _M + _AT_RISK,
    ),
    (
        "5 tags",
        _all(
            _is("tags", "contains_any", ["vip", "wine"]), _not(_is("tags", "contains", "blocked"))
        ),
        f"SELECT DISTINCT customer_id {_T} AND tag IN ('vip', 'wine') AND customer_id NOT IN"
        f" (SELECT customer_id {_T} AND tag = 'blocked')",
    ),
    (
        "6 birthday within 7 days",
        _is("birth_date", "anniversary_within", 7),
        f"SELECT id FROM crm_customers WHERE tenant = '{TENANT}'"
        f" AND substr(birth_date, 6) IN ({_DAYS})",
    ),
    (
        "7 top 10 %",
        _is("total_spend", "top_percent", 10),
        f"{_M} AND spend_minor >= (SELECT spend_minor FROM crm_metrics WHERE tenant = '{TENANT}'"
        " AND spend_minor > 0 ORDER BY spend_minor DESC LIMIT 1 OFFSET (SELECT"
        f" (count(*) + 9) / 10 - 1 FROM crm_metrics WHERE tenant = '{TENANT}'"
        " AND spend_minor > 0))",
    ),
    (
        "8 average order",
        _is("average_order_value", ">=", 160),
        f"{_M} AND orders > 0 AND spend_minor >= orders * 16000",
    ),
    (
        "9 3+ purchases of an item, 90d",
        {
            "did": "purchase",
            "where": _is("item", "=", "item1"),
            "within": "90d",
            "count": 3,
        },
        f"{_WHO.replace('part = 0 AND ', '')} AND kind = 'purchase' AND item = 'item1'"
        f" AND happened_at > {_ago(days=90)} GROUP BY customer_id HAVING count(*) >= 3",
    ),
    (
        "10 abandoned form",
        {"did": "form_start", "within": "7d", "not_then": {"did": "ticket", "within": "1h"}},
        _cart(_O),
    ),
    (
        "11 visited one, never another",
        _all(
            {"did": "visit", "where": _is("venue", "=", "venue3")},
            {"did_not": "visit", "where": _is("venue", "=", "venue0")},
        ),
        f"{_WHO} AND kind = 'visit' AND venue IN ('venue0', 'venue3') GROUP BY customer_id"
        " HAVING max(venue) = 'venue3' AND min(venue) = 'venue3'",
    ),
    (
        "12 4+ visits in a month",
        {"did": "visit", "within": "365d", "count": 4, "per": "month"},
        f"SELECT DISTINCT customer_id FROM (SELECT customer_id FROM crm_occasions WHERE {_O}"
        f" AND kind = 'visit' AND happened_at > {_ago(days=365)}"
        f" GROUP BY customer_id, {_months()} HAVING count(*) >= 4) q",
    ),
)


def timed(run: Callable[[], Any]) -> tuple[float, float, Any]:
    """Milliseconds on the clock and of this process's CPU, and the answer."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = run()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3, found


def compared(
    cursor: Any, dialect: str, rule: Rule, by_hand: str, *, count: bool
) -> tuple[float, float, float, float]:
    """The best of several runs in turns: crmkit's and by hand, on the clock and of CPU."""

    def ours() -> Any:
        query = rules.matching(rule, SETTINGS, NOW, TENANT, dialect, settled=True)
        page = (
            statements.counted(query, dialect)
            if count
            else statements.page_of_ids(query, None, None, dialect)
        )
        sql, values = statements.rendered(page, dialect)
        cursor.execute(sql, values)
        return cursor.fetchone()[0] if count else {row[0] for row in cursor.fetchall()}

    def theirs() -> Any:
        cursor.execute(f"SELECT count(*) FROM ({by_hand}) counted" if count else by_hand)
        return cursor.fetchone()[0] if count else {row[0] for row in cursor.fetchall()}

    best, expected = [float("inf")] * 4, theirs()
    for _ in range(ROUNDS):
        for side, run in enumerate((ours, theirs)):
            wall, cpu, found = timed(run)
            best[side], best[2 + side] = min(best[side], wall), min(best[2 + side], cpu)
            if found != expected:
                raise AssertionError("crmkit and the SQL by hand find others")
    return best[0], best[1], best[2], best[3]


def report(cursor: Any, dialect: str) -> Iterator[str]:
    """A line for each rule."""
    yield f"{dialect:34} {'ids ms':>9} {'by hand':>9} {'ratio':>6} {'CPU':>6}" + (
        f" {'count ms':>9} {'by hand':>9} {'ratio':>6}"
    )
    for name, document, by_hand in CASES:
        rule = parse(document, SETTINGS)
        a, b, c, d = compared(cursor, dialect, rule, by_hand, count=False)
        e, f, _, _ = compared(cursor, dialect, rule, by_hand, count=True)
        cpu = f"{c / d:6.2f}" if dialect == "sqlite" else "      "
        yield f"{name:34} {a:9.1f} {b:9.1f} {a / b:6.2f} {cpu} {e:9.1f} {f:9.1f} {e / f:6.2f}"


def filled(file: Path, customers: int, each: int) -> Path:
    """An SQLite file with made-up customers, unless it is there already."""
    if file.exists():
        return file
    migrate(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        cursor = connection.cursor()

        def write(kind: type, rows: Iterable[list[Any]]) -> None:
            cursor.executemany(statements.add("sqlite", kind).sql, rows)

        fill(write, customers, each)
        connection.commit()
        cursor.execute("ANALYZE")
    return file


def sqlite_report(folder: Path, customers: int, each: int) -> Iterator[str]:
    """On one SQLite file."""
    with closing(sqlite3.connect(filled(folder / "segments.db", customers, each))) as connection:
        yield from report(connection.cursor(), "sqlite")


def postgresql_report(customers: int, each: int) -> Iterator[str]:
    """On one PostgreSQL database."""
    with ExitStack() as stack:
        url = stack.enter_context(database(stack.enter_context(postgres())))
        engine = create_engine(url)
        migrate(engine)
        engine.dispose()
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = stack.enter_context(psycopg.connect(plain, autocommit=True))
        cursor = connection.cursor()

        def write(kind: type, rows: Iterable[list[Any]]) -> None:
            names = ", ".join(codec(kind).names)
            with cursor.copy(f"COPY {table(kind).name} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

        fill(write, customers, each)
        cursor.execute("VACUUM ANALYZE")
        yield from report(cursor, "postgresql")


def main() -> None:
    """Print both tables."""
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    each = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    which = sys.argv[3] if len(sys.argv) > 3 else "both"
    if which != "postgresql":
        with tempfile.TemporaryDirectory() as folder:
            for line in sqlite_report(Path(folder), customers, each):
                print(line, flush=True)
    if which != "sqlite":
        for line in postgresql_report(customers, each):
            print(line, flush=True)


if __name__ == "__main__":
    main()
