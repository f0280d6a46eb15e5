"""Whatever is done to the audit's tables behind crmkit's back, `verify` with a head finds it."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from crmkit import CRMService
from crmkit.gdpr.auditing import START, link, mac
from crmkit.gdpr.chaining import AuditHead, chain_mac
from crmkit.model import AuditChain, AuditRow, AuditSubject, entry_of
from crmkit.model.catalogue import evolved
from crmkit.model.time import from_micros
from tests.fixtures import sqlite_url

TRIES = 10_000 if os.environ.get("CRMKIT_HYPOTHESIS_PROFILE") == "deep" else 1_000
RECORDS: dict[str, type] = {
    entry_of(kind).table: kind for kind in (AuditRow, AuditSubject, AuditChain)
}
TABLES = tuple(RECORDS)


@attrs.frozen
class Forger:
    """Who has the database: reads and writes its tables, and knows the key that lies in it."""

    crm: CRMService
    db: sqlite3.Connection
    rng: random.Random
    head: AuditHead
    before: dict[str, list[tuple[Any, ...]]]

    def rows(self, table: str) -> list[dict[str, Any]]:
        found = self.db.execute(f"SELECT * FROM {table}")
        names = [d[0] for d in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def chained(self) -> list[dict[str, Any]]:
        return sorted(self.rows("crm_audit"), key=lambda row: row["sequence"])

    def store(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.db.execute(f"DELETE FROM {table}")
        marks = ", ".join("?" * len(rows[0])) if rows else ""
        values = [list(row.values()) for row in rows]
        self.db.executemany(f"INSERT INTO {table} VALUES ({marks})", values)

    def restore(self) -> None:
        for table, rows in self.before.items():
            self.db.execute(f"DELETE FROM {table}")
            marks = ", ".join("?" * len(rows[0]))
            self.db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        self.db.commit()

    def seal_anew(self, rows: list[dict[str, Any]], *, keyed: bool) -> None:
        """Number and chain these rows from the start, as who knows how it is done."""
        previous, keys = START, self.crm._runtime.keys
        for number, row in enumerate(rows, 1):
            if keyed:
                row["mac"] = mac(keys, _record(row))
            previous = link(previous, number, _record(row))
            row["sequence"], row["hash"] = number, previous
        self.store("crm_audit", rows)
        (chain,) = self.rows("crm_audit_chains")
        ended = AuditChain(**chain | {"sealed_at": from_micros(chain["sealed_at"])})
        ended = evolved(ended, sequence=len(rows), hash=previous)
        told = {"sequence": len(rows), "hash": previous, "mac": chain_mac(keys, ended)}
        self.store("crm_audit_chains", [chain | told])


def _record(row: dict[str, Any]) -> AuditRow:
    at, details = from_micros(row["occurred_at"]), json.loads(row["details"])
    return AuditRow(**row | {"occurred_at": at, "details": details})


def _other(value: Any, rng: random.Random) -> Any:
    """Another value of the same kind."""
    if value is None:
        return "x"
    if isinstance(value, int):
        return value + rng.choice([-2, -1, 1, 5, 10**9])
    if value.startswith("{"):
        return json.dumps(json.loads(value) | {"x": rng.randrange(9)})
    return rng.choice([None, value[:-1] + ("0" if value[-1] != "0" else "1"), value + "x"])


def _edit(table: str) -> Callable[[Forger], None]:
    def edit(forger: Forger) -> None:
        rows, rng = forger.rows(table), forger.rng
        row = rng.choice(rows)
        column = rng.choice(list(row))
        value = _other(row[column], rng)
        if value is None and not entry_of(RECORDS[table]).column(column).optional:
            value = "x"
        row[column] = value
        forger.store(table, rows)

    return edit


def _take_from_another(forger: Forger) -> None:
    """A value of one row in place of another's: a replayed MAC or hash too."""
    rows, rng = forger.chained(), forger.rng
    one, other = rng.sample(rows, 2)
    differing = [c for c in one if one[c] != other[c] and c not in ("id",)]
    column = rng.choice(differing)
    one[column] = other[column]
    forger.store("crm_audit", rows)


def _replay(forger: Forger) -> None:
    """Changed content, and the MAC and hash of a row that was genuine."""
    rows = forger.chained()
    one, other = forger.rng.sample(rows, 2)
    one["action"] = "nothing"
    one["mac"], one["hash"] = other["mac"], other["hash"]
    forger.store("crm_audit", rows)


def _delete(forger: Forger) -> None:
    rows, rng = forger.chained(), forger.rng
    begin = rng.randrange(len(rows))
    del rows[begin : begin + rng.randint(1, 5)]
    forger.store("crm_audit", rows)


def _delete_and_close_up(forger: Forger) -> None:
    """The rest is numbered and chained anew, without a key: each row's own MAC still holds."""
    rows, rng = forger.chained(), forger.rng
    del rows[rng.randrange(len(rows))]
    forger.seal_anew(rows, keyed=False)


def _swap(forger: Forger) -> None:
    rows = forger.chained()
    one, other = forger.rng.sample(rows, 2)
    for column in forger.rng.choice([("sequence",), ("sequence", "hash"), ("occurred_at",)]):
        one[column], other[column] = other[column], one[column]
    if one["occurred_at"] == other["occurred_at"]:
        one["occurred_at"] += 1
    forger.store("crm_audit", rows)


def _reorder_and_chain(forger: Forger) -> None:
    rows = forger.chained()
    one, other = sorted(forger.rng.sample(range(len(rows)), 2))
    rows[one], rows[other] = rows[other], rows[one]
    forger.seal_anew(rows, keyed=False)


def _insert_again(forger: Forger) -> None:
    """A genuine row once more: under another id, at the end, or waiting to be sealed."""
    rows, rng = forger.chained(), forger.rng
    copied = dict(rng.choice(rows)) | {"id": f"~{rng.random()}"}
    copied["sequence"] = rng.choice([copied["sequence"], len(rows) + 1, 0, -1])
    forger.store("crm_audit", [*rows, copied])


def _cut_tail(forger: Forger) -> None:
    rows = forger.chained()
    forger.seal_anew(rows[: -forger.rng.randint(1, len(rows) - 1)], keyed=False)


def _rewrite(forger: Forger) -> None:
    """With the key: a row says something else, and everything behind it fits."""
    rows = forger.chained()
    forger.rng.choice(rows)["action"] = "nothing"
    forger.seal_anew(rows, keyed=True)


def _delete_subject(forger: Forger) -> None:
    rows = forger.rows("crm_audit_subjects")
    del rows[forger.rng.randrange(len(rows))]
    forger.store("crm_audit_subjects", rows)


def _swap_subjects(forger: Forger) -> None:
    rows = forger.rows("crm_audit_subjects")
    one, other = forger.rng.sample([row for row in rows if row["nonce"]], 2)
    one["nonce"], other["nonce"] = other["nonce"], one["nonce"]
    forger.store("crm_audit_subjects", rows)


def _insert_subject(forger: Forger) -> None:
    rows = forger.rows("crm_audit_subjects")
    copied = dict(forger.rng.choice(rows)) | {"audit_id": f"~{forger.rng.random()}"}
    forger.store("crm_audit_subjects", [*rows, copied])


def _unlink(forger: Forger) -> None:
    """As erasure does, but without the key."""
    rows = forger.rows("crm_audit_subjects")
    row = forger.rng.choice([row for row in rows if row["nonce"]])
    marks = [r["unlinked"] for r in rows if r["unlinked"]]
    row.update(customer_id=None, told_as=None, reason=None, nonce=None)
    row["unlinked"] = forger.rng.choice([None, *marks])
    forger.store("crm_audit_subjects", rows)


TAMPERINGS: dict[str, Callable[[Forger], None]] = {
    **{f"edit of {table}": _edit(table) for table in TABLES},
    "another's value": _take_from_another,
    "MAC replayed": _replay,
    "rows deleted": _delete,
    "deleted and closed up": _delete_and_close_up,
    "rows swapped": _swap,
    "reordered and chained": _reorder_and_chain,
    "inserted again": _insert_again,
    "tail cut off": _cut_tail,
    "rewritten with the key": _rewrite,
    "subject deleted": _delete_subject,
    "subjects swapped": _swap_subjects,
    "subject inserted": _insert_subject,
    "unlinked by hand": _unlink,
}


@pytest.fixture
def forger(tmp_path: Path) -> Iterator[Forger]:
    """A sealed audit of a few days, one of its subjects erased, and its head."""
    crm = CRMService(sqlite_url(tmp_path))
    guests = [crm.find_or_create({"email": f"guest{n}@mail.com"}).id for n in range(6)]
    for n in range(40):
        with crm.gdpr.audit.acting(f"staff:{n % 3}", reason=f"call {n}", via="desk"):
            crm.gdpr.export(guests[n % 6])
    crm.gdpr.consents.give(guests[0], "email", source="form")
    crm.identity.merge(guests[0], guests[1], reason="one person")
    crm.gdpr.erase(guests[2])
    head = crm.gdpr.audit.export_head()
    db = sqlite3.connect(tmp_path / "crm.db")
    db.execute("PRAGMA synchronous = OFF")
    before = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
    yield Forger(crm, db, random.Random(7), head, before)
    db.close()
    crm.close()


def test_every_tampering_is_found(forger: Forger) -> None:
    """Each kind in turn, with other rows and values each time; untouched, nothing is found."""
    audit, found = forger.crm.gdpr.audit, Counter[str]()
    assert audit.verify(forger.head).ok
    kinds = list(TAMPERINGS)
    for n in range(TRIES):
        kind = kinds[n % len(kinds)]
        TAMPERINGS[kind](forger)
        forger.db.commit()
        report = audit.verify(forger.head)
        assert not report.ok, f"{kind}, try {n}"
        found[kind] += 1
        forger.restore()
    assert found.total() == TRIES
    assert audit.verify(forger.head).ok


@pytest.mark.parametrize("tamper", [_rewrite, _cut_tail, _delete_and_close_up, _reorder_and_chain])
def test_only_the_head_finds_a_chain_that_was_written_anew(
    forger: Forger, tamper: Callable[[Forger], None]
) -> None:
    """Who has the database and its key can make it hold together; hence a head kept elsewhere."""
    if tamper is not _rewrite:  # subjects of rows that are gone would tell
        forger.db.execute("DELETE FROM crm_audit_subjects")
        rows = [row | {"subject": None} for row in forger.chained()]
        forger.seal_anew(rows, keyed=True)
    tamper(forger)
    forger.db.commit()
    assert forger.crm.gdpr.audit.verify().ok
    assert not forger.crm.gdpr.audit.verify(forger.head).ok


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        ("the last is deleted", "is missing, up to 44"),
        ("one is added behind the end", "was added behind the end"),
        ("the last is another", "is not what the chain ends with"),
        ("one is there twice", "is there twice, or where nothing should be"),
        ("one is numbered below the first", "is there twice, or where nothing should be"),
    ],
)
def test_what_is_wrong_at_an_end_is_told_without_a_head(
    forger: Forger, tamper: str, problem: str
) -> None:
    rows = forger.chained()
    last = rows[-1]
    assert last["sequence"] == 44
    more = dict(last) | {"id": "~"}
    if tamper == "the last is deleted":
        rows.pop()
    elif tamper == "one is added behind the end":
        more["sequence"] = 45
        rows.append(more | {"hash": link(last["hash"], 45, _record(more))})
    elif tamper == "the last is another":
        last["mac"] = rows[0]["mac"]
        last["hash"] = link(rows[-2]["hash"], 44, _record(last))
    else:
        rows.append(more | {"sequence": 44 if tamper == "one is there twice" else -1})
    forger.store("crm_audit", rows)
    forger.db.commit()
    assert problem in {f.problem for f in forger.crm.gdpr.audit.verify().findings}


def test_a_head_beyond_the_end_tells_that_rows_are_gone(forger: Forger) -> None:
    _cut_tail(forger)
    forger.db.commit()
    problem = "is missing, and was there when the head was exported"
    found = forger.crm.gdpr.audit.verify(forger.head).findings
    assert (44, problem) in {(f.sequence, f.problem) for f in found}


def test_findings_name_places_and_nobody(forger: Forger) -> None:
    rows = forger.chained()
    rows[4]["actor"] = "zqsomebodyzq"
    del rows[9:11]
    forger.store("crm_audit", rows)
    forger.db.commit()
    report = forger.crm.gdpr.audit.verify(forger.head)
    # Nothing tells any more where the subjects of the two rows belonged that are gone.
    assert [f.sequence for f in report.findings] == [5, 5, 5, 10, None, None]
    assert report.findings[3].problem == "is missing, up to 11"
    assert "zqsomebodyzq" not in repr(report)


def test_a_forged_row_is_found_before_it_is_sealed_and_after(forger: Forger) -> None:
    """Sealing takes what is there; the row's own MAC tells that crmkit did not write it."""
    rows = forger.chained()
    made = dict(rows[0]) | {"id": "~", "sequence": 0, "hash": None, "action": "nothing"}
    forger.store("crm_audit", [*rows, made | {"subject": None}])
    forger.db.commit()
    audit = forger.crm.gdpr.audit
    assert [f.sequence for f in audit.verify(forger.head).findings] == [None]
    assert audit.seal() == 1
    assert [f.sequence for f in audit.verify(forger.head).findings] == [len(rows) + 1]


def test_the_record_is_whole(forger: Forger) -> None:
    """The forger's rows are all of a row: what is added to the record is tampered with too."""
    assert set(forger.chained()[0]) == set(entry_of(AuditRow).names)
