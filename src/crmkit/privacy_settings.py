"""What a host states about its handling of personal data; nothing here is made up by crmkit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import attrs

from crmkit.errors import InvalidInput

_LONGEST = 2_000


def _check_text(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
        raise InvalidInput(
            f"expected some text of at most {_LONGEST} characters", field=f"privacy.{field.name}"
        )


def _text() -> str | None:
    made: str | None = attrs.field(default=None, validator=_check_text)
    return made


# Each with its type: a checker sees what `PrivacyNotice(...)` takes through its converters.


def _texts(value: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(value, str):
        raise InvalidInput("expected a list, not one text", field="privacy")
    return None if value is None else tuple(value)


def _tables(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise InvalidInput("expected a list of tables, not one text", field="privacy.tables")
    return tuple(value)


def _check_texts(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, tuple):
        for item in value:
            _check_text(_, field, item or "")


@attrs.frozen(kw_only=True)
class Purpose:
    """What personal data are used for, on which legal basis, and for how long they are kept.

    `tables` are crmkit's tables that serve it; with none named it goes for all of them.
    """

    name: str = attrs.field(validator=_check_text)
    legal_basis: str | None = _text()
    retention: str | None = _text()
    tables: tuple[str, ...] = attrs.field(default=(), converter=_tables)


def _purposes(value: Iterable[Purpose] | None) -> tuple[Purpose, ...] | None:
    if value is None:
        return None
    purposes = tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(purpose, Purpose) for purpose in purposes):
        raise InvalidInput("expected a list of purposes", field="privacy.purposes")
    return purposes


@attrs.frozen(kw_only=True)
class PrivacyNotice:
    """What a person must be told with a copy of their data (GDPR Art. 15(1) and (2)).

    What is None was not stated, and an export says that it is missing. `recipients` and
    `transfers` (to which third countries, under which safeguards) are ``()`` where there are
    none. `retention` says how long data are kept, or by what that is decided; `source` where
    data come from that the person did not give; `automated` what is decided about people by
    machine, by what logic and with which consequences; `authority` where to complain.
    """

    controller: str | None = _text()
    contact: str | None = _text()
    dpo: str | None = _text()
    purposes: tuple[Purpose, ...] | None = attrs.field(default=None, converter=_purposes)
    recipients: tuple[str, ...] | None = attrs.field(
        default=None, converter=_texts, validator=_check_texts
    )
    retention: str | None = _text()
    source: str | None = _text()
    automated: str | None = _text()
    transfers: tuple[str, ...] | None = attrs.field(
        default=None, converter=_texts, validator=_check_texts
    )
    authority: str | None = _text()
    forget_contacts_days: int = 365
    """How long the contact of a closed request about no customer is kept."""

    def __attrs_post_init__(self) -> None:
        days = self.forget_contacts_days
        if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 3_650:
            raise InvalidInput("expected 0 to 3650 days", field="privacy.forget_contacts_days")


def holidays(value: Iterable[date | str]) -> tuple[date, ...]:
    """Days as dates, in order; raises `InvalidInput`."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise InvalidInput("expected a list of days", field="holidays")
    return tuple(sorted({_day(day) for day in value}))


def _day(value: object) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    if type(value) is not date:
        raise InvalidInput("expected days such as 2026-12-25", field="holidays")
    return value
