"""README and docs: examples run, public names are described, links lead somewhere."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import attrs
import pytest
import sqlalchemy as sa

import crmkit
import crmkit.presets
import crmkit.rules
import crmkit.testing
from crmkit import CRMService, MemoryStorage, Settings, cli
from crmkit.customers import normalise
from crmkit.model import Metrics, entry_of
from crmkit.payload_fields import COMMON
from crmkit.ports.storage import Storage, UnitOfWork
from docs import generate
from tests.postgres import database

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
README: Final = ROOT / "README.md"
PAGES: Final = (README, *sorted(DOCS.rglob("*.md")))
REFERENCE: Final = DOCS / "reference"

METHODS_MAX: Final = 15
README_LINES_MAX: Final = 200
FIRST_CODE_LINES: Final = 15

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPECTED = re.compile(r"# -> ?(.*?)[ ]*$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SERVER = re.compile(r"postgresql(?:\+psycopg)?://localhost/app")
_WITHOUT_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The line before each block of a language, and the block."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start(2)), found[2])
        for found in _FENCE.finditer(text)
        if found[1] == language
    ]


# --- examples ---


def run_block(source: str, name: str, line: int, space: dict[str, Any]) -> None:
    """Run a block in a namespace; compare what `# ->` comments promise.

    Behind or below a statement they list the lines it prints, or else its value.
    """
    lines = source.split("\n")
    for statement in ast.parse(source).body:
        end = statement.end_lineno or statement.lineno
        while lines[end].startswith("# ->"):
            end += 1
        expected = _EXPECTED.findall("\n".join(lines[statement.lineno - 1 : end]))
        ast.increment_lineno(statement, line)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            value = _run(statement, name, space)
        if expected:
            actual = said.getvalue().splitlines() or [repr(value)]
            assert actual == expected, f"{name}:{statement.lineno}"


def _run(statement: ast.stmt, name: str, space: dict[str, Any]) -> object:
    if isinstance(statement, ast.Expr):
        return eval(compile(ast.Expression(statement.value), name, "eval"), space)  # noqa: S307
    exec(compile(ast.Module([statement], []), name, "exec"), space)  # noqa: S102
    return None


def _close(space: dict[str, Any]) -> None:
    for value in space.values():
        if isinstance(value, CRMService):
            value.close()
        elif isinstance(value, sa.Engine):
            value.dispose()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty PostgreSQL database for one page."""
    with database(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=_name(p)) for p in PAGES if _blocks(p, "python")]
)
def test_examples_run(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """The examples of a page run from top to bottom and give what they say."""
    monkeypatch.chdir(tmp_path)
    blocks = _blocks(page, "python")
    url = ""
    if any(_SERVER.search(block) for _, block in blocks):
        url = request.getfixturevalue("server")
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # for annotations of mapped classes
    space = vars(module)
    try:
        for line, block in blocks:
            run_block(_SERVER.sub(lambda _: url, block), _name(page), line, space)
    finally:
        _close(space)


def test_a_wrong_promise_is_found() -> None:
    """A `# ->` comment that does not hold fails, for a value and for what is printed."""
    run_block("1 + 1  # -> 2\nprint('a')  # -> a\n", "page", 0, {})
    for wrong in ("1 + 1  # -> 3\n", "print('a')  # -> b\n", "print('a')\n# -> a\n# -> b\n"):
        with pytest.raises(AssertionError):
            run_block(wrong, "page", 0, {})


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_block_says_its_language(page: Path) -> None:
    """Blocks are python, which runs, or sh and text, which do not."""
    text = page.read_text(encoding="utf-8")
    assert {found[1] for found in _FENCE.finditer(text)} <= {"python", "sh", "text"}
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(_FENCE.findall(text))


def test_the_adapter_of_the_how_to_keeps_the_contract(tmp_path: Path) -> None:
    """The storage that the how-to writes passes `StorageContract`."""
    page = DOCS / "how-to" / "write-a-storage-adapter.md"
    blocks = [block for _, block in _blocks(page, "python")]
    (tmp_path / "test_adapter.py").write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(crmkit.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:]
    assert " passed" in done.stdout


# --- the README ---


def test_readme_is_short() -> None:
    """A busy developer finishes it."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= README_LINES_MAX


def test_readme_tracks_within_fifteen_lines_of_code() -> None:
    """The first tracked activity comes early."""
    code = "".join(block for _, block in _blocks(README, "python")).splitlines()
    (first, *_) = (n for n, line in enumerate(code, 1) if "track_activity(" in line)
    assert first <= FIRST_CODE_LINES


@pytest.mark.parametrize("target", ["demo", "test"])
def test_readme_has_the_commands_of_make(target: str) -> None:
    """Under `make demo` and `make test` stand the plain commands that they run."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found is not None
    shell = "\n".join(block for _, block in _blocks(README, "sh"))
    assert f"`make {target}`" in README.read_text(encoding="utf-8")
    for command in found[1].strip().split("\n"):
        assert command.strip().replace("$(BIN)", ".venv/bin") in shell


# --- the reference ---


def _reference() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md")))


def _namespaces() -> dict[str, object]:
    crm = CRMService(MemoryStorage())
    return {
        "customers": crm.customers,
        "identity": crm.identity,
        "activities": crm.activities,
        "insights": crm.insights,
        "insights.standing": crm.insights.standing,
        "reports": crm.reports,
        "segments": crm.segments,
        "segments.analytics": crm.segments.analytics,
        "loyalty": crm.loyalty,
        "loyalty.rewards": crm.loyalty.rewards,
        "gdpr": crm.gdpr,
        "gdpr.consents": crm.gdpr.consents,
        "gdpr.requests": crm.gdpr.requests,
        "gdpr.audit": crm.gdpr.audit,
    }


def _public_methods(of: object) -> dict[str, Any]:
    cls = of if inspect.isclass(of) else type(of)
    return {
        name: method
        for name, method in inspect.getmembers(cls, callable)
        if not name.startswith("_") and not inspect.isclass(method)
    }


def _missing(names: list[str], text: str) -> list[str]:
    return [name for name in names if not re.search(rf"`[^`\n]*\b{re.escape(name)}\b", text)]


@pytest.mark.parametrize(
    "module",
    [crmkit, crmkit.presets, crmkit.rules, crmkit.testing],
    ids=lambda m: m.__name__,
)
def test_every_exported_name_is_in_the_reference(module: ModuleType) -> None:
    """What can be imported is described."""
    assert _missing(list(module.__all__), _reference()) == []


@pytest.mark.parametrize("namespace", _namespaces())
def test_every_method_is_in_the_reference(namespace: str) -> None:
    """Each public method stands in its namespace's page, written as a call."""
    page = REFERENCE / f"{namespace.split('.', maxsplit=1)[0]}.md"
    text = page.read_text(encoding="utf-8")
    names = _public_methods(_namespaces()[namespace])
    assert [name for name in names if f"`{name}(" not in text] == []


def test_the_front_door_is_in_the_reference() -> None:
    """Each public name of `CRMService` stands in its page."""
    names = [name for name in vars(CRMService) if not name.startswith("_")]
    text = (REFERENCE / "service.md").read_text(encoding="utf-8")
    assert _missing(names, text) == []


@pytest.mark.parametrize("namespace", _namespaces())
def test_a_namespace_is_small(namespace: str) -> None:
    """A namespace has at most 15 public methods, beside those that only crmkit calls."""
    methods = _public_methods(_namespaces()[namespace]).values()
    for_hosts = [m for m in methods if "crmkit's own" not in (inspect.getdoc(m) or "")]
    assert len(for_hosts) <= METHODS_MAX


@pytest.mark.parametrize("namespace", [*_namespaces(), "service"])
def test_every_method_has_a_docstring(namespace: str) -> None:
    """`help()` says what a method does."""
    of = CRMService if namespace == "service" else _namespaces()[namespace]
    assert [n for n, method in _public_methods(of).items() if not inspect.getdoc(method)] == []


def test_every_operation_of_the_ports_is_in_the_reference() -> None:
    """The author of an adapter finds each operation of a storage and of a unit of work."""
    text = (REFERENCE / "storage.md").read_text(encoding="utf-8")
    names = [*_public_methods(UnitOfWork), *_public_methods(Storage)]
    assert [name for name in names if f"`{name}(" not in text] == []


@pytest.mark.parametrize("command", ["demo", "export", "migrate", "report"])
def test_every_option_is_in_the_reference(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What `--help` lists is described."""
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    options = re.findall(r"^  (?:-h, )?(--[a-z]+)", capsys.readouterr().out, re.MULTILINE)
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert f"## `crmkit {command}" in text
    assert [option for option in options if f"`{option}" not in text] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("activities", [name for name in entry_of(Metrics).names if name != "tenant"]),
        ("activities", [word for f in COMMON for word in (f.name, *f.choices, *f.aliases)]),
        ("customers", list(normalise._FIELDS)),
        ("customers", list(normalise._PREFERENCES)),
        ("customers", list(normalise.CHANNELS)),
        ("settings", [a.name for a in attrs.fields(Settings)]),
    ],
    ids=["metrics", "payload keys", "customer keys", "preferences", "channels", "settings"],
)
def test_every_word_of_the_input_is_described(page: str, names: list[str]) -> None:
    """Each key, counter, status and setting is named on its page."""
    text = (REFERENCE / f"{page}.md").read_text(encoding="utf-8")
    assert _missing(names, text) == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_generated_tables_are_fresh(page: Path) -> None:
    """Tables that follow from the code agree with it; `python docs/generate.py` rewrites them."""
    text = page.read_text(encoding="utf-8")
    assert generate.rewritten(text) == text


@pytest.mark.parametrize("name", generate.PICTURES)
def test_generated_pictures_are_fresh(name: str) -> None:
    """Pictures that follow from the code agree with it."""
    assert generate.PICTURES[name]() == (DOCS / "images" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", generate.FILES)
def test_generated_files_are_fresh(name: str) -> None:
    """Files that follow from the code agree with it."""
    assert generate.FILES[name]() == (DOCS / name).read_text(encoding="utf-8")


def test_every_generated_table_is_used() -> None:
    """No generator is forgotten."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [t for t in generate.TABLES if f"<!-- generated: {t} -->" not in pages] == []


# --- links ---


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files and headings that a page links to are there."""
    for target in _LINK.findall(_WITHOUT_CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


def test_the_index_leads_to_every_page() -> None:
    """No page of the docs is lost."""
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = [p.relative_to(DOCS).as_posix() for p in PAGES if p.is_relative_to(DOCS)]
    assert [p for p in pages if p != "README.md" and f"({p})" not in index] == []


def test_pictures_hold_no_script() -> None:
    """An SVG of the docs is a still picture with a title."""
    for picture in (DOCS / "images").glob("*.svg"):
        text = picture.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "<title" in text
