"""A tree of questions is drawn with each answer told apart by shape, not by colour alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

from crmkit.reporting.svg import Step, tree_chart
from crmkit.reporting.verdicts import verdict_tree
from crmkit.segmentation.verdicts import Explanation, Verdict

STEPS = (
    Step(0, holds=False, label="all of", end="until noon"),
    Step(1, holds=True, label="spends <much>", note="400 & more"),
    Step(1, holds=False, label="not"),
    Step(2, holds=True, label="came lately", note="yesterday"),
)
NS = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - made here


def test_each_step_is_told_to_screen_readers() -> None:
    (described,) = parsed(tree_chart("Why", STEPS)).iter(f"{NS}desc")
    assert described.text == (
        "all of: no (until noon); spends <much>: yes (400 & more); not: no; "
        "came lately: yes (yesterday)."
    )


def test_each_step_stands_below_the_one_before_and_right_of_what_it_belongs_to() -> None:
    circles = [*parsed(tree_chart("Why", STEPS)).iter(f"{NS}circle")]
    xs, ys = ([int(c.get(name, "")) for c in circles] for name in ("cx", "cy"))
    assert ys == sorted(set(ys))
    assert (xs[0] < xs[1] == xs[2] < xs[3]) is True


def test_an_answer_is_a_shape() -> None:
    marks = [p.get("d") for p in parsed(tree_chart("Why", STEPS)).iter(f"{NS}path")
             if p.get("class") == "mark"]  # fmt: skip
    assert marks[0] == marks[2] != marks[1] == marks[3]


def test_lines_lead_to_each_but_the_first() -> None:
    svg = tree_chart("Why", STEPS)
    assert svg.count('class="branch"') == len(STEPS) - 1


def test_the_deepest_stays_in_the_picture() -> None:
    deep = [Step(n, holds=True, label="x" * 500, end="y" * 500) for n in range(60)]
    texts = [*parsed(tree_chart("Why", deep)).iter(f"{NS}text")]
    assert all(float(t.get("x", "")) <= 960 for t in texts)
    assert all(len(t.text or "") < 200 for t in texts)


def test_nothing_is_run_and_darkness_is_heeded() -> None:
    svg = tree_chart("Why", STEPS)
    assert "<script" not in svg
    assert "prefers-color-scheme:dark" in svg
    style = re.search(r"<style>(.*)</style>", svg)
    assert style is not None
    assert ".crm-chart .branch" in style[1]


def test_no_steps_are_no_data() -> None:
    assert "No data yet" in tree_chart("Why", ())


def test_an_explanation_is_drawn_in_the_tenants_time() -> None:
    at = datetime(2026, 6, 1, 12, tzinfo=UTC)
    leaf = Verdict(kind="comparison", words="came lately", holds=True, until=at, found="yesterday")
    root = Verdict(kind="segment", words="is in it", holds=True, until=at, parts=(leaf,))
    zone = ZoneInfo("Europe/Bucharest")
    svg = verdict_tree(Explanation(customer_id="c", segment="it", at=at, root=root, zone=zone))
    assert "<title>came lately: yes (yesterday, until 2026-06-01 15:00)</title>" in svg
    assert ">Why in it</title>" in svg
