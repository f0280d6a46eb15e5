"""A dinner that several pay, on every storage."""

from __future__ import annotations

from typing import Any

import pytest

from crmkit import CRMService, InvalidInput
from crmkit.model import Activity
from crmkit.testing import FrozenClock, together
from tests.acceptance.test_corrections import counted


@pytest.fixture
def friends(crm: CRMService) -> tuple[str, str, str]:
    mia, leo, eva = (crm.find_or_create({"name": name}).id for name in ("Mia", "Leo", "Eva"))
    return mia, leo, eva


def dinner(crm: CRMService, payer: str, *others: str, number: int = 1) -> Activity:
    bill = {
        "booking_id": number, "amount": 90, "status": "completed", "venue": "Terrace",
        "participants": [{"customer_id": other} for other in others],
    }  # fmt: skip
    return crm.track_activity(payer, "booking", bill, key=f"dinner {number}")


def spent(crm: CRMService, *customers: str) -> list[int]:
    return [crm.activities.metrics(customer).spend_minor for customer in customers]


class TestADinner:
    def test_each_bears_a_part(self, crm: CRMService, friends: tuple[str, str, str]) -> None:
        """The booking, its points and its place are the payer's; the money is everybody's."""
        mia, leo, eva = friends
        dinner(crm, *friends)
        assert spent(crm, *friends) == [3_000, 3_000, 3_000]
        payer, guest = crm.activities.metrics(mia), crm.activities.metrics(leo)
        assert (payer.bookings, guest.bookings, payer.orders, guest.orders) == (1, 0, 1, 1)
        assert guest.last_order_at == guest.last_activity_at == payer.last_order_at
        assert [crm.loyalty.account(f).balance for f in friends] == [100, 0, 0]
        assert counted(crm, mia, "venue") == {"Terrace": (1, 3_000)}
        assert counted(crm, eva, "venue") == {}

    def test_what_becomes_of_it_becomes_of_all_parts(
        self, crm: CRMService, friends: tuple[str, str, str]
    ) -> None:
        """Refunds, amendments, cancellations, and voids."""
        fact = dinner(crm, *friends)
        back = crm.activities.refund(fact.id, fraction="0.5")
        assert spent(crm, *friends) == [1_500, 1_500, 1_500]
        crm.activities.void(back.id)
        crm.activities.amend(fact.id, {"amount": 120})
        assert spent(crm, *friends) == [4_000, 4_000, 4_000]
        crm.track_activity(friends[0], "cancellation", {"booking_id": 1})
        assert spent(crm, *friends) == [0, 0, 0]
        assert crm.activities.metrics(friends[1]).orders == 0
        assert crm.activities.verify() == ()

    def test_others_may_be_named_later(
        self, crm: CRMService, friends: tuple[str, str, str], clock: FrozenClock
    ) -> None:
        """Those named last take the place of the former; nobody leaves all to the payer."""
        mia, leo, eva = friends
        dinner(crm, mia, leo)
        expected: tuple[tuple[list[dict[str, Any]], list[int]], ...] = (
            ([{"customer_id": eva, "amount": 20}], [7_000, 0, 2_000]),
            ([{"customer_id": leo, "share": 0.1}], [8_100, 900, 0]),
            ([], [9_000, 0, 0]),
        )
        for participants, parts in expected:
            said = {"booking_id": 1, "amount": 90, "participants": participants}
            clock.advance(hours=1)
            crm.track_activity(mia, "booking", said)
            assert spent(crm, *friends) == parts

    def test_an_amendment_names_nobody(
        self, crm: CRMService, friends: tuple[str, str, str]
    ) -> None:
        fact = dinner(crm, *friends)
        with pytest.raises(InvalidInput, match=r"changes\.participants: say the booking again"):
            crm.activities.amend(fact.id, {"participants": []})

    @pytest.mark.parametrize("stranger", ["", "01a1fd3f", "erased"])
    def test_a_stranger_pays_nothing(
        self, crm: CRMService, friends: tuple[str, str, str], stranger: str
    ) -> None:
        """An id of nobody, or of somebody who was erased, refuses the whole activity."""
        mia, leo, _ = friends
        if stranger == "erased":
            crm.gdpr.erase(stranger := leo)
        with pytest.raises(InvalidInput, match=r"payload\.participants"):
            dinner(crm, mia, stranger)
        assert spent(crm, mia) == [0]
        assert len(crm.activities.timeline(mia)) == 0

    def test_a_part_in_money_shrinks_with_the_amount(
        self, crm: CRMService, friends: tuple[str, str, str]
    ) -> None:
        """It is a weight: four fifths stay four fifths."""
        mia, leo, _ = friends
        part = {"customer_id": leo, "amount": 80}
        bill = {"booking_id": 1, "amount": 100, "participants": [part]}
        fact = crm.track_activity(mia, "booking", bill)
        crm.activities.amend(fact.id, {"amount": 50})
        assert spent(crm, mia, leo) == [1_000, 4_000]

    def test_the_payer_bears_what_rounding_leaves(
        self, crm: CRMService, friends: tuple[str, str, str]
    ) -> None:
        others = [{"customer_id": other} for other in friends[1:]]
        crm.track_activity(friends[0], "purchase", {"amount": "0.02", "participants": others})
        assert spent(crm, *friends) == [2, 0, 0]


class TestErasure:
    def test_a_call_is_repeated_after_it(
        self, crm: CRMService, friends: tuple[str, str, str], clock: FrozenClock
    ) -> None:
        """The same key gives the same activity; the booking may be said again, too."""
        mia, leo, eva = friends
        fact = dinner(crm, *friends)
        crm.gdpr.erase(leo)
        assert dinner(crm, *friends).id == fact.id
        clock.advance(hours=1)
        crm.track_activity(mia, "booking", {**fact.payload, "amount": 120})
        assert spent(crm, mia, eva) == [4_000, 4_000]
        assert crm.activities.verify() == ()

    def test_what_was_said_at_one_instant_stays_in_its_order(
        self, crm: CRMService, friends: tuple[str, str, str]
    ) -> None:
        """An import by the day gives many facts the same midnight."""
        mia, leo, _ = friends
        bill = {"booking_id": 1, "amount": 90}
        crm.track_activity(mia, "booking", bill | {"participants": [{"customer_id": leo}]})
        crm.track_activity(mia, "booking", bill | {"participants": []})
        before = spent(crm, leo), crm.insights.revenue_by_month()
        crm.gdpr.erase(mia)
        crm.activities.rebuild()
        assert (spent(crm, leo), crm.insights.revenue_by_month()) == before

    def test_a_participant_is_erased(self, crm: CRMService, friends: tuple[str, str, str]) -> None:
        """The part is nobody's then, and never the payer's again."""
        mia, leo, eva = friends
        fact = dinner(crm, *friends)
        crm.gdpr.erase(leo)
        assert spent(crm, mia, eva) == [3_000, 3_000]
        crm.activities.refund(fact.id, amount=30)
        assert spent(crm, mia, eva) == [2_000, 2_000]
        assert crm.activities.verify() == ()

    def test_the_payer_is_erased(self, crm: CRMService, friends: tuple[str, str, str]) -> None:
        mia, leo, eva = friends
        fact = dinner(crm, *friends)
        crm.activities.amend(fact.id, {"amount": 60})
        crm.gdpr.erase(mia)
        assert spent(crm, leo, eva) == [2_000, 2_000]
        assert crm.activities.verify() == ()
        assert sum(m.minor for m in crm.insights.revenue_by_month().values()) == 6_000


def test_friends_who_invite_each_other_at_once(
    crm: CRMService, friends: tuple[str, str, str]
) -> None:
    """Whoever waits for whom, every dinner is recorded once."""

    def invite(n: int) -> None:
        payer = n % 3
        others = [f for i, f in enumerate(friends) if i != payer]
        for round_ in range(5):
            dinner(crm, friends[payer], *others, number=n * 5 + round_)

    together(8, invite)
    assert spent(crm, *friends) == [40 * 3_000] * 3
    assert crm.activities.verify() == ()
