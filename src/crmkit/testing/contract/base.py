"""What all parts of the contract stand on."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, TypeVar

from crmkit.errors import StorageError
from crmkit.model import DataKey, Entry, Note, catalogue
from crmkit.model.catalogue import SEAL, evolved
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.testing.contract.samples import filled, samples

T = TypeVar("T")

MOMENT: Final = datetime(2026, 1, 15, 12, tzinfo=UTC)


class Contract:
    """A storage under test, and a tenant of its own for each test."""

    seals = False
    """Whether the storage seals by itself: such a one makes the keys, and is handed no seals."""

    def make_storage(self) -> Storage:
        """The storage under test; it may hold records of other tenants already."""
        raise NotImplementedError("a contract's subclass makes the storage")

    @cached_property
    def storage(self) -> Storage:
        """The storage of this test."""
        return self.make_storage()

    @cached_property
    def tenant(self) -> str:
        """The tenant of this test."""
        return f"contract-{secrets.token_hex(8)}"

    def kinds(self) -> tuple[Entry, ...]:
        """The records that are stored by whoever uses the storage."""
        return tuple(e for e in catalogue() if not (self.seals and e.record is DataKey))

    def samples(self, entry: Entry) -> list[Any]:
        """Records of one kind, each with a key of its own."""
        return [self._handed(record) for record in samples(entry, self.tenant)]

    def filled(self, entry: Entry) -> Any:
        """A record with something in every field."""
        return self._handed(filled(entry, self.tenant))

    def _handed(self, record: Any) -> Any:
        is_sealed = self.seals and hasattr(record, SEAL)
        return evolved(record, sealed=None) if is_sealed else record

    def teardown_method(self) -> None:
        """Close what the test made; pytest calls this."""
        if "storage" in self.__dict__:
            self.storage.close()

    def read(self) -> AbstractContextManager[UnitOfWork]:
        """A unit of work that only reads."""
        return self.storage.read(self.tenant)

    def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Run `work` in one transaction."""
        return self.storage.write(self.tenant, work)

    def store(self, *records: object) -> None:
        """Store new records in one transaction."""
        self.write(lambda uow: uow.add_many(records))

    def note(self, id: str, **fields: Any) -> Note:
        """A record of a plain kind."""
        given: dict[str, Any] = {"customer_id": "c", "text": "text", "kind": "general"}
        given |= {"occurred_at": MOMENT, "recorded_at": MOMENT} | fields
        return Note(tenant=self.tenant, id=id, **given)

    def ids(self, **equal: Any) -> list[str]:
        """Ids of the stored notes whose fields equal these, in the order of their ids."""
        with self.read() as uow:
            return [note.id for note in uow.find(Note, **equal)]


def raised(call: Callable[[], object]) -> BaseException | None:
    """What the call raises."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - the caller looks at it
        return error
    return None


def refused(call: Callable[[], object]) -> None:
    """Check that the call raises a `StorageError`."""
    error = raised(call)
    assert isinstance(error, StorageError), f"expected a StorageError, not {error!r}"
