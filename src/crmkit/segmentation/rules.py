"""Reading a JSON rule: every name, type and limit is checked before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from crmkit.config import Settings
from crmkit.errors import RuleError, unknown
from crmkit.model.rule import AllOf, AnyOf, InSegment, Not, Rule, Top
from crmkit.segmentation.fields import RANKINGS, Type, find, find_of_occasion
from crmkit.segmentation.reading_doings import DOINGS, doing
from crmkit.segmentation.values import (
    Values,
    checked_text,
    join,
    kind,
    mapping,
    name_of,
    near,
    only,
    percent,
    positive,
    segment_name,
)

MAX_DEPTH: Final = 16
MAX_NODES: Final = 1_000

GROUPS: Final = ("and", "or", "not")
"""The operators of a group."""

_COMPARISON: Final = ("field", "operator", "value")
_EVERY_KEY: Final = (*_COMPARISON, "conditions", *DOINGS, "in_segment")
_EXAMPLE: Final = '{"field": "total_spend", "operator": ">=", "value": 100}'

_Leaf: TypeAlias = Callable[[Mapping[Any, Any], str, int], Rule]


def parse(document: object, settings: Settings) -> Rule:
    """The rule that a JSON document says, with its values converted and checked.

    Raises `RuleError` whose `field` is the path into the document.
    """
    parser = _Parser(Values(settings))
    return parser.rule(document, "", 1, parser.of_customer)


@attrs.define
class _Parser:
    values: Values
    nodes: int = 0

    def rule(self, document: object, path: str, depth: int, leaf: _Leaf) -> Rule:
        # Both limits are checked before going deeper, so that hostile input costs little.
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise RuleError(f"nested deeper than {MAX_DEPTH} levels", field=path)
        if self.nodes > MAX_NODES:
            raise RuleError(f"more than {MAX_NODES:,} conditions", field=path)
        given = mapping(document, path, _EXAMPLE)
        if "conditions" in given:
            return self.group(given, path, depth, leaf)
        return leaf(given, path, depth)

    def group(self, given: Mapping[Any, Any], path: str, depth: int, leaf: _Leaf) -> Rule:
        only(given, ("operator", "conditions"), path)
        operator = name_of(given, "operator", path)
        if operator not in GROUPS:
            message = unknown("group operator", operator, GROUPS)
            raise RuleError(message, field=join(path, "operator"))
        inner = join(path, "conditions")
        parts = self.parts(given["conditions"], inner, depth, leaf)
        if operator != "not":
            return AllOf(parts) if operator == "and" else AnyOf(parts)
        if len(parts) != 1:
            raise RuleError("'not' takes exactly one condition", field=inner)
        return Not(parts[0])

    def parts(self, conditions: object, path: str, depth: int, leaf: _Leaf) -> tuple[Rule, ...]:
        if not isinstance(conditions, (list, tuple)):
            raise RuleError(f"expected a list, got {kind(conditions)}", field=path)
        if not conditions:
            raise RuleError("expected at least one condition", field=path)
        return tuple(
            self.rule(c, f"{path}[{i}]", depth + 1, leaf) for i, c in enumerate(conditions)
        )

    def of_customer(self, given: Mapping[Any, Any], path: str, depth: int) -> Rule:
        """A condition that is no group."""
        if any(key in given for key in DOINGS):
            return doing(given, path, self.values, lambda raw, at: self.where(raw, at, depth + 1))
        if "in_segment" in given:
            only(given, ("in_segment",), path)
            return InSegment(segment_name(given["in_segment"], join(path, "in_segment")))
        only(given, _EVERY_KEY, path)
        where = join(path, "field")
        field = find(checked_text(name_of(given, "field", path), where), path=where)
        operator = self.values.operator(field, given, path)
        if operator in RANKINGS:
            return _top(field.name, operator, _value(given, path), join(path, "value"))
        if field.type is Type.PLACE:
            return near(_value(given, path), join(path, "value"))
        if field.type is Type.SEGMENT:
            return self.segments(operator, _value(given, path), join(path, "value"))
        return self.values.comparison(field, given, path)

    def of_occasion(self, given: Mapping[Any, Any], path: str, depth: int) -> Rule:  # noqa: ARG002 - a leaf of either kind is called so
        """A condition that is no group, inside ``where``."""
        only(given, (*_COMPARISON, "conditions"), path)
        where = join(path, "field")
        name = checked_text(name_of(given, "field", path), where)
        return self.values.comparison(find_of_occasion(name, path=where), given, path)

    def where(self, raw: object, path: str, depth: int) -> Rule:
        """What must hold of an occasion: a rule over its fields, or a list of which all hold."""
        if not isinstance(raw, (list, tuple)):
            return self.rule(raw, path, depth, self.of_occasion)
        return AllOf(self.parts(raw, path, depth, self.of_occasion))

    def segments(self, operator: str, raw: object, path: str) -> Rule:
        if operator == "=" or isinstance(raw, str):
            names: tuple[str, ...] = (segment_name(raw, path),)
        else:
            names = self.values.several(raw, path, segment_name)
        asked = tuple(map(InSegment, names))
        in_any: Rule = asked[0] if len(asked) == 1 else AnyOf(asked)
        return Not(in_any) if operator == "not_in" else in_any


def _value(given: Mapping[Any, Any], path: str) -> object:
    if "value" not in given:
        raise RuleError("missing", field=join(path, "value"))
    return given["value"]


def _top(field: str, operator: str, raw: object, path: str) -> Top:
    bottom = operator.startswith("bottom")
    if operator.endswith("percent"):
        return Top(field, percent=percent(raw, path), bottom=bottom)
    return Top(field, count=positive(raw, path), bottom=bottom)
