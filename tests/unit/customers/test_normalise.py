from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from crmkit.config import Settings
from crmkit.customers.normalise import (
    ConsentStatement,
    Given,
    Identifier,
    given,
    tags,
)
from crmkit.errors import InvalidInput
from crmkit.model import Customer, Preferences

RO = Settings(region="RO", currency="RON")
TODAY = date(2026, 11, 21)
ASSIGNED = {"tenant", "id", "created_at", "updated_at", "aliases", "sealed"}
SETTABLE = {
    a.name
    for a in attrs.fields(Customer)  # type: ignore[arg-type]  # mypy sees no attrs behind @record
    if a.name not in ASSIGNED and not a.name.endswith("_typed")
}
ALSO = {"tags", "consent", "location", "surname", "date_of_birth"} | {
    "acquisition_source",
    "acquisition_channel",
}
ANY_TEXT = st.text(st.characters(exclude_categories=()))
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.dates()
    | st.datetimes()
    | st.binary()
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)


def fields(**data: Any) -> Mapping[str, Any]:
    return given(data, RO, today=TODAY).fields


def cleared(**data: Any) -> Mapping[str, Any]:
    return given(data, RO, clear=True, today=TODAY).fields


def refused(**data: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        given(data, RO, today=TODAY)
    return caught.value


class TestWhole:
    def test_every_field_of_a_customer(self) -> None:
        """A host may set each field of a customer but those that crmkit assigns."""
        for name in SETTABLE | ALSO:
            assert given({name: None}, RO) == Given({})

    @pytest.mark.parametrize("name", [*sorted(ASSIGNED), "email_typed", "phone_typed"])
    def test_assigned_fields(self, name: str) -> None:
        """What crmkit assigns a host cannot set."""
        assert "unknown field" in str(refused(**{name: "x"}))

    def test_nearest_name(self) -> None:
        """A misspelt field is refused with the nearest name."""
        error = refused(emial="ana@mail.ro")
        assert str(error) == "emial: unknown field 'emial'; did you mean 'email'?"

    @pytest.mark.parametrize("key", [1, None, b"email", ("email",)])
    def test_keys_are_text(self, key: Any) -> None:
        """A field's name that is no text is refused."""
        with pytest.raises(InvalidInput, match="field names that are text"):
            given({key: "x"}, RO)

    @pytest.mark.parametrize("data", [None, "email", [("email", "a@b.ro")], 7])
    def test_mapping_only(self, data: Any) -> None:
        """What is no mapping is refused."""
        with pytest.raises(InvalidInput, match="expected a mapping"):
            given(data, RO)

    @pytest.mark.parametrize("missing", [None, "", "  \t"])
    def test_missing(self, missing: str | None) -> None:
        """None and blank text say nothing."""
        assert fields(email=missing, name=missing, preferences=missing, custom=missing) == {}

    def test_nothing_partial(self) -> None:
        """One bad field refuses the whole."""
        assert refused(name="Ion", email="ion").field == "email"

    def test_repr(self) -> None:
        """Neither values nor identifiers show."""
        made = given({"email": "ana@mail.ro", "tags": ["vip"]}, RO)
        assert repr(made) == "Given(fields=['email', 'email_typed'])"
        assert repr(made.identifiers) == "(Identifier(kind='email'),)"

    def test_twice(self) -> None:
        """One field under two names is refused."""
        assert refused(last_name="Pop", surname="Popa").field == "surname"

    def test_convenience_names(self) -> None:
        """The names of other systems are understood."""
        assert fields(surname="Pop", date_of_birth="1990-05-17", acquisition_channel="Radio") == {
            "last_name": "Pop",
            "birth_date": date(1990, 5, 17),
            "source": "Radio",
        }


class TestClear:
    def test_scalars(self) -> None:
        """With `clear`, None and blank text empty a field."""
        assert cleared(name=None, city=" ", birth_date="") == {
            "name": None,
            "city": None,
            "birth_date": None,
        }

    def test_contacts(self) -> None:
        """A contact is emptied with its typed form."""
        assert cleared(email="") == {"email": None, "email_typed": None}

    def test_placeholder_replaces(self) -> None:
        """A placeholder empties the address that was there before."""
        assert cleared(phone="0000000000") == {"phone": None, "phone_typed": "0000000000"}

    def test_location(self) -> None:
        """The place is emptied as one."""
        assert cleared(location=None) == {"latitude_micro": None, "longitude_micro": None}

    def test_collections(self) -> None:
        """Lists and mappings become empty ones."""
        assert cleared(communication=None, custom=None, external_ids="", preferences=None) == {
            "communication": (),
            "custom": {},
            "external_ids": {},
            "preferences": Preferences(),
        }

    def test_keys(self) -> None:
        """A key given as None stays, so that an update can remove it."""
        made = given(
            {"external_ids": {"pos": None, "web": 7}, "custom": {"a": None}}, RO, clear=True
        )
        assert made.fields == {"external_ids": {"pos": None, "web": "7"}, "custom": {"a": None}}
        assert made.identifiers == (Identifier("external:web", "7"),)

    def test_preferences(self) -> None:
        """`preferences` of the result names those that were given, and only them."""
        said = {"dress_style": "", "drinks": None, "prefers_table": None, "comes_alone": False}
        made = given({"preferences": said}, RO, clear=True)
        assert made.preferences == {
            "dress_style": None,
            "drinks": (),
            "prefers_table": False,
            "comes_alone": False,
        }
        assert "preferences" not in cleared(preferences={})


class TestIdentifiers:
    def test_order(self) -> None:
        """Identifiers come in order of trust, in canonical form."""
        made = given(
            {
                "instagram": "@Ana",
                "phone": "0722 123 456",
                "email": "A.na+x@gmail.com",
                "external_ids": {"web": 7, "pos": "p-1"},
                "user_id": 42,
            },
            RO,
        )
        assert made.identifiers == (
            Identifier("user_id", "42"),
            Identifier("external:pos", "p-1"),
            Identifier("external:web", "7"),
            Identifier("email", "ana@gmail.com"),
            Identifier("phone", "+40722123456"),
            Identifier("instagram", "ana"),
        )

    def test_placeholders_name_nobody(self) -> None:
        """Placeholders are kept as typed and identify nobody."""
        made = given({"email": "no@email.com", "phone": "0000000000", "instagram": "none"}, RO)
        assert made.identifiers == ()
        assert made.fields == {
            "email_typed": "no@email.com",
            "phone_typed": "0000000000",
            "instagram_typed": "none",
        }

    def test_user_id(self) -> None:
        """A user's id may be text, a whole number or a UUID; it is kept as text."""
        made = uuid.uuid4()
        assert [fields(user_id=i)["user_id"] for i in ("u1", 7, made)] == ["u1", "7", str(made)]
        for wrong in (True, 1.5, b"u1", 10**5_000):
            assert refused(user_id=wrong).field == "user_id"


class TestPhoneRegion:
    def test_country_first(self) -> None:
        """The person's country decides how a national number is read, whatever the order."""
        assert fields(phone="335 272 9225", country="it")["phone"] == "+393352729225"

    def test_settings_else(self) -> None:
        """Without a country the settings' region decides."""
        assert fields(phone="0722123456")["phone"] == "+40722123456"
        with pytest.raises(InvalidInput, match="country"):
            given({"phone": "0722123456"}, Settings())


class TestFields:
    @pytest.mark.parametrize(
        ("name", "value", "stored"),
        [
            ("name", " Ion  Popescu ", "Ion  Popescu"),
            ("gender", "f", "F"),
            ("gender", "Male", "M"),
            ("gender", "Non binary", "NB"),
            ("gender", "unknown", "UNK"),
            ("birth_date", "1990-05-17", date(1990, 5, 17)),
            ("birth_date", TODAY + timedelta(days=1), TODAY + timedelta(days=1)),
            ("anniversary", date(2030, 1, 1), date(2030, 1, 1)),
            ("country", " ro ", "RO"),
            ("language", "PT_BR", "pt-BR"),
            ("timezone", "Europe/Bucharest", "Europe/Bucharest"),
            ("photo_url", "https://img.ro/a.jpg?x=1", "https://img.ro/a.jpg?x=1"),
            ("preferred_contact", "sms", "SMS"),
            ("communication", ["SMS", "email", "sms"], ("sms", "email")),
            ("communication", {"sms", "email"}, ("email", "sms")),
            ("instagram_followers", 0, 0),
            ("address", "Str. A 1\r\nIași", "Str. A 1\nIași"),
            ("social_handles", {"TikTok": " @ana "}, {"tiktok": "@ana"}),
            ("external_ids", {"pos": 7, "web": ""}, {"pos": "7"}),
            ("custom", {"size": Decimal("1.5")}, {"size": "1.5"}),
            ("metadata", {"a": (1, 2)}, {"a": [1, 2]}),
            ("source", "Instagram", "Instagram"),
            ("latitude_micro", -90_000_000, -90_000_000),
            (
                "account_created_at",
                "2026-01-01T02:00:00+02:00",
                datetime(2026, 1, 1, tzinfo=UTC),
            ),
        ],
    )
    def test_stored(self, name: str, value: object, stored: object) -> None:
        """Each field has one stored form."""
        assert fields(**{name: value}) == {name: stored}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("name", 7),
            ("name", "x" * 201),
            ("name", "a\0"),
            ("gender", "W"),
            ("birth_date", "1899-12-31"),
            ("birth_date", TODAY + timedelta(days=2)),
            ("birth_date", "17.05.1990"),
            ("birth_date", datetime(1990, 5, 17)),
            ("anniversary", "1899-12-31"),
            ("country", "ROU"),
            ("country", "UK"),
            ("country", "Romania"),
            ("language", "romanian"),
            ("timezone", "Europe/Nowhere"),
            ("timezone", "../../etc/passwd"),
            ("timezone", "America"),
            ("photo_url", "javascript:alert(1)"),
            ("photo_url", "https://"),
            ("photo_url", "https://[::1"),
            ("photo_url", "https://a.ro/" + "x" * 2_000),
            ("preferred_contact", "FAX"),
            ("communication", "email"),
            ("communication", ["fax"]),
            ("instagram_followers", -1),
            ("instagram_followers", True),
            ("instagram_followers", "12"),
            ("external_ids", {"pos": 1.5}),
            ("external_ids", {"": "7"}),
            ("external_ids", {1: "7"}),
            ("external_ids", ["pos"]),
            ("social_handles", dict.fromkeys(map(str, range(101)), "a")),
            ("custom", [1]),
            ("custom", {"a": float("nan")}),
            ("metadata", "{}"),
            ("account_created_at", "2026-01-01T02:00:00"),
            ("account_created_at", 0),
            ("latitude_micro", 90_000_001),
            ("tags", "vip"),
            ("tags", ["x" * 101]),
            ("tags", ["x"] * 101),
        ],
    )
    def test_refused(self, name: str, value: object) -> None:
        """What does not fit is refused at its field, without repeating it."""
        error = refused(**{name: value})
        assert error.field is not None
        assert error.field.partition(".")[0].partition("[")[0] == name
        if isinstance(value, str) and len(value) > 3:
            assert value not in str(error)

    def test_path_in_a_document(self) -> None:
        """The path leads into lists and mappings."""
        assert refused(custom={"a": [1, {"b": b""}]}).field == "custom.a[1].b"
        assert refused(tags=["ok", 7]).field == "tags[1]"
        assert refused(external_ids={"pos": 1.5}).field == "external_ids.pos"
        assert refused(preferences={"drinks": ["gin", 1]}).field == "preferences.drinks[1]"

    def test_tags(self) -> None:
        """Tags are trimmed and come once, in the order given."""
        assert given({"tags": [" vip ", "early", "vip", ""]}, RO).tags == ("vip", "early")
        assert tags(("a", "a", "b")) == ("a", "b")


class TestLocation:
    @pytest.mark.parametrize(
        "value",
        [
            {"latitude": 44.4268, "longitude": 26.1025},
            (44.4268, 26.1025),
            ["44.4268", Decimal("26.1025")],
        ],
    )
    def test_micro_degrees(self, value: object) -> None:
        """Degrees become whole millionths."""
        assert fields(location=value) == {
            "latitude_micro": 44_426_800,
            "longitude_micro": 26_102_500,
        }

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ((91, 0), "location.latitude"),
            ((0, -180.1), "location.longitude"),
            ((float("nan"), 0), "location.latitude"),
            ((10**400, 0), "location.latitude"),
            (("1" * 41, 0), "location.latitude"),
            ((True, 0), "location.latitude"),
            ((1,), "location"),
            ({"latitude": 1}, "location"),
            ("44, 26", "location"),
        ],
    )
    def test_refused(self, value: object, path: str) -> None:
        """Half a place, or one that is not on Earth, is refused."""
        assert refused(location=value).field == path


class TestConsent:
    def test_statements(self) -> None:
        """Each name is a purpose and a channel, with one source and moment."""
        said = {
            "marketing_email": True,
            "event_news_sms": False,
            "marketing_push": None,
            "source": "booking form",
            "at": "2026-01-01T00:00:00Z",
        }
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        assert given({"consent": said}, RO).consents == (
            ConsentStatement("marketing", "email", True, "booking form", moment),
            ConsentStatement("event_news", "sms", False, "booking form", moment),
        )

    def test_granting_needs_a_source(self) -> None:
        """Consent without a source is refused, and the error says so."""
        for source in ({}, {"source": None}, {"source": " "}):
            error = refused(consent={"marketing_email": True, **source})
            assert error.field == "consent.source"
            assert "with its source" in str(error)

    def test_withdrawing_does_not(self) -> None:
        """A withdrawal counts wherever it comes from."""
        made = given({"consent": {"marketing_sms": False}}, RO)
        assert made.consents == (ConsentStatement("marketing", "sms", False, "unknown", None),)

    @pytest.mark.parametrize(
        ("said", "path"),
        [
            ({"marketing_fax": True, "source": "x"}, "consent"),
            ({"email": True, "source": "x"}, "consent"),
            ({"_email": True, "source": "x"}, "consent"),
            ({"ana@mail.ro_email": True, "source": "x"}, "consent"),
            ({"marketing_email": "yes", "source": "x"}, "consent.marketing_email"),
            ({"marketing_email": 1, "source": "x"}, "consent.marketing_email"),
            ({"marketing_email": True, "source": 7}, "consent.source"),
            ({"marketing_email": True, "source": "x", "at": "2026-01-01"}, "consent.at"),
            (True, "consent"),
        ],
    )
    def test_refused(self, said: object, path: str) -> None:
        """Other channels, guesses at yes, and times without zone are refused."""
        assert refused(consent=said).field == path


class TestPreferences:
    def test_every_preference(self) -> None:
        """Each preference can be given."""
        said = {
            "music_genres": ["house", "techno", "house"],
            "drinks": ("gin",),
            "always_same_drink": True,
            "prefers_table": True,
            "average_group_size": 4,
            "preferred_days": ["Sat", "friday"],
            "arrival": "Late",
            "typical_arrival_time": "9:30",
            "promotion_response": "HIGH",
            "conversion_score": 100,
            "average_spending": "150.50",
            "special_requests": "a\nb",
        }
        made = given({"preferences": said}, RO)
        assert made.fields["preferences"] == Preferences(
            music_genres=("house", "techno"),
            drinks=("gin",),
            always_same_drink=True,
            prefers_table=True,
            average_group_size=4,
            preferred_days=("saturday", "friday"),
            arrival="late",
            typical_arrival_time="09:30",
            promotion_response="high",
            conversion_score=100,
            average_spending_minor=15_050,
            special_requests="a\nb",
        )
        assert made.preferences["average_spending_minor"] == 15_050

    def test_all_named(self) -> None:
        """Every field of Preferences may be given by its name."""
        for a in attrs.fields(Preferences):
            assert given({"preferences": {a.name: None}}, RO).fields == {}

    def test_record(self) -> None:
        """A record of preferences is understood as what it holds."""
        held = Preferences(drinks=("gin",), typical_arrival_time="21:00", prefers_table=True)
        assert fields(preferences=held) == {"preferences": held}

    def test_clock(self) -> None:
        """A time of day may be a `time`."""
        made = fields(preferences={"typical_arrival_time": clock_time(21, 5, 59)})
        assert made["preferences"].typical_arrival_time == "21:05"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("always_same_drink", 1),
            ("prefers_table", "yes"),
            ("average_group_size", -1),
            ("people_brought", 2.0),
            ("preferred_days", ["someday"]),
            ("arrival", "never"),
            ("typical_arrival_time", "24:00"),
            ("typical_arrival_time", "21.30"),
            ("promotion_response", "huge"),
            ("conversion_score", 101),
            ("average_spending", "1.505"),
            ("average_spending", -1),
            ("average_spending", "\ud800"),
            ("drinks", "gin"),
        ],
    )
    def test_refused(self, name: str, value: object) -> None:
        """What does not fit is refused with its path."""
        error = refused(preferences={name: value})
        assert error.field is not None
        assert error.field.startswith(f"preferences.{name}")

    def test_nearest_name(self) -> None:
        """A misspelt preference is refused with the nearest name."""
        error = refused(preferences={"drink": ["gin"]})
        assert error.field == "preferences.drink"
        assert "did you mean 'drinks'?" in str(error)


def again(made: Given) -> Given:
    """What `given` makes of its own result."""
    stored = {k: v for k, v in made.fields.items() if not k.endswith("_typed")}
    return given({**stored, "tags": made.tags}, RO, today=TODAY)


class TestProperties:
    @pytest.mark.parametrize("name", sorted(SETTABLE | ALSO))
    @hypothesis_given(value=ANYTHING, clear=st.booleans())
    def test_only_invalid_input(self, name: str, value: Any, clear: bool) -> None:
        """Whatever a field is given, the only error is InvalidInput, and its text can be logged."""
        try:
            given({name: value}, RO, clear=clear, today=TODAY)
        except InvalidInput as error:
            str(error).encode()

    @hypothesis_given(st.dictionaries(ANY_TEXT, ANYTHING))
    def test_any_keys(self, data: dict[str, Any]) -> None:
        """Whatever the keys, the only error is InvalidInput."""
        try:
            given(data, RO)
        except InvalidInput as error:
            str(error).encode()

    @pytest.mark.parametrize("name", [*(a.name for a in attrs.fields(Preferences))])
    @hypothesis_given(value=ANYTHING)
    def test_preferences(self, name: str, value: Any) -> None:
        """The only error is InvalidInput, and what passes is normalised to itself."""
        try:
            made = given({"preferences": {name: value}}, RO)
        except InvalidInput as error:
            str(error).encode()
        else:
            # An explicit default, such as prefers_table=False, says nothing as a record.
            default = Preferences()
            repeated = again(made).fields.get("preferences", default)
            assert repeated == made.fields.get("preferences", default)

    @pytest.mark.parametrize("name", sorted(SETTABLE))
    @hypothesis_given(value=ANYTHING)
    def test_idempotent(self, name: str, value: Any) -> None:
        """Normalising what was normalised gives the same."""
        try:
            made = given({name: value}, RO, today=TODAY)
        except InvalidInput:
            return
        stored = {k: v for k, v in made.fields.items() if not k.endswith("_typed")}
        repeated = again(made)
        assert {k: v for k, v in repeated.fields.items() if not k.endswith("_typed")} == stored
        assert repeated.identifiers == made.identifiers

    @hypothesis_given(
        st.fixed_dictionaries(
            {},
            optional={
                "email": st.emails(),
                "phone": st.from_regex(r"\A07[2-8]\d{7}\Z"),
                "instagram": st.from_regex(r"\A@?[A-Za-z0-9._]{3,20}\Z"),
                "name": st.text("Șșăîâț abc-'", min_size=1),
                "country": st.sampled_from(["RO", "it", " gb "]),
                "birth_date": st.dates(date(1900, 1, 1), TODAY),
                "tags": st.lists(st.text("abc ")),
                "location": st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
            },
        )
    )
    def test_idempotent_together(self, data: dict[str, Any]) -> None:
        """So it is for many fields at once."""
        try:
            made = given(data, RO, today=TODAY)
        except InvalidInput:
            return
        repeated = again(made)
        assert repeated.identifiers == made.identifiers
        assert repeated.tags == made.tags
        assert repeated.fields.get("name") == made.fields.get("name")


class TestHostile:
    @pytest.mark.parametrize("unit", ["x", " ", "\0", "9", "\ud800", "‏", "👩‍👩‍👧"])
    @pytest.mark.parametrize("name", sorted(SETTABLE | ALSO))
    def test_a_megabyte(self, name: str, unit: str) -> None:
        """A megabyte in any field is refused."""
        huge = unit * 1_000_000
        with pytest.raises(InvalidInput):
            given({name: huge, "language": "!"}, RO)

    @pytest.mark.parametrize("name", sorted(SETTABLE | ALSO))
    def test_deep(self, name: str) -> None:
        """Nesting of 10,000 levels is refused in any field."""
        deep: Any = {}
        for _ in range(10_000):
            deep = {"a": [deep]}
        with pytest.raises(InvalidInput):
            given({name: deep}, RO)

    def test_huge_key(self) -> None:
        """A megabyte as a field's name is refused, and the message stays short."""
        with pytest.raises(InvalidInput) as caught:
            given({"e" * 1_000_000: "x"}, RO)
        assert len(str(caught.value)) < 500
