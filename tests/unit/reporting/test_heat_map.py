"""A grid of counts as a picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from crmkit.reporting.page import Chart, Page
from crmkit.reporting.svg import heat_map

NS = "{http://www.w3.org/2000/svg}"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS = tuple(f"{hour:02}" for hour in range(24))


def counts(*cells: tuple[int, int, int]) -> list[list[int]]:
    """A week of hours, zero but for these days, hours and numbers."""
    grid = [[0] * 24 for _ in DAYS]
    for day, hour, count in cells:
        grid[day][hour] = count
    return grid


def cells(svg: str) -> dict[str, float]:
    """How full each cell is, by its spoken name; zero where it is empty."""
    found = {}
    for group in ET.fromstring(svg).iter(f"{NS}g"):  # noqa: S314 - made here a line ago
        name, box = group.findtext(f"{NS}title") or "", group.find(f"{NS}rect")
        assert box is not None
        found[name] = float(box.get("fill-opacity", 0))
    return found


def test_the_fullest_cell_is_full() -> None:
    """The most counted is opaque, half as many stand between, one of many can still be seen."""
    found = cells(heat_map("t", DAYS, HOURS, counts((5, 23, 1_000), (5, 22, 500), (4, 21, 1))))
    assert len(found) == 7 * 24
    assert found["Sat, 23: 1,000"] == 1
    assert found["Sat, 22: 500"] == pytest.approx(0.575, abs=0.01)
    assert found["Fri, 21: 1"] == 0.15
    assert sum(1 for full in found.values() if full) == 3


def test_it_stays_inside_the_picture() -> None:
    svg = ET.fromstring(heat_map("t", DAYS, HOURS, counts((0, 0, 1))))  # noqa: S314
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    for box in svg.iter(f"{NS}rect"):
        if box.get("class") != "surface":
            assert float(box.get("x", -1)) >= 0
            assert float(box.get("x", 0)) + float(box.get("width", 0)) <= width
            assert float(box.get("y", 0)) + float(box.get("height", 0)) <= height


def test_it_is_described() -> None:
    svg = heat_map("When Ana comes", DAYS, HOURS, counts((5, 23, 7)))
    assert "168 values from Mon, 00 to Sun, 23. Highest: Sat, 23: 7." in svg
    assert ">When Ana comes</title>" in svg


@pytest.mark.parametrize(("days", "grid"), [(DAYS, counts()), ((), [])])
def test_nothing_to_show(days: tuple[str, ...], grid: list[list[int]]) -> None:
    assert "No data yet" in heat_map("t", days, HOURS, grid)


def test_names_are_escaped() -> None:
    svg = heat_map("<script>", ["<b>"], ["\0&"], [[1]])
    ET.fromstring(svg)  # noqa: S314
    assert "<script>" not in svg
    assert "<b>" not in svg


def test_a_page_takes_it() -> None:
    page = Page("t", sections=[Chart("When", heat_map("t", DAYS, HOURS, counts((1, 1, 1))))])
    assert "<svg" in page.to_html()


@pytest.mark.parametrize("grid", [[[1]], [[1, 2], [3]], [[1, 2], [3, -1]]])
def test_what_is_no_grid_is_refused(grid: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="expected"):
        heat_map("t", ["a", "b"], ["c", "d"], grid)
