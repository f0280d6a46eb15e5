"""`crm.loyalty.reports`: what a programme owes its customers, and how tiers are doing."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import itemgetter

from crmkit.errors import InvalidInput, unknown
from crmkit.loyalty.figures import (
    Due,
    Liability,
    PointsDistribution,
    TierDistribution,
    TierFlow,
    TierShare,
    TierTimeline,
    bands,
    quantiles,
)
from crmkit.loyalty.holdings import holdings
from crmkit.loyalty.periods import period
from crmkit.model import Customer, TierPeriod
from crmkit.model.time import FOREVER, instant
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import PERIODS, Programme

_PERIOD = ("customer_id", "since", "until", "rank")
_INSTANT = timedelta(microseconds=1)
_STEPS_MAX = 1_000

_Spans = Sequence[tuple[str, datetime, datetime, int]]


class LoyaltyReports:
    """Figures about one tenant's programmes, worked out at the instant that is asked about.

    Customers who were erased are no longer in them. Memory does not grow with customers.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def liability(
        self, *, at: datetime | str | None = None, programme: str | None = None
    ) -> Liability:
        """The points that customers hold at an instant, and when they expire.

        Also ahead of time: what will be left if nothing more happens.
        """
        of, when = self._rt.settings.programme_named(programme), self._rt.at(at)
        expiries: Counter[datetime] = Counter()
        usable = pending = debt = customers = owing = 0
        with self._rt.read() as uow:
            for holding in holdings(uow, of.name, when):
                for part in (holding.usable, holding.pending):
                    expiries.update(part)
                usable += sum(holding.usable.values())
                pending += sum(holding.pending.values())
                debt += holding.debt
                customers += bool(holding.usable or holding.pending)
                owing += bool(holding.debt)
        never = expiries.pop(FOREVER, 0)
        months: Counter[date] = Counter()
        for expires_at, points in expiries.items():
            months[self._last_month(expires_at)] += points
        return Liability(
            programme=of.name,
            at=when,
            usable=usable,
            pending=pending,
            debt=debt,
            customers=customers,
            owing=owing,
            months=tuple(Due(month, months[month]) for month in sorted(months)),
            never=never,
        )

    def points(
        self, *, at: datetime | str | None = None, programme: str | None = None
    ) -> PointsDistribution:
        """How points that can be used spread over the customers who have an account."""
        of, when = self._rt.settings.programme_named(programme), self._rt.at(at)
        with self._rt.read() as uow:
            balances = Counter(holding.balance for holding in holdings(uow, of.name, when))
        return PointsDistribution(
            programme=of.name,
            at=when,
            customers=balances.total(),
            points=sum(balance * n for balance, n in balances.items()),
            quantiles=quantiles(balances),
            bands=bands(balances),
        )

    def tiers(
        self, *, at: datetime | str | None = None, programme: str | None = None
    ) -> TierDistribution:
        """How many customers have each tier at an instant, and their shares."""
        of, when = self._rt.settings.programme_named(programme), self._rt.at(at)
        counts = self._counted(of, (when,))
        known = sum(row[0] for row in counts)
        return TierDistribution(
            programme=of.name,
            at=when,
            customers=known,
            tiers=tuple(
                TierShare(tier.name, row[0], row[0] / known if known else 0.0)
                for tier, row in zip(of.tiers, counts, strict=True)
            ),
        )

    def timeline(
        self,
        since: datetime | str,
        until: datetime | str | None = None,
        *,
        step: str = "month",
        programme: str | None = None,
    ) -> TierTimeline:
        """How many customers had each tier at the end of each local day, week, month … .

        The last of them ends at `until`, or now. Raises `InvalidInput` for more than 1,000
        steps.
        """
        of, start = self._rt.settings.programme_named(programme), instant(since, field="since")
        end = self._rt.now() if until is None else instant(until, field="until")
        moments = self._ends(start, end, step)
        return TierTimeline(
            programme=of.name,
            moments=moments,
            tiers=tuple(tier.name for tier in of.tiers),
            counts=self._counted(of, moments),
        )

    def flow(
        self,
        since: datetime | str,
        until: datetime | str | None = None,
        *,
        programme: str | None = None,
    ) -> TierFlow:
        """How customers moved between tiers from an instant until another, or now."""
        of, start = self._rt.settings.programme_named(programme), instant(since, field="since")
        end = self._rt.now() if until is None else instant(until, field="until")
        if start >= end:
            raise InvalidInput("expected an instant before 'until'", field="since")
        places = range(len(of.tiers))
        moved: Counter[tuple[int, int]] = Counter()
        came: Counter[int] = Counter()
        with self._rt.read() as uow:
            for created_at, spans in _customers(uow, of):
                if created_at <= start:
                    moved[_rank(of, spans, start), _rank(of, spans, end)] += 1
                elif created_at <= end:
                    came[_rank(of, spans, end)] += 1
        return TierFlow(
            programme=of.name,
            since=start,
            until=end,
            tiers=tuple(tier.name for tier in of.tiers),
            counts=tuple(tuple(moved[before, after] for after in places) for before in places),
            came=tuple(came[after] for after in places),
        )

    # --- parts ---

    def _last_month(self, expires_at: datetime) -> date:
        """The month of the last day on which they can be used."""
        return (expires_at - _INSTANT).astimezone(self._rt.settings.zone).date().replace(day=1)

    def _ends(self, since: datetime, until: datetime, step: str) -> tuple[datetime, ...]:
        if step not in PERIODS:
            raise InvalidInput(unknown("step", str(step), PERIODS), field="step")
        if since >= until:
            raise InvalidInput("expected an instant before 'until'", field="since")
        found: list[datetime] = []
        while since < until:
            if len(found) == _STEPS_MAX:
                raise InvalidInput(f"more than {_STEPS_MAX:,} steps", field="step")
            since = min(period(step, since, self._rt.settings.zone)[1], until)
            found.append(since)
        return tuple(found)

    def _counted(self, of: Programme, moments: Sequence[datetime]) -> tuple[tuple[int, ...], ...]:
        """How many customers had each tier at each instant."""
        counts = [[0] * len(moments) for _ in of.tiers]
        with self._rt.read() as uow:
            for created_at, spans in _customers(uow, of):
                for n in range(bisect_left(moments, created_at), len(moments)):
                    counts[_rank(of, spans, moments[n])][n] += 1
        return tuple(tuple(row) for row in counts)


def _customers(uow: UnitOfWork, of: Programme) -> Iterator[tuple[datetime, _Spans]]:
    """All customers: since when they are there, and their tiers; a page in memory at a time."""
    rows = uow.stream_rows(TierPeriod, _PERIOD, programme=of.name)
    grouped = ((owner, list(spans)) for owner, spans in groupby(rows, itemgetter(0)))
    owner, spans = next(grouped, ("", []))
    for customer_id, created_at in uow.stream_rows(Customer, ("id", "created_at")):
        while owner and owner < customer_id:
            owner, spans = next(grouped, ("", []))
        yield created_at, spans if owner == customer_id else ()


def _rank(of: Programme, spans: _Spans, at: datetime) -> int:
    """The place of a customer's tier at an instant."""
    for _, since, until, rank in spans:
        if since <= at < until:
            return min(rank, len(of.tiers) - 1)
    return 0
