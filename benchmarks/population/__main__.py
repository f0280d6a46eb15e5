"""Writes a population and the truth about it."""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from gzip import GzipFile
from io import TextIOWrapper
from pathlib import Path
from random import Random
from typing import NamedTuple, TextIO

from benchmarks.population.clerk import Clerk
from benchmarks.population.learning import learn
from benchmarks.population.people import People
from benchmarks.population.pools import Pools, Row, Weighted

START = datetime(2022, 1, 1, tzinfo=UTC)
SECONDS = 3 * 365 * 86_400
# How often each of the sample's people is written down.
RECORDS = Weighted(
    {1: 578, 2: 201, 3: 91, 4: 49, 5: 30, 6: 19.5, 7: 10.2, 8: 10.2, 9: 5.4, 10: 4.1}
)


class Entry(NamedTuple):
    """A record before it has its place among the others."""

    second: int
    person: int
    household: int
    fields: tuple[str, ...]  # of a Row, from the source on


def entries(rng: Random, pools: Pools, size: int) -> Iterator[Entry]:
    """So many records, person by person."""
    clerk = Clerk(rng, pools)
    written = persons = households = 0
    for members in People(rng, pools).households():
        households += len(members) > 1
        for member in members:
            persons += 1
            for _ in range(min(RECORDS.draw(rng), size - written)):
                household = households if len(members) > 1 else 0
                yield Entry(rng.randrange(SECONDS), persons, household, clerk.record(member))
                written += 1
        if written >= size:
            return


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A packed text file; equal contents make equal files."""
    with (
        path.open("wb") as raw,
        GzipFile("", "wb", 6, raw, mtime=0) as packed,
        TextIOWrapper(packed, encoding="utf-8", newline="") as file,
    ):
        yield file


def read(path: Path) -> list[Row]:
    """The records of a packed file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        assert tuple(next(lines)) == Row._fields
        return [Row(*line) for line in lines]


def write(found: list[Entry], records: TextIO, truth: TextIO) -> None:
    """The records in the order of their making, and whose they are."""
    found.sort(key=lambda entry: (entry.second, entry.person))
    persons: dict[int, str] = {}
    households = {0: ""}
    width = max(7, len(str(len(found) - 1)))
    rows = csv.writer(records, lineterminator="\n")
    owners = csv.writer(truth, lineterminator="\n")
    rows.writerow(Row._fields)
    owners.writerow(("record_id", "cluster_id", "household_id"))
    for n, (second, person, household, fields) in enumerate(found):
        record_id = f"r{n:0{width}}"
        created = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        rows.writerow((record_id, created, *fields))
        cluster = persons.setdefault(person, f"c{len(persons):0{width}}")
        home = households.setdefault(household, f"h{len(households) - 1:06}")
        owners.writerow((record_id, cluster, home))


def main() -> None:
    """Write a population and the truth about it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sample", type=Path, help="people_100k.csv.gz")
    parser.add_argument("size", type=int, help="how many records")
    parser.add_argument("records", type=Path, help="where the records go")
    parser.add_argument("truth", type=Path, help="where the truth goes")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = Random(arguments.seed)
    pools = learn(rng, read(arguments.sample), arguments.size)
    found = list(entries(rng, pools, arguments.size))
    with writing(arguments.records) as records, writing(arguments.truth) as truth:
        write(found, records, truth)


if __name__ == "__main__":
    main()
