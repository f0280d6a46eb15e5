"""`track_activity` and `find_or_create` against the same rows written by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
from email_validator import validate_email
from sqlalchemy import make_url

from benchmarks.by_hand import TENANT, ByHand
from benchmarks.harness import Comparison, compare
from crmkit import CRMService, migrate
from crmkit.model import Metrics, entry_of
from tests.postgres import database, postgres

CUSTOMERS = 500


def sqlite_comparisons(folder: Path) -> Iterator[Comparison]:
    """On two SQLite files, commits durable (synchronous = FULL)."""
    ours, theirs = folder / "crmkit.db", folder / "by_hand.db"
    with ExitStack() as stack:
        crm = stack.enter_context(CRMService(f"sqlite:///{ours}", tenant=TENANT))
        CRMService(f"sqlite:///{theirs}").close()
        connection = sqlite3.connect(theirs, isolation_level=None)
        stack.enter_context(closing(connection))
        connection.execute("PRAGMA synchronous = FULL")
        yield from _comparisons("SQLite", crm, ByHand(connection, sqlite=True))


def postgresql_comparisons() -> Iterator[Comparison]:
    """On two databases of one PostgreSQL server, commits durable."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres(durable=True))
        ours = stack.enter_context(database(server))
        theirs = stack.enter_context(database(server))
        for url in (ours, theirs):
            migrate(url)
        crm = stack.enter_context(CRMService(ours, tenant=TENANT))
        plain = make_url(theirs).set(drivername="postgresql")
        connection = stack.enter_context(
            psycopg.connect(plain.render_as_string(hide_password=False))
        )
        yield from _comparisons("PostgreSQL", crm, ByHand(connection, sqlite=False))


def _comparisons(label: str, crm: CRMService, hand: ByHand) -> Iterator[Comparison]:
    emails = [f"guest{i}@venue-guests.net" for i in range(CUSTOMERS)]
    ids = [crm.find_or_create({"email": e, "name": "Guest"}).id for e in emails]
    _populate(hand, emails, ids)

    def track(n: int) -> None:
        crm.track_activity(
            ids[n % CUSTOMERS],
            "booking",
            {
                "booking_id": f"bk{n}",
                "amount": "150.00",
                "status": "completed",
                "item": "Escape",
                "venue": "Old Mill",
                "party_size": 4,
            },
            key=f"bk{n}",
        )

    yield compare(
        f"{label}: track_activity",
        track,
        lambda n: hand.track(ids[n % CUSTOMERS], f"bk{n}", 15_000),
    )

    def hit(n: int) -> None:
        crm.find_or_create({"email": emails[n * 7 % CUSTOMERS]})

    yield compare(
        f"{label}: find_or_create, hit by e-mail",
        hit,
        lambda n: hand.find_or_create(emails[n * 7 % CUSTOMERS]),
    )

    def validated(n: int) -> None:
        email = emails[n * 7 % CUSTOMERS]
        hand.find_or_create(validate_email(email, check_deliverability=False).normalized)

    yield compare(
        f"{label}: the same, by hand checks the e-mail too",
        hit,
        validated,
    )


def _populate(hand: ByHand, emails: list[str], ids: list[str]) -> None:
    rows: list[tuple[str, tuple[Any, ...]]] = []
    sums = [c.name for c in entry_of(Metrics).columns if c.type is int]
    for email, customer_id in zip(emails, ids, strict=True):
        rows.append(
            (
                "INSERT INTO crm_customers (tenant, id, created_at, updated_at, name, email,"
                " email_typed, external_ids, social_handles, communication, preferences, custom,"
                " metadata) VALUES (?, ?, 0, 0, 'Guest', ?, ?, '{}', '{}', '[]', '{}', '{}', '{}')",
                (TENANT, customer_id, email, email),
            )
        )
        rows.append(
            (
                "INSERT INTO crm_identities (tenant, kind, fingerprint, slot, customer_id)"
                " VALUES (?, 'email', ?, '', ?)",
                (TENANT, email, customer_id),
            )
        )
        rows.append(
            (
                f"INSERT INTO crm_metrics (tenant, customer_id, {', '.join(sums)})"
                f" VALUES (?, ?{', 0' * len(sums)})",
                (TENANT, customer_id),
            )
        )
    for sql, values in rows:
        hand.cursor.execute(sql if hand.sqlite else sql.replace("?", "%s"), values)
    hand.connection.commit()
