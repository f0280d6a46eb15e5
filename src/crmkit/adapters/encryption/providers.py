"""Where master keys come from: the environment, a file, or a key management service."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from crmkit.errors import InvalidInput

KEY_BYTES: Final = 32
_EPOCH_MAX: Final = 40


def decoded(text: object) -> bytes:
    """A master key as `new_key` writes it; raises `InvalidInput`."""
    try:
        key = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise InvalidInput("expected 32 bytes in base64, as `new_key()` makes them", field="keys")
    return key


def _check_epochs(_: object, __: object, value: Sequence[str]) -> None:
    for name in value:
        if not isinstance(name, str) or not name.isascii() or not name.isprintable():
            raise InvalidInput("expected a short name for each epoch, such as 2026", field="keys")
        if not 0 < len(name) <= _EPOCH_MAX or any(c in name for c in ": ,"):
            raise InvalidInput(
                "expected names of epochs without space, comma and colon", field="keys"
            )
    if not value or len(set(value)) != len(value):
        raise InvalidInput("expected at least one key, each under a name of its own", field="keys")


def _check_current(provider: Any, __: object, value: str) -> None:
    if value not in provider.epochs:
        raise InvalidInput("expected one of the epochs as the current one", field="keys.current")


@attrs.frozen
class FixedKeys:
    """Master keys that are given as they are, 32 bytes each, by the names of their epochs."""

    keys: Mapping[str, bytes] = attrs.field(repr=False)
    current: str = attrs.field(validator=_check_current)

    @keys.validator
    def _check(self, _: object, value: Mapping[str, bytes]) -> None:
        _check_epochs(self, None, tuple(value))
        if any(not isinstance(k, bytes) or len(k) != KEY_BYTES for k in value.values()):
            raise InvalidInput("expected 32 bytes for each key", field="keys")

    @current.default
    def _last(self) -> str:
        return tuple(self.keys)[-1]

    @property
    def epochs(self) -> tuple[str, ...]:
        """All epochs whose keys are known."""
        return tuple(self.keys)

    def key(self, epoch: str) -> bytes:
        """The master key of an epoch."""
        return self.keys[epoch]


def _pairs(text: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.replace(",", " ").split():
        epoch, colon, key = part.partition(":")
        if not colon:
            raise InvalidInput("expected EPOCH:KEY, several with spaces between", field="keys")
        if epoch in found:
            raise InvalidInput("expected each epoch once", field="keys")
        found[epoch] = decoded(key)
    return found


class EnvironmentKeys(FixedKeys):
    """Master keys in an environment variable: ``2026:BASE64 2027:BASE64``.

    The last one is current, unless a variable of the same name with ``_CURRENT`` names another.
    """

    def __init__(self, name: str = "CRMKIT_KEYS") -> None:
        text = os.environ.get(name, "")
        if not text.strip():
            raise InvalidInput(f"expected master keys in the variable {name}", field="keys")
        keys = _pairs(text)
        named = os.environ.get(f"{name}_CURRENT")
        super().__init__(keys, named or tuple(keys)[-1])


def _json(text: bytes) -> Any:
    """What the text says; None if it is no JSON, for the error about it would hold the text."""
    try:
        return json.loads(text)
    except ValueError:
        return None


class FileKeys(FixedKeys):
    """Master keys in a JSON file: ``{"current": "2027", "keys": {"2026": BASE64, …}}``.

    Without ``current`` the last one is. On POSIX systems the file must not be readable for
    others.
    """

    def __init__(self, path: str | Path) -> None:
        file = Path(path)
        try:
            mode, text = file.stat().st_mode, file.read_bytes()
        except OSError as error:
            raise InvalidInput("the file of keys cannot be read", field="keys") from error
        if os.name == "posix" and mode & 0o077:
            raise InvalidInput("others may read the file of keys; chmod 600 it", field="keys")
        document = _json(text)
        del text
        held = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(held, dict) or not held:
            raise InvalidInput('expected JSON: {"keys": {EPOCH: KEY}}', field="keys")
        keys = {epoch: decoded(key) for epoch, key in held.items()}
        super().__init__(keys, str(document.get("current", tuple(keys)[-1])))


def _names(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@attrs.define
class KmsKeys:
    """Master keys that a key management service gives: `fetch` is asked once for each epoch.

    `fetch` takes an epoch's name and returns its 32 bytes, such as by letting the service decrypt
    a key that is stored beside the application. It should raise for a key that was destroyed.
    """

    current: str
    epochs: tuple[str, ...] = attrs.field(converter=_names, validator=_check_epochs)
    fetch: Callable[[str], bytes] = attrs.field(repr=False)
    _known: dict[str, bytes] = attrs.field(init=False, factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        _check_current(self, None, self.current)

    def key(self, epoch: str) -> bytes:
        """The master key of an epoch."""
        if epoch not in self._known:
            key = self.fetch(epoch)
            if not isinstance(key, bytes) or len(key) != KEY_BYTES:
                raise InvalidInput("expected 32 bytes from the service", field="keys")
            self._known[epoch] = key
        return self._known[epoch]
