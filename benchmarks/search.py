"""`customers.search` against `LIKE '%…%'` by hand over the same rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from benchmarks.by_hand import TENANT
from benchmarks.harness import Comparison, compare
from crmkit import CRMService, migrate
from tests.postgres import database, postgres

CUSTOMERS = 40_000
_HEADS = "Al Be Cor Da El Fra Geor Ha Ion Ju Ka Lu Ma Ni Ol".split()
_TAILS = "ana berto cel dina ela fan gret iela jo len mir nand oriu pesc".split()
_ENDINGS = "escu ini ović son eanu elli".split()
_LIKE = (
    "SELECT * FROM crm_customers WHERE tenant = ? AND (lower(name) LIKE ? OR lower(email) LIKE ?"
    " OR phone LIKE ?) ORDER BY id DESC LIMIT 20"
)


def guest(n: int) -> dict[str, Any]:
    """The n-th guest: a name that others share in part, an address and a number."""
    firsts = list(product(_HEADS, _TAILS))
    first = "".join(firsts[n * 37 % len(firsts)])
    last = "".join(firsts[n * 101 % len(firsts)]) + _ENDINGS[n % len(_ENDINGS)]
    return {
        "name": f"{first} {last}",
        "email": f"{first}.{n}@guests{n % 40}.net".lower(),
        "phone": f"+4072{n * 7919 % 10_000_000:07}",
    }


def fragment(n: int) -> str:
    """What a host types to find the guest: a name, its beginning, digits, or an address."""
    given = guest(n * 61 % CUSTOMERS)
    first, last = given["name"].split()
    return str([f"{first} {last}", last[:5], given["phone"][-5:], given["email"][:9]][n % 4])


def sqlite_searches(folder: Path) -> Iterator[Comparison]:
    """On one SQLite file."""
    file = folder / "search.db"
    with ExitStack() as stack:
        crm = stack.enter_context(CRMService(f"sqlite:///{file}?synchronous=OFF", tenant=TENANT))
        connection = stack.enter_context(closing(sqlite3.connect(file)))
        yield from _comparisons("SQLite", crm, connection.cursor(), "?")


def postgresql_searches() -> Iterator[Comparison]:
    """On one PostgreSQL database."""
    with ExitStack() as stack:
        url = stack.enter_context(database(stack.enter_context(postgres())))
        migrate(url)
        crm = stack.enter_context(CRMService(url, tenant=TENANT))
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = stack.enter_context(psycopg.connect(plain, autocommit=True))
        yield from _comparisons("PostgreSQL", crm, connection.cursor(), "%s")


def _comparisons(label: str, crm: CRMService, cursor: Any, mark: str) -> Iterator[Comparison]:
    for n in range(CUSTOMERS):
        crm.find_or_create(guest(n))
    sql = _LIKE.replace("?", mark)

    def by_like(text: str) -> list[Any]:
        pattern = f"%{text.lower()}%"
        cursor.execute(sql, (TENANT, pattern, pattern, pattern))
        return list(cursor.fetchall())

    yield compare(
        f"{label}: search among {CUSTOMERS:,} customers",
        lambda n: crm.customers.search(fragment(n)),
        lambda n: by_like(fragment(n)),
        rounds=5,
        calls=40,
    )
