"""What the keys of a payload may hold, in which spelling it is kept, and where it is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from crmkit import EarnRule, InvalidInput, Kind, PayloadField, Programme, Settings
from crmkit.activities.payload import Payload, read
from crmkit.config import DEFAULT_KINDS
from crmkit.payload_fields import COMMON, declared

SETTINGS = Settings(currency="RON")
SUMMER = timezone(timedelta(hours=3))


def told(kind: str, payload: Any) -> Payload:
    return read(SETTINGS.kinds_by_name[kind], payload, SETTINGS)


def kept(kind: str, payload: Any) -> Any:
    if SETTINGS.kinds_by_name[kind].needs_amount:
        payload = {"amount": 1, **payload}
        return {k: v for k, v in told(kind, payload).document.items() if k != "amount"}
    return told(kind, payload).document


# Kind, what is given, and what is kept of it where that differs.
GOOD: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    # --- every kind ---
    ("visit", {}, None),
    ("visit", {"currency": "RON", "genre": "house", "staff_note": "late\nloud"}, None),
    ("visit", {"amount": Decimal("1.50")}, {"amount": "1.50"}),
    ("visit", {"amount": 1, "currency": "ron"}, {"amount": 1, "currency": "RON"}),
    ("interaction", {"amount": 12.5}, None),
    ("visit", {"status": "No-Show"}, {"status": "no_show"}),
    ("visit", {"status": " CANCELED "}, {"status": "cancelled"}),
    ("visit", {"game_id": 7, "venue_id": " v "}, {"game_id": "7", "venue_id": "v"}),
    ("visit", {"category": "caf\u0065\u0301\tbar"}, {"category": "caf\u00e9 bar"}),
    ("visit", {"party_size": 1}, None),
    ("visit", {"party_size": 100_000}, None),
    # --- missing ---
    ("booking", {"amount": None, "method": "", "type": "  ", "x": None}, {"x": None}),
    ("booking", {"items": [{"name": "", "price": None, "x": ""}]}, {"items": [{"x": ""}]}),
    # --- unknown keys ---
    ("visit", {"lane": [1, {"price": "free"}], "utmSource": " x "}, None),
    ("visit", {"method": "smoke signals", "rating": 9}, None),
    # --- by kind ---
    ("booking", {"method": "Instagram"}, {"method": "INSTAGRAM"}),
    ("booking", {"type": "Party", "utm_source": "ig", "promoter": "PR", "invite_link": "x"}, None),
    (
        "booking",
        {"starts_at": "2026-07-01T22:00+03", "ends_at": datetime(2026, 7, 2, 4, tzinfo=SUMMER)},
        {"starts_at": "2026-07-01T19:00:00Z", "ends_at": "2026-07-02T01:00:00Z"},
    ),
    ("booking", {"deposit": "20.00", "special_requests": "window\nquiet"}, None),
    ("booking", {"expected_amount": 500, "upsell_accepted": False, "package": "Gold"}, None),
    ("ticket", {"type": "list"}, {"type": "LIST"}),
    ("ticket", {"type": "PAID", "price": 0, "group_size": 4}, None),
    ("ticket", {"qr_code": "x" * 2_000}, None),
    ("purchase", {"items": []}, None),
    (
        "order",
        {"items": ({"name": "Gin", "id": 5, "quantity": 2, "price": Decimal("9"), "ice": True},)},
        {"items": [{"name": "Gin", "id": "5", "quantity": 2, "price": "9", "ice": True}]},
    ),
    ("purchase", {"items": [{"name": "discount", "price": -5}]}, None),
    ("check_in", {"gate": "B", "companions": 0, "waiting_minutes": 7.5}, None),
    ("attendance", {"means_of_arrival": "taxi", "entry_channel": "list"}, None),
    ("visit", {"entered_at": datetime(2026, 1, 1, tzinfo=UTC)},
     {"entered_at": "2026-01-01T00:00:00Z"}),
    ("consumption", {"category": "Bottle"}, {"category": "bottle"}),
    ("cancellation", {"reason": "ill"}, None),
    ("no_show", {"reason": "ill"}, None),
    ("refund", {"reason": "noise"}, None),
    ("message_clicked", {"message_id": 3, "campaign": "c", "link": "https://x"},
     {"message_id": "3", "campaign": "c", "link": "https://x"}),
    ("review", {"rating": 4.5, "text": "good", "platform": "Google"}, None),
    ("feedback", {"score": 0, "text": "bad"}, None),
    ("referral", {"referred_customer_id": "c"}, None),
    ("referral", {"code": 12}, {"code": "12"}),
    ("support", {"topic": "bill", "ticket": "s1", "outcome": "paid"}, None),
    ("interaction", {"topic": "call", "outcome": "none"}, None),
    ("funnel_step", {"funnel": "f", "step": "view", "position": 1, "utm_medium": "story"}, None),
    ("post_event_report", {"topic": "noise", "complaint": True, "text": "loud"}, None),
    ("premium_conversion", {"package": "Gold", "from_package": "Basic"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "stored"), GOOD)
def test_what_is_kept(kind: str, given: dict[str, Any], stored: dict[str, Any] | None) -> None:
    """Known keys in one spelling and without what says nothing, the rest as it came."""
    expected = given if stored is None else stored
    once = kept(kind, given)
    assert once == expected
    assert [type(v) for v in once.values()] == [type(v) for v in expected.values()]


# Kind, what is given, where it is refused, and a word of the message.
BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("visit", {"amount": -1}, "amount", "refund"),
    ("visit", {"amount": "0.005"}, "amount", "decimal places"),
    ("visit", {"amount": {}}, "amount", "expected an amount"),
    ("visit", {"currency": "EUR"}, "currency", "RON"),
    ("visit", {"currency": 1}, "currency", "RON"),
    ("visit", {"status": "finished"}, "status", "known: approved"),
    ("visit", {"status": ["completed"]}, "status", "text"),
    ("visit", {"reference": True}, "reference", "text"),
    ("visit", {"booking_id": 1.0}, "booking_id", "text"),
    ("visit", {"item": "x" * 201}, "item", "200"),
    ("visit", {"event": {"id": 1}}, "event", "text"),
    ("visit", {"venue": ["a"]}, "venue", "text"),
    ("visit", {"category": 3}, "category", "text"),
    ("visit", {"genre": "a\x07"}, "genre", "control"),
    ("visit", {"channel": "x" * 2_001}, "channel", "2000"),
    ("visit", {"party_size": 0}, "party_size", "whole number from 1 to 100,000"),
    ("visit", {"party_size": 4.0}, "party_size", "whole"),
    ("visit", {"party_size": "4"}, "party_size", "whole"),
    ("visit", {"party_size": True}, "party_size", "whole"),
    ("visit", {"party_size": 100_001}, "party_size", "whole"),
    ("visit", {"companions": -1}, "companions", "from 0"),
    ("visit", {"waiting_minutes": -0.5}, "waiting_minutes", "number from 0"),
    ("visit", {"waiting_minutes": True}, "waiting_minutes", "number"),
    ("check_in", {"entered_at": "2026-01-01T00:00:00"}, "entered_at", "zone"),
    ("check_in", {"entered_at": "soon"}, "entered_at", "ISO 8601"),
    ("booking", {"starts_at": datetime(2026, 1, 1)}, "starts_at", "zone"),
    ("booking", {"starts_at": date(2026, 1, 1)}, "starts_at", "zone"),
    ("booking", {"ends_at": 1_700_000_000}, "ends_at", "ISO 8601"),
    ("booking", {"ends_at": "9" * 10_000}, "ends_at", "ISO 8601"),
    ("booking", {"ends_at": "9999-12-31T23:59:59-12:00"}, "ends_at", "range"),
    ("booking", {"method": "INSTAGRAMM"}, "method", "did you mean 'INSTAGRAM'"),
    ("booking", {"method": 1}, "method", "text"),
    ("booking", {"deposit": -1}, "deposit", "an amount from 0"),
    ("booking", {"deposit": True}, "deposit", "expected an amount"),
    ("booking", {"upsell_accepted": "yes"}, "upsell_accepted", "true or false"),
    ("booking", {"upsell_accepted": 1}, "upsell_accepted", "true or false"),
    ("ticket", {"type": "VIP"}, "type", "known: FREE, LIST, PAID"),
    ("ticket", {"price": "1e999999"}, "price", "range"),
    ("ticket", {"group_size": 0}, "group_size", "from 1"),
    ("order", {"items": {"name": "Gin"}}, "items", "list"),
    ("order", {"items": "Gin"}, "items", "list"),
    ("order", {"items": 5}, "items", "list"),
    ("order", {"items": ["Gin"]}, "items[0]", "with name, id, quantity, price, category"),
    ("order", {"items": [{}, None]}, "items[1]", "object"),
    ("order", {"items": [{}, {}, {"price": "12,50"}]}, "items[2].price", "amount"),
    ("order", {"items": [{"quantity": 0}]}, "items[0].quantity", "from 1"),
    ("order", {"items": [{"name": ["Gin"]}]}, "items[0].name", "text"),
    ("order", {"items": [{"x": float("nan")}]}, "items[0].x", "finite"),
    ("order", {"expected_amount": "lots"}, "expected_amount", "amount"),
    ("consumption", {"category": "dessert"}, "category", "drink"),
    ("review", {"rating": 5.1}, "rating", "from 1 to 5"),
    ("review", {"rating": 0}, "rating", "from 1 to 5"),
    ("review", {"text": 5}, "text", "text"),
    ("feedback", {"score": 11}, "score", "from 0 to 10"),
    ("feedback", {"score": 9.5}, "score", "whole"),
    ("funnel_step", {"position": 0}, "position", "from 1"),
    ("post_event_report", {"complaint": "no"}, "complaint", "true or false"),
]


@pytest.mark.parametrize(("kind", "given", "path", "word"), BAD)
def test_what_is_refused(kind: str, given: dict[str, Any], path: str, word: str) -> None:
    with pytest.raises(InvalidInput, match=word.replace("(", r"\(")) as caught:
        kept(kind, given)
    assert caught.value.field == f"payload.{path}"


def test_an_unknown_choice_is_not_repeated() -> None:
    """A guest's name may have slipped into the wrong column."""
    for kind, key in (("booking", "method"), ("ticket", "type"), ("visit", "status")):
        with pytest.raises(InvalidInput) as caught:
            told(kind, {key: "Ana Pop"})
        assert "Ana" not in repr(caught.value)


def test_a_default_is_not_stored() -> None:
    """A booking that is said again without its method would take back what was said."""
    assert kept("booking", {}) == {}
    assert told("ticket", {"items": [{}]}).document == {"items": [{}]}


def test_what_is_read_beside_the_document() -> None:
    found = told(
        "booking",
        {
            "amount": "80.5",
            "status": "Completed",
            "booking_id": 7,
            "game": "Heist",
            "venue": "Mill",
        },
    )
    assert (found.amount_minor, found.currency, found.status) == (8_050, "RON", "completed")
    assert (found.reference_name, found.reference) == ("booking_id", "7")
    assert (found.item, found.venue) == ("Heist", "Mill")
    assert told("visit", None).document == {}


@pytest.mark.parametrize(
    ("given", "item", "venue"),
    [
        ({"event": "e", "game": "g", "item": "i", "item_id": 1}, "i", None),
        ({"event": "e", "game": "g", "game_id": 1}, "g", None),
        ({"event_id": 3, "game_id": 2, "item": " "}, "2", None),
        ({"venue": "v", "venue_id": 9}, None, "v"),
        ({"venue": "", "venue_id": 9}, None, "9"),
    ],
)
def test_a_name_comes_before_an_id(
    given: dict[str, Any], item: str | None, venue: str | None
) -> None:
    found = told("visit", given)
    assert (found.item, found.venue) == (item, venue)


def test_an_amount_may_not_have_been_told() -> None:
    with pytest.raises(InvalidInput, match="needs its amount") as caught:
        told("purchase", {"amount": "", "status": "completed"})
    assert caught.value.field == "payload.amount"
    assert told("booking", {"currency": "RON"}).currency is None


# --- kinds of hosts ---

LANE = PayloadField("lane", "integer", "which lane", least=1, most=12)
SHOES = PayloadField("shoes", "choice", choices=["OWN", "RENTED"], aliases={"hired": "RENTED"})
PLAYERS = PayloadField(
    "players",
    "list",
    fields=(
        PayloadField("name"),
        PayloadField("scores", "object", fields=(PayloadField("total", "number"),)),
    ),
)
BOWLING = Kind(
    name="bowling", payload=[LANE, SHOES, PLAYERS, PayloadField("share", "money", most=50)]
)
HOST = Settings(kinds=(*DEFAULT_KINDS, BOWLING))


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"lane": 12}, {"lane": 12}),
        ({"shoes": "Hired"}, {"shoes": "RENTED"}),
        ({"players": [{"name": " Ana ", "scores": {"total": 1}}]},
         {"players": [{"name": "Ana", "scores": {"total": 1}}]}),
        ({"share": "50"}, {"share": "50"}),
        ({"status": "completed"}, {"status": "completed"}),
    ],
)  # fmt: skip
def test_a_kind_of_a_host_has_keys_of_its_own(
    given: dict[str, Any], stored: dict[str, Any]
) -> None:
    assert read(HOST.kinds_by_name["bowling"], given, HOST).document == stored


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"lane": 13}, "payload.lane"),
        ({"shoes": "lost"}, "payload.shoes"),
        ({"players": [{}, {"scores": {"total": "x"}}]}, "payload.players[1].scores.total"),
        ({"players": [{"scores": []}]}, "payload.players[0].scores"),
        ({"share": 50.01}, "payload.share"),
    ],
)
def test_a_kind_of_a_host_is_checked(given: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(HOST.kinds_by_name["bowling"], given, HOST)
    assert caught.value.field == path


def test_a_kind_may_know_its_own_statuses() -> None:
    scanned = PayloadField("status", "choice", choices=("issued", "scanned", "cancelled"))
    kind = Kind(name="pass", payload=(scanned,))
    settings = Settings(kinds=(*DEFAULT_KINDS, kind))
    assert read(kind, {"status": "Scanned"}, settings).status == "scanned"
    with pytest.raises(InvalidInput, match="issued"):
        read(kind, {"status": "completed"}, settings)


@pytest.mark.parametrize(
    ("payload", "word"),
    [
        ([LANE, LANE], "unique"),
        (["lane"], "PayloadField"),
        ([PayloadField("")], "name"),
        ([PayloadField("a", "texts")], "did you mean 'text'"),  # type: ignore[arg-type]
        ([PayloadField("a", "choice")], "has choices"),
        ([PayloadField("a", choices=("b",))], "has choices"),
        ([PayloadField("a", "choice", choices=("b",), aliases={"c": "d"})], "alias"),
        ([PayloadField("a", fields=(LANE,))], "fields"),
        ([PayloadField("a", "list", fields=(LANE, LANE))], "unique"),
        ([PayloadField("a", "object", fields=(PayloadField("b", "choice"),))], "has choices"),
        ([PayloadField("a", least=1)], "bounds"),
        ([PayloadField("a", "number", least="1")], "whole numbers"),  # type: ignore[arg-type]
        ([PayloadField("a", "choice", choices=("b", "B"))], "letters"),
        ([PayloadField("a", "choice", choices=("b", " "))], "words"),
        ([PayloadField("a", "choice", choices=("b",), aliases={"B": "b"})], "letters"),
        ([PayloadField("a", "integer", least=2, most=1)], "rise"),
        ([PayloadField("amount", "text")], "as money"),
        ([PayloadField("party_size", "choice", choices=("few",))], "as integer"),
        ([PayloadField("order_id", "integer")], "as id"),
        ([PayloadField("seating_id", "integer")], "as id"),
    ],
)
def test_a_payload_that_cannot_be(payload: list[Any], word: str) -> None:
    """Said when the settings are made, not when the first guest comes."""
    table = Kind(name="table", own_id="seating_id")
    with pytest.raises(InvalidInput, match=word) as caught:
        Settings(kinds=(*DEFAULT_KINDS, table, Kind(name="k", payload=payload)))
    assert caught.value.field == "kinds"


def test_an_earn_rule_asks_for_a_choice_as_it_is_kept() -> None:
    """Otherwise it would never fit, and nobody would know."""
    rule = EarnRule(name="r", kind="booking", points=1, where={"method": "instagram"})
    with pytest.raises(InvalidInput, match="did you mean 'INSTAGRAM'") as caught:
        Settings(programmes=[Programme(earn_rules=[rule])])
    assert caught.value.field == "programmes.earn_rules.where"


def test_every_key_says_what_it_means() -> None:
    fields = {f for kind in SETTINGS.kinds for f in declared(kind.fields.values())}
    nested = {inner for f in fields for inner in f.fields}
    assert [f.name for f in fields | nested if not f.doc and f.name != "currency"] == []
    assert {f.name for f in COMMON} <= {f.name for f in fields}
