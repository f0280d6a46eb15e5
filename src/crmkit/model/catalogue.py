"""The catalogue of records: each stored field says once what it is, and everything follows.

Tables, memory storage, export, erasure, merging and `repr` read this declaration.
A record is a frozen attrs class made with `@record(...)` whose fields are made with
`stored(...)`; a field that is not classified cannot be registered.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

import attrs

T = TypeVar("T")


class Data(enum.Enum):
    """What a field tells about a person."""

    TECHNICAL = "technical"  # says nothing about anybody by itself
    LINK = "link"  # leads to the person in the host's own tables
    FINGERPRINT = "fingerprint"  # a keyed hash
    CIPHERTEXT = "ciphertext"  # what is sealed, and the keys that it is sealed with
    NAME = "name"
    CONTACT = "contact"
    BIRTH = "birth"
    DEMOGRAPHIC = "demographic"
    LOCATION = "location"
    PREFERENCE = "preference"
    BEHAVIOUR = "behaviour"
    FREE_TEXT = "free text"
    SPECIAL = "special category"  # GDPR Art. 9: diet and allergies may tell of health or belief

    @property
    def personal(self) -> bool:
        """Whether a value of this class may identify or describe a person."""
        return self not in _IMPERSONAL

    @property
    def secret(self) -> bool:
        """Whether a value means something to crmkit alone: a keyed hash, or what is sealed."""
        return self in (Data.FINGERPRINT, Data.CIPHERTEXT)

    @property
    def sealed(self) -> bool:
        """Whether a key ring seals values of this class, unless their field says otherwise.

        What people did stays readable, for rules and sums ask the database for it.
        """
        return self.personal and self is not Data.BEHAVIOUR


_IMPERSONAL = frozenset({Data.TECHNICAL, Data.FINGERPRINT, Data.CIPHERTEXT})


class Origin(enum.Enum):
    """Where a value comes from; GDPR Art. 20 covers the first two only."""

    PROVIDED = "provided"
    OBSERVED = "observed"
    INFERRED = "inferred"
    ASSIGNED = "assigned"  # made by crmkit: ids, hashes, versions


class OnErase(enum.Enum):
    """What erasing the person does to a record, or to a field of a record that stays."""

    DELETE = "delete"
    ANONYMISE = "anonymise"  # records only: the row stays, its DELETE fields are emptied
    KEEP = "keep"


class OnMerge(enum.Enum):
    """What merging two customers does to a field."""

    KEEP = "keep"  # the surviving record's value stands
    FILL = "fill"  # kept where present, else taken from the other
    UNION = "union"
    EARLIEST = "earliest"
    LATEST = "latest"
    FOLD = "fold"  # recomputed from facts
    MOVE = "move"  # points to the surviving customer


class Gather(enum.Enum):
    """How a cached value takes in what further facts add."""

    SUM = "sum"
    FIRST = "first"  # the smaller; an empty one yields
    LAST = "last"  # the greater
    NAME = "name"  # the one that goes with the greater `last_at`, then the greater text


@attrs.frozen
class Column:
    """One stored field of a record, as declared."""

    name: str
    type: type
    optional: bool
    data: Data
    origin: Origin
    erase: OnErase
    merge: OnMerge
    default: Any
    gather: Gather | None = None
    sealed: bool = False
    """Whether a key ring seals the value."""
    nested: tuple[Column, ...] = ()

    @property
    def personal(self) -> bool:
        """Whether the field, or any field nested in it, is personal."""
        return self.data.personal or any(c.personal for c in self.nested)


@attrs.frozen
class Index:
    """An index over fields; `where_present` leaves out rows in which that field is empty."""

    fields: tuple[str, ...]
    unique: bool = False
    where_present: str | None = None


@attrs.frozen
class Entry:
    """A record class in the catalogue."""

    record: type
    table: str
    title: str
    key: tuple[str, ...]
    owner: str | None
    erase: OnErase
    reason: str
    indexes: tuple[Index, ...]
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    """The stored fields' names, in order."""
    values: Callable[[Any], tuple[Any, ...]] = attrs.field(repr=False)
    """A record's values, in the same order."""

    def column(self, name: str) -> Column:
        """The column of that name; raises `KeyError`."""
        for c in self.columns:
            if c.name == name:
                return c
        raise KeyError(name)


_CATALOGUE: dict[type, Entry] = {}


def catalogue() -> tuple[Entry, ...]:
    """All records, in the order of their declaration."""
    return tuple(_CATALOGUE.values())


def entry_of(record: type) -> Entry:
    """The catalogue's entry of a record class."""
    return _CATALOGUE[record]


def owned() -> Iterator[Entry]:
    """The records that belong to a customer."""
    return (e for e in _CATALOGUE.values() if e.owner is not None)


def movable() -> Iterator[Entry]:
    """The records that a merge hands from one customer to another, by their `origin`."""
    return (e for e in owned() if "origin" in e.names)


def keyed() -> Iterator[Entry]:
    """The records of which a merge makes one for each key: the owner is part of it."""
    return (
        e for e in owned() if e.owner in e.key and e.column(e.owner or "").merge is not OnMerge.FOLD
    )


_METADATA = "crmkit"


def stored(
    data: Data,
    origin: Origin,
    *,
    erase: OnErase = OnErase.DELETE,
    merge: OnMerge = OnMerge.KEEP,
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    shown: bool = True,
    gather: Gather | None = None,
    sealed: bool | None = None,
) -> Any:
    """A classified field. Personal values, and those not `shown`, are left out of `repr`.

    `sealed` says whether a key ring seals it, where that is not as its class has it.
    """
    return attrs.field(
        default=default if factory is None else attrs.Factory(factory),
        repr=shown and not data.personal,
        metadata={
            _METADATA: (
                data, origin, erase, merge, gather, data.sealed if sealed is None else sealed
            )
        },
    )  # fmt: skip


def assigned(*, default: Any = attrs.NOTHING) -> Any:
    """An id, a flag or a time that crmkit itself sets and erasure may keep."""
    return stored(Data.TECHNICAL, Origin.ASSIGNED, erase=OnErase.KEEP, default=default)


def fold(data: Data = Data.BEHAVIOUR, *, default: Any = None, gather: Gather | None = None) -> Any:
    """A cached value that facts alone determine; unless told otherwise a number is a sum."""
    if gather is None and isinstance(default, int):
        gather = Gather.SUM
    return stored(data, Origin.OBSERVED, merge=OnMerge.FOLD, default=default, gather=gather)


def side(*, default: None = None) -> Any:
    """Where a row belongs among the customers of whom its owner was merged.

    The id of one of them, or of the merge since which nobody can tell; None is the newest of
    these, and always the case for a customer who was never merged.
    """
    return stored(Data.TECHNICAL, Origin.ASSIGNED, default=default)


SEAL = "sealed"


def seal(*, default: None = None) -> Any:
    """The field called `sealed`, which records with fields to seal must have.

    In the database it holds these fields together, encrypted, where there is a key ring; they
    themselves are empty there. In memory it is always None.
    """
    return stored(Data.CIPHERTEXT, Origin.ASSIGNED, default=default, shown=False)


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(stored, assigned, fold, side, seal),
)
def record(
    table: str,
    *,
    key: tuple[str, ...],
    owner: str | None = None,
    erase: OnErase = OnErase.DELETE,
    reason: str = "",
    indexes: tuple[Index, ...] = (),
) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen record and enter it into the catalogue.

    `key` lists the key's fields after the tenant, which every key starts with.
    `owner` is the field that names the customer. `erase` says what erasing that
    customer does to the row, and `reason` why a row that stays may stay.
    """

    def enter(cls: type[T]) -> type[T]:
        made: type[T] = attrs.frozen(cls, kw_only=True)
        if erase is not OnErase.DELETE and owner and not reason:
            raise TypeError(f"{cls.__name__}: a record that outlives its person needs a reason")
        columns = columns_of(made)
        _check_seal(cls.__name__, columns, {*key, owner, *(f for i in indexes for f in i.fields)})
        _CATALOGUE[made] = Entry(
            made,
            table,
            (cls.__doc__ or "").split("\n", 1)[0].rstrip("."),
            ("tenant", *key),
            owner,
            erase,
            reason,
            indexes,
            columns,
            names := tuple(c.name for c in columns),
            attrgetter(*names),
        )
        return made

    return enter


def _check_seal(name: str, columns: tuple[Column, ...], searched: set[str | None]) -> None:
    sealed = {c.name for c in columns if c.sealed}
    if sealed and all(c.name != SEAL for c in columns):
        raise TypeError(f"{name} has fields to seal and no field for that: add `seal(...)`")
    if not sealed.isdisjoint(searched):
        raise TypeError(f"{name}: nothing can be found by a field that is sealed")


def columns_of(cls: type) -> tuple[Column, ...]:
    """The classified fields of an attrs class; raises `TypeError` for one without a class."""
    attrs.resolve_types(cls)
    return tuple(_column(cls, a) for a in attrs.fields(cls))


def _column(cls: type, a: attrs.Attribute[Any]) -> Column:
    declared = a.metadata.get(_METADATA)
    if declared is None:
        raise TypeError(f"{cls.__name__}.{a.name} is not classified: make it with stored(...)")
    data, origin, erase, merge, gather, sealed = declared
    base, optional = _base_type(a.type)
    nested = columns_of(base) if attrs.has(base) else ()
    return Column(
        a.name, base, optional, data, origin, erase, merge, a.default, gather, sealed, nested
    )


_STORABLE = (str, bool, int, datetime, date, dict, tuple)


def _base_type(hint: Any) -> tuple[type, bool]:
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [m for m in typing.get_args(hint) if m is not type(None)]
        optional, hint = len(members) < len(typing.get_args(hint)), members[0]
    base = typing.get_origin(hint) or hint
    if base is Mapping or base in (dict, typing.get_origin(Mapping[str, str])):
        base = dict
    if base not in _STORABLE and not attrs.has(base):
        raise TypeError(f"{hint!r} cannot be stored")
    return base, optional


def evolved(record: T, **changes: Any) -> T:
    """A copy of a record with other values in some fields."""
    entry = _CATALOGUE.get(type(record))
    if entry is None:
        copy: T = attrs.evolve(record, **changes)  # type: ignore[misc]
        return copy
    # Several times quicker than attrs.evolve; metrics are evolved with each activity.
    values = dict(zip(entry.names, entry.values(record), strict=True))
    values.update(changes)
    return type(record)(**values)


def gathered(kept: T, added: T) -> T:
    """A record once it has taken in what another of its key adds, field by field."""
    changed: dict[str, Any] = {}
    for column in entry_of(type(kept)).columns:
        old, new = getattr(kept, column.name), getattr(added, column.name)
        if column.gather is Gather.SUM:
            changed[column.name] = old + new
        elif column.gather is Gather.NAME:
            order = ((kept.last_at, old), (added.last_at, new))  # type: ignore[attr-defined]
            changed[column.name] = max(order)[1] if all(o[0] for o in order) else old or new
        elif column.gather is not None and new is not None:
            pick = min if column.gather is Gather.FIRST else max
            changed[column.name] = new if old is None else pick(old, new)
    return evolved(kept, **changed)


def blanks(entry: Entry) -> dict[str, Any]:
    """The values that make a row of this record anonymous."""
    empty: dict[type, Any] = {dict: {}, tuple: ()}
    return {
        c.name: None if c.optional else empty[c.type]
        for c in entry.columns
        if c.erase is OnErase.DELETE or c.name == entry.owner
    }


def as_document(value: Any) -> dict[str, Any]:
    """A nested value as a JSON object, without what is empty."""
    out: dict[str, Any] = {}
    for a in attrs.fields(type(value)):
        v = getattr(value, a.name)
        if v is None or v == a.default or v == () or v == {}:
            continue
        out[a.name] = list(v) if isinstance(v, tuple) else v
    return out


def from_document(cls: type[T], document: Mapping[str, Any]) -> T:
    """The nested value that `as_document` wrote; keys it does not know are left out."""
    names = {a.name for a in attrs.fields(cls)}  # type: ignore[arg-type]
    return cls(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in document.items() if k in names}
    )
