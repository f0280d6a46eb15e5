"""Timing two ways of doing one thing side by side, so that a noisy machine hurts both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import attrs


@attrs.frozen
class Timing:
    """Calls of one kind: microseconds each."""

    samples: tuple[float, ...]

    @property
    def per_second(self) -> float:
        """Throughput over all samples."""
        return 1e6 * len(self.samples) / sum(self.samples)

    def percentile(self, share: float) -> float:
        """The value that `share` of the samples stay below."""
        return sorted(self.samples)[int(share * (len(self.samples) - 1))]


@attrs.frozen
class Comparison:
    """crmkit's throughput over that of the code written by hand."""

    name: str
    crmkit: Timing
    by_hand: Timing
    round_ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.round_ratios)

    def line(self) -> str:
        """One line of the report."""
        c, h = self.crmkit, self.by_hand
        low, high = min(self.round_ratios), max(self.round_ratios)
        return (
            f"{self.name:44} {self.ratio:6.0%} of by hand ({low:.0%}–{high:.0%} over rounds)\n"
            f"{'':6}crmkit  {c.per_second:8,.0f}/s  p50 {c.percentile(0.5):7,.0f} µs"
            f"  p99 {c.percentile(0.99):7,.0f} µs\n"
            f"{'':6}by hand {h.per_second:8,.0f}/s  p50 {h.percentile(0.5):7,.0f} µs"
            f"  p99 {h.percentile(0.99):7,.0f} µs"
        )


def compare(
    name: str,
    crmkit: Callable[[int], object],
    by_hand: Callable[[int], object],
    *,
    rounds: int = 15,
    calls: int = 200,
) -> Comparison:
    """Run both in turns; each call gets a number that never repeats."""
    _timed(crmkit, 0, calls)
    _timed(by_hand, 0, calls)
    ours: list[float] = []
    theirs: list[float] = []
    ratios = []
    for n in range(1, rounds + 1):
        pair = [_timed(crmkit, n * calls, calls), _timed(by_hand, n * calls, calls)]
        ours += pair[0]
        theirs += pair[1]
        ratios.append(sum(pair[1]) / sum(pair[0]))
    return Comparison(name, Timing(tuple(ours)), Timing(tuple(theirs)), tuple(ratios))


def _timed(call: Callable[[int], object], start: int, calls: int) -> list[float]:
    samples = []
    for n in range(start, start + calls):
        begun = time.perf_counter()
        call(n)
        samples.append((time.perf_counter() - begun) * 1e6)
    return samples
