"""Every act of privacy is in the audit, with who did it; nobody has to remember to write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crmkit import CRMService, InvalidInput, MemoryStorage, RetentionPolicy, Settings
from crmkit.ports.storage import Storage

INACTIVE = RetentionPolicy(name="inactive", of="customers", after="36mo", notice="30d")


@pytest.fixture
def crm(storage: Storage) -> CRMService:
    return CRMService(storage, settings=Settings(region="RO", retention=[INACTIVE]))


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana Pop", "email": "ana@pop.ro"}).id


def _moved() -> dict[str, object]:
    elsewhere = CRMService(MemoryStorage())
    somebody = elsewhere.find_or_create({"name": "Somebody"}).id
    return elsewhere.gdpr.export(somebody, "portability").to_dict()


ACTS: dict[str, Callable[[CRMService, str], object]] = {
    "consent": lambda crm, c: crm.gdpr.consents.give(c, "email", source="form"),
    "consent_claimed": lambda crm, c: crm.gdpr.consents.rely_on(
        c, "email", basis="soft_opt_in", source="order"
    ),
    "consent_requested": lambda crm, c: crm.gdpr.consents.request(c, "email", source="form"),
    "object": lambda crm, c: crm.gdpr.object(c),
    "restrict": lambda crm, c: crm.gdpr.restrict(c, reason="disputed"),
    "lift": lambda crm, c: crm.gdpr.lift(c, reason="settled"),
    "export": lambda crm, c: crm.gdpr.export(c),
    "rectify": lambda crm, c: crm.gdpr.rectify(c, {"city": "Cluj"}, reason="moved"),
    "request": lambda crm, c: crm.gdpr.requests.open("access", c),
    "hold": lambda crm, c: crm.gdpr.retention.hold(c, reason="claim"),
    "release": lambda crm, c: crm.gdpr.retention.release(
        crm.gdpr.retention.hold(c, reason="claim").id
    ),
    "notice": lambda crm, c: crm.gdpr.retention.noticed(c, "inactive"),
    "erase": lambda crm, c: crm.gdpr.erase(c),
}


@pytest.mark.parametrize("act", ACTS)
def test_what_is_done_to_a_customer(crm: CRMService, ana: str, act: str) -> None:
    """By whom, to whom (but for one who is erased then), and why."""
    with crm.gdpr.audit.acting("staff:maria", reason="by phone"):
        ACTS[act](crm, ana)
    (entry,) = (e for e in crm.gdpr.audit.entries() if e.action == act)
    assert entry.actor == "staff:maria"
    assert entry.customer_id == (None if act == "erase" else ana)
    assert entry.reason == (None if act == "erase" else "by phone")


def test_what_is_done_to_nobody_in_particular(crm: CRMService) -> None:
    """A customer who comes from elsewhere, and a request of somebody unknown, are there too."""
    crm.gdpr.import_portable(_moved(), same_controller=True)
    asked = crm.gdpr.requests.open("erasure", contact="somebody@example.org")
    crm.gdpr.requests.refuse(asked.id, "nobody by that name")
    entries = crm.gdpr.audit.entries()
    assert [e.action for e in entries].count("import") == 1
    told = [e.details for e in entries if e.action == "request"]
    assert sorted(map(str, told)) == [
        "{'kind': 'erasure', 'status': 'refused'}",
        "{'kind': 'erasure'}",
    ]


def test_a_suppression_is_there_without_the_address(crm: CRMService) -> None:
    """It is of an address, whoever has it."""
    with crm.gdpr.audit.acting("staff:maria"):
        crm.gdpr.suppress("ana@pop.ro", "email", kind="bounced")
    (entry,) = crm.gdpr.audit.entries()
    assert (entry.action, entry.actor, entry.customer_id) == ("suppress", "staff:maria", None)
    assert entry.details == {"channel": "email", "kind": "bounced"}


def test_an_erasure_despite_a_hold_says_so(crm: CRMService, ana: str) -> None:
    """One that no hold stood against does not."""
    ion = crm.find_or_create({"name": "Ion"}).id
    crm.gdpr.retention.hold(ana, reason="claim")
    for somebody in (ana, ion):
        crm.gdpr.erase(somebody, despite_hold=True)
    told = [e.details for e in crm.gdpr.audit.entries() if e.action == "erase"]
    assert sorted(told, key=len) == [{}, {"despite_hold": True}]
    assert crm.gdpr.audit.verify().ok


def test_a_merges_reason_does_not_outlive_the_one_it_speaks_of(crm: CRMService, ana: str) -> None:
    """It may name both; so the audit of neither has it."""
    bo = crm.find_or_create({"name": "Bo Secret"}).id
    merge = crm.identity.merge(ana, bo, reason="Bo Secret has the phone of Ana")
    crm.identity.unmerge(merge.id)
    crm.gdpr.erase(bo)
    assert [e.action for e in crm.gdpr.audit.entries(customer_id=ana)] == ["merge", "unmerge"]
    assert not [e for e in crm.gdpr.audit.entries() if e.reason]
    assert "Secret" not in crm.gdpr.export(ana).json()


@pytest.mark.parametrize("wrong", [None, 5, "Mailer SA", [5]])
def test_what_is_no_list_of_recipients_is_refused(crm: CRMService, wrong: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        crm.gdpr.consents.notice(
            "marketing", "email", language="en", version="1", text="May we?", recipients=wrong
        )
    assert refused.value.field == "recipients"


def test_a_notice_is_of_a_policy_by_its_name(crm: CRMService, ana: str) -> None:
    wrong: Any = ["inactive"]
    with pytest.raises(InvalidInput) as refused:
        crm.gdpr.retention.noticed(ana, wrong)
    assert refused.value.field == "policy"


def test_an_act_that_fails_leaves_no_row(crm: CRMService, ana: str) -> None:
    """The row is part of the transaction."""
    with pytest.raises(ValueError, match="city"):
        crm.gdpr.rectify(ana, {"city": 7}, reason="typo")
    assert not [e for e in crm.gdpr.audit.entries() if e.action == "rectify"]
