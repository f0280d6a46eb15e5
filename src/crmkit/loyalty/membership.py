"""Who takes part in a programme, and since when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from crmkit.model import Enrolment, PointsAccount
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme


def memberships(
    uow: UnitOfWork, programme: Programme, known: Mapping[str, PointsAccount]
) -> dict[str, Callable[[datetime], bool]]:
    """Whether customers take part at an instant, by their accounts.

    Those who always do are left out.
    """
    always = programme.enrolment == "automatic"
    ids = tuple(sorted(c for c, account in known.items() if account.enrols or not always))
    facts: dict[str, list[Enrolment]] = {customer_id: [] for customer_id in ids}
    of: dict[str, Any] = {"customer_id": ids, "programme": programme.name}
    for fact in uow.find(Enrolment, order=("occurred_at", "id"), **of) if ids else ():
        facts[fact.customer_id].append(fact)
    return {customer_id: _taking_part(told, always=always) for customer_id, told in facts.items()}


def _taking_part(facts: Sequence[Enrolment], *, always: bool) -> Callable[[datetime], bool]:
    """Whether somebody takes part at an instant, by the facts in their order."""

    def takes_part(at: datetime) -> bool:
        told = [fact for fact in facts if fact.occurred_at <= at]
        return told[-1].joined if told else always

    return takes_part
