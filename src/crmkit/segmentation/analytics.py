"""`crm.segments.analytics`: what segments tell beside each other and over time."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import chain, islice
from typing import Any, Final, TextIO

from crmkit.customers.restriction import restricted_among
from crmkit.errors import InvalidInput, unknown
from crmkit.insights.numbers import insights
from crmkit.insights.reading import Asked, summary
from crmkit.model import Customer, Money, Page, Segment, SegmentState, SegmentStay, SegmentVersion
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.rule import AllOf, Rule
from crmkit.model.time import from_micros, instant, to_micros
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation import asking
from crmkit.segmentation.asking import When
from crmkit.segmentation.bands import bands
from crmkit.segmentation.exporting import COLUMNS, columns
from crmkit.segmentation.figures import (
    BANDS,
    PREFERENCES,
    Comparison,
    CustomerMetadata,
    Distribution,
    Group,
    Overlap,
    Overview,
    Share,
    Side,
    Stay,
    Step,
)
from crmkit.segmentation.growth import edges, steps
from crmkit.segmentation.needs import Needs, together
from crmkit.segmentation.standing import Tally, preferred, standings
from crmkit.segmentation.subject import Subject
from crmkit.segmentation.subjects import subjects

_EVERYBODY: Final = AllOf(())
_COMPARED: Final = 30
_MICROSECOND: Final = timedelta(microseconds=1)
_IN_TIME: Final = ("customer_id", "segment_id")


class SegmentAnalytics:
    """Figures about one tenant's segments, worked out at the instant that is asked about."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    # --- all customers ---

    def overview(self, *, at: datetime | str | None = None) -> Overview:
        """All customers by spending, frequency and lifecycle, and by what they prefer."""
        when = When.of(self._rt, at)
        tally = Tally(self._rt.settings, when.at)
        dimensions = tuple(PREFERENCES.values())
        with self._rt.read() as uow:
            for _, found in standings(uow, self._rt, dimensions, when.at):
                tally.prefer(found, dimensions)
                if not when.live:
                    tally.band(found.metrics)
            if when.live:  # of these the storage can tell by itself
                tally.bands = self._by_band(uow, when)
        groups = {kind: _of_band(kind, tally) for kind in BANDS}
        groups |= {kind: _of_preference(kind, tally) for kind in PREFERENCES}
        return Overview(at=when.at, **groups)

    def customers(
        self, group: Group, *, limit: int = 100, after: str | None = None
    ) -> Page[Customer]:
        """The customers of a group of an overview, at its instant, in the order of their ids."""
        limit, start = checked_limit(limit), position(after, (str,))
        when = When.of(self._rt, group.at)
        with self._rt.read() as uow:
            found = self._of_group(uow, group, when, start[0] if start else None)
            ids = tuple(islice(found, limit + 1))
            page = uow.find(Customer, order=("id",), id=ids) if ids else []
        return paged(page, limit, lambda c: (c.id,))

    def distribution(self, *, at: datetime | str | None = None) -> Distribution:
        """How many customers are in each segment, the largest first, and their share of all."""
        when = When.of(self._rt, at)
        with self._rt.read() as uow:
            known = asking.count(uow, self._rt, _EVERYBODY, when)
            named = asking.by_name(uow)
            counts = Counter(
                {
                    name: asking.count(uow, self._rt, asking.whole(of, named, self._rt), when)
                    for name, of in sorted(named.items())
                }
            )
        shares = (Share(name, n, n / known if known else 0.0) for name, n in counts.most_common())
        return Distribution(when.at, known, tuple(shares))

    # --- segments beside each other ---

    def compare(self, one: str, other: str, *, at: datetime | str | None = None) -> Comparison:
        """Two segments beside each other: sizes, who is in both, and what they spent."""
        when = When.of(self._rt, at)
        with self._rt.read() as uow:
            first, second = self._ready(uow, one, when), self._ready(uow, other, when)
            return Comparison(
                when.at,
                self._side(uow, asking.segment_of(uow, one).name, first, when),
                self._side(uow, asking.segment_of(uow, other).name, second, when),
                asking.count(uow, self._rt, AllOf((first, second)), when),
            )

    def overlap(self, names: Sequence[str], *, at: datetime | str | None = None) -> Overlap:
        """How many customers each two of up to 30 segments share."""
        if isinstance(names, str) or not 0 < len(names) <= _COMPARED:
            raise InvalidInput(f"expected a list of 1 to {_COMPARED} segments", field="names")
        when = When.of(self._rt, at)
        counts: dict[tuple[int, int], int] = {}
        with self._rt.read() as uow:
            called = tuple(asking.segment_of(uow, name).name for name in names)
            rules = [self._ready(uow, name, when) for name in called]
            for i, one in enumerate(rules):
                for j, other in enumerate(rules[: i + 1]):
                    rule = one if i == j else AllOf((one, other))
                    counts[i, j] = counts[j, i] = asking.count(uow, self._rt, rule, when)
        places = range(len(called))
        matrix = tuple(tuple(counts[i, j] for j in places) for i in places)
        return Overlap(when.at, called, matrix)

    # --- over time ---

    def growth(
        self,
        name: str,
        since: datetime | str,
        until: datetime | str | None = None,
        *,
        step: str = "month",
    ) -> tuple[Step, ...]:
        """How many came, went and were in at the end of each local day, week, month or year.

        Up to before `until`, or by now. Counted from who came and went as it is kept since the
        segment was made; where time alone decides, `crm.run_due` has to have run.
        """
        start = instant(since, field="since")
        now = self._rt.now() + _MICROSECOND  # what happens now has happened
        end = now if until is None else min(instant(until, field="until"), now)
        at = edges(start, end, step, self._rt.settings.zone)
        with self._rt.read() as uow:
            of = asking.segment_of(uow, name).id
            past = uow.stream_rows(SegmentStay, ("entered_at", "left_at"), segment_id=of)
            present = uow.stream_rows(SegmentState, ("since",), segment_id=of, member=True)
            return steps(at, chain(past, ((row[0], None) for row in present)))

    def versions(self, name: str) -> tuple[SegmentVersion, ...]:
        """The rules that a segment has had, each with since when, the first first."""
        with self._rt.read() as uow:
            of = asking.segment_of(uow, name).id
            return tuple(uow.find(SegmentVersion, segment_id=of))

    def history(
        self,
        name: str | None = None,
        *,
        customer_id: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Stay]:
        """Who came into a segment and left it, or where a customer was; the latest first.

        Kept as for `growth`. Raises `InvalidInput` where neither is named.
        """
        limit, start = checked_limit(limit), position(after, (int, str, str))
        if name is None and customer_id is None:
            raise InvalidInput("expected a segment, or a customer_id", field="name")
        edge = None if start is None else (from_micros(start[0]), *start[1:])
        with self._rt.read() as uow:
            of: dict[str, Any] = {}
            if name is not None:
                of["segment_id"] = asking.segment_of(uow, name).id
            if customer_id is not None:
                of["customer_id"] = self._rt.customer(uow, customer_id).id
            latest: dict[str, Any] = {"descending": True, "after": edge, "limit": limit + 1, **of}
            past = uow.find(SegmentStay, order=("entered_at", *_IN_TIME), **latest)
            present = uow.find(SegmentState, order=("since", *_IN_TIME), member=True, **latest)
            called = {s.id: s.name for s in uow.find(Segment)}
        rows = [
            *((s.entered_at, s.customer_id, s.segment_id, s.left_at, s.version) for s in past),
            *((s.since, s.customer_id, s.segment_id, None, s.version) for s in present),
        ]
        rows.sort(key=lambda row: row[:3], reverse=True)
        page = paged(rows[: limit + 1], limit, lambda row: (to_micros(row[0]), *row[1:3]))
        return Page(
            tuple(Stay(called[s], c, came, went, v) for came, c, s, went, v in page), page.next
        )

    # --- to take along ---

    def export(
        self,
        name: str,
        out: TextIO,
        columns: Sequence[str] = COLUMNS,
        *,
        at: datetime | str | None = None,
    ) -> int:
        """Write the members of a segment as CSV; returns how many rows there are.

        Those whose data is only stored (`crm.gdpr.restrict`) are left out.
        A column is any field of the rule language, or ``id``, ``full_name``,
        ``lifecycle_stage``, ``spending_band`` or ``frequency_band``. Open a file for it with
        ``newline=""``. A text that a spreadsheet would run as a formula gets an apostrophe,
        a phone number with its ``+`` too.
        """
        when = When.of(self._rt, at)
        with self._rt.read() as uow:
            rule = self._ready(uow, name, when)
        return self._written(rule, out, columns, when)

    def metadata(self, customer_id: str, *, at: datetime | str | None = None) -> CustomerMetadata:
        """The segments, bands and favourites of a customer at an instant."""
        when = When.of(self._rt, at)
        asked = Asked(when.at, None)
        with self._rt.read() as uow:
            customer = self._rt.customer(uow, customer_id)
            found = summary(uow, self._rt, customer.id, asked)
            named = asking.by_name(uow)
            rules = {n: asking.whole(named[n], named, self._rt) for n in sorted(named)}
            wanted = Needs(tags=True)
            (now,) = subjects(uow, self._rt, [customer], wanted, when.told_at)
            return CustomerMetadata(
                insights(customer, found, when.at, self._rt.settings),
                asking.fits(uow, self._rt, rules, customer, when) if rules else (),
                tuple(sorted(asking.as_of(uow, self._rt, now, wanted, when).tags)),
            )

    # --- within a unit of work ---

    def _ready(self, uow: UnitOfWork, name: str, when: When) -> Rule:
        """The segment's whole rule with its ranks worked out once."""
        segment, named = asking.segment_of(uow, name), asking.by_name(uow)
        return asking.ranked(uow, self._rt, asking.at(segment, named, self._rt, when), when)

    def _by_band(self, uow: UnitOfWork, when: When) -> dict[str, Counter[str]]:
        return {
            band: Counter({k: asking.count(uow, self._rt, rule, when) for k, rule in of.items()})
            for band, of in bands(self._rt.settings).items()
        }

    def _of_group(
        self, uow: UnitOfWork, group: Group, when: When, after: str | None
    ) -> Iterator[str]:
        if group.kind in PREFERENCES:
            about = PREFERENCES[group.kind]
            for customer_id, found in standings(uow, self._rt, (about,), when.at, after=after):
                most = preferred(found, about, self._rt.settings)
                if most is not None and most.value == group.name:
                    yield customer_id
            return
        if group.kind not in BANDS:
            kinds = (*BANDS, *PREFERENCES)
            raise InvalidInput(unknown("kind of group", group.kind, kinds), field="group")
        of = bands(self._rt.settings)[BANDS[group.kind]]
        if group.name not in of:
            raise InvalidInput(unknown("band", group.name, of), field="group")
        for page in asking.pages(uow, self._rt, of[group.name], when, after=after):
            yield from (customer.id for customer in page)

    def _side(self, uow: UnitOfWork, name: str, rule: Rule, when: When) -> Side:
        count = spent = 0
        for page in asking.pages(uow, self._rt, rule, when):
            for subject in self._subjects(uow, page, Needs(metrics=True), when):
                count += 1
                spent += subject.metrics.spend_minor
        currency = self._rt.settings.currency
        average = Money(round(Fraction(spent, count)), currency) if count else None
        return Side(name, count, Money(spent, currency), average)

    def _subjects(
        self, uow: UnitOfWork, page: Sequence[Customer], wanted: Needs, when: When
    ) -> Iterator[Subject]:
        """The customers as they were at the instant."""
        for now in subjects(uow, self._rt, page, wanted, when.told_at):
            yield asking.as_of(uow, self._rt, now, wanted, when)

    def _written(self, rule: Rule, out: TextIO, names: Sequence[str], when: When) -> int:
        chosen = columns(names, self._rt.settings)
        wanted = together((Needs(metrics=True), *(c.needs for c in chosen)))
        sheet, count = csv.writer(out), 0
        sheet.writerow([c.name for c in chosen])
        with self._rt.read() as uow:
            for page in asking.pages(uow, self._rt, rule, when):
                told = list(self._subjects(uow, page, wanted, when))
                only_stored = restricted_among(uow, [s.customer.id for s in told])
                for subject in told:
                    if subject.customer.id in only_stored:
                        continue
                    sheet.writerow([c.cell(subject, when.at) for c in chosen])
                    count += 1
        return count


def _of_band(kind: str, tally: Tally) -> tuple[Group, ...]:
    counts = tally.bands[BANDS[kind]]
    labels = bands(tally.settings)[BANDS[kind]]
    return tuple(Group(kind, label, label, counts[label], tally.at) for label in labels)


def _of_preference(kind: str, tally: Tally) -> tuple[Group, ...]:
    about = PREFERENCES[kind]
    counts = sorted(tally.choices[about].items(), key=lambda of: (-of[1], of[0]))
    return tuple(
        Group(kind, value, tally.label(about, value), count, tally.at) for value, count in counts
    )
