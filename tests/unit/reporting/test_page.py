"""The page: safe by construction, self-contained, readable by everyone."""

from __future__ import annotations

import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from crmkit.reporting.page import (
    Chart,
    Document,
    Figure,
    Figures,
    Page,
    Section,
    Table,
    Text,
)
from crmkit.reporting.style import DARK, LIGHT
from crmkit.reporting.svg import Point, Svg, bar_chart, column_chart

HOSTILE = (
    "</pre></style></title><script>alert('x')</script>\"><img src=x onerror=alert(1)>{}{x}\ud800\0"
)
VOID = {"meta", "link", "br", "img"}


class Reader(HTMLParser):
    """Reads a page the way the tests ask about it, and fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.append((self._open[-1], data))

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def sections(text: str) -> list[Section]:
    """One section of each kind, `text` wherever text goes."""
    points = [Point(text, 1), Point(text, 2)]
    table = Table(text, (text, text), [(text, 1), (text, None)], note=text)
    return [
        Figures(text, [Figure(text, text, text)]),
        Chart(text, column_chart(text, points, unit=text), table, note=text),
        Chart(text, bar_chart(text, points, unit=text), table, wide=False),
        table,
        Document(text, text, text),
        Text(text, [text, text]),
    ]


def page(text: str = "plain") -> str:
    return Page(text, text, sections(text), footer=text).to_html()


def body(section: Section) -> Reader:
    return Reader(Page("t", "", [section]).to_html())


class TestSafety:
    def test_hostile_text_stays_text(self) -> None:
        """The same elements and attributes come out whatever the text is."""

        def structure(html: str) -> list[tuple[str, list[str]]]:
            return [(tag, sorted(attributes)) for tag, attributes in Reader(html).tags]

        assert structure(page(HOSTILE)) == structure(page("a <b> text of about the same length"))

    def test_hostile_language(self) -> None:
        """The language cannot leave its attribute."""
        read = Reader(Page("t", lang='"><script>').to_html())
        assert read.named("html") == [{"lang": '"><script>'}]
        assert read.named("script") == []

    def test_encodes(self) -> None:
        """Lone surrogates and NUL do not reach the file."""
        assert b"\0" not in page(HOSTILE).encode()

    def test_only_our_charts(self) -> None:
        """Markup from elsewhere is refused as a chart."""
        with pytest.raises(TypeError, match="svg"):
            Chart("t", "<svg onload='alert(1)'/>")  # type: ignore[arg-type]

    def test_no_script(self) -> None:
        """No script, no handler, no frame, no form."""
        read = Reader(page())
        assert not {"script", "iframe", "object", "form", "base"} & {tag for tag, _ in read.tags}
        assert not [name for _, each in read.tags for name in each if name.startswith("on")]

    def test_nothing_external(self) -> None:
        """The page refers to itself only."""
        html = page().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?:|url\(|@import|//", html)
        links = [
            each[name] for _, each in Reader(html).tags for name in ("href", "src") if name in each
        ]
        assert links == ["data:,", "#content"]

    def test_policy(self) -> None:
        """The browser is told to load and run nothing, before anything else is read."""
        metas = Reader(page()).named("meta")
        assert metas[1]["http-equiv"] == "Content-Security-Policy"
        policy = metas[1]["content"].split("; ")
        assert policy[:3] == ["default-src 'none'", "style-src 'unsafe-inline'", "img-src data:"]
        assert "script-src" not in metas[1]["content"]


class TestReadable:
    def test_headings(self) -> None:
        """One h1, one h2 a section, each section named by its own heading."""
        read = Reader(Page("Customers", "", sections("x")).to_html())
        assert read.text("h1") == ["Customers"]
        headings = [each["id"] for each in read.named("h2")]
        assert headings == [each["aria-labelledby"] for each in read.named("section")]
        assert len(set(headings)) == len(sections("x"))
        assert not {"h3", "h4"} & {tag for tag, _ in read.tags}

    def test_language(self) -> None:
        """The language is declared; English unless said otherwise."""
        assert Reader(Page("t").to_html()).named("html") == [{"lang": "en"}]
        assert Reader(Page("t", lang="ro").to_html()).named("html") == [{"lang": "ro"}]

    def test_skip_link(self) -> None:
        """The first thing that takes the focus leads to the content."""
        read = Reader(page())
        assert read.text("a") == ["Skip to content"]
        assert read.named("a")[0]["href"] == "#" + read.named("main")[0]["id"]
        order = [tag for tag, _ in read.tags]
        assert order.index("a") < order.index("header") < order.index("main")

    def test_scrolling_boxes_take_focus(self) -> None:
        """What scrolls by itself has a name and can be scrolled with the keyboard."""
        boxes = [each for _, each in Reader(page()).tags if each.get("role") == "region"]
        assert len(boxes) == 5
        assert all(each["tabindex"] == "0" and each["aria-label"] for each in boxes)

    def test_dark_and_paper(self) -> None:
        """The dark palette is for screens that ask for it; paper stays light."""
        [style, *_] = Reader(page()).text("style")
        light, dark = style.split("@media screen and (prefers-color-scheme:dark)", 1)
        assert f"--crm-ground:{LIGHT['ground']};" in light
        assert f"--crm-ground:{DARK['ground']};" in dark.split("}}")[0]
        assert "@media print{" in style
        assert {"name": "color-scheme", "content": "light dark"} in Reader(page()).named("meta")

    def test_only_known_variables(self) -> None:
        """Every variable a style uses is declared."""
        used = set(re.findall(r"var\(--crm-(\w+)\)", page()))
        assert used
        assert used <= set(LIGHT)
        assert set(LIGHT) == set(DARK)

    def test_phone(self) -> None:
        """A phone shows the page at its own width."""
        assert any(
            "width=device-width" in each.get("content", "") for each in Reader(page()).named("meta")
        )

    def test_ids_unique(self) -> None:
        """No id occurs twice, also with two charts of one title."""
        two: list[Section] = [
            Chart("same", column_chart("same", [Point("a", value)])) for value in (1, 2)
        ]
        ids = [each["id"] for _, each in Reader(Page("t", "", two).to_html()).tags if "id" in each]
        assert len(ids) == len(set(ids)) == 7

    def test_absent_parts(self) -> None:
        """Without subtitle, footer and sections none of them leaves an empty element."""
        html = Page("t").to_html()
        assert "<p>" not in html
        assert "<footer" not in html
        assert "<section" not in html


class TestSections:
    def test_figures(self) -> None:
        """A tile has its label, its value in full and its note."""
        read = body(Figures("f", [Figure("Customers", 18432, "+3"), Figure("New", None)]))
        assert read.text("dt") == ["Customers", "New"]
        assert read.text("dd") == ["18,432", "+3", "—"]

    def test_figures_one_size(self) -> None:
        """One long value makes all tiles of the section smaller."""
        long = Figures("f", [Figure("a", 1), Figure("b", "1,234.50 RON")])
        assert [each.get("class") for each in body(long).named("dl")] == ["figures long"]
        short = Figures("f", [Figure("a", 1)])
        assert [each.get("class") for each in body(short).named("dl")] == ["figures"]

    @pytest.mark.parametrize(
        ("cells", "right"),
        [
            ((1, Decimal("2.5"), None), True),
            (("1,200.50 RON", "—", "−3%"), True),
            (("€5", "850k"), True),
            (("2025-11-15", "2025-11-08"), False),
            ((1, "one"), False),
            ((True, False), False),
            ((None, ""), False),
            (("3 visits",), False),
        ],
    )
    def test_numbers_to_the_right(self, cells: tuple[str | int | None, ...], right: bool) -> None:
        """A column whose known cells all read as numbers is right-aligned, head included."""
        read = body(Table("t", ("name", "x"), [("a", cell) for cell in cells]))
        heads = [each for each in read.named("th") if each["scope"] == "col"]
        kinds = [each.get("class", "") for each in (heads[1], *read.named("td"))]
        assert kinds == ["number" if right else ""] * (len(cells) + 1)

    def test_cells(self) -> None:
        """Numbers are grouped, absence is a dash, truth is a word, the first cell names the row."""
        read = body(Table("t", ("a", "b", "c", "d"), [("x", 12345, None, True)]))
        assert read.text("td") == ["12,345", "—", "yes"]
        assert read.text("th") == ["a", "b", "c", "d", "x"]
        assert read.named("th")[-1]["scope"] == "row"

    def test_ragged_row(self) -> None:
        """A row of another length is refused with its number."""
        with pytest.raises(ValueError, match="row 2: expected 2 cells, got 1"):
            Table("t", ("a", "b"), [(1, 2), (1,)])

    def test_nan_in_table(self) -> None:
        """NaN does not get onto a page."""
        with pytest.raises(ValueError, match="finite"):
            Page("t", "", [Table("t", ("a",), [(float("nan"),)])]).to_html()

    @pytest.mark.parametrize(
        "empty", [Table("t", ("a",), []), Table("t", (), [()]), Figures("f", [])]
    )
    def test_nothing_to_show(self, empty: Section) -> None:
        """An empty section says that it is empty."""
        assert "Nothing to show yet." in body(empty).text("p")

    def test_rows_from_iterator(self) -> None:
        """Rows may come from a generator; they are read once and kept."""
        table = Table("t", iter(["a"]), (iter([each]) for each in (1, 2)))
        assert (table.columns, table.rows) == (("a",), ((1,), (2,)))

    def test_chart_with_numbers(self) -> None:
        """The numbers of a chart are one click away as a table."""
        table = Table("t", ("a", "b"), [("x", 7)])
        read = body(Chart("c", column_chart("c", [Point("x", 7)]), table))
        assert read.text("summary") == ["Same numbers as a table"]
        assert read.text("td") == ["7"]
        assert len(read.named("svg")) == 1

    def test_chart_without_table(self) -> None:
        """No table: nothing to open."""
        assert body(Chart("c", column_chart("c", []))).named("details") == []

    @pytest.mark.parametrize(
        ("count", "across"), [(1, "3"), (2, "2"), (3, "3"), (4, "2"), (5, "3")]
    )
    def test_narrow_neighbours(self, count: int, across: str) -> None:
        """Narrow charts that follow each other share a row; a wide one ends it."""
        narrow: Section = Chart("n", bar_chart("n", []), wide=False)
        html = Page("t", "", [narrow] * count + [Text("x", ["y"]), narrow]).to_html()
        rows = re.findall(r'<div class="row of-(\d)">(.*?)</div>\n', html, re.S)
        assert [(each[0], each[1].count("<section")) for each in rows] == [
            (across, count),
            ("3", 1),
        ]

    def test_document_verbatim(self) -> None:
        """A document keeps every character, its first line break included."""
        text = '\n{\n  "a": "<&>"\n}\n'
        read = body(Document("d", text, "note"))
        # HTML drops one line break after <pre>; html.parser keeps it.
        assert "".join(read.text("pre")) == "\n" + text
        assert read.text("p") == ["note"]

    def test_paragraphs(self) -> None:
        """Each paragraph is one."""
        assert body(Text("t", ["one", "two"])).text("p") == ["one", "two"]

    def test_svg_is_text(self) -> None:
        """A chart can be written to a file as it is."""
        assert isinstance(column_chart("c", []), Svg)
        assert issubclass(Svg, str)


def test_a_folded_document_opens_with_a_click() -> None:
    reader = Reader(Page("Report", sections=[Document("Export", "{}", folded=True)]).to_html())

    assert reader.text("summary") == ["Show the document"]
    assert "{}" in "".join(reader.text("pre"))
