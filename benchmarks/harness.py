"""Timing two ways of doing one thing side by side, so that a noisy machine hurts both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import attrs


@attrs.frozen
class Timing:
    """Calls of one kind: microseconds each, and microseconds of this process's CPU on average."""

    samples: tuple[float, ...]
    cpu: float

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
            f"  p99 {c.percentile(0.99):7,.0f} µs  CPU {c.cpu:7,.0f} µs\n"
            f"{'':6}by hand {h.per_second:8,.0f}/s  p50 {h.percentile(0.5):7,.0f} µs"
            f"  p99 {h.percentile(0.99):7,.0f} µs  CPU {h.cpu:7,.0f} µs"
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
    ours: list[Timing] = []
    theirs: list[Timing] = []
    for n in range(1, rounds + 1):
        ours.append(_timed(crmkit, n * calls, calls))
        theirs.append(_timed(by_hand, n * calls, calls))
    ratios = tuple(sum(h.samples) / sum(c.samples) for c, h in zip(ours, theirs, strict=True))
    return Comparison(name, _joined(ours), _joined(theirs), ratios)


def _joined(timings: Sequence[Timing]) -> Timing:
    samples = tuple(sample for timing in timings for sample in timing.samples)
    return Timing(samples, statistics.fmean(timing.cpu for timing in timings))


def _timed(call: Callable[[int], object], start: int, calls: int) -> Timing:
    samples = []
    cpu = time.process_time()
    for n in range(start, start + calls):
        begun = time.perf_counter()
        call(n)
        samples.append((time.perf_counter() - begun) * 1e6)
    return Timing(tuple(samples), (time.process_time() - cpu) * 1e6 / calls)
