"""What a page shows on which a person sets what they agree to; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from crmkit.gdpr.addresses import addresses, masked
from crmkit.gdpr.consent_state import lasting, words
from crmkit.gdpr.notices import newest
from crmkit.gdpr.permission import stands_against
from crmkit.model import Consent, Customer, Notice, Objection
from crmkit.model.time import FOREVER
from crmkit.ports.runtime import Runtime


@attrs.frozen(kw_only=True)
class Preference:
    """One purpose on one channel, as it stands for any of the person's addresses.

    `since` is when the last word was said, and `until` when the consent runs out; `address` is the
    main one, masked. `notice` is the text to show beside the switch.
    """

    purpose: str = attrs.field(repr=False)
    channel: str
    granted: bool
    objected: bool
    since: datetime | None
    until: datetime | None
    notice: Notice | None
    address: str | None = attrs.field(repr=False)


@attrs.frozen
class Preferences:
    """All of a person's preferences, by purpose and channel."""

    customer_id: str
    lines: tuple[Preference, ...]


def page(
    rt: Runtime,
    customer: Customer,
    facts: Sequence[Consent],
    objections: Sequence[Objection],
    texts: Sequence[Notice],
    language: str | None,
) -> Preferences:
    """The page of a customer, of what was said, of what they objected to, and of all texts."""
    now, shown, stands = rt.now(), newest(texts, language), lasting(facts)
    said = {(w.purpose, w.channel): w.occurred_at for w in words(facts)}
    lines = []
    for purpose, channel in sorted({*shown, *said}):
        until = stands.get((purpose, channel))
        reached = addresses(rt, customer, channel)
        lines.append(
            Preference(
                purpose=purpose,
                channel=channel,
                granted=until is not None and now < until,
                objected=any(stands_against(o, purpose, channel) for o in objections),
                since=said.get((purpose, channel)),
                until=None if until == FOREVER else until,
                notice=shown.get((purpose, channel)),
                address=masked(channel, reached[0].written) if reached else None,
            )
        )
    return Preferences(customer.id, tuple(lines))
