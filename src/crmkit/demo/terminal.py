"""The job in a terminal: a progress bar while it runs, then its outcome. Needs rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich import box
from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.json import JSON
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.rule import Rule
from rich.table import Column, Table
from rich.text import Text

from crmkit.demo import tables
from crmkit.demo.run import Outcome, Person

_WIDTH: Final = 100
_BAR: Final = 30
_PROBLEMS_SHOWN: Final = 10
_ACCENT: Final = "cyan"


class _Speed(ProgressColumn):
    """Bookings per second so far."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="dim")


@contextmanager
def progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, gone when the block ends, on a terminal only; yields what moves it."""
    columns = (
        SpinnerColumn(),
        TextColumn("Recording bookings"),
        BarColumn(bar_width=None, complete_style=_ACCENT),
        MofNCompleteColumn(),
        _Speed(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)

        def move(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield move


def show(console: Console, outcome: Outcome) -> None:
    """Print the outcome."""
    width = min(console.width, _WIDTH)
    for part in _parts(outcome):
        console.print(part, width=width)


def _parts(outcome: Outcome) -> Iterator[RenderableType]:
    yield Group(
        "", Text(tables.title(outcome), style="bold"), Text(tables.summary(outcome), style="dim")
    )
    yield _section("At a glance", _figures(outcome))
    yield _section("Who is who", *_matching(outcome), _note(tables.matching_note(outcome)))
    yield _section("Revenue by month", _revenue(outcome))
    yield _section("Customers", _groups(outcome))
    yield _section(
        "Segments",
        _table(tables.SEGMENT_COLUMNS, tables.segments(outcome), numbers=(2, 3)),
        "",
        _note(f"As of {tables.day(outcome.bands.at)}, the day of the last booking."),
    )
    if outcome.person:
        yield from _person(outcome.person)
    yield from _erasing(outcome)
    if outcome.recording.skipped:
        yield _skipped(outcome)


def _section(heading: str, *body: RenderableType) -> RenderableType:
    rule = Rule(Text(heading, style="bold"), align="left", style="dim")
    return Group("", rule, Padding(Group(*body), (0, 2)))


def _figures(outcome: Outcome) -> Table:
    grid = Table.grid(Column(), Column(justify="right"), Column(style="dim"), padding=(0, 2))
    for name, value, note in tables.figures(outcome):
        grid.add_row(name, Text(value, style="bold"), note)
    return grid


def _matching(outcome: Outcome) -> Iterator[RenderableType]:
    rows = tables.matching(outcome)
    if rows:
        yield _table(tables.MATCHING_COLUMNS, rows, numbers=(1, 2, 3, 4))
        yield ""


def _revenue(outcome: Outcome) -> Table:
    months = tables.months(outcome)
    most = float(max((money.amount for _, money in months), default=0)) or 1.0
    grid = Table.grid(Column(), Column(), Column(justify="right"), padding=(0, 2))
    for month, money in months:
        grid.add_row(month, _bar(float(money.amount), most, 2 * _BAR), tables.amount(money))
    return grid


def _groups(outcome: Outcome) -> Table:
    """The three groupings below each other, with bars on one scale."""
    grid = Table.grid(
        Column(), Column(), Column(), Column(justify="right"), Column(justify="right", style="dim"),
        padding=(0, 2),
    )  # fmt: skip
    everybody = outcome.customers or 1
    for place, (heading, counts) in enumerate(tables.groups(outcome)):
        if place:
            grid.add_row()
        for row, (name, n) in enumerate(counts):
            bar = _bar(n, everybody, _BAR)
            share = tables.percent(n / everybody)
            grid.add_row("" if row else Text(heading, style="dim"), name, bar, f"{n:,}", share)
    return grid


def _bar(value: float, most: float, width: int) -> Bar:
    return Bar(most, 0, max(value, 0), width=width, color=_ACCENT)


def _person(person: Person) -> Iterator[RenderableType]:
    names, emails, phones = (
        len({row[place].casefold() for row in tables.typed(person)} - {"—"}) for place in (1, 2, 3)
    )
    timeline = [(when[:10], *rest) for when, *rest in tables.timeline(person)]
    yield _section(
        f"One person: {tables.name_of(person)}",
        _note(
            f"Known as one person through {len(person.typed):,} bookings, typed with "
            f"{_of(names, 'name')}, {_of(emails, 'e-mail address', 'e-mail addresses')} "
            f"and {_of(phones, 'phone number')}."
        ),
        "",
        JSON.from_data(person.profile, ensure_ascii=False),
        "",
        _table(tables.TIMELINE_COLUMNS, timeline, numbers=(4, 5)),
    )


def _erasing(outcome: Outcome) -> Iterator[RenderableType]:
    note = _note(tables.erasure_note(outcome))
    if outcome.erasing is None or outcome.person is None:
        yield _section("Erased is erased", note)
        return
    person, erasing = outcome.person, outcome.erasing
    rows = tables.receipt(person, erasing)
    before, after = tables.records_in(person.export), tables.records_in(erasing.export)
    line = Text.assemble(
        ("✓ " if erasing.is_empty else "✗ ", "bold green"),
        f"{before:,} records exported before, {after:,} after",
    )
    yield _section(
        f"Export and erasure: {tables.name_of(person)}",
        _table(tables.RECEIPT_COLUMNS, rows, numbers=(1, 2, 3, 4)),
        "",
        line,
        note,
    )


def _skipped(outcome: Outcome) -> RenderableType:
    problems = outcome.recording.problems[:_PROBLEMS_SHOWN]
    lines = [Text(f"line {problem.line:,}: {problem.reason}") for problem in problems]
    more = outcome.recording.skipped - len(problems)
    if more:
        lines.append(_note(f"and {more:,} more"))
    return _section(f"Rows skipped: {outcome.recording.skipped:,}", *lines)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int]
) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        header_style="dim",
        pad_edge=False,
        show_edge=False,
    )
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place in numbers else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _note(text: str) -> Text:
    return Text(text, style="dim")


def _of(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
