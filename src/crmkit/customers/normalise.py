"""From what a host gives about a person to what is stored and compared."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from crmkit.config import Settings
from crmkit.customers import contacts
from crmkit.errors import InvalidInput, unknown
from crmkit.model.catalogue import as_document
from crmkit.model.consent import CHANNELS as CONSENTED
from crmkit.model.consent import way
from crmkit.model.customer import Preferences
from crmkit.model.document import document, text
from crmkit.model.money import to_minor
from crmkit.model.time import calendar_date, instant

CHANNELS: Final = ("email", "sms", "push", "whatsapp", "phone")
_MAX_ITEMS: Final = 100
_LARGEST: Final = 2**53
_FIRST_DAY: Final = date(1900, 1, 1)
_LAST_DAY: Final = date(2199, 12, 31)


@attrs.frozen
class Identifier:
    """What one person, or a family, is known by.

    `kind` is ``user_id``, ``external:<system>``, ``email``, ``phone`` or ``instagram``.
    """

    kind: str
    value: str = attrs.field(repr=False)


@attrs.frozen
class ConsentStatement:
    """Consent for a purpose on a channel, given or withdrawn; `at` is None for now."""

    purpose: str
    channel: str
    granted: bool
    source: str = attrs.field(repr=False)
    at: datetime | None


@attrs.frozen(repr=False)
class Given:
    """What a host said about a person, in stored form.

    `fields` maps names of `Customer`'s fields to values. `preferences` holds the given
    preferences alone, so that an update can leave the others as they are. `identifiers`
    come in order of trust, without placeholders.
    """

    fields: Mapping[str, Any]
    tags: tuple[str, ...] = ()
    consents: tuple[ConsentStatement, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    preferences: Mapping[str, Any] = attrs.field(factory=dict)

    def __repr__(self) -> str:
        return f"Given(fields={sorted(self.fields)})"


def given(
    data: Mapping[str, Any],
    settings: Settings,
    *,
    clear: bool = False,
    today: date | None = None,
    check_email: bool = True,
) -> Given:
    """Check and normalise all that a host gives about one person.

    None and empty text count as missing, unless `clear`: then they empty the field.
    Without `check_email` the address is good for looking it up, not for storing it.
    Raises `InvalidInput` naming the first field that cannot be used.
    """
    if not isinstance(data, Mapping):
        raise InvalidInput("expected a mapping of field names to values")
    draft = _Draft(data, settings, clear, today, check_email)
    for key, value in data.items():
        write = _FIELDS.get(key)
        if write is None:
            if not isinstance(key, str):
                raise InvalidInput("expected field names that are text")
            raise InvalidInput(unknown("field", key, _FIELDS), field=_word(key))
        if not _missing(value):
            write(draft, value, key)
        elif clear:
            write(draft, None, key)
    return Given(
        draft.fields,
        draft.tags,
        draft.consents,
        tuple(_identifiers(draft)),
        draft.preferences,
    )


def tags(value: object, *, field: str = "tags") -> tuple[str, ...]:
    """Labels in stored form, without repetitions; raises `InvalidInput`."""
    return _LABELS(value, field)


class _Draft:
    """What `given` has understood so far; the writers of the fields add to it."""

    __slots__ = (
        "check_email", "clear", "consents", "data", "fields", "identifying",
        "preferences", "settings", "tags", "today",
    )  # fmt: skip

    def __init__(
        self,
        data: Mapping[str, Any],
        settings: Settings,
        clear: bool,
        today: date | None,
        check_email: bool,
    ) -> None:
        self.data = data
        self.settings = settings
        self.clear = clear
        self.today = today
        self.check_email = check_email
        self.fields: dict[str, Any] = {}
        self.preferences: dict[str, Any] = {}
        self.identifying: dict[str, str] = {}
        self.tags: tuple[str, ...] = ()
        self.consents: tuple[ConsentStatement, ...] = ()

    def put(self, name: str, value: Any, key: str) -> None:
        """Set a field; `key` is what the host called it."""
        if self.fields.get(name) is not None:
            raise InvalidInput(f"the same as {name!r}, which is given too", field=key)
        self.fields[name] = value


def _identifiers(draft: _Draft) -> Iterator[Identifier]:
    found = draft.identifying
    if "user_id" in found:
        yield Identifier("user_id", found["user_id"])
    for system, value in sorted(draft.fields.get("external_ids", {}).items()):
        if value is not None:
            yield Identifier(f"external:{system}", value)
    for kind in ("email", "phone", "instagram"):
        if kind in found:
            yield Identifier(kind, found[kind])


def _word(key: str, below: str | None = None) -> str | None:
    """The path of a key, if the key is fit for one."""
    if len(key) > 50 or not key.isidentifier():
        return below
    return f"{below}.{key}" if below else key


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


# --- converters: (value, field) -> stored value, or None when nothing remains ---


def _text(limit: int = 200, *, multiline: bool = False) -> Callable[[Any, str], str | None]:
    return lambda value, field: text(value, field=field, limit=limit, multiline=multiline)


def _key_text(value: Any, field: str) -> str | None:
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    return text(value, field=field, limit=200)


def _document(value: Any, field: str) -> dict[str, Any]:
    return document(value, field=field)


def _flag(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("expected True or False", field=field)
    return value


def _whole(value: Any, field: str, *, low: int = 0, high: int = _LARGEST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput(f"expected a whole number from {low} to {high}", field=field)
    return int(value)


def _choice(words: str, **also: str) -> Callable[[Any, str], str | None]:
    """One of the words, in any case; `also` maps other spellings to them."""
    kept = words.split()
    spellings = {w.casefold(): w for w in kept} | {a: w for w, s in also.items() for a in s.split()}

    def convert(value: Any, field: str) -> str | None:
        word = text(value, field=field)
        if word is None:
            return None
        found = spellings.get(word.casefold().replace(" ", "-"))
        if found is None:
            raise InvalidInput(f"expected one of {', '.join(kept)}", field=field)
        return found

    return convert


def _list(convert: Callable[[Any, str], Any]) -> Callable[[Any, str], tuple[Any, ...]]:
    """The converted items, without repetitions."""

    def converted(value: Any, field: str) -> tuple[Any, ...]:
        if isinstance(value, (set, frozenset)) and all(isinstance(v, str) for v in value):
            value = sorted(value)  # a set has no order to keep
        if not isinstance(value, (list, tuple)) or len(value) > _MAX_ITEMS:
            raise InvalidInput(f"expected a list of at most {_MAX_ITEMS} items", field=field)
        items = (convert(item, f"{field}[{i}]") for i, item in enumerate(value))
        return tuple(dict.fromkeys(item for item in items if item is not None))

    return converted


def _items(value: Any, field: str) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping) or len(value) > _MAX_ITEMS:
        raise InvalidInput(f"expected a mapping of at most {_MAX_ITEMS} entries", field=field)
    if not all(isinstance(k, str) for k in value):
        raise InvalidInput("expected names that are text", field=field)
    return list(value.items())


def _pattern(
    pattern: str, expected: str, change: Callable[[str], str]
) -> Callable[[Any, str], Any]:
    compiled = re.compile(pattern, re.ASCII)

    def convert(value: Any, field: str) -> str | None:
        found = text(value, field=field, limit=64)
        if found is None:
            return None
        found = change(found)
        if not compiled.fullmatch(found):
            raise InvalidInput(f"expected {expected}", field=field)
        return found

    return convert


def _language(tag: str) -> str:
    first, *rest = tag.replace("_", "-").split("-")
    return "-".join((first.lower(), *rest))


def _zone(value: Any, field: str) -> str | None:
    name = text(value, field=field, limit=64)
    if name is None:
        return None
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput("expected an IANA zone such as Europe/Bucharest", field=field) from None


def _url(value: Any, field: str) -> str | None:
    url = text(value, field=field, limit=2_000)
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or " " in url:
            raise ValueError
    except ValueError:
        raise InvalidInput("expected an http or https address", field=field) from None
    return url


def _clock_time(value: Any, field: str) -> str | None:
    found = f"{value:%H:%M}" if isinstance(value, time) else text(value, field=field)
    match = re.fullmatch(r"(\d{1,2}):([0-5]\d)", found, re.ASCII) if found else None
    if found and (match is None or int(match[1]) > 23):
        raise InvalidInput("expected a time of day such as 21:30", field=field)
    return f"{int(match[1]):02}:{match[2]}" if match else None


def _degrees(value: Any, field: str, limit: int) -> int:
    """Millionths of a degree."""
    wrong = InvalidInput(f"expected degrees from -{limit} to {limit}", field=field)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise wrong
    if isinstance(value, str) and len(value) > 40:
        raise wrong
    try:
        degrees = float(value)
    except (ValueError, OverflowError):
        raise wrong from None
    if not math.isfinite(degrees) or abs(degrees) > limit:
        raise wrong
    return round(degrees * 1_000_000)


# --- writers: they put what a key says into the draft; None empties the field ---

_Writer = Callable[[_Draft, Any, str], None]


def _scalar(name: str, convert: Callable[[Any, str], Any]) -> _Writer:
    def write(draft: _Draft, value: Any, key: str) -> None:
        stored = None if value is None else convert(value, key)
        if stored is not None or draft.clear:
            draft.put(name, stored, key)

    return write


def _several(name: str, convert: Callable[[Any, str], Any], kind: type = tuple) -> _Writer:
    def write(draft: _Draft, value: Any, key: str) -> None:
        stored = kind() if value is None else convert(value, key)
        if stored or draft.clear:
            draft.put(name, stored, key)

    return write


def _texts(name: str, convert: Callable[[Any, str], Any], *, fold: bool = False) -> _Writer:
    """Entries of text; with `clear` an explicit None stays, for an update to remove the key."""

    def read(value: Any, field: str, clear: bool) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in _items(value, field):
            name = text(key.lower() if fold else key, field=field, limit=50)
            if name is None:
                raise InvalidInput("expected names that are not empty", field=field)
            stored = None if _missing(item) else convert(item, _word(name, field) or field)
            if stored is not None or clear:
                out[name] = stored
        return out

    def write(draft: _Draft, value: Any, key: str) -> None:
        stored = {} if value is None else read(value, key, draft.clear)
        if stored or draft.clear:
            draft.put(name, stored, key)

    return write


def _user_id(draft: _Draft, value: Any, key: str) -> None:
    _scalar("user_id", _key_text)(draft, value, key)
    if draft.fields.get("user_id") is not None:
        draft.identifying["user_id"] = draft.fields["user_id"]


def _contact(read: Callable[[_Draft, Any], contacts.Contact | None]) -> _Writer:
    def write(draft: _Draft, value: Any, key: str) -> None:
        contact = None if value is None else read(draft, value)
        if contact is not None:
            draft.fields[f"{key}_typed"] = contact.typed
        elif draft.clear:
            draft.fields[f"{key}_typed"] = None
        if contact is not None and contact.stored is not None:
            draft.fields[key] = contact.stored
        elif draft.clear:
            draft.fields[key] = None
        if contact is not None and contact.identifier is not None:
            draft.identifying[key] = contact.identifier

    return write


def _phone(draft: _Draft, value: Any) -> contacts.Contact | None:
    return contacts.phone(value, contacts.region(draft.data.get("country"), draft.settings.region))


def _birth_date(draft: _Draft, value: Any, key: str) -> None:
    # Tomorrow, for somewhere it has begun already.
    last = (draft.today or datetime.now(UTC).date()) + timedelta(days=1)
    _scalar("birth_date", partial(_day, last=last))(draft, value, key)


def _day(value: Any, field: str, last: date = _LAST_DAY) -> date:
    day = calendar_date(value, field=field)
    if not _FIRST_DAY <= day <= last:
        raise InvalidInput(f"expected a date from {_FIRST_DAY} to {last}", field=field)
    return day


def _location(draft: _Draft, value: Any, key: str) -> None:
    if value is None:
        pair: tuple[Any, Any] = (None, None)
    elif isinstance(value, Mapping) and set(value) == {"latitude", "longitude"}:
        pair = (value["latitude"], value["longitude"])
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        pair = (value[0], value[1])
    else:
        raise InvalidInput("expected latitude and longitude, both or none", field=key)
    for name, degrees, limit in zip(("latitude", "longitude"), pair, (90, 180), strict=True):
        micro = None if value is None else _degrees(degrees, f"{key}.{name}", limit)
        draft.put(f"{name}_micro", micro, key)


def _preferences(draft: _Draft, value: Any, key: str) -> None:
    if isinstance(value, Preferences):
        value = as_document(value)
    inner = _Draft(draft.data, draft.settings, draft.clear, draft.today, draft.check_email)
    for name, item in _items({} if value is None else value, key):
        write = _PREFERENCES.get(name)
        if write is None:
            wrong = unknown("preference", name, _PREFERENCES)
            raise InvalidInput(wrong, field=_word(name, below=key))
        if not _missing(item):
            write(inner, item, f"{key}.{name}")
        elif draft.clear:
            write(inner, None, f"{key}.{name}")
    draft.preferences = inner.fields
    if inner.fields or value is None:
        draft.fields["preferences"] = Preferences(**inner.fields)


def _spending(draft: _Draft, value: Any, key: str) -> None:
    convert = partial(_amount, currency=draft.settings.currency)
    _scalar("average_spending_minor", convert)(draft, value, key)


def _amount(value: Any, field: str, currency: str) -> int:
    return _whole(to_minor(value, currency, field=field), field)


def _tags(draft: _Draft, value: Any, key: str) -> None:
    draft.tags = () if value is None else tags(value, field=key)


def _consent(draft: _Draft, value: Any, key: str) -> None:
    said = dict(_items({} if value is None else value, key))
    source = said.pop("source", None)
    source = None if source is None else text(source, field=f"{key}.source", limit=200)
    at = said.pop("at", None)
    at = None if _missing(at) else instant(at, field=f"{key}.at")
    statements = []
    for name, granted in said.items():
        purpose, channel = way(name)
        if channel not in CONSENTED or not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", purpose, re.ASCII):
            raise InvalidInput(
                f"expected names such as marketing_email (channels: {', '.join(CONSENTED)}), "
                "and source, at",
                field=key,
            )
        if granted is None:
            continue
        if _flag(granted, f"{key}.{name}") and source is None:
            raise InvalidInput(
                "consent counts only with its source: say where it was given", field=f"{key}.source"
            )
        statements.append(ConsentStatement(purpose, channel, granted, source or "unknown", at))
    draft.consents = tuple(statements)


_LABELS: Final = _list(_text(100))
_LEVEL: Final = _choice("high medium low")
_DAYS: Final = _choice(
    "monday tuesday wednesday thursday friday saturday sunday",
    monday="mon", tuesday="tue tues", wednesday="wed", thursday="thu thur thurs",
    friday="fri", saturday="sat", sunday="sun",
)  # fmt: skip

_SCALARS: Final[dict[str, Callable[[Any, str], Any]]] = {
    **dict.fromkeys(("name", "first_name", "last_name", "nickname"), _text()),
    **dict.fromkeys(("occupation", "city", "source"), _text()),
    "address": _text(500, multiline=True),
    "postal_code": _text(40),
    "instagram_followers": _whole,
    "gender": _choice(
        "F M NB UNK",
        F="female woman", M="male man", NB="nonbinary non-binary enby x",
        UNK="unknown unspecified prefer-not-to-say",
    ),
    "anniversary": _day,
    "language": _pattern(
        r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", "a language such as ro or pt-BR", _language
    ),
    "country": _pattern(
        "|".join(contacts.COUNTRIES), "two letters of ISO 3166-1 such as RO or GB", str.upper
    ),
    "latitude_micro": partial(_whole, low=-90_000_000, high=90_000_000),
    "longitude_micro": partial(_whole, low=-180_000_000, high=180_000_000),
    "timezone": _zone,
    "photo_url": _url,
    "preferred_contact": _choice("EMAIL PHONE SMS ANY"),
    "account_created_at": lambda value, field: instant(value, field=field),
}  # fmt: skip

_FIELDS: Final[dict[str, _Writer]] = {
    **{name: _scalar(name, convert) for name, convert in _SCALARS.items()},
    "surname": _scalar("last_name", _text()),
    "acquisition_source": _scalar("source", _text()),
    "acquisition_channel": _scalar("source", _text()),
    "user_id": _user_id,
    "email": _contact(lambda draft, value: contacts.email(value, check=draft.check_email)),
    "phone": _contact(_phone),
    "instagram": _contact(lambda _, value: contacts.instagram(value)),
    "birth_date": _birth_date,
    "date_of_birth": _birth_date,
    "location": _location,
    "communication": _several("communication", _list(_choice(" ".join(CHANNELS)))),
    "external_ids": _texts("external_ids", _key_text),
    "social_handles": _texts("social_handles", _text(), fold=True),
    "custom": _several("custom", _document, dict),
    "metadata": _several("metadata", _document, dict),
    "preferences": _preferences,
    "tags": _tags,
    "consent": _consent,
}

_PREFERENCES: Final[dict[str, _Writer]] = {
    **{
        name: _several(name, _list(_text()))
        for name in (
            "music_genres", "drinks", "dietary", "seating",
            "special_occasions", "booking_types", "interests",
        )
    },
    "preferred_days": _several("preferred_days", _list(_DAYS)),
    "dress_style": _scalar("dress_style", _text()),
    "special_requests": _scalar("special_requests", _text(2_000, multiline=True)),
    **{name: _scalar(name, _flag) for name in ("always_same_drink", "comes_alone")},
    "prefers_table": lambda draft, value, key: draft.put(
        "prefers_table", False if value is None else _flag(value, key), key
    ),
    **{
        name: _scalar(name, _whole)
        for name in ("average_group_size", "people_brought", "average_spending_minor")
    },
    "average_spending": _spending,
    "conversion_score": _scalar("conversion_score", partial(_whole, high=100)),
    "arrival": _scalar("arrival", _choice("early medium late")),
    "typical_arrival_time": _scalar("typical_arrival_time", _clock_time),
    "promotion_response": _scalar("promotion_response", _LEVEL),
    "social_engagement": _scalar("social_engagement", _LEVEL),
}  # fmt: skip
