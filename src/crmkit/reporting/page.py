"""A report as one HTML page: no script, nothing loaded, fit for phone, darkness and paper.

A page is built from sections; each section escapes what it is given, and the only
markup taken as it is comes from `crmkit.reporting.svg`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, TypeAlias

import attrs

from crmkit.reporting.style import PAGE_STYLE
from crmkit.reporting.svg import Svg
from crmkit.reporting.text import Number, escape, format_number, one_line

Cell: TypeAlias = str | Number | None

_SECURITY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
# The empty icon keeps a browser from asking the server for one.
_PAGE: Final = """\
<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{security}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<header><h1>{title}</h1>{subtitle}</header>
<main id="content" tabindex="-1">
{sections}</main>
{footer}
</body>
</html>
"""
_LONG_FIGURE: Final = 9
_NOTHING: Final = '<p class="note">Nothing to show yet.</p>'
_LOOKS_NUMERIC: Final = re.compile(
    r"[-−+]?[€$£]?\d[\d.,\s]*(?:[eE][-−+]?\d+)?[kMBT]?\s?(?:%|[A-Z]{3}|[€$£])?"
)


@attrs.frozen
class Figure:
    """One key number: its name, its value, and what to know about it."""

    label: str
    value: Cell
    note: str = ""


@attrs.frozen
class Figures:
    """Key numbers as tiles."""

    heading: str
    items: Sequence[Figure] = attrs.field(converter=tuple[Figure, ...])

    def body(self) -> str:
        """Return the section's HTML below its heading."""
        if not self.items:
            return _NOTHING
        # One size for all tiles, such that the longest value keeps to one line.
        longest = max(len(_shown(item.value)) for item in self.items)
        kind = "figures long" if longest > _LONG_FIGURE else "figures"
        return f'<dl class="{kind}">{"".join(map(_tile, self.items))}</dl>'


def _rows(rows: Iterable[Iterable[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(tuple(row) for row in rows)


@attrs.frozen
class Table:
    """Rows under named columns; a column that reads as numbers is set to the right.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """

    heading: str
    columns: Sequence[str] = attrs.field(converter=tuple[str, ...])
    rows: Sequence[Sequence[Cell]] = attrs.field(converter=_rows)
    note: str = ""

    def __attrs_post_init__(self) -> None:
        for place, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise ValueError(f"row {place}: expected {len(self.columns)} cells, got {len(row)}")

    def body(self) -> str:
        """Return the section's HTML below its heading."""
        if not self.rows or not self.columns:
            return _NOTHING + _note(self.note)
        kinds = [
            _alignment([row[place] for row in self.rows]) for place in range(len(self.columns))
        ]
        head = "".join(
            f'<th scope="col"{kind}>{escape(column)}</th>'
            for column, kind in zip(self.columns, kinds, strict=True)
        )
        rows = "".join(f"<tr>{_cells(row, kinds)}</tr>" for row in self.rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return _scrolling(self.heading, table) + _note(self.note)


@attrs.frozen
class Chart:
    """A chart, and the same numbers as a table that opens below it.

    A narrow chart (`wide=False`) stands beside the narrow charts next to it.

    Raises:
        TypeError: `svg` was not made by `crmkit.reporting.svg`.
    """

    heading: str
    svg: Svg = attrs.field(validator=attrs.validators.instance_of(Svg))
    table: Table | None = None
    wide: bool = True
    note: str = ""

    def body(self) -> str:
        """Return the section's HTML below its heading."""
        picture = _scrolling(self.heading, self.svg) if self.wide else self.svg
        numbers = (
            f"<details><summary>Same numbers as a table</summary>{self.table.body()}</details>"
            if self.table
            else ""
        )
        return f"<figure>{picture}</figure>{_note(self.note)}{numbers}"


@attrs.frozen
class Document:
    """A document shown as it is, such as a JSON export; a `folded` one opens with a click."""

    heading: str
    text: str
    note: str = ""
    folded: bool = False

    def body(self) -> str:
        """Return the section's HTML below its heading."""
        name = escape(one_line(self.heading))
        # HTML drops one line break after <pre>: this one, so that the text keeps its own.
        text = f'<pre tabindex="0" role="region" aria-label="{name}">\n{escape(self.text)}</pre>'
        if self.folded:
            text = f"<details><summary>Show the document</summary>{text}</details>"
        return _note(self.note) + text


@attrs.frozen
class Text:
    """Paragraphs."""

    heading: str
    paragraphs: Sequence[str] = attrs.field(converter=tuple[str, ...])

    def body(self) -> str:
        """Return the section's HTML below its heading."""
        return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in self.paragraphs)


Section: TypeAlias = Figures | Chart | Table | Document | Text


@attrs.frozen
class Page:
    """A whole report; `to_html` gives the file."""

    title: str
    subtitle: str = ""
    sections: Sequence[Section] = attrs.field(
        factory=tuple, converter=tuple[Section, ...], repr=False
    )
    lang: str = "en"
    footer: str = ""

    def to_html(self) -> str:
        """Return the page as one UTF-8 document that needs no other file."""
        return _PAGE.format(
            lang=escape(self.lang),
            security=_SECURITY,
            style=PAGE_STYLE,
            title=escape(one_line(self.title)),
            subtitle=f"<p>{escape(self.subtitle)}</p>" if self.subtitle else "",
            sections="".join(self._blocks()),
            footer=f"<footer><p>{escape(self.footer)}</p></footer>" if self.footer else "",
        )

    def _blocks(self) -> Iterator[str]:
        """Yield the sections in order, neighbouring narrow charts as one row."""
        numbered = enumerate(self.sections, start=1)
        for narrow, group in groupby(
            numbered, key=lambda item: isinstance(item[1], Chart) and not item[1].wide
        ):
            blocks = [_section(place, section) for place, section in group]
            across = 2 if len(blocks) in (2, 4) else 3
            yield (
                f'<div class="row of-{across}">\n{"".join(blocks)}</div>\n'
                if narrow
                else "".join(blocks)
            )


def _section(place: int, section: Section) -> str:
    kind, name = type(section).__name__.lower(), f"section-{place}"
    return (
        f'<section class="{kind}-section" aria-labelledby="{name}">'
        f'<h2 id="{name}">{escape(one_line(section.heading))}</h2>{section.body()}</section>\n'
    )


def _tile(figure: Figure) -> str:
    note = f'<dd class="note">{escape(figure.note)}</dd>' if figure.note else ""
    value = f'<dd class="figure">{_shown(figure.value)}</dd>'
    return f"<div><dt>{escape(figure.label)}</dt>{value}{note}</div>"


def _cells(row: Sequence[Cell], kinds: Sequence[str]) -> str:
    first, *others = (f"{kind}>{_shown(cell)}" for cell, kind in zip(row, kinds, strict=True))
    return f'<th scope="row"{first}</th>' + "".join(f"<td{cell}</td>" for cell in others)


def _shown(cell: Cell) -> str:
    if cell is None:
        return "—"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return escape(cell if isinstance(cell, str) else format_number(cell))


def _alignment(cells: Iterable[Cell]) -> str:
    """Return the attribute that sets a column of numbers to the right, else nothing."""
    known = [cell for cell in cells if cell not in (None, "", "—")]
    return ' class="number"' if known and all(map(_is_numeric, known)) else ""


def _is_numeric(cell: Cell) -> bool:
    if isinstance(cell, str):
        return _LOOKS_NUMERIC.fullmatch(cell[:60].strip()) is not None
    return not isinstance(cell, bool)


def _scrolling(name: str, content: str) -> str:
    """Return `content` in a box that scrolls sideways on a small screen, by keyboard too."""
    label = escape(one_line(name))
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'


def _note(note: str) -> str:
    return f'<p class="note">{escape(note)}</p>' if note else ""
