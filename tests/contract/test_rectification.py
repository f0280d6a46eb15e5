"""Putting a profile right: what was corrected, what completed, who is to be told."""

from __future__ import annotations

import pytest

from crmkit import AlreadyTaken, CRMService, IdempotencyConflict, InvalidInput, Settings
from crmkit.ports.storage import Storage
from crmkit.privacy_settings import PrivacyNotice


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana Pop", "email": "ana@pop.ro", "city": "Cluj"}).id


def test_a_rectification_is_logged_from_what_to_what(crm: CRMService, ana: str) -> None:
    """Corrected fields held something else, completed ones nothing."""
    done = crm.gdpr.rectify(
        ana, {"email": "ana@popa.ro", "language": "ro"}, reason="asked by mail", actor="clerk 7"
    )
    assert (done.corrected, done.completed) == (("email", "email_typed"), ("language",))
    (logged,) = crm.gdpr.rectifications(ana)
    assert logged == done.rectification
    assert logged.before == {"email": "ana@pop.ro", "email_typed": "ana@pop.ro"}
    assert logged.after == {
        "email": "ana@popa.ro", "email_typed": "ana@popa.ro", "language": "ro",
    }  # fmt: skip
    assert (logged.reason, logged.actor) == ("asked by mail", "clerk 7")


def test_what_was_put_right_finds_the_customer(crm: CRMService, ana: str) -> None:
    """The new address leads to the customer, the wrong one to nobody any more."""
    crm.gdpr.rectify(ana, {"email": "ana@popa.ro"}, reason="typing error")
    assert crm.find_or_create({"email": "ana@popa.ro"}).id == ana
    assert crm.find_or_create({"email": "ana@pop.ro"}).id != ana


def test_emptying_a_field_is_a_correction(crm: CRMService, ana: str) -> None:
    done = crm.gdpr.rectify(ana, {"city": None}, reason="moved away")
    assert done.corrected == ("city",)
    assert done.rectification is not None
    assert (done.rectification.before, done.rectification.after) == ({"city": "Cluj"}, {})


def test_what_was_right_already_is_not_logged(crm: CRMService, ana: str) -> None:
    done = crm.gdpr.rectify(ana, {"city": "Cluj"}, reason="asked")
    assert (done.rectification, done.corrected, done.completed) == (None, (), ())
    assert crm.gdpr.rectifications(ana) == ()


def test_recipients_are_named(storage: Storage) -> None:
    """Art. 19: those in the settings; None where the settings say nothing."""
    told = Settings(privacy=PrivacyNotice(recipients=("the mailing service",)))
    crm = CRMService(storage, settings=told)
    ana = crm.find_or_create({"name": "Ana"}).id
    assert crm.gdpr.rectify(ana, {"city": "Iasi"}, reason="x").tell == ("the mailing service",)
    silent = CRMService(storage)
    assert silent.gdpr.rectify(ana, {"city": "Arad"}, reason="x").tell is None


def test_a_key_makes_it_once(crm: CRMService, ana: str) -> None:
    """The same call again answers with the same fact, though the profile went on changing."""
    call = {"city": "Iasi"}
    first = crm.gdpr.rectify(ana, call, reason="x", key="form 1")
    crm.customers.update(ana, {"city": "Arad"})
    again = crm.gdpr.rectify(ana, call, reason="x", key="form 1")
    assert again.rectification == first.rectification
    assert again.customer.city == "Arad"
    with pytest.raises(IdempotencyConflict):
        crm.gdpr.rectify(ana, {"city": "Brad"}, reason="x", key="form 1")


def test_anothers_address_changes_nothing(crm: CRMService, ana: str) -> None:
    """Nothing is logged of a rectification that failed."""
    crm.find_or_create({"email": "ion@pop.ro", "name": "Ion"})
    before = crm.customers.get(ana)
    with pytest.raises(AlreadyTaken):
        crm.gdpr.rectify(ana, {"city": "Iasi", "email": "ion@pop.ro"}, reason="x")
    assert crm.customers.get(ana) == before
    assert crm.gdpr.rectifications(ana) == ()


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"city": "x"}, " ", "reason"),
        ({"tags": ["x"]}, "x", "tags"),
        ({"consent": {}}, "x", "consent"),
        ({"emial": "x"}, "x", "emial"),
        (["city"], "x", "changes"),
    ],
)
def test_what_cannot_be_rectified_is_refused(
    crm: CRMService, ana: str, changes: dict[str, object], reason: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        crm.gdpr.rectify(ana, changes, reason=reason)
    assert refused.value.field == field


def test_a_merge_hands_rectifications_on_and_gives_them_back(crm: CRMService, ana: str) -> None:
    other = crm.find_or_create({"name": "Zoe Other"}).id
    crm.gdpr.rectify(other, {"city": "Iasi"}, reason="asked")
    merge = crm.identity.merge(ana, other, reason="same")
    assert len(crm.gdpr.rectifications(ana)) == 1
    crm.identity.unmerge(merge.id)
    assert crm.gdpr.rectifications(ana) == ()
    assert len(crm.gdpr.rectifications(other)) == 1
