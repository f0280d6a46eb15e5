"""Customers' keys, the tenant's own, and the hashes that a tenant's values are found by."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from crmkit.adapters.encryption.providers import KEY_BYTES
from crmkit.adapters.encryption.ring import KeyRing
from crmkit.adapters.encryption.sealing import about
from crmkit.model import DataKey, catalogue, entry_of
from crmkit.model.catalogue import evolved
from crmkit.ports.keys import StoredKey
from crmkit.ports.storage import UnitOfWork

OWN: Final = ""
"""The id in the place of a customer's under which the tenant's own key is kept."""


@attrs.frozen
class TenantKey:
    """A tenant's own key: what seals rows of nobody, and what hashes for good.

    `partly` says that there may be rows from before there was a key ring.
    """

    seals: bytes = attrs.field(repr=False)
    hashes: bytes = attrs.field(repr=False)
    partly: bool


@attrs.frozen
class Wrapping:
    """Makes customers' keys and opens them again."""

    ring: KeyRing
    tenant: str

    def made(self, customer_id: str) -> tuple[DataKey, bytes]:
        """A new key for a customer, as it is kept and as it is."""
        key = os.urandom(KEY_BYTES)
        return self._kept(customer_id, key), key

    def opened(self, kept: DataKey) -> bytes:
        """The key itself; raises `DecryptionError`."""
        return self.ring.unwrap(kept.epoch, kept.wrapped, self._about(kept.customer_id))

    def rewrapped(self, kept: DataKey) -> DataKey:
        """The same key, kept under the current epoch."""
        key = self.opened(kept)
        wrapped = self.ring.wrap(self.ring.current, key, self._about(kept.customer_id))
        return evolved(kept, epoch=self.ring.current, wrapped=wrapped)

    def own(self, kept: DataKey) -> TenantKey:
        """What is kept as the tenant's own; raises `DecryptionError`."""
        seals, hashes = map(bytes.fromhex, self.opened(kept).decode().split())
        return TenantKey(seals, hashes, kept.partly)

    def make_own(self, uow: UnitOfWork, secret: bytes) -> DataKey:
        """The tenant's own key, made unless another was quicker.

        What a tenant hashed before there was a key ring was hashed with the database's `secret`,
        and stays so: nobody knows the values any more.
        """
        kinds = (e.record for e in catalogue() if e.record is not DataKey)
        partly = any(uow.rows(kind, entry_of(kind).key[1:], limit=1) for kind in kinds)
        hashes = secret if partly else os.urandom(KEY_BYTES)
        both = f"{os.urandom(KEY_BYTES).hex()} {hashes.hex()}"
        made = evolved(self._kept(OWN, both.encode()), partly=partly)
        uow.add_if_absent(made)
        return uow.get(DataKey, OWN) or made

    def _kept(self, customer_id: str, key: bytes) -> DataKey:
        epoch = self.ring.current
        wrapped = self.ring.wrap(epoch, key, self._about(customer_id))
        return DataKey(tenant=self.tenant, customer_id=customer_id, epoch=epoch, wrapped=wrapped)

    def _about(self, customer_id: str) -> bytes:
        return about(self.tenant, entry_of(DataKey).table, customer_id)


class RingKeys:
    """Hashes under a key ring; see `Keys`."""

    def __init__(
        self, ring: KeyRing, own: Callable[[str], TenantKey], secret: Callable[[], bytes]
    ) -> None:
        self._ring = ring
        self._own = own
        self._before = StoredKey(secret)
        self._for_good: dict[bytes, StoredKey] = {}

    def fingerprint(self, tenant: str, purpose: str, value: str) -> str:
        """See `Keys.fingerprint`."""
        hashes = self._own(tenant).hashes
        keyed = self._for_good.get(hashes)
        if keyed is None:
            keyed = self._for_good[hashes] = StoredKey(lambda: hashes)
        return keyed.fingerprint(tenant, purpose, value)

    def indexes(self, tenant: str, purpose: str, value: str) -> tuple[str, ...]:
        """See `Keys.indexes`."""
        said = about(tenant, purpose, value)
        found = tuple([self._ring.hashed(epoch, said) for epoch in self._ring.epochs])
        if self._own(tenant).partly:
            found = (*found, self._before.fingerprint(tenant, purpose, value))
        return found

    @property
    def epoch(self) -> str:
        """See `RotatingKeys.epoch`."""
        return self._ring.current

    def rewrapped(self, kept: DataKey) -> DataKey:
        """See `RotatingKeys.rewrapped`."""
        return Wrapping(self._ring, kept.tenant).rewrapped(kept)


class Keychain:
    """The keys of customers within one unit of work: each is read, or made, once."""

    def __init__(self, uow: UnitOfWork, wrapping: Wrapping, own: Callable[[], TenantKey]) -> None:
        self._uow = uow
        self._wrapping = wrapping
        self._own = own
        self._known: dict[str, bytes] = {}

    def load(self, owners: set[str]) -> None:
        """Read the keys of these customers at once."""
        wanted = tuple(sorted(owners - self._known.keys() - {OWN}))
        if len(wanted) > 1:
            for kept in self._uow.find(DataKey, customer_id=wanted):
                self._known[kept.customer_id] = self._wrapping.opened(kept)

    def opening(self, owner: str) -> bytes | None:
        """The key that opens a customer's rows; None if there is none."""
        return self._found(owner)

    def sealing(self, owner: str, *, new: bool = False) -> bytes:
        """The key that seals a customer's rows, made if there is none; `new` says so."""
        key = self._known.get(owner) if new else self._found(owner)
        if key is not None:
            return key
        kept, key = self._wrapping.made(owner)
        if new:
            self._uow.add(kept)
        elif not self._uow.add_if_absent(kept):
            key = self._wrapping.opened(self._uow.get(DataKey, owner) or kept)
        self._known[owner] = key
        return key

    def give_up(self, owners: Iterable[str]) -> None:
        """Hear that the keys of these customers are about to be removed: nothing is sealed so."""
        for owner in owners:
            self._known.pop(owner, None)

    def _found(self, owner: str) -> bytes | None:
        if owner == OWN:
            return self._own().seals
        if owner not in self._known:
            kept = self._uow.get(DataKey, owner)
            if kept is None:
                return None
            self._known[owner] = self._wrapping.opened(kept)
        return self._known[owner]
