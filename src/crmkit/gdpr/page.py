"""An export as an HTML page to read: self-contained, nothing runs, nothing is fetched; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from crmkit.gdpr.export import ACCESS, Export, Row
from crmkit.gdpr.informing import Statement
from crmkit.model import Money
from crmkit.model.money import digits
from crmkit.model.time import iso

_TITLES: Final = {"access": "A copy of your data", "portability": "Your data, to take along"}
_FEW: Final = 12  # columns, beyond which a wide table is read worse than a list
_FIRST: Final = "crm_customers"
_HEADINGS: Final = {
    "crm_customers": "Your profile",
    "crm_activities": "What you did",
    "crm_occasions": "What counts of it",
    "crm_metrics": "Your numbers",
    "crm_counters": "What you chose how often",
    "crm_identities": "What you are recognised by",
    "crm_profile_changes": "Changes of your profile",
    "crm_tags": "Labels",
    "crm_notes": "Notes about you",
    "crm_consents": "What you agreed to",
    "crm_merges": "Records that were joined",
    "crm_redirects": "Earlier customer numbers",
    "crm_idempotency": "Calls that were made about you",
    "crm_privacy_requests": "What you asked about your data",
    "crm_rectifications": "What was put right",
    "crm_segment_customers": "Groups you were put into",
    "crm_segment_states": "Groups you are in by rules",
    "crm_segment_stays": "Groups you were in",
    "crm_value_scores": "Scores",
}
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)[\d:.]*Z", re.ASCII)

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --dim: #666; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--line); }
.dim { color: var(--dim); } .missing { font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem; }
caption { text-align: left; padding: 0.3rem 0; color: var(--dim); }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.7rem; }
tr { border-bottom: 1px solid var(--line); } thead { background: var(--soft); }
td { white-space: pre-line; min-width: 5rem; overflow-wrap: break-word; }
time, .article { white-space: nowrap; } nav ul { columns: 16rem; }
td ul { margin: 0; padding-left: 1rem; white-space: normal; }
dl { margin: 0; } dd { margin-left: 1rem; }
@media (prefers-color-scheme: dark) { :root { --dim: #aaa; } }
@media print { body { max-width: none; } details { display: block; } .wide { overflow: visible; } }
"""
# No page of the person's data may run or fetch anything, whatever is written in it.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def html(export: Export) -> str:
    """The page."""
    return "".join(_page(export))


def _page(export: Export) -> Iterator[str]:
    title = _TITLES[export.kind]
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="robots" content="noindex">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n"
        f'<p class="dim">Made on {_time(iso(export.exported_at))} for customer '
        f"{escape(export.customer_id)}.</p>\n</header>\n<main>\n"
    )
    if export.erased_at:
        yield f"<p>This customer was erased on {_time(iso(export.erased_at))}.</p>\n"
    if export.is_empty:
        yield "<p>Nothing is held.</p>\n"
    yield from _contents(export)
    if export.statements:
        yield from _information(export.statements)
    for table, rows in _ordered(export):
        yield from _section(export, table, rows)
    if export.worked_out:
        yield '<section id="worked-out">\n<h2>Worked out about you</h2>\n'
        yield f"{_list(export.worked_out, _name)}</section>\n"
    yield from _gaps(export)
    yield "</main>\n</body>\n</html>\n"


def _contents(export: Export) -> Iterator[str]:
    if not export.records:
        return
    yield '<nav aria-label="Contents">\n<ul>\n'
    for table, rows in _ordered(export):
        yield f'<li><a href="#{escape(table)}">{_heading(table)}</a> ({len(rows):,})</li>\n'
    yield "</ul>\n</nav>\n"


def _ordered(export: Export) -> list[tuple[str, Sequence[Row]]]:
    """The tables, the profile first."""
    return sorted(export.records.items(), key=lambda found: found[0] != _FIRST)


def _heading(table: str) -> str:
    return _HEADINGS.get(table) or _name(table)


def _information(statements: Sequence[Statement]) -> Iterator[str]:
    yield '<section id="information">\n<h2>About the use of your data</h2>\n'
    yield "<table>\n<caption>What the law wants you to be told</caption>\n<tbody>\n"
    for said in statements:
        if said.says is None and not said.is_missing:
            continue
        yield f'<tr><th scope="row">{escape(said.title)}</th><td>{_stated(said.says)}</td>'
        yield f'<td class="dim article">{escape(said.article)}</td></tr>\n'
    yield "</tbody>\n</table>\n</section>\n"


def _stated(says: str | tuple[str, ...] | None) -> str:
    if says is None:
        return '<span class="missing">not stated</span>'
    if isinstance(says, str):
        return escape(says)
    return f"<ul>{''.join(f'<li>{escape(one)}</li>' for one in says)}</ul>" if says else "none"


def _section(export: Export, table: str, rows: Sequence[Row]) -> Iterator[str]:
    about = export.tables.get(table, {})
    said = [_readable(row, export) for row in rows]
    columns = list(dict.fromkeys(name for row in said for name in row))
    yield f'<section id="{escape(table)}">\n<h2>{_heading(table)}</h2>\n'
    caption = about.get("title") or _heading(table)
    if len(said) == 1 or len(columns) > _FEW:
        for n, row in enumerate(said, 1):
            yield from _one(row, caption if len(said) == 1 else f"{caption} ({n:,})")
    else:
        yield from _many(said, columns, caption)
    if about:
        yield from _about(about)
    yield "</section>\n"


def _readable(row: Row, export: Export) -> Row:
    """A row with amounts in major units, and without the id that the whole page is about."""
    return {
        name.removesuffix("_minor"): _money(value, row.get("currency") or export.currency)
        if name.endswith("_minor") and type(value) is int
        else value
        for name, value in row.items()
        if not (name == "customer_id" and value == export.customer_id)
    }


def _money(minor: int, currency: str) -> str:
    return f"{Money(minor, currency).amount:.{digits(currency)}f} {currency}"


def _one(row: Row, caption: str) -> Iterator[str]:
    yield f"<table>\n<caption>{escape(caption)}</caption>\n<tbody>\n"
    for name, value in row.items():
        yield f'<tr><th scope="row">{_name(name)}</th><td>{_cell(value)}</td></tr>\n'
    yield "</tbody>\n</table>\n"


def _many(rows: Sequence[Row], columns: Sequence[str], caption: str) -> Iterator[str]:
    head = "".join(f'<th scope="col">{_name(name)}</th>' for name in columns)
    yield f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0">\n<table>\n'
    yield f"<caption>{escape(caption)}</caption>\n<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n"
    for row in rows:
        yield f"<tr>{''.join(f'<td>{_cell(row.get(name))}</td>' for name in columns)}</tr>\n"
    yield "</tbody>\n</table>\n</div>\n"


def _about(about: Row) -> Iterator[str]:
    """What the table is for, and where each field comes from."""
    yield "<details>\n<summary>What this is for, and where it comes from</summary>\n<dl>\n"
    stated = {
        "Used for": about["purposes"],
        "Legal basis": about["legal_bases"],
        "Kept": about["retention"],
        "When you are erased": [about["when_erased"]],
    }
    for what, says in stated.items():
        yield f"<dt>{what}</dt><dd>{escape('; '.join(says)) or 'not stated'}</dd>\n"
    yield "</dl>\n<table>\n<caption>Fields</caption>\n<thead>\n<tr>"
    yield "".join(f'<th scope="col">{h}</th>' for h in ("Field", "What it is", "Where from"))
    yield "</tr>\n</thead>\n<tbody>\n"
    for name, told in about["fields"].items():
        yield f'<tr><th scope="row">{_name(name)}</th><td>{escape(told["category"])}</td>'
        yield f"<td>{escape(told['origin'])}</td></tr>\n"
    yield "</tbody>\n</table>\n</details>\n"


def _gaps(export: Export) -> Iterator[str]:
    """What is not shown, and why."""
    gaps = [(f"{_heading(w.table)}: {_name(w.field)}", escape(w.reason)) for w in export.withheld]
    gaps += [(_heading(table), escape(why)) for table, why in export.left_out.items()]
    if not gaps:
        return
    what = "Other people" if export.kind == ACCESS else "What is not in it"
    yield f'<section id="gaps">\n<h2>{what}</h2>\n<table>\n<caption>What is not shown, and why'
    yield "</caption>\n<tbody>\n"
    for name, why in gaps:
        yield f'<tr><th scope="row">{name}</th><td>{why}</td></tr>\n'
    yield "</tbody>\n</table>\n</section>\n"


def _cell(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return _list(value)
    if isinstance(value, list):
        nested = any(isinstance(item, (Mapping, list)) for item in value)
        cells = map(_cell, value)
        return "".join(f"<div>{cell}</div>" for cell in cells) if nested else ", ".join(cells)
    text = str(value)
    return _time(text) if _INSTANT.fullmatch(text) else escape(text)


def _own(key: object) -> str:
    """A name within a cell: it may be somebody's own, and stays as it is."""
    return escape(str(key))


def _list(values: Row, named: Callable[[object], str] = _own) -> str:
    said = (f"<dt>{named(name)}</dt><dd>{_cell(value)}</dd>" for name, value in values.items())
    return f"<dl>{''.join(said)}</dl>"


def _name(name: object) -> str:
    """A field or a table as words."""
    return escape(str(name).removeprefix("crm_").replace("_", " ").capitalize())


def _time(text: str) -> str:
    read = _INSTANT.sub(r"\1 \2 UTC", text)
    return f'<time datetime="{text}">{read}</time>'
