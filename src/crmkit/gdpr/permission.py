"""Whether somebody may be contacted, and why; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final

import attrs

from crmkit.gdpr.addresses import Address, kind_of
from crmkit.gdpr.consent_state import ends, latest, said_by
from crmkit.model import Consent, Customer, Objection, Restriction, Suppression

REASONS: Final[Mapping[str, str]] = {
    "consent": "consented on {day}",
    "contract": "needed for a contract, as told on {day}",
    "legitimate_interest": "a legitimate interest, as told on {day}",
    "soft_opt_in": "a customer who did not refuse, as told on {day}",
    "legal_obligation": "required by law, as told on {day}",
    "unknown": "there is no such customer",
    "erased": "this customer was erased",
    "restricted": "the data is only stored since {day}",
    "objected": "objected on {day}, and has not agreed anew since",
    "no_address": "there is no such address in the profile",
    "suppressed": "this address is suppressed since {day}",
    "withdrawn": "withdrawn on {day}",
    "expired": "the consent ran out on {day}",
    "unconfirmed": "asked on {day}, and not confirmed",
    "no_consent": "nobody has consented to it",
}
"""What a reason means; the first five allow."""


@attrs.frozen(kw_only=True)
class Permission:
    """Whether a customer may be contacted, with the reason; true if they may.

    `reason` is one of `REASONS`, `sentence` says it in words, and `since` is the moment that it
    speaks of. `address` is the one that was asked about: write to no other. `basis` is the
    lawful basis of what is allowed.
    """

    customer_id: str
    channel: str
    purpose: str = attrs.field(repr=False)
    at: datetime
    allowed: bool
    reason: str
    sentence: str
    since: datetime | None = None
    basis: str | None = None
    address: str | None = attrs.field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.allowed


@attrs.frozen(kw_only=True)
class Question:
    """What is asked: may a person be contacted so, at an instant, or (None) now."""

    channel: str
    purpose: str
    purpose_key: str
    at: datetime | None
    now: datetime
    zone: tzinfo
    address: Address | None = None

    @property
    def instant(self) -> datetime:
        """The instant asked about."""
        return self.at or self.now


@attrs.frozen(kw_only=True)
class Known:
    """All that is known of one customer and bears on the question."""

    customer: Customer | None
    erased: bool = False
    addresses: Sequence[Address] = ()
    consents: Sequence[Consent] = ()
    objections: Sequence[Objection] = ()
    restrictions: Sequence[Restriction] = ()
    suppressions: Sequence[Suppression] = ()


def decided(question: Question, customer_id: str, known: Known) -> Permission:
    """The answer: what speaks against it comes first, and nothing is allowed by itself."""
    address = question.address or (known.addresses[0] if known.addresses else None)
    reason, since = _against(question, known, address) or _for(question, known, address)
    allowed = list(REASONS).index(reason) < _ALLOWING
    day = since.astimezone(question.zone).date() if since else None
    return Permission(
        customer_id=customer_id,
        channel=question.channel,
        purpose=question.purpose,
        at=question.instant,
        allowed=allowed,
        reason=reason,
        sentence=REASONS[reason].format(day=day),
        since=since,
        basis=reason if allowed else None,
        address=address.written if address else None,
    )


_ALLOWING: Final = 5


def stands_against(objection: Objection, purpose: str, channel: str) -> bool:
    """Whether an objection is about this; one to profiling is about all of that channel."""
    if objection.channel != channel:
        return False
    return objection.purpose in (purpose, channel)


def covers(suppression: Suppression, purpose_key: str, channel: str) -> bool:
    """Whether a suppression is about this, at its address."""
    return suppression.channel == channel and suppression.purpose_key in (None, purpose_key)


def in_force(since: datetime, until: datetime | None, at: datetime | None) -> bool:
    """Whether what began and may have ended stands at an instant, or (None) as told."""
    return until is None if at is None else since <= at and (until is None or at < until)


def _against(
    question: Question, known: Known, address: Address | None
) -> tuple[str, datetime | None] | None:
    purpose, channel, at = question.purpose, question.channel, question.at
    if known.customer is None:
        return ("erased" if known.erased else "unknown"), None
    for held in known.restrictions:
        if in_force(held.occurred_at, held.lifted_at, at):
            return "restricted", held.occurred_at
    for said in known.objections:
        if stands_against(said, purpose, channel) and in_force(said.occurred_at, said.ended_at, at):
            return "objected", said.occurred_at
    if address is None:
        return None if kind_of(channel) is None else ("no_address", None)
    for row in known.suppressions:
        if (
            row.address_key == address.key
            and covers(row, question.purpose_key, channel)
            and in_force(row.occurred_at, row.ended_at, at)
        ):
            return "suppressed", row.occurred_at
    return None


def _for(question: Question, known: Known, address: Address | None) -> tuple[str, datetime | None]:
    key = address.key if address else None
    theirs = kind_of(question.channel) is None or any(a.key == key for a in known.addresses)
    facts = [
        f
        for f in said_by(known.consents, question.at)
        if (f.purpose, f.channel) == (question.purpose, question.channel)
        and f.address_key in (None, key)
    ]
    place = (question.purpose, question.channel)
    said = latest(facts)
    word = said.get((*place, key)) or said.get((*place, None))
    if word is not None and not word.granted:
        return "withdrawn", word.occurred_at
    objected = [o for o in known.objections if question.at is None or o.occurred_at <= question.at]
    claims = [f for f in facts if f.event == "claimed" and not _overridden(f, objected)]
    grants = ([word] if word is not None else []) + claims
    for fact in grants:
        if question.instant < ends(fact) and (theirs or fact.address_key is not None):
            return fact.basis, fact.occurred_at
    return _lacking(question, facts, grants, theirs=theirs)


def _overridden(claim: Consent, objections: Sequence[Objection]) -> bool:
    """Whether it was claimed before or while somebody objected; an end to that revives nothing."""
    return any(
        stands_against(o, claim.purpose, claim.channel)
        and (
            claim.occurred_at <= o.occurred_at
            or (o.ended_at is not None and claim.occurred_at < o.ended_at)
        )
        for o in objections
    )


def _lacking(
    question: Question, facts: Sequence[Consent], grants: Sequence[Consent], *, theirs: bool
) -> tuple[str, datetime | None]:
    if not theirs:
        return "no_address", None
    over = [ends(f) for f in grants if ends(f) <= question.instant]
    if over:
        return "expired", max(over)
    asked = [f.occurred_at for f in facts if f.event == "requested"]
    return ("unconfirmed", max(asked)) if asked else ("no_consent", None)
