"""Customers as rows of CSV: what a column says of one, and cells that no program runs; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from fractions import Fraction
from typing import Any, Final

import attrs

from crmkit.config import Settings
from crmkit.errors import InvalidInput, RuleError, unknown
from crmkit.insights.bands import frequency_band, lifecycle, spending_band
from crmkit.model import Money
from crmkit.model.cells import harmless
from crmkit.model.document import canonical
from crmkit.model.money import digits
from crmkit.model.rule import Compare
from crmkit.model.time import age, iso
from crmkit.segmentation.evaluate import getter, tier_name
from crmkit.segmentation.fields import FIELDS, WHOLE_PPM, Field, Source, Type, find
from crmkit.segmentation.needs import Needs, needs
from crmkit.segmentation.subject import Subject

COLUMNS: Final = (
    "id", "full_name", "email", "phone", "total_bookings", "total_spend", "last_visit",
    "lifecycle_stage", "spending_band", "frequency_band",
)  # fmt: skip
"""The columns of an export that names none."""

Cell = Callable[[Subject, datetime], str]


@attrs.frozen
class Column:
    """A column: its name, what it says of a customer at an instant, and what that reads."""

    name: str
    cell: Cell
    needs: Needs


def columns(names: object, settings: Settings) -> tuple[Column, ...]:
    """The columns of these names; raises `InvalidInput` with the nearest name."""
    if not isinstance(names, (list, tuple)) or not names:
        raise InvalidInput("expected a list of columns", field="columns")
    return tuple(_column(name, settings) for name in names)


def _column(name: object, settings: Settings) -> Column:
    own = _own(settings)
    if isinstance(name, str) and name in own:
        return Column(name, own[name], Needs(metrics=True))
    try:
        field = find(name) if isinstance(name, str) else None
    except RuleError:
        field = None
    if field is None or field.source in (Source.PLACE, Source.SEGMENT):
        raise InvalidInput(unknown("column", name, {*own, *FIELDS}), field="columns")
    wanted = needs(Compare(field.name, "exists", True))
    return Column(str(name), _cell(field, settings), wanted)


def _own(settings: Settings) -> Mapping[str, Cell]:
    """The columns that are no fields of the rule language."""
    bands, currency = settings.spending_bands, settings.currency
    return {
        "id": lambda s, _: s.customer.id,
        "full_name": lambda s, _: harmless(s.customer.full_name or ""),
        "lifecycle_stage": lambda s, at: lifecycle(s.metrics, at, settings.lifecycle),
        "spending_band": lambda s, _: spending_band(s.metrics.spend_minor, currency, bands),
        "frequency_band": lambda s, _: frequency_band(s.metrics.bookings),
    }


def _cell(field: Field, settings: Settings) -> Cell:
    if field.source is Source.CONSENT:
        way = field.consent
        return lambda s, at: "yes" if s.consents_until(way, at) else "no"
    get, said = getter(field), _said(field, settings)

    def cell(subject: Subject, at: datetime) -> str:
        value = get(subject)
        return "" if value is None else said(value, at)

    return cell


def _said(field: Field, settings: Settings) -> Callable[[Any, datetime], str]:
    """How a value of the field is written; numbers and dates are no formulas."""
    currency = settings.currency
    if field.source is Source.AGE:
        return lambda born, at: str(age(born, at.astimezone(settings.zone).date()))
    if field.source is Source.AVERAGE:
        return lambda of, _: _amount(round(Fraction(of[0], of[1])), currency)
    match field.type:
        case Type.TIER:
            return lambda tiers, at: harmless(tier_name(tiers, at, settings))
        case Type.MONEY:
            return lambda minor, _: _amount(minor, currency)
        case Type.SHARE:
            return lambda ppm, _: str(ppm / WHOLE_PPM)
        case Type.FLAG:
            return lambda flag, _: "yes" if flag else "no"
        case Type.LIST:
            return lambda items, _: harmless("; ".join(sorted(items)))
    return lambda value, _: _written(value)


def _amount(minor: int, currency: str) -> str:
    return f"{Money(minor, currency).amount:.{digits(currency)}f}"


def _written(value: Any) -> str:
    match value:
        case str():
            return harmless(value)
        case datetime():
            return iso(value)
        case date():
            return value.isoformat()
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return str(value)
    return harmless(canonical(value))
