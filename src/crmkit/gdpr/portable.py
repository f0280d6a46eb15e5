"""The document of GDPR Art. 20: what a person provided and what was observed of them; pure.

It has what the person, or what they did, put in: profile, tags, consents and activities. What
the business made of it stays out, and so does what it promised: notes, segments, scores,
points (Article 29 Working Party, WP 242 rev.01: inferred and derived data are not "provided").
Lawful bases that the business claims are no consent, and stay out too; objections are in it as
withdrawals, so that no reader finds a permission that the business does not have.
It names nothing by crmkit's ids: activities are numbered in the order of their recording, so two
databases with the same history give the same document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import Any, Final

import attrs

from crmkit.gdpr.disclosing import of_others, plain
from crmkit.gdpr.permission import stands_against
from crmkit.model import (
    Activity,
    Column,
    Consent,
    Customer,
    Entry,
    Objection,
    Origin,
    Tag,
    entry_of,
)
from crmkit.model.catalogue import owned

FORMAT: Final = "crmkit-portable"
VERSION: Final = 1

PORTABLE: Final = (Customer, Tag, Consent, Activity)
"""The records of the document, in this order."""

SYSTEM_LINKS: Final = frozenset({"user_id", "external_ids"})
"""Fields of a profile that mean something in the host's systems only."""

_WHEN: Final = frozenset({"created_at", "occurred_at", "tagged_at"})
_NUMBERED: Final = ("no", "story", "corrects")
_GIVEN: Final = frozenset({Origin.PROVIDED, Origin.OBSERVED})
_EMPTY: Final[tuple[object, ...]] = (None, (), {})
_OF_OTHERS: Final = frozenset({"participants", "customer_id", "referred_customer_id"})

_WORKED_OUT: Final = "worked out by the business; it is in the access export"
_LOG: Final = "the log of the profile, which is given as it stands"
_PROMISE: Final = "a promise of the business; it is in the access export"
_WHY_OUT: Final[Mapping[str, str]] = {
    "crm_notes": "written by the business; it is in the access export",
    "crm_identities": "what the profile is found by; it is in the profile",
    "crm_objections": "each is in it as a withdrawal; what was said is in the access export",
    "crm_privacy_requests": "the log of what was asked; it is in the access export",
    **dict.fromkeys(("crm_profile_changes", "crm_merge_snapshots", "crm_rectifications"), _LOG),
    **{
        f"crm_loyalty_{what}": _PROMISE
        for what in (
            "accounts", "enrolments", "entries", "grants", "lots", "milestones", "redemptions",
        )
    },
}  # fmt: skip


def is_decided(entry: Entry) -> bool:
    """Whether somebody has thought about whether a record with provided data is portable."""
    provided = any(c.personal and c.origin is Origin.PROVIDED for c in entry.columns)
    return not provided or entry.record in PORTABLE or entry.table in _WHY_OUT


def left_out() -> dict[str, str]:
    """The tables with personal data that are not in the document, and why."""
    return {
        entry.table: _WHY_OUT.get(entry.table, _WORKED_OUT)
        for entry in owned()
        if entry.record not in PORTABLE and any(c.personal for c in entry.columns)
    }


def columns(entry: Entry) -> tuple[Column, ...]:
    """The fields of a record that are portable."""
    return tuple(
        attrs.evolve(c, nested=tuple(n for n in c.nested if n.origin in _GIVEN))
        for c in entry.columns
        if c.name in _WHEN or (c.origin in _GIVEN and not c.data.secret and not of_others(entry, c))
    )


def is_required(column: Column) -> bool:
    """Whether each row has the field."""
    return not column.optional and column.default in (attrs.NOTHING, None)


def consents(facts: Sequence[Consent], against: Sequence[Objection]) -> list[Consent]:
    """What a person said about consent, and a withdrawal wherever they object and it is not last.

    `against` are the objections that stand.
    """
    said = [fact for fact in facts if fact.event != "claimed"]
    ways = {(fact.purpose, fact.channel) for fact in said}
    ways |= {(one.purpose, one.channel) for one in against}
    return said + [no for way in sorted(ways) if (no := _withdrawal(way, said, against))]


def _withdrawal(
    way: tuple[str, str], said: Sequence[Consent], against: Sequence[Objection]
) -> Consent | None:
    objected = [one for one in against if stands_against(one, *way)]
    if not objected:
        return None
    latest = max(objected, key=attrgetter("occurred_at"))
    words = [w for w in said if (w.purpose, w.channel) == way and w.granted is not None]
    last = max(words, key=attrgetter("occurred_at", "id"), default=None)
    since = max(latest.occurred_at, last.occurred_at) if last else latest.occurred_at
    if last and last.granted is False and last.address_key is None and last.occurred_at == since:
        return None
    purpose, channel = way
    return Consent(
        tenant=latest.tenant,
        id=f"~{latest.id}",  # behind every word of the same instant
        customer_id=latest.customer_id,
        purpose=purpose,
        channel=channel,
        granted=False,
        event="withdrawn",
        source="objection",
        occurred_at=since,
        recorded_at=latest.recorded_at,
    )


def rows(record: type, held: Sequence[Any]) -> list[dict[str, Any]]:
    """The stored records of one kind, as the document has them."""
    entry = entry_of(record)
    wanted = columns(entry)
    if record is Activity:
        return _activities(wanted, held)
    order = [c.name for c in wanted if c.name in _WHEN]
    ordered = sorted(held, key=attrgetter(*order, "id" if "id" in entry.names else "tag"))
    return [_row(wanted, one) for one in ordered]


def _row(wanted: Iterable[Column], record: object) -> dict[str, Any]:
    row = {}
    for column in wanted:
        value = plain(getattr(record, column.name))
        if column.nested:
            value = {n.name: value[n.name] for n in column.nested if n.name in value}
        if value not in _EMPTY and value != []:
            row[column.name] = value
    return row


def _activities(wanted: Sequence[Column], held: Sequence[Activity]) -> list[dict[str, Any]]:
    facts = sorted(held, key=attrgetter("id"))  # ids rise: the order of recording
    numbers = {fact.id: n for n, fact in enumerate(facts, 1)}
    stories: dict[str, int] = {}
    out = []
    for n, fact in enumerate(facts, 1):
        row = _row(wanted, fact)
        payload = without_others(row.pop("payload", {}))
        row |= {"payload": payload} if payload else {}
        if "corrects" in row:
            row["corrects"] = numbers[fact.corrects or ""]
        out.append({"no": n, "story": stories.setdefault(fact.story, n), **row})
    return out


def without_others(payload: Any) -> Any:
    """A payload without the keys that name other customers."""
    if isinstance(payload, Mapping):
        return {k: without_others(v) for k, v in payload.items() if k not in _OF_OTHERS}
    return [without_others(v) for v in payload] if isinstance(payload, list) else payload


# --- the schema ---

_TYPES: Final[Mapping[type, Mapping[str, str]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    dict: {"type": "object"},
    tuple: {"type": "array"},
}


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the document, made from the catalogue."""
    tables: dict[str, dict[str, Any]] = {
        entry_of(r).table: {"type": "array", "items": _object(r)} for r in PORTABLE
    }
    tables[entry_of(Customer).table] |= {"minItems": 1, "maxItems": 1}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A customer's data, to take along (GDPR Art. 20)",
        "type": "object",
        "required": ["format", "version", "currency", "records"],
        "properties": {
            "format": {"const": FORMAT},
            "version": {"const": VERSION},
            "customer_id": {"type": "string"},
            "exported_at": _TYPES[datetime],
            "erased_at": {"type": ["string", "null"], "format": "date-time"},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            "restricted": {
                "type": "boolean",
                "description": "whether the data may only be stored (GDPR Art. 18)",
            },
            "left_out": {"type": "object", "additionalProperties": {"type": "string"}},
            "records": {
                "type": "object",
                "properties": tables,
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }


def _object(record: type) -> dict[str, Any]:
    wanted = columns(entry_of(record))
    properties: dict[str, Any] = {c.name: _property(c) for c in wanted}
    required = [c.name for c in wanted if is_required(c)]
    if record is Activity:
        properties |= {n: {"type": "integer", "minimum": 1} for n in _NUMBERED}
        required += ["no", "story"]
    return {
        "type": "object",
        "description": entry_of(record).title,
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


def _property(column: Column) -> dict[str, Any]:
    if column.nested:
        inner = {c.name: _property(c) for c in column.nested}
        return {"type": "object", "properties": inner, "additionalProperties": False}
    return {**_TYPES[column.type], "description": f"{column.data.value}, {column.origin.value}"}
