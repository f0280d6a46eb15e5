"""What reports tell of a programme; pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any, Final

import attrs

from crmkit.model.time import iso

QUANTILES: Final = (10, 25, 50, 75, 90, 99)
"""In percent."""
BANDS: Final = (1, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
"""From how many points on each band begins."""


@attrs.frozen
class Due:
    """Points that expire in a local month, given by its first day, unless they are used before."""

    month: date
    points: int


@attrs.frozen(kw_only=True)
class Liability:
    """The points that customers hold at an instant.

    `usable` can be used, `pending` cannot yet; together they are `outstanding`, of which
    `months` tells when they expire, and `never` what does not. `debt` is owed by customers;
    ``usable - debt`` is the sum of all balances. `customers` hold points, `owing` owe some.
    """

    programme: str
    at: datetime
    usable: int
    pending: int
    debt: int
    customers: int
    owing: int
    months: tuple[Due, ...]
    never: int

    @property
    def outstanding(self) -> int:
        """All points that are still to be used."""
        return self.usable + self.pending

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "programme": self.programme,
            "at": iso(self.at),
            "outstanding": self.outstanding,
            "usable": self.usable,
            "pending": self.pending,
            "debt": self.debt,
            "customers": self.customers,
            "owing": self.owing,
            "months": {f"{due.month:%Y-%m}": due.points for due in self.months},
            "never": self.never,
        }

    def to_csv(self) -> str:
        """A line for each month of expiry, and one for what never expires."""
        rows = [(f"{due.month:%Y-%m}", due.points) for due in self.months]
        return _sheet(("expires", "points"), [*rows, ("never", self.never)])


@attrs.frozen
class TierShare:
    """How many customers have a tier, and which share of all that is, from 0 to 1."""

    tier: str
    customers: int
    share: float


@attrs.frozen(kw_only=True)
class TierDistribution:
    """How the customers that there are at an instant spread over the tiers, the first first."""

    programme: str
    at: datetime
    customers: int
    tiers: tuple[TierShare, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "programme": self.programme,
            "at": iso(self.at),
            "customers": self.customers,
            "tiers": {share.tier: share.customers for share in self.tiers},
        }

    def to_csv(self) -> str:
        """A line for each tier."""
        rows = [(share.tier, share.customers, share.share) for share in self.tiers]
        return _sheet(("tier", "customers", "share"), rows)


@attrs.frozen
class Band:
    """How many accounts hold from `least` up to less than `below` points; None is no bound."""

    least: int | None
    below: int | None
    customers: int

    @property
    def label(self) -> str:
        """The band in words."""
        if self.least is None:
            return "owing"
        if self.below is None:
            return f"{self.least:,}+"
        if self.below == self.least + 1:
            return f"{self.least:,}"
        return f"{self.least:,}\N{EN DASH}{self.below - 1:,}"


@attrs.frozen(kw_only=True)
class PointsDistribution:
    """How points spread over the customers who have an account.

    `quantiles` tells for each percentage the least balance such that so many percent of the
    customers have no more; empty without customers. `bands` counts them by balance: who
    owes, who has none, and so on.
    """

    programme: str
    at: datetime
    customers: int
    points: int
    quantiles: Mapping[int, int]
    bands: tuple[Band, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "programme": self.programme,
            "at": iso(self.at),
            "customers": self.customers,
            "points": self.points,
            "quantiles": {str(percent): n for percent, n in self.quantiles.items()},
            "bands": {band.label: band.customers for band in self.bands},
        }

    def to_csv(self) -> str:
        """A line for each band."""
        rows = [(band.label, band.customers) for band in self.bands]
        return _sheet(("points", "customers"), rows)


@attrs.frozen(kw_only=True)
class TierFlow:
    """How customers moved between tiers from one instant to another.

    `counts` has a row for each tier at `since` and a column for each at `until`; `came` tells
    the tiers at `until` of customers who were not there at `since`.
    """

    programme: str
    since: datetime
    until: datetime
    tiers: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    came: tuple[int, ...]

    @property
    def rose(self) -> int:
        """How many have a higher tier than they had."""
        return sum(sum(row[n + 1 :]) for n, row in enumerate(self.counts))

    @property
    def fell(self) -> int:
        """How many have a lower one."""
        return sum(sum(row[:n]) for n, row in enumerate(self.counts))

    @property
    def stayed(self) -> int:
        """How many have the same."""
        return sum(row[n] for n, row in enumerate(self.counts))

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "programme": self.programme,
            "since": iso(self.since),
            "until": iso(self.until),
            "rose": self.rose,
            "fell": self.fell,
            "stayed": self.stayed,
            "came": dict(zip(self.tiers, self.came, strict=True)),
            "counts": {
                before: dict(zip(self.tiers, row, strict=True))
                for before, row in zip(self.tiers, self.counts, strict=True)
            },
        }

    def to_csv(self) -> str:
        """A line for each pair of tiers; who came has none before."""
        rows = [(before, *row) for before, row in zip(self.tiers, self.counts, strict=True)]
        return _sheet(("from", *self.tiers), [*rows, ("", *self.came)])


@attrs.frozen(kw_only=True)
class TierTimeline:
    """How many customers had each tier at instants, one after the other.

    `counts` has a row for each tier, the first first, and a column for each of `moments`.
    """

    programme: str
    moments: tuple[datetime, ...]
    tiers: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "programme": self.programme,
            "moments": [iso(moment) for moment in self.moments],
            "tiers": {tier: list(row) for tier, row in zip(self.tiers, self.counts, strict=True)},
        }

    def to_csv(self) -> str:
        """A line for each instant."""
        columns = zip(*self.counts, strict=True)
        rows = [(iso(at), *counts) for at, counts in zip(self.moments, columns, strict=True)]
        return _sheet(("at", *self.tiers), rows)


def quantiles(balances: Mapping[int, int]) -> dict[int, int]:
    """The least balance that so many percent of the customers do not exceed (nearest rank).

    `balances` tells how many customers have each.
    """
    total, found, seen = sum(balances.values()), dict[int, int](), 0
    for balance in sorted(balances):
        seen += balances[balance]
        for percent in QUANTILES:
            if percent not in found and 100 * seen >= percent * total:
                found[percent] = balance
    return found


def bands(balances: Mapping[int, int]) -> tuple[Band, ...]:
    """How many customers hold how much: who owes, who has nothing, and those who have some."""
    edges: Sequence[int | None] = (None, 0, *BANDS, None)
    return tuple(
        Band(least, below, sum(n for b, n in balances.items() if _within(b, least, below)))
        for least, below in pairwise(edges)
    )


def _within(balance: int, least: int | None, below: int | None) -> bool:
    return (least is None or least <= balance) and (below is None or balance < below)


def _sheet(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    sheet = csv.writer(out, lineterminator="\n")
    sheet.writerow(heads)
    sheet.writerows(rows)
    return out.getvalue()
