"""Keyed hashes: equal values can be found, nobody without the key can read them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from crmkit.model import DataKey


@runtime_checkable
class Keys(Protocol):
    """Makes keyed hashes."""

    def fingerprint(self, tenant: str, purpose: str, value: str) -> str:
        """The keyed hash of a value; equal only for equal tenant, purpose and value.

        It is the same for good: for values that nobody will know later.
        """
        ...

    def indexes(self, tenant: str, purpose: str, value: str) -> tuple[str, ...]:
        """Keyed hashes under which a value may be found, that which is stored now first.

        There are several while keys are changed. The values are known, so that all can be hashed
        anew.
        """
        ...


@runtime_checkable
class RotatingKeys(Keys, Protocol):
    """Keys that can be changed."""

    @property
    def epoch(self) -> str:
        """The name of the keys that are written with."""
        ...

    def rewrapped(self, kept: DataKey) -> DataKey:
        """The same key of a customer, sealed with the master key that is current."""
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

    def indexes(self, tenant: str, purpose: str, value: str) -> tuple[str, ...]:
        """See `Keys.indexes`."""
        return (self.fingerprint(tenant, purpose, value),)
