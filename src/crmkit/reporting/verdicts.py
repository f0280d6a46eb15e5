"""A picture of why somebody is in a segment, or is not."""

from __future__ import annotations

from collections.abc import Iterator

from crmkit.reporting.svg import Step, Svg, tree_chart
from crmkit.segmentation.describe import moment_words
from crmkit.segmentation.verdicts import Explanation, Verdict


def verdict_tree(explanation: Explanation, *, title: str = "") -> Svg:
    """Draw an explanation: each part of the rule with its verdict, what was found, until when.

    It shows values, as the explanation does.

    Args:
        explanation: What `crm.segments.explain` returned.
        title: Name for screen readers; made from the segment's name when empty.
    """
    word = "in" if explanation.holds else "not in"
    return tree_chart(
        title or f"Why {word} {explanation.segment}", [*_steps(explanation, explanation.root, 0)]
    )


def _steps(explanation: Explanation, verdict: Verdict, depth: int) -> Iterator[Step]:
    until = verdict.until
    yield Step(
        depth,
        verdict.holds,
        verdict.words,
        verdict.found,
        f"until {moment_words(until, explanation.zone)}" if until else "",
    )
    for part in verdict.parts:
        yield from _steps(explanation, part, depth + 1)
