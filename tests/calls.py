"""Every public method once, by what it is asked about; of which each tenant must have its own."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from crmkit import CRMService, MemoryStorage, RetentionPolicy, Settings, presets
from crmkit.loyalty.rewards import Redeemed
from crmkit.testing.strategies import INSTANTS
from tests.populate import MARK, OTHERS, canary, profile

INACTIVE = RetentionPolicy(name="inactive", of="customers", after="36mo", notice="30d")
SETTINGS = Settings(region="RO", retention=[INACTIVE])
RULE = {"field": "email", "operator": "=", "value": "Canary.zqEmailzq@Mail.com"}
KEY = canary("key")


def _exported(crm: CRMService) -> list[str]:
    out = io.StringIO()
    crm.segments.analytics.export("by rule", out)
    return out.getvalue().splitlines()


def _portable() -> dict[str, Any]:
    """Somebody from elsewhere."""
    elsewhere = CRMService(MemoryStorage())
    somebody = elsewhere.find_or_create({"name": "Somebody"}).id
    elsewhere.track_activity(somebody, "visit")
    return elsewhere.gdpr.export(somebody, "portability").to_dict()


def _audited(crm: CRMService) -> list[str]:
    out = io.StringIO()
    crm.gdpr.audit.export(out)
    return out.getvalue().splitlines()


def _code(crm: CRMService) -> str:
    """The code of the tenant's own person."""
    (person,) = crm.customers.list().items[:1]
    return crm.loyalty.referrals.code(person.id)


# With the id of another tenant's customer, each of these finds nobody.
ABOUT_A_CUSTOMER: dict[str, Callable[[CRMService, str], object]] = {
    "customers.get": lambda crm, c: crm.customers.get(c),
    "customers.update": lambda crm, c: crm.customers.update(c, {"phone": "+40722000111"}),
    "customers.profile": lambda crm, c: crm.customers.profile(c),
    "customers.tags": lambda crm, c: crm.customers.tags(c),
    "customers.tag": lambda crm, c: crm.customers.tag(c, "x"),
    "customers.untag": lambda crm, c: crm.customers.untag(c, canary("tag")),
    "customers.add_note": lambda crm, c: crm.customers.add_note(c, "x", key=canary("key of note")),
    "customers.notes": lambda crm, c: crm.customers.notes(c),
    "identity.merges": lambda crm, c: crm.identity.merges(c),
    "activities.track": lambda crm, c: crm.activities.track(c, "visit", key=KEY),
    "activities.verify": lambda crm, c: crm.activities.verify(c),
    "activities.timeline": lambda crm, c: crm.activities.timeline(c),
    "activities.metrics": lambda crm, c: crm.activities.metrics(c),
    "activities.rebuild": lambda crm, c: crm.activities.rebuild(c),
    "insights.lifetime_value": lambda crm, c: crm.insights.lifetime_value(c),
    "insights.for_customer": lambda crm, c: crm.insights.for_customer(c),
    "insights.view": lambda crm, c: crm.insights.view(c),
    "insights.items": lambda crm, c: crm.insights.items(c),
    "insights.venues": lambda crm, c: crm.insights.venues(c),
    "insights.history": lambda crm, c: crm.insights.history(c),
    "insights.heatmap": lambda crm, c: crm.insights.heatmap(c),
    "insights.spend_series": lambda crm, c: crm.insights.spend_series(c),
    "insights.visit_series": lambda crm, c: crm.insights.visit_series(c),
    "insights.booking_series": lambda crm, c: crm.insights.booking_series(c),
    "standing.churn": lambda crm, c: crm.insights.standing.churn(c),
    "standing.rfm_of": lambda crm, c: crm.insights.standing.rfm_of(c),
    "standing.engagement": lambda crm, c: crm.insights.standing.engagement(c),
    "standing.response": lambda crm, c: crm.insights.standing.response(c),
    "standing.conversion": lambda crm, c: crm.insights.standing.conversion(c),
    "standing.pattern": lambda crm, c: crm.insights.standing.pattern(c),
    "standing.journey": lambda crm, c: crm.insights.standing.journey(c),
    "segments.is_member": lambda crm, c: crm.segments.is_member(c, "by hand"),
    "segments.explain": lambda crm, c: crm.segments.explain(c, "by rule"),
    "segments.segments_of": lambda crm, c: crm.segments.segments_of(c),
    "segments.add": lambda crm, c: crm.segments.add(c, "by hand"),
    "segments.remove": lambda crm, c: crm.segments.remove(c, "by hand"),
    "segments.keep_out": lambda crm, c: crm.segments.keep_out(c, "by rule"),
    "analytics.history": lambda crm, c: crm.segments.analytics.history(customer_id=c),
    "analytics.metadata": lambda crm, c: crm.segments.analytics.metadata(c),
    "loyalty.account": lambda crm, c: crm.loyalty.account(c),
    "loyalty.update_points": lambda crm, c: crm.loyalty.update_points(c, 1, reason="x"),
    "loyalty.history": lambda crm, c: crm.loyalty.history(c),
    "loyalty.expiring": lambda crm, c: crm.loyalty.expiring(c),
    "loyalty.preview": lambda crm, c: crm.loyalty.preview(c, "review"),
    "loyalty.progress": lambda crm, c: crm.loyalty.progress(c),
    "loyalty.tier_history": lambda crm, c: crm.loyalty.tier_history(c),
    "loyalty.set_tier": lambda crm, c: crm.loyalty.set_tier(c, "GOLD", reason="x"),
    "loyalty.enrol": lambda crm, c: crm.loyalty.enrol(c),
    "loyalty.redeem": lambda crm, c: crm.loyalty.redeem(c, "free_beverage"),
    "rewards.offers": lambda crm, c: crm.loyalty.rewards.offers(c),
    "rewards.history": lambda crm, c: crm.loyalty.rewards.history(c),
    "loyalty.leave": lambda crm, c: crm.loyalty.leave(c),
    "referrals.code": lambda crm, c: crm.loyalty.referrals.code(c),
    "referrals.accept": lambda crm, c: crm.loyalty.referrals.accept(c, _code(crm)),
    "referrals.of": lambda crm, c: crm.loyalty.referrals.of(c),
    "referrals.by": lambda crm, c: crm.loyalty.referrals.by(c),
    "referrals.count": lambda crm, c: crm.loyalty.referrals.count(c),
    "gdpr.export": lambda crm, c: crm.gdpr.export(c),
    "gdpr.export to take along": lambda crm, c: crm.gdpr.export(c, "portability"),
    "gdpr.erase": lambda crm, c: crm.gdpr.erase(c),
    "retention.hold": lambda crm, c: crm.gdpr.retention.hold(c, reason="x"),
    "retention.holds": lambda crm, c: crm.gdpr.retention.holds(c),
    "retention.noticed": lambda crm, c: crm.gdpr.retention.noticed(c, "inactive"),
    "gdpr.rectify": lambda crm, c: crm.gdpr.rectify(c, {"city": "Cluj"}, reason="x"),
    "gdpr.rectifications": lambda crm, c: crm.gdpr.rectifications(c),
    "requests.open": lambda crm, c: crm.gdpr.requests.open("access", c),
    "requests.of": lambda crm, c: crm.gdpr.requests.of(c),
    "audit.entries": lambda crm, c: crm.gdpr.audit.entries(customer_id=c),
    "consents.give": lambda crm, c: crm.gdpr.consents.give(c, "email", source="x"),
    "consents.withdraw": lambda crm, c: crm.gdpr.consents.withdraw(c, "email"),
    "consents.state": lambda crm, c: crm.gdpr.consents.state(c),
    "consents.history": lambda crm, c: crm.gdpr.consents.history(c),
    "consents.rely_on": lambda crm, c: crm.gdpr.consents.rely_on(
        c, "email", basis="contract", source="x"
    ),
    "consents.request": lambda crm, c: crm.gdpr.consents.request(c, "email", source="x"),
    "consents.preferences": lambda crm, c: crm.gdpr.consents.preferences(c),
    "consents.unsubscribe_token": lambda crm, c: crm.gdpr.consents.unsubscribe_token(c, "email"),
    "gdpr.object": lambda crm, c: crm.gdpr.object(c),
    "gdpr.restrict": lambda crm, c: crm.gdpr.restrict(c, reason="x"),
    "gdpr.lift": lambda crm, c: crm.gdpr.lift(c, reason="x"),
    "track_activity": lambda crm, c: crm.track_activity(c, "visit"),
    "add_to_segment": lambda crm, c: crm.add_to_segment(c, "by hand"),
    "get_lifetime_value": lambda crm, c: crm.get_lifetime_value(c),
}  # fmt: skip

# With the id of another tenant's activity, each of these finds nothing.
ABOUT_AN_ACTIVITY: dict[str, Callable[[CRMService, str], object]] = {
    "activities.get": lambda crm, a: crm.activities.get(a),
    "activities.void": lambda crm, a: crm.activities.void(a),
    "activities.refund": lambda crm, a: crm.activities.refund(a),
    "activities.amend": lambda crm, a: crm.activities.amend(a, {"channel": "door"}),
}

# With the id, or the code, of another tenant's redemption, each of these finds nothing.
ABOUT_A_REDEMPTION: dict[str, Callable[[CRMService, Redeemed], object]] = {
    "loyalty.fulfil": lambda crm, r: crm.loyalty.fulfil(redemption_id=r.id),
    "loyalty.fulfil by code": lambda crm, r: crm.loyalty.fulfil(r.code),
    "loyalty.cancel": lambda crm, r: crm.loyalty.cancel(r.id),
}

# With the id of another tenant's request, each of these finds nothing.
ABOUT_A_REQUEST: dict[str, Callable[[CRMService, str], object]] = {
    "requests.get": lambda crm, r: crm.gdpr.requests.get(r),
    "requests.verify": lambda crm, r: crm.gdpr.requests.verify(r),
    "requests.confirm": lambda crm, r: crm.gdpr.requests.confirm(r),
    "requests.extend": lambda crm, r: crm.gdpr.requests.extend(r, "x"),
    "requests.complete": lambda crm, r: crm.gdpr.requests.complete(r),
    "requests.refuse": lambda crm, r: crm.gdpr.requests.refuse(r, "x"),
}

# These are about nobody in particular: they answer, from their own tenant alone.
ABOUT_ALL: dict[str, Callable[[CRMService], object]] = {
    "customers.list": lambda crm: crm.customers.list(),
    "customers.search": lambda crm: crm.customers.search(MARK),
    "customers.reindex": lambda crm: crm.customers.reindex(),
    "identity.resolve": lambda crm: crm.identity.resolve(profile()),
    "identity.resolve_many": lambda crm: crm.identity.resolve_many([profile()]),
    "identity.duplicates": lambda crm: crm.identity.duplicates(),
    "identity.fit": lambda crm: crm.identity.fit(),
    "identity.model": lambda crm: crm.identity.model(),
    "identity.scan": lambda crm: crm.identity.scan(),
    "identity.merge_all": lambda crm: crm.identity.merge_all(0.5),
    "activities.rebuild": lambda crm: crm.activities.rebuild(),
    "activities.verify": lambda crm: crm.activities.verify(),
    "activities.track_many": lambda crm: crm.activities.track_many(
        [{"customer": profile(), "kind": "visit", "key": KEY}]
    ),
    "activities.sync": lambda crm: crm.activities.sync(
        [{"booking_id": KEY, "at": INSTANTS[0]}],
        {"id": "booking_id", "at": "at", "customer": {"email": lambda _: profile()["email"]}},
    ),
    "insights.bands": lambda crm: crm.insights.bands(),
    "insights.fit": lambda crm: crm.insights.fit(),
    "insights.values": lambda crm: list(crm.insights.values()),
    "insights.backtest": lambda crm: crm.insights.backtest("2025-11-01", 1),
    "insights.revenue_by_month": lambda crm: crm.insights.revenue_by_month(),
    "standing.refresh": lambda crm: crm.insights.standing.refresh(),
    "standing.models": lambda crm: crm.insights.standing.models(),
    "standing.churn_risks": lambda crm: list(crm.insights.standing.churn_risks()),
    "standing.rfm": lambda crm: list(crm.insights.standing.rfm()),
    "standing.cohorts": lambda crm: crm.insights.standing.cohorts(by="booking"),
    "standing.engagements": lambda crm: list(crm.insights.standing.engagements()),
    "standing.journeys": lambda crm: list(crm.insights.standing.journeys()),
    "reports.active": lambda crm: crm.reports.active().to_dict()["rows"],
    "reports.acquisition": lambda crm: crm.reports.acquisition(),
    "reports.channels": lambda crm: crm.reports.channels(),
    "reports.values": lambda crm: crm.reports.values(),
    "reports.retention": lambda crm: crm.reports.retention(),
    "reports.cohorts": lambda crm: crm.reports.cohorts(),
    "reports.segments": lambda crm: crm.reports.segments(),
    "reports.distribution": lambda crm: crm.reports.distribution(),
    "reports.consent": lambda crm: crm.reports.consent(),
    "consents.notice": lambda crm: crm.gdpr.consents.notice(
        "news", "sms", language="en", version="1", text="May we?"
    ),
    "gdpr.suppress": lambda crm: crm.gdpr.suppress("bo@mail.com", "email", kind="bounced"),
    "gdpr.suppressed": lambda crm: crm.gdpr.suppressed(OTHERS[0], "email"),
    "reports.birthdays": lambda crm: crm.reports.birthdays(),
    "reports.promoters": lambda crm: crm.reports.promoters(),
    "reports.visits": lambda crm: crm.reports.visits(),
    "reports.revenue": lambda crm: crm.reports.revenue(),
    "reports.items": lambda crm: crm.reports.items(),
    "reports.page": lambda crm: crm.reports.page(),
    "segments.create": lambda crm: crm.segments.create("another", RULE, auto_update=False),
    "segments.get": lambda crm: crm.segments.get("by hand"),
    "segments.list": lambda crm: crm.segments.list(),
    "segments.members": lambda crm: list(crm.segments.members("by rule")),
    "segments.members by hand": lambda crm: list(crm.segments.members("by hand")),
    "segments.members then": lambda crm: list(crm.segments.members("fixed", at=INSTANTS[0])),
    "segments.count": lambda crm: crm.segments.count("by rule"),
    "segments.change": lambda crm: crm.segments.change("by rule", description="ruled", rules=RULE),
    "segments.install": lambda crm: list(crm.segments.install(presets.nightclub())),
    "segments.preview": lambda crm: crm.segments.preview(RULE).count,
    "segments.verify": lambda crm: crm.segments.verify("by rule"),
    "segments.run_due": lambda crm: crm.segments.run_due(INSTANTS[0]),
    "analytics.overview": lambda crm: crm.segments.analytics.overview(),
    "analytics.customers": lambda crm: list(
        crm.segments.analytics.customers(crm.segments.analytics.overview().venue_preferences[0])
    ),
    "analytics.distribution": lambda crm: crm.segments.analytics.distribution().customers,
    "analytics.compare": lambda crm: crm.segments.analytics.compare("by rule", "fixed").both,
    "analytics.overlap": lambda crm: list(
        crm.segments.analytics.overlap(["by rule", "by hand"]).counts
    ),
    "analytics.growth": lambda crm: list(crm.segments.analytics.growth("fixed", INSTANTS[0])),
    "analytics.versions": lambda crm: [v.rules for v in crm.segments.analytics.versions("by rule")],
    "analytics.history of all": lambda crm: list(crm.segments.analytics.history("by rule")),
    "analytics.export": lambda crm: _exported(crm),
    "gdpr.verify_receipt": lambda crm: crm.gdpr.verify_receipt({}),
    "gdpr.replay_erasures": lambda crm: crm.gdpr.replay_erasures([]),
    "retention.preview": lambda crm: crm.gdpr.retention.preview(),
    "retention.run": lambda crm: crm.gdpr.retention.run(),
    "retention.notices": lambda crm: list(crm.gdpr.retention.notices()),
    "retention.holds of all": lambda crm: crm.gdpr.retention.holds(),
    "gdpr.import_portable": lambda crm: (
        crm.gdpr.import_portable(_portable(), same_controller=True).activities
    ),
    "requests.list": lambda crm: [r.id for r in crm.gdpr.requests.list()],
    "requests.due": lambda crm: [r.id for r in crm.gdpr.requests.due("1y")],
    "requests.overdue": lambda crm: [r.id for r in crm.gdpr.requests.overdue()],
    "loyalty.tiers": lambda crm: crm.loyalty.tiers(),
    "reports.liability": lambda crm: crm.loyalty.reports.liability().to_dict()["months"],
    "reports.points": lambda crm: crm.loyalty.reports.points().quantiles,
    "reports.tiers": lambda crm: [share.customers for share in crm.loyalty.reports.tiers().tiers],
    "reports.timeline": lambda crm: list(crm.loyalty.reports.timeline(INSTANTS[2]).counts),
    "reports.flow": lambda crm: list(crm.loyalty.reports.flow(INSTANTS[2]).counts),
    "audit.entries of all": lambda crm: [e.action for e in crm.gdpr.audit.entries()],
    "audit.seal": lambda crm: crm.gdpr.audit.seal(),
    "audit.export": lambda crm: _audited(crm),
    "audit.export_head": lambda crm: crm.gdpr.audit.export_head(),
    "audit.verify": lambda crm: crm.gdpr.audit.verify().entries,
    "audit.prune": lambda crm: crm.gdpr.audit.prune(INSTANTS[-1]),
    "gdpr.processing_record": lambda crm: list(crm.gdpr.processing_record().areas),
    "rewards.stock": lambda crm: crm.loyalty.rewards.stock(),
    "rewards.birthdays": lambda crm: list(crm.loyalty.rewards.birthdays(within="1y")),
    "find_or_create": lambda crm: crm.find_or_create(profile(), key=canary("key of resolve")),
    "find_or_create by phone": lambda crm: crm.find_or_create({"phone": "+40722987654"}),
    "run_due": lambda crm: crm.run_due(),
}
