"""Correcting an activity by another fact: what a void, a refund or an amendment says; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import attrs

from crmkit.activities import stories
from crmkit.activities.payload import Payload, read
from crmkit.activities.stories import Kinds, Story
from crmkit.config import Kind, Settings
from crmkit.errors import InvalidInput
from crmkit.model import Activity
from crmkit.model.money import to_minor

_HUGE = 10**30
_LONGEST = 40


@attrs.frozen
class Target:
    """The activity that is to be corrected, as it stands in its story."""

    fact: Activity
    kind: Kind
    story: Story

    @property
    def spoken(self) -> Activity:
        """What counts of it: where it was said again, what was said last."""
        if not self.kind.once:
            return self.fact
        return next(f for f in self.story.said if f.kind == self.fact.kind)

    @property
    def refundable(self) -> int:
        """What of its amount was not given back yet, in minor units."""
        same = {f.id for f in self.story.standing if self.kind.once and f.kind == self.fact.kind}
        back = sum(
            f.amount_minor or 0
            for f in self.story.standing
            if f.corrects in (same or {self.fact.id}) and f.kind == "refund"
        )
        return min((self.spoken.amount_minor or 0) - back, self.story.left)


def standing(fact: Activity, told: Sequence[Activity], kinds: Kinds) -> Target:
    """The activity in its story; raises `InvalidInput` if it is a void, or was voided."""
    kind, story = kinds[fact.kind], stories.read(told, kinds)
    voided = {f.corrects for f in told if kinds[f.kind].role == "voids"}
    if kind.role == "voids":
        raise InvalidInput(
            "a void cannot be corrected; track the activity anew", field="activity_id"
        )
    now = next((f for f in story.standing if f.id == fact.id), None)
    if fact.id in voided:
        raise InvalidInput("this activity was voided before", field="activity_id")
    return Target(now or fact, kind, story)


def refunded(target: Target, amount: object, fraction: object, settings: Settings) -> int | None:
    """How much is given back, in minor units; None for all there is, be it no money.

    A fraction is of the activity's amount; half a minor unit is rounded up.
    """
    if target.kind.role != "happens":
        raise InvalidInput("only what was paid can be refunded", field="activity_id")
    if amount is not None and fraction is not None:
        raise InvalidInput("give an amount or a fraction, not both", field="fraction")
    whole = target.spoken.amount_minor
    if whole is None:
        if amount is None and fraction is None:
            return None
        raise InvalidInput("this activity has no amount", field="activity_id")
    left = target.refundable
    if left <= 0:
        raise InvalidInput("nothing is left to give back", field="activity_id")
    if amount is not None:
        back = to_minor(amount, settings.currency, field="amount")
    elif fraction is not None:
        back = int((whole * _fraction(fraction)).to_integral_value(ROUND_HALF_UP))
    else:
        back = left
    if not 0 < back <= left:
        name = "amount" if fraction is None else "fraction"
        raise InvalidInput("expected more than zero, and no more than is left", field=name)
    return back


def spelled(value: object) -> str:
    """A number as text, cut off where none is that long; a huge one has no text in Python."""
    return "" if isinstance(value, int) and abs(value) > _HUGE else str(value)[:_LONGEST]


def _fraction(value: object) -> Decimal:
    try:
        fraction = Decimal(spelled(value))
    except InvalidOperation:
        fraction = Decimal("NaN")
    if isinstance(value, bool) or not fraction.is_finite() or not 0 < fraction <= 1:
        raise InvalidInput("expected more than 0, and 1 at most", field="fraction")
    return fraction


def changed(
    target: Target, changes: object, settings: Settings
) -> tuple[Payload, Mapping[str, Any]]:
    """The payload once it is amended, and the changes as they are kept: None removes a key."""
    if not isinstance(changes, Mapping) or not changes:
        raise InvalidInput("expected the payload keys that change", field="changes")
    if target.kind.role == "amends":
        raise InvalidInput("amend the activity itself", field="activity_id")
    if "participants" in changes and target.kind.is_shared:
        raise InvalidInput(
            "say the booking again, or void it and track it anew", field="changes.participants"
        )
    payload: dict[Any, Any] = {**target.fact.payload, **changes}
    given = {name: value for name, value in payload.items() if value is not None}
    if target.kind.is_shared:  # they weigh as they did when it was said
        given.pop("participants", None)
    document = read(target.kind, given, settings)
    before = {k: v for k, v in target.fact.payload.items() if k != "participants"}
    named = read(target.kind, before, settings)
    same = (document.reference_name, document.reference) == (named.reference_name, named.reference)
    if not same or (document.reference is None and target.fact.story != target.fact.id):
        raise InvalidInput(
            "another id is another story: void it and track it anew", field="changes"
        )
    for column in ("amount_minor", "status", "item", "venue"):
        before, after = getattr(target.fact, column), getattr(document, column)
        if before is not None and after is None:
            name = column.removesuffix("_minor")
            raise InvalidInput("expected a value; void what never was", field=f"changes.{name}")
    kept = {str(name): document.document.get(name) for name in changes}
    return document, kept
