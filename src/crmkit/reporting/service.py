"""`crm.reports`: what the customers of a place look like together."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

import attrs

from crmkit.activities.dimensions import local
from crmkit.errors import InvalidInput, unknown
from crmkit.gdpr.consent_state import said_by, state
from crmkit.insights.buying import happened
from crmkit.insights.habits import WEEKDAYS
from crmkit.insights.modelling import model_at
from crmkit.insights.reading import Asked
from crmkit.insights.service import Insights
from crmkit.insights.value.churn import CHURN_BANDS
from crmkit.insights.value.journey import JOURNEY_STAGES
from crmkit.insights.value.rfm import RFM_GROUPS
from crmkit.model import Consent, Customer, Money
from crmkit.model import Counter as Tally
from crmkit.model.money import to_minor
from crmkit.model.time import instant, next_anniversary
from crmkit.ports.runtime import Runtime
from crmkit.reporting.coming import Coming, month_of, months_up_to
from crmkit.reporting.page import Figure, Figures, Page, Section
from crmkit.reporting.reading import (
    Worth,
    chosen,
    days_come,
    names,
    paged,
    people,
    promoted,
    worth,
)
from crmkit.reporting.report import Cell, Report, picture
from crmkit.segmentation.analytics import SegmentAnalytics

WINDOWS: Final = (30, 60, 90)
DISTRIBUTIONS: Final = ("lifecycle", "spending", "frequency", "tier", "journey", "rfm", "churn")

_CHANNELS: Final = "source customers buyers spent average predicted cost return"
_DAY: Final = timedelta(days=1)
_MICROSECOND: Final = timedelta(microseconds=1)


@attrs.frozen
class ReportSources:
    """Where reports read what other features know."""

    insights: Insights
    analytics: SegmentAnalytics
    tiers: Callable[[datetime], Mapping[str, int]]


class Reports:
    """Reports about all of one tenant's customers.

    Each is worked out when it is asked for, a page of customers in memory at a time.
    """

    def __init__(self, runtime: Runtime, sources: ReportSources) -> None:
        self._rt = runtime
        self._of = sources

    def active(self, *, at: datetime | str | None = None) -> Report:
        """Customers who booked, ordered or visited within 30, 60 and 90 days, and ever."""
        asked, known, ever = Asked.of(self._rt, at), 0, 0
        counts: Counter[int] = Counter()
        for person in people(self._rt, asked):
            known += 1
            if person.last_at is not None:
                ever += 1
                silent = asked.at - person.last_at
                counts.update(days for days in WINDOWS if silent < days * _DAY)
        rows = [(f"{days} days", counts[days], _share(counts[days], known)) for days in WINDOWS]
        rows.append(("ever", ever, _share(ever, known)))
        return Report(
            name="active",
            title="Active customers",
            at=asked.at,
            columns=("within", "customers", "share"),
            rows=rows,
            shares=("share",),
            figures=(("Customers", known),),
            picture=picture("bars", [r[0] for r in rows], ("customers", [r[1] for r in rows])),
            note="Who booked, ordered or visited.",
        )

    def acquisition(self, *, at: datetime | str | None = None, months: int = 12) -> Report:
        """New customers, first orders and referrals by month, up to that of the instant.

        A customer is new when they were first heard of.
        """
        asked = Asked.of(self._rt, at)
        named = months_up_to(self._today(asked), months)
        new: Counter[str] = Counter()
        ordered: Counter[str] = Counter()
        for person in people(self._rt, asked):
            new[self._month(person.since)] += 1
            if person.first_order_at is not None:
                ordered[self._month(person.first_order_at)] += 1
        kinds = [k.name for k in self._rt.settings.kinds if "referrals" in k.counts]
        referrals = Counter(
            self._month(when)
            for when in paged(
                self._rt, lambda uow, ids: [r[2] for r in happened(uow, asked.at, ids, kinds)]
            )
        )
        rows = [(month, new[month], ordered[month], referrals[month]) for month in named]
        return Report(
            name="acquisition",
            title="New customers",
            at=asked.at,
            columns=("month", "new_customers", "first_orders", "referrals"),
            rows=rows,
            figures=(("New this month", new[named[-1]]),),
            picture=picture("columns", named, ("new customers", [new[m] for m in named])),
        )

    def channels(
        self, *, at: datetime | str | None = None, costs: Mapping[str, object] | None = None
    ) -> Report:
        """Customers and what they spent by where they came from, and the return on its cost.

        `costs` are what was spent on each source, in major units; the return is what came in
        beyond the cost over the cost. Where a model was fitted, what is predicted is told too.
        """
        asked, currency = Asked.of(self._rt, at), self._rt.settings.currency
        spent_on = {
            name: to_minor(cost, currency, field=f"costs.{name}")
            for name, cost in (costs or {}).items()
        }
        sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
        sources: dict[str, str] = {}
        for person in people(self._rt, asked):
            told = sums[person.source]
            told.update(customers=1, spent=person.spent_minor)
            told["buyers"] += person.first_order_at is not None
            sources[person.id] = person.source
        modelled = self._modelled(asked)
        if modelled:
            for value in worth(self._rt, asked):
                sums[sources[value.customer_id]]["predicted"] += value.predicted_minor or 0
        order = sorted({*sums, *spent_on}, key=lambda s: (-sums[s]["spent"], s))
        rows = []
        for source in order:
            told, cost = sums[source], spent_on.get(source)
            rows.append(
                (
                    source,
                    told["customers"],
                    told["buyers"],
                    self._amount(told["spent"]),
                    self._average(told["spent"], told["customers"]),
                    self._amount(told["predicted"]) if modelled else None,
                    None if cost is None else self._amount(cost),
                    (told["spent"] - cost) / cost if cost else None,
                )
            )
        return Report(
            name="channels",
            title="Customers by source",
            at=asked.at,
            columns=tuple(_CHANNELS.split()),
            rows=rows,
            shares=("return",),
            picture=picture("parts", order, ("customers", [row[1] for row in rows])),
        )

    def values(self, *, at: datetime | str | None = None, top: int = 10) -> Report:
        """Who is worth most, spent and predicted together, and the averages of all who bought."""
        asked = Asked.of(self._rt, at)
        count, sums = _checked(top, 1_000, "top"), Counter[str]()

        def told() -> Iterable[Worth]:
            for value in worth(self._rt, asked):
                sums.update(buyers=1, spent=value.spent_minor, predicted=value.predicted_minor or 0)
                yield value

        best = heapq.nsmallest(count, told(), key=lambda v: (-v.total_minor, v.customer_id))
        modelled, called = self._modelled(asked), names(self._rt, [v.customer_id for v in best])
        rows = [
            (
                value.customer_id,
                called.get(value.customer_id, ""),
                self._amount(value.total_minor),
                self._amount(value.spent_minor),
                None if value.predicted_minor is None else self._amount(value.predicted_minor),
                value.p_active,
            )
            for value in best
        ]
        return Report(
            name="values",
            title="Most valuable customers",
            at=asked.at,
            columns=("customer_id", "name", "value", "spent", "predicted", "p_active"),
            rows=rows,
            shares=("p_active",),
            figures=(
                ("Customers who bought", sums["buyers"]),
                ("Average spent", self._average(sums["spent"], sums["buyers"])),
                (
                    "Average predicted",
                    self._average(sums["predicted"], sums["buyers"]) if modelled else None,
                ),
            ),
            picture=picture(
                "bars",
                [name or who for who, name, *_ in rows],
                ("value", [row[2] for row in rows]),
                unit=self._rt.settings.currency,
            ),
            note="" if modelled else "Nothing is predicted: no model was fitted.",
        )

    def retention(
        self, *, at: datetime | str | None = None, months: int = 12, days: int = 90
    ) -> Report:
        """Who came each month: new, again, and kept from the month before.

        The retention rate is the share of those who came in the `days` before the last `days`
        who came in these too; the rest is the churn rate. The repeat rate is the share of all
        who ever came who came on a second day.
        """
        asked = Asked.of(self._rt, at)
        coming = Coming(self._today(asked), _checked(days, 3_650, "days"))
        coming.take(days_come(self._rt, asked))
        named = months_up_to(coming.today, months)
        rows = [
            (m, coming.came[m], coming.new[m], coming.came[m] - coming.new[m], coming.kept(m))
            for m in named
        ]
        kept = coming.retention
        return Report(
            name="retention",
            title="Customers who came",
            at=asked.at,
            columns=("month", "customers", "new", "returning", "retention"),
            rows=rows,
            shares=("retention",),
            figures=(
                ("Repeat rate", coming.repeat),
                (f"{days}-day retention rate", kept),
                (f"{days}-day churn rate", None if kept is None else 1 - kept),
            ),
            picture=picture(
                "lines",
                named,
                ("all", [row[1] for row in rows]),
                ("returning", [row[3] for row in rows]),
                unit="customers",
            ),
        )

    def cohorts(
        self,
        *,
        at: datetime | str | None = None,
        months: int = 12,
        by: str = "visit",
        rolling: bool = False,
    ) -> Report:
        """Of those who first came in a month, the share who came again in each month after it.

        See `crm.insights.standing.cohorts`; with `rolling` the share who came in it or later.
        """
        asked = Asked.of(self._rt, at)
        found = self._of.insights.standing.cohorts(at=asked.at, months=months, by=by)
        found = found[-_checked(months, 120, "months") :]
        after = [f"month_{n}" for n in range(1, months + 1)]
        told = [c.rolling if rolling else c.classic for c in found]
        percents = [[None if s is None else round(100 * s) for s in shares] for shares in told]
        return Report(
            name="cohorts",
            title="Retention by month of the first visit",
            at=asked.at,
            columns=("month", "customers", *after),
            rows=[(c.month, c.customers, *shares) for c, shares in zip(found, told, strict=True)],
            shares=tuple(after),
            picture=picture(
                "heat",
                range(1, months + 1),
                *((c.month, p) for c, p in zip(found, percents, strict=True)),
            ),
            note="The picture shows per cent; empty is a month that has not ended.",
        )

    def segments(self, *, at: datetime | str | None = None, days: int = 30) -> Report:
        """How many customers are in each segment, and who came and went in the last days."""
        asked = Asked.of(self._rt, at)
        since = asked.at - _checked(days, 3_650, "days") * _DAY
        found = self._of.analytics.distribution(at=asked.at)
        rows: list[tuple[Cell, ...]] = []
        for share in found.segments:
            steps = self._of.analytics.growth(share.name, since, asked.at + _MICROSECOND)
            entered, left = (sum(getattr(s, way) for s in steps) for way in ("entered", "left"))
            rows.append((share.name, share.count, share.share, entered, left))
        return Report(
            name="segments",
            title="Segments",
            at=asked.at,
            columns=("segment", "customers", "share", "entered", "left"),
            rows=rows,
            shares=("share",),
            picture=picture(
                "bars",
                [s.name for s in found.segments],
                ("customers", [s.count for s in found.segments]),
            ),
            note=f"Who came and went in the last {days} days, as it is kept.",
        )

    def distribution(self, of: str = "frequency", *, at: datetime | str | None = None) -> Report:
        """How many customers stand where.

        By ``lifecycle``, ``spending``, ``frequency``, ``tier`` (of the first programme),
        ``journey``, ``rfm`` or ``churn``; of the last two those who bought.
        """
        asked = Asked.of(self._rt, at)
        if of not in DISTRIBUTIONS:
            raise InvalidInput(unknown("distribution", of, DISTRIBUTIONS), field="of")
        counts = self._distributed(of, asked)
        whole = sum(counts.values())
        rows = [(name, n, _share(n, whole)) for name, n in counts.items()]
        return Report(
            name=of,
            title=f"Customers by {'RFM group' if of == 'rfm' else of}",
            at=asked.at,
            columns=(of, "customers", "share"),
            rows=rows,
            shares=("share",),
            picture=picture("parts", counts, ("customers", counts.values())),
        )

    def _distributed(self, of: str, asked: Asked) -> Mapping[str, int]:
        standing = self._of.insights.standing
        match of:
            case "tier":
                return self._of.tiers(asked.at)
            case "journey":
                return _counted(JOURNEY_STAGES, (s.stage for s in standing.journeys(at=asked.at)))
            case "rfm":
                return _counted(RFM_GROUPS, (s.group for s in standing.rfm(at=asked.at)))
            case "churn":
                return _counted(CHURN_BANDS, (r.band for r in standing.churn_risks(at=asked.at)))
        bands: Mapping[str, int] = getattr(self._of.insights.bands(at=asked.at), of)
        return bands

    def consent(self, *, at: datetime | str | None = None) -> Report:
        """How many customers may be contacted, by purpose and channel."""
        asked = Asked.of(self._rt, at)
        known = sum(1 for _ in people(self._rt, asked))
        granted: Counter[tuple[str, str]] = Counter()
        withdrawn: Counter[tuple[str, str]] = Counter()
        for facts in paged(
            self._rt, lambda uow, ids: _by_customer(uow.find(Consent, customer_id=ids))
        ):
            told = state(said_by(facts, asked.at), asked.at)
            for way, said in told.granted.items():
                (granted if said else withdrawn)[way] += 1
        ways = sorted({*granted, *withdrawn})
        rows = [(*way, granted[way], withdrawn[way], _share(granted[way], known)) for way in ways]
        return Report(
            name="consent",
            title="Consent",
            at=asked.at,
            columns=("purpose", "channel", "granted", "withdrawn", "rate"),
            rows=rows,
            shares=("rate",),
            picture=picture(
                "bars", map(" by ".join, ways), ("customers", [granted[way] for way in ways])
            ),
            note="The rate is of all customers: who said nothing did not consent.",
        )

    def birthdays(self, *, at: datetime | str | None = None, days: int = 30) -> Report:
        """Whose birthday comes within the next days, today's first; it names customers."""
        asked = Asked.of(self._rt, at)
        today = asked.at.astimezone(self._rt.settings.zone).date()
        ahead = _checked(days, 366, "days")
        rows = []
        fields = ("id", "name", "first_name", "last_name", "birth_date")
        with self._rt.read() as uow:
            for who, name, first, last, born in uow.stream_rows(Customer, fields):
                day = next_anniversary(born, today) if born else None
                if day is not None and (day - today).days < ahead:
                    called = name or " ".join(filter(None, (first, last)))
                    rows.append((day, called, day.year - born.year, who))
        rows.sort(key=lambda row: (row[0], row[3]))
        counts = Counter(row[0] for row in rows)
        dates = [today + n * _DAY for n in range(ahead)]
        return Report(
            name="birthdays",
            title="Birthdays",
            at=asked.at,
            columns=("date", "name", "turns", "customer_id"),
            rows=rows,
            figures=(("Birthdays", len(rows)),),
            picture=picture("columns", dates, ("birthdays", [counts[d] for d in dates])),
        )

    def promoters(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        commission: float = 0.0,
    ) -> Report:
        """Whom each promoter brought, what these spent, and the commission at that rate.

        Bookings, tickets and visits whose payload names a `promoter`, by the first fact of each.
        Reads all activities.
        """
        if not 0 <= commission <= 1:
            raise InvalidInput("expected a rate from 0 to 1", field="commission")
        begin = None if since is None else instant(since, field="since")
        end = self._rt.now() if until is None else instant(until, field="until")
        found = promoted(self._rt, begin, end)
        rows = [
            (
                name,
                len(of.guests),
                of.entries,
                self._amount(of.spent_minor),
                self._amount(of.spent_minor * commission),
            )
            for name, of in sorted(found.items(), key=lambda p: (-p[1].spent_minor, p[0]))
        ]
        return Report(
            name="promoters",
            title="Promoters",
            at=end,
            columns=("promoter", "guests", "entries", "spent", "commission"),
            rows=rows,
            picture=picture("bars", [r[0] for r in rows], ("guests", [r[1] for r in rows])),
        )

    def visits(self) -> Report:
        """When all customers come, by weekday and hour of the business day."""
        counts: Counter[tuple[int, int]] = Counter()
        with self._rt.read() as uow:
            for slot, count in uow.stream_rows(Tally, ("value", "count"), dimension="slot"):
                weekday, hour = map(int, slot.split())
                counts[weekday, hour] += count
        grid = {
            name: [counts[weekday, hour] for hour in range(24)]
            for weekday, name in enumerate(WEEKDAYS)
        }
        hours = [f"{hour:02}" for hour in range(24)]
        return Report(
            name="visits",
            title="When customers come",
            at=self._rt.now(),
            columns=("weekday", *hours),
            rows=[(name, *row) for name, row in grid.items()],
            figures=(("Visits", counts.total()),),
            picture=picture("heat", hours, *grid.items()),
        )

    def revenue(self, *, months: int = 12) -> Report:
        """Net revenue by month of the first payment."""
        now = self._rt.now()
        named = months_up_to(local(now, self._rt.settings)[0], months)
        found = self._of.insights.revenue_by_month()
        nothing = Money(0, self._rt.settings.currency)
        amounts = [found.get(month, nothing).amount for month in named]
        return Report(
            name="revenue",
            title="Revenue",
            at=now,
            columns=("month", "revenue"),
            rows=zip(named, amounts, strict=True),
            figures=(("Revenue this month", amounts[-1]),),
            picture=picture(
                "columns",
                named,
                ("revenue", amounts),
                unit=self._rt.settings.currency,
            ),
        )

    def items(self, *, top: int = 20) -> Report:
        """What customers choose most: events, games and dishes with their guests and the spend."""
        found = chosen(self._rt)[: _checked(top, 1_000, "top")]
        rows = [(i.label, i.customers, i.times, self._amount(i.spent_minor)) for i in found]
        return Report(
            name="items",
            title="What customers choose",
            at=self._rt.now(),
            columns=("item", "customers", "times", "spent"),
            rows=rows,
            picture=picture("bars", [r[0] for r in rows], ("times", [r[2] for r in rows])),
        )

    def page(
        self,
        *,
        at: datetime | str | None = None,
        title: str = "Customers",
        costs: Mapping[str, object] | None = None,
    ) -> Page:
        """All reports as one page that needs no other file; `to_html()` gives it.

        It names customers: the most valuable ones and those whose birthday comes.
        """
        asked = Asked.of(self._rt, at)
        found = [
            self.active(at=asked.at),
            self.channels(at=asked.at, costs=costs),
            self.consent(at=asked.at),
            self.acquisition(at=asked.at),
            self.revenue(),
            self.retention(at=asked.at),
            self.cohorts(at=asked.at),
            self.visits(),
            *(self.distribution(of, at=asked.at) for of in self._distributions(asked)),
            self.segments(at=asked.at),
            self.values(at=asked.at),
            self.items(),
            self.promoters(until=asked.at),
            self.birthdays(at=asked.at),
        ]
        glance = [Figure(name, cell) for report in found for name, cell in report.shown_figures()]
        sections: list[Section] = [Figures("At a glance", glance)]
        sections += [section for report in found for section in report.sections()]
        day = asked.at.astimezone(self._rt.settings.zone)
        return Page(title=title, subtitle=f"As of {day:%Y-%m-%d %H:%M}", sections=sections)

    def _distributions(self, asked: Asked) -> Iterable[str]:
        modelled = self._modelled(asked)
        return [of for of in DISTRIBUTIONS if modelled or of != "churn"]

    def _modelled(self, asked: Asked) -> bool:
        with self._rt.read() as uow:
            return model_at(uow, asked.at) is not None

    def _today(self, asked: Asked) -> date:
        return local(asked.at, self._rt.settings)[0]

    def _month(self, when: datetime) -> str:
        return month_of(local(when, self._rt.settings)[0])

    def _amount(self, minor: int | Fraction | float) -> Decimal:
        return Money(round(minor), self._rt.settings.currency).amount

    def _average(self, minor: int, count: int) -> Decimal | None:
        return self._amount(Fraction(minor, count)) if count else None


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _checked(value: object, most: int, field: str) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise InvalidInput(f"expected a whole number from 1 to {most}", field=field)
    return value


def _counted(names: Iterable[str], found: Iterable[str]) -> Mapping[str, int]:
    counts = Counter(found)
    return {name: counts[name] for name in names}


def _by_customer(facts: Iterable[Consent]) -> Iterable[list[Consent]]:
    by: defaultdict[str, list[Consent]] = defaultdict(list)
    for fact in facts:
        by[fact.customer_id].append(fact)
    return by.values()
