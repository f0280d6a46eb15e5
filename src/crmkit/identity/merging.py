"""Merges as a tree, and profiles as documents that can be parted again; pure.

Each fact of a merged person hangs on a node of the tree: on the customer it was told of, or
on the merge since which nobody can tell. A customer's newest node is written as None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import attrs

from crmkit.identity.survivorship import GROUPS, united
from crmkit.model import Customer, Entry, Membership, Merge, Snapshot, Tag, entry_of
from crmkit.model.catalogue import OnMerge, as_document, evolved, from_document, keyed
from crmkit.model.time import from_micros, to_micros

State = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""A customer's profile, tags and segments: by table, by what is left of the key, by field."""

_ABSENT: Final = object()
_PROFILE: Final = entry_of(Customer).table
_CALLED: Final = {entry_of(Tag).table: "tags", entry_of(Membership).table: "segments"}


@attrs.frozen
class Tree:
    """The merges that stand among those that made up a person."""

    merges: Sequence[Merge]

    def into(self, customer_id: str) -> list[Merge]:
        """The merges into that very customer, in their order."""
        found = (m for m in self.merges if m.kept_id == customer_id)
        return sorted(found, key=lambda m: m.step)

    def node(self, customer_id: str) -> str:
        """On what the customer's next fact hangs: the last merge into them, or themselves."""
        merges = self.into(customer_id)
        return merges[-1].id if merges else customer_id

    def side(self, customer_id: str) -> frozenset[str]:
        """All nodes of that customer and of those who were merged into them."""
        nodes, todo = {customer_id}, [customer_id]
        while todo:
            for merge in self.into(todo.pop()):
                nodes |= {merge.id, merge.dropped_id}
                todo.append(merge.dropped_id)
        return frozenset(nodes)

    def before(self, merge: Merge) -> str:
        """On what facts of the kept customer hung before a merge."""
        return Tree([m for m in self.merges if m.step < merge.step]).node(merge.kept_id)

    def after(self, merge: Merge) -> list[Merge]:
        """The merges that the kept customer took part in since, to the one who holds all."""
        line, path = merge.kept_id, list[Merge]()
        for later in sorted(self.merges, key=lambda m: m.step):
            if later.step > merge.step and line in (later.kept_id, later.dropped_id):
                path.append(later)
                line = later.kept_id
        return path

    def without(self, merge: Merge) -> Tree:
        """The tree once that merge is undone."""
        return Tree([m for m in self.merges if m.id != merge.id])


# --- rows as documents ---


def state_of(records: Iterable[object]) -> State:
    """The state that these rows of one customer make."""
    state: dict[str, dict[str, Any]] = {e.table: {} for e in keyed()}
    for record in records:
        entry = entry_of(type(record))
        place = "|".join(getattr(record, f) for f in _places(entry))
        state[entry.table][place] = {
            c.name: value
            for c in entry.columns
            if c.name not in ("tenant", entry.owner)
            and (value := _plain(getattr(record, c.name))) not in (None, [], {})
        }
    return state


def rows_of(state: State, tenant: str, customer_id: str) -> list[Any]:
    """The rows of a state, as those of that customer."""
    return [_row(e, row, tenant, customer_id) for e in keyed() for row in state[e.table].values()]


def _places(entry: Entry) -> list[str]:
    return [f for f in entry.key if f not in ("tenant", entry.owner)]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_micros(value)
    if isinstance(value, date):
        return value.isoformat()
    if attrs.has(type(value)):
        return as_document(value)
    return list(value) if isinstance(value, tuple) else value


def _row(entry: Entry, row: Mapping[str, Any], tenant: str, customer_id: str) -> Any:
    values: dict[str, Any] = {"tenant": tenant, entry.owner or "": customer_id}
    for column in entry.columns:
        if column.name in values:
            continue
        value = row.get(column.name)
        if value is None:
            value = None if column.optional else column.type()
        elif column.type is datetime:
            value = from_micros(value)
        elif column.type is date:
            value = date.fromisoformat(value)
        elif column.type is tuple:
            value = tuple(value)
        elif column.nested:
            value = from_document(column.type, value)
        values[column.name] = value
    return entry.record(**values)


# --- merging and parting ---


def merged(kept: State, dropped: State, won: frozenset[str]) -> State:
    """The state of both together; see `survivorship.united` for the profile."""
    both = (_profile(kept), _profile(dropped))
    state = dict(state_of([united(both[0], evolved(both[1], id=both[0].id), won)]))
    for entry in keyed():
        if entry.record is not Customer:
            state[entry.table] = _joined(entry, kept[entry.table], dropped[entry.table])
    return state


def _profile(state: State) -> Customer:
    (row,) = state[_PROFILE].values()
    found: Customer = _row(entry_of(Customer), row, "", "")
    return found


def _joined(
    entry: Entry, kept: Mapping[str, Mapping[str, Any]], dropped: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    joined = {**dropped, **kept}
    earliest = [c.name for c in entry.columns if c.merge is OnMerge.EARLIEST]
    for place in kept.keys() & dropped.keys():
        firsts = {f: min(kept[place][f], dropped[place][f]) for f in earliest}
        joined[place] = {**kept[place], **firsts}
    return joined


def won_of(snapshot: Snapshot) -> frozenset[str]:
    """The groups in which the dropped customer's values survived that merge."""
    kept, dropped, result = (
        s[_PROFILE][""] for s in (snapshot.kept, snapshot.dropped, snapshot.result)
    )
    return frozenset(
        group
        for group, fields in GROUPS.items()
        if any(result.get(f) != kept.get(f) for f in fields)
        and all(result.get(f) == dropped.get(f) for f in fields)
    )


@attrs.frozen
class Parted:
    """What is left of a merge that is undone: both states, and later merges as they are by now.

    `restored` names fields that are again what they were; `conflicts` those that were changed
    since, and stay.
    """

    kept: State
    dropped: State
    snapshots: Sequence[Snapshot]
    restored: frozenset[str]
    conflicts: frozenset[str]


def parted(
    merge: Merge, undone: Snapshot, later: Sequence[tuple[Merge, Snapshot]], now: State
) -> Parted:
    """The states of two customers whose merge is undone.

    What the merge had given, and nobody changed since, is again what it was. Later merges
    are made anew from that, by the choices that were made then.
    """
    line, was, instead = merge.kept_id, undone.result, undone.kept
    snapshots: list[Snapshot] = []
    for other, taken in later:
        if other.kept_id == line:
            kept, dropped = three_way(instead, was, taken.kept), taken.dropped
        else:
            kept, dropped = taken.kept, three_way(instead, was, taken.dropped)
        line, was, instead = other.kept_id, taken.result, merged(kept, dropped, won_of(taken))
        snapshots.append(evolved(taken, kept=kept, dropped=dropped, result=instead))
    given = _changed(instead, was)
    return Parted(
        three_way(instead, was, now),
        undone.dropped,
        snapshots,
        restored=given - _changed(was, now),
        conflicts=given & _changed(was, now),
    )


def three_way(instead: State, was: State, now: State) -> State:
    """What is now, had it begun with `instead` of what was: only what was changed stays."""
    state: dict[str, Any] = {}
    for table in was:
        parts = instead[table], was[table], now[table]
        state[table] = _patched(*parts, deep=table == _PROFILE)
    for fields in GROUPS.values():
        before, after = was[_PROFILE][""], now[_PROFILE][""]
        if any(before.get(f) != after.get(f) for f in fields):  # they go together
            row = {f: v for f, v in state[_PROFILE][""].items() if f not in fields}
            state[_PROFILE][""] = row | {f: after[f] for f in fields if f in after}
    return state


def _patched(
    instead: Mapping[str, Any], was: Mapping[str, Any], now: Mapping[str, Any], *, deep: bool
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in {**instead, **now}:
        before, after = was.get(name, _ABSENT), now.get(name, _ABSENT)
        value = instead.get(name, _ABSENT) if before == after else after
        parts = instead.get(name, {}), before, after
        if deep and before != after and all(isinstance(part, Mapping) for part in parts):
            value = _patched(*parts, deep=True)
            if not value and name not in instead:
                continue
        if value is not _ABSENT:
            out[name] = value
    return out


def _changed(one: State, other: State) -> frozenset[str]:
    """Where two states differ: fields of the profile, ``tags``, ``segments``."""
    fields = (one[_PROFILE][""], other[_PROFILE][""])
    told = (fields[0].keys() | fields[1].keys()) - {"created_at", "updated_at"}
    names = {f for f in told if fields[0].get(f) != fields[1].get(f)}
    return frozenset(names | {_CALLED[t] for t in _CALLED if one[t] != other[t]})
