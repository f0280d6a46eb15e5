"""How long what is kept, as data: policies that `Settings(retention=…)` takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from crmkit.errors import InvalidInput, shown, unknown

Action: TypeAlias = Literal["anonymise", "delete", "erase"]

ACTIONS: Final[Mapping[str, Action]] = {
    "activities": "anonymise",
    "notes": "delete",
    "consents": "delete",
    "profile_changes": "delete",
    "customers": "erase",
}
"""What a policy does to what it is about."""

_LENGTH = re.compile(r"([1-9]\d{0,4})\s*(h|d|w|mo|y)", re.ASCII)
_MOST = {"h": 99_999, "d": 36_525, "w": 5_218, "mo": 1_200, "y": 100}
_NAME = re.compile(r"[^\W_][\w .:+&%'-]{0,99}")


def _wrong(what: str, field: str) -> InvalidInput:
    return InvalidInput(what, field=f"retention.{field}")


def _check_name(_: object, __: object, value: str) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _wrong("expected a name of 1 to 100 letters, digits, spaces, _ or -", "name")


def _check_of(_: object, __: object, value: str) -> None:
    if not isinstance(value, str) or value not in ACTIONS:
        raise _wrong(unknown("record", value, ACTIONS), "of")


def _action(of: object) -> Action:
    return ACTIONS.get(of, "delete") if isinstance(of, str) else "delete"


def _check_action(policy: RetentionPolicy, __: object, value: Action) -> None:
    meant = ACTIONS.get(policy.of)
    if value != meant:
        raise _wrong(f"expected {meant!r} for {policy.of}", "action")


def _check_length(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None and attribute.name == "notice":
        return
    told = _LENGTH.fullmatch(value) if isinstance(value, str) else None
    if told is None or int(told[1]) > _MOST[told[2]]:
        said = "expected a duration such as '24mo' (h, d, w, mo, y), up to 100 years"
        raise _wrong(said, attribute.name)


def _check_notice(policy: RetentionPolicy, __: object, value: str | None) -> None:
    if value is not None and policy.of != "customers":
        raise _wrong("only who is to be erased is given notice", "notice")


def _check_kinds(policy: RetentionPolicy, __: object, value: tuple[str, ...] | None) -> None:
    if value is not None and policy.of != "activities":
        raise _wrong("only activities are of kinds", "kinds")


def _kinds(value: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(value, str):
        raise _wrong("expected a list of kinds, not one text", "kinds")
    return None if value is None else tuple(value)


@attrs.frozen(kw_only=True)
class RetentionPolicy:
    """How long one class of records is kept, and what becomes of it then.

    `of` is ``activities`` (anonymised: linked to nobody any more, sums stay), ``notes``,
    ``profile_changes`` (deleted), ``consents`` (deleted once they were withdrawn for that long:
    until then they are the proof), or ``customers`` (erased whole when nothing came from
    the person for that long). `after` is a length such as ``24mo`` or ``10y``; months and years
    follow the tenant's calendar. With `notice` a customer is erased only that long after you
    told them; see `crm.gdpr.retention`. `kinds` names the activities that are meant, all if it
    is None.
    """

    name: str = attrs.field(validator=_check_name)
    of: str = attrs.field(default="activities", validator=_check_of)
    after: str = attrs.field(validator=_check_length)
    action: Action = attrs.field(
        default=attrs.Factory(lambda self: _action(self.of), takes_self=True),
        validator=_check_action,
    )
    kinds: tuple[str, ...] | None = attrs.field(
        default=None, converter=_kinds, validator=_check_kinds
    )
    notice: str | None = attrs.field(default=None, validator=[_check_length, _check_notice])


def checked(value: Iterable[RetentionPolicy]) -> tuple[RetentionPolicy, ...]:
    """Policies from any iterable of them; raises `InvalidInput` for two of one name."""
    policies = tuple(value)
    for policy in policies:
        if not isinstance(policy, RetentionPolicy):
            raise InvalidInput("expected policies", field="retention")
    names = [policy.name for policy in policies]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"two policies are called {shown(name)}", field="retention")
    return policies
