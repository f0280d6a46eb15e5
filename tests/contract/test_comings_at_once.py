"""What many do at once to one customer leaves them in the segments that the facts say."""

from __future__ import annotations

import threading

import pytest

from crmkit import CRMService
from crmkit.rules import f
from crmkit.testing import together


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_profile_and_deeds_may_change_at_once(crm: CRMService) -> None:
    """Neither call misses what the other changed."""
    crm.segments.create("regular in town", (f.total_visits >= 1) & (f.city == "Cluj"))
    crm.segments.create("reached", (f.total_visits >= 1) & (f["consent.marketing_email"] == True))  # noqa: E712 - a rule, not a comparison
    people = [crm.find_or_create({"user_id": str(n), "city": "Roma"}).id for n in range(60)]

    barrier = threading.Barrier(3)

    def each(number: int) -> None:
        for who in people:
            barrier.wait()
            if number == 0:
                crm.track_activity(who, "visit", {})
            elif number == 1:
                crm.customers.update(who, {"city": "Cluj"})
            else:
                crm.gdpr.consents.give(who, "email", source="form")

    together(3, each)
    assert crm.segments.verify("regular in town").exact
    assert crm.segments.verify("reached").exact
