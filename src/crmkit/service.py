"""`CRMService`: where features and adapters meet. The front-door methods only delegate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from crmkit.config import Settings
from crmkit.errors import InvalidInput
from crmkit.model import Activity, Customer
from crmkit.model.document import text
from crmkit.model.ids import TimeOrderedIds
from crmkit.ports.events import (
    ActivitiesAnonymised,
    ConsentChanged,
    ConsentStated,
    CustomerErased,
    CustomersMerged,
    Events,
    MergeUndone,
    NumbersCorrected,
    PointsChanged,
    ProfileChanged,
    ScoresRefreshed,
)
from crmkit.ports.keys import Keys, StoredKey
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import Storage, UnitOfWork

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

    from crmkit.activities.service import Activities
    from crmkit.adapters.encryption import KeyRing
    from crmkit.customers.service import Customers
    from crmkit.gdpr.service import Privacy
    from crmkit.identity.service import Identities
    from crmkit.insights.lifetime import LifetimeValue
    from crmkit.insights.service import Insights
    from crmkit.loyalty.service import Loyalty
    from crmkit.reporting.service import Reports
    from crmkit.segmentation.service import Segments


@attrs.frozen
class DueRun:
    """What `run_due` did: how many things had become due by `at`."""

    at: datetime
    done: int


class CRMService:
    """A CRM inside the host's own database.

    `storage` is a URL (``sqlite:///crm.db``, ``postgresql://…``), a SQLAlchemy Engine, or
    any storage that passes `crmkit.testing.StorageContract`. `clock` returns an aware
    datetime and `ids` unique sortable text; the defaults are the system's clock and UUIDv7. With
    a `KeyRing` as `keys` what is personal is sealed wherever it is stored; without one, keyed
    hashes are made with a random key kept in the database. One service may be shared by all
    threads of a process.
    """

    def __init__(
        self,
        storage: str | Engine | Storage,
        *,
        settings: Settings | None = None,
        clock: Callable[[], datetime] | None = None,
        ids: Callable[[], str] | None = None,
        keys: KeyRing | Keys | None = None,
        tenant: str = "default",
    ) -> None:
        opened, hashing = _with_keys(_opened(storage), keys)
        self._opened = True
        self._runtime = Runtime(
            storage=opened,
            tenant=_tenant(tenant),
            settings=settings or Settings(),
            clock=clock or _utc_now,
            new_id=ids or TimeOrderedIds(),
            keys=hashing,
            events=self._events(),
        )
        self._audit()
        self._check_conditions()

    def _audit(self) -> None:
        """See that the storage is audited as the settings say."""
        rt = self._runtime
        if rt.settings.audit != "acts" or hasattr(rt.storage, "unaudited"):
            from crmkit.adapters.audited import audited
            from crmkit.gdpr.auditing import Scribe

            storage = audited(rt.storage, rt.settings.audit, Scribe.of(rt))
            self._runtime = attrs.evolve(rt, storage=storage)

    def _check_conditions(self) -> None:
        """Rules that programmes carry are checked at once, not when somebody first asks."""
        if any(True for programme in self.settings.programmes for _ in programme.conditions):
            from crmkit.segmentation.conditions import check

            check(self._runtime)

    def _events(self) -> Events:
        """Who hears of what, in this order."""
        # What `import crmkit` can do without is imported when it is asked for.
        from crmkit.activities.recording import StoriesChanged

        return Events(
            {
                StoriesChanged: (
                    lambda uow, e: self.loyalty.keeper.on_stories(uow, e),
                    lambda uow, e: self.segments.keeper.on_stories(uow, e),
                ),
                ProfileChanged: (lambda uow, e: self.segments.keeper.on_profile(uow, e),),
                ConsentChanged: (
                    lambda uow, e: self.segments.keeper.on_consent(uow, e),
                    lambda uow, e: self.gdpr.audit.on_consent(uow, e),
                ),
                PointsChanged: (lambda uow, e: self.segments.keeper.on_points(uow, e),),
                ScoresRefreshed: (lambda uow, e: self.segments.keeper.on_scores(uow, e),),
                ConsentStated: (lambda uow, e: self.gdpr.consents.on_stated(uow, e),),
                CustomerErased: (
                    lambda uow, e: self.gdpr.consents.on_erased(uow, e),
                    lambda uow, e: self.segments.keeper.on_erased(uow, e),
                    lambda uow, e: self.gdpr.audit.on_erased(uow, e),
                ),
                NumbersCorrected: (lambda uow, e: self.segments.keeper.on_corrected(uow, e),),
                ActivitiesAnonymised: (
                    lambda uow, e: self.loyalty.keeper.on_anonymised(uow, e),
                    lambda uow, e: self.segments.keeper.on_anonymised(uow, e),
                ),
                CustomersMerged: (
                    lambda uow, e: self.activities.on_merged(uow, e),
                    lambda uow, e: self.loyalty.keeper.on_merged(uow, e),
                    lambda uow, e: self.gdpr.consents.on_merged(uow, e),
                    lambda uow, e: self.segments.keeper.on_merged(uow, e),
                    lambda uow, e: self.gdpr.audit.on_merged(uow, e),
                    lambda uow, e: self.gdpr.holders.on_merged(uow, e),
                ),
                MergeUndone: (
                    lambda uow, e: self.activities.on_undone(uow, e),
                    lambda uow, e: self.loyalty.keeper.on_undone(uow, e),
                    lambda uow, e: self.gdpr.consents.on_undone(uow, e),
                    lambda uow, e: self.gdpr.retention.on_undone(uow, e),
                    lambda uow, e: self.segments.keeper.on_undone(uow, e),
                    lambda uow, e: self.gdpr.audit.on_undone(uow, e),
                    lambda uow, e: self.gdpr.holders.on_undone(uow, e),
                ),
            }
        )

    @cached_property
    def customers(self) -> Customers:
        """Profiles, tags and notes."""
        from crmkit.customers.profile import ProfileSources
        from crmkit.customers.service import Customers

        return Customers(
            self._runtime,
            ProfileSources(
                segments=lambda uow, cid, at: self.segments.names(uow, cid, at),
                lifetime_value=lambda uow, cid, _: self.insights.historic(uow, cid),
                consent=lambda uow, cid: self.gdpr.consents.standing(uow, cid),
            ),
        )

    @cached_property
    def identity(self) -> Identities:
        """Finding the customer that data speaks of."""
        from crmkit.identity.service import Identities

        return Identities(self._runtime)

    @cached_property
    def activities(self) -> Activities:
        """What customers did, and their metrics."""
        from crmkit.activities.service import Activities
        from crmkit.identity.service import ManyAtOnce

        return Activities(self._runtime, ManyAtOnce(self.identity))

    @cached_property
    def insights(self) -> Insights:
        """What customers are worth, and where they stand."""
        from crmkit.insights.service import Insights
        from crmkit.insights.view import ViewSources

        return Insights(
            self._runtime,
            ViewSources(
                segments=lambda uow, cid, at: self.segments.names(uow, cid, at),
                consent=lambda uow, cid: self.gdpr.consents.standing(uow, cid),
                loyalty=lambda uow, cid: self.loyalty.standing(uow, cid),
            ),
        )

    @cached_property
    def segments(self) -> Segments:
        """Sets of customers by rule or by hand."""
        from crmkit.segmentation.service import Segments

        return Segments(self._runtime)

    @cached_property
    def loyalty(self) -> Loyalty:
        """Points, tiers and rewards."""
        from crmkit.loyalty.service import Loyalty

        return Loyalty(self._runtime, self._fits)

    def _fits(
        self, uow: UnitOfWork, rules: Mapping[str, Any], customer_id: str, at: datetime
    ) -> bool:
        from crmkit.segmentation.conditions import fits

        return fits(uow, self._runtime, rules, customer_id, at)

    @cached_property
    def gdpr(self) -> Privacy:
        """Consent, export and erasure."""
        from crmkit.gdpr.exporting import ExportSources
        from crmkit.gdpr.service import Privacy

        return Privacy(
            self._runtime,
            ExportSources(
                segments=lambda uow, cid, at: self.segments.names(uow, cid, at),
                lifetime_value=lambda uow, cid, _: self.insights.historic(uow, cid),
            ),
        )

    @cached_property
    def reports(self) -> Reports:
        """What the customers look like together."""
        from crmkit.reporting.service import Reports, ReportSources

        return Reports(
            self._runtime,
            ReportSources(
                insights=self.insights,
                analytics=self.segments.analytics,
                tiers=lambda at: self.loyalty.tiers(at=at),
            ),
        )

    @property
    def tenant(self) -> str:
        """The tenant this service speaks for."""
        return self._runtime.tenant

    @property
    def settings(self) -> Settings:
        """The settings this service runs with."""
        return self._runtime.settings

    def find_or_create(
        self,
        data: Mapping[str, Any],
        *,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Customer:
        """The customer with any of these identifiers, or a new one.

        Short for ``crm.identity.resolve(data).customer``; see there.
        """
        return self.identity.resolve(data, at=at, key=key).customer

    def track_activity(
        self,
        customer_id: str,
        kind: str,
        payload: Mapping[str, Any] | None = None,
        *,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Activity:
        """Record that something happened; see `crm.activities.track`."""
        return self.activities.track(customer_id, kind, payload, at=at, key=key)

    def add_to_segment(self, customer_id: str, segment: str) -> None:
        """Put a customer into a segment by hand; see `crm.segments.add`."""
        self.segments.add(customer_id, segment)

    def get_lifetime_value(
        self,
        customer_id: str,
        *,
        horizon_days: int | None = None,
        at: datetime | str | None = None,
        discount_rate: float = 0.0,
    ) -> LifetimeValue:
        """What the customer is worth; see `crm.insights.lifetime_value`."""
        return self.insights.lifetime_value(
            customer_id, horizon_days=horizon_days, at=at, discount_rate=discount_rate
        )

    @contextmanager
    def using(self, lent: Session | Connection) -> Iterator[CRMService]:
        """A service whose calls are part of the host's transaction.

        crmkit never commits it. If the host rolls back, nothing of crmkit remains; if a
        call fails, its own writes are undone and the host's transaction goes on.
        """
        with self._runtime.storage.using(lent) as storage:
            yield self._with(storage=storage, keys=_keys_of(storage) or self._runtime.keys)

    def for_tenant(self, tenant: str, *, settings: Settings | None = None) -> CRMService:
        """The service of another tenant in the same storage."""
        return self._with(tenant=_tenant(tenant), settings=settings or self.settings)

    def run_due(
        self,
        now: datetime | str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> DueRun:
        """Do everything that time has made due; idempotent, for any scheduler to call.

        Customers come into segments and leave them by time alone: each at its own instant,
        however late the run is. Answers never wait for it; history and events do. A model of
        value that is older than `Settings.value.refit_days` is fitted anew. Policies of
        retention are carried out once a day, and who had asked about their data is forgotten when
        `Settings.privacy` says so. Rows of the audit that wait for it are sealed.
        """
        from crmkit.gdpr.auditing import unless_named

        moment = min(self._runtime.at(now), self._runtime.now())
        with unless_named("system", via="run_due"):
            done = self.loyalty.run_due(moment, progress)
            done += self.segments.run_due(moment, progress)
            if self.settings.retention:
                done += self.gdpr.retention.run_due(moment, progress)
            done += self.gdpr.run_due(moment)
            done += self.insights.run_due(moment)
            self.gdpr.audit.run_due()
        return DueRun(moment, done)

    def close(self) -> None:
        """Close what this service opened; a host's engine is left alone.

        What `for_tenant` and `using` gave is closed with the service that gave it.
        """
        if self._opened:
            self._runtime.storage.close()

    def _with(self, **changes: Any) -> CRMService:
        other = object.__new__(type(self))
        other._opened = False
        other._runtime = attrs.evolve(self._runtime, events=other._events(), **changes)
        if "settings" in changes:
            other._audit()
            other._check_conditions()
        return other

    def __enter__(self) -> CRMService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CRMService({self._runtime.storage!r}, tenant={self.tenant!r})"


def _opened(storage: str | Engine | Storage) -> Storage:
    """The storage behind what the host gave; SQLAlchemy is imported only where it is used."""
    if isinstance(storage, Storage):
        return storage
    if isinstance(storage, str) or hasattr(storage, "raw_connection"):
        from crmkit.adapters.sql import SqlStorage

        return SqlStorage.open(storage) if isinstance(storage, str) else SqlStorage(storage)
    raise InvalidInput("expected a URL, a SQLAlchemy Engine or a Storage", field="storage")


def _with_keys(storage: Storage, keys: KeyRing | Keys | None) -> tuple[Storage, Keys]:
    """The storage as features see it, and what makes their keyed hashes."""
    if keys is not None and not isinstance(keys, Keys):
        from crmkit.adapters.encryption import EncryptedStorage

        storage, keys = EncryptedStorage(storage, keys), None
    return storage, _keys_of(storage) or keys or StoredKey(storage.secret)


def _keys_of(storage: Storage) -> Keys | None:
    """What hashes for a storage that seals, whatever is around it."""
    found: Keys | None = getattr(storage, "keys", None)
    return found


def _tenant(name: str) -> str:
    checked = text(name, field="tenant", limit=100)
    if checked is None:
        raise InvalidInput("expected some text", field="tenant")
    return checked


def _utc_now() -> datetime:
    return datetime.now(UTC)
