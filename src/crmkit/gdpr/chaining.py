"""The chain that seals the audit, its end and its head; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

import attrs

from crmkit.errors import InvalidInput
from crmkit.gdpr.auditing import START, link
from crmkit.model import AuditChain, AuditRow
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical
from crmkit.model.time import instant, iso, to_micros
from crmkit.ports.keys import Keys


@attrs.frozen
class AuditHead:
    """The head of a chain: the number of its last row, the hash that covers all, and when.

    `mac` is a keyed hash of the rest. Whoever keeps heads elsewhere can tell that nothing
    before them was changed since.
    """

    tenant: str
    sequence: int
    hash: str
    at: datetime
    mac: str

    def to_dict(self) -> dict[str, Any]:
        """The head as a JSON document."""
        return attrs.asdict(self) | {"at": iso(self.at)}

    @classmethod
    def of(cls, given: AuditHead | Mapping[str, Any]) -> AuditHead:
        """A head from its document; raises `InvalidInput` for what is none."""
        if isinstance(given, cls):
            return given
        kinds = {"tenant": str, "sequence": int, "hash": str, "at": str, "mac": str}
        if not isinstance(given, Mapping) or any(
            type(given.get(name)) is not kind for name, kind in kinds.items()
        ):
            raise InvalidInput("expected what `export_head` gave", field="head")
        return cls(
            given["tenant"],
            given["sequence"],
            given["hash"],
            instant(given["at"], field="head.at"),
            given["mac"],
        )


def head_mac(keys: Keys, head: AuditHead) -> str:
    """The keyed hash that a head should have."""
    told = canonical([head.sequence, head.hash, to_micros(head.at)])
    return keys.fingerprint(head.tenant, "audit head", told)


def chain_mac(keys: Keys, chain: AuditChain) -> str:
    """The keyed hash that the record of a chain should have."""
    told = [chain.id, chain.sequence, chain.hash, chain.pruned, chain.pruned_hash]
    told.append(to_micros(chain.sealed_at))
    return keys.fingerprint(chain.tenant, "audit chain", canonical(told))


def _signed(keys: Keys, chain: AuditChain) -> AuditChain:
    return evolved(chain, mac=chain_mac(keys, chain))


def started(keys: Keys, tenant: str, at: datetime) -> AuditChain:
    """The record of a chain without rows."""
    return _signed(
        keys,
        AuditChain(
            tenant=tenant,
            id=tenant,
            sequence=0,
            hash=START,
            pruned=0,
            pruned_hash=START,
            sealed_at=at,
            mac="",
        ),
    )


def of_chain(keys: Keys, chain: AuditChain) -> AuditHead:
    """The head of a chain."""
    head = AuditHead(chain.tenant, chain.sequence, chain.hash, chain.sealed_at, "")
    return attrs.evolve(head, mac=head_mac(keys, head))


def sealed(
    keys: Keys, chain: AuditChain, rows: Sequence[AuditRow], at: datetime
) -> tuple[AuditChain, list[AuditRow]]:
    """The chain with these rows at its end."""
    number, last, chained = chain.sequence, chain.hash, []
    for row in rows:
        number, last = number + 1, link(last, number + 1, row)
        chained.append(evolved(row, sequence=number, hash=last))
    return _signed(keys, evolved(chain, sequence=number, hash=last, sealed_at=at)), chained


def pruned(
    keys: Keys, chain: AuditChain, rows: Sequence[AuditRow], before: datetime
) -> tuple[AuditChain, list[AuditRow]]:
    """The chain without the first of its rows that are older, and which rows these are."""
    old = list(takewhile(lambda row: row.occurred_at < before, rows))
    if not old:
        return chain, old
    cut = evolved(chain, pruned=old[-1].sequence, pruned_hash=old[-1].hash or "")
    return _signed(keys, cut), old


def exported(row: AuditRow) -> str:
    """A sealed row as one line of JSON: what the chain's hash covers, and the hash."""
    names = ("sequence", "hash", "mac", "tenant", "id", "actor", "actor_mark", "via", "action",
             "subject", "details")  # fmt: skip
    told = {name: getattr(row, name) for name in names}
    return canonical(told | {"occurred_at": iso(row.occurred_at)})
