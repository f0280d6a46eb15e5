"""An erasure is killed at any of its statements: all is there, or nothing is, and none is found."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from crmkit import CRMService, Erased, Settings
from crmkit.adapters.sql import unit
from crmkit.erasure_ledger import FileLedger
from crmkit.model import Customer, Identity, MatchToken, SearchToken
from tests.canaries import canaries
from tests.fixtures import sqlite_url
from tests.populate import populate, profile, rows

KILLS = 100 if settings().max_examples > 1_000 else 15
AFTER_LEDGER = -1
"""Not at a statement, but when the ledger was told and nothing is committed yet."""

_ERASE = f"""
import os, sys
from crmkit import CRMService, Settings
from crmkit.adapters.sql import unit
from crmkit.erasure_ledger import FileLedger
import crmkit.gdpr.service, crmkit.segmentation.service, crmkit.loyalty.service  # once for all

url, ledger, half = sys.argv[1:]

class Counted:
    left = 0
    def __init__(self, cursor):
        self._cursor = cursor
    def __getattr__(self, name):
        return getattr(self._cursor, name)
    def execute(self, *said):
        Counted.left -= 1
        if Counted.left == 0:
            if half == "half":  # what must not be: a part is committed
                self._cursor.connection.commit()
            os.kill(os.getpid(), {signal.SIGKILL:d})
        return self._cursor.execute(*said)

made = unit.SqlUnitOfWork.__init__
def counting(self, cursor, *rest, **named):
    made(self, Counted(cursor), *rest, **named)
unit.SqlUnitOfWork.__init__ = counting

print("ready", flush=True)
for line in sys.stdin:
    person, at = line.split()
    child = os.fork()
    if child == 0:
        crm = CRMService(url, settings=Settings(region="RO", erasure_ledger=FileLedger(ledger)))
        Counted.left = int(at)
        if at == "{AFTER_LEDGER}":
            append = FileLedger.append
            def then_killed(*said):
                append(*said)
                os.kill(os.getpid(), {signal.SIGKILL:d})
            FileLedger.append = then_killed
        crm.gdpr.erase(person)
        print("statements", int(at) - Counted.left, flush=True)
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Eraser:
    """A process that erases in processes of its own, and kills them at a statement."""

    def __init__(self, url: str, ledger: Path, way: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ERASE, url, str(ledger), way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def erase(self, person: str, *, kill_at: int) -> int | None:
        """How many statements it took; None if it was killed before its end."""
        assert self._process.stdin
        self._process.stdin.write(f"{person} {kill_at}\n")
        self._process.stdin.flush()
        told = [self._line()]
        while not told[-1].startswith("ended"):
            told.append(self._line())
        if told[-1] == f"ended {-signal.SIGKILL}":
            return None
        assert told[-1] == "ended 0"
        return int(told[0].split()[1])

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    request.getfixturevalue("postgres_engine")
    found: str = request.getfixturevalue("crm_database")
    return found


@pytest.fixture
def crm(url: str, tmp_path: Path) -> Iterator[CRMService]:
    made = Settings(region="RO", erasure_ledger=FileLedger(tmp_path / "erased.jsonl"))
    with CRMService(url, settings=made) as service:
        yield service


@pytest.fixture(params=["whole"])
def eraser(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[Eraser]:
    made = Eraser(url, tmp_path / "erased.jsonl", request.param)
    yield made
    made.close()


def held(crm: CRMService) -> dict[str, list[dict[str, Any]]]:
    found = rows(crm._runtime.storage, crm.tenant)
    return {t: sorted(r, key=lambda row: str(sorted(row.items()))) for t, r in found.items()}


def is_found(crm: CRMService, person: str) -> bool:
    """Whether profile, identifiers, search and match tokens are there; all of them, or none."""
    with crm._runtime.read() as uow:
        there = {
            uow.count(kind, **{field: person}) > 0
            for kind, field in (
                (Customer, "id"),
                (Identity, "customer_id"),
                (SearchToken, "customer_id"),
                (MatchToken, "customer_id"),
            )
        }
    assert len(there) == 1
    (whole,) = there
    assert (len(crm.customers.search("zqnamezq")) > 0) is whole
    return whole


def test_killed_at_any_statement_it_is_whole_or_not_at_all(
    crm: CRMService, eraser: Eraser, tmp_path: Path
) -> None:
    """Then it is erased whole by running again, or by replaying the ledger."""
    person = populate(crm)
    rehearsal = crm.for_tenant("rehearsal")
    with crm._runtime.read():
        pass
    total = _statements(rehearsal, tmp_path, populate(rehearsal))
    before = held(crm)
    points = sorted({max(1, round(n * total / KILLS)) for n in range(1, KILLS + 1)})
    for at in points:
        assert eraser.erase(person, kill_at=at) is None
        assert is_found(crm, person)
        assert held(crm) == before
    assert eraser.erase(person, kill_at=AFTER_LEDGER) is None
    assert held(crm) == before
    assert eraser.erase(person, kill_at=10**6)
    _is_gone(crm, person)
    first, last = FileLedger(tmp_path / "erased.jsonl").entries()
    assert first.ids == last.ids
    assert crm.gdpr.replay_erasures([first, last]).erased == 0


def _statements(crm: CRMService, folder: Path, person: str) -> int:
    """How many statements erasing a person takes."""
    taken = 0
    plain = unit.SqlUnitOfWork.__init__

    class Counted:
        def __init__(self, cursor: Any) -> None:
            self._cursor = cursor

        def __getattr__(self, name: str) -> Any:
            return getattr(self._cursor, name)

        def execute(self, *said: Any) -> Any:
            nonlocal taken
            taken += 1
            return self._cursor.execute(*said)

    def counting(self: Any, cursor: Any, *rest: Any, **named: Any) -> None:
        plain(self, Counted(cursor), *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unit.SqlUnitOfWork, "__init__", counting)
        crm.gdpr.erase(person)
    (folder / "erased.jsonl").unlink()
    return taken


def _is_gone(crm: CRMService, person: str) -> None:
    assert not is_found(crm, person)
    for table, found in held(crm).items():
        assert person not in str(found), table
        assert canaries(str(found)) == set(), table
    with pytest.raises(Erased):
        crm.customers.get(person)
    assert crm.identity.resolve(profile(), dry_run=True).created


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("eraser", ["half"], indirect=True)
def test_half_an_erasure_fails_the_same_test(crm: CRMService, eraser: Eraser) -> None:
    """A part that is committed by itself is found out."""
    person = populate(crm)
    before = held(crm)
    assert eraser.erase(person, kill_at=40) is None
    assert held(crm) != before


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_the_ledger_had_before_the_power_failed_is_replayed(
    crm: CRMService, eraser: Eraser, tmp_path: Path
) -> None:
    """The ledger is told before the commit: an entry without its erasure does no harm."""
    person = populate(crm)
    assert eraser.erase(person, kill_at=AFTER_LEDGER) is None
    assert is_found(crm, person)
    entries = FileLedger(tmp_path / "erased.jsonl").entries()
    assert crm.gdpr.replay_erasures(entries).erased == 1
    _is_gone(crm, person)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_it_takes_as_many_statements_however_much_there_is(crm: CRMService, tmp_path: Path) -> None:
    """One transaction whose memory does not grow: rows are changed where they are."""
    taken = []
    for n in (2, 400):
        guest = crm.find_or_create({"email": f"guest{n}@mail.com"}).id
        visits = ({"customer_id": guest, "kind": "visit", "key": f"{n}.{k}"} for k in range(n))
        crm.activities.track_many(visits)
        taken.append(_statements(crm, tmp_path, guest))
    assert taken[0] == taken[1]
