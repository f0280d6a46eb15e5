"""A rotation is killed at any moment: everybody is found, by former hashes or by new ones."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings

from crmkit import CRMService, KeyRing, Settings
from crmkit.customers import search, tokens
from crmkit.model import DataKey, Identity, SearchToken
from tests.fixtures import sqlite_url

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
RO = Settings(region="RO")
KILLS = 100 if settings().max_examples > 1_000 else 5
GUESTS = max(30, 4 * KILLS)

_ROTATE = """
import sys
from crmkit import CRMService, KeyRing
from crmkit.gdpr import rotation

rotation._PAGE = int(sys.argv[2])  # many small transactions
ring = KeyRing({"2026": bytes(range(32)), "2027": bytes(range(32, 64))})
crm = CRMService(sys.argv[1], keys=ring)
print("ready", flush=True)
crm.gdpr.rotate(progress=lambda done: print(done, flush=True))
"""


def guest(n: int) -> dict[str, str]:
    return {"name": f"Guest {n}", "email": f"guest{n}@x.ro", "phone": f"0722000{n:03}"}


def is_whole(url: str) -> int:
    """Check that each guest is found and sealed one way alone; how many are rotated."""
    epochs: list[str] = []
    with CRMService(url, keys=KeyRing({"2026": OLD, "2027": NEW}), settings=RO) as crm:
        for n in range(GUESTS):
            found = crm.find_or_create({"email": f"GUEST{n}@x.ro"})
            assert found.name == f"Guest {n}"
            assert found.id in {h.customer.id for h in crm.customers.search(f"guest{n}@x.ro")}
            with crm._runtime.read() as uow:
                key = uow.get(DataKey, found.id)
                stored = {i.fingerprint for i in uow.find(Identity, customer_id=found.id)}
                searched = {t.fingerprint for t in uow.find(SearchToken, customer_id=found.id)}
            assert key is not None
            new, old = crm._runtime.indexes("email", f"guest{n}@x.ro")
            assert stored & {new, old} == {new if key.epoch == "2027" else old}
            hashers = dict(zip(("2027", "2026"), search._hashers(crm._runtime), strict=True))
            assert searched == set(map(hashers[key.epoch].whole, tokens.of_profile(found)))
            epochs.append(key.epoch)
        assert len(crm.customers.list(limit=1_000)) == GUESTS
    return epochs.count("2027")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    request.getfixturevalue("postgres_engine")
    found: str = request.getfixturevalue("crm_database")
    return found


def test_killed_again_and_again_a_rotation_goes_on(url: str) -> None:
    """Each run is killed after some customers and a moment more; in the end all are rotated."""
    chance = random.Random(5)
    with CRMService(url, keys=KeyRing({"2026": OLD}), settings=RO) as crm:
        for n in range(GUESTS):
            crm.find_or_create(guest(n))
    page, rotated = 1, 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", _ROTATE, url, str(page)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        process.stdout.readline()
        for _ in range(chance.randrange(2)):
            process.stdout.readline()
        time.sleep(chance.uniform(0, 0.004))
        process.kill()
        _, errors = process.communicate(timeout=60)
        assert errors == ""
        time.sleep(0.05 if "postgresql" in url else 0)  # the server notices that its client is gone
        now = is_whole(url)
        assert now >= rotated
        rotated = now
    with CRMService(url, keys=KeyRing({"2026": OLD, "2027": NEW}), settings=RO) as crm:
        assert crm.gdpr.rotate().left == 0
    assert is_whole(url) == GUESTS
