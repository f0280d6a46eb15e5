"""Activities that were asked for and checked, before it is known whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from crmkit.activities.payload import Payload, read
from crmkit.activities.sharing import PAYER, REFERRED
from crmkit.config import Kind
from crmkit.errors import InvalidInput, unknown
from crmkit.model import Activity
from crmkit.model.document import canonical
from crmkit.model.time import iso
from crmkit.ports.idempotency import Call
from crmkit.ports.runtime import Runtime, Whose


@attrs.frozen(repr=False)
class Draft:
    """An activity without its customer."""

    id: str
    kind: Kind
    read: Payload
    occurred_at: datetime
    recorded_at: datetime
    call: Call | None

    @property
    def participants(self) -> list[str]:
        """The customers who are to bear parts of it, and who it says came by its own."""
        named = referred(self.read.document, self.kind)
        others = [named] if named else []
        return [*(who for who in self.read.parts if who != PAYER), *others]

    def of(self, rt: Runtime, whose: Whose, story: str | None = None) -> Activity:
        """The activity of that customer, in the story that it names, or that one."""
        story = story or story_of(rt, whose.told_as, self.read) or self.id
        if whose.told_as in self.read.parts:
            raise InvalidInput(
                "the customer of the activity bears the rest", field="payload.participants"
            )
        return Activity(
            tenant=rt.tenant,
            id=self.id,
            customer_id=whose.customer_id,
            kind=self.kind.name,
            occurred_at=self.occurred_at,
            recorded_at=self.recorded_at,
            amount_minor=self.read.amount_minor,
            currency=self.read.currency,
            story=story,
            status=self.read.status,
            reference=self.read.reference,
            item=self.read.item,
            venue=self.read.venue,
            shares=_shares(rt, story, self.read.parts),
            payload=self.read.document,
            origin=whose.origin,
        )


def draft(
    rt: Runtime,
    kind: object,
    payload: Mapping[str, Any] | None,
    at: datetime | str | None,
    key: object,
) -> Draft:
    """Check what is to be recorded; raises `InvalidInput` naming the place."""
    kinds = rt.settings.kinds_by_name
    spec = kinds.get(kind) if isinstance(kind, str) else None
    if spec is None:
        raise InvalidInput(unknown("activity kind", kind, kinds), field="kind")
    if spec.role in ("voids", "amends"):
        raise InvalidInput("use crm.activities.void and .amend", field="kind")
    document = read(spec, payload, rt.settings)
    now = rt.now()
    occurred = now if at is None else rt.at(at)
    call = None
    if key is not None:
        when = None if at is None else iso(occurred)
        content = canonical([spec.name, when, document.document])
        call = Call.of(rt, "activities.track", key, content)
    return Draft(rt.new_id(), spec, document, occurred, now, call)


def referred(payload: Mapping[str, Any], kind: Kind) -> str | None:
    """Whom a payload says to have come by the customer of the activity."""
    named = payload.get(REFERRED)
    return named if isinstance(named, str) and REFERRED in kind.fields else None


def kinds_asked(kinds: object, known: Mapping[str, Kind]) -> tuple[str, ...]:
    """The kinds that a caller asks for; raises `InvalidInput`."""
    if isinstance(kinds, str) or not isinstance(kinds, Iterable):
        raise InvalidInput("expected a list of kinds", field="kinds")
    wanted = tuple(kinds)
    for kind in wanted:
        if not isinstance(kind, str) or kind not in known:
            raise InvalidInput(unknown("activity kind", kind, known), field="kinds")
    return wanted


def story_of(rt: Runtime, customer_id: str, read: Payload) -> str | None:
    """The story that a payload names; None if it names none."""
    if read.reference is None:
        return None
    return rt.fingerprint("story", f"{customer_id}:{read.reference_name}:{read.reference}")


def share_of(rt: Runtime, story: str, customer_id: str) -> str:
    """The pseudonym under which a customer has a part in a story."""
    return rt.fingerprint("share", f"{story}:{customer_id}")


def _shares(rt: Runtime, story: str, parts: Mapping[str, int]) -> Mapping[str, int]:
    return {
        who if who == PAYER else share_of(rt, story, who): weight for who, weight in parts.items()
    }
