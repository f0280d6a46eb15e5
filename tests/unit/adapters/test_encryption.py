"""Keys: where they come from, what is refused, and what sealed text is bound to."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crmkit import DecryptionError, InvalidInput, KeyRing, MissingExtra
from crmkit.adapters.encryption import (
    EnvironmentKeys,
    FileKeys,
    FixedKeys,
    KmsKeys,
    new_key,
)
from crmkit.adapters.encryption.bounding import bound, readable
from crmkit.adapters.encryption.ring import cipher, decrypt, encrypt
from crmkit.adapters.encryption.sealing import about
from crmkit.config import Settings
from crmkit.model.rule import AllOf, AnyOf, Compare, Not
from crmkit.segmentation.rules import parse

A, B = bytes(range(32)), bytes(range(32, 64))
TEXT = {name: base64.b64encode(key).decode() for name, key in (("a", A), ("b", B))}


# --- where keys come from ---


def test_a_new_key_is_32_random_bytes_in_base64() -> None:
    one, other = new_key(), new_key()
    assert len(base64.b64decode(one)) == 32
    assert one != other


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one is current, or the one that is named."""
    monkeypatch.setenv("CRMKIT_KEYS", f"2026:{TEXT['a']} 2027:{TEXT['b']}")
    keys = EnvironmentKeys()
    assert (keys.current, keys.epochs, keys.key("2026")) == ("2027", ("2026", "2027"), A)
    monkeypatch.setenv("CRMKIT_KEYS_CURRENT", "2026")
    assert KeyRing.from_environment().epochs == ("2026", "2027")


def test_keys_of_a_file(tmp_path: Path) -> None:
    """They must not be readable for others."""
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"current": "a", "keys": TEXT}))
    file.chmod(0o600)
    keys = FileKeys(file)
    assert (keys.current, keys.key("b")) == ("a", B)
    assert KeyRing.from_file(file).current == "a"
    file.chmod(0o640)
    with pytest.raises(InvalidInput, match="chmod 600"):
        FileKeys(file)


def test_a_service_is_asked_once_for_each_key() -> None:
    asked: list[str] = []

    def fetch(epoch: str) -> bytes:
        asked.append(epoch)
        return {"a": A, "b": B}[epoch]

    ring = KeyRing(KmsKeys("b", ["a", "b"], fetch))
    for _ in range(2):
        for epoch in ring.epochs:
            ring.unwrap(epoch, ring.wrap(epoch, b"key", b"x"), b"x")
    assert asked == ["b", "a"]


WRONG: dict[str, Callable[[], object]] = {
    "no key": lambda: KeyRing({}),
    "a short key": lambda: KeyRing({"a": b"short"}),
    "a key that is text": lambda: KeyRing({"a": TEXT["a"]}),  # type: ignore[dict-item]
    "no such current key": lambda: KeyRing({"a": A}, current="b"),
    "a name with a space": lambda: FixedKeys({"a b": A}, "a b"),
    "a name that is long": lambda: KeyRing({"a" * 41: A}),
    "an empty name": lambda: KeyRing({"": A}),
    "no such variable": lambda: EnvironmentKeys("CRMKIT_NO_SUCH_KEYS"),
    "no such file": lambda: FileKeys("/nowhere/keys.json"),
    "a service without names": lambda: KmsKeys("a", [], lambda _: A),
    "a service with another current key": lambda: KmsKeys("c", ["a"], lambda _: A),
    "a service with a short key": lambda: KmsKeys("a", ["a"], lambda _: b"short").key("a"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_key_is_refused(wrong: str) -> None:
    """With an error that names no key."""
    with pytest.raises(InvalidInput) as caught:
        WRONG[wrong]()
    assert TEXT["a"] not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a:b",
        f"a:{'A' * 44}",
        "a:%%%",
        f"a:{TEXT['a']} a:{TEXT['b']}",
        f"a:{TEXT['a'][:-4]}",
    ],
)
def test_a_variable_that_holds_no_keys_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRMKIT_KEYS", text)
    with pytest.raises(InvalidInput):
        EnvironmentKeys()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"keys": []}', '{"keys": {"a": 1}}'])
def test_a_file_that_holds_no_keys_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(InvalidInput):
        FileKeys(file)


def test_without_the_extra_the_error_names_it() -> None:
    """`import crmkit` needs no cryptography; a key ring does."""
    code = (
        "import sys\n"
        "import crmkit\n"
        "assert 'cryptography' not in sys.modules\n"
        "sys.modules['cryptography.hazmat.primitives.ciphers.aead'] = None\n"
        "try:\n"
        "    crmkit.KeyRing({'a': bytes(32)})\n"
        "except crmkit.MissingExtra as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert "crmkit[encryption]" in run.stdout
    assert issubclass(MissingExtra, ImportError)


# --- what is sealed ---


@pytest.mark.parametrize("length", range(8))
def test_sealed_text_opens_for_what_it_is_about(length: int) -> None:
    """And is padded with spaces, so that base64 has no bit to spare."""
    aead = cipher(A)
    sealed = encrypt(aead, b"x" * length, about("t", "table", "row"))
    assert decrypt(aead, sealed, about("t", "table", "row")).rstrip() == b"x" * length
    assert "=" not in sealed
    for other in (about("t", "tabl", "erow"), about("t", "table", "row", "")):
        with pytest.raises(DecryptionError):
            decrypt(aead, sealed, other)


def test_two_seals_of_one_text_differ() -> None:
    """The nonce is random."""
    assert encrypt(cipher(A), b"x", b"") != encrypt(cipher(A), b"x", b"")


@pytest.mark.parametrize("sealed", ["", "A", "é", "AAAA", "A" * 40, "A" * 39 + "=", "\x00", "===="])
def test_what_was_never_sealed_is_refused(sealed: str) -> None:
    with pytest.raises(DecryptionError):
        decrypt(cipher(A), sealed, b"")


def test_a_key_opens_under_its_own_epoch_alone() -> None:
    ring = KeyRing({"a": A, "b": B})
    wrapped = ring.wrap("a", b"key", b"x")
    assert ring.unwrap("a", wrapped, b"x").rstrip() == b"key"
    for ring_, epoch in ((ring, "b"), (KeyRing({"b": B}), "a")):
        with pytest.raises(DecryptionError):
            ring_.unwrap(epoch, wrapped, b"x")


def test_a_hash_depends_on_the_epoch() -> None:
    ring = KeyRing({"a": A, "b": B})
    assert ring.hashed("a", b"x") == KeyRing({"a": A}).hashed("a", b"x") != ring.hashed("b", b"x")


# --- rules ---


def test_the_bounds_of_a_rule() -> None:
    """Above it whoever may fit, below it who surely does; under a `not` the other way round."""
    cluj = {"field": "city", "operator": "=", "value": "Cluj"}
    rich = {"field": "total_spend", "operator": ">", "value": 5}
    rule = parse(
        {"operator": "and", "conditions": [rich, {"operator": "not", "conditions": [cluj]}]},
        Settings(),
    )
    assert isinstance(rule, AllOf)
    spent = rule.parts[0]
    assert isinstance(spent, Compare)
    assert bound(rule, upper=True) == AllOf((spent, Not(AnyOf(()))))
    assert bound(rule, upper=False) == AllOf((spent, Not(AllOf(()))))
    assert not readable(rule)
    assert readable(spent)
    assert bound(spent, upper=True) is spent


@pytest.mark.parametrize(
    ("field", "is_readable"),
    [("city", False), ("age", False), ("tags", False), ("custom.x", False), ("music_genres", False),
     ("source", False), ("total_spend", True), ("points", True), ("created_at", True),
     ("consent.marketing_email", True)],
)  # fmt: skip
def test_which_fields_a_database_can_read(field: str, is_readable: bool) -> None:
    rule = parse({"field": field, "operator": "exists", "value": True}, Settings())
    assert readable(rule) is is_readable
