"""What is to be recorded about a consent, checked; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

import attrs

from crmkit.errors import InvalidInput
from crmkit.gdpr.addresses import Address, address_of, checked_channel
from crmkit.model import Consent
from crmkit.model.consent import BASES
from crmkit.model.document import canonical, text
from crmkit.model.time import instant, iso
from crmkit.ports.runtime import Runtime, Whose

SKEW: Final = timedelta(minutes=5)
"""So far may the clocks of two machines differ."""


class Details(TypedDict, total=False):
    """What proves a consent, and until when it holds; each may be left out."""

    notice: str
    policy: str
    language: str
    jurisdiction: str
    proof: str
    expires_at: datetime | str


_TEXTS: Final = {"notice": 64, "policy": 100, "language": 35, "jurisdiction": 100, "proof": 1_000}


@attrs.frozen(kw_only=True)
class Statement:
    """A word of a person's, or a step to one, that is ready to be recorded."""

    purpose: str
    channel: str
    granted: bool | None
    event: str
    source: str
    at: datetime
    basis: str = "consent"
    address: Address | None = None
    notice: str | None = None
    policy: str | None = None
    language: str | None = None
    jurisdiction: str | None = None
    proof: str | None = attrs.field(default=None, repr=False)
    expires_at: datetime | None = None
    follows: str | None = None

    def fact(self, rt: Runtime, whose: Whose) -> Consent:
        """The fact about a customer."""
        return Consent(
            tenant=rt.tenant,
            id=rt.new_id(),
            customer_id=whose.customer_id,
            purpose=self.purpose,
            channel=self.channel,
            granted=self.granted,
            source=self.source,
            event=self.event,
            basis=self.basis,
            address=(self.address.written or None) if self.address else None,
            address_key=self.address.key if self.address else None,
            notice_id=self.notice,
            policy=self.policy,
            language=self.language,
            jurisdiction=self.jurisdiction,
            proof=self.proof,
            follows=self.follows,
            expires_at=self.expires_at,
            occurred_at=self.at,
            recorded_at=rt.now(),
            origin=whose.origin,
        )

    def content(self, stated: str | None) -> str:
        """What is asked, as canonical text; `stated` is the moment as the caller gave it."""
        told = attrs.asdict(attrs.evolve(self, address=None, expires_at=None), recurse=False)
        del told["at"], told["address"]
        address = self.address.key if self.address else None
        ends = iso(self.expires_at) if self.expires_at else None
        return canonical([*told.values(), address, ends, stated])


def statement(
    rt: Runtime,
    channel: str,
    purpose: str,
    *,
    event: str,
    granted: bool | None,
    source: str | None,
    at: datetime | str | None,
    address: str | None = None,
    basis: str = "consent",
    details: Mapping[str, Any] | None = None,
) -> Statement:
    """What is said, checked; raises `InvalidInput`."""
    checked_channel(channel)
    moment = rt.at(at)
    check_past(moment, rt.now())
    told = _details(details or {}, moment)
    where = text(source, field="source", limit=200)
    if where is None:
        if event != "withdrawn":
            raise InvalidInput("consent needs its source", field="source")
        where = "unknown"
    if basis not in BASES:
        raise InvalidInput(f"expected one of {', '.join(BASES)}", field="basis")
    return Statement(
        purpose=checked_purpose(purpose),
        channel=channel,
        granted=granted,
        event=event,
        source=where,
        at=moment,
        basis=basis,
        address=None if address is None else address_of(rt, channel, address),
        **told,
    )


def checked_purpose(purpose: object) -> str:
    """The purpose; raises `InvalidInput` for none."""
    meant = text(purpose, field="purpose", limit=100)
    if meant is None:
        raise InvalidInput("expected some text", field="purpose")
    return meant


def check_past(at: datetime, now: datetime, field: str = "consent.at") -> None:
    """Refuse a word from the future: it would outlive every withdrawal until then."""
    if at > now + SKEW:
        raise InvalidInput("nobody can have agreed or refused in the future", field=field)


def _details(given: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    unknown = given.keys() - Details.__annotations__.keys()
    if unknown:
        raise TypeError(f"expected any of {', '.join(Details.__annotations__)}")
    told = {
        name: None if given.get(name) is None else text(given[name], field=name, limit=limit)
        for name, limit in _TEXTS.items()
    }
    ends = given.get("expires_at")
    expires_at = None if ends is None else instant(ends, field="expires_at")
    if expires_at is not None and expires_at <= at:
        raise InvalidInput("expected a moment after it was given", field="expires_at")
    return {**told, "expires_at": expires_at}
