"""The key ring: master keys by epoch, and what is derived from them.

AES-256-GCM (NIST SP 800-38D) seals, with random nonces of 96 bits: a key of its own for each
customer keeps their number far below the limit of 2^32 a key. HKDF-SHA256 (RFC 5869) derives from
each master key one key that wraps customers' keys and one that hashes what they are found by.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from crmkit.adapters.encryption.providers import (
    KEY_BYTES,
    EnvironmentKeys,
    FileKeys,
    FixedKeys,
)
from crmkit.errors import DecryptionError, MissingExtra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE: Final = 12
_TAG: Final = 16
_HASH: Final = 20


class KeyProvider(Protocol):
    """Where master keys come from; 32 bytes each."""

    @property
    def current(self) -> str:
        """The epoch whose key is used for what is written from now on."""
        ...

    @property
    def epochs(self) -> Sequence[str]:
        """All epochs whose keys are known: what was written with them can be read."""
        ...

    def key(self, epoch: str) -> bytes:
        """The master key of an epoch."""
        ...


def new_key() -> str:
    """A new random master key, as the environment and files of keys hold it."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def cipher(key: bytes) -> AESGCM:
    """AES-256-GCM with a key; raises `MissingExtra`."""
    found: AESGCM = _aead()(key)
    return found


@cache
def _aead() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise MissingExtra(
            "a key ring needs cryptography: pip install 'crmkit[encryption]'"
        ) from error
    return AESGCM


@cache
def _refusals() -> tuple[type[Exception], ...]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag, ValueError


def _derived(master: bytes, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"crmkit " + purpose).derive(master)


def encrypt(aead: AESGCM, plain: bytes, about: bytes) -> str:
    """Sealed text: nonce, ciphertext and tag in base64.

    It is bound to what it is `about`. `plain` is filled up with spaces, so that base64 leaves no
    bit that could be changed without being noticed.
    """
    plain += b" " * (-(_NONCE + len(plain) + _TAG) % 3)
    nonce = os.urandom(_NONCE)
    return base64.b64encode(nonce + aead.encrypt(nonce, plain, about)).decode()


def decrypt(aead: AESGCM, sealed: str, about: bytes) -> bytes:
    """What was sealed; raises `DecryptionError` if it, or what it is about, is not what it was."""
    try:
        raw = binascii.a2b_base64(sealed, strict_mode=True)
        return aead.decrypt(raw[:_NONCE], raw[_NONCE:], about)
    except _refusals() as error:
        raise DecryptionError("what is stored was changed, or sealed for another place") from error


class KeyRing:
    """Master keys, for ``CRMService(…, keys=KeyRing(…))``; needs the extra ``encryption``.

    Takes 32 bytes for each epoch's name, of which the last is current unless `current` names
    another, or any `KeyProvider`. What was written under any of the epochs can be read; what is
    written is written under the current one. `crm.gdpr.rotate()` brings what is older to the
    current epoch, after which an old key may be destroyed.
    """

    def __init__(
        self, keys: Mapping[str, bytes] | KeyProvider, *, current: str | None = None
    ) -> None:
        if isinstance(keys, Mapping):
            keys = FixedKeys(keys, current or tuple(keys)[-1]) if keys else FixedKeys(keys, "")
        self._provider: KeyProvider = keys
        self.current: str = keys.current
        """The epoch that is written with."""
        self.epochs: tuple[str, ...] = (
            self.current,
            *(epoch for epoch in keys.epochs if epoch != self.current),
        )
        """The epochs that can be read, the current one first."""
        self._wrapping: dict[str, AESGCM] = {}
        self._indexing: dict[str, Any] = {}
        _aead()  # so that a missing extra is told at once

    @classmethod
    def from_environment(cls, name: str = "CRMKIT_KEYS") -> KeyRing:
        """Keys in an environment variable; see `EnvironmentKeys`."""
        return cls(EnvironmentKeys(name))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> KeyRing:
        """Keys in a file; see `FileKeys`."""
        return cls(FileKeys(os.fspath(path)))

    def __repr__(self) -> str:
        return f"KeyRing(current={self.current!r}, epochs={self.epochs!r})"

    def wrap(self, epoch: str, key: bytes, about: bytes) -> str:
        """A key sealed with an epoch's master key."""
        return encrypt(self._wrapper(epoch), key, about)

    def unwrap(self, epoch: str, wrapped: str, about: bytes) -> bytes:
        """The key again; raises `DecryptionError`."""
        return decrypt(self._wrapper(epoch), wrapped, about)

    def hashed(self, epoch: str, value: bytes) -> str:
        """A hash keyed with an epoch's master key: BLAKE2b (RFC 7693), 160 bits."""
        base = self._indexing.get(epoch)
        if base is None:
            key = _derived(self._master(epoch), b"index")
            base = self._indexing[epoch] = hashlib.blake2b(key=key, digest_size=_HASH)
        state = base.copy()
        state.update(value)
        return str(state.hexdigest())

    def _wrapper(self, epoch: str) -> AESGCM:
        found = self._wrapping.get(epoch)
        if found is None:
            key = _derived(self._master(epoch), b"wrap")
            found = self._wrapping[epoch] = cipher(key)
        return found

    def _master(self, epoch: str) -> bytes:
        if epoch not in self.epochs:
            raise DecryptionError("sealed with a master key that the key ring does not have")
        return self._provider.key(epoch)
