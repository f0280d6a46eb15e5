from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.errors import InvalidInput
from crmkit.model import Preferences
from crmkit.model.document import MAX_NODES, canonical, document, text

MEGABYTE = 1_000_000
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # surrogates and controls too
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2.0**53), 2.0**53, exclude_min=True, exclude_max=True)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1), inner
        )
    ),
    max_leaves=20,
)


def refusal(value: object, field: str = "payload") -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        document(value, field=field)
    return caught.value


class TestText:
    def test_trims(self) -> None:
        """White space around goes, inner runs stay."""
        assert text("  Ion  Popescu \n", field="name") == "Ion  Popescu"

    def test_composes(self) -> None:
        """A letter and its accent become the one letter that looks the same."""
        assert text("Jose\u0301", field="name") == "Jos\u00e9"

    @pytest.mark.parametrize("empty", ["", "  ", "\n\t", "\u00a0", "\u200b", "\ufeff", "\u200d"])
    def test_nothing_visible(self, empty: str) -> None:
        """Text in which nothing can be seen is None."""
        assert text(empty, field="name") is None

    def test_one_line(self) -> None:
        """Newlines and tabs become single spaces."""
        assert text("a\r\nb\tc\u2028d", field="name") == "a b c d"

    def test_multiline(self) -> None:
        """With `multiline` newlines stay, in one form."""
        assert text("a\r\nb\rc\td", field="note", multiline=True) == "a\nb\nc\td"

    @pytest.mark.parametrize("bad", ["\0", "a\x07", "\x1b[31m", "\x85", "\ud800", "\udc00x"])
    def test_refuses_control_characters(self, bad: str) -> None:
        """NUL, control characters and lone surrogates are refused."""
        with pytest.raises(InvalidInput, match=r"^name: holds control characters"):
            text(bad, field="name")

    @pytest.mark.parametrize("other", [None, 1, b"Ion", ["Ion"], object()])
    def test_refuses_other_types(self, other: object) -> None:
        """What is no str is refused."""
        with pytest.raises(InvalidInput, match="name: expected text"):
            text(other, field="name")

    def test_limit(self) -> None:
        """The limit is inclusive."""
        assert text("x" * 500, field="name") == "x" * 500
        with pytest.raises(InvalidInput, match="longer than 500"):
            text("x" * 501, field="name")

    def test_limit_holds_after_composition(self) -> None:
        """Letters that grow when normalised cannot pass the limit."""
        with pytest.raises(InvalidInput, match="longer than 10"):
            text("\u0958" * 10, field="name", limit=10)

    @pytest.mark.parametrize(
        "living", ["👩‍👩‍👧‍👦", "مرحبا‏!", "می‌خواهم", "שלום‎ Ana", "🇷🇴", "Ștefan"]
    )
    def test_keeps_living_scripts(self, living: str) -> None:
        """Emoji families, right-to-left text and joiners survive."""
        assert text(living, field="name") == living

    @pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u2069", "\ufeff", "\u200b", "\u2060"])
    def test_drops_overrides(self, hidden: str) -> None:
        """Direction overrides and hidden spaces go."""
        assert text(f"a{hidden}b", field="name") == "ab"

    @given(ANY_TEXT, st.booleans())
    def test_idempotent(self, value: str, multiline: bool) -> None:
        """Cleaning what was cleaned changes nothing, and nothing but InvalidInput is raised."""
        try:
            once = text(value, field="name", multiline=multiline)
        except InvalidInput:
            return
        if once is not None:
            assert text(once, field="name", multiline=multiline) == once

    @pytest.mark.parametrize("unit", ["x", " ", "\0", "\u0301", "\ud800", "👩‍👩‍👧"])
    def test_a_megabyte(self, unit: str) -> None:
        """A megabyte of anything is refused."""
        huge = unit * MEGABYTE
        with pytest.raises(InvalidInput):
            text(huge, field="name")


class Colour(StrEnum):
    RED = "red"


class TestDocument:
    def test_spells_out(self) -> None:
        """Decimals and dates become text, tuples lists."""
        given_ = {
            "price": Decimal("12.50"),
            "at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            "day": date(2026, 1, 2),
            "items": ("a", 1, 1.5, None, True),
            "colour": Colour.RED,
        }
        made = document(given_, field="payload")
        assert made == {
            "price": "12.50",
            "at": "2026-01-02T03:04:00Z",
            "day": "2026-01-02",
            "items": ["a", 1, 1.5, None, True],
            "colour": "red",
        }
        assert type(made["colour"]) is str

    def test_fresh(self) -> None:
        """What the caller changes afterwards does not show."""
        inner: dict[str, Any] = {"a": [1]}
        made = document({"inner": inner}, field="payload")
        inner["a"].append(2)
        assert made == {"inner": {"a": [1]}}

    def test_any_mapping(self) -> None:
        """Any mapping may be given; a dict comes out."""
        made = document(MappingProxyType({"a": MappingProxyType({"b": 1})}), field="payload")
        assert type(made["a"]) is dict

    @given(st.dictionaries(st.text("abc", min_size=1), JSON))
    def test_json_passes_unchanged(self, value: dict[str, Any]) -> None:
        """A JSON object of reasonable size comes out equal, in plain types that JSON can hold."""
        made = document(value, field="payload")
        assert made == value
        assert document(made, field="payload") == made
        assert json.loads(canonical(made)) == made

    @given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.floats() | st.integers() | st.binary()))
    def test_only_invalid_input(self, value: dict[str, Any]) -> None:
        """Whatever is inside, the only error is InvalidInput, and what passes can be stored."""
        try:
            made = document(value, field="payload")
        except InvalidInput as error:
            str(error).encode()
        else:
            canonical(made).encode()

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ({"items": [1, 2, 3, {"price": float("nan")}]}, "payload.items[3].price"),
            ({"a": {"b": float("-inf")}}, "payload.a.b"),
            ({"n": 2**53}, "payload.n"),
            ({"n": -(2**53)}, "payload.n"),
            ({"n": 2.0**53}, "payload.n"),
            ({"n": -1e300}, "payload.n"),
            ({"d": Decimal("NaN")}, "payload.d"),
            ({"d": Decimal("1" * 101)}, "payload.d"),
            ({"at": datetime(2026, 1, 1)}, "payload.at"),
            ({"raw": b"x"}, "payload.raw"),
            ({"set": {1}}, "payload.set"),
            ({"s": "x" * 10_001}, "payload.s"),
            ({"s": ["a\0"]}, "payload.s[0]"),
            ({"s": "\ud800"}, "payload.s"),
            ({"a": {1: 2}}, "payload.a[…]"),
            ({"": 1}, "payload[…]"),
            ({"k" * 101: 1}, "payload[…]"),
            ({"k\0": 1}, "payload[…]"),
            ([], "payload"),
            ("{}", "payload"),
            (None, "payload"),
        ],
    )
    def test_refuses_with_the_path(self, value: object, path: str) -> None:
        """What cannot be kept is refused, and the error says where it is."""
        assert refusal(value).field == path

    def test_message_holds_no_value(self) -> None:
        """Neither values nor keys that may be values show in the message."""
        error = refusal({"ana@mail.com": {"secret": [object(), "hidden"]}})
        assert error.field == "payload[…].secret[0]"
        assert "ana" not in str(error)
        assert "hidden" not in str(error)

    def test_depth(self) -> None:
        """Sixteen levels are kept, the seventeenth is refused."""
        value: Any = 1
        for _ in range(16):
            value = {"a": value}
        assert document(value, field="payload") == value
        assert "deeper" in str(refusal({"a": value}))

    def test_size(self) -> None:
        """A thousand values are kept, one more is refused, wherever they are."""
        halves = {"a": [0] * (MAX_NODES // 2 - 1), "b": [0] * (MAX_NODES // 2 - 1)}
        assert document(halves, field="payload") == halves
        assert "more than 1000" in str(refusal({**halves, "c": 0}))

    def test_holding_itself(self) -> None:
        """A structure that holds itself is refused."""
        loop: dict[str, Any] = {}
        loop["self"] = [loop]
        assert "itself" in str(refusal(loop))

    def _hostile(self) -> Mapping[str, Any]:
        deep: Any = []
        for _ in range(10_000):
            deep = [deep]
        wide: list[Any] = []
        for _ in range(40):
            wide = [wide, wide]
        return {
            "deep": {"a": deep},
            "wide": {"a": wide},
            "long": {"a": "x" * MEGABYTE},
            "many": dict.fromkeys(map(str, range(100_000))),
            "list": {"a": [0] * MEGABYTE},
            "key": {"k" * MEGABYTE: 1},
        }

    @pytest.mark.parametrize("name", ["deep", "wide", "long", "many", "list", "key"])
    def test_hostile_input(self, name: str) -> None:
        """Depth of 10,000, doubling lists, megabytes: refused."""
        value = self._hostile()[name]
        refusal(value)


class TestCanonical:
    def test_one_text(self) -> None:
        """Order of keys and tuple or list do not show."""
        assert canonical({"b": (1, "ș"), "a": None}) == '{"a":null,"b":[1,"ș"]}'
        assert canonical({"a": None, "b": [1, "ș"]}) == canonical({"b": (1, "ș"), "a": None})

    def test_records(self) -> None:
        """Records are spelled with all their fields, the personal ones too."""
        one, other = Preferences(dress_style="smart"), Preferences(dress_style="casual")
        assert canonical(one) != canonical(other)
        assert canonical(attrs.evolve(other, dress_style="smart")) == canonical(one)

    def test_dates(self) -> None:
        """Dates, instants and Decimals have a form; other objects have none."""
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        spelled = canonical([date(2026, 1, 2), moment, Decimal("1.50")])
        assert spelled == '["2026-01-02","2026-01-02T00:00:00Z","1.50"]'
        with pytest.raises(TypeError):
            canonical(object())
