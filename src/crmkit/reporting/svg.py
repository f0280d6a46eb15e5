"""Charts as SVG text: no script, readable in light and dark, inlined or as a file of their own.

A chart never shows its title; the page's heading, or the file's name, does. The
title and a description are in the markup for screen readers. Hovering a column or
bar shows its exact value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import accumulate
from typing import Final

import attrs

from crmkit.reporting.drawing import (
    CHART_SIZE,
    GAP,
    MARGIN,
    Plot,
    Point,
    Svg,
    column_labels,
    describe,
    grid,
    no_data,
    num,
    spoken,
    text_at,
    ticks_of,
    wrap,
)
from crmkit.reporting.style import CHART_STYLE, TEXT_SIZE, TREE_STYLE
from crmkit.reporting.text import (
    ARITHMETIC,
    abbreviate,
    escape,
    format_number,
    one_line,
    shorten,
    text_width,
)

__all__ = [
    "Point",
    "Step",
    "Svg",
    "bar_chart",
    "column_chart",
    "heat_map",
    "tree_chart",
    "waterfall_chart",
]

_BAR_WIDTH: Final = 320
_BAR_PITCH: Final = 48
_BOLD: Final = 1.1  # how much wider bold digits are
_HEAT_WIDTH: Final = 960
_HEAT_PITCH: Final = 30
_FAINTEST: Final = 0.15  # of a cell that has any
_TREE_WIDTH: Final = 960
_TREE_PITCH: Final = (32, 48)  # without and with a note
_TREE_STEP: Final = 30  # a level to the right
_TREE_DEEPEST: Final = 14  # a level that is deeper stands where this one does


def column_chart(
    title: str, points: Sequence[Point], *, unit: str = "", description: str = ""
) -> Svg:
    """Draw one column a point, in the order given, such as revenue by month.

    Columns below zero hang from the zero line in another colour. Labels that would
    touch are left out at a regular step that keeps the last one.

    Args:
        title: Name for screen readers.
        points: The columns from left to right; may be empty.
        unit: What the numbers count, such as ``"RON"``.
        description: Text for screen readers; made from the points when empty.
    """
    points = tuple(points)
    width, height = CHART_SIZE if points else (CHART_SIZE[0], 140)
    with localcontext(ARITHMETIC):
        body = _columns_body(points, unit) if points else no_data(width, height)
        text = description or describe(points, unit)
    return wrap(title, text, points, (width, height), body)


def bar_chart(
    title: str,
    points: Sequence[Point],
    *,
    unit: str = "",
    description: str = "",
    shares: bool = True,
) -> Svg:
    """Draw one horizontal bar a point with its value and share, such as customers by tier.

    The longest bar fills the width. Shares are left out when a value is negative or
    all are zero, because they would mean nothing.

    Args:
        title: Name for screen readers.
        points: The bars from top to bottom; may be empty.
        unit: Written after each value, such as ``"RON"``.
        description: Text for screen readers; made from the points when empty.
        shares: Whether the bars are parts of a whole, each shown with its share.
    """
    points = tuple(points)
    height = _BAR_PITCH * max(len(points), 2) - 12
    with localcontext(ARITHMETIC):
        body = _bars_body(points, unit, shares) if points else no_data(_BAR_WIDTH, height)
        text = description or describe(points, unit)
    return wrap(title, text, points, (_BAR_WIDTH, height), body)


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    counts: Sequence[Sequence[int]],
    *,
    description: str = "",
) -> Svg:
    """Draw a grid whose cells are the fuller the more they count, such as visits by hour.

    Args:
        title: Name for screen readers.
        rows: Names of the rows from top to bottom, such as weekdays.
        columns: Names of the columns from left to right, such as hours.
        counts: A row of numbers from zero up for each row, one for each column.
        description: Text for screen readers; made from the counts when empty.

    Raises:
        ValueError: the counts are not such a grid.
    """
    if [len(row) for row in counts] != [len(columns)] * len(rows):
        raise ValueError("expected a number for each row and column")
    if any(count < 0 for row in counts for count in row):
        raise ValueError("expected numbers from zero up")
    cells = tuple(
        Point(f"{name}, {column}", count)
        for name, row in zip(rows, counts, strict=True)
        for column, count in zip(columns, row, strict=True)
    )
    if not any(cell.value for cell in cells):
        size = (_HEAT_WIDTH, 140)
        return wrap(title, description or "No data yet.", cells, size, no_data(*size))
    body, size = _heat_body(rows, columns, cells), (_HEAT_WIDTH, _HEAT_PITCH * len(rows) + 26)
    with localcontext(ARITHMETIC):
        text = description or describe(cells, "")
    return wrap(title, text, cells, size, body)


@attrs.frozen
class Step:
    """A question of a tree with its answer; it belongs to the last one that is less deep.

    `note` stands below the label, `end` at the right edge.
    """

    depth: int
    holds: bool
    label: str
    note: str = ""
    end: str = ""

    @property
    def spoken(self) -> str:
        """What a reader would say."""
        answer = "yes" if self.holds else "no"
        told = ", ".join(one_line(part) for part in (self.note, self.end) if part)
        return f"{one_line(self.label)}: {answer}" + (f" ({told})" if told else "")


def tree_chart(title: str, steps: Sequence[Step], *, description: str = "") -> Svg:
    """Draw questions that are made of questions, each with its answer, as a tree.

    Args:
        title: Name for screen readers.
        steps: From top to bottom, those that a question is made of right below it.
        description: Text for screen readers; made from the steps when empty.
    """
    steps = tuple(steps)
    if not steps:
        size = (_TREE_WIDTH, 140)
        return wrap(title, description or "No data yet.", steps, size, no_data(*size))
    tops = [*accumulate((_TREE_PITCH[bool(step.note)] for step in steps), initial=0)]
    text = description or "; ".join(step.spoken for step in steps) + "."
    body = "".join((*_branches(steps, tops), *map(_step, steps, tops)))
    return wrap(title, text, steps, (_TREE_WIDTH, tops[-1]), body, CHART_STYLE + TREE_STYLE)


def _tree_place(step: Step, top: int) -> tuple[int, int]:
    return 11 + _TREE_STEP * min(step.depth, _TREE_DEEPEST), top + 14


def _branches(steps: Sequence[Step], tops: Sequence[int]) -> Iterator[str]:
    """Lead from each question down to those that it is made of, from the last of these on."""
    over: list[list[int]] = []
    for step, top in zip(steps, tops, strict=False):
        x, y = _tree_place(step, top)
        while over and over[-1][2] >= step.depth:
            over.pop()
        if over and over[-1][0] < x:
            yield f'<path class="branch" d="M{over[-1][0]} {over[-1][1]}V{y}H{x}"/>'
            over[-1][1] = y
        over.append([x, y, step.depth])


def _step(step: Step, top: int) -> str:
    x, y = _tree_place(step, top)
    end = shorten(step.end, TEXT_SIZE, _TREE_WIDTH / 3)
    right = _TREE_WIDTH - MARGIN
    room = right - x - 20
    mark = "M-4 .5l3 3l5 -6.5" if step.holds else "M-3.5 -3.5l7 7m0 -7l-7 7"
    return (
        f"<g><title>{escape(step.spoken)}</title>"
        f'<path class="hit" d="M0 {top}h{_TREE_WIDTH}v{_TREE_PITCH[bool(step.note)]}H0z"/>'
        f'<circle class="{"accent" if step.holds else "below"}" cx="{x}" cy="{y}" r="9"/>'
        f'<path class="mark" transform="translate({x} {y})" d="{mark}"/>'
        + text_at(x + 18, y + 4.5, shorten(step.label, TEXT_SIZE, room - _room(end)), "ink")
        + (
            text_at(x + 18, y + 21, shorten(step.note, TEXT_SIZE, room), "muted")
            if step.note
            else ""
        )
        + (text_at(right, y + 4.5, end, "muted end") if end else "")
        + "</g>"
    )


def _room(text: str) -> float:
    return text_width(text, TEXT_SIZE) + 3 * GAP if text else 0.0


def _heat_body(rows: Sequence[str], columns: Sequence[str], cells: Sequence[Point]) -> str:
    names = [shorten(name, TEXT_SIZE, _HEAT_WIDTH / 4) for name in rows]
    left = max(text_width(name, TEXT_SIZE) for name in names) + 10
    wide = (_HEAT_WIDTH - MARGIN - left) / len(columns)
    most = max(cell.exact for cell in cells)
    drawn = []
    for place, cell in enumerate(cells):
        row, column = divmod(place, len(columns))
        fill = _FAINTEST + (1 - _FAINTEST) * float(cell.exact / most)
        kind = f'class="accent" fill-opacity="{num(fill)}"' if cell.value else 'class="hit"'
        drawn.append(
            f"<g><title>{escape(spoken(cell, ''))}</title>"
            f'<rect {kind} x="{num(left + wide * column + 1)}" y="{num(_HEAT_PITCH * row + 1)}"'
            f' width="{num(max(wide - 2, wide / 2))}" height="{num(_HEAT_PITCH - 2)}" rx="2"/></g>'
        )
    for row, name in enumerate(names):
        drawn.append(text_at(left - 10, _HEAT_PITCH * (row + 0.5) + 4.5, name, "muted end"))
    drawn += _heat_labels(columns, left, wide, _HEAT_PITCH * len(rows) + 18)
    return "".join(drawn)


def _heat_labels(columns: Sequence[str], left: float, wide: float, y: float) -> Iterator[str]:
    """Write the columns' names at the smallest regular step at which none touch."""
    widest = max(text_width(name, TEXT_SIZE) for name in columns)
    step = max(1, -(-int(widest + GAP) // max(int(wide), 1)))
    for place in range(0, len(columns), step):
        name = shorten(columns[place], TEXT_SIZE, wide * step)
        yield text_at(left + wide * (place + 0.5), y, name, "muted middle")


def _columns_body(points: tuple[Point, ...], unit: str) -> str:
    values = [point.exact for point in points]
    ticks = ticks_of(values)
    width, height = CHART_SIZE
    plot = Plot(
        left=max(text_width(abbreviate(tick), TEXT_SIZE) for tick in ticks) + 10,
        top=48 if unit else 26,
        right=width - MARGIN,
        bottom=height - (52 if ticks[0] < 0 else 34),
        low=ticks[0],
        high=ticks[-1],
    )
    caption = shorten(unit, TEXT_SIZE, width / 2)
    return "".join(
        (
            text_at(MARGIN, 14, caption, "muted") if caption else "",
            *grid(plot, ticks),
            *_columns(plot, points, unit),
            *_column_values(plot, values),
            *column_labels(plot, [point.label for point in points]),
        )
    )


def _columns(plot: Plot, points: Sequence[Point], unit: str) -> Iterator[str]:
    slot = (plot.right - plot.left) / len(points)
    wide = min(slot * 0.64, 72.0)
    base = plot.y(Decimal(0))
    for place, point in enumerate(points):
        tip = f"<title>{escape(spoken(point, unit))}</title>"
        left = plot.left + slot * (place + 0.5) - wide / 2
        start = f"M{num(plot.left + slot * place)} {num(plot.top)}"
        whole = f"{start}h{num(slot)}V{num(plot.bottom)}h{num(-slot)}z"
        yield f'<g>{tip}<path class="hit" d="{whole}"/>'
        yield f"{_column(left, wide, base, plot.y(point.exact))}</g>"


def _column(left: float, wide: float, base: float, end: float) -> str:
    """Return a column from `base` to `end` with the far corners rounded; nothing for a zero."""
    if end == base:
        return ""
    up = end < base
    tall = max(abs(end - base), 1.0)
    bend = min(4.0, wide / 2, tall)
    turn = -bend if up else bend
    straight = (bend - tall) if up else (tall - bend)
    return (
        f'<path class="{"accent" if up else "below"}" d="M{num(left)} {num(base)}v{num(straight)}'
        f"q0 {num(turn)} {num(bend)} {num(turn)}h{num(wide - 2 * bend)}"
        f'q{num(bend)} 0 {num(bend)} {num(-turn)}V{num(base)}z"/>'
    )


def _column_values(plot: Plot, values: Sequence[Decimal]) -> Iterator[str]:
    """Write each value at its column's end, if there is room for all of them."""
    slot = (plot.right - plot.left) / len(values)
    texts = [abbreviate(value) for value in values]
    if max(text_width(text, TEXT_SIZE) for text in texts) * _BOLD > slot - GAP / 2:
        return
    for place, (value, text) in enumerate(zip(values, texts, strict=True)):
        y = plot.y(value) + (17 if value < 0 else -7)
        yield text_at(plot.left + slot * (place + 0.5), y, text, "value middle")


def waterfall_chart(
    title: str, points: Sequence[Point], *, unit: str = "", description: str = "", sum_label: str
) -> Svg:
    """Draw how a sum comes about: each bar begins where the one above it ended.

    Args:
        title: Name for screen readers.
        points: What is added, from top to bottom; may be empty.
        unit: Written after each value, such as ``"bits"``.
        description: Text for screen readers; made from the points when empty.
        sum_label: The label of the last bar, which is the sum.
    """
    points = tuple(points)
    with localcontext(ARITHMETIC):
        ends = list(accumulate((p.exact for p in points), initial=Decimal(0)))
        rows = [*zip(points, ends, ends[1:], strict=False)]
        rows.append((Point(sum_label, ends[-1]), Decimal(0), ends[-1]))
        low, high = min(ends), max(ends)
        span = (high - low) or Decimal(1)
        body = "".join(
            f'<g transform="translate(0 {n * _BAR_PITCH})">'
            f"<title>{escape(spoken(point, unit, ''))}</title>"
            f'<path class="hit" d="M0 0h{_BAR_WIDTH}v{_BAR_PITCH}H0z"/>'
            f"{_bar_texts(point.label, point.exact, unit, '', 0.0)}"
            f"{_bar(_scaled(start - low, span), _scaled(abs(end - start), span), end - start)}"
            "</g>"
            for n, (point, start, end) in enumerate(rows)
        )
        text = description or describe((*points, rows[-1][0]), unit)
    return wrap(title, text, points, (_BAR_WIDTH, len(rows) * _BAR_PITCH), body)


def _scaled(length: Decimal, span: Decimal) -> float:
    return float(length / span) * _BAR_WIDTH


def _bars_body(points: tuple[Point, ...], unit: str, parts: bool) -> str:
    values = [point.exact for point in points]
    low, high = min(*values, Decimal(0)), max(*values, Decimal(0))
    span = (high - low) or Decimal(1)
    zero = float(-low / span) * _BAR_WIDTH
    shares = _shares(values) if parts else []
    share_room = max((text_width(share, TEXT_SIZE) + 6 for share in shares), default=0.0)
    rows = []
    for place, (point, value) in enumerate(zip(points, values, strict=True)):
        share = shares[place] if shares else ""
        long = float(abs(value) / span) * _BAR_WIDTH
        rows.append(
            f'<g transform="translate(0 {place * _BAR_PITCH})">'
            f"<title>{escape(spoken(point, unit, share))}</title>"
            f'<path class="hit" d="M0 0h{_BAR_WIDTH}v{_BAR_PITCH}H0z"/>'
            f"{_bar_texts(point.label, value, unit, share, share_room)}"
            f"{_bar(zero, long, value)}</g>"
        )
    return "".join(rows)


def _bar_texts(label: str, value: Decimal, unit: str, share: str, share_room: float) -> str:
    amount = format_number(value)
    if text_width(amount, TEXT_SIZE) > _BAR_WIDTH / 4:
        amount = abbreviate(value)
    if unit:
        amount += "\N{NO-BREAK SPACE}" + shorten(unit, TEXT_SIZE, _BAR_WIDTH / 5)
    room = _BAR_WIDTH - share_room - text_width(amount, TEXT_SIZE) * _BOLD - 3 * GAP
    return (
        text_at(0, 14, shorten(label, TEXT_SIZE, room), "ink")
        + text_at(_BAR_WIDTH - share_room, 14, amount, "value end")
        + (text_at(_BAR_WIDTH, 14, share, "muted end") if share else "")
    )


def _bar(zero: float, long: float, value: Decimal) -> str:
    """Return the bar and the thin line it stands on, so that a row of zero is a row too."""
    rail = f'<path class="line" d="M0 28H{_BAR_WIDTH}"/>'
    if not value:
        return rail
    long = max(long, 2.0)
    left = zero - long if value < 0 else zero
    kind = "below" if value < 0 else "accent"
    place = f'x="{num(left)}" y="23" width="{num(long)}" height="10" rx="2"'
    return f'{rail}<rect class="{kind}" {place}/>'


def _shares(values: Sequence[Decimal]) -> list[str]:
    total = sum(values, Decimal(0))
    if not total or min(values) < 0:
        return []
    percents = [100 * value / total for value in values]
    return ["<0.1%" if 0 < percent < Decimal("0.05") else f"{percent:.1f}%" for percent in percents]
