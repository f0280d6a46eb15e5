"""A report: a table with what to draw of it, as a document, a CSV file, a picture or a section."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import attrs

from crmkit.model.cells import harmless
from crmkit.model.time import iso
from crmkit.reporting.lines import Line, line_chart
from crmkit.reporting.page import Cell as Shown
from crmkit.reporting.page import Chart, Section, Table
from crmkit.reporting.svg import Point, Svg, bar_chart, column_chart, heat_map
from crmkit.reporting.text import Number

Cell: TypeAlias = str | int | float | Decimal | date | None
"""Amounts are Decimals in major units, shares floats from 0 to 1."""

Drawn: TypeAlias = Literal["bars", "parts", "columns", "lines", "heat"]

_SHOWN: Final = 100
"""Rows of a table on a page."""


def _rows(rows: Iterable[Iterable[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(map(tuple, rows))


@attrs.frozen
class Picture:
    """What is drawn of a report: rows of values over the same labels.

    Of `bars`, of `parts` of a whole and of `columns` the first row is drawn; `lines` are one or
    two; in a `heat` map every row is a row of cells, with whole numbers.
    """

    drawn: Drawn
    labels: tuple[str, ...] = attrs.field(repr=False)
    rows: tuple[Line, ...] = attrs.field(repr=False)
    unit: str = ""

    def to_svg(self, title: str) -> Svg:
        """The picture."""
        match self.drawn:
            case "lines":
                return line_chart(title, self.labels, self.rows, unit=self.unit)
            case "heat":
                counts = [[int(value or 0) for value in row.values] for row in self.rows]
                return heat_map(title, [row.name for row in self.rows], self.labels, counts)
            case "bars" | "parts":
                parts = self.drawn == "parts"
                return bar_chart(title, self._points(), unit=self.unit, shares=parts)
            case "columns":
                return column_chart(title, self._points(), unit=self.unit)

    def _points(self) -> list[Point]:
        told = zip(self.labels, self.rows[0].values if self.rows else (), strict=True)
        return [Point(label, value) for label, value in told if value is not None]


@attrs.frozen(kw_only=True)
class Report:
    """A table about all customers at an instant, with the key numbers of it.

    Each row has a cell for each of the `columns`: text, a number, an amount in major units as a
    Decimal, a date, or None where there is nothing to tell. Shares are from 0 to 1; `shares`
    names the columns that hold some. Rows may name customers and are not shown by `repr`.
    """

    name: str
    title: str
    at: datetime
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...] = attrs.field(repr=False, converter=_rows)
    picture: Picture
    figures: tuple[tuple[str, Cell], ...] = ()
    shares: tuple[str, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON document: amounts are numbers in major units, times and dates ISO 8601."""
        return {
            "report": self.name,
            "title": self.title,
            "at": iso(self.at),
            "figures": {name: _plain(cell) for name, cell in self.figures},
            "rows": [
                {name: _plain(cell) for name, cell in zip(self.columns, row, strict=True)}
                for row in self.rows
            ],
            "note": self.note,
        }

    def to_csv(self) -> str:
        """The rows as CSV under their columns' names.

        A text that a spreadsheet would run as a formula gets an apostrophe.
        """
        out = io.StringIO()
        sheet = csv.writer(out)
        sheet.writerow(self.columns)
        for row in self.rows:
            sheet.writerow(map(_written, row))
        return out.getvalue()

    def to_svg(self) -> Svg:
        """The report's picture."""
        return self.picture.to_svg(self.title)

    def sections(self) -> Sequence[Section]:
        """The report as a page shows it: key numbers, the picture, and its numbers as a table."""
        table = Table(
            self.title,
            [name.replace("_", " ").capitalize() for name in self.columns],
            [self._shown(row) for row in self.rows[:_SHOWN]],
            self.note + self._more(),
        )
        chart = Chart(
            self.title,
            self.to_svg(),
            table=table,
            wide=self.picture.drawn not in ("bars", "parts"),
            note=" · ".join(f"{name}: {_spoken(told)}" for name, told in self.shown_figures()),
        )
        return (chart,)

    def shown_figures(self) -> Sequence[tuple[str, Shown]]:
        """The key numbers as people read them."""
        return [(name, _figure(name, cell)) for name, cell in self.figures]

    def _shown(self, row: tuple[Cell, ...]) -> list[Shown]:
        cells = zip(self.columns, row, strict=True)
        return [_percent(c) if name in self.shares else _cell(c) for name, c in cells]

    def _more(self) -> str:
        left = len(self.rows) - _SHOWN
        return f" And {left:,} more." if left > 0 else ""


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    return harmless(cell) if isinstance(cell, str) else str(cell)


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Decimal):
        return float(cell)
    return cell.isoformat() if isinstance(cell, date) else cell


def _cell(cell: Cell) -> Shown:
    return cell.isoformat() if isinstance(cell, date) else cell


def _percent(cell: Cell) -> Shown:
    return f"{cell:.1%}" if isinstance(cell, float) else _cell(cell)


def _figure(name: str, cell: Cell) -> Shown:
    """A key number; shares are told by their names."""
    return _percent(cell) if name.endswith(("rate", "share")) else _cell(cell)


def _spoken(cell: Shown) -> str:
    if cell is None:
        return "—"
    return cell if isinstance(cell, str) else f"{cell:,}"


def picture(
    drawn: Drawn,
    labels: Iterable[object],
    *rows: tuple[str, Iterable[Number | None]],
    unit: str = "",
) -> Picture:
    """A picture of rows of values over these labels."""
    lines = tuple(Line(name, list(values)) for name, values in rows)
    return Picture(drawn, tuple(map(str, labels)), lines, unit)
