"""Hypothesis strategies for rules, customers and instants (needs `hypothesis`).

Values come from small pools, so that rules meet the customers' values and their edges:
instants at the very start of a window, amounts equal to the threshold, numbers as text,
missing and empty values, letters beyond the first Unicode plane.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from crmkit.config import Settings
from crmkit.model import (
    Customer,
    Metrics,
    Occasion,
    PointsAccount,
    Preferences,
    Score,
    TierPeriod,
    entry_of,
)
from crmkit.model.time import CALENDAR_UNITS, FOREVER, Duration
from crmkit.segmentation.fields import FIELDS, OPERATORS, Source, Type, find
from crmkit.segmentation.subject import Subject

Document: TypeAlias = dict[str, Any]

SETTINGS: Final = Settings(timezone="Europe/Bucharest")
"""Settings for the generated rules: a zone with summer time, the default tiers."""

INSTANTS: Final = (
    datetime(2023, 2, 28, 12, tzinfo=UTC),
    datetime(2024, 2, 29, 22, 30, tzinfo=UTC),  # 1 March where the tenant is
    datetime(2025, 3, 30, 1, tzinfo=UTC),  # the hour in which its summer time begins
)
"""The instants at whose windows the generated moments lie."""

DURATIONS: Final = ("1h", "90d", "1mo", "1y")
"""The lengths of the generated windows."""

_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)
_LETTERS: Final = "Aa1%_'\"\\$éİß\uffff\U0001f600"
_WORDS: Final = (
    "",
    "Ana",
    "ana",
    "an",
    "e\u0301",
    "a\U0001f600b",
    " a ",
    "2.5",
    "true",
    "null",
    "[]",
)
TEXTS: Final = tuple(sorted([*_LETTERS, *_WORDS]))
"""Stored texts, and texts to compare them with."""
_NUMBERS: Final = (-(2**53), -1, 0, 0.1, 1, 1.5, 2, 2.5, 3, 5, 1_000, 2_999.5, 3_000, 2**53)
_AMOUNTS: Final = (-5, 0, "0.01", 33.33, "99.99", 100, 100.01, 150.0, 10**13)
DAYS: Final = (
    date(1990, 5, 17),
    date(2004, 2, 28),
    date(2004, 2, 29),
    date(2004, 3, 1),
    date(2005, 2, 28),
    date(2005, 3, 1),
    date(2024, 2, 29),
    date(2024, 3, 1),
    date(2030, 1, 1),
)
"""Stored dates, those around 29 February among them."""

_AGES: Final = (-1, 0, 1, 18, 19, 19.5, 20, 33, 200, 10_000)
_NAMES: Final = ("x", "y", 'a"b.c', "$x", "a.b", "[0]", "it's", "\\", "é", "\U0001f600", " ")
_SHARES: Final = (0, 1e-6, 0.29, 1 / 3, 0.57, 0.999999, 1)
_CONSENTS: Final = (("marketing", "email"), ("marketing", "sms"), ("third_party", "email"))
_FIELD_NAMES: Final = (
    *FIELDS,
    *(f"custom.{name}" for name in _NAMES),
    *(f"consent.{purpose}_{channel}" for purpose, channel in _CONSENTS),
)


def _moments() -> tuple[datetime, ...]:
    starts = [Duration.parse(d).before(at, SETTINGS.zone) for at in INSTANTS for d in DURATIONS]
    midnights = [
        at.astimezone(SETTINGS.zone).replace(hour=0, minute=0).astimezone(UTC) for at in INSTANTS
    ]
    edges = [*INSTANTS, *starts, *midnights]
    return tuple(sorted({e + n * _MICROSECOND for e in edges for n in (-1, 0, 1)}))


MOMENTS: Final = _moments()
"""Stored moments: each edge of each window, and a microsecond to either side."""
_LASTING: Final = st.just(FOREVER) | st.sampled_from(MOMENTS)


def instants() -> st.SearchStrategy[datetime]:
    """Instants to ask rules at."""
    return st.sampled_from(INSTANTS)


def values(name: str) -> Sequence[Any]:
    """JSON values to compare a field with, ascending."""
    field = find(name)
    match field.type:
        case Type.NUMBER:
            return _AGES if field.source is Source.AGE else _NUMBERS
        case Type.MONEY:
            return _AMOUNTS
        case Type.SHARE:
            return _SHARES
        case Type.MOMENT:
            zone = SETTINGS.zone
            return [
                m.date().isoformat() if not (m.hour or m.minute or m.microsecond) else m.isoformat()
                for m in (moment.astimezone(zone) for moment in MOMENTS)
            ]
        case Type.DATE:
            return [day.isoformat() for day in DAYS]
        case Type.TIER:
            return [*SETTINGS.programme.ranks]
        case Type.FLAG:
            return (False, True)
    return TEXTS


_LISTED: Final = frozenset({"in", "not_in", "contains_any", "contains_all"})
_CALENDAR: Final = frozenset({"during", "anniversary_within"})
_OF_TEXT: Final = frozenset({"contains", "contains_any", "contains_all", "starts_with"})


@st.composite
def _leaves(draw: st.DrawFn, names: Sequence[str]) -> Document:
    field = find(draw(st.sampled_from(names)))
    operator = draw(st.sampled_from([o for o in OPERATORS[field.type] if o not in _CALENDAR]))
    pool = values(field.name)
    if field.type is Type.JSON and operator not in _OF_TEXT:
        pools = [TEXTS, _NUMBERS, (False, True)] if operator in "!=" else [TEXTS, _NUMBERS]
        pool = draw(st.sampled_from(pools))
    value: Any
    if operator == "exists":
        value = draw(st.booleans())
    elif operator in ("within", "not_within"):
        value = draw(st.sampled_from(DURATIONS))
    elif operator == "during":
        value = draw(st.sampled_from(CALENDARS))
    elif operator == "anniversary_within":
        value = draw(st.sampled_from(ANNIVERSARIES))
    else:
        value = _compared(draw, operator, pool)
    return {"field": field.name, "operator": operator, "value": value}


def rules(
    *, fields: Sequence[str] | None = None, ranked: bool = True
) -> st.SearchStrategy[Document]:
    """JSON rules that `parse` takes with `SETTINGS`, nested, over all fields or the named ones.

    Without `ranked`, none that compares a customer with all others.
    """

    def nested(inner: st.SearchStrategy[Document]) -> st.SearchStrategy[Document]:
        several = st.lists(inner, min_size=1, max_size=4)
        return st.one_of(
            st.builds(_group, st.just("and"), several),
            st.builds(_group, st.just("or"), several),
            st.builds(_group, st.just("not"), st.lists(inner, min_size=1, max_size=1)),
        )

    leaves = st.one_of(_leaves(_FIELD_NAMES), _doings(), _PLACES, *([_ranks()] if ranked else []))
    return st.recursive(_leaves(fields) if fields else leaves, nested, max_leaves=8)


KINDS: Final = ("purchase", "visit")
"""What the generated customers did."""

CALENDARS: Final = tuple(f"{back} {unit}" for back in ("this", "last") for unit in CALENDAR_UNITS)
_NAMED: Final = ("a", "b", "é")
_WEIGHED: Final = (0, 0.01, 50, 100, 150)
_PARTS: Final[Mapping[str, Sequence[Any]]] = {
    **dict.fromkeys(("item", "venue", "category", "channel", "status"), _NAMED),
    "amount": _WEIGHED,
    "party_size": (1, 2, 3),
}
_NUMBER_TESTS: Final = ("=", "!=", "<", "<=", ">", ">=", "between", "in", "not_in")


def _compared(draw: st.DrawFn, operator: str, pool: Sequence[Any]) -> Any:
    if operator == "between":
        ends = draw(st.tuples(*[st.integers(0, len(pool) - 1)] * 2))
        return [pool[i] for i in sorted(ends)]
    if operator in _LISTED:
        return draw(st.lists(st.sampled_from(pool), min_size=1, max_size=2))
    return draw(st.sampled_from(pool))


@st.composite
def _wheres(draw: st.DrawFn) -> Document:
    name = draw(st.sampled_from(("item", "item", "item", *_PARTS)))
    pool = _PARTS[name]
    some = ("=", "=", "!=", ">", "between", "in", "not_in", "exists")
    operator = draw(st.sampled_from(some))
    value = draw(st.booleans()) if operator == "exists" else _compared(draw, operator, pool)
    leaf = {"field": name, "operator": operator, "value": value}
    match draw(st.integers(0, 5)):
        case 0:
            return _group("not", [leaf])
        case 1:
            return _group("or", [leaf, draw(_wheres())])
        case 2:
            return _group("and", [leaf, draw(_wheres())])
    return leaf


def _window(draw: st.DrawFn) -> Document:
    match draw(st.integers(0, 3)):
        case 0:
            return {"within": draw(st.sampled_from(DURATIONS))}
        case 1:
            return {"during": draw(st.sampled_from(CALENDARS))}
        case 2:
            since, until = sorted(draw(st.tuples(*[st.sampled_from(MOMENTS)] * 2)))
            ends = {"since": since.isoformat(), "until": (until + _MICROSECOND).isoformat()}
            return {k: v for k, v in ends.items() if draw(st.booleans())}
    return {}


@st.composite
def _doings(draw: st.DrawFn) -> Document:
    """What customers did, measured, or followed by something else."""

    def asked(key: str) -> Document:
        where = {"where": draw(_wheres())} if draw(st.booleans()) else {}
        return {key: draw(st.sampled_from(KINDS)), **where}

    document = asked("did") | _window(draw)
    form = draw(st.sampled_from(("count", "sum", "per", "first", "last", "then", "not_then", "")))
    if form == "":
        return document
    if form in ("then", "not_then"):
        within = draw(st.sampled_from(("1h", "1d", "90d", "1mo")))
        return {**document, form: asked("did") | {"within": within}}
    if form in ("first", "last"):
        operator = draw(st.sampled_from(OPERATORS[Type.MOMENT]))
        value = _moment_value(draw, operator)
    else:
        operator = draw(st.sampled_from(_NUMBER_TESTS))
        value = _compared(draw, operator, _WEIGHED if form == "sum" else (0, 1, 2, 3))
    if form == "per":
        document["per"] = draw(st.sampled_from(CALENDAR_UNITS))
        form = "count"
    return {**document, form: {"operator": operator, "value": value}}


def _moment_value(draw: st.DrawFn, operator: str) -> Any:
    match operator:
        case "exists":
            return draw(st.booleans())
        case "within" | "not_within":
            return draw(st.sampled_from(DURATIONS))
        case "during":
            return draw(st.sampled_from(CALENDARS))
        case "anniversary_within":
            return draw(st.sampled_from(ANNIVERSARIES))
    return _compared(draw, operator, [moment.isoformat() for moment in MOMENTS])


ANNIVERSARIES: Final = (0, 1, "2d", 40, 365, 366)
"""Days to come in which a day comes round again."""


@st.composite
def _ranks(draw: st.DrawFn) -> Document:
    name = draw(st.sampled_from([f.name for f in FIELDS.values() if f.ranked]))
    end, how = draw(st.sampled_from(("top", "bottom"))), draw(st.sampled_from(("percent", "count")))
    value = draw(st.sampled_from((0.001, 12.5, 50, 100) if how == "percent" else (1, 2, 3, 99)))
    return {"field": name, "operator": f"{end}_{how}", "value": value}


_PLACES: Final = st.builds(
    lambda latitude, longitude, km: {
        "field": "location",
        "operator": "near",
        "value": {"latitude": latitude, "longitude": longitude, "km": km},
    },
    st.sampled_from((44.43, 0, -89.999999, 90)),
    st.sampled_from((26.1, 180, -179.9)),
    st.sampled_from((0.001, 5, 200)),
)


def _group(operator: str, conditions: list[Document]) -> Document:
    return {"operator": operator, "conditions": conditions}


_STORED: Final[Mapping[type, st.SearchStrategy[Any]]] = {
    str: st.sampled_from(TEXTS),
    int: st.sampled_from([-1, 0, 1, 2, 3, 5, 9_999, 10_000, 10_001]),
    bool: st.booleans(),
    datetime: st.sampled_from(MOMENTS),
    date: st.sampled_from(DAYS),
    tuple: st.lists(st.sampled_from(TEXTS), max_size=3).map(tuple),
}
JSON_SCALARS: Final = (None, True, False, -1, 0, 0.1, 1, 1.0, 2.5, 1e20, 2**53 + 1, *TEXTS)
"""Stored custom values; numbers stand there as text too."""

_JSON: Final = st.one_of(
    st.sampled_from(JSON_SCALARS),
    st.lists(st.sampled_from(JSON_SCALARS), max_size=3),
    st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(JSON_SCALARS), max_size=2),
)


def _drawn(source: Source, columns: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    asked = {f.attribute for f in FIELDS.values() if f.source is source}
    return st.fixed_dictionaries(
        {},
        optional={
            name: st.none() | _STORED[column.type] if column.optional else _STORED[column.type]
            for name, column in columns.items()
            if name in asked
        },
    )


_CUSTOMER: Final = {c.name: c for c in entry_of(Customer).columns}
_PREFERENCES: Final = {c.name: c for c in entry_of(Customer).column("preferences").nested}
_METRICS: Final = {c.name: c for c in entry_of(Metrics).columns}
_SCORES: Final = {c.name: c for c in entry_of(Score).columns if c.name != "active_ppm"}
_PPM: Final = (0, 1, 290_000, 333_333, 570_000, 999_999, 1_000_000)


_SPOTS: Final = (
    (44_430_000, 26_100_000),
    (44_439_000, 26_100_000),
    (44_430_000, 26_162_900),
    (0, -180_000_000),
    (5, 179_999_999),
    (-90_000_000, 26_100_000),
    (89_999_000, -60_000_000),
)


@st.composite
def customers(draw: st.DrawFn, *, tenant: str = "t", id: str = "c") -> Customer:
    """Customers with any of their fields missing, and custom fields of every JSON type."""
    known = draw(_drawn(Source.CUSTOMER, _CUSTOMER))
    born = draw(st.none() | _STORED[date])
    moment = known.pop("created_at", INSTANTS[0]), known.pop("updated_at", INSTANTS[0])
    known.pop("birth_date", None)
    latitude, longitude = draw(st.none() | st.sampled_from(_SPOTS)) or (None, None)
    return Customer(
        tenant=tenant,
        id=id,
        created_at=moment[0],
        updated_at=moment[1],
        birth_date=born,
        latitude_micro=latitude,
        longitude_micro=longitude,
        preferences=Preferences(**draw(_drawn(Source.PREFERENCES, _PREFERENCES))),
        custom=draw(st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=4)),
        **known,
    )


@st.composite
def _versions(draw: st.DrawFn, tenant: str, owner: str, number: int) -> list[Occasion]:
    """What counts of one fact over time; of several items, each beside the whole."""
    happened = draw(st.sampled_from(MOMENTS))
    since = draw(st.sampled_from([happened, *(m for m in MOMENTS if m > happened)][:3]))
    later = [m for m in MOMENTS if m > since]
    changed = draw(st.none() | st.sampled_from(later)) if later else None
    goes_on = draw(st.booleans())
    drawn = {name: draw(st.none() | st.sampled_from(_NAMED)) for name in _TEXT_PARTS}

    def version(begins: datetime, ends: datetime | None) -> Iterator[Occasion]:
        items = draw(st.lists(st.sampled_from(_NAMED), max_size=3, unique=True))
        whole = items if len(items) == 1 else [None]
        amount = st.none() | st.sampled_from((0, 1, 5_000, 10_000))
        for part, item in enumerate([*whole, *(items if len(items) > 1 else [])]):
            yield Occasion(
                tenant=tenant, story=f"{owner}-{number}", fact=f"{owner}-{number}", part=part,
                since=begins, until=ends, customer_id=owner, kind=kind, happened_at=happened,
                item=item, amount_minor=draw(amount),
                party_size=draw(st.sampled_from((None, 1, 2))), **drawn,
            )  # fmt: skip

    kind = draw(st.sampled_from(KINDS))
    found = [*version(since, changed)]
    return [*found, *version(changed, None)] if changed and goes_on else found


_TEXT_PARTS: Final = ("venue", "category", "channel", "status")


@st.composite
def occasions(
    draw: st.DrawFn, *, tenant: str = "t", id: str = "c"
) -> dict[str, tuple[Occasion, ...]]:
    """What a customer did, by kind: bookings that are cancelled, refunds, orders of several."""
    count = draw(st.integers(0, 4))
    every = [o for n in range(count) for o in draw(_versions(tenant, id, n))]
    every.sort(key=lambda o: (o.happened_at, o.fact, o.part, o.since))
    return {kind: tuple(o for o in every if o.kind == kind) for kind in KINDS}


@st.composite
def tier_periods(draw: st.DrawFn, *, tenant: str = "t", id: str = "c") -> tuple[TierPeriod, ...]:
    """A customer's tiers, in order, without gaps; mostly one is above the first for a while."""
    edges = sorted(draw(st.lists(st.sampled_from(MOMENTS), max_size=3, unique=True)))
    tiers, rank, found = SETTINGS.programme.tiers, 0, list[TierPeriod]()
    for since, until in zip(edges, [*edges[1:], FOREVER], strict=False):
        before, rank = rank, draw(st.sampled_from([r for r in range(len(tiers)) if r != rank]))
        found.append(
            TierPeriod(
                tenant=tenant,
                customer_id=id,
                programme=SETTINGS.programme.name,
                since=since,
                until=until,
                rank=rank,
                tier=tiers[rank].name,
                cause="reached" if rank > before else "lowered",
            )
        )
    return tuple(found)


@st.composite
def accounts(draw: st.DrawFn, *, tenant: str = "t", id: str = "c") -> PointsAccount:
    """A customer's account, whose balance may hold from an instant, and until another.

    Then what is pending can be used.
    """
    points = st.sampled_from([-1, 0, 1, 999, 1_000, 2_999, 3_000, 6_000, 2**53])
    edges = sorted(draw(st.lists(st.sampled_from(MOMENTS), min_size=2, max_size=2, unique=True)))
    return PointsAccount(
        tenant=tenant,
        customer_id=id,
        programme=SETTINGS.programme.name,
        balance=draw(points),
        pending=draw(points),
        qualifying=draw(points),
        since=draw(st.sampled_from([None, edges[0]])),
        next_at=draw(st.sampled_from([None, edges[1]])),
    )


@st.composite
def subjects(draw: st.DrawFn, *, tenant: str = "t", id: str = "c") -> Subject:
    """Customers with metrics, points, tiers, scores, tags and consents."""
    counted = draw(_drawn(Source.METRICS, _METRICS))
    orders = draw(st.sampled_from([0, 1, 2, 3, 20_000]))
    each = draw(st.sampled_from([0, 3333, 10_000, 10_001]))
    spend = draw(st.sampled_from([-500, 0, 1, 10**17, orders * each, orders * each + 1]))
    counted |= {"orders": orders, "spend_minor": spend}
    did = draw(occasions(tenant=tenant, id=id))
    first = min((o.happened_at for of in did.values() for o in of), default=None)
    if first is not None:  # whoever did something did it no earlier than their first activity
        counted["first_activity_at"] = min(counted.get("first_activity_at") or first, first)
    scored = draw(st.none() | _drawn(Source.SCORE, _SCORES))
    score = None
    if scored is not None:
        active = draw(st.none() | st.sampled_from(_PPM))
        score = Score(
            tenant=tenant, customer_id=id, active_ppm=active, refreshed_at=INSTANTS[0], **scored
        )
    return Subject(
        customer=draw(customers(tenant=tenant, id=id)),
        metrics=Metrics(tenant=tenant, customer_id=id, **counted),
        account=draw(st.none() | accounts(tenant=tenant, id=id)),
        tiers=draw(tier_periods(tenant=tenant, id=id)),
        score=score,
        tags=draw(st.frozensets(st.sampled_from(TEXTS), max_size=3)),
        consents=draw(st.dictionaries(st.sampled_from(_CONSENTS), st.none() | _LASTING)),
        memberships=draw(st.frozensets(st.sampled_from(["s1", "s2"]))),
        occasions=did,
    )


_REFERENCE_NAMES: Final = ("booking_id", "order_id", "ticket_id", *("reference",) * 4)
_PAID: Final = (0, "0.01", 10, 33.33, "99.99", 100, 100.0)
_STATUSES: Final = ("requested", "confirmed", "completed", "Cancelled", "canceled", "No_Show")


@st.composite
def activities(draw: st.DrawFn) -> Document:
    """Arguments of `crm.activities.track` without the customer: kind, payload and moment.

    Few references and few moments, so that facts meet in one story and at one instant.
    """
    kind = draw(st.sampled_from(SETTINGS.kinds))
    payload: Document = {}
    reference = draw(st.sampled_from((None, None, "r1", "r1", "r2")))
    if reference is not None:
        payload[draw(st.sampled_from(_REFERENCE_NAMES))] = reference
    if kind.needs_amount or draw(st.booleans()):
        payload["amount"] = draw(st.sampled_from(_PAID))
    if draw(st.integers(0, 3)) == 0:
        payload["status"] = draw(st.sampled_from(_STATUSES))
    if draw(st.integers(0, 3)) == 0:
        types = ("FREE", "list") if kind.name == "ticket" else ("party", "cafe")
        payload["type"] = draw(st.sampled_from(types))
    if draw(st.integers(0, 7)) == 0:
        payload |= {"item": draw(st.sampled_from(_WORDS[1:])), "venue": "V"}
    moment = draw(st.sampled_from(INSTANTS)) + draw(st.sampled_from((-1, 0, 0, 1))) * _MICROSECOND
    return {"kind": kind.name, "payload": payload, "at": moment}


def histories(*, max_size: int = 12) -> st.SearchStrategy[list[Document]]:
    """What one customer did: some facts said twice, in no order of time."""
    pool = st.lists(activities(), min_size=1, max_size=max_size)
    return pool.flatmap(lambda facts: st.lists(st.sampled_from(facts), max_size=max_size)) | pool


_CHANGES: Final = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.sampled_from((None, *_PAID)),
        "status": st.sampled_from((None, "confirmed", "completed", "cancelled")),
        "item": st.sampled_from((None, "Quiz", "Heist")),
        "type": st.sampled_from((None, "party", "LIST")),
        "party_size": st.sampled_from((None, 2, 7)),
    },
)


@st.composite
def corrections(draw: st.DrawFn) -> tuple[str, Document]:
    """A correction without the activity: ``void``, ``refund`` or ``amend``, and its arguments.

    Some ask for more than most activities can give.
    """
    name = draw(st.sampled_from(("void", "refund", "refund", "amend", "amend")))
    asked: Document = {"at": draw(st.sampled_from(INSTANTS)) + draw(st.sampled_from((0, 1))) * _DAY}
    if name == "amend":
        asked["changes"] = draw(_CHANGES)
    elif name == "refund":
        part = draw(st.sampled_from(("all", "amount", "fraction", "fraction")))
        if part == "amount":
            asked["amount"] = draw(st.sampled_from(_PAID))
        elif part == "fraction":
            asked["fraction"] = draw(st.sampled_from(("0.333", 0.5, 1, "0.005")))
    return name, asked
