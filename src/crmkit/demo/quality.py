"""How well customers were told apart, measured against the truth; linear in the bookings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import attrs


@attrs.frozen
class Quality:
    """A grouping of records compared with the true one, pair of records by pair.

    Of all pairs put together, `precision` is the share that belongs together; of all
    pairs that belong together, `recall` is the share that was put together.
    """

    records: int
    found: int
    true: int
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def pairwise(groups: Mapping[str, str], truth: Iterable[tuple[str, str]]) -> Quality:
    """Compare groups, as record to group, with the truth; only records in both count.

    Nothing to put together, or nothing put together, counts as all right.
    """
    found: Counter[str] = Counter()
    true: Counter[str] = Counter()
    common: Counter[tuple[str, str]] = Counter()
    for record, person in truth:
        group = groups.get(record)
        if group is None:
            continue
        found[group] += 1
        true[person] += 1
        common[group, person] += 1
    right = _pairs(common.values())
    together, belonging = _pairs(found.values()), _pairs(true.values())
    return Quality(
        records=found.total(),
        found=len(found),
        true=len(true),
        precision=right / together if together else 1.0,
        recall=right / belonging if belonging else 1.0,
    )


def _pairs(sizes: Iterable[int]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes)
