"""Reading a portability document that may come from anywhere: every place is checked; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

import attrs

from crmkit.activities.payload import read as read_payload
from crmkit.config import Kind, Settings
from crmkit.customers import normalise
from crmkit.customers.normalise import Given
from crmkit.errors import InvalidInput, unknown
from crmkit.gdpr.portable import (
    FORMAT,
    PORTABLE,
    SYSTEM_LINKS,
    VERSION,
    columns,
    is_required,
    without_others,
)
from crmkit.model import Activity, Consent, Customer, Tag, entry_of
from crmkit.model.consent import BASES, CHANNELS, EVENTS
from crmkit.model.document import MAX_TEXT, document, text
from crmkit.model.time import calendar_date, instant
from crmkit.payload_fields import STATUSES

Row = Mapping[str, Any]

_LARGEST: Final = 2**53
_SKEW: Final = timedelta(minutes=5)  # the clocks of two machines
# Of what is indexed, as where it comes in otherwise; an index takes no more.
_LIMITS: Final = {
    "item": 200, "venue": 200, "reference": 200, "tag": 100, "purpose": 100, "source": 200,
}  # fmt: skip
_ALIASED: Final = ("name", "nickname", "email", "phone", "instagram", "birth_date", "city")
_ALIASES_MAX: Final = 100
_CONTACTS: Final = ("email", "phone", "instagram")
_HEAD: Final = (
    "format", "version", "customer_id", "exported_at", "erased_at", "currency", "restricted",
    "left_out", "records",
)  # fmt: skip


@attrs.frozen(repr=False)
class Fact:
    """An activity of the document: its fields, and its place among the others.

    `reference_name` is the payload key that names its story, empty where none does.
    """

    no: int
    story: int
    corrects: int | None
    reference_name: str
    fields: Row


@attrs.frozen(repr=False)
class Portable:
    """A portability document, read."""

    created_at: datetime
    given: Given
    tags: tuple[tuple[str, datetime], ...]
    consents: tuple[Row, ...]
    facts: tuple[Fact, ...]


def read(given: object, settings: Settings, now: datetime, *, profile_only: bool) -> Portable:
    """Check a document; raises `InvalidInput` naming the place.

    With `profile_only` the other tables are not looked at.
    """
    records, restricted = _records(given, settings.currency)
    people = _rows(records, Customer)
    if len(people) != 1:
        raise InvalidInput("expected one customer", field=_place(Customer))
    created_at, person = _profile(people[0], settings, now, f"{_place(Customer)}[0]")
    if profile_only:
        return Portable(created_at, person, (), (), ())
    if restricted:  # nothing here would keep it from being processed
        raise InvalidInput("may only be stored until the restriction is lifted", field="restricted")
    tags = [_typed(Tag, row, place) for row, place in _placed(records, Tag)]
    return Portable(
        created_at,
        person,
        tuple((tag["tag"], tag["tagged_at"]) for tag in tags),
        tuple(_consent(row, place, now) for row, place in _placed(records, Consent)),
        _facts(records, settings),
    )


def _records(given: object, currency: str) -> tuple[Row, bool]:
    whole = _mapping(given, "document")
    for name in whole:
        if name not in _HEAD:
            raise InvalidInput(unknown("key", name, _HEAD), field="document")
    if whole.get("format") != FORMAT:
        raise InvalidInput(f"expected a document of the format {FORMAT}", field="format")
    if whole.get("version") != VERSION:
        raise InvalidInput(f"expected version {VERSION}", field="version")
    if whole.get("currency") != currency:
        raise InvalidInput(f"this tenant counts in {currency}", field="currency")
    records = _mapping(whole.get("records"), "records")
    tables = {entry_of(record).table for record in PORTABLE}
    for name in records:
        if name not in tables:
            raise InvalidInput(unknown("table", name, tables), field="records")
    return records, _flag(whole.get("restricted", False), "restricted")


def _mapping(value: object, field: str) -> Row:
    if not isinstance(value, Mapping):
        raise InvalidInput("expected an object", field=field)
    return value


def _place(record: type) -> str:
    return f"records.{entry_of(record).table}"


def _rows(records: Row, record: type) -> list[Any]:
    rows = records.get(entry_of(record).table, [])
    if not isinstance(rows, (list, tuple)):
        raise InvalidInput("expected a list of objects", field=_place(record))
    return list(rows)


def _placed(records: Row, record: type) -> Iterator[tuple[Row, str]]:
    for n, row in enumerate(_rows(records, record)):
        place = f"{_place(record)}[{n}]"
        yield _mapping(row, place), place


def _typed(record: type, row: Row, place: str) -> dict[str, Any]:
    """A row's fields by the types that the catalogue declares."""
    wanted = {c.name: c for c in columns(entry_of(record))}
    for name in row:
        if name not in wanted:
            raise InvalidInput(unknown("field", name, wanted), field=place)
    out = {}
    for name, column in wanted.items():
        value = row.get(name)
        if value is not None:
            out[name] = _READERS[column.type](value, f"{place}.{name}")
        elif is_required(column):
            raise InvalidInput("missing", field=f"{place}.{name}")
    return out


def _flag(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("expected true or false", field=place)
    return value


def _whole(value: Any, place: str) -> int:
    if type(value) is not int or abs(value) > _LARGEST:
        raise InvalidInput("expected a whole number", field=place)
    return value


def _object(value: Any, place: str) -> dict[str, Any]:
    return document(_mapping(value, place), field=place)


def _list(value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise InvalidInput("expected a list", field=place)
    return tuple(document({"items": list(value)}, field=place)["items"])


def _text(value: Any, place: str) -> str:
    limit = _LIMITS.get(place.rpartition(".")[2], MAX_TEXT)
    said = text(value, field=place, limit=limit, multiline=True)
    if said is None:
        raise InvalidInput("expected some text", field=place)
    return said


_READERS: Final[Mapping[type, Callable[[Any, str], Any]]] = {
    bool: _flag,
    int: _whole,
    datetime: lambda value, place: instant(value, field=place),
    date: lambda value, place: calendar_date(value, field=place),
    dict: _object,
    tuple: _list,
    str: _text,
}


def _profile(row: object, settings: Settings, now: datetime, place: str) -> tuple[datetime, Given]:
    """Since when the person is a customer, and the profile, without links into other systems."""
    said = dict(_mapping(row, place))
    if said.get("created_at") is None:
        raise InvalidInput("missing", field=f"{place}.created_at")
    created_at = instant(said.pop("created_at"), field=f"{place}.created_at")
    if created_at > now + _SKEW:
        raise InvalidInput("lies ahead", field=f"{place}.created_at")
    aliases = _aliases(said.pop("aliases", {}), f"{place}.aliases")
    typed = {name: said.pop(name) for name in [f"{c}_typed" for c in _CONTACTS] if name in said}
    said = {name: value for name, value in said.items() if name not in SYSTEM_LINKS}
    today = now.astimezone(settings.zone).date()
    try:
        given = normalise.given(said, settings, today=today)
    except InvalidInput as error:
        raise error.within(place) from None
    if given.tags or given.consents:
        raise InvalidInput("tags and consents are tables of their own", field=place)
    fields = dict(given.fields)
    for name, value in typed.items():
        fields[name] = text(value, field=f"{place}.{name}", limit=500)
    if aliases:
        fields["aliases"] = aliases
    if not fields:
        raise InvalidInput("nothing is known of this customer", field=place)
    return created_at, attrs.evolve(given, fields=fields)


def _aliases(value: object, place: str) -> dict[str, list[str]]:
    out = {}
    for name, values in _mapping(value, place).items():
        if name in SYSTEM_LINKS or str(name).startswith("external:"):
            continue
        if name not in _ALIASED:
            raise InvalidInput(unknown("field", name, _ALIASED), field=place)
        if not isinstance(values, (list, tuple)) or len(values) > _ALIASES_MAX:
            raise InvalidInput("expected a list of texts", field=f"{place}.{name}")
        told = [text(v, field=f"{place}.{name}", limit=500) for v in values]
        out[name] = [t for t in told if t is not None]
    return out


def _consent(row: Row, place: str, now: datetime) -> Row:
    said = _typed(Consent, row, place)
    if said["channel"] not in CHANNELS:
        raise InvalidInput(unknown("channel", said["channel"], CHANNELS), field=f"{place}.channel")
    for name, known in (("event", EVENTS), ("basis", BASES)):
        if said.get(name, "consent") not in known:
            raise InvalidInput(unknown(name, said[name], known), field=f"{place}.{name}")
    if said["event"] == "claimed" or said.get("basis", "consent") != "consent":
        raise InvalidInput("a lawful basis is claimed by each for themselves", field=place)
    if said.setdefault("granted", None) is not EVENTS[said["event"]]:
        raise InvalidInput("does not fit the event", field=f"{place}.granted")
    if said["occurred_at"] > now + _SKEW:
        raise InvalidInput(
            "nobody can have agreed or refused in the future", field=f"{place}.occurred_at"
        )
    return said


# --- activities ---


def _facts(records: Row, settings: Settings) -> tuple[Fact, ...]:
    kinds = settings.kinds_by_name
    placed = list(_placed(records, Activity))
    facts = [_fact(row, n, place, kinds, settings) for n, (row, place) in enumerate(placed, 1)]
    for fact, (_, place) in zip(facts, placed, strict=True):
        if not 1 <= fact.story <= fact.no or facts[fact.story - 1].story != fact.story:
            raise InvalidInput("expected the number of its story's first", field=f"{place}.story")
        if fact.corrects is not None or kinds[fact.fields["kind"]].role in ("voids", "amends"):
            _check_correction(fact, facts, kinds, settings, place)
    return tuple(facts)


def _fact(row: Row, n: int, place: str, kinds: Mapping[str, Kind], settings: Settings) -> Fact:
    said = dict(row)
    numbers = {name: said.pop(name, None) for name in ("no", "story", "corrects")}
    for name, number in numbers.items():
        if (number is not None or name != "corrects") and type(number) is not int:
            raise InvalidInput("expected a whole number", field=f"{place}.{name}")
    if numbers["no"] != n:
        raise InvalidInput("expected numbers from 1, in order", field=f"{place}.no")
    fields = _typed(Activity, said, place)
    if fields["kind"] not in kinds:
        raise InvalidInput(unknown("activity kind", fields["kind"], kinds), field=f"{place}.kind")
    if fields.get("status", STATUSES[0]) not in STATUSES:
        raise InvalidInput(unknown("status", fields["status"], STATUSES), field=f"{place}.status")
    if fields.get("amount_minor", 0) < 0:
        raise InvalidInput("expected zero or more", field=f"{place}.amount_minor")
    if fields.get("currency", settings.currency) != settings.currency:
        raise InvalidInput(f"this tenant counts in {settings.currency}", field=f"{place}.currency")
    fields["payload"] = without_others(fields.get("payload", {}))
    name = ""
    if numbers["corrects"] is None:
        name = _checked(kinds[fields["kind"]], fields["payload"], settings, place)
    return Fact(n, numbers["story"], numbers["corrects"], name, fields)


def _checked(kind: Kind, payload: Row, settings: Settings, place: str) -> str:
    """The payload key that names the story; raises for a payload that cannot be."""
    try:
        return read_payload(kind, payload, settings).reference_name
    except InvalidInput as error:
        raise error.within(place) from None


def _check_correction(
    fact: Fact, facts: list[Fact], kinds: Mapping[str, Kind], settings: Settings, place: str
) -> None:
    kind = kinds[fact.fields["kind"]]
    if fact.corrects is None or not 1 <= fact.corrects <= len(facts):
        raise InvalidInput("expected the number of an activity", field=f"{place}.corrects")
    target = facts[fact.corrects - 1]
    about = kinds[target.fields["kind"]]
    may = {
        "voids": about.role != "voids",
        "amends": about.role not in ("voids", "amends"),
        "refunds": about.role == "happens",
    }
    if not may.get(kind.role, False) or target.story != fact.story:
        raise InvalidInput("an activity that cannot be corrected so", field=f"{place}.corrects")
    if kind.role == "amends":
        changes = _mapping(fact.fields["payload"].get("changes"), f"{place}.payload.changes")
        merged = {**target.fields["payload"], **changes}
        left = {name: value for name, value in merged.items() if value is not None}
        _checked(about, left, settings, place)
