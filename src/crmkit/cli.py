"""The command line: ``crmkit demo``, ``migrate``, ``report`` and ``export``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from crmkit.errors import CRMError, InvalidInput, MissingExtra

OK: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130

_DESCRIPTION: Final = "A CRM inside your booking app: its database, its transactions."
_EPILOG: Final = """\
examples:
  crmkit demo
  crmkit demo --storage postgresql://user:secret@localhost/crm
  crmkit migrate sqlite:///crm.db
  crmkit report sqlite:///crm.db
  crmkit export CUSTOMER-ID --storage sqlite:///crm.db

`crmkit COMMAND --help` tells more about a command.
"""
_DEMO: Final = """\
Record a year of bookings as a host would: for each, find or create the customer and
track the booking, in one transaction. Then print, and write as one HTML page, what
crmkit knows: customers, revenue, segments, tiers, one person's profile and timeline,
and the proof that an erased person is gone.

The bookings go into a tenant of their own, "demo". Running it again changes nothing.
"""
_DEMO_EPILOG: Final = """\
examples:
  crmkit demo
  crmkit demo --limit 1000 --report /tmp/report.html
  crmkit demo --storage postgresql://user:secret@localhost/crm
  crmkit demo --bookings mine.csv      (compared with mine_truth.csv, if that is there)

A row that cannot be used is reported with its line number, and skipped.
"""
_MIGRATE: Final = """\
Make or update crmkit's tables in a database, to the schema that this version needs.
Other tables are left alone. Doing it again changes nothing.
"""
_MIGRATE_EPILOG: Final = """\
examples:
  crmkit migrate sqlite:///crm.db
  crmkit migrate postgresql://user:secret@localhost/crm

Updating an older schema needs Alembic: pip install 'crmkit[migrations]'
"""

_REPORT: Final = """\
Write all reports about a tenant's customers as one HTML page that needs no other file:
active and new customers, retention, cohorts, value, segments, tiers, visits, consent
and more. The page names customers; keep it as you keep them. Nothing in the database
is changed.
"""
_REPORT_EPILOG: Final = """\
examples:
  crmkit report sqlite:///crm.db
  crmkit report sqlite:///crm.db --tenant club-panico --currency RON --page club.html

Settings are not stored: currency and time zone are those that the app runs with.
"""

_EXPORT: Final = """\
Write what is held about one customer into a file: all of it (GDPR Art. 15), or what the
person may take along (Art. 20). Other people are left out. Read notes before you send
them. Only you may read the file; nothing in the database is changed.
"""
_EXPORT_EPILOG: Final = """\
examples:
  crmkit export 0199f3c2-… --storage sqlite:///crm.db
  crmkit export 0199f3c2-… --storage sqlite:///crm.db --format csv --output ana.zip
  crmkit export 0199f3c2-… --storage sqlite:///crm.db --kind portability --format json

Settings are not stored: what `Settings.privacy` states is told by exports of the app.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 done, 1 failed, 2 wrongly called."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help(sys.stderr)
        return MISUSED
    try:
        options.run(options)
    except InvalidInput as error:
        return _failed(error, MISUSED)
    except BrokenPipeError:
        # Whoever reads the output has seen enough; the rest of it must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (CRMError, OSError) as error:
        return _failed(error, FAILED)
    except KeyboardInterrupt:
        return _failed("interrupted; run the same command again to go on", INTERRUPTED)
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = _described(argparse.ArgumentParser, _DESCRIPTION, _EPILOG, prog="crmkit")
    parser.add_argument("--version", action="version", version=f"crmkit {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    parser.set_defaults(run=None)

    demo = _described(
        commands.add_parser, _DEMO, _DEMO_EPILOG, name="demo", help="a year of bookings, end to end"
    )
    demo.add_argument(
        "--storage",
        metavar="URL",
        default="sqlite:///crmkit-demo.db",
        help="the database; an empty one gets crmkit's tables (default: %(default)s)",
    )
    demo.add_argument(
        "--report",
        metavar="PATH",
        type=Path,
        default=Path("report.html"),
        help="the page to write (default: %(default)s)",
    )
    demo.add_argument(
        "--bookings",
        metavar="PATH",
        type=Path,
        help="a CSV file, plain or gzipped, with the columns of crmkit's own (default: that one)",
    )
    demo.add_argument(
        "--limit", metavar="N", type=_count, help="read the first N bookings only (default: all)"
    )
    demo.set_defaults(run=_demo)

    migrate = _described(
        commands.add_parser, _MIGRATE, _MIGRATE_EPILOG, name="migrate", help="make or update tables"
    )
    migrate.add_argument(
        "url", metavar="URL", help="the database, such as sqlite:///crm.db or postgresql://…"
    )
    migrate.set_defaults(run=_migrate)
    _add_report(commands)
    _add_export(commands)
    return parser


def _add_report(commands: Any) -> None:
    report = _described(
        commands.add_parser, _REPORT, _REPORT_EPILOG, name="report", help="all reports as one page"
    )
    report.add_argument("url", metavar="URL", help="the database")
    report.add_argument(
        "--page",
        metavar="PATH",
        type=Path,
        default=Path("customers.html"),
        help="the page to write (default: %(default)s)",
    )
    report.add_argument(
        "--tenant", metavar="NAME", default="default", help="whose customers (default: %(default)s)"
    )
    report.add_argument(
        "--currency", metavar="CODE", default="EUR", help="of all amounts (default: %(default)s)"
    )
    report.add_argument(
        "--timezone", metavar="ZONE", default="UTC", help="of the place (default: %(default)s)"
    )
    report.set_defaults(run=_report)


def _add_export(commands: Any) -> None:
    export = _described(
        commands.add_parser, _EXPORT, _EXPORT_EPILOG, name="export", help="what is held of somebody"
    )
    export.add_argument("customer", metavar="ID", help="the id of the customer")
    export.add_argument("--storage", metavar="URL", required=True, help="the database")
    export.add_argument(
        "--kind",
        choices=("access", "portability"),
        default="access",
        help="everything, or what can be taken along (default: %(default)s)",
    )
    export.add_argument(
        "--format",
        choices=("html", "json", "csv"),
        default="html",
        help="csv is a ZIP archive of one file for each table (default: %(default)s)",
    )
    export.add_argument(
        "--output", metavar="PATH", type=Path, help="the file (default: export.html, .json or .zip)"
    )
    export.add_argument(
        "--tenant", metavar="NAME", default="default", help="whose customer (default: %(default)s)"
    )
    export.add_argument(
        "--currency", metavar="CODE", default="EUR", help="of all amounts (default: %(default)s)"
    )
    export.set_defaults(run=_export)


def _described(make: Any, description: str, epilog: str, **options: Any) -> argparse.ArgumentParser:
    """A parser whose texts keep their lines."""
    parser: argparse.ArgumentParser = make(
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **options,
    )
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:18]) > 0):
        raise argparse.ArgumentTypeError("expected a whole number from 1")
    return int(text)


def _demo(options: argparse.Namespace) -> None:
    if find_spec("rich") is None:
        raise MissingExtra("the demo prints with rich: pip install 'crmkit[cli]'")
    from rich.console import Console

    from crmkit.demo import bookings, report, run, terminal

    page = _writable(options.report, "--report")
    console = Console(highlight=False)
    with terminal.progress(console) as progress:
        outcome = run.run(
            options.storage,
            path=options.bookings or bookings.PACKAGED,
            limit=options.limit,
            progress=progress,
        )
    page.write_text(report.page(outcome).to_html(), encoding="utf-8")
    terminal.show(console, outcome)
    console.print(f"\nThe whole report: {page}\n", markup=False, soft_wrap=True)


def _report(options: argparse.Namespace) -> None:
    from crmkit.config import Settings
    from crmkit.service import CRMService

    page = _writable(options.page, "--page")
    settings = Settings(currency=options.currency, timezone=options.timezone)
    with CRMService(options.url, settings=settings, tenant=options.tenant) as crm:
        made = crm.reports.page(title=f"Customers of {options.tenant}")
    page.write_text(made.to_html(), encoding="utf-8")
    print(f"The report: {page}")


def _export(options: argparse.Namespace) -> None:
    from crmkit.config import Settings
    from crmkit.service import CRMService

    ending = "zip" if options.format == "csv" else options.format
    file = _writable(options.output or Path(f"export.{ending}"), "--output")
    settings = Settings(currency=options.currency)
    with CRMService(options.storage, settings=settings, tenant=options.tenant) as crm:
        made = crm.gdpr.export(options.customer, options.kind)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)  # before anything is in it
    if options.format == "csv":
        made.csv(file)
    elif options.format == "json":
        made.to_json(file)
    else:
        file.write_text(made.html(), encoding="utf-8")
    print(f"The copy: {file}")


def _writable(page: Path, option: str) -> Path:
    if page.is_dir() or not page.absolute().parent.is_dir():
        raise InvalidInput("expected a file in a folder that exists", field=option)
    return page


def _migrate(options: argparse.Namespace) -> None:
    from crmkit.adapters.sql import migrate, schema
    from crmkit.adapters.sql.engine import opened

    with opened(options.url) as engine, engine.begin() as connection:
        before = schema.version(connection.connection.cursor(), engine.dialect.name)
        migrate(connection)
    if before == schema.HEAD:
        print(f"crmkit's schema is up to date: {schema.HEAD}")
    else:
        print(f"crmkit's schema is now {schema.HEAD} (it was {before or 'not there'})")


def _version() -> str:
    try:
        return version("crmkit")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "(not installed)"


def _failed(what: object, code: int) -> int:
    print(f"crmkit: {what}", file=sys.stderr)
    return code
