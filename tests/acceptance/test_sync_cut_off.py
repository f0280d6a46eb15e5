"""Syncs that are killed at any moment, and run again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from crmkit import CRMService
from crmkit.model import Activity, Customer
from tests.fixtures import sqlite_url
from tests.populate import values

KILLS = 50 if settings().max_examples > 1_000 else 2
TOTAL = 200
_RUN = f"""
import sys
from crmkit import CRMService
from crmkit.activities import service

service.CHUNK = 10  # many small transactions
url, tenant, month = sys.argv[1:]

def rows():
    for n in range({TOTAL} if month == "2" else {TOTAL // 2}):
        yield {{
            "id": n,
            "mail": f"guest{{n % 7}}@mail.com",
            "at": f"2026-01-{{n % 28 + 1:02}}T20:00:00Z",
            "state": "completed" if month == "1" or n % 3 else "cancelled",
            "price": 10 + n % 5 * int(month),
            "changed": f"2026-0{{month}}-28T20:00:00Z",
        }}

mapping = {{
    "id": "id", "at": "at", "changed_at": "changed", "customer": {{"email": "mail"}},
    "payload": {{"amount": "price", "status": "state"}},
}}
crm = CRMService(url, tenant=tenant)
crm.activities.sync(rows(), mapping, progress=lambda done: print(done.total, flush=True))
"""


def _run(url: str, tenant: str, month: int, *, kill_at: int = TOTAL, pause: float = 0) -> None:
    """Sync the table as it was in that month; kill it a moment after so many rows."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, url, tenant, str(month)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    if kill_at < TOTAL:
        while int(process.stdout.readline()) < kill_at:
            pass
        time.sleep(pause)
        process.kill()
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if kill_at < TOTAL else 0)


def _alone(server: sa.Engine) -> None:
    """Wait until the server has noticed that its client is gone."""
    others = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'sync' AND datname = current_database()"
    )
    deadline = time.monotonic() + 10
    with server.connect() as connection:
        while connection.execute(others).scalar_one():
            assert time.monotonic() < deadline
            time.sleep(0.005)
            connection.rollback()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_killed_and_run_again_it_ends_as_if_undisturbed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Half of the rows are known and most of those have changed when runs are killed."""
    url, server = sqlite_url(tmp_path), None
    if kind == "postgresql":
        server = request.getfixturevalue("postgres_engine")
        url = request.getfixturevalue("crm_database") + "?application_name=sync"
    rng = random.Random(4)
    for tenant, kills in (("undisturbed", 0), ("killed", KILLS)):
        _run(url, tenant, 1)
        for _ in range(kills):
            _run(url, tenant, 2, kill_at=rng.randrange(10, TOTAL - 10), pause=rng.random() / 300)
            if server:
                _alone(server)
        _run(url, tenant, 2)
    with CRMService(url, tenant="undisturbed") as undisturbed:
        killed = undisturbed.for_tenant("killed")
        assert _said(killed) == _said(undisturbed)
        assert killed.activities.verify() == ()
        assert len(_said(killed)) > TOTAL


_NAMES = {"tenant", "id", "customer_id", "story", "recorded_at"}


def _said(crm: CRMService) -> list[str]:
    """Every fact, with the guest's e-mail in place of all that differs from run to run."""
    with crm._runtime.read() as uow:
        emails = {c.id: c.email for c in uow.find(Customer)}
        return sorted(
            repr((emails[f.customer_id or ""], {n: v for n, v in values(f).items()
                                                if n not in _NAMES}))
            for f in uow.find(Activity)
        )  # fmt: skip
