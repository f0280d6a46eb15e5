"""What an erasure hands back: a receipt that can be verified later; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from crmkit.model import catalogue
from crmkit.model.document import canonical
from crmkit.model.time import iso


@attrs.frozen
class ErasureReceipt:
    """Proof of an erasure: how many rows of each table were deleted or made anonymous.

    `ids` are all ids of the person, those that were merged away too. `kept` says for each table
    whose rows stay, without the person, why they do. `number` is a keyed hash of all the rest:
    see `crm.gdpr.verify_receipt`.
    """

    customer_id: str
    erased_at: datetime
    deleted: Mapping[str, int]
    anonymised: Mapping[str, int]
    kept: Mapping[str, str] = attrs.field(factory=dict)
    ids: tuple[str, ...] = ()
    number: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The receipt as a JSON document."""
        return {
            "customer_id": self.customer_id,
            "ids": list(self.ids),
            "erased_at": iso(self.erased_at),
            "deleted": dict(self.deleted),
            "anonymised": dict(self.anonymised),
            "kept": dict(self.kept),
            "number": self.number,
        }


def content(document: Mapping[str, Any]) -> str:
    """What a receipt's number is made of: all the rest, as canonical text."""
    return canonical({name: value for name, value in document.items() if name != "number"})


def reasons(anonymised: Mapping[str, int]) -> dict[str, str]:
    """Why the rows of these tables stay."""
    return {e.table: e.reason for e in catalogue() if e.table in anonymised}
