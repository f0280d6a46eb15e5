"""Comparing a value that is there with what a rule expects."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from crmkit.errors import RuleError, unknown

Test: TypeAlias = Callable[[Any], bool]

# Swapped, for partial(lt, 5)(value) asks whether 5 < value.
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.gt,
    "<=": operator.ge,
    ">": operator.lt,
    ">=": operator.le,
}


def value_test(name: str, expected: Any) -> Test:
    """The test of a present value."""
    if name in _COMPARE:
        return partial(_COMPARE[name], expected)
    match name:
        case "between":
            low, high = expected
            return lambda value: low <= value <= high
        case "in":
            return frozenset(expected).__contains__
        case "not_in":
            refused = frozenset(expected)
            return lambda value: value not in refused
        case "contains":
            return lambda value: expected in value
        case "contains_any":
            return lambda value: any(e in value for e in expected)
        case "contains_all":
            return lambda value: all(e in value for e in expected)
        case "starts_with":
            return lambda value: value.startswith(expected)
    raise RuleError(unknown("operator", name, _COMPARE), field="operator")


def json_test(name: str, expected: Any) -> Test:
    """The same for a value of any type: what is of another type does not compare."""
    test = value_test(name, expected)
    sample = expected[0] if isinstance(expected, tuple) else expected
    kinds: Collection[type]
    if name.startswith("contains"):
        kinds = (str, list, tuple)
    elif isinstance(sample, bool):
        kinds = (bool,)
    else:
        kinds = (str,) if isinstance(sample, str) else (int, float)
    # By exact type: to Python, True is a number.
    return lambda value: type(value) in kinds and test(value)


def average_test(name: str, expected: Any) -> Test:
    """Spend over orders against an amount, multiplied out so that nothing is rounded."""
    match name:
        case "between":
            low, high = expected
            return lambda of: low * of[1] <= of[0] <= high * of[1]
        case "in":
            return lambda of: any(of[0] == e * of[1] for e in expected)
        case "not_in":
            return lambda of: all(of[0] != e * of[1] for e in expected)
    compare = _COMPARE[name]
    return lambda of: compare(expected * of[1], of[0])
