"""A chart of lines, such as what was expected beside what came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Final

import attrs

from crmkit.reporting.drawing import (
    CHART_SIZE,
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
from crmkit.reporting.style import CHART_STYLE, LINES_STYLE, TEXT_SIZE
from crmkit.reporting.text import ARITHMETIC, Number, abbreviate, escape, shorten, text_width

_WIDTH, _HEIGHT = CHART_SIZE
_KINDS: Final = ("one", "other")


@attrs.frozen
class Line:
    """A named row of values, one for each label; None leaves a gap."""

    name: str
    values: Sequence[Number | None] = attrs.field(converter=tuple[Number | None, ...])


def line_chart(
    title: str,
    labels: Sequence[str],
    lines: Sequence[Line],
    *,
    unit: str = "",
    description: str = "",
) -> Svg:
    """Draw up to two lines over the same labels, the second one dashed, with their names above.

    Args:
        title: Name for screen readers.
        labels: What stands below, from left to right.
        lines: One or two rows of as many values.
        unit: What the numbers count.
        description: Text for screen readers; made from the values when empty.

    Raises:
        ValueError: there are more than two lines, or one is not as long as the labels.
    """
    if len(lines) > len(_KINDS) or any(len(line.values) != len(labels) for line in lines):
        raise ValueError("expected one or two lines with a value for each label")
    points = tuple(
        Point(f"{label}, {line.name}", value)
        for line in lines
        for label, value in zip(labels, line.values, strict=True)
        if value is not None
    )
    if not points:
        size = (_WIDTH, 140)
        return wrap(title, description or "No data yet.", (), size, no_data(*size))
    with localcontext(ARITHMETIC):
        body = "".join(_body(labels, lines, unit, [p.exact for p in points]))
        text = description or describe(points, unit)
    return wrap(title, text, points, (_WIDTH, _HEIGHT), body, CHART_STYLE + LINES_STYLE)


def _body(
    labels: Sequence[str], lines: Sequence[Line], unit: str, values: Sequence[Decimal]
) -> Iterator[str]:
    ticks = ticks_of(values)
    plot = Plot(
        left=max(text_width(abbreviate(tick), TEXT_SIZE) for tick in ticks) + 10,
        top=36,
        right=_WIDTH - MARGIN,
        bottom=_HEIGHT - 34,
        low=ticks[0],
        high=ticks[-1],
    )
    yield from _legend(lines, unit)
    yield from grid(plot, ticks)
    slot = (plot.right - plot.left) / len(labels)
    for kind, line in zip(_KINDS, lines, strict=False):
        places = [(plot.left + slot * (n + 0.5), value) for n, value in enumerate(line.values)]
        yield f'<path class="{kind}" d="{_path(plot, places)}"/>'
    yield from _tips(plot, slot, labels, lines, unit)
    yield from column_labels(plot, labels)


def _path(plot: Plot, places: Sequence[tuple[float, Number | None]]) -> str:
    """Each run of values as one stroke; a value between two gaps as a dot."""
    drawn = [(x, None if v is None else plot.y(Point("", v).exact)) for x, v in places]
    steps = []
    for (_, before), (x, y) in pairwise([(0.0, None), *drawn]):
        if y is not None:
            steps.append(f"{'M' if before is None else 'L'}{num(x)} {num(y)}h0")
    return "".join(steps)


def _tips(
    plot: Plot, slot: float, labels: Sequence[str], lines: Sequence[Line], unit: str
) -> Iterator[str]:
    """A strip for each label that tells its values."""
    for n, label in enumerate(labels):
        told = [
            spoken(Point(line.name, value), unit)
            for line in lines
            if (value := line.values[n]) is not None
        ]
        text = escape(f"{label}: {', '.join(told)}" if told else label)
        start = f"M{num(plot.left + slot * n)} {num(plot.top)}"
        whole = f"{start}h{num(slot)}V{num(plot.bottom)}h{num(-slot)}z"
        yield f'<g><title>{text}</title><path class="hit" d="{whole}"/></g>'


def _legend(lines: Sequence[Line], unit: str) -> Iterator[str]:
    x = MARGIN
    for kind, line in zip(_KINDS, lines, strict=False):
        name = shorten(line.name, TEXT_SIZE, _WIDTH / 3)
        yield f'<path class="{kind}" d="M{num(x)} 10h26"/>'
        yield text_at(x + 34, 14, name, "ink")
        x += 34 + text_width(name, TEXT_SIZE) + 24
    if unit:
        yield text_at(_WIDTH - MARGIN, 14, shorten(unit, TEXT_SIZE, _WIDTH / 4), "muted end")
