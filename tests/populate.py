"""One customer with something personal in every place where something personal can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from crmkit import CRMService
from crmkit.model import Customer, DataKey, Preferences, catalogue
from crmkit.model.catalogue import SEAL
from crmkit.ports.storage import Storage

MARK = "zq"
"""Begins and ends each canary; nothing else that is stored has it twice."""

OTHERS = ("canary.zqemailzq@mail.com", "40722987654", "722 987 654", "1971-03-09", "1999-08-07")
"""Canaries whose form is not free."""


def canary(name: str) -> str:
    """A text that is found again wherever it was written."""
    return f"{MARK}{name}{MARK}"


def profile() -> dict[str, Any]:
    """Every field of a profile."""
    texts = "name first_name last_name nickname occupation address postal_code city source user_id"
    preferences = {
        a.name: [canary(a.name)]
        for a in attrs.fields(Preferences)
        if a.default == () and a.name != "preferred_days"
    }
    return {
        **{name: canary(name) for name in texts.split()},
        "email": "Canary.zqEmailzq@Mail.com",
        "phone": "+40 722 987 654",
        "instagram": f"@{canary('instagram')}",
        "instagram_followers": 12_345,
        "external_ids": {"pos": canary("external")},
        "social_handles": {canary("network"): canary("handle")},
        "gender": "F",
        "birth_date": "1971-03-09",
        "anniversary": "1999-08-07",
        "language": "ro",
        "country": "RO",
        "location": (44.4268, 26.1025),
        "timezone": "Europe/Bucharest",
        "photo_url": f"https://{canary('photo')}.example/a.jpg",
        "preferred_contact": "EMAIL",
        "communication": ["email"],
        "account_created_at": "2020-01-01T00:00:00Z",
        "custom": {canary("custom key"): canary("custom"), "deep": [{"a": canary("deep")}]},
        "metadata": {canary("metadata key"): canary("metadata")},
        "tags": [canary("first tag")],
        "consent": {"marketing_sms": True, "source": canary("source of consent")},
        "preferences": preferences
        | {
            "dress_style": canary("dress"),
            "special_requests": f"{canary('requests')}\nwith a second line",
            "preferred_days": ["fri"],
            "arrival": "late",
            "typical_arrival_time": "23:30",
            "promotion_response": "high",
            "social_engagement": "low",
            "always_same_drink": True,
            "prefers_table": True,
            "comes_alone": False,
            "average_group_size": 4,
            "people_brought": 3,
            "average_spending": 120,
            "conversion_score": 55,
        },
    }


def populate(crm: CRMService) -> str:
    """A customer about whom everything is known, and every kind of record; returns the id."""
    found = crm.find_or_create(profile(), key=canary("key of resolve"))
    crm.customers.update(found.id, {"city": canary("town")}, key=canary("key of update"))
    crm.customers.tag(found.id, canary("tag"), canary("gone tag"))
    crm.customers.untag(found.id, canary("gone tag"))
    crm.customers.add_note(
        found.id, f"{canary('note')}\nmore", kind="vip", author=canary("author"),
        key=canary("key of note"),
    )  # fmt: skip
    booking = {
        "booking_id": canary("booking"),
        "amount": 120.5,
        "type": "party",
        "item": "The Crypt",
        "venue": "Centre",
        "guest": {canary("payload key"): [canary("payload")]},
    }
    crm.track_activity(found.id, "booking", booking, at="2025-11-01T20:00:00Z", key=canary("key"))
    crm.track_activity(found.id, "completion", {"booking_id": canary("booking")})
    crm.track_activity(found.id, "refund", {"booking_id": canary("booking"), "amount": 20})
    crm.track_activity(found.id, "review", {"text": canary("review")})
    crm.track_activity(
        found.id, "support", {"topic": canary("call ahead")}, at="2100-01-01T00:00:00Z"
    )
    crm.loyalty.update_points(found.id, 50, reason=canary("reason"), key=canary("key of points"))
    crm.loyalty.update_points(found.id, -20, reason=canary("other reason"))
    crm.track_activity(found.id, "purchase", {"amount": 1_000})
    crm.loyalty.enrol(found.id, actor=canary("host"))
    crm.loyalty.set_tier(found.id, "VIP", reason=canary("reason of tier"), actor=canary("owner"))
    crm.loyalty.update_points(found.id, 1_000, reason="gift")
    made = crm.loyalty.redeem(
        found.id, "free_beverage", actor=canary("waiter"), key=canary("key of redeem")
    )
    crm.loyalty.cancel(made.id, reason=canary("reason of cancelling"), actor=canary("manager"))
    crm.gdpr.consents.give(
        found.id,
        "email",
        source=canary("form"),
        purpose=canary("purpose"),
        key=canary("key of yes"),
    )
    crm.gdpr.consents.withdraw(found.id, "sms", source=canary("call"), key=canary("key of no"))
    _permitted(crm, found.id)
    crm.add_to_segment(found.id, "by hand")
    everybody = {"field": "bookings", "operator": ">=", "value": 0}
    crm.segments.create("by rule", everybody)
    best = {"field": "total_bookings", "operator": "top_count", "value": 1}
    crm.segments.create("by rank", best)
    crm.segments.create("fixed", everybody, auto_update=False)
    other = crm.find_or_create({"name": canary("other name"), "tags": [canary("tag")]})
    crm.identity.merge(
        found.id, other.id, reason=canary("reason of merge"), actor=canary("actor of merge"),
        key=canary("key of merge"),
    )  # fmt: skip
    code = crm.loyalty.referrals.code(found.id)
    crm.loyalty.referrals.accept(found.id, code, key=canary("key of code"))
    held = crm.gdpr.retention.hold(found.id, reason=canary("claim"), actor=canary("lawyer"))
    crm.gdpr.retention.release(held.id)
    crm.gdpr.rectify(
        found.id, {"occupation": canary("trade")}, reason=canary("reason of rectifying"),
        actor=canary("clerk"), key=canary("key of rectifying"),
    )  # fmt: skip
    requests = crm.gdpr.requests
    asked = requests.open(
        "access", found.id, contact=canary("contact"), details=canary("details"),
        key=canary("key of request"),
    )  # fmt: skip
    requests.extend(asked.id, canary("reason of extending"))
    requests.complete(asked.id, canary("outcome"))
    crm.identity.fit()
    crm.insights.fit()
    crm.insights.standing.refresh()
    with crm.gdpr.audit.acting("staff:7", reason=canary("reason of looking"), via="desk"):
        crm.gdpr.export(found.id)
    crm.gdpr.audit.seal()
    return found.id


def _permitted(crm: CRMService, customer_id: str) -> None:
    """Every kind of word on being contacted, and what stood against it."""
    consents = crm.gdpr.consents
    shown = consents.notice(
        "news", "email", language="en", version="1", text="May we?", controller="Club",
        recipients=["Mailer"], withdrawal="the link in each mail",
    )  # fmt: skip
    address = f"{canary('address')}@mail.com"
    asked = consents.request(
        customer_id, "email", source=canary("source of request"), purpose="news",
        address=address, notice=shown.id, policy="1", language="en", jurisdiction="RO",
        proof=canary("proof"),
    )  # fmt: skip
    consents.confirm(asked, expires_at="2100-01-01T00:00:00Z")
    consents.rely_on(customer_id, "email", basis="contract", source="b1", purpose=canary("basis"))
    crm.gdpr.object(customer_id, canary("objected"), channel="sms", source=canary("call of no"))
    consents.give(customer_id, "sms", source="x", purpose=canary("objected"), fresh=True)
    crm.gdpr.suppress(address, "email", kind="bounced", purpose=canary("suppressed"))
    crm.gdpr.restrict(customer_id, reason=canary("restriction"), actor=canary("lawyer"))
    crm.gdpr.lift(customer_id, reason=canary("lifting"), actor=canary("judge"))


def rows(storage: Storage, tenant: str) -> dict[str, list[dict[str, Any]]]:
    """All that a tenant's records hold, by table, whatever the storage; but for keys."""
    held: dict[str, list[dict[str, Any]]] = {}
    with storage.read(tenant) as uow:
        for entry in (e for e in catalogue() if e.record is not DataKey):
            records: Iterator[Any] = uow.stream(entry.record)
            held[entry.table] = [values(record) for record in records]
    return held


def values(record: Any) -> dict[str, Any]:
    """The values of a record's fields, by name; of nested records too."""
    return attrs.asdict(record)


def is_filled(customer: Customer) -> dict[str, bool]:
    """Which of the customer's fields hold something."""
    held = values(customer) | values(customer.preferences)
    return {name: value not in (None, (), {}) for name, value in held.items() if name != SEAL}
