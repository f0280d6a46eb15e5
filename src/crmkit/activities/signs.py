"""Signs that somebody is still a customer: what they did of themselves; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from crmkit.config import Settings
from crmkit.model import Activity

_PASSIVE: Final = frozenset({"message_delivered", "message_opened", "no_show", "post_event_report"})
"""Kinds of activities in which the person themselves did nothing; mail programs open alone."""


def by_the_person(settings: Settings) -> tuple[str, ...]:
    """The kinds of activities that show that somebody is still a customer."""
    return tuple(
        sorted(
            name
            for name, kind in settings.kinds_by_name.items()
            if name not in _PASSIVE and kind.role in ("happens", "completes", "cancels")
        )
    )


def last_sign(facts: Iterable[Activity], settings: Settings) -> datetime | None:
    """When the person last did something of themselves among these facts, if ever."""
    kinds = by_the_person(settings)
    return max((fact.occurred_at for fact in facts if fact.kind in kinds), default=None)
