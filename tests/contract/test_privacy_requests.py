"""Requests about personal data: when they are due, what becomes of them, who forgets whom."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from crmkit import CRMService, Erased, IdempotencyConflict, InvalidInput, NotFound, Settings
from crmkit.model import PrivacyRequest
from crmkit.ports.storage import Storage
from crmkit.privacy_settings import PrivacyNotice
from crmkit.testing import FrozenClock
from crmkit.testing.threads import together

RECEIVED = "2026-03-05T09:00:00Z"


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock("2026-03-05T12:00:00Z")


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana", "email": "ana@pop.ro"}).id


def _day(moment: datetime | None) -> str:
    """The last day of a term in UTC, which `crm` is in."""
    assert moment is not None
    return (moment - timedelta(microseconds=1)).date().isoformat()


def test_a_request_is_due_in_a_month(crm: CRMService, ana: str) -> None:
    """5 April 2026 is a Sunday, so Monday is the last day."""
    asked = crm.gdpr.requests.open("access", ana, received_at=RECEIVED)
    assert (asked.status, _day(asked.due_at)) == ("open", "2026-04-06")
    assert crm.gdpr.requests.get(asked.id) == asked
    assert crm.gdpr.requests.of(ana) == (asked,)


def test_holidays_are_no_working_days(storage: Storage, clock: FrozenClock) -> None:
    easter = Settings(holidays=("2026-04-06",))
    crm = CRMService(storage, settings=easter, clock=clock)
    asked = crm.gdpr.requests.open("erasure", contact="x@y.ro", received_at=RECEIVED)
    assert _day(asked.due_at) == "2026-04-07"


def test_more_time_must_be_told_of_in_time(crm: CRMService, ana: str, clock: FrozenClock) -> None:
    """Two further months within the first; afterwards it is too late."""
    first = crm.gdpr.requests.open("access", ana, received_at=RECEIVED)
    second = crm.gdpr.requests.open("erasure", ana, received_at=RECEIVED)
    extended = crm.gdpr.requests.extend(first.id, "many records")
    assert _day(extended.due_at) == "2026-06-05"
    assert crm.gdpr.requests.extend(first.id, "again") == extended
    clock.advance(days=40)
    with pytest.raises(InvalidInput, match="too late"):
        crm.gdpr.requests.extend(second.id, "many records")


def test_an_opt_out_knows_no_extension(crm: CRMService, ana: str) -> None:
    asked = crm.gdpr.requests.open("opt_out", ana, jurisdiction="can_spam", received_at=RECEIVED)
    assert _day(asked.due_at) == "2026-03-19"
    with pytest.raises(InvalidInput, match="7704"):
        crm.gdpr.requests.extend(asked.id, "busy")


def test_the_month_waits_for_who_it_is_and_45_days_do_not(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    """GDPR counts from the verification, the CCPA from the receipt."""
    requests = crm.gdpr.requests
    opened = [
        requests.open("access", ana, jurisdiction=law, identity_verified=False) for law in
        ("gdpr", "ccpa")
    ]  # fmt: skip
    assert [r.verified_at for r in opened] == [None, None]
    clock.advance(days=10)
    by_gdpr, by_ccpa = (requests.verify(r.id) for r in opened)
    assert (_day(by_gdpr.due_at), _day(by_ccpa.due_at)) == ("2026-04-15", "2026-04-19")
    clock.advance(days=5)
    assert requests.verify(by_gdpr.id) == by_gdpr
    assert _day(requests.extend(by_gdpr.id, "much").due_at) == "2026-06-15"
    assert _day(requests.extend(by_ccpa.id, "much").due_at) == "2026-06-03"


def test_what_is_due_soon_comes_in_its_order(crm: CRMService, ana: str, clock: FrozenClock) -> None:
    """A receipt that must be confirmed is due before an answer; once it is, the answer is."""
    requests = crm.gdpr.requests
    answer = requests.open("access", ana, received_at=RECEIVED)
    confirm = requests.open("access", ana, jurisdiction="ccpa", received_at=RECEIVED)
    assert requests.due("1d") == ()
    assert requests.due("40d") == (confirm, answer)
    clock.advance(days=15)
    assert requests.overdue() == (confirm,)
    assert requests.overdue("2026-03-19T23:59:59Z") == ()
    requests.confirm(confirm.id)
    assert requests.overdue() == ()
    clock.advance(days=90)
    assert [r.id for r in requests.overdue()] == [answer.id, confirm.id]
    requests.complete(answer.id)
    requests.refuse(confirm.id, "cannot be verified")
    assert requests.overdue() == ()


def test_a_closed_request_stays_as_it_is(crm: CRMService, ana: str) -> None:
    """Closing it the same way again is the same; the other way is refused."""
    asked = crm.gdpr.requests.open("rectification", ana)
    done = crm.gdpr.requests.complete(asked.id, "put right")
    assert (done.status, done.outcome) == ("completed", "put right")
    assert crm.gdpr.requests.complete(asked.id) == done
    with pytest.raises(InvalidInput, match="completed"):
        crm.gdpr.requests.refuse(asked.id, "x")
    with pytest.raises(InvalidInput, match="completed"):
        crm.gdpr.requests.extend(asked.id, "x")


def test_lists_are_by_status_and_pages(crm: CRMService, ana: str) -> None:
    requests = crm.gdpr.requests
    made = [
        requests.open("access", ana, received_at=f"2026-02-{day:02}T10:00:00Z") for day in (3, 1, 2)
    ]
    in_order = [made[1].id, made[2].id, made[0].id]
    first = requests.list(limit=2)
    second = requests.list(limit=2, after=first.next)
    assert [r.id for r in (*first, *second)] == in_order
    assert second.next is None
    requests.complete(made[2].id)
    assert [r.id for r in requests.list()] == [made[1].id, made[0].id]
    assert [r.id for r in requests.list(status="completed")] == [made[2].id]
    assert [r.id for r in requests.list(due_before=made[0].due_at)] == [made[1].id]
    with pytest.raises(InvalidInput, match="did you mean 'open'"):
        requests.list(status="opn")


def test_opening_twice_with_a_key_is_opening_once(crm: CRMService, ana: str) -> None:
    """For a customer and for somebody unknown; other content is an error."""
    requests = crm.gdpr.requests
    one = requests.open("access", ana, key="mail 1")
    assert requests.open("access", ana, key="mail 1") == one
    other = requests.open("access", contact="x@y.ro", key="mail 2")
    assert requests.open("access", contact="x@y.ro", key="mail 2") == other
    for kind, again in (("erasure", "mail 1"), ("erasure", "mail 2"), ("access", "mail 2")):
        with pytest.raises(IdempotencyConflict):
            requests.open(kind, ana, key=again)
    with pytest.raises(IdempotencyConflict, match="another customer"):
        requests.open("access", crm.find_or_create({"name": "Ion"}).id, key="mail 1")
    assert len(requests.list()) == 2


def test_threads_with_one_key_open_one_request(crm: CRMService) -> None:
    """Mail that is delivered eight times at once, about somebody who is no customer."""
    opened = together(
        8, lambda _: crm.gdpr.requests.open("access", contact="x@y.ro", key="mail 1").id
    )
    assert len(set(opened)) == len(crm.gdpr.requests.list()) == 1


def test_a_request_is_closed_once(crm: CRMService, ana: str) -> None:
    """Of eight who complete or refuse it at once, the first kind wins and the others are told."""
    asked = crm.gdpr.requests.open("access", ana)

    def close(n: int) -> str:
        try:
            if n % 2:
                return crm.gdpr.requests.complete(asked.id).status
            return crm.gdpr.requests.refuse(asked.id, "no").status
        except InvalidInput:
            return ""

    ended = crm.gdpr.requests.get(asked.id).status, *together(8, close)
    final = crm.gdpr.requests.get(asked.id).status
    assert ended[0] == "open"
    assert sorted(ended[1:]) == [""] * 4 + [final] * 4


def test_erasing_keeps_that_it_was_asked_and_met(crm: CRMService, ana: str) -> None:
    """The proof stays without the person: kind, dates and status."""
    requests = crm.gdpr.requests
    asked = requests.open("erasure", ana, contact="ana@pop.ro", details="All of it.", key="k")
    crm.gdpr.erase(ana)
    left = requests.complete(asked.id, "erased")
    assert (left.customer_id, left.contact, left.details) == (None, None, None)
    assert (left.kind, left.status) == ("erasure", "completed")
    assert (left.received_at, left.due_at) == (asked.received_at, asked.due_at)
    with pytest.raises(Erased):
        requests.open("erasure", ana, contact="ana@pop.ro", details="All of it.", key="k")
    with pytest.raises(Erased):
        requests.of(ana)


def test_who_was_no_customer_is_forgotten_in_time(storage: Storage, clock: FrozenClock) -> None:
    """Contact and texts go so many days after the end; the request stays."""
    settings = Settings(privacy=PrivacyNotice(forget_contacts_days=30))
    crm = CRMService(storage, settings=settings, clock=clock)
    asked = crm.gdpr.requests.open("access", contact="x@y.ro", details="Who are you?")
    open_still = crm.gdpr.requests.open("access", contact="z@y.ro")
    crm.gdpr.requests.complete(asked.id, "Nothing is held of x@y.ro.")
    clock.advance(days=29)
    assert crm.run_due().done == 0
    assert crm.gdpr.requests.get(asked.id).contact == "x@y.ro"
    clock.advance(days=2)
    assert crm.run_due().done == 1
    left = crm.gdpr.requests.get(asked.id)
    assert (left.contact, left.details, left.outcome, left.status) == (
        None, None, None, "completed",
    )  # fmt: skip
    assert crm.run_due().done == 0
    assert crm.gdpr.requests.get(open_still.id).contact == "z@y.ro"


def test_a_merge_hands_requests_on_and_gives_them_back(crm: CRMService, ana: str) -> None:
    other = crm.find_or_create({"name": "Zoe Other"}).id
    asked = crm.gdpr.requests.open("access", other, key="mail 1")
    merge = crm.identity.merge(ana, other, reason="same")
    assert [r.id for r in crm.gdpr.requests.of(ana)] == [asked.id]
    for whoever in (ana, other):  # the same call, by whichever of both ids
        assert crm.gdpr.requests.open("access", whoever, key="mail 1").id == asked.id
    during = crm.gdpr.requests.open("erasure", other)
    crm.identity.unmerge(merge.id)
    assert [r.id for r in crm.gdpr.requests.of(other)] == [asked.id, during.id]
    assert crm.gdpr.requests.of(ana) == ()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"kind": "acces"}, "kind"),
        ({"kind": "access", "jurisdiction": "hipaa"}, "jurisdiction"),
        ({"kind": "access"}, "contact"),
        ({"kind": "access", "contact": " "}, "contact"),
        ({"kind": "access", "contact": "x" * 501}, "contact"),
        ({"kind": "access", "contact": "x", "received_at": "2026-03-06T00:00:00Z"}, "received_at"),
        ({"kind": "access", "contact": "x", "received_at": "yesterday"}, "at"),
    ],
)
def test_what_cannot_be_registered_is_refused(
    crm: CRMService, arguments: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        crm.gdpr.requests.open(**arguments)  # type: ignore[arg-type]
    assert refused.value.field == field
    assert len(crm.gdpr.requests.list()) == 0


@pytest.mark.parametrize("request_id", ["", "x" * 65, "no such", None])
def test_an_unknown_request_is_not_found(crm: CRMService, request_id: str) -> None:
    with pytest.raises(NotFound, match="no such request"):
        crm.gdpr.requests.get(request_id)


def test_the_record_shows_nothing_personal(crm: CRMService) -> None:
    asked = crm.gdpr.requests.open("access", contact="x@y.ro", details="secret")
    assert isinstance(asked, PrivacyRequest)
    assert "x@y.ro" not in repr(asked)
    assert "secret" not in repr(asked)
