"""The command line: helpful, quick to start, and one clean line when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crmkit import CRMService, cli
from crmkit.demo.bookings import COLUMNS
from tests.postgres import database


def test_without_a_command_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == cli.MISUSED

    assert "crmkit demo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--help"], ["demo", "migrate", "examples:", "crmkit migrate sqlite:///crm.db"]),
        (["demo", "--help"], ["--storage", "--report", "--bookings", "--limit", "examples:"]),
        (["migrate", "--help"], ["URL", "crmkit[migrations]", "examples:"]),
        (["export", "--help"], ["ID", "--storage", "--kind", "--format", "--output", "examples:"]),
        (["--version"], ["crmkit "]),
    ],
)
def test_help_names_every_option_and_gives_examples(
    arguments: list[str], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)

    printed = capsys.readouterr().out
    assert stop.value.code == 0
    assert [part for part in told if part not in printed] == []


def test_help_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], *([c, "--help"] for c in ("demo", "migrate", "export"))):
        with pytest.raises(SystemExit):
            cli.main(arguments)

    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 88


def test_starting_it_imports_neither_the_database_nor_the_printing() -> None:
    code = (
        "import sys; from crmkit import cli; "
        "sys.exit(bool({'sqlalchemy', 'rich', 'alembic', 'psycopg'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crmkit", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("crmkit ")


def test_the_demo_prints_and_writes_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    command = ["demo", "--storage", f"sqlite:///{tmp_path}/demo.db", "--report", str(page)]

    assert cli.main([*command, "--limit", "120"]) == cli.OK

    printed = capsys.readouterr()
    assert printed.err == ""
    for wanted in ("Bookings read", "Who is who", "Revenue by month", "Tier", "lapsed regulars"):
        assert wanted in printed.out
    assert "0 after" in printed.out
    assert str(page) in printed.out.replace("\n", "")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_demo_prints_what_was_wrong_with_which_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(",".join(COLUMNS) + "\nbk1\n")
    command = ["demo", "--storage", f"sqlite:///{tmp_path}/demo.db", "--bookings", str(path)]

    assert cli.main([*command, "--report", str(tmp_path / "report.html")]) == cli.OK

    assert "line 2: row: expected 19 cells, found 1" in capsys.readouterr().out


def test_migrate_makes_the_tables_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/crm.db"

    assert cli.main(["migrate", url]) == cli.OK
    assert cli.main(["migrate", url]) == cli.OK

    first, second = capsys.readouterr().out.splitlines()
    assert "is now" in first
    assert "up to date" in second


def test_migrate_works_on_postgresql(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with database(postgres_url) as url:
        assert cli.main(["migrate", url]) == cli.OK

    assert "is now" in capsys.readouterr().out


def test_the_report_of_a_tenant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, page = f"sqlite:///{tmp_path}/crm.db", tmp_path / "club.html"
    with CRMService(url, tenant="club") as crm:
        crm.track_activity(crm.find_or_create({"name": "Ana"}).id, "purchase", {"amount": 7})
    command = ["report", url, "--tenant", "club", "--currency", "RON", "--page", str(page)]

    assert cli.main(command) == cli.OK

    assert str(page) in capsys.readouterr().out
    written = page.read_text(encoding="utf-8")
    assert "Customers of club" in written
    assert "Ana" in written


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["report", "crm.db"], cli.MISUSED, "expected a database URL"),
        (["report", "sqlite:///x.db", "--page", "/nowhere/x.html"], cli.MISUSED, "--page"),
        (["report", "sqlite:///x.db", "--timezone", "Mars"], cli.MISUSED, "timezone"),
        (["migrate", "crm.db"], cli.MISUSED, "expected a database URL"),
        (["migrate", "mysql://u:hidden@host/x"], cli.MISUSED, "sqlite or postgresql"),
        (["migrate", "sqlite:////nowhere/x.db"], cli.FAILED, "unable to open"),
        (["migrate", "postgresql://u:hidden@127.0.0.1:1/x"], cli.FAILED, "cannot be used"),
        (["demo", "--storage", "sqlite:////nowhere/x.db"], cli.FAILED, "unable to open"),
        (["demo", "--report", "/nowhere/report.html"], cli.MISUSED, "--report"),
        (["demo", "--bookings", "/nowhere.csv"], cli.MISUSED, "nowhere.csv"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(
    arguments: list[str],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert cli.main(arguments) == code

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("crmkit: ")
    assert told in printed.err
    assert printed.err.count("\n") == 1
    assert "hidden" not in printed.err


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5", "²"])
def test_the_limit_is_a_whole_number_from_one(
    limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["demo", "--limit", limit])

    assert stop.value.code == cli.MISUSED
    assert "--limit" in capsys.readouterr().err


def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "rich", None)

    assert cli.main(["demo"]) == cli.FAILED

    assert "crmkit[cli]" in capsys.readouterr().err


def test_an_interruption_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crmkit.demo.run.run", stop)

    assert cli.main(["demo"]) == cli.INTERRUPTED

    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def guest(tmp_path: Path) -> tuple[str, str]:
    """A database with one customer, and the id."""
    url = f"sqlite:///{tmp_path}/crm.db"
    with CRMService(url) as crm:
        return url, crm.find_or_create({"name": "Ana Pop"}).id


@pytest.mark.parametrize(
    ("options", "file", "begins"),
    [
        ([], "export.html", b"<!DOCTYPE html>"),
        (["--format", "json"], "export.json", b'{\n "format": "crmkit-access"'),
        (["--format", "csv"], "export.zip", b"PK"),
        (
            ["--kind", "portability", "--format", "json", "--output", "ana.json"],
            "ana.json",
            b'{\n "format": "crmkit-portable"',
        ),
    ],
)
def test_export_writes_a_file_that_only_its_owner_reads(
    guest: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    file: str,
    begins: bytes,
) -> None:
    monkeypatch.chdir(tmp_path)
    url, customer = guest
    for _ in range(2):  # an older copy is replaced
        assert cli.main(["export", customer, "--storage", url, *options]) == cli.OK
    written = tmp_path / file
    assert written.read_bytes().startswith(begins)
    assert written.stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().out == f"The copy: {file}\n" * 2


def test_export_of_nobody_is_one_line(
    guest: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "copy.html"
    arguments = ["export", "nobody", "--storage", guest[0], "--output", str(page)]

    assert cli.main(arguments) == cli.FAILED

    assert capsys.readouterr().err == "crmkit: no such customer\n"
    assert not page.exists()
