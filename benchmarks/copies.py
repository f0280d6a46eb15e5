"""Copies of a customer with very many activities: ``python -m benchmarks.copies``."""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from crmkit import CRMService
from crmkit.gdpr.export import Export

ACTIVITIES = 100_000
START = datetime(2015, 1, 1, tzinfo=UTC)


@attrs.frozen
class Copy:
    """How long a step took over how many rows, with how much memory at its peak."""

    name: str
    rows: int
    seconds: float
    peak_mb: float | None = None

    def line(self) -> str:
        """One line of the report."""
        peak = "" if self.peak_mb is None else f" {self.peak_mb:6,.0f} MB at most"
        return f"{self.name:30} {self.rows:9,} rows {self.seconds:6.1f} s{peak}"


def copies(folder: Path, activities: int = ACTIVITIES) -> Iterator[Copy]:
    """Both kinds of export, each form, and taking it over, on SQLite files."""
    with (
        CRMService(f"sqlite:///{folder / 'copied.db'}?synchronous=OFF") as crm,
        CRMService(f"sqlite:///{folder / 'taken.db'}?synchronous=OFF") as other,
    ):
        guest = crm.find_or_create({"name": "Ana", "email": "ana@pop.ro"}).id
        crm.activities.track_many(_opened(guest, activities))
        for kind in ("access", "portability"):
            export = crm.gdpr.export(guest, kind)
            rows = sum(map(len, export.records.values()))
            steps: dict[str, Callable[[], object]] = {
                "export": partial(crm.gdpr.export, guest, kind),
                "JSON": export.json,
                "HTML": export.html,
                "CSV": partial(_zipped, export),
            }
            for name, step in steps.items():
                yield Copy(f"{kind}, {name}", rows, _seconds(step), _peak_mb(step))
        document = json.loads(crm.gdpr.export(guest, "portability").json())
        take = partial(other.gdpr.import_portable, document, same_controller=True)
        yield Copy("import_portable", activities, _seconds(take))


def _opened(guest: str, count: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        payload = {"message_id": f"m{n}", "campaign": f"c{n % 50}"}
        at = START + timedelta(minutes=30 * n)
        yield {"customer_id": guest, "kind": "message_opened", "payload": payload, "at": at}


def _zipped(export: Export) -> None:
    export.csv(io.BytesIO())


def _seconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _peak_mb(step: Callable[[], object]) -> float:
    """What Python takes beyond what it had; on a run of its own, for measuring slows it down."""
    tracemalloc.start()
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activities", type=int, default=ACTIVITIES)
    with tempfile.TemporaryDirectory() as folder:
        for figure in copies(Path(folder), parser.parse_args().activities):
            print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
