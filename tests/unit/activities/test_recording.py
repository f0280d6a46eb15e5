"""What is told of stories that changed: as of when, and whose numbers may be others now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from crmkit import CRMService, MemoryStorage
from crmkit.activities.recording import StoriesChanged
from crmkit.ports.events import Events

AT = datetime(2026, 1, 17, 21, tzinfo=UTC)
BOOKING = {"booking_id": "b", "amount": 10}


def hour(n: int) -> datetime:
    return AT + timedelta(hours=n)


@pytest.fixture
def heard() -> list[StoriesChanged]:
    return []


@pytest.fixture
def crm(heard: list[StoriesChanged]) -> CRMService:
    """A CRM that writes down what it is told of stories."""
    made = CRMService(MemoryStorage())
    events = Events({StoriesChanged: (lambda _, event: heard.append(event),)})
    made._runtime = attrs.evolve(made._runtime, events=events)
    return made


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana"}).id


def since(heard: list[StoriesChanged]) -> list[datetime]:
    return [change.since for change in heard[-1].changes]


def test_a_fact_changes_its_story_as_of_its_own_instant(
    crm: CRMService, ana: str, heard: list[StoriesChanged]
) -> None:
    """Also one that is told late, or that says something again."""
    for n in (5, 2, 7):
        crm.track_activity(ana, "booking", BOOKING, at=hour(n))
        assert since(heard) == [hour(n)]


def test_several_facts_of_a_story_change_it_as_of_the_first(
    crm: CRMService, ana: str, heard: list[StoriesChanged]
) -> None:
    told = [("completion", 4), ("booking", 3), ("completion", 6)]
    crm.activities.track_many(
        {"customer_id": ana, "kind": kind, "payload": BOOKING, "at": hour(n)} for kind, n in told
    )
    assert since(heard) == [hour(3)]


def test_a_refund_changes_its_story_as_of_the_refund(
    crm: CRMService, ana: str, heard: list[StoriesChanged]
) -> None:
    booked = crm.track_activity(ana, "booking", BOOKING, at=hour(1))
    crm.activities.refund(booked.id, at=hour(4))
    assert since(heard) == [hour(4)]


def test_voids_and_amendments_change_all_that_the_story_said(
    crm: CRMService, ana: str, heard: list[StoriesChanged]
) -> None:
    """They tell what always was, of whatever fact of the story."""
    crm.track_activity(ana, "booking", BOOKING, at=hour(1))
    done = crm.track_activity(ana, "completion", {"booking_id": "b"}, at=hour(3))
    crm.activities.amend(done.id, {"venue": "V"}, at=hour(9))
    assert since(heard) == [hour(1)]
    crm.activities.void(done.id, at=hour(9))
    assert since(heard) == [hour(1)]


def test_who_bears_a_share_is_among_those_whose_numbers_changed(
    crm: CRMService, ana: str, heard: list[StoriesChanged]
) -> None:
    """Also where a later fact of the story names nobody."""
    ion = crm.find_or_create({"name": "Ion"}).id
    crm.track_activity(ana, "visit")
    assert heard[-1].customers == {ana}
    crm.track_activity(ana, "booking", BOOKING | {"participants": [{"customer_id": ion}]})
    crm.track_activity(ana, "cancellation", {"booking_id": "b"})
    assert [event.customers for event in heard[-2:]] == [{ana, ion}] * 2
