"""The ledger of erasures: what a host keeps outside the database, for after a backup's return.

An entry holds ids and nothing else about anybody. Ids are random, and once their person is
erased they lead nowhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import attrs

from crmkit.errors import InvalidInput


@attrs.frozen(kw_only=True)
class ErasureEntry:
    """One erasure: all ids of the person, when it was, and the receipt's number."""

    tenant: str
    ids: tuple[str, ...]
    erased_at: datetime
    receipt: str

    def to_dict(self) -> dict[str, Any]:
        """The entry as a JSON document."""
        return {
            "tenant": self.tenant,
            "ids": list(self.ids),
            "erased_at": self.erased_at.astimezone(UTC).isoformat(),
            "receipt": self.receipt,
        }

    @classmethod
    def from_dict(cls, document: Any) -> ErasureEntry:
        """The entry that `to_dict` wrote; raises `InvalidInput`."""
        try:
            made = cls(
                tenant=str(document["tenant"]),
                ids=tuple(map(str, document["ids"])),
                erased_at=datetime.fromisoformat(document["erased_at"]),
                receipt=str(document["receipt"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("expected tenant, ids, erased_at and receipt") from error
        if made.erased_at.tzinfo is None or not made.ids:
            raise InvalidInput("expected ids, and a time with its zone")
        return made


class ErasureLedger(Protocol):
    """Where erasures are written down, given as `Settings(erasure_ledger=…)`."""

    def append(self, entry: ErasureEntry) -> None:
        """Keep the entry for good before returning; what it raises stops the erasure.

        It is called when all is erased and not committed yet. So an entry may come twice, or
        stand for an erasure that was not committed in the end.
        """
        ...


@attrs.frozen
class FileLedger:
    """A ledger in a file of JSON lines, which several processes may share.

    Each entry is on the disk before `append` returns. Keep the file where the database's
    backups do not reach it.
    """

    path: Path = attrs.field(converter=Path)

    def append(self, entry: ErasureEntry) -> None:
        """See `ErasureLedger.append`."""
        line = json.dumps(entry.to_dict(), separators=(",", ":"))
        is_new = not self.path.exists()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # The newline in front ends a line that a power cut may have left unfinished.
            left = f"\n{line}\n".encode()
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        finally:
            os.close(file)
        if is_new:
            _sync_folder(self.path.absolute().parent)

    def entries(self) -> Iterator[ErasureEntry]:
        """All entries, in the order of their writing.

        A line that was cut off stands for an erasure that did not happen, and is passed over.
        Raises `InvalidInput` for any other that cannot be read. Before the first erasure there
        is no file, and nothing to tell.
        """
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8") as lines:
            for n, line in enumerate(lines, 1):
                told = line.strip("\0 \r\n")
                if not told.endswith("}"):
                    continue
                try:
                    yield ErasureEntry.from_dict(json.loads(told))
                except (InvalidInput, json.JSONDecodeError) as error:
                    raise InvalidInput("cannot be read", field=f"ledger, line {n}") from error


def _sync_folder(folder: Path) -> None:
    """Put the new file's name on the disk too; only POSIX lets a folder be opened."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
