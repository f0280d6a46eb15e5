"""What all charts are drawn with: points, the plot's frame, texts, and the markup around them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

import attrs

from crmkit.reporting.style import CHART_STYLE, TEXT_SIZE
from crmkit.reporting.text import (
    Number,
    abbreviate,
    escape,
    format_number,
    one_line,
    shorten,
    text_width,
    to_decimal,
)

CHART_SIZE: Final = (960, 320)
GAP: Final = 5.0
MARGIN: Final = 2.0
_TICKS_WANTED: Final = 4


class Svg(str):
    """Markup made by this module; a page takes no other, so nothing gets in unescaped."""

    __slots__ = ()


@attrs.frozen
class Point:
    """One labelled value.

    Raises:
        ValueError: the value is NaN, infinite or beyond 1e1000.
    """

    label: str
    value: Number

    def __attrs_post_init__(self) -> None:
        to_decimal(self.value)

    @property
    def exact(self) -> Decimal:
        """The value as a Decimal."""
        return to_decimal(self.value)


@attrs.frozen
class Plot:
    """The rectangle columns are drawn in, and the values at its lower and upper edge."""

    left: float
    top: float
    right: float
    bottom: float
    low: Decimal
    high: Decimal

    def y(self, value: Decimal) -> float:
        """How far down a value stands."""
        share = (value - self.low) / (self.high - self.low)
        return self.bottom - float(share) * (self.bottom - self.top)


def grid(plot: Plot, ticks: Sequence[Decimal]) -> Iterator[str]:
    """Lines across the plot with their values, and the zero line."""
    for tick in ticks:
        y = plot.y(tick)
        kind = "line" if tick else "axis"
        yield f'<path class="{kind}" d="M{num(plot.left)} {num(y)}H{num(plot.right)}"/>'
        yield text_at(plot.left - 10, y + 4.5, abbreviate(tick), "muted end")


def column_labels(plot: Plot, labels: Sequence[str]) -> Iterator[str]:
    """Write the labels under the columns at the smallest regular step at which none touch."""
    slot = (plot.right - plot.left) / len(labels)
    texts = [shorten(label, TEXT_SIZE, min(max(slot - GAP, 110), 240)) for label in labels]
    last = len(labels) - 1
    placed: list[tuple[float, float, str]] = []
    for step in range(1, len(labels) + 1):
        placed = [
            _kept_inside(plot.left + slot * (place + 0.5), texts[place])
            for place in range(last % step, len(labels), step)
        ]
        if all(b[0] - b[1] - a[0] - a[1] >= GAP for a, b in pairwise(placed)):
            break
    for centre, _, text in placed:
        yield text_at(centre, CHART_SIZE[1] - 10, text, "muted middle")


def _kept_inside(centre: float, text: str) -> tuple[float, float, str]:
    """Return (centre, half width, text), the centre moved so that the text stays in the picture."""
    half = text_width(text, TEXT_SIZE) / 2
    return max(half, min(centre, CHART_SIZE[0] - half)), half, text


def ticks_of(values: Sequence[Decimal]) -> list[Decimal]:
    """Return round numbers, evenly apart, that enclose all values; zero is one of them."""
    low, high = min(*values, Decimal(0)), max(*values, Decimal(0))
    if low == high:
        return [Decimal(0), Decimal(1)]
    rough = (high - low) / _TICKS_WANTED
    unit = Decimal(1).scaleb(rough.adjusted())
    steps = [unit * factor for factor in (1, 2, Decimal("2.5"), 5, 10)]
    if all(value == value.to_integral_value() for value in values):
        steps = [step for step in steps if step == step.to_integral_value()] or [Decimal(1)]
    step = next(step for step in steps if step >= rough)
    first = int((low / step).to_integral_value("ROUND_FLOOR"))
    last = int((high / step).to_integral_value("ROUND_CEILING"))
    return [step * count for count in range(first, last + 1)]


def describe(points: Sequence[Point], unit: str) -> str:
    """Return what a reader would say the chart shows, for those who do not see it."""
    if not points:
        return "No data yet."
    if len(points) <= 6:
        return "; ".join(spoken(point, unit) for point in points) + "."
    least = min(points, key=lambda point: point.exact)
    most = max(points, key=lambda point: point.exact)
    return (
        f"{len(points)} values from {one_line(points[0].label)} to {one_line(points[-1].label)}. "
        f"Highest: {spoken(most, unit)}. Lowest: {spoken(least, unit)}."
    )


def spoken(point: Point, unit: str, share: str = "") -> str:
    """What a reader would say of a value."""
    amount = f"{format_number(point.value)} {one_line(unit)}".strip()
    return f"{one_line(point.label)}: {amount}" + (f" ({share})" if share else "")


def no_data(width: float, height: float) -> str:
    """What stands where there is nothing to draw."""
    return text_at(width / 2, height / 2 + 4, "No data yet", "muted middle")


def wrap(
    title: str,
    description: str,
    points: Sequence[object],
    size: tuple[int, int],
    body: str,
    style: str = CHART_STYLE,
) -> Svg:
    """The markup of a whole chart: its name and description, its style and its body."""
    width, height = size
    name = _identifier(title, points)
    return Svg(
        f'<svg xmlns="http://www.w3.org/2000/svg" class="crm-chart" role="img" '
        f'aria-labelledby="{name}-title {name}-desc" viewBox="0 0 {width} {height}" width="100%">'
        f'<title id="{name}-title">{escape(one_line(title))}</title>'
        f'<desc id="{name}-desc">{escape(one_line(description, at_most=2_000))}</desc>'
        f"<style>{style}</style>"
        f'<rect class="surface" width="{width}" height="{height}"/>{body}</svg>'
    )


def _identifier(title: str, points: Sequence[object]) -> str:
    """Return an id from the title; the digest parts charts of one title on one page."""
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()[:40]).strip("-")
    digest = hashlib.sha256(repr((title, points)).encode(errors="replace")).hexdigest()[:10]
    return "-".join(part for part in ("chart", slug, digest) if part)


def text_at(x: float, y: float, text: str, kind: str) -> str:
    """A text at a place."""
    return f'<text class="{kind}" x="{num(x)}" y="{num(y)}">{escape(text)}</text>'


def num(number: float) -> str:
    """A number as SVG wants it, to two decimals."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
