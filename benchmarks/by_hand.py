"""The same rows as crmkit writes, by hand through the DB-API: what a host would do without it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

TENANT = "bench"
NEVER = 253_402_300_799_999_999
"""As crmkit writes the end of time."""

_ROW = f"({', '.join('?' * 10)})"
_COUNTERS = (
    "INSERT INTO crm_counters (tenant, customer_id, dimension, fingerprint, value, label, count,"
    f" spend_minor, first_at, last_at) VALUES {', '.join([_ROW] * 4)}"
    " ON CONFLICT (tenant, customer_id, dimension, fingerprint) DO UPDATE SET"
    " count = crm_counters.count + 1, label = excluded.label,"
    " spend_minor = crm_counters.spend_minor + excluded.spend_minor, last_at = excluded.last_at"
)


def new_id() -> str:
    """An id that rises with time, as a host would make it."""
    return f"{time.time_ns():032x}"


def hashed(text: str) -> str:
    """A hash as long as crmkit's."""
    return blake2b(text.encode(), digest_size=20).hexdigest()


class ByHand:
    """Raw SQL on one connection of the driver; `mark` is its placeholder."""

    def __init__(self, connection: Any, *, sqlite: bool) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.sqlite = sqlite
        self.false = "0" if sqlite else "false"

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        self.cursor.execute(sql if self.sqlite else sql.replace("?", "%s"), values)

    def _begin(self) -> None:
        if self.sqlite:
            self._run("BEGIN IMMEDIATE")

    def track(self, customer_id: str, booking_id: str, amount_minor: int) -> None:
        """One completed booking: key, activity, metrics, counters, points entry, account."""
        now, activity, entry = time.time_ns() // 1000, new_id(), new_id()
        fingerprint, story = hashed(booking_id), hashed(f"{customer_id}:{booking_id}")
        payload = json.dumps(
            {
                "booking_id": booking_id,
                "amount": "150.00",
                "status": "completed",
                "item": "Escape",
                "venue": "Old Mill",
                "party_size": 4,
            }
        )
        self._begin()
        self._run(
            "INSERT INTO crm_idempotency (tenant, fingerprint, customer_id, content, result_id,"
            " recorded_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (TENANT, fingerprint, customer_id, hashed(payload), activity, now),
        )
        self._run(
            "INSERT INTO crm_activities (tenant, id, customer_id, kind, story, status,"
            " occurred_at, recorded_at, amount_minor, currency, reference, item, venue, shares,"
            " payload)"
            " VALUES (?, ?, ?, 'booking', ?, 'completed', ?, ?, ?, 'EUR', ?, 'Escape',"
            " 'Old Mill', '{}', ?)",
            (
                TENANT, activity, customer_id, story, now, now,
                amount_minor, booking_id, payload,
            ),
        )  # fmt: skip
        self._run(
            "UPDATE crm_metrics SET activities = activities + 1, bookings = bookings + 1,"
            " completed_bookings = completed_bookings + 1, orders = orders + 1,"
            " spend_minor = spend_minor + ?, parties = parties + 1, guests = guests + 4,"
            " first_booking_at = coalesce(first_booking_at, ?), last_booking_at = ?,"
            " first_order_at = coalesce(first_order_at, ?), last_order_at = ?,"
            " first_activity_at = coalesce(first_activity_at, ?), last_activity_at = ?"
            " WHERE tenant = ? AND customer_id = ?",
            (amount_minor, now, now, now, now, now, now, TENANT, customer_id),
        )
        self._run(_COUNTERS, tuple(self._counters(customer_id, amount_minor, now)))
        self._run(
            "INSERT INTO crm_loyalty_lots (tenant, id, customer_id, programme, source, rule,"
            ' story, times, "full", "left", used, totals, status, earned_at, available_at,'
            " expires_at)"
            " VALUES (?, ?, ?, 'points', 'earn', 'booking_completed', ?, '1', 100, 100, 0, '{}',"
            f" 'open', ?, ?, {NEVER})",
            (TENANT, entry, customer_id, story, now, now),
        )
        self._run(
            "INSERT INTO crm_loyalty_entries (tenant, id, customer_id, programme, lot_id, kind,"
            " points, qualifying, available_at, expires_at, story, rule, occurred_at, recorded_at)"
            f" VALUES (?, ?, ?, 'points', ?, 'earn', 100, 100, ?, {NEVER}, ?, 'booking_completed',"
            " ?, ?)",
            (TENANT, entry, customer_id, entry, now, story, now, now),
        )
        self._run(
            "INSERT INTO crm_loyalty_accounts (tenant, customer_id, programme, balance, pending,"
            " qualifying, since, indebted, enrols)"
            f" VALUES (?, ?, 'points', 100, 0, 100, ?, {self.false}, {self.false})"
            " ON CONFLICT (tenant, customer_id, programme) DO UPDATE SET"
            " balance = crm_loyalty_accounts.balance + 100,"
            " qualifying = crm_loyalty_accounts.qualifying + 100, since = excluded.since",
            (TENANT, customer_id, now),
        )
        self.connection.commit()

    def _counters(self, customer_id: str, amount_minor: int, now: int) -> Iterator[Any]:
        moment = datetime.fromtimestamp(now / 1_000_000, UTC)
        slot = f"{moment.weekday()} {moment.hour:02}"
        for dimension, value, spent in (
            ("item", "Escape", amount_minor),
            ("venue", "Old Mill", amount_minor),
            ("companions", "small group", amount_minor),
            ("slot", slot, 0),
        ):
            yield from (TENANT, customer_id, dimension, hashed(value), value, value, 1, spent)
            yield from (now, now)

    def find_or_create(self, email: str) -> dict[str, Any]:
        """Select by e-mail, insert if there is nobody, in a transaction."""
        self._begin()
        self._run(
            "SELECT c.* FROM crm_identities i JOIN crm_customers c"
            " ON c.tenant = i.tenant AND c.id = i.customer_id"
            " WHERE i.tenant = ? AND i.kind = 'email' AND i.fingerprint = ?",
            (TENANT, email.strip().lower()),
        )
        row = self.cursor.fetchone()
        if row is None:
            raise AssertionError("the benchmark measures hits")
        names = [d[0] for d in self.cursor.description]
        self.connection.commit()
        return dict(zip(names, row, strict=True))
