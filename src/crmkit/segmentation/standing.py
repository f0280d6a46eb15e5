"""Where customers stand at an instant, a page of them at a time: in bands, and by preference."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import attrs

from crmkit.activities.metrics import Folded
from crmkit.config import Settings
from crmkit.insights.bands import frequency_band, lifecycle, spending_band
from crmkit.insights.habits import Choice, favourite
from crmkit.insights.reading import Asked, summary
from crmkit.model import Counter as Chosen
from crmkit.model import Customer, Metrics
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_PAGE = 500


def standings(
    uow: UnitOfWork,
    rt: Runtime,
    dimensions: Sequence[str],
    at: datetime,
    *,
    after: str | None = None,
) -> Iterator[tuple[str, Folded]]:
    """Who was known by an instant, in the order of their ids, with metrics and counters of then.

    Those that are kept, unless something came later: then all facts of that customer are read.
    """
    asked = Asked(at, None)
    while True:
        edge = None if after is None else (after,)
        page = uow.rows(Customer, ("id", "created_at"), after=edge, limit=_PAGE)
        kept = _kept(uow, tuple(row[0] for row in page), dimensions, asked)
        for customer_id, created_at in page:
            found = kept.get(customer_id) or summary(uow, rt, customer_id, asked)
            if min(created_at, found.metrics.first_activity_at or created_at) <= at:
                yield customer_id, found
        if len(page) < _PAGE:
            return
        after = page[-1][0]


def _kept(
    uow: UnitOfWork, ids: tuple[str, ...], dimensions: Sequence[str], asked: Asked
) -> Mapping[str, Folded]:
    """Those of whom nothing came after the instant."""
    metrics = uow.find(Metrics, customer_id=ids) if ids else []
    still = {m.customer_id: m for m in metrics if asked.is_cached(m)}
    chosen: dict[str, list[Chosen]] = defaultdict(list)
    if still:
        of = tuple(still)
        for row in uow.find(Chosen, customer_id=of, dimension=tuple(dimensions)):
            chosen[row.customer_id].append(row)
    return {c: Folded(m, chosen[c]) for c, m in still.items()}


def preferred(found: Folded, dimension: str, settings: Settings) -> Choice | None:
    """What a customer chose most of a dimension."""
    chosen = [c for c in found.counters if c.dimension == dimension]
    return favourite(chosen, settings.currency)


@attrs.define
class Tally:
    """How many customers stand where: by band and label, and by dimension and value."""

    settings: Settings
    at: datetime
    bands: dict[str, Counter[str]] = attrs.field(factory=lambda: defaultdict(Counter))
    choices: dict[str, Counter[str]] = attrs.field(factory=lambda: defaultdict(Counter))
    _names: dict[tuple[str, str], tuple[datetime, str]] = attrs.field(factory=dict)

    def band(self, metrics: Metrics) -> None:
        """Count a customer's bands."""
        of = self.settings
        self.bands["lifecycle"][lifecycle(metrics, self.at, of.lifecycle)] += 1
        spent = spending_band(metrics.spend_minor, of.currency, of.spending_bands)
        self.bands["spending"][spent] += 1
        self.bands["frequency"][frequency_band(metrics.bookings)] += 1

    def prefer(self, found: Folded, dimensions: Sequence[str]) -> None:
        """Count what a customer prefers."""
        for dimension in dimensions:
            most = preferred(found, dimension, self.settings)
            if most is None:
                continue
            self.choices[dimension][most.value] += 1
            named = (most.last_at or self.at, most.label)
            place = (dimension, most.value)
            self._names[place] = max(self._names.get(place, named), named)

    def label(self, dimension: str, value: str) -> str:
        """The name that a value bore last."""
        return self._names[dimension, value][1]
