"""Run all benchmarks: ``python -m benchmarks``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from itertools import chain
from pathlib import Path

from benchmarks.bulk import postgresql_imports, sqlite_imports
from benchmarks.front_door import postgresql_comparisons, sqlite_comparisons
from benchmarks.insights import insights_comparisons
from benchmarks.search import postgresql_searches, sqlite_searches


def import_cpu_ms() -> float:
    """CPU milliseconds of ``import crmkit`` in a fresh process, the least of five."""
    code = "import time; t = time.process_time(); import crmkit; print(time.process_time() - t)"
    runs = []
    for _ in range(5):
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        runs.append(float(run.stdout))
    return min(runs) * 1000


def main() -> None:
    """Print every figure."""
    print(f"import crmkit: {import_cpu_ms():.0f} ms CPU")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for figure in chain(
            sqlite_comparisons(path),
            sqlite_imports(path),
            insights_comparisons(path),
            sqlite_searches(path),
        ):
            print(figure.line(), flush=True)
    for figure in chain(postgresql_comparisons(), postgresql_imports(), postgresql_searches()):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
