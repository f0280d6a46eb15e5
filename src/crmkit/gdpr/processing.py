"""The record of processing activities (GDPR Art. 30), as far as the software knows it; pure.

What the software cannot know is listed as to be stated by the controller, and never invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from crmkit.config import Settings
from crmkit.model import Column, Data, Entry, OnErase, catalogue
from crmkit.model.time import iso
from crmkit.ports.holders import HeldTable, Holder
from crmkit.privacy_settings import PrivacyNotice

_AREAS: Final[Mapping[str, tuple[str, str]]] = {
    "customer": (
        "Profiles",
        "knowing each customer, finding them again, serving them as they like",
    ),
    "activity": ("Activities", "the timeline of what customers did, and figures made from it"),
    "matching": ("Matching", "finding that two records speak of one person"),
    "merge": ("Merging", "making one customer of two, and undoing it"),
    "segment": ("Segments", "dividing customers into groups by rules or by hand"),
    "loyalty": ("Loyalty", "points, tiers and rewards"),
    "referral": ("Referrals", "customers who bring friends"),
    "value": ("Value", "predicting what customers will spend and whether they come back"),
    "consent": ("Consent", "proving what customers agreed to and refused"),
    "privacy": ("Rights", "keeping what customers asked for, and calling twice once"),
    "rights": ("Rights", "keeping what customers asked for, and calling twice once"),
    "retention": ("Retention", "deleting what is no longer needed, and holding what must be kept"),
    "keys": ("Keys", "sealing what is personal where it is stored"),
    "audit": ("Audit", "showing who did what with personal data, when and why"),
}
"""What the records of each module of the model are for."""

_TO_STATE: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "the controller's name and contact details, and those of any joint controller"
        " (Art. 30(1)(a))",
        ("controller", "contact"),
    ),
    (
        "the representative and the data protection officer, if there are any (Art. 30(1)(a))",
        ("dpo",),
    ),
    ("the lawful basis of each purpose (Art. 6)", ("purposes",)),
    (
        "recipients that the app itself passes data to, such as mail or payment services"
        " (Art. 30(1)(d))",
        ("recipients",),
    ),
    ("transfers to third countries, with their safeguards (Art. 30(1)(e))", ("transfers",)),
    ("time limits for erasing each category (Art. 30(1)(f))", ("retention",)),
    ("where the database and its backups are kept, and who has access (Art. 30(1)(g))", ("",)),
)
"""What the controller states, each with the fields of `PrivacyNotice` that say it."""


@attrs.frozen
class ProcessedRecord:
    """One kind of record: whose it is, what is personal in it, and what erasure does to it.

    `fields` are the personal ones by category of data, `origins` where values come from.
    """

    table: str
    title: str
    subjects: str
    fields: Mapping[str, tuple[str, ...]]
    origins: tuple[str, ...]
    erasure: str


@attrs.frozen
class ProcessingRecord:
    """The record of processing: by area its purpose and records; holders; measures; what is open.

    `stated` is what the controller said in `Settings.privacy` and `Settings.retention`.
    `areas` maps the name of each area to its purpose and its records, `holders` the name
    of each holder to its tables, `measures` each measure of security to how it stands.
    """

    made_at: datetime
    tenant: str
    stated: Mapping[str, str]
    areas: Mapping[str, tuple[str, tuple[ProcessedRecord, ...]]]
    holders: Mapping[str, tuple[HeldTable, ...]]
    measures: Mapping[str, str]
    to_state: tuple[str, ...]

    def markdown(self) -> str:
        """The record as a Markdown page."""
        return "\n".join(_page(self)) + "\n"


def processing_record(
    settings: Settings, holders: Iterable[Holder], *, tenant: str, at: datetime, encrypted: bool
) -> ProcessingRecord:
    """The record of processing by what the catalogue, the settings and holders say."""
    areas: dict[str, tuple[str, tuple[ProcessedRecord, ...]]] = {}
    for entry in catalogue():
        module = entry.record.__module__.rpartition(".")[2]
        name, purpose = _AREAS.get(module, (module.capitalize(), "to be stated"))
        known = areas.get(name, (purpose, ()))[1]
        areas[name] = (purpose, (*known, _processed(entry)))
    held = {holder.name: tuple(holder.describe()) for holder in holders}
    return ProcessingRecord(
        made_at=at,
        tenant=tenant,
        stated=_stated(settings),
        areas=areas,
        holders=held,
        measures=_measures(settings, encrypted=encrypted),
        to_state=tuple(text for text, names in _TO_STATE if not _says(settings.privacy, names)),
    )


def _says(notice: PrivacyNotice, names: Iterable[str]) -> bool:
    return all(name and getattr(notice, name) is not None for name in names)


def _stated(settings: Settings) -> dict[str, str]:
    """What the controller said, in their words."""
    notice = settings.privacy
    plain = {
        "Controller": notice.controller,
        "Contact": notice.contact,
        "Data protection officer": notice.dpo,
        "Recipients": _several(notice.recipients),
        "Transfers to third countries": _several(notice.transfers),
        "Kept": notice.retention,
    }
    for purpose in notice.purposes or ():
        told = (purpose.legal_basis or "basis to be stated", purpose.retention)
        plain[f"Purpose: {purpose.name}"] = "; ".join(text for text in told if text)
    for policy in settings.retention:
        plain[f"Policy: {policy.name}"] = f"{policy.of} after {policy.after}: {policy.action}"
    return {name: text for name, text in plain.items() if text is not None}


def _several(texts: tuple[str, ...] | None) -> str | None:
    return None if texts is None else ", ".join(texts) or "none"


def _processed(entry: Entry) -> ProcessedRecord:
    columns = [c for column in entry.columns for c in (column, *column.nested)]
    personal = [c for c in columns if c.data.personal]
    fields: dict[str, tuple[str, ...]] = {}
    for column in sorted(personal, key=lambda c: list(Data).index(c.data)):
        fields[column.data.value] = (*fields.get(column.data.value, ()), column.name)
    staff = entry.owner is None and bool(personal)
    subjects = "customers" if entry.owner else "staff" if staff else "nobody"
    origins = dict.fromkeys(c.origin.value for c in personal)
    return ProcessedRecord(
        entry.table, entry.title, subjects, fields, tuple(origins), _erasure(entry)
    )


def _erasure(entry: Entry) -> str:
    if entry.owner is None:
        return "not about a customer"
    if entry.erase is OnErase.DELETE:
        return "deleted"
    return f"{_emptied(entry.columns)}; the rest stays: {entry.reason}"


def _emptied(columns: Sequence[Column]) -> str:
    gone = [c.name for c in columns if c.erase is OnErase.DELETE]
    return f"{', '.join(gone)} emptied"


def _measures(settings: Settings, *, encrypted: bool) -> dict[str, str]:
    audited = {
        "acts": "acts of privacy and identity",
        "writes": "acts of privacy and identity, and all writes",
        "reads": "acts of privacy and identity, all writes, and reads of personal data",
    }
    return {
        "Encryption of personal fields": "on" if encrypted else "off",
        "Audit": f"{audited[settings.audit]}; sealed into a chain of hashes",
        "Look-up of identifiers": "by keyed hashes; no unique index holds personal data",
        "Tenants": "every row, key and query carries its tenant",
        "Logs and errors": "hold no personal data",
        "Recipients": "crmkit runs inside the app and passes nothing on",
    }


# --- the page ---


def _page(record: ProcessingRecord) -> Iterator[str]:
    yield "# Record of processing activities"
    yield ""
    yield f"GDPR Art. 30(1). Tenant: {_cell(record.tenant)}. Made {iso(record.made_at)} from the"
    yield "catalogue of records, the settings and the registered holders."
    yield ""
    yield "## To be stated by the controller"
    yield ""
    yield from (f"- [ ] {text}" for text in record.to_state)
    for table in (t for tables in record.holders.values() for t in tables):
        yield from (f"- [ ] {text}" for text in _unstated(table))
    if record.stated:
        yield ""
        yield "## Stated by the controller"
        yield ""
        yield from _table(("", ""), record.stated.items())
    yield ""
    yield "## Security measures (Art. 30(1)(g))"
    yield ""
    yield from _table(("measure", ""), record.measures.items())
    for name, (purpose, records) in record.areas.items():
        yield ""
        yield f"## {name}"
        yield ""
        yield f"For {purpose}."
        yield ""
        head = ("record", "table", "about", "personal data", "origin", "when erased")
        yield from _table(head, map(_row, records))
    for name, tables in record.holders.items():
        yield ""
        yield f"## Held by the app: {_cell(name)}"
        yield ""
        head = ("table", "personal data", "for", "kept", "when erased", "recipients")
        yield from _table(head, map(_held_row, tables))


def _row(record: ProcessedRecord) -> tuple[str, ...]:
    told = "; ".join(f"**{kind}**: {', '.join(names)}" for kind, names in record.fields.items())
    origin = ", ".join(record.origins)
    name = f"`{record.table}`"
    return (record.title, name, record.subjects, told or "none", origin or "–", record.erasure)


def _held_row(table: HeldTable) -> tuple[str, ...]:
    told = "; ".join(f"**{name}**: {what}" for name, what in table.fields.items())
    stated = (table.purpose, table.retention, table.erasure)
    open_or = [text or "to be stated" for text in stated]
    return (
        f"`{table.table}`",
        told or "none",
        *open_or,
        ", ".join(table.recipients) or "none named",
    )


def _unstated(table: HeldTable) -> Iterator[str]:
    asked = {"purpose": table.purpose, "retention": table.retention, "erasure": table.erasure}
    yield from (f"{what} of the table `{table.table}`" for what, text in asked.items() if not text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
