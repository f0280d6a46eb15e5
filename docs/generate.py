"""Rewrites the tables in docs/ that follow from the code: ``python docs/generate.py``.

Each stands between ``<!-- generated: name -->`` and ``<!-- end -->``; tests/test_docs.py fails
where one is stale.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from crmkit import (
    CRMError,
    CRMService,
    Lifecycle,
    MemoryStorage,
    PrivacyNotice,
    Purpose,
    Settings,
    SpendingBands,
    errors,
    presets,
)
from crmkit.gdpr import portable
from crmkit.gdpr.deadlines import CLOCKS, Term
from crmkit.model import Column, Customer, Entry, OnErase, Preferences, catalogue, entry_of
from crmkit.model.catalogue import blanks, columns_of
from crmkit.payload_fields import COMMON, PayloadField
from crmkit.programmes import (
    Cap,
    EarnRule,
    Limit,
    Milestone,
    Multiplier,
    Programme,
    ReferralPolicy,
    Reward,
    StampCard,
    TierPolicy,
)
from crmkit.reporting.svg import Point, waterfall_chart
from crmkit.reporting.value import calibration_chart, tracking_chart
from crmkit.reporting.verdicts import verdict_tree
from crmkit.segmentation.fields import FIELDS, OCCASION_FIELDS, OPERATORS, RANKINGS, Source, Type
from crmkit.segmentation.schema import json_schema
from crmkit.testing import FrozenClock
from docs import backtests

DOCS: Final = Path(__file__).parent

_BLOCK = re.compile(
    r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(?=<!-- end -->)", re.DOTALL | re.ASCII
)

_WHERE: Final[Mapping[Source, str]] = {
    Source.CUSTOMER: "profile",
    Source.PREFERENCES: "preferences",
    Source.AGE: "profile",
    Source.METRICS: "metrics",
    Source.AVERAGE: "metrics",
    Source.LOYALTY: "points",
    Source.TIER: "points",
    Source.TAGS: "tags",
    Source.SCORE: "scores",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def code(value: object) -> str:
    """A value as code, or nothing for an empty one."""
    return f"`{value}`" if value not in (None, "", ()) else ""


def codes(values: Iterable[object]) -> str:
    """Several values as code."""
    return ", ".join(map(code, values))


def yes(value: bool) -> str:
    """A flag as a word or nothing."""
    return "yes" if value else ""


def first_line(documented: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(documented) or "").split("\n", 1)[0]


def kinds() -> str:
    """The default kinds of activity."""
    head = (
        "kind", "role", "counters", "dates",
        "adds to the spend", "amount", "once a story", "own id",
    )  # fmt: skip
    rows = (
        (
            code(k.name),
            k.role,
            codes((*k.counts, *(("orders (with an amount)",) if k.paid_is_order else ()))),
            codes(k.dates),
            yes(k.spends),
            "required" if k.needs_amount else "",
            yes(k.once),
            code(k.own_id),
        )
        for k in Settings().kinds
    )
    return table(head, rows)


def common_payload() -> str:
    """The payload keys of every kind."""
    return table(("key", "type", ""), _payload_rows(COMMON))


def payloads() -> str:
    """The other payload keys of the default kinds, those of the same kinds together."""
    kinds_of: dict[PayloadField, list[str]] = {}
    for kind in Settings().kinds:
        for field in kind.payload:
            kinds_of.setdefault(field, []).append(kind.name)
    shared: dict[tuple[str, ...], list[PayloadField]] = {}
    for field, names in kinds_of.items():
        shared.setdefault(tuple(names), []).append(field)
    rows: list[Iterable[str]] = []
    for among, fields in shared.items():
        told = codes(among)
        for row in _payload_rows(fields):
            rows.append((told, *row))
            told = ""  # once for all keys of these kinds
    return table(("kinds", "key", "type", ""), rows)


def _payload_rows(fields: Iterable[PayloadField], inside: str = "") -> Iterable[Iterable[str]]:
    for field in fields:
        missing = f"; {code(field.default)} where missing" if field.default is not None else ""
        yield code(inside + field.name), _value(field), field.doc + missing
        of = "[]." if field.type == "list" else "."
        yield from _payload_rows(field.fields, f"{inside}{field.name}{of}")


def _value(field: PayloadField) -> str:
    """What a payload key may hold."""
    if field.choices:
        others = codes(field.aliases)
        return codes(field.choices) + (f" (also {others})" if others else "")
    return f"{field.type.replace('_', ' ')} {field.bounds}".rstrip()


def rule_fields() -> str:
    """The fields of the rule language that have a fixed name."""
    rows = (
        (code(f.name), f.type.value, _WHERE[f.source])
        for f in sorted(FIELDS.values(), key=lambda f: (list(Source).index(f.source), f.name))
    )
    return table(("field", "type", "from"), rows)


def occasion_fields() -> str:
    """What a `where` may ask about."""
    rows = ((code(f.name), f.type.value) for f in OCCASION_FIELDS.values())
    return table(("field", "type"), rows)


def ranked_fields() -> str:
    """The fields by which customers are ranked, and how."""
    names = codes(f.name for f in FIELDS.values() if f.ranked)
    return table(("operators", "fields"), ((codes(RANKINGS), names),))


_VERTICALS: Final = (
    presets.nightclub,
    presets.restaurant,
    presets.escape_rooms,
    presets.playcentre,
    presets.ticketing,
)


def preset_segments() -> str:
    """The segments of each preset, but the bands that all have."""
    made = [vertical() for vertical in _VERTICALS]
    of = {s.name: s.description for preset in made for s in preset}
    sold_by = {name: [p.name for p in made if name in {s.name for s in p}] for name in of}
    bands = ("lifecycle_", "spending_", "frequency_")
    rows = (
        (code(name), of[name], "all" if len(sold_by[name]) == len(made) else codes(sold_by[name]))
        for name in of
        if not name.startswith(bands)
    )
    return table(("segment", "who is in", "presets"), rows)


def preset_thresholds() -> str:
    """What each preset may be given, and what it takes without."""
    rows = []
    for vertical in _VERTICALS:
        parameters = inspect.signature(vertical).parameters.values()
        given = ", ".join(code(f"{p.name}={p.default!r}") for p in parameters)
        rows.append((code(f"{vertical.__name__}()"), given))
    return table(("preset", "thresholds"), rows)


def operators() -> str:
    """The operators of each type of field."""
    return table(("type", "operators"), ((t.value, codes(OPERATORS[t])) for t in Type))


def settings() -> str:
    """The settings and their defaults."""
    shown = {"programmes": "see below", "kinds": "see below"}
    shown |= {"lifecycle": code("Lifecycle()"), "spending_bands": code("SpendingBands()")}
    shown |= {"value": code("Valuation()"), "privacy": code("PrivacyNotice()")}
    default = Settings()
    rows = (
        (code(a.name), shown.get(a.name) or code(repr(getattr(default, a.name))))
        for a in attrs.fields(Settings)
    )
    return table(("setting", "default"), rows)


def tiers() -> str:
    """The default tiers."""
    rows = (
        (code(t.name), "given only" if t.from_points is None else f"{t.from_points:,}")
        for t in Programme().tiers
    )
    return table(("tier", "from qualifying points"), rows)


def programme() -> str:
    """The parts of a programme, with their fields and defaults."""
    rows = (
        (code(cls.__name__), code(a.name), "" if a.default is attrs.NOTHING else _default(a))
        for cls in PARTS
        for a in attrs.fields(cls)
    )
    return table(("part", "field", "default"), rows)


def _default(field: attrs.Attribute[Any]) -> str:
    factory = getattr(field.default, "factory", None)
    if factory is not None:
        return code(repr(factory()))
    if isinstance(field.default, tuple) and field.default:
        return "see below"
    return code(repr(field.default))


def rewards() -> str:
    """The default rewards."""
    rows = ((code(r.name), code(r.type or ""), f"{r.cost:,}") for r in Programme().rewards)
    return table(("reward", "type", "cost"), rows)


def earn_rules() -> str:
    """The default earn rules."""
    rows = (
        (code(r.name), code(r.kind), code(dict(r.where) or ""), yes(r.completed), str(r.points))
        for r in Programme().earn_rules
    )
    return table(("rule", "kind", "where", "completed", "points"), rows)


def bounds() -> str:
    """The default bounds of stages and bands."""
    rows = (
        (code(f"{cls.__name__}.{a.name}"), str(a.default))
        for cls in (Lifecycle, SpendingBands)
        for a in attrs.fields(cls)
    )
    return table(("bound", "default"), rows)


def error_classes() -> str:
    """The errors, each with the standard type beside it."""
    classes = [
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, CRMError) and cls.__module__ == errors.__name__
    ]
    rows = (
        (code(cls.__name__), codes(b.__name__ for b in cls.__bases__), first_line(cls))
        for cls in sorted(classes, key=lambda cls: inspect.getsourcelines(cls)[1])
    )
    return table(("error", "is also", "raised when"), rows)


def _columns(columns: Iterable[Column]) -> str:
    rows = ((code(c.name), c.data.value, c.origin.value) for c in columns if c.name != "tenant")
    return table(("field", "data class", "origin"), rows)


def customer_fields() -> str:
    """The stored fields of a customer."""
    return _columns(entry_of(Customer).columns)


def preference_fields() -> str:
    """The stored preferences."""
    return _columns(columns_of(Preferences))


def records() -> str:
    """What erasure does to each record."""
    rows = (
        (
            code(e.table),
            e.title,
            e.erase.value if e.owner else "not about a customer",
            codes(c.name for c in e.columns if c.personal) or "none",
            e.reason,
        )
        for e in catalogue()
    )
    return table(("table", "record", "when erased", "personal fields", "why a row stays"), rows)


def stored_fields() -> str:
    """Every stored field by data class, origin, and what erasure does to it."""
    grouped: dict[tuple[str, str, str, str], list[str]] = {}
    for entry in catalogue():
        for column in entry.columns:
            end = _end(entry, column)
            kind = (entry.table, column.data.value, column.origin.value, end)
            grouped.setdefault(kind, []).append(column.name)
    rows = (
        (code(where), codes(names), data, origin, end)
        for (where, data, origin, end), names in grouped.items()
    )
    return table(("table", "fields", "data class", "origin", "when erased"), rows)


def _end(entry: Entry, column: Column) -> str:
    """What erasing a customer does to a field."""
    if entry.owner is None:
        return "stays"
    if entry.erase is OnErase.DELETE:
        return "goes with the row"
    return "emptied" if column.name in blanks(entry) else "kept"


def portability_schema() -> str:
    """The JSON Schema of what a person takes along."""
    return json.dumps(portable.schema(), indent=1) + "\n"


def clocks() -> str:
    """By when each law wants what."""
    rows = (
        (
            code(law),
            codes(kind for kind, found in kinds.items() if found == each),
            _term(each.answer),
            _term(each.extended),
            _term(each.confirm),
            each.source,
        )
        for law, kinds in CLOCKS.items()
        for each in dict.fromkeys(kinds.values())
    )
    return table(("law", "kinds", "answer", "extended to", "confirm receipt", "source"), rows)


def _term(term: Term | None) -> str:
    if term is None:
        return ""
    return f"{term.count} {term.unit if term.count > 1 else term.unit.removesuffix('s')}"


def privacy_notice() -> str:
    """What a host may state."""
    head = ("part", "field", "default")
    rows = (
        (code(cls.__name__), code(a.name), "" if a.default is attrs.NOTHING else _default(a))
        for cls in (PrivacyNotice, Purpose)
        for a in attrs.fields(cls)
    )
    return table(head, rows)


def backtest_scores() -> str:
    """How far off the model and the simple rules were."""
    rows: list[Iterable[str]] = []
    for name, found in (("CDNOW", backtests.of_cdnow()), ("bookings", backtests.of_bookings())):
        for what, scores in (("purchases", found.purchases), ("spend", found.spend)):
            if scores is None:
                continue
            for rule in ("model", "naive", "recency"):
                score = getattr(scores, rule)
                digits = 3 if what == "purchases" else 1
                off = "" if score.total_error is None else f"{score.total_error:+.1%}"
                errors = (f"{score.mae:.{digits}f}", f"{score.rmse:.{digits}f}", off)
                rows.append((f"{name}, {what}", code(rule), *errors))
    return table(("", "by", "MAE", "RMSE", "total error"), rows)


PARTS: Final = (
    Programme, TierPolicy, EarnRule, Cap, Multiplier, Reward, Limit, StampCard, Milestone,
    ReferralPolicy,
)  # fmt: skip

TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "kinds": kinds,
    "common-payload": common_payload,
    "payloads": payloads,
    "rule-fields": rule_fields,
    "occasion-fields": occasion_fields,
    "ranked-fields": ranked_fields,
    "operators": operators,
    "preset-segments": preset_segments,
    "preset-thresholds": preset_thresholds,
    "settings": settings,
    "tiers": tiers,
    "earn-rules": earn_rules,
    "programme": programme,
    "rewards": rewards,
    "bounds": bounds,
    "errors": error_classes,
    "customer-fields": customer_fields,
    "preference-fields": preference_fields,
    "records": records,
    "stored-fields": stored_fields,
    "backtest-scores": backtest_scores,
    "clocks": clocks,
    "privacy-notice": privacy_notice,
}


def rewritten(text: str) -> str:
    """A page with its generated tables made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{TABLES[m['name']]()}\n", text)


def match_picture() -> str:
    """How the evidence of two made-up records adds up, as a picture."""
    with CRMService(MemoryStorage(), settings=Settings(region="RO")) as crm:
        one = {"name": "Ștefan Ionescu", "email": "stefan.ionescu84@mail.ro", "phone": "0722123456"}
        other = {"name": "Ionescu Fane", "phone": "0722123456", "birth_date": "1984-05-03"}
        match = crm.identity.compare(*crm.identity.resolve_many([one, other], match=False))
    points = [Point("before any field", match.prior)]
    points += [Point(f"{e.field}: {e.says}", e.weight) for e in match.evidence]
    title = "Why two records are one person"
    return waterfall_chart(title, points, unit="bits", sum_label="together")


def explanation_picture() -> str:
    """Why a made-up guest is not in a segment, as a picture."""
    clock = FrozenClock("2026-03-10T12:00:00Z")
    romanian = Settings(region="RO", timezone="Europe/Bucharest", currency="RON")
    with CRMService(MemoryStorage(), clock=clock, settings=romanian) as crm:
        ana = crm.find_or_create({"name": "Ana", "email": "ana@pop.ro"})
        for day, amount in (("2025-12-12", 90), ("2026-01-30", 120), ("2026-02-21", 190)):
            paid = {"amount": amount, "item": "The Crypt"}
            crm.track_activity(ana.id, "purchase", paid, at=f"{day}T18:00:00Z")
        crm.segments.create("friends of the house")
        crm.segments.create("about to go", {"operator": "and", "conditions": [
            {"field": "total_spend", "operator": ">=", "value": 300},
            {"did": "purchase", "within": "90d", "count": 3},
            {"operator": "not", "conditions": [
                {"field": "last_purchase", "operator": "within", "value": "30d"}]},
            {"operator": "not", "conditions": [{"in_segment": "friends of the house"}]},
        ]})  # fmt: skip
        clock.advance(days=3)
        return verdict_tree(crm.segments.explain(ana.id, "about to go"))


PICTURES: Final[Mapping[str, Callable[[], str]]] = {
    "match.svg": match_picture,
    "explanation.svg": explanation_picture,
    "cdnow-calibration.svg": lambda: calibration_chart(backtests.of_cdnow()),
    "cdnow-tracking.svg": lambda: tracking_chart(backtests.of_cdnow()),
    "bookings-calibration.svg": lambda: calibration_chart(backtests.of_bookings()),
    "bookings-tracking.svg": lambda: tracking_chart(backtests.of_bookings()),
}


def rule_schema() -> str:
    """The JSON Schema of rules under the default settings."""
    return json.dumps(json_schema(), indent=1) + "\n"


FILES: Final[Mapping[str, Callable[[], str]]] = {
    "reference/portability.schema.json": portability_schema,
    "reference/segment-rule.schema.json": rule_schema,
}


def main() -> None:
    """Rewrite all pages, pictures and files."""
    for name, made in FILES.items():
        (DOCS / name).write_text(made(), encoding="utf-8")
    for name, drawn in PICTURES.items():
        (DOCS / "images" / name).write_text(drawn(), encoding="utf-8")
    for page in sorted(DOCS.rglob("*.md")):
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
