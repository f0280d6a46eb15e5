"""Links that people follow, the texts they were shown, and what proves it, on every storage."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from crmkit import CRMService, InvalidInput, NotFound
from crmkit.gdpr.consents import Consents
from crmkit.testing import FrozenClock

MAIL, OTHER = "ana@mail.com", "ana@work.example"


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana", "email": MAIL, "language": "ro"}).id


@pytest.fixture
def consents(crm: CRMService) -> Consents:
    return crm.gdpr.consents


def payload(token: str) -> Any:
    text = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


# --- double opt-in ---


def test_what_is_only_asked_permits_nothing(consents: Consents, ana: str) -> None:
    consents.request(ana, "email", source="form", address=MAIL)
    assert consents.may_contact(ana, "email").reason == "unconfirmed"
    assert consents.state(ana).granted == {}


def test_following_the_link_permits(consents: Consents, clock: FrozenClock, ana: str) -> None:
    token = consents.request(ana, "email", source="form", address=MAIL, policy="2026-01")
    clock.advance(hours=1)
    fact = consents.confirm(token, proof="10.0.0.1")
    assert (fact.event, fact.granted, fact.policy, fact.address) == (
        "confirmed", True, "2026-01", MAIL,
    )  # fmt: skip
    assert fact.occurred_at == clock()
    assert consents.may_contact(ana, "email")
    assert [f.event for f in consents.history(ana)] == ["requested", "confirmed"]


def test_following_it_twice_is_following_it_once(
    consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """Also after it has run out."""
    token = consents.request(ana, "email", source="form")
    first = consents.confirm(token)
    clock.advance(days=30)
    assert consents.confirm(token) == first
    assert len(consents.history(ana)) == 2


def test_a_link_runs_out(consents: Consents, clock: FrozenClock, ana: str) -> None:
    token = consents.request(ana, "email", source="form", within=timedelta(hours=1))
    clock.advance(hours=1)
    with pytest.raises(InvalidInput):
        consents.confirm(token)
    assert not consents.may_contact(ana, "email")


@pytest.mark.parametrize("refusal", ["withdraw", "object"])
def test_a_link_from_before_a_refusal_confirms_nothing(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, refusal: str
) -> None:
    token = consents.request(ana, "email", source="form", address=MAIL)
    clock.advance(hours=1)
    if refusal == "withdraw":
        consents.withdraw(ana, "email")
    else:
        crm.gdpr.object(ana)
    with pytest.raises(InvalidInput):
        consents.confirm(token)


def test_confirming_is_agreeing_anew(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """It ends an objection from before the request."""
    crm.gdpr.object(ana)
    clock.advance(days=1)
    token = consents.request(ana, "email", source="form")
    assert not consents.may_contact(ana, "email")
    consents.confirm(token)
    assert consents.may_contact(ana, "email")


def test_a_link_goes_on_after_a_merge(crm: CRMService, consents: Consents, ana: str) -> None:
    """What it confirms is of the side that was asked, and goes back with it."""
    anna = crm.find_or_create({"name": "Anna", "email": OTHER}).id
    token = consents.request(anna, "email", source="form")
    made = crm.identity.merge(ana, anna, reason="one person")
    assert consents.confirm(token).customer_id == ana
    crm.identity.unmerge(made.id)
    assert consents.may_contact(anna, "email")
    assert not consents.may_contact(ana, "email")


def test_a_link_of_the_erased_is_none(crm: CRMService, consents: Consents, ana: str) -> None:
    token = consents.request(ana, "email", source="form")
    crm.gdpr.erase(ana)
    with pytest.raises(InvalidInput):
        consents.confirm(token)


# --- tokens ---


def test_tokens_hold_ids_and_hashes_only(consents: Consents, ana: str) -> None:
    asked = consents.request(ana, "email", source="form", address=MAIL)
    assert payload(asked) == [consents.history(ana)[0].id]
    customer, channel, purpose, address = payload(
        consents.unsubscribe_token(ana, "email", address=MAIL)
    )
    assert (customer, channel, purpose) == (ana, "email", "marketing")
    assert address == consents.history(ana)[0].address_key


def test_a_token_has_one_meaning(consents: Consents, ana: str) -> None:
    with pytest.raises(InvalidInput):
        consents.confirm(consents.unsubscribe_token(ana, "email"))
    with pytest.raises(InvalidInput):
        consents.unsubscribe(consents.request(ana, "email", source="form"), post=True)


def test_a_token_that_was_touched_is_none(consents: Consents, ana: str) -> None:
    """At every place, by any letter; nor do other things pass for one."""
    consents.give(ana, "email", source="form")
    token = consents.unsubscribe_token(ana, "email")
    touched = [
        token[:n] + ("A" if letter != "A" else "B") + token[n + 1 :]
        for n, letter in enumerate(token)
    ]
    for forged in (*touched, "", ".", "é", "a" * 100_000, token.split(".")[0], None, 7):
        with pytest.raises(InvalidInput):
            consents.unsubscribe(forged, post=True)  # type: ignore[arg-type]
    assert consents.may_contact(ana, "email")


def test_a_token_of_another_tenant_is_none(crm: CRMService, consents: Consents, ana: str) -> None:
    token = consents.unsubscribe_token(ana, "email")
    with pytest.raises(InvalidInput):
        crm.for_tenant("other").gdpr.consents.unsubscribe(token, post=True)


# --- unsubscribing ---


def test_a_get_changes_nothing_and_a_post_withdraws(consents: Consents, ana: str) -> None:
    """Of one instant once, however often it comes."""
    consents.give(ana, "email", source="form")
    token = consents.unsubscribe_token(ana, "email")
    told = consents.unsubscribe(token, post=False)
    assert (told.channel, told.purpose, told.done) == ("email", "marketing", False)
    assert consents.may_contact(ana, "email")
    for _ in range(3):
        assert consents.unsubscribe(token, post=True).done
    assert consents.may_contact(ana, "email").reason == "withdrawn"
    assert [f.event for f in consents.history(ana)] == ["given", "withdrawn"]


def test_it_works_after_years_and_after_a_merge(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    anna = crm.find_or_create({"name": "Anna", "email": OTHER}).id
    consents.give(anna, "email", source="form")
    token = consents.unsubscribe_token(anna, "email")
    crm.identity.merge(ana, anna, reason="one person")
    clock.advance(days=3_650)
    consents.unsubscribe(token, post=True)
    assert not consents.may_contact(ana, "email")


def test_for_one_address_it_leaves_the_others(consents: Consents, ana: str) -> None:
    consents.give(ana, "email", source="form")
    consents.give(ana, "email", source="form", address=OTHER)
    consents.unsubscribe(consents.unsubscribe_token(ana, "email", address=OTHER), post=True)
    assert consents.may_contact(ana, "email")
    assert not consents.may_contact(ana, "email", address=OTHER)
    consents.unsubscribe(consents.unsubscribe_token(ana, "email"), post=True)
    assert not consents.may_contact(ana, "email")


def test_the_erased_get_the_same_answer(crm: CRMService, consents: Consents, ana: str) -> None:
    """And their address is suppressed, should it come back."""
    token = consents.unsubscribe_token(ana, "email", address=MAIL)
    crm.gdpr.erase(ana)
    for _ in range(2):
        assert consents.unsubscribe(token, post=False) == consents.unsubscribe(token, post=False)
        assert consents.unsubscribe(token, post=True).done
    again = crm.find_or_create({"email": MAIL}).id
    consents.give(again, "email", source="old list")
    assert consents.may_contact(again, "email").reason == "suppressed"


def test_the_headers_of_a_mail(consents: Consents, ana: str) -> None:
    """RFC 8058, section 3.1."""
    token = consents.unsubscribe_token(ana, "email")
    assert consents.unsubscribe_headers(token, "https://club.example/u?token=") == {
        "List-Unsubscribe": f"<https://club.example/u?token={token}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    for url in ("http://club.example/", "https://a\r\nBcc: x@y.z/", "https://a>/", "https://a b/"):
        with pytest.raises(InvalidInput):
            consents.unsubscribe_headers(token, url)


# --- notices, receipts, and the page of preferences ---


def test_a_notice_is_kept_word_for_word(consents: Consents, ana: str) -> None:
    """Registering it again is no matter; another text needs another version."""
    said = {"language": "en", "version": "1", "text": "Mail me offers.\nOnce a week."}
    shown = consents.notice("marketing", "email", **said)
    assert consents.notice("marketing", "email", **said) == shown
    with pytest.raises(InvalidInput):
        consents.notice("marketing", "email", **said | {"text": "Mail me anything."})
    with pytest.raises(InvalidInput):
        consents.give(ana, "email", source="form", notice="none")
    fact = consents.give(ana, "email", source="form", notice=shown.id)
    told = consents.receipt(fact.id).to_dict()
    assert told["pii_processing"]["privacy_notice"]["text"] == said["text"]


def test_a_receipt_has_the_fields_of_the_standard(consents: Consents, ana: str) -> None:
    """ISO/IEC TS 27560: header, processing, parties, event."""
    shown = consents.notice(
        "marketing", "email", language="ro", version="1", text="Da", controller="Club SRL",
        recipients=["Mailer GmbH"], withdrawal="the link in each mail",
    )  # fmt: skip
    fact = consents.give(
        ana, "email", source="form", notice=shown.id, policy="2026-01", jurisdiction="RO",
        proof="form 12", address=MAIL, expires_at="2027-01-01T00:00:00Z",
    )  # fmt: skip
    told = consents.receipt(fact.id).to_dict()
    assert (told["record_id"], told["pii_principal_id"]) == (fact.id, ana)
    processing = dict(told["pii_processing"])
    assert processing.pop("privacy_notice")["version"] == "1"
    assert processing == {
        "policy_version": "2026-01", "language": "ro", "purpose": "marketing", "channel": "email",
        "address": MAIL, "lawful_basis": "consent", "collection_method": "form",
        "jurisdiction": "RO", "recipient_third_parties": ["Mailer GmbH"],
        "withdrawal_method": "the link in each mail",
    }  # fmt: skip
    assert told["party_identification"] == {"pii_controller": "Club SRL"}
    assert told["event"]["valid_until"] == "2027-01-01T00:00:00Z"
    assert told["event"]["evidence"] == "form 12"
    with pytest.raises(NotFound):
        consents.receipt("nothing")


def test_the_page_of_preferences(crm: CRMService, consents: Consents, ana: str) -> None:
    """Each purpose and channel once, with the newest text in the person's language."""
    for language, version in (("ro", "1"), ("en", "1"), ("ro", "2"), ("en", "2")):
        consents.notice(
            "marketing", "email", language=language, version=version, text=language + version
        )
    consents.give(ana, "email", source="form")
    consents.give(ana, "sms", source="form", purpose="reminders")
    crm.gdpr.object(ana, "reminders", channel="sms")
    mail, sms = consents.preferences(ana).lines
    assert (mail.purpose, mail.channel, mail.granted, mail.objected) == (
        "marketing", "email", True, False,
    )  # fmt: skip
    assert mail.notice is not None
    assert mail.notice.language == "ro"
    assert mail.address == "a•••@mail.com"
    assert (sms.channel, sms.granted, sms.objected, sms.notice) == ("sms", False, True, None)
    line = consents.preferences(ana, language="en").lines[0]
    assert line.notice is not None
    assert line.notice.language == "en"
    assert "mail.com" not in repr(mail)


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"proof": "x" * 1_001},
        {"address": "not an address"},
        {"address": "none"},
        {"at": "2100-01-01T00:00:00Z"},
        {"source": " "},
    ],
)
def test_wrong_details_are_refused(consents: Consents, ana: str, wrong: Any) -> None:
    with pytest.raises(InvalidInput):
        consents.give(ana, "email", **{"source": "form"} | wrong)
    assert consents.history(ana) == ()
