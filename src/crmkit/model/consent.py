"""What people said about being contacted, the texts they were shown, and what stands against it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import attrs

from crmkit.model.catalogue import (
    Data,
    Index,
    OnErase,
    OnMerge,
    Origin,
    assigned,
    record,
    seal,
    side,
    stored,
)

CHANNELS: Final = (
    "email", "sms", "push", "whatsapp", "phone", "profiling", "tracking", "sale_share",
)  # fmt: skip
"""Ways to reach a person; then to be profiled, tracked by cookies, and sold or shared (CCPA)."""

BASES: Final = ("consent", "contract", "legitimate_interest", "soft_opt_in", "legal_obligation")
"""Lawful bases: GDPR Art. 6(1)(a), (b), (f), ePrivacy Directive Art. 13(2), GDPR Art. 6(1)(c)."""


EVENTS: Final = {
    "given": True, "confirmed": True, "withdrawn": False, "requested": None, "claimed": None,
}  # fmt: skip
"""What may have happened, and what it grants; None for what is no word of the person's."""


def _told(*, default: Any = attrs.NOTHING) -> Any:
    return stored(Data.TECHNICAL, Origin.OBSERVED, erase=OnErase.KEEP, default=default)


def way(name: str) -> tuple[str, str]:
    """Purpose and channel of a name such as ``marketing_email``."""
    for channel in CHANNELS:
        if name.endswith(f"_{channel}"):
            return name[: -len(channel) - 1], channel
    purpose, _, channel = name.rpartition("_")
    return purpose, channel


@record("crm_consents", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id", "occurred_at")),))  # fmt: skip
class Consent:
    """A fact: consent for a purpose on a channel was given or withdrawn, or a step to it.

    `event` is ``given``, ``confirmed`` (double opt-in), ``withdrawn``, ``requested`` (asked to
    confirm until `expires_at`) or ``claimed`` (a lawful `basis` other than consent, which the
    host stands for). `granted` is True for the first two, False for a withdrawal, and None
    for what is no word of the person's. Without an `address` it is about all of them;
    `address_key` is its keyed hash. `follows` is the id of the request that was confirmed, or of
    the merge that withdrew.

    In terms of ISO/IEC TS 27560: `id` is the record identifier and `customer_id` the PII
    principal; `purpose` with `channel`, `basis` and `jurisdiction` belong to the processing,
    `notice_id` with `language` to the privacy notice, `policy` is the version of the policy it
    refers to; `source` is the collection method, and `proof` the evidence; `event`,
    `occurred_at` and `expires_at` are the event's state, time and end of validity. Controller,
    recipients and how to withdraw are told by the notice.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    purpose: str = stored(Data.BEHAVIOUR, Origin.PROVIDED)
    channel: str = stored(Data.BEHAVIOUR, Origin.PROVIDED)
    granted: bool | None = stored(Data.BEHAVIOUR, Origin.PROVIDED)
    source: str = stored(Data.FREE_TEXT, Origin.OBSERVED)
    event: str = _told()
    basis: str = _told(default="consent")
    address: str | None = stored(Data.CONTACT, Origin.PROVIDED, default=None)
    address_key: str | None = stored(Data.FINGERPRINT, Origin.ASSIGNED, default=None)
    notice_id: str | None = assigned(default=None)
    policy: str | None = _told(default=None)
    language: str | None = _told(default=None)
    jurisdiction: str | None = _told(default=None)
    proof: str | None = stored(Data.FREE_TEXT, Origin.OBSERVED, default=None)
    follows: str | None = assigned(default=None)
    expires_at: datetime | None = _told(default=None)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record("crm_notices", key=("id",))
class Notice:
    """A text that people are shown when they are asked, word for word.

    `id` is a keyed hash of all but the moment, so that the same text is kept once. `controller` is
    who asks, `recipients` to whom data goes, `withdrawal` how to take the consent back.
    """

    tenant: str = assigned()
    id: str = assigned()
    purpose: str = assigned()
    channel: str = assigned()
    language: str = assigned()
    version: str = assigned()
    text: str = assigned()
    controller: str | None = assigned(default=None)
    recipients: tuple[str, ...] = assigned(default=())
    withdrawal: str | None = assigned(default=None)
    recorded_at: datetime = assigned()


@record("crm_objections", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class Objection:
    """A fact: a person objected to a purpose on a channel (GDPR Art. 21).

    It stands until they themselves agree anew, at `ended_at`.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    purpose: str = stored(Data.BEHAVIOUR, Origin.PROVIDED)
    channel: str = stored(Data.BEHAVIOUR, Origin.PROVIDED)
    source: str = stored(Data.FREE_TEXT, Origin.OBSERVED)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    ended_at: datetime | None = assigned(default=None)
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record("crm_restrictions", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class Restriction:
    """A fact: data about a person is only stored (GDPR Art. 18), until it is lifted."""

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    reason: str = stored(Data.FREE_TEXT, Origin.OBSERVED)
    actor: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    lifted_at: datetime | None = assigned(default=None)
    lifted_because: str | None = stored(Data.FREE_TEXT, Origin.OBSERVED, default=None)
    lifted_by: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record("crm_suppressions", key=("id",), indexes=(Index(("tenant", "address_key")),))
class Suppression:
    """An address that is not to be written to, as a keyed hash; it belongs to nobody.

    It outlives the person's erasure, for only so can their objection be heeded when the
    address comes back (GDPR Art. 17(3)(b), 21(3)). `kind` says why: ``objected``,
    ``unsubscribed``, or what a list said, such as ``bounced``. The purpose is a keyed hash too,
    for it is a free text; without one it is about all. It stands until the person agrees
    anew, at `ended_at`.
    """

    tenant: str = assigned()
    id: str = assigned()
    address_key: str = stored(
        Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP, merge=OnMerge.KEEP
    )
    purpose_key: str | None = stored(
        Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP, merge=OnMerge.KEEP, default=None
    )
    channel: str = assigned()
    kind: str = assigned()
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    ended_at: datetime | None = assigned(default=None)
