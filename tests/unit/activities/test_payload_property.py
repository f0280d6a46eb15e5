"""Whatever JSON comes, a payload is read or refused with the path of what is wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from crmkit import InvalidInput, Kind, PayloadField, Settings
from crmkit.activities.payload import read
from crmkit.config import DEFAULT_KINDS
from crmkit.payload_fields import COMMON

NESTED = PayloadField("nested", "object", fields=(PayloadField("list", "list"),))
SETTINGS = Settings(kinds=(*DEFAULT_KINDS, Kind(name="own", payload=(NESTED,))))

_FIELDS = {f.name: f for kind in SETTINGS.kinds for f in kind.fields.values()}
_WORDS = sorted({w for f in _FIELDS.values() for w in (*f.choices, *f.aliases)})
_SCALARS = st.one_of(
    st.sampled_from([None, True, False, 0, 1, 5, 11, -1, 0.5, -0.5, "", " ", Decimal("9.90")]),
    st.sampled_from([*_WORDS, *map(str.title, _WORDS)]),
    st.sampled_from(
        ["EUR", "eur", "12.5", "2026-01-01T00:00:00Z", "2026-W01-1T00+01", "2026-01-01"]
    ),
    st.text(max_size=5),
    st.text(st.characters(categories=["Cf", "Mn", "Zs", "Zl"]), max_size=3),
    st.datetimes(timezones=st.just(UTC)),
)
_HOSTILE = st.one_of(
    st.floats(),
    st.decimals(),
    st.integers(),
    st.text(st.characters(categories=["Cc", "Cs", "Lo"]), max_size=3),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.sampled_from(["NaN", "1e999999", "0001-01-01T00:00:00+14:00", 10**400, -0.0, 2**53]),
    st.sampled_from(["x" * 10_001, "\u0344" * 150, date.max, datetime.max]),
)
_INNER = sorted({inner.name for f in _FIELDS.values() for inner in f.fields})
_ITEM = st.dictionaries(st.sampled_from(_INNER), _SCALARS, max_size=2)
_ITEMS = st.lists(_ITEM | _ITEM | _SCALARS, max_size=2)
_ANY = st.recursive(
    _SCALARS | _HOSTILE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(_INNER) | st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=4,
)
_ODD_KEYS = st.text(max_size=3) | st.integers() | st.just("\ud800")


_USUAL = {
    "integer": st.sampled_from([0, 1, 5, 11, -1, 0.5, True, "1"]),
    "number": st.sampled_from([0, 1, 5, 11, -1, 0.5, True, "1"]),
    "money": st.sampled_from([0, 12.5, "12.5", Decimal("9.90"), -1, "0.001", "1e999999"]),
    "flag": st.booleans(),
    "list": _ITEMS,
}


@st.composite
def payloads(draw: st.DrawFn) -> tuple[Kind, Any]:
    """A kind, and what is mostly an object with a few keys that the kind knows."""
    kind = draw(st.sampled_from(SETTINGS.kinds))
    payload: dict[Any, Any] = {"amount": 1} if kind.needs_amount else {}
    own = st.sampled_from(kind.payload or COMMON)
    for field in draw(st.lists(own | own | st.sampled_from(COMMON), max_size=3)):
        payload[field.name] = draw(_values(field))
    if "items" in kind.fields and draw(st.booleans()):
        payload["items"] = draw(_ITEMS)
    if draw(st.integers(0, 7)) == 0:
        payload[draw(_ODD_KEYS)] = draw(_ANY)
    return kind, draw(st.sampled_from([payload] * 9 + [None])) or draw(_ANY)


def _values(field: PayloadField) -> st.SearchStrategy[Any]:
    usual = _USUAL.get(field.type, _SCALARS)
    if field.choices:
        spelled = [w for c in field.choices for w in (c, c.title(), c.swapcase())]
        usual = st.sampled_from([*spelled, *field.aliases])
    return st.integers(0, 4).flatmap(lambda n: usual if n else _ANY)


@given(payloads())
@profile(max_examples=20 * profile().max_examples)
def test_a_payload_is_read_or_refused(case: tuple[Kind, Any]) -> None:
    """What was read is read again as it is: it is kept in one spelling."""
    kind, payload = case
    try:
        found = read(kind, payload, SETTINGS)
    except InvalidInput as error:
        path = error.field or ""
        assert path == "payload" or path.startswith(("payload.", "payload["))
        return
    assert read(kind, found.document, SETTINGS) == found
    for name, value in found.document.items():
        choices = name in kind.fields and kind.fields[name].choices
        assert not choices or value in choices
    for column in (found.status, found.reference, found.item, found.venue):
        assert column is None or (isinstance(column, str) and column)


_REFUSED = {
    "a signalling NaN": Decimal("sNaN"),
    "the last day": date.max,
    "the end of time": datetime.max,
    "a monstrous number": 10**5_000,
    "a megabyte": "\u0344" * 500_000,
    "a wide object": {str(n): n for n in range(1_001)},
}


@pytest.mark.parametrize("hostile", _REFUSED)
@pytest.mark.parametrize("name", sorted(_FIELDS))
def test_no_key_takes_a_hostile_value(name: str, hostile: str) -> None:
    """The last day is a date, which JSON knows as text."""
    taken = hostile == "the last day"
    for kind in SETTINGS.kinds:
        if name not in kind.fields or (
            taken and kind.fields[name].type in ("text", "long_text", "id")
        ):
            continue
        with pytest.raises(InvalidInput) as caught:
            read(kind, {"amount": 1, name: _REFUSED[hostile]}, SETTINGS)
        assert caught.value.field == f"payload.{name}"
