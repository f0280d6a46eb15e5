"""Charts: well-formed, safe, legible; whatever the labels and the numbers are."""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from xml.etree import ElementTree as ET

import attrs
import pytest

from crmkit.reporting.style import DARK, LIGHT
from crmkit.reporting.svg import Point, Svg, bar_chart, column_chart
from crmkit.reporting.text import abbreviate, escape, format_number, shorten, text_width

NS = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style></title></svg><script>",
    "]]>&amp;<!--",
    "nul\0 surrogate\ud800 bell\x07 \ufffe",
    "\u202eright to left",
    "{style}%s{0}",
)
MONTHS = (
    *(f"{name} 2025" for name in "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()),
    "Jan 2026",
)
charts = pytest.mark.parametrize("chart", [column_chart, bar_chart])
Draw = Callable[..., Svg]


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - made here a line ago


def texts(svg: str, kind: str) -> list[ET.Element]:
    """The visible texts that carry the class `kind`."""
    return [text for text in parse(svg).iter(f"{NS}text") if kind in text.get("class", "").split()]


def shown(svg: str, kind: str) -> list[str]:
    return [text.text or "" for text in texts(svg, kind)]


def shapes(svg: str, kind: str) -> list[ET.Element]:
    return [each for each in parse(svg).iter() if each.get("class") == kind]


def assert_apart(elements: list[ET.Element], width: float) -> None:
    """Centred texts on one line neither touch each other nor leave the picture."""
    boxes = []
    for element in elements:
        half = text_width(element.text or "", 13) / 2
        centre = float(element.get("x", ""))
        boxes.append((centre - half, centre + half))
    assert boxes
    assert boxes[0][0] >= -0.01
    assert boxes[-1][1] <= width + 0.01
    assert all(left[1] < right[0] for left, right in pairwise(boxes))


class TestStructure:
    @charts
    @pytest.mark.parametrize("label", HOSTILE)
    def test_hostile_text_stays_text(self, chart: Draw, label: str) -> None:
        """No label, title or unit can add an element or an attribute."""
        usual = parse(chart("t", [Point("a", 1), Point("b", 2)], unit="u", description="d"))
        points = [Point(label, 1), Point(label, 2)]
        svg = chart(label, points, unit=label, description=label)
        tree = parse(svg)
        svg.encode()
        allowed = {(each.tag, *sorted(each.keys())) for each in usual.iter()}
        assert {(each.tag, *sorted(each.keys())) for each in tree.iter()} <= allowed
        assert f"{NS}script" not in {each.tag for each in tree.iter()}

    @charts
    def test_hostile_label_is_shown(self, chart: Draw) -> None:
        """A label that is markup is readable as it was written."""
        assert "<b>&" in [text.text for text in parse(chart("t", [Point("<b>&", 1)])).iter()]

    @charts
    def test_named_for_screen_readers(self, chart: Draw) -> None:
        """The picture's role is img; its title and description are the ones it refers to."""
        tree = parse(chart("Revenue", [Point("May", 5)], unit="RON", description="Only May."))
        ids = tree.get("aria-labelledby", "").split()
        by_id = {each.get("id"): each for each in tree.iter()}
        assert tree.get("role") == "img"
        assert [by_id[name].tag for name in ids] == [f"{NS}title", f"{NS}desc"]
        assert [by_id[name].text for name in ids] == ["Revenue", "Only May."]

    @charts
    def test_description_from_points(self, chart: Draw) -> None:
        """Without a description the highest and lowest value are told."""
        svg = chart("t", [Point(f"m{place}", place * 1000) for place in range(9)], unit="RON")
        told = parse(svg).findtext(f"{NS}desc")
        assert told == ("9 values from m0 to m8. Highest: m8: 8,000 RON. Lowest: m0: 0 RON.")

    def test_ids_differ(self) -> None:
        """Charts of other titles, even in other alphabets, or of other points share no id."""
        made = [
            column_chart("A b", [Point("x", 1)]),
            column_chart("a-B", [Point("x", 1)]),
            column_chart("A b", [Point("x", 2)]),
            column_chart("Ă", []),
            column_chart("Ș", []),
        ]
        ids = [each.get("id") for svg in made for each in parse(svg).iter() if each.get("id")]
        assert len(ids) == len(set(ids)) == 2 * len(made)

    @charts
    def test_same_input_same_picture(self, chart: Draw) -> None:
        """The markup depends on nothing but the arguments."""
        assert chart("t", [Point("a", 1)]) == chart("t", [Point("a", 1)])

    @charts
    def test_scales(self, chart: Draw) -> None:
        """A view box and full width, so that the page decides the size."""
        tree = parse(chart("t", [Point("a", 1)]))
        assert re.fullmatch(r"0 0 \d+ \d+", tree.get("viewBox", ""))
        assert (tree.get("width"), tree.get("height")) == ("100%", None)

    @charts
    def test_nothing_is_loaded_or_run(self, chart: Draw) -> None:
        """Neither script nor handler, link nor import."""
        svg = chart("t", [Point("a", 1)]).replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"script|\son\w+=|href|src=|url\(|@import|//|javascript:", svg, re.I)

    @charts
    def test_exact_value_on_hover(self, chart: Draw) -> None:
        """Each mark carries its value in full as a native tooltip."""
        group = parse(chart("t", [Point("May", Decimal("1234567.5"))], unit="RON")).find(f"{NS}g")
        assert group is not None
        assert (group.findtext(f"{NS}title") or "").startswith("May: 1,234,567.50 RON")


class TestColours:
    @charts
    def test_dark_where_asked_for(self, chart: Draw) -> None:
        """The dark palette applies on a screen that asks for dark, and only there."""
        style = parse(chart("t", [])).findtext(f"{NS}style") or ""
        light, dark = style.split("@media screen and (prefers-color-scheme:dark)", 1)
        dark = dark.split("}}")[0]
        for name in LIGHT:
            assert f"--crm-{name}:{LIGHT[name]};" in light
            assert f"--crm-{name}:{DARK[name]};" in dark

    @charts
    def test_style_stays_in_the_chart(self, chart: Draw) -> None:
        """Inlined, no rule of a chart reaches another element of the page."""
        style = parse(chart("t", [])).findtext(f"{NS}style") or ""
        rules = re.sub(r"@media[^{]*\{", "", style)
        selectors = [part for rule in re.findall(r"([^{}]+)\{", rules) for part in rule.split(",")]
        assert len(selectors) > 10
        assert all(re.match(r"(:root)?\.crm-chart\b", selector) for selector in selectors)

    @charts
    def test_no_other_colours(self, chart: Draw) -> None:
        """No mark fixes a colour that would not follow light and dark."""
        svg = chart("t", [Point("a", 1), Point("b", -1)])
        assert "#" not in svg[: svg.index("<style>")] + svg[svg.index("</style>") :]

    @pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
    def test_contrast(self, palette: dict[str, str]) -> None:
        """Text has WCAG AA contrast on both backgrounds, marks have 3:1."""
        for ground in ("surface", "ground"):
            assert contrast(palette["ink"], palette[ground]) >= 7
            assert contrast(palette["muted"], palette[ground]) >= 4.5
            assert contrast(palette["accent"], palette[ground]) >= 3
            assert contrast(palette["below"], palette[ground]) >= 3


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


class TestNumbers:
    @pytest.mark.parametrize(
        "value",
        [
            float("nan"),
            float("inf"),
            Decimal("NaN"),
            Decimal("sNaN"),
            Decimal("-Infinity"),
            10**1001,
        ],
    )
    def test_not_drawable(self, value: float) -> None:
        """NaN, infinity and numbers beyond reading are refused where the point is made."""
        with pytest.raises(ValueError, match="expected a"):
            Point("a", value)

    def test_not_a_number(self) -> None:
        """Text is no value, even if it reads as one."""
        with pytest.raises(TypeError, match="expected a number, got str"):
            Point("a", "12")  # type: ignore[arg-type]

    def test_frozen(self) -> None:
        """A point that was accepted stays acceptable."""
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            Point("a", 1).value = 2  # type: ignore[misc]

    @charts
    @pytest.mark.parametrize(
        "values",
        [
            (),
            (0,),
            (0, 0, 0),
            (-0.0,),
            (7,),
            (-7,),
            (-3, 5, 0),
            (10**400, -(10**400)),
            (Decimal("1E-900"), 5e-324),
            (1.7e308, -1.7e308),
            (Decimal("0.1"), 0.3, 1),
        ],
    )
    def test_any_numbers(self, chart: Draw, values: tuple[float, ...]) -> None:
        """Every coordinate is finite and every shape inside the picture."""
        svg = chart("t", [Point(f"p{place}", value) for place, value in enumerate(values)])
        tree = parse(svg)
        width, height = map(float, tree.get("viewBox", "").split()[2:])
        assert "nan" not in svg
        assert "inf" not in svg
        for text in tree.iter(f"{NS}text"):
            assert 0 <= float(text.get("x", "")) <= width
            assert 0 <= float(text.get("y", "")) <= height
        for bar in tree.iter(f"{NS}rect"):
            left = float(bar.get("x", 0))
            assert -0.01 <= left <= left + float(bar.get("width", "")) <= width + 0.01

    @charts
    def test_empty(self, chart: Draw) -> None:
        """No points: the picture says so, for eyes and for screen readers."""
        svg = chart("t", [])
        assert [text.text for text in parse(svg).iter(f"{NS}text")] == ["No data yet"]
        assert parse(svg).findtext(f"{NS}desc") == "No data yet."

    @charts
    def test_zero_draws_no_mark(self, chart: Draw) -> None:
        """Zeros have a place and a label but no mark."""
        svg = chart("t", [Point("a", 0), Point("b", 0)])
        assert shapes(svg, "accent") == shapes(svg, "below") == []
        assert "a" in [text.text for text in parse(svg).iter(f"{NS}text")]

    @charts
    def test_negative_looks_other(self, chart: Draw) -> None:
        """Values below zero have another colour."""
        svg = chart("t", [Point("a", 3), Point("b", -1), Point("c", -2)])
        assert (len(shapes(svg, "accent")), len(shapes(svg, "below"))) == (1, 2)

    @charts
    def test_callers_decimal_context(self, chart: Draw) -> None:
        """A narrow or strict decimal context of the caller changes nothing."""
        points = [Point("a", Decimal("1234567.89")), Point("b", 3.3), Point("c", 10**20)]
        usual = chart("t", points)
        with decimal.localcontext(decimal.Context(prec=2, traps=[decimal.Inexact])):
            assert chart("t", points) == usual

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0, "0"),
            (-0.0, "0"),
            (999, "999"),
            (850_000, "850k"),
            (999_950, "1M"),
            (1_234_567, "1.23M"),
            (1_045_000, "1.05M"),
            (-11_250, "−11.3k"),
            (2_000_000_000, "2B"),
            (Decimal("0.25"), "0.25"),
            (10**15, "1e15"),
            (10**400, "1e400"),
            (Decimal("-1.5E-30"), "−1.5e−30"),
        ],
    )
    def test_abbreviated(self, value: float, text: str) -> None:
        """Three significant digits, rounded half up, with k, M, B or T."""
        assert abbreviate(value) == text

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (-0.0, "0"),
            (1_234_567, "1,234,567"),
            (12.5, "12.50"),
            (Decimal("-0.1"), "−0.10"),
            (0.005, "0.005"),
            (3.0, "3"),
            (10**20, "1e20"),
        ],
    )
    def test_in_full(self, value: float, text: str) -> None:
        """Thousands are grouped; a fraction has two decimals unless they would hide it."""
        assert format_number(value) == text


class TestColumns:
    def test_thirteen_months_all_named(self) -> None:
        """Thirteen months have room for thirteen labels and thirteen values."""
        svg = column_chart("t", [Point(name, 1_234_567) for name in MONTHS], unit="RON")
        assert shown(svg, "middle") == ["1.23M"] * 13 + list(MONTHS)
        assert_apart(texts(svg, "middle")[13:], 960)
        assert_apart(texts(svg, "value"), 960)

    @pytest.mark.parametrize("count", [1, 2, 5, 13, 36, 200, 1000])
    @pytest.mark.parametrize(
        "label", ["{}", "2025-{}", "{} WWWWWW month with a long name", "界{}界界"]
    )
    def test_labels_apart(self, count: int, label: str) -> None:
        """Labels never touch nor leave the picture, and the last one is always there."""
        points = [Point(label.format(place), place) for place in range(count)]
        labels = [
            each
            for each in texts(column_chart("t", points), "muted")
            if "middle" in each.get("class", "")
        ]
        assert_apart(labels, 960)
        last = (labels[-1].text or "").rstrip("…")
        assert last
        assert points[-1].label.startswith(last)

    @pytest.mark.parametrize("count", [13, 36])
    def test_values_apart(self, count: int) -> None:
        """Values stand at the columns only while all of them fit."""
        svg = column_chart("t", [Point(f"m{place}", 123_456 + place) for place in range(count)])
        if count == 13:
            assert_apart(texts(svg, "value"), 960)
        else:
            assert texts(svg, "value") == []

    def test_heights_follow_values(self) -> None:
        """A column of twice the value is twice as tall."""
        svg = column_chart("t", [Point("a", 100), Point("b", 200)])
        one, two = (height(each) for each in shapes(svg, "accent"))
        assert two == pytest.approx(2 * one, abs=0.05)

    @pytest.mark.parametrize(
        ("values", "ticks"),
        [
            ((1_333_210, 402_110), ["0", "500k", "1M", "1.5M"]),
            ((3,), ["0", "1", "2", "3"]),
            ((1,), ["0", "1"]),
            ((0.3,), ["0", "0.1", "0.2", "0.3"]),
            ((10,), ["0", "5", "10"]),
            ((-18_000, 31_000), ["−20k", "0", "20k", "40k"]),
            ((0, 0), ["0", "1"]),
        ],
    )
    def test_ticks(self, values: tuple[float, ...], ticks: list[str]) -> None:
        """The axis has few round numbers, zero among them, whole ones for whole values."""
        assert shown(column_chart("t", [Point("a", value) for value in values]), "end") == ticks

    def test_values_clear_of_labels(self) -> None:
        """The value under a hanging column does not run into the label below it."""
        svg = column_chart("t", [Point("a", -100)])
        value, label = (float(each.get("y", "")) for each in texts(svg, "middle"))
        assert label - value >= 13

    def test_long_unit(self) -> None:
        """A long unit is cut with an ellipsis."""
        assert shown(column_chart("t", [Point("a", 1)], unit="x" * 500), "muted")[0].endswith("x…")


def height(column: ET.Element) -> float:
    """How far a column's path goes from its base: the straight part and the corner."""
    found = re.search(r"v(-?[\d.]+)q0 (-?[\d.]+)", column.get("d", ""))
    assert found
    return abs(float(found[1]) + float(found[2]))


class TestBars:
    def test_value_and_share(self) -> None:
        """Each row shows its value and its share of the whole."""
        svg = bar_chart("t", [Point("gold", 1000), Point("silver", 3000)], unit="RON")
        assert shown(svg, "ink") == ["gold", "silver"]
        assert shown(svg, "value") == ["1,000\xa0RON", "3,000\xa0RON"]
        assert shown(svg, "muted") == ["25.0%", "75.0%"]

    def test_lengths_follow_values(self) -> None:
        """The longest bar fills the width, the others are in proportion."""
        svg = bar_chart("t", [Point("a", 50), Point("b", 200)])
        short, full = (float(each.get("width", "")) for each in shapes(svg, "accent"))
        assert full == float(parse(svg).get("viewBox", "").split()[2])
        assert short == pytest.approx(full / 4, abs=0.01)

    @pytest.mark.parametrize("values", [(0, 0), (5, -1)])
    def test_no_meaningless_share(self, values: tuple[int, int]) -> None:
        """Nothing to share, or something below zero: no share is shown."""
        assert shown(bar_chart("t", [Point("a", value) for value in values]), "muted") == []

    def test_small_share_is_not_zero(self) -> None:
        """A share that would round to nothing is told apart from none, and its bar is visible."""
        svg = bar_chart("t", [Point("a", 1), Point("b", 99_999), Point("c", 0)])
        assert shown(svg, "muted") == ["<0.1%", "100.0%", "0.0%"]
        assert float(shapes(svg, "accent")[0].get("width", "")) == 2

    @pytest.mark.parametrize("label", ["W" * 5000, "customer tier " * 40, "界" * 300])
    @pytest.mark.parametrize("value", [5, 10**14, 10**400])
    def test_label_clear_of_value(self, label: str, value: int) -> None:
        """A long label ends in an ellipsis before the value begins."""
        svg = bar_chart("t", [Point(label, value), Point("b", 1)], unit="a unit with a long name")
        [name, *_], [amount, *_] = texts(svg, "ink"), texts(svg, "value")
        assert (name.text or "").endswith("…")
        starts = float(amount.get("x", "")) - text_width(amount.text or "", 13)
        assert text_width(name.text or "", 13) < starts

    def test_below_zero_to_the_left(self) -> None:
        """Bars below zero end where the others begin."""
        svg = bar_chart("t", [Point("a", -5), Point("b", 15)])
        [below], [above] = shapes(svg, "below"), shapes(svg, "accent")
        end = float(below.get("x", "")) + float(below.get("width", ""))
        assert end == pytest.approx(float(above.get("x", "")), abs=0.01)
        assert end == pytest.approx(80, abs=0.01)


class TestText:
    def test_escape(self) -> None:
        """Markup is quoted, and what XML forbids is replaced."""
        assert escape("<a b=\"c\" d='e'>&") == "&lt;a b=&quot;c&quot; d=&#x27;e&#x27;&gt;&amp;"
        assert escape("a\0b\ud800c\x1bd") == "a�b�c�d"
        assert escape("ăîșț 界 🎉\n") == "ăîșț 界 🎉\n"

    def test_shorten(self) -> None:
        """Text that fits stays; other text is cut to the room, ellipsis included."""
        assert shorten("short", 13, 100) == "short"
        cut = shorten("much too long for it", 13, 60)
        assert cut.endswith("…")
        assert 40 < text_width(cut, 13) <= 60

    def test_line_breaks(self) -> None:
        """A label is one line."""
        assert shorten(" a\n\tb ", 13, 100) == "a b"
