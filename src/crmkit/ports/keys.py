"""Keyed hashes: equal values can be found, nobody without the key can read them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol


class Keys(Protocol):
    """Makes keyed hashes."""

    def fingerprint(self, tenant: str, purpose: str, value: str) -> str:
        """The keyed hash of a value; equal only for equal tenant, purpose and value."""
        ...


class StoredKey:
    """Keyed hashes with the random key that was made with the database's schema.

    BLAKE2b in keyed mode (RFC 7693), 160 bits.
    """

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._secret = secret
        self._known: bytes | None = None
        self._base = hashlib.blake2b()

    def fingerprint(self, tenant: str, purpose: str, value: str) -> str:
        """See `Keys.fingerprint`."""
        secret = self._secret()
        if secret is not self._known:
            self._base = hashlib.blake2b(key=secret, digest_size=20)
            self._known = secret
        state = self._base.copy()
        # Length prefixes keep ("a", "bc") and ("ab", "c") apart.
        state.update(f"{len(tenant)}:{tenant}{len(purpose)}:{purpose}{value}".encode())
        return state.hexdigest()
