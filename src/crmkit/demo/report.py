"""The job's outcome as one page that needs no other file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from crmkit.demo import tables
from crmkit.demo.run import SEGMENTS, Outcome, Person
from crmkit.reporting.page import Chart, Document, Figure, Figures, Page, Section, Table, Text
from crmkit.reporting.svg import Point, bar_chart, column_chart, waterfall_chart

_PROBLEMS_SHOWN: Final = 100


def page(outcome: Outcome) -> Page:
    """The report."""
    return Page(
        title=tables.title(outcome),
        subtitle=tables.summary(outcome),
        sections=tuple(_sections(outcome)),
        footer=tables.ATTRIBUTION if tables.is_packaged(outcome) else "",
    )


def _sections(outcome: Outcome) -> Iterator[Section]:
    yield Figures(
        "At a glance", [Figure(name, value, note) for name, value, note in tables.figures(outcome)]
    )
    yield Table(
        "Who is who",
        tables.MATCHING_COLUMNS,
        tables.matching(outcome),
        tables.matching_note(outcome),
    )
    yield from _evidence(outcome)
    yield _revenue(outcome)
    yield from _groups(outcome)
    yield Table("Segments", tables.SEGMENT_COLUMNS, tables.segments(outcome), _on(outcome))
    rules = {s.name: s.rules for s in SEGMENTS}
    yield Document("The segments' rules", _json(rules), folded=True)
    if outcome.person:
        yield from _person(outcome.person)
    yield from _erasing(outcome)
    if outcome.recording.skipped:
        yield _skipped(outcome)


def _revenue(outcome: Outcome) -> Chart:
    heading = "Revenue by month"
    currency = outcome.total_revenue.currency
    months = tables.months(outcome)
    points = [Point(month, money.amount) for month, money in months]
    rows = [(month, tables.amount(money)) for month, money in months]
    return Chart(
        heading,
        column_chart(heading, points, unit=currency),
        table=Table(heading, ("Month", "Revenue"), rows),
    )


def _evidence(outcome: Outcome) -> Iterator[Chart]:
    """Why a booking found its guest though no identifier was equal."""
    rows = tables.evidence(outcome)
    if rows:
        heading = "Why a booking found its guest"
        points = [Point(label, bits) for label, bits in rows]
        chart = waterfall_chart(heading, points, unit="bits", sum_label="together")
        yield Chart(heading, chart, table=Table(heading, ("Field", "Bits"), rows), wide=False)


def _groups(outcome: Outcome) -> Iterator[Chart]:
    for name, counts in tables.groups(outcome):
        heading = f"Customers by {name.lower()}"
        points = [Point(label, n) for label, n in counts]
        yield Chart(
            heading,
            bar_chart(heading, points),
            table=Table(heading, (name, "Customers"), counts),
            wide=False,
        )


def _person(person: Person) -> Iterator[Section]:
    name = tables.name_of(person)
    yield Table(
        f"One person: {name}",
        tables.TYPED_COLUMNS,
        tables.typed(person),
        f"What the guest typed at {len(person.typed):,} bookings. crmkit saw one person.",
    )
    yield Document(f"Profile of {name}", _json(person.profile))
    yield Table(
        f"Timeline of {name}",
        tables.TIMELINE_COLUMNS,
        tables.timeline(person),
        "The latest first, in the venue's time. Cancelled bookings and no-shows earn nothing.",
    )
    held = tables.records_in(person.export)
    yield Document(
        f"Export of {name}",
        _json(person.export),
        f"Everything that is held about this person, {held:,} records in "
        f"{len(person.export['records']):,} tables (GDPR Art. 15).",
        folded=True,
    )


def _erasing(outcome: Outcome) -> Iterator[Section]:
    note = tables.erasure_note(outcome)
    if outcome.erasing is None or outcome.person is None:
        yield Text("Erased is erased", [note])
        return
    name = tables.name_of(outcome.person)
    yield Table(
        f"Erased: {name}",
        tables.RECEIPT_COLUMNS,
        tables.receipt(outcome.person, outcome.erasing),
        "The receipt of the erasure (GDPR Art. 17), done once this report had everything above.",
    )
    yield Document("The same export, after the erasure", _json(outcome.erasing.export), note)


def _skipped(outcome: Outcome) -> Table:
    problems = outcome.recording.problems[:_PROBLEMS_SHOWN]
    more = outcome.recording.skipped - len(problems)
    return Table(
        "Rows skipped",
        ("Line", "What is wrong"),
        [(problem.line, problem.reason) for problem in problems],
        f"And {more:,} more." if more else "",
    )


def _on(outcome: Outcome) -> str:
    return f"As of {tables.day(outcome.bands.at)}, the day of the last booking."


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
