"""Writing rules in Python: ``f.total_spend >= 100`` is the document that says so."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn

from crmkit.model.time import Duration, instant, iso


class Condition(Mapping[str, Any]):
    """A rule as the JSON object that says it; wherever such an object is taken, so is this.

    ``&``, ``|`` and ``~`` are and, or and not.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def to_dict(self) -> dict[str, Any]:
        """A copy of the JSON object."""
        copy: dict[str, Any] = _plain(self._document)
        return copy

    def __and__(self, other: Mapping[str, Any]) -> Condition:
        return _group("and", self, other)

    def __or__(self, other: Mapping[str, Any]) -> Condition:
        return _group("or", self, other)

    def __rand__(self, other: Mapping[str, Any]) -> Condition:
        return _group("and", other, self)

    def __ror__(self, other: Mapping[str, Any]) -> Condition:
        return _group("or", other, self)

    def __invert__(self) -> Condition:
        return Condition({"operator": "not", "conditions": [self]})

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a condition is neither true nor false before it is asked of a customer; join"
            " conditions with &, | and ~, each in parentheses, not with and, or, not"
            " or a chained comparison such as 1 < f.visits < 3 (write .between)"
        )

    def __getitem__(self, key: str) -> Any:
        return self._document[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._document)

    def __len__(self) -> int:
        return len(self._document)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # its values may be somebody's


class _Compared(abc.ABC):
    """What is compared by Python's own operators."""

    @abc.abstractmethod
    def _compare(self, operator: str, value: object) -> Condition: ...

    def __eq__(self, value: object) -> Condition:  # type: ignore[override] # it is not asked now
        return self._compare("=", value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override] # the same
        return self._compare("!=", value)

    def __lt__(self, value: object) -> Condition:
        return self._compare("<", value)

    def __le__(self, value: object) -> Condition:
        return self._compare("<=", value)

    def __gt__(self, value: object) -> Condition:
        return self._compare(">", value)

    def __ge__(self, value: object) -> Condition:
        return self._compare(">=", value)

    __hash__ = None  # type: ignore[assignment] # what has no plain equality has no hash

    def __bool__(self) -> NoReturn:
        raise TypeError("compare it with a value; .exists() asks whether there is one")

    def between(self, low: object, high: object) -> Condition:
        """At least `low` and at most `high`."""
        return self._compare("between", [low, high])

    def is_in(self, values: Iterable[object]) -> Condition:
        """One of the values."""
        return self._compare("in", _listed(values))

    def not_in(self, values: Iterable[object]) -> Condition:
        """There is a value, and it is none of these."""
        return self._compare("not_in", _listed(values))

    def before(self, moment: datetime | date | str) -> Condition:
        """Earlier than an instant, or than the beginning of a day."""
        return self._compare("before", moment)

    def after(self, moment: datetime | date | str) -> Condition:
        """Later than an instant, or than the beginning of a day."""
        return self._compare("after", moment)

    def within(self, duration: str | Duration) -> Condition:
        """Less than so long ago."""
        return self._compare("within", duration)

    def not_within(self, duration: str | Duration) -> Condition:
        """There is one, and it is longer ago or still to come."""
        return self._compare("not_within", duration)

    def during(self, calendar: str) -> Condition:
        """In a unit of the calendar, such as ``this month``."""
        return self._compare("during", calendar)

    def anniversary_within(self, days: int | str) -> Condition:
        """The month and day come again within so many days, today included."""
        return self._compare("anniversary_within", days)

    def exists(self) -> Condition:
        """There is a value."""
        return self._compare("exists", True)

    def missing(self) -> Condition:
        """There is no value."""
        return self._compare("exists", False)


class Named(_Compared):
    """A field of the rule language, of a customer or, inside `did`, of what was done."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _compare(self, operator: str, value: object) -> Condition:
        return Condition({"field": self._name, "operator": operator, "value": _plain(value)})

    def contains(self, value: str) -> Condition:
        """The text has that part; the list has that item."""
        return self._compare("contains", value)

    def contains_any(self, values: Iterable[str]) -> Condition:
        """`contains` for at least one of the values."""
        return self._compare("contains_any", _listed(values))

    def contains_all(self, values: Iterable[str]) -> Condition:
        """`contains` for each of the values."""
        return self._compare("contains_all", _listed(values))

    def starts_with(self, value: str) -> Condition:
        """The text begins so."""
        return self._compare("starts_with", value)

    def top_percent(self, percent: float) -> Condition:
        """Among so many percent of the customers, those with the highest values."""
        return self._compare("top_percent", percent)

    def bottom_percent(self, percent: float) -> Condition:
        """Among so many percent of the customers, those with the lowest values above 0."""
        return self._compare("bottom_percent", percent)

    def top_count(self, count: int) -> Condition:
        """Among so many customers with the highest values."""
        return self._compare("top_count", count)

    def bottom_count(self, count: int) -> Condition:
        """Among so many customers with the lowest values above 0."""
        return self._compare("bottom_count", count)

    def near(self, latitude: float, longitude: float, *, km: float) -> Condition:
        """At most so many kilometres from a point; of ``f.location``."""
        point = {"latitude": latitude, "longitude": longitude, "km": km}
        return self._compare("near", point)

    def __repr__(self) -> str:
        return f"f[{self._name!r}]"


class Measured(_Compared):
    """What customers did, all of it together: how often, how much, when first or last."""

    def __init__(self, doing: Mapping[str, Any], measure: str) -> None:
        self._doing = doing
        self._measure = measure

    def _compare(self, operator: str, value: object) -> Condition:
        asked = {"operator": operator, "value": _plain(value)}
        return Condition({**self._doing, self._measure: asked})


class Doing(Condition):
    """That customers did something, at least once unless one of its measures is compared."""

    @property
    def count(self) -> Measured:
        """How often they did it."""
        return Measured(self._document, "count")

    @property
    def sum(self) -> Measured:
        """What they paid for it, in major units."""
        return Measured(self._document, "sum")

    @property
    def first(self) -> Measured:
        """When they did it first."""
        return Measured(self._document, "first")

    @property
    def last(self) -> Measured:
        """When they did it last."""
        return Measured(self._document, "last")

    def count_per(self, unit: str) -> Measured:
        """How often they did it in the ``day``, ``week``, ``month`` or ``year`` with the most."""
        return Measured({**self._document, "per": unit}, "count")

    def then(self, second: Doing, *, within: str | Duration) -> Condition:
        """And did `second` within that time after it."""
        return self._followed("then", second, within)

    def not_then(self, second: Doing, *, within: str | Duration) -> Condition:
        """And did not do `second` within that time after it, which is over."""
        return self._followed("not_then", second, within)

    def _followed(self, key: str, second: Doing, within: str | Duration) -> Condition:
        if "within" in second:
            raise TypeError("the window of what follows is the within= of then and not_then")
        return Condition({**self._document, key: {**second, "within": _plain(within)}})


class Fields:
    """The fields by name: ``f.total_spend``, ``f["custom.club"]``."""

    def __getattr__(self, name: str) -> Named:
        if name.startswith("_"):  # Python's own questions, and misspelt ones
            raise AttributeError(name)
        return Named(name)

    def __getitem__(self, name: str) -> Named:
        if not isinstance(name, str):
            raise TypeError("expected the name of a field")
        return Named(name)


f: Final = Fields()
"""The fields that rules ask about."""


def did(
    kind: str,
    *where: Mapping[str, Any],
    within: str | Duration | None = None,
    during: str | None = None,
    since: datetime | date | str | None = None,
    until: datetime | date | str | None = None,
) -> Doing:
    """That customers did something of a kind which fits all of `where`, in a window of time.

    The window is a length of time until now, a unit of the calendar, or from `since` until
    before `until`; without one it is all the time until now.
    """
    window = {"within": within, "during": during, "since": since, "until": until}
    return Doing(
        {
            "did": kind,
            **({"where": list(where)} if where else {}),
            **{key: _plain(value) for key, value in window.items() if value is not None},
        }
    )


def did_not(
    kind: str,
    *where: Mapping[str, Any],
    within: str | Duration | None = None,
    during: str | None = None,
    since: datetime | date | str | None = None,
    until: datetime | date | str | None = None,
) -> Condition:
    """That customers did nothing which `did` would find."""
    found = did(kind, *where, within=within, during=during, since=since, until=until)
    return Condition({"did_not" if key == "did" else key: found[key] for key in found})


def in_segment(name: str) -> Condition:
    """That customers are in the segment of that name, by its rule or by hand."""
    return Condition({"in_segment": name})


def _group(operator: str, *conditions: Mapping[str, Any]) -> Condition:
    """The conditions in one group; one that is such a group is taken apart: chains stay flat."""
    flat: list[Any] = []
    for condition in conditions:
        if not isinstance(condition, Mapping):
            raise TypeError("expected a condition such as f.total_spend >= 100")
        same = condition.get("operator") == operator and "conditions" in condition
        flat.extend(condition["conditions"] if same else [condition])
    return Condition({"operator": operator, "conditions": flat})


def _listed(values: Iterable[object]) -> list[object]:
    if isinstance(values, str):
        raise TypeError("expected a list of values, not one text")
    return list(values)


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    match value:
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case datetime():
            return iso(instant(value, field="value"))
        case date():
            return value.isoformat()
        case Decimal() | Duration():
            return str(value)
    return value
