"""The ledger in a file: what was appended is read again, and nothing of a power cut harms it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crmkit import InvalidInput
from crmkit.erasure_ledger import ErasureEntry, FileLedger
from crmkit.testing import together

AT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)


def entry(*ids: str) -> ErasureEntry:
    return ErasureEntry(tenant="club", ids=ids, erased_at=AT, receipt="r1")


@pytest.fixture
def ledger(tmp_path: Path) -> FileLedger:
    return FileLedger(tmp_path / "erased.jsonl")


def test_entries_come_back_in_order(ledger: FileLedger) -> None:
    told = [entry("a"), entry("b", "c"), entry("a")]
    for one in told:
        ledger.append(one)
    assert list(ledger.entries()) == told


def test_a_line_is_a_json_document(ledger: FileLedger) -> None:
    ledger.append(entry("a", "b"))
    (line,) = filter(None, ledger.path.read_text().splitlines())
    assert json.loads(line) == {
        "tenant": "club",
        "ids": ["a", "b"],
        "erased_at": "2026-03-01T12:30:00.123456+00:00",
        "receipt": "r1",
    }


def test_nobody_else_may_read_the_file(ledger: FileLedger) -> None:
    ledger.append(entry("a"))
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_an_entry_is_on_the_disk_before_append_returns(
    ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File and, where it is new, folder; the disk is asked after all was written."""
    synced: list[tuple[bool, int]] = []
    fsync: Callable[[int], None] = os.fsync

    def heard(file: int) -> None:
        found = os.fstat(file)
        synced.append((stat.S_ISDIR(found.st_mode), ledger.path.stat().st_size))
        fsync(file)

    monkeypatch.setattr(os, "fsync", heard)
    ledger.append(entry("a"))
    size = ledger.path.stat().st_size
    assert synced == [(False, size), (True, size)]
    ledger.append(entry("b"))
    assert [is_folder for is_folder, _ in synced[2:]] == [False]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_was_cut_off_is_passed_over(ledger: FileLedger, cut: int) -> None:
    """Wherever the power failed; what was written before and after stays."""
    ledger.append(entry("a"))
    whole = ledger.path.read_bytes()
    ledger.append(entry("b"))
    kept = ledger.path.read_bytes()[: len(whole) + cut]
    for end in (b"", b"\0\0\0"):
        ledger.path.write_bytes(kept + end)
        assert list(ledger.entries()) == [entry("a")]
        ledger.append(entry("c"))
        assert list(ledger.entries()) == [entry("a"), entry("c")]


@pytest.mark.parametrize("wrong", ['{"ids": }', "{}", '{"tenant": "x", "ids": []}'])
def test_any_other_line_that_cannot_be_read_is_told(ledger: FileLedger, wrong: str) -> None:
    """By its number; what cannot be read may be somebody."""
    ledger.append(entry("a"))
    with ledger.path.open("a") as file:
        file.write(wrong + "\n")
    with pytest.raises(InvalidInput, match="line 3"):
        list(ledger.entries())


def test_many_may_append_at_once(ledger: FileLedger) -> None:
    def each(number: int) -> None:
        for _ in range(20):
            ledger.append(entry(f"{number}", "x" * 2_000))

    together(8, each)
    assert sorted(e.ids[0] for e in ledger.entries()) == sorted("01234567" * 20)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"tenant": "x", "ids": ["a"], "receipt": ""},
        {"tenant": "x", "ids": [], "receipt": "", "erased_at": AT.isoformat()},
        {"tenant": "x", "ids": ["a"], "receipt": "", "erased_at": "2026-01-01T00:00:00"},
        {"tenant": "x", "ids": ["a"], "receipt": "", "erased_at": 5},
    ],
)
def test_what_is_no_entry_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInput):
        ErasureEntry.from_dict(document)
