"""Texts that people are shown when they are asked, and the record of what they then said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from crmkit.errors import InvalidInput
from crmkit.gdpr.addresses import checked_channel
from crmkit.gdpr.statements import checked_purpose
from crmkit.model import Consent, Notice
from crmkit.model.document import canonical, text
from crmkit.model.time import iso
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork


@attrs.frozen
class Receipt:
    """What somebody said about a consent, and the text that they were shown."""

    consent: Consent
    notice: Notice | None

    def to_dict(self) -> dict[str, Any]:
        """A personal JSON document with the sections and fields of ISO/IEC TS 27560:2023."""
        fact, shown = self.consent, self.notice
        return {
            "schema_version": "ISO/IEC TS 27560:2023",
            "record_id": fact.id,
            "pii_principal_id": fact.customer_id,
            "pii_processing": {
                "privacy_notice": shown and _shown(shown),
                "policy_version": fact.policy,
                "language": fact.language or (shown.language if shown else None),
                "purpose": fact.purpose,
                "channel": fact.channel,
                "address": fact.address,
                "lawful_basis": fact.basis,
                "collection_method": fact.source,
                "jurisdiction": fact.jurisdiction,
                "recipient_third_parties": list(shown.recipients) if shown else [],
                "withdrawal_method": shown.withdrawal if shown else None,
            },
            "party_identification": {"pii_controller": shown.controller if shown else None},
            "event": {
                "event_type": fact.event,
                "event_time": iso(fact.occurred_at),
                "recorded_at": iso(fact.recorded_at),
                "valid_until": iso(fact.expires_at) if fact.expires_at else None,
                "follows": fact.follows,
                "evidence": fact.proof,
            },
        }


def _shown(shown: Notice) -> dict[str, Any]:
    return {
        "id": shown.id,
        "version": shown.version,
        "text": shown.text,
        "recorded_at": iso(shown.recorded_at),
    }


def notice(
    rt: Runtime,
    purpose: str,
    channel: str,
    *,
    language: str,
    version: str,
    wording: str,
    controller: str | None,
    recipients: Sequence[str],
    withdrawal: str | None,
) -> Notice:
    """The text as it is kept; raises `InvalidInput`."""
    if isinstance(recipients, str) or not isinstance(recipients, Sequence):
        raise InvalidInput("expected a list of texts", field="recipients")
    told: dict[str, Any] = {
        "purpose": checked_purpose(purpose),
        "channel": checked_channel(channel),
        "language": _filled(language, "language", 35),
        "version": _filled(version, "version", 100),
        "text": _filled(wording, "text", 10_000, multiline=True),
        "controller": None if controller is None else _filled(controller, "controller", 500),
        "recipients": tuple(_filled(r, "recipients", 500) for r in recipients),
        "withdrawal": None if withdrawal is None else _filled(withdrawal, "withdrawal", 1_000),
    }
    content = canonical([list(v) if isinstance(v, tuple) else v for v in told.values()])
    return Notice(
        tenant=rt.tenant, id=rt.fingerprint("notice", content), recorded_at=rt.now(), **told
    )


def kept(uow: UnitOfWork, made: Notice) -> Notice:
    """The notice as it is on record; raises `InvalidInput` if its version is another text."""
    same: dict[str, Any] = {
        name: getattr(made, name) for name in ("purpose", "channel", "language", "version")
    }
    for known in uow.find(Notice, **same):
        if known.id != made.id:
            raise InvalidInput("this version is another text", field="version")
    uow.add_if_absent(made)
    return uow.get(Notice, made.id) or made


def newest(texts: Sequence[Notice], language: str | None) -> Mapping[tuple[str, str], Notice]:
    """For each purpose and channel the newest text, one in that language if there is any."""
    found: dict[tuple[str, str], Notice] = {}
    for each in sorted(texts, key=lambda n: (n.language == language, n.recorded_at, n.id)):
        found[each.purpose, each.channel] = each
    return found


def _filled(value: object, field: str, limit: int, *, multiline: bool = False) -> str:
    told = text(value, field=field, limit=limit, multiline=multiline)
    if told is None:
        raise InvalidInput("expected some text", field=field)
    return told
