"""Links for people: to confirm a consent, and to withdraw it; inside a unit of work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import attrs

from crmkit.errors import Erased, InvalidInput, NotFound
from crmkit.gdpr import objections
from crmkit.gdpr.addresses import Address, addresses
from crmkit.gdpr.consent_state import after_all, ends, latest
from crmkit.gdpr.permission import stands_against
from crmkit.gdpr.statements import Statement
from crmkit.gdpr.tokens import opened, signed
from crmkit.model import Consent, Customer, Merge, Objection
from crmkit.model.document import text
from crmkit.ports.runtime import Runtime, Whose
from crmkit.ports.storage import UnitOfWork

_CONFIRM: Final = "confirm a consent"
_UNSUBSCRIBE: Final = "unsubscribe"
_NO_LINK: Final = "this link is none, or it has run out"
_URL = re.compile(r"https://[!-;=?-~]+", re.ASCII)  # printable, without < and >
_URL_MAX: Final = 2_000


@attrs.frozen
class Unsubscription:
    """What a link to unsubscribe is about, and whether it was done."""

    channel: str
    purpose: str = attrs.field(repr=False)
    done: bool


@attrs.frozen
class Meant:
    """What a token to unsubscribe says."""

    customer_id: str
    channel: str
    purpose: str
    address_key: str | None


def held(uow: UnitOfWork, rt: Runtime, customer_id: str) -> None:
    """Hold the customer, if there is one, against whoever would record a word."""
    with suppress(NotFound, Erased):
        rt.customer(uow, customer_id, lock=True)


def confirmation(rt: Runtime, asked: Consent) -> str:
    """The token that confirms what was asked."""
    return signed(rt.fingerprint, _CONFIRM, [asked.id])


def confirmed(
    uow: UnitOfWork, rt: Runtime, token: str, expires_at: datetime | None, proof: str | None
) -> tuple[Consent, bool]:
    """What a token confirms, and whether it did just now; raises `InvalidInput`."""
    parts = opened(rt.fingerprint, _CONFIRM, token, 1)
    asked = uow.get(Consent, parts[0]) if parts else None
    if asked is None:
        raise InvalidInput(_NO_LINK, field="token")
    customer = rt.customer(uow, asked.customer_id, lock=True)
    told: dict[str, Any] = {"purpose": asked.purpose, "channel": asked.channel}
    facts = uow.find(Consent, customer_id=customer.id, **told)
    for fact in facts:
        if fact.follows == asked.id:
            return fact, False
    now = rt.now()
    refused = [
        f
        for f in facts
        if f.granted is False
        and f.occurred_at >= asked.occurred_at
        and (asked.address_key is None or f.address_key in (None, asked.address_key))
    ]
    objected = [
        o
        for o in uow.find(Objection, customer_id=customer.id, ended_at=None)
        if stands_against(o, **told) and o.occurred_at >= asked.occurred_at
    ]
    address = Address(asked.address or "", asked.address_key) if asked.address_key else None
    suppressed = objections.suppressed_since(uow, rt, customer, asked, address)
    if now >= ends(asked) or refused or objected or suppressed:
        raise InvalidInput(_NO_LINK, field="token")
    said = Statement(
        purpose=asked.purpose,
        channel=asked.channel,
        granted=True,
        event="confirmed",
        source=asked.source,
        at=now,
        address=address,
        notice=asked.notice_id,
        policy=asked.policy,
        language=asked.language,
        jurisdiction=asked.jurisdiction,
        proof=asked.proof if proof is None else text(proof, field="proof", limit=1_000),
        expires_at=expires_at,
        follows=asked.id,
    )
    made = said.fact(rt, Whose(customer.id, asked.origin, customer.id))
    uow.add(made)
    objections.agreed_anew(uow, rt, customer, asked.purpose, asked.channel, address, now)
    return made, True


def unsubscription(
    rt: Runtime, customer_id: str, channel: str, purpose: str, address_key: str | None
) -> str:
    """The token of a link that withdraws."""
    return signed(rt.fingerprint, _UNSUBSCRIBE, [customer_id, channel, purpose, address_key])


def understood(rt: Runtime, token: str) -> Meant:
    """What a token to unsubscribe says; raises `InvalidInput`."""
    parts = opened(rt.fingerprint, _UNSUBSCRIBE, token, 4)
    if parts is None:
        raise InvalidInput(_NO_LINK, field="token")
    customer_id, channel, purpose, key = parts
    return Meant(customer_id or "", channel or "", purpose or "", key)


def unsubscribed(uow: UnitOfWork, rt: Runtime, meant: Meant) -> Consent | None:
    """Withdraw what a token means; None if it was said at that instant, or there is nobody."""
    now, key = rt.now(), meant.address_key
    try:
        customer = rt.customer(uow, meant.customer_id, lock=True)
    except (Erased, NotFound):
        if key is not None:
            objections.suppress(uow, rt, key, meant.channel, meant.purpose, "unsubscribed", now)
        return None
    way = (meant.purpose, meant.channel)
    facts = uow.find(Consent, customer_id=customer.id, purpose=way[0], channel=way[1])
    said = latest(facts)
    word = said.get((*way, key)) or said.get((*way, None))
    if key is not None and _lost(uow, rt, customer, meant):
        objections.suppress(uow, rt, key, meant.channel, meant.purpose, "unsubscribed", now)
    stands = word is not None and not word.granted and word.occurred_at >= now
    if stands and (key is not None or _all_withdrawn(facts)):
        return None
    withdrawal = Statement(
        purpose=meant.purpose,
        channel=meant.channel,
        granted=False,
        event="withdrawn",
        source="unsubscribe link",
        at=after_all(facts, way, now),
        address=_address(rt, customer, meant, facts),
    )
    made = withdrawal.fact(rt, rt.whose(uow, meant.customer_id, customer.id))
    uow.add(made)
    return made


def _lost(uow: UnitOfWork, rt: Runtime, customer: Customer, meant: Meant) -> bool:
    """Whether the address may be of somebody who was one with the customer, and is no more."""
    if any(known.key == meant.address_key for known in addresses(rt, customer, meant.channel)):
        return False
    sides: tuple[dict[str, Any], ...] = ({"customer_id": customer.id}, {"dropped_id": customer.id})
    return any(m.undone_at is not None for side in sides for m in uow.find(Merge, **side))


def _all_withdrawn(facts: list[Consent]) -> bool:
    return not any(word.granted for word in latest(facts).values())


def _address(rt: Runtime, customer: Customer, meant: Meant, facts: list[Consent]) -> Address | None:
    if meant.address_key is None:
        return None
    for known in addresses(rt, customer, meant.channel):
        if known.key == meant.address_key:
            return known
    written = [f.address for f in facts if f.address_key == meant.address_key and f.address]
    return Address(written[0] if written else "", meant.address_key)


def headers(token: str, url: str) -> Mapping[str, str]:
    """The headers of RFC 8058; raises `InvalidInput` for a URL that cannot stand in them."""
    whole = f"{url}{token}"
    if len(whole) > _URL_MAX or not _URL.fullmatch(whole):
        raise InvalidInput("expected an https address", field="url")
    return {
        "List-Unsubscribe": f"<{whole}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
