"""Bills that several pay: whatever becomes of them, every cent is somebody's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crmkit import CRMService
from crmkit.ports.storage import Storage
from crmkit.testing.strategies import INSTANTS
from tests.properties.test_corrections import services, shared_storages, storages

__all__ = ["storages"]  # a fixture

Call = dict[str, Any]

GUESTS = 3
_AMOUNTS = (0, 1, 10, "99.99", "0.05")


@st.composite
def parts(draw: st.DrawFn, payer: int) -> list[Call]:
    """Parts that others bear: together at most the whole."""
    others = draw(st.lists(st.sampled_from([n for n in range(GUESTS) if n != payer]), unique=True))
    told = [{"share": s} for s in (0, 0.25, "third", 0.5)] + [{}, {}]
    return [{"guest": guest} | draw(st.sampled_from(told)) for guest in others]


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """A booking, said for the first time or again, or what becomes of it."""
    payer, kind = (
        draw(st.integers(0, GUESTS - 1)),
        draw(st.sampled_from(("booking",) * 4 + ("refund", "refund", "cancellation"))),
    )
    payload: Call = {"booking_id": draw(st.sampled_from(("b1", "b1", "b2")))}
    if kind != "cancellation" and draw(st.booleans()):
        payload["amount"] = draw(st.sampled_from(_AMOUNTS))
    if kind == "booking":
        if draw(st.booleans()):
            payload["participants"] = draw(parts(payer))
        if draw(st.integers(0, 3)) == 0:
            payload["status"] = draw(st.sampled_from(("cancelled", "completed")))
    return {"payer": payer, "kind": kind, "payload": payload}


def _share(part: Call) -> Fraction | None:
    share = part.get("share")
    return Fraction(1, 3) if share == "third" else None if share is None else Fraction(str(share))


def _cents(amount: object) -> Fraction:
    return Fraction(str(amount)) * 100


def model(told: Sequence[Call]) -> list[Fraction]:
    """What each guest bears: exact parts of each bill as it was said last."""
    bills: dict[tuple[int, str], Call] = defaultdict(
        lambda: {"amount": None, "back": Fraction(0), "off": False, "parts": []}
    )
    for call in told:  # in the order of their time
        payload = call["payload"]
        bill = bills[call["payer"], payload["booking_id"]]
        if call["kind"] == "cancellation":
            bill["cancelled"] = True
        elif call["kind"] == "refund":
            bill["all back"] = bill.get("all back") or "amount" not in payload
            bill["back"] += _cents(payload.get("amount", 0))
        else:
            bill["booked"] = True
            if "amount" in payload:
                bill["amount"] = _cents(payload["amount"])
            if "participants" in payload:
                bill["parts"] = payload["participants"]
            if "status" in payload:
                bill["off"] = payload["status"] == "cancelled"
    spent = [Fraction(0)] * GUESTS
    for (payer, _), bill in bills.items():
        if bill.get("cancelled") or bill["off"] or not bill.get("booked"):
            continue
        left = max(Fraction(0), (bill["amount"] or 0) - bill["back"])
        left = Fraction(0) if bill.get("all back") else left
        given = [(p["guest"], _share(p)) for p in bill["parts"]]
        rest = 1 - sum((s for _, s in given if s is not None), Fraction(0))
        equal = rest / (1 + sum(1 for _, s in given if s is None))
        for guest, share in given:
            part = left * (equal if share is None else share)
            spent[guest] += part
            spent[payer] -= part
        spent[payer] += left
    return spent


def payload_of(call: Call, ids: Sequence[str]) -> Call:
    """The payload as a host gives it."""
    payload = dict(call["payload"])
    if "participants" in payload:
        payload["participants"] = [
            {"customer_id": ids[p["guest"]]}
            | ({"share": float(s)} if (s := _share(p)) is not None else {})
            for p in payload["participants"]
        ]
    return payload


def spends(crm: CRMService, ids: Sequence[str]) -> list[int]:
    return [crm.activities.metrics(customer_id).spend_minor for customer_id in ids]


@given(told=st.lists(calls(), max_size=10), data=st.data())
@shared_storages
def test_every_cent_is_somebodys(
    storages: Sequence[Storage], told: list[Call], data: st.DataObject
) -> None:
    """In any order, one by one or together: the parts are due, and make up the revenue."""
    numbered = list(enumerate(told))
    arriving = data.draw(st.permutations(numbered))
    cut = data.draw(st.integers(0, len(arriving)))
    spent = []
    for crm in services(storages):
        ids = [crm.find_or_create({"user_id": n}).id for n in range(GUESTS)]
        items = [
            {"customer_id": ids[call["payer"]], "kind": call["kind"],
             "payload": payload_of(call, ids), "at": INSTANTS[0] + timedelta(hours=n)}
            for n, call in arriving
        ]  # fmt: skip
        for item in items[:cut]:
            crm.activities.track(**item)
        assert crm.activities.track_many(items[cut:]).refused == 0
        assert crm.activities.verify() == ()
        spent.append(spends(crm, ids))
        revenue = sum(month.minor for month in crm.insights.revenue_by_month().values())
        assert revenue == sum(spent[-1])
        for customer_id, minor in zip(ids, spent[-1], strict=True):
            series = crm.insights.spend_series(customer_id)
            assert sum(period.value.minor for period in series) == minor
            now, then = crm._runtime.now(), INSTANTS[0] + timedelta(hours=cut)
            assert crm.insights.for_customer(customer_id, known_at=now).total_spent.minor == minor
            asked = crm.insights.for_customer(customer_id, at=then)
            assert asked == crm.insights.for_customer(customer_id, at=then, known_at=now)
    assert spent == [spent[0]] * len(storages)
    bills = 2 * GUESTS  # each may leave a cent to somebody
    for minor, due in zip(spent[0], model(told), strict=True):
        assert abs(minor - due) <= bills
