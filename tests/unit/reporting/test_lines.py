"""Lines as a picture."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from crmkit.reporting.lines import Line, line_chart

NS = "{http://www.w3.org/2000/svg}"
CAME = Line("as they came", [10, 20, 15])
EXPECTED = Line("expected", [12, 18, 16.5])


def strokes(svg: str, kind: str) -> str:
    """How the line of a kind is drawn: the last path of its class, the first is the legend's."""
    found = [p.get("d", "") for p in ET.fromstring(svg).iter(f"{NS}path") if p.get("class") == kind]  # noqa: S314 - made here
    return found[-1]


def heights(svg: str, kind: str) -> list[float]:
    return [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", strokes(svg, kind))]


def test_higher_values_stand_higher() -> None:
    svg = line_chart("t", ["a", "b", "c"], [CAME, EXPECTED])
    one = heights(svg, "one")
    assert one[1] < one[2] < one[0]
    assert heights(svg, "other")[0] < one[0]


def test_each_label_tells_its_values() -> None:
    svg = line_chart("t", ["a", "b", "c"], [CAME, EXPECTED], unit="visits")
    assert "<title>b: as they came: 20 visits, expected: 18 visits</title>" in svg
    assert ">as they came</text>" in svg


def test_a_gap_parts_the_line() -> None:
    """What is missing is no zero."""
    svg = line_chart("t", list("abcd"), [Line("x", [1, None, 3, 4])])
    path = strokes(svg, "one")
    assert (path.count("M"), path.count("L")) == (2, 1)


def test_nothing_to_draw() -> None:
    for lines in (
        [],
        [Line("x", [])],
    ):
        assert "No data yet" in line_chart("t", [], lines)
    assert "No data yet" in line_chart("t", ["a"], [Line("x", [None])])


@pytest.mark.parametrize("lines", [[CAME, CAME, CAME], [Line("short", [1])]])
def test_what_does_not_fit_is_refused(lines: list[Line]) -> None:
    with pytest.raises(ValueError, match="one or two lines"):
        line_chart("t", ["a", "b", "c"], lines)


def test_it_stays_inside_and_escapes() -> None:
    svg = line_chart("<t>", ["<a>", "b", "c"], [Line("<x>", [-5, 0, 7e6]), EXPECTED])
    assert "<a>" not in svg
    assert "<x>" not in svg
    assert all(0 <= y <= 320 for y in heights(svg, "one"))
