"""What may be corrected, by how much, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crmkit import (
    CRMError,
    CRMService,
    Erased,
    InvalidInput,
    MemoryStorage,
    NotFound,
    Settings,
)
from crmkit.model import Activity
from crmkit.testing import FrozenClock


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def crm(clock: FrozenClock) -> CRMService:
    return CRMService(MemoryStorage(), clock=clock)


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"email": "ana@mail.com"}).id


def spend(crm: CRMService, customer: str) -> int:
    return crm.activities.metrics(customer).spend_minor


ROUNDED = [
    ("EUR", "1.00", 0.5, 50),
    ("EUR", "0.05", 0.5, 3),  # 2.5 cents
    ("EUR", "0.03", "0.5", 2),  # 1.5
    ("EUR", "0.01", 0.5, 1),
    ("EUR", "10.01", "0.333", 333),  # 333.333
    ("EUR", "10.00", 0.1, 100),  # as it is written, not as the machine holds it
    ("EUR", "33.33", 1, 3_333),
    ("EUR", "1.00", "0.0050", 1),
    ("JPY", "101", 0.5, 51),
    ("BHD", "0.005", 0.5, 3),
]


@pytest.mark.parametrize(("currency", "paid", "fraction", "back"), ROUNDED)
def test_a_fraction_is_rounded_half_up(
    currency: str, paid: str, fraction: object, back: int
) -> None:
    """In the currency's own minor units."""
    crm = CRMService(MemoryStorage(), settings=Settings(currency=currency))
    customer = crm.find_or_create({"user_id": 1}).id
    fact = crm.track_activity(customer, "purchase", {"amount": paid})
    refund = crm.activities.refund(fact.id, fraction=fraction)
    assert (refund.amount_minor, refund.currency) == (back, currency)


def test_a_fraction_is_of_the_price_not_of_what_is_left(crm: CRMService, ana: str) -> None:
    fact = crm.track_activity(ana, "purchase", {"amount": 100})
    backs = [crm.activities.refund(fact.id, fraction=0.5).amount_minor for _ in range(2)]
    assert backs == [5_000, 5_000]


@pytest.mark.parametrize(
    "asked",
    [
        {"amount": 0},
        {"amount": "-1"},
        {"amount": "60.01"},
        {"amount": "0.001"},
        {"amount": "much"},
        {"amount": True},
        {"amount": float("nan")},
        {"fraction": 0},
        {"fraction": -0.5},
        {"fraction": "0.61"},
        {"fraction": 1.01},
        {"fraction": "half"},
        {"fraction": True},
        {"fraction": float("inf")},
        {"fraction": "0.00001"},
        {"amount": 1, "fraction": 0.1},
    ],
    ids=str,
)
def test_what_cannot_be_given_back(crm: CRMService, ana: str, asked: dict[str, Any]) -> None:
    """Of 100 euros 60 are left; nothing is recorded, and the field at fault is named."""
    fact = crm.track_activity(ana, "purchase", {"amount": 100})
    crm.activities.refund(fact.id, amount=40)
    with pytest.raises(InvalidInput) as caught:
        crm.activities.refund(fact.id, **asked)
    assert caught.value.field in asked
    assert spend(crm, ana) == 6_000
    assert crm.activities.refund(fact.id).amount_minor == 6_000


def test_nothing_is_left_after_all_went_back(crm: CRMService, ana: str) -> None:
    """By whatever refund it went, by the activity or by its reference."""
    first = crm.track_activity(ana, "purchase", {"order_id": 1, "amount": 10})
    crm.activities.refund(first.id)
    other = crm.track_activity(ana, "purchase", {"order_id": 2, "amount": 10})
    crm.track_activity(ana, "refund", {"order_id": 2})
    for fact in (first, other):
        for asked in ({}, {"amount": "0.01"}, {"fraction": "0.001"}):
            with pytest.raises(InvalidInput, match="left"):
                crm.activities.refund(fact.id, **asked)
    assert crm.activities.metrics(ana).refunds == 2


def test_a_restated_booking_gives_back_what_it_cost_last(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    """Whichever of its facts is named, they share one price, apart from the drinks."""
    evening = {"reference": "evening"}
    crm.track_activity(ana, "consumption", evening | {"amount": 30})
    first = crm.track_activity(ana, "booking", evening | {"amount": 200})
    clock.advance(hours=1)
    last = crm.track_activity(ana, "booking", evening | {"amount": 80})
    assert crm.activities.refund(first.id, fraction=0.5).amount_minor == 4_000
    with pytest.raises(InvalidInput):
        crm.activities.refund(last.id, amount="40.01")
    assert crm.activities.refund(last.id).amount_minor == 4_000
    assert spend(crm, ana) == 3_000


def test_each_fact_of_a_story_gives_back_its_own(crm: CRMService, ana: str) -> None:
    """The drink is refunded, the table is not."""
    crm.track_activity(ana, "booking", {"reference": "evening", "amount": 100})
    drink = crm.track_activity(ana, "consumption", {"reference": "evening", "amount": 12})
    assert crm.activities.refund(drink.id).amount_minor == 1_200
    with pytest.raises(InvalidInput, match="left"):
        crm.activities.refund(drink.id)
    assert spend(crm, ana) == 10_000


@pytest.mark.parametrize("kind", ["refund", "completion", "cancellation"])
def test_only_what_was_paid_is_refunded(crm: CRMService, ana: str, kind: str) -> None:
    fact = crm.track_activity(ana, kind, {"reference": "r"})
    with pytest.raises(InvalidInput, match="only what was paid"):
        crm.activities.refund(fact.id)


def test_what_has_no_price_gives_back_no_part(crm: CRMService, ana: str) -> None:
    """A booking without a price may be refunded as a whole, and then earns no points."""
    booking = crm.track_activity(ana, "booking", {"booking_id": 1, "status": "completed"})
    for asked in ({"amount": 1}, {"fraction": 0.5}):
        with pytest.raises(InvalidInput, match="no amount"):
            crm.activities.refund(booking.id, **asked)
    assert crm.loyalty.account(ana).balance == 100
    assert crm.activities.refund(booking.id).amount is None
    assert crm.loyalty.account(ana).balance == 0


def test_a_void_brings_back_what_stood_before(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    """A restatement, a refund and an amendment, voided one by one."""
    crm.track_activity(ana, "booking", {"booking_id": 1, "amount": 100, "status": "completed"})
    clock.advance(hours=1)
    again = crm.track_activity(ana, "booking", {"booking_id": 1, "amount": 80})
    amended = crm.activities.amend(again.id, {"amount": 60})
    refund = crm.activities.refund(again.id, amount=15)
    seen = [(spend(crm, ana), crm.loyalty.account(ana).balance)]
    for mistake in (refund, amended, again):
        crm.activities.void(mistake.id)
        seen.append((spend(crm, ana), crm.loyalty.account(ana).balance))
    assert seen == [(4_500, 75), (6_000, 100), (8_000, 100), (10_000, 100)]


def test_what_never_was_counts_nowhere(crm: CRMService, ana: str) -> None:
    """Metrics, points and dates are those of somebody of whom nothing is known."""
    before = crm.activities.metrics(ana)
    booking = {"booking_id": 1, "amount": 9, "status": "completed", "party_size": 2, "item": "x"}
    fact = crm.track_activity(ana, "booking", booking)
    void = crm.activities.void(fact.id, reason="another guest's")
    assert crm.activities.metrics(ana) == before
    assert crm.loyalty.account(ana).balance == 0
    assert (void.kind, void.corrects, void.story) == ("void", fact.id, fact.story)
    assert (void.customer_id, void.payload) == (ana, {"reason": "another guest's"})
    assert crm.activities.get(fact.id) == fact


def test_a_void_cannot_be_corrected(crm: CRMService, ana: str) -> None:
    void = crm.activities.void(crm.track_activity(ana, "visit").id)
    for correct in (
        crm.activities.void, crm.activities.refund, lambda i: crm.activities.amend(i, {"a": 1}),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="track the activity anew"):
            correct(void.id)


@pytest.mark.parametrize("what", ["purchase", "refund", "amendment"])
def test_what_was_voided_is_gone_for_good(crm: CRMService, ana: str, what: str) -> None:
    """It is not voided, refunded or amended a second time."""
    fact = crm.track_activity(ana, "purchase", {"amount": 10})
    if what == "refund":
        fact = crm.activities.refund(fact.id, amount=1)
    elif what == "amendment":
        fact = crm.activities.amend(fact.id, {"amount": 9})
    crm.activities.void(fact.id)
    for correct in (
        crm.activities.void, crm.activities.refund, lambda i: crm.activities.amend(i, {"a": 1}),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as caught:
            correct(fact.id)
        assert caught.value.field == "activity_id"
    assert spend(crm, ana) == (0 if what == "purchase" else 1_000)


AMENDED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "a price": ({"amount": 90}, {"spend_minor": 9_000}, {"amount": 90}),
    "a status": ({"status": "Canceled"}, {"cancellations": 1, "bookings": 0}, {
        "status": "cancelled"}),
    "a party": ({"party_size": 6}, {"guests": 6}, {"party_size": 6}),
    "a party taken away": ({"party_size": None}, {"guests": 0, "parties": 0}, {
        "party_size": None}),
    "what crmkit does not know": ({"wine": ["red"]}, {"spend_minor": 10_000}, {"wine": ["red"]}),
    "the same id": ({"booking_id": 1, "amount": 1}, {"spend_minor": 100}, {
        "booking_id": "1", "amount": 1}),
    "a key that was not there": ({"gone": None}, {"spend_minor": 10_000}, {"gone": None}),
}  # fmt: skip


@pytest.mark.parametrize("case", AMENDED)
def test_an_amendment_changes_what_it_names(crm: CRMService, ana: str, case: str) -> None:
    """Kept are the changes, in crmkit's spelling; the fact itself stays as it was recorded."""
    changes, numbers, kept = AMENDED[case]
    fact = crm.track_activity(ana, "booking", {"booking_id": 1, "amount": 100, "party_size": 2})
    before = crm.activities.metrics(ana)
    amendment = crm.activities.amend(fact.id, changes, reason="typed wrong")
    assert amendment.payload == {"reason": "typed wrong", "changes": kept}
    after = crm.activities.metrics(ana)
    assert {name: getattr(after, name) for name in numbers} == numbers
    assert (after.activities, after.last_activity_at) == (1, before.last_activity_at)
    assert crm.activities.get(fact.id) == fact
    assert crm.activities.verify() == ()


NOT_AMENDED: dict[str, tuple[dict[str, Any] | None, str]] = {
    "nothing": ({}, "changes"),
    "no mapping": (None, "changes"),
    "another booking": ({"booking_id": 2}, "changes"),
    "another way to name the story": ({"reference": "r"}, "changes"),
    "no longer a booking of that id": ({"booking_id": None}, "changes"),
    "its price taken away": ({"amount": None}, "changes.amount"),
    "its status taken away": ({"status": None}, "changes.status"),
    "its item taken away": ({"item": ""}, "changes.item"),
    "less than nothing": ({"amount": -1}, "payload.amount"),
    "an unknown status": ({"status": "maybe"}, "payload.status"),
}


@pytest.mark.parametrize("case", NOT_AMENDED)
def test_what_cannot_be_amended(crm: CRMService, ana: str, case: str) -> None:
    changes, field = NOT_AMENDED[case]
    booking = {"booking_id": 1, "amount": 100, "status": "confirmed", "item": "Quiz"}
    fact = crm.track_activity(ana, "booking", booking)
    with pytest.raises(InvalidInput) as caught:
        crm.activities.amend(fact.id, changes)  # type: ignore[arg-type]  # what a host may pass
    assert caught.value.field == field
    assert len(crm.activities.timeline(ana)) == 1


def test_a_purchase_keeps_its_price(crm: CRMService, ana: str) -> None:
    fact = crm.track_activity(ana, "purchase", {"amount": 10})
    with pytest.raises(InvalidInput):
        crm.activities.amend(fact.id, {"amount": None})


def test_the_later_amendment_wins(crm: CRMService, ana: str, clock: FrozenClock) -> None:
    """By `at`, whichever was recorded first; each key by itself."""
    fact = crm.track_activity(ana, "booking", {"booking_id": 1, "amount": 100, "party_size": 2})
    later = clock() + timedelta(days=2)
    crm.activities.amend(fact.id, {"amount": 90}, at=later)
    crm.activities.amend(fact.id, {"amount": 80, "party_size": 5}, at=later - timedelta(days=1))
    metrics = crm.activities.metrics(ana)
    assert (metrics.spend_minor, metrics.guests) == (9_000, 5)


def test_an_amendment_is_not_amended_itself(crm: CRMService, ana: str) -> None:
    fact = crm.track_activity(ana, "purchase", {"amount": 10})
    amendment = crm.activities.amend(fact.id, {"amount": 9})
    with pytest.raises(InvalidInput, match="amend the activity itself"):
        crm.activities.amend(amendment.id, {"amount": 8})


def corrected(crm: CRMService, activity_id: Any, key: str | None) -> list[CRMError]:
    """The errors of all three corrections."""
    errors = []
    for name, asked in (("void", {}), ("refund", {}), ("amend", {"changes": {"a": 1}})):
        with pytest.raises(CRMError) as caught:
            getattr(crm.activities, name)(activity_id, **asked, key=key)
        errors.append(caught.value)
    return errors


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("activity_id", ["nothing", "", "x" * 500, "é", None, 7, b"x", object()])
def test_an_unknown_activity(crm: CRMService, activity_id: Any, key: str | None) -> None:
    """Whatever is passed for an id, with a key or without: `NotFound`."""
    assert {type(e) for e in corrected(crm, activity_id, key)} == {NotFound}


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("reason", ["x" * 501, "a\x00b", "\ud800", 7, float("nan"), object()])
def test_a_reason_that_is_no_text(crm: CRMService, ana: str, reason: Any, key: str | None) -> None:
    fact = crm.track_activity(ana, "purchase", {"amount": 10})
    for name, asked in (("void", {}), ("refund", {}), ("amend", {"changes": {"a": 1}})):
        with pytest.raises(InvalidInput):
            getattr(crm.activities, name)(fact.id, **asked, reason=reason, key=key)
    assert spend(crm, ana) == 1_000


def test_an_activity_of_another_tenant(crm: CRMService, ana: str) -> None:
    """It is not there."""
    fact = crm.track_activity(ana, "purchase", {"amount": 10})
    other = crm.for_tenant("other")
    assert {type(e) for e in corrected(other, fact.id, None)} == {NotFound}
    assert spend(crm, ana) == 1_000


@pytest.mark.parametrize("key", [None, "k"])
def test_an_activity_of_the_erased(crm: CRMService, ana: str, key: str | None) -> None:
    """Even what was corrected before with this key is not told again."""
    fact = crm.track_activity(ana, "purchase", {"amount": 10})
    crm.activities.refund(fact.id, amount=1, key="k")
    crm.gdpr.erase(ana)
    assert {type(e) for e in corrected(crm, fact.id, key)} == {Erased}


def test_a_correction_belongs_to_what_it_corrects(crm: CRMService, ana: str) -> None:
    """Its customer, its story, its own moment; and its currency where it has an amount."""
    fact = crm.track_activity(ana, "booking", {"booking_id": 1, "amount": 10})
    at = "2026-02-01T10:00:00Z"
    made = [
        crm.activities.refund(fact.id, amount=1, at=at),
        crm.activities.amend(fact.id, {"amount": 9}, at=at),
        crm.activities.void(fact.id, at=at),
    ]
    for correction in made:
        assert (correction.corrects, correction.story, correction.customer_id) == (
            fact.id, fact.story, ana,
        )  # fmt: skip
        assert correction.occurred_at.isoformat() == "2026-02-01T10:00:00+00:00"
        assert _whole_amount(correction)
    assert [f.kind for f in crm.activities.timeline(ana, kinds=["void", "amendment"])] == [
        "void", "amendment",
    ]  # fmt: skip


def _whole_amount(fact: Activity) -> bool:
    return (fact.amount_minor is None) == (fact.amount is None)
