"""What a key means, for whichever call takes one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from crmkit import Erased, IdempotencyConflict, InvalidInput, MemoryStorage, Settings
from crmkit.model import IdempotencyKey
from crmkit.ports.events import Events
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.keys import StoredKey
from crmkit.ports.runtime import Runtime
from crmkit.testing import CountingIds, FrozenClock


@pytest.fixture
def runtime() -> Runtime:
    storage = MemoryStorage()
    return Runtime(
        storage=storage,
        tenant="t",
        settings=Settings(),
        clock=FrozenClock(),
        new_id=CountingIds(),
        keys=StoredKey(storage.secret),
        events=Events(),
    )


def claimed(runtime: Runtime, call: Call | None, result: str) -> IdempotencyKey | None:
    assert call is not None
    return runtime.write(lambda uow: call.claim(uow, runtime, customer_id="c", result_id=result))


def test_without_a_key_there_is_nothing_to_remember(runtime: Runtime) -> None:
    assert Call.of(runtime, "op", None, "content") is None


def test_the_first_claims_and_the_second_learns(runtime: Runtime) -> None:
    call = Call.of(runtime, "op", "k", "content")
    assert claimed(runtime, call, "first") is None
    seen = claimed(runtime, call, "second")
    assert seen is not None
    assert (seen.result_id, seen.customer_id) == ("first", "c")


def test_other_content_is_a_conflict(runtime: Runtime) -> None:
    claimed(runtime, Call.of(runtime, "op", "k", "content"), "first")
    with pytest.raises(IdempotencyConflict):
        claimed(runtime, Call.of(runtime, "op", "k", "other"), "second")


def test_keys_of_two_operations_never_meet(runtime: Runtime) -> None:
    claimed(runtime, Call.of(runtime, "op", "k", "content"), "first")
    assert claimed(runtime, Call.of(runtime, "another op", "k", "content"), "second") is None


def test_a_key_of_an_erased_customer_says_so(runtime: Runtime) -> None:
    """Whatever the content: the hash of what was asked is gone with the person."""
    call = Call.of(runtime, "op", "k", "content")
    claimed(runtime, call, "first")
    gone: dict[str, Any] = {"customer_id": None, "content": None, "result_id": None}
    runtime.write(lambda uow: uow.change(IdempotencyKey, gone, customer_id="c"))
    for content in ("content", "other"):
        with pytest.raises(Erased):
            claimed(runtime, Call.of(runtime, "op", "k", content), "second")


def test_neither_key_nor_content_is_stored_or_shown(runtime: Runtime) -> None:
    """Keyed hashes alone; another database makes others of the same."""
    call = Call.of(runtime, "op", "ana@mail.com", "Ana Pop")
    claimed(runtime, call, "first")
    with runtime.read() as uow:
        (row,) = uow.find(IdempotencyKey)
    assert "ana" not in f"{row!r} {call!r} {row.fingerprint} {row.content}".lower()
    elsewhere = StoredKey(MemoryStorage().secret)
    assert elsewhere.fingerprint("t", "key:op", "ana@mail.com") != row.fingerprint


@pytest.mark.parametrize(
    "at",
    ["2026-01-15T12:00:00Z", "2026-01-15T13:00:00+01:00", datetime(2026, 1, 15, 12, tzinfo=UTC)],
)
def test_one_instant_is_the_same_content_however_it_is_written(at: datetime | str) -> None:
    assert stated(at) == "2026-01-15T12:00:00Z"


def test_a_moment_left_to_the_clock_is_not_content() -> None:
    assert stated(None) is None


@pytest.mark.parametrize("key", ["", "x" * 501, 7, b"k", True, ["k"], "\ud800"])
def test_what_is_no_key(runtime: Runtime, key: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Call.of(runtime, "op", key, "content")
    assert caught.value.field == "key"


@pytest.mark.parametrize("key", ["x", "x" * 500, "é", "\0", " "])
def test_what_is_a_key(runtime: Runtime, key: str) -> None:
    assert claimed(runtime, Call.of(runtime, "op", key, "content"), "first") is None


PARTS: list[Callable[[str, str, str], tuple[str, str, str]]] = [
    lambda t, p, v: (t + p, "", v),
    lambda t, p, v: (t, p + v, ""),
    lambda t, p, v: ("", t + p, v),
    lambda t, p, v: (t, p, v + " "),
]


@pytest.mark.parametrize("shifted", PARTS)
def test_a_fingerprint_keeps_its_parts_apart(
    shifted: Callable[[str, str, str], tuple[str, str, str]],
) -> None:
    keys = StoredKey(lambda: b"secret")
    parts = ("tenant", "purpose", "value")
    assert keys.fingerprint(*parts) == keys.fingerprint(*parts)
    assert keys.fingerprint(*parts) != keys.fingerprint(*shifted(*parts))
    assert len(keys.fingerprint(*parts)) == 40
