"""An export as CSV: a file for each table, in a folder or a ZIP archive."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from crmkit.errors import InvalidInput
from crmkit.gdpr.export import Export, Row
from crmkit.model.cells import harmless
from crmkit.model.document import canonical

# Archives of the same export are the same bytes.
_STAMP = (1980, 1, 1, 0, 0, 0)
_BOM = "\ufeff"  # or a spreadsheet takes the text for another encoding


def write(export: Export, target: str | Path | IO[bytes]) -> tuple[str, ...]:
    """Write the tables; returns the files' names."""
    if isinstance(target, (str, Path)):
        if Path(target).is_dir():
            return _into_folder(export, Path(target))
        if not Path(target).absolute().parent.is_dir():
            raise InvalidInput("expected a folder, or a file in one that exists", field="target")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in _files(export):
            info = zipfile.ZipInfo(name, _STAMP)
            info.compress_type = zipfile.ZIP_DEFLATED
            with (
                archive.open(info, "w") as member,
                io.TextIOWrapper(member, encoding="utf-8", newline="") as file,
            ):
                _sheet(file, rows)
    return tuple(name for name, _ in _files(export))


def _into_folder(export: Export, folder: Path) -> tuple[str, ...]:
    names = []
    for name, rows in _files(export):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            _sheet(file, rows)
        names.append(name)
    return tuple(names)


def _files(export: Export) -> Iterator[tuple[str, Sequence[Row]]]:
    """The sheets by the names of their files, which say nothing of the person."""
    if export.statements:
        said = [
            {"article": s.article, "about": s.title, "says": _told(s.says)}
            for s in export.statements
        ]
        yield "information.csv", said
    for table, rows in export.records.items():
        yield f"{table}.csv", rows
    if export.withheld:
        yield (
            "withheld.csv",
            [{"table": w.table, "field": w.field, "reason": w.reason} for w in export.withheld],
        )


def _told(says: str | tuple[str, ...] | None) -> str:
    if says is None:
        return "not stated"
    return says if isinstance(says, str) else "\n".join(says)


def _sheet(file: IO[str], rows: Sequence[Row]) -> None:
    columns = dict.fromkeys(name for row in rows for name in row)
    file.write(_BOM)
    writer = csv.writer(file)
    writer.writerow(map(harmless, columns))
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)


def _cell(value: Any) -> str:
    """A value as a cell: numbers as they are, all else as text that no spreadsheet runs."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return str(value)
    return harmless(value if isinstance(value, str) else canonical(value))
