"""What a type checker sees of the front door; mypy reads this file, nothing runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import assert_type

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from crmkit import CRMService, MemoryStorage, Money, Settings, presets
from crmkit.customers.profile import ConsentState, Profile
from crmkit.gdpr.export import Export
from crmkit.gdpr.permission import Permission
from crmkit.gdpr.receipts import ErasureReceipt
from crmkit.identity.service import Resolution
from crmkit.insights.lifetime import LifetimeValue
from crmkit.insights.service import Bands
from crmkit.insights.view import CustomerView
from crmkit.loyalty.standing import Account
from crmkit.model import (
    Activity,
    Consent,
    Customer,
    Metrics,
    Note,
    Page,
    PointsEntry,
    Preferences,
    Restriction,
    Segment,
)
from crmkit.segmentation.figures import CustomerMetadata, Overview, Stay, Step
from crmkit.service import DueRun


def made(engine: Engine, session: Session, connection: Connection) -> None:
    assert_type(CRMService("sqlite:///crm.db"), CRMService)
    assert_type(CRMService(MemoryStorage(), settings=Settings(), tenant="t"), CRMService)
    crm = CRMService(engine, clock=lambda: datetime.now(UTC), ids=lambda: "id")
    with crm.using(session) as in_session, crm.using(connection) as in_connection:
        assert_type(in_session, CRMService)
        assert_type(in_connection, CRMService)
    with crm as opened:
        assert_type(opened, CRMService)
    assert_type(crm.for_tenant("other"), CRMService)
    CRMService()  # type: ignore[call-arg]  # the storage is required
    CRMService(7)  # type: ignore[arg-type]
    CRMService(engine, Settings())  # type: ignore[call-arg]  # settings by name only


def the_front_door(crm: CRMService) -> None:
    customer = crm.find_or_create({"email": "client@exemplu.com", "name": "Ion Popescu"})
    assert_type(customer, Customer)
    payload = {"order_id": "ord_123", "amount": 150.00}
    fact = crm.track_activity(customer.id, "purchase", payload, at="2026-01-01T00:00:00Z", key="k")
    assert_type(fact, Activity)
    assert_type(fact.amount, Money | None)
    value = crm.get_lifetime_value(customer.id)
    assert_type(value, LifetimeValue)
    assert_type(value.historic, Money)
    assert_type(value.predicted, Money | None)
    assert_type(crm.run_due(), DueRun)
    crm.add_to_segment(customer.id, "vip")
    crm.track_activity(customer.id, "purchase", payload, "2026-01-01")  # type: ignore[call-arg]
    crm.find_or_create("client@exemplu.com")  # type: ignore[arg-type]
    customer.email = "x"  # type: ignore[misc]  # frozen


def the_namespaces(crm: CRMService, customer: Customer) -> None:
    assert_type(customer.email, str | None)
    assert_type(customer.preferences, Preferences)
    assert_type(customer.preferences.drinks, tuple[str, ...])
    assert_type(crm.customers.get("id"), Customer)
    page = crm.customers.list(limit=10)
    assert_type(page, Page[Customer])
    assert_type(page.next, str | None)
    assert_type(list(page), list[Customer])
    assert_type(crm.customers.profile("id"), Profile)
    assert_type(crm.customers.tags("id"), tuple[str, ...])
    assert_type(crm.customers.add_note("id", "x"), Note)
    assert_type(crm.customers.notes("id"), Page[Note])
    assert_type(crm.identity.resolve({}), Resolution)
    assert_type(crm.activities.timeline("id"), Page[Activity])
    assert_type(crm.activities.metrics("id"), Metrics)
    assert_type(crm.activities.rebuild(), int)
    assert_type(crm.insights.bands(), Bands)
    assert_type(crm.insights.for_customer("id").average_order_value, Money | None)
    assert_type(crm.insights.view("id"), CustomerView)
    assert_type(crm.insights.spend_series("id")[0].value, Money)
    assert_type(crm.insights.visit_series("id")[0].value, int)
    assert_type(crm.insights.bands().lifecycle, Mapping[str, int])
    assert_type(crm.segments.create("vip"), Segment)
    assert_type(crm.segments.members("vip"), Iterator[Customer])
    assert_type(crm.segments.count("vip"), int)
    assert_type(crm.segments.segments_of("id"), tuple[str, ...])
    assert_type(crm.segments.install(presets.nightclub(at_risk_days=45)), tuple[str, ...])
    analytics = crm.segments.analytics
    assert_type(analytics.overview(), Overview)
    assert_type(analytics.customers(analytics.overview().venue_preferences[0]), Page[Customer])
    assert_type(analytics.compare("vip", "new").jaccard, float | None)
    assert_type(analytics.growth("vip", "2026-01-01T00:00:00Z"), tuple[Step, ...])
    assert_type(analytics.history("vip"), Page[Stay])
    assert_type(analytics.metadata("id"), CustomerMetadata)
    assert_type(crm.loyalty.account("id"), Account)
    assert_type(crm.loyalty.update_points("id", 1, reason="x"), Account)
    assert_type(crm.loyalty.history("id"), Page[PointsEntry])
    assert_type(crm.gdpr.export("id"), Export)
    assert_type(crm.gdpr.erase("id"), ErasureReceipt)
    assert_type(crm.gdpr.consents.give("id", "email", source="form"), Consent)
    assert_type(crm.gdpr.consents.state("id"), ConsentState)
    assert_type(crm.gdpr.consents.may_contact("id", "email"), Permission)
    assert_type(crm.gdpr.consents.request("id", "email", source="form"), str)
    assert_type(crm.gdpr.restrict("id", reason="accuracy"), Restriction)
