"""What a storage is: a place that runs units of work over records of the catalogue.

An adapter implements the few abstract operations of `UnitOfWork`; the operations with a
body work as they are, and an adapter overrides them to be quick or to allow concurrency.
`crmkit.testing.StorageContract` tells whether an adapter is right.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from crmkit.config import Settings
from crmkit.model import Customer, Identity, MatchToken, entry_of
from crmkit.model.catalogue import evolved, gathered

if TYPE_CHECKING:
    from crmkit.model.rule import Rule, Top

R = TypeVar("R")
T = TypeVar("T")

STREAM_PAGE = 500


class UnitOfWork(abc.ABC):
    """One transaction for one tenant; every operation sees that tenant's records only."""

    tenant: str

    @abc.abstractmethod
    def add(self, record: object) -> None:
        """Store a new record; raises `StorageError` if its key is there already."""

    @abc.abstractmethod
    def add_if_absent(self, record: object) -> bool:
        """Store the record unless its key is there already; tells whether it was stored."""

    @abc.abstractmethod
    def put(self, record: object) -> None:
        """Store the record in place of the one with its key, if there is one."""

    @abc.abstractmethod
    def get(self, kind: type[R], *key: Any, lock: bool = False) -> R | None:
        """The record with that key (after the tenant), or None.

        With `lock` nobody else changes it before this unit of work ends.
        """

    @abc.abstractmethod
    def remove(self, kind: type, /, **equal: Any) -> int:
        """Delete the records whose fields equal these; returns how many."""

    @abc.abstractmethod
    def find(
        self,
        kind: type[R],
        /,
        *,
        order: Sequence[str] = (),
        descending: bool = False,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
        lock: bool = False,
        **equal: Any,
    ) -> list[R]:
        """The records whose fields equal these, a tuple meaning any of its values.

        `order` names fields that are never empty (the key, if none are named); `after` is
        the position in that order behind which to begin; both run backwards when
        `descending`. `lock` as in `get`, one record after the other in that order.
        """

    @abc.abstractmethod
    def count(self, kind: type, /, **equal: Any) -> int:
        """How many records have fields that equal these."""

    # What follows works on any storage and is there to be done better.

    def add_many(self, records: Iterable[object]) -> None:
        """Store new records."""
        for record in records:
            self.add(record)

    def put_many(self, records: Iterable[object]) -> None:
        """Store records in place of those with their keys."""
        for record in records:
            self.put(record)

    def hold(self, kind: type, keys: Iterable[str]) -> frozenset[str]:
        """Which of these keys exist; nobody else changes those before this unit ends."""
        wanted = sorted(set(keys))
        return frozenset(k for k in wanted if self.get(kind, k, lock=True) is not None)

    def gather(self, records: Iterable[object]) -> None:
        """Take cached values in: sums are added, firsts and lasts moved (`model.Gather`)."""
        for record in records:
            kind: type = type(record)
            key = [getattr(record, f) for f in _key_after_tenant(kind)]
            now = self.get(kind, *key, lock=True)
            self.put(record if now is None else gathered(now, record))

    def due(self, kind: type[R], field: str, by: datetime, /, *, limit: int) -> list[R]:
        """The records whose `field` is there and not later than `by`, the earliest first."""
        found = [r for r in self.stream(kind) if (at := getattr(r, field)) is not None and at <= by]
        return sorted(found, key=lambda r: getattr(r, field))[:limit]

    def stream(self, kind: type[R], /, *, order: Sequence[str] = (), **equal: Any) -> Iterator[R]:
        """All such records in order, a page in memory at a time.

        `order` as in `find`; it must tell any two records apart.
        """
        fields = tuple(order) or _key_after_tenant(kind)
        after: tuple[Any, ...] | None = None
        while True:
            page = self.find(kind, order=fields, after=after, limit=STREAM_PAGE, **equal)
            yield from page
            if len(page) < STREAM_PAGE:
                return
            after = tuple(getattr(page[-1], f) for f in fields)

    def rows(
        self,
        kind: type,
        fields: Sequence[str],
        /,
        *,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
        **equal: Any,
    ) -> list[tuple[Any, ...]]:
        """As `find`, in the order of the key, but only these fields of each record."""
        found: list[object] = self.find(kind, after=after, limit=limit, **equal)
        return [tuple(getattr(record, f) for f in fields) for record in found]

    def stream_rows(
        self, kind: type, fields: Sequence[str], /, *, page: int = STREAM_PAGE, **equal: Any
    ) -> Iterator[tuple[Any, ...]]:
        """All such records in the order of the key: these fields, a page in memory at a time."""
        key = _key_after_tenant(kind)
        wanted = (*fields, *(k for k in key if k not in fields))
        places = [wanted.index(k) for k in key]
        width = len(fields)
        after: tuple[Any, ...] | None = None
        while True:
            found = self.rows(kind, wanted, after=after, limit=page, **equal)
            yield from found if len(wanted) == width else (row[:width] for row in found)
            if len(found) < page:
                return
            after = tuple(found[-1][n] for n in places)

    def sharing(self, tokens: Mapping[str, int]) -> dict[str, list[str]]:
        """Who has each of these match tokens: their ids, up to the number that is given."""
        return {
            token: [
                row[0]
                for row in self.rows(MatchToken, ("customer_id",), fingerprint=token, limit=limit)
            ]
            for token, limit in tokens.items()
        }

    def linked(
        self, kinds: Sequence[str], fingerprints: Sequence[str]
    ) -> list[tuple[Identity, Customer]]:
        """Identities with any of these fingerprints, by their key, each with its customer.

        The identities may come without their `value`.
        """
        rows = self.find(Identity, kind=tuple(kinds), fingerprint=tuple(fingerprints))
        customers = {c: self.get(Customer, c) for c in {r.customer_id for r in rows}}
        return [(r, c) for r in rows if (c := customers[r.customer_id]) is not None]

    def totals(
        self,
        kind: type,
        field: str,
        /,
        *,
        by: Sequence[str] = (),
        upto: Mapping[str, datetime] | None = None,
        beyond: Mapping[str, datetime] | None = None,
        **equal: Any,
    ) -> dict[tuple[Any, ...], int]:
        """The sums of a field of whole numbers, for each combination of what is in other fields.

        Of the records whose fields equal these, whose `upto` fields are not later than those
        instants, and whose `beyond` fields are. A combination without records is not there.
        """
        sums: dict[tuple[Any, ...], int] = {}
        found: Iterator[object] = self.stream(kind, **equal)
        for record in found:
            if any(getattr(record, f) > t for f, t in (upto or {}).items()):
                continue
            if any(getattr(record, f) <= t for f, t in (beyond or {}).items()):
                continue
            group = tuple(getattr(record, f) for f in by)
            sums[group] = sums.get(group, 0) + getattr(record, field)
        return sums

    def change(self, kind: type, values: Mapping[str, Any], /, **equal: Any) -> int:
        """Set fields of all records whose fields equal these, never the key; returns how many."""
        found: list[object] = self.find(kind, **equal)
        for record in found:
            self.put(evolved(record, **values))
        return len(found)

    def lock(self, names: Iterable[str], *, shared: bool = False) -> None:  # noqa: B027 - doing nothing is the fallback
        """Wait until no other unit of work holds one of these names, and hold them to the end.

        Who is content to share a name waits only for those who are not. Nothing to do where
        only one unit of work writes at a time.
        """

    def lend(self) -> Any:
        """What the host's own tables can be reached by inside this transaction, or None.

        An adapter for SQL gives a SQLAlchemy Connection; whoever gets it never ends the
        transaction.
        """
        return None

    def increase(
        self, record: object, by: Mapping[str, int], *, floor: Mapping[str, int] | None = None
    ) -> bool:
        """Add to integer fields in one step; returns whether that was done.

        Where there is no record with its key yet, `record` is taken as what was there. If a
        field would fall below its `floor`, nothing changes and it is False.
        """
        kind = type(record)
        key = [getattr(record, f) for f in _key_after_tenant(kind)]
        now = self.get(kind, *key, lock=True) or record
        changed = evolved(now, **{f: getattr(now, f) + n for f, n in by.items()})
        if any(getattr(changed, f) < low for f, low in (floor or {}).items()):
            return False
        self.put(changed)
        return True


def _key_after_tenant(kind: type) -> tuple[str, ...]:
    return entry_of(kind).key[1:]


class RulePushdown(Protocol):
    """Ability of a unit of work: find the customers a rule fits without loading everybody.

    What a storage holds of a customer is as it is now. Where the rule asks about an earlier
    instant and something came after it that the rule looks at (of the metrics, of the
    profile and the tags, of what qualifies for a tier), the storage is unsure and leaves the
    customer to the evaluator in memory; so too where it cannot tell, and where the balance of
    points that is stored does not hold at the instant, whichever that is. Consents, tiers,
    and what customers did, it knows as of any instant. Who was put in by hand, and the cut-off
    of a `Top`, are those of now: of a rule with a `Top` it is never unsure. Nobody is in before
    the first fact about them.
    """

    def matching(
        self,
        rule: Rule,
        settings: Settings,
        at: datetime,
        *,
        settled: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, bool]]:
        """Ids of the customers the rule fits at that instant, ascending, each with True.

        With False those of whom it is unsure whether the rule fits them. `settled` says that
        nothing is known of anybody that came after the instant; balances may still turn.
        """
        ...

    def cutoff(self, top: Top, settings: Settings) -> int | None:
        """The value of the last who is among the top, or the bottom, now; None for nobody."""
        ...

    def count_matching(
        self, rule: Rule, settings: Settings, at: datetime, *, settled: bool = False
    ) -> tuple[int, list[str]]:
        """How many customers the rule surely fits at that instant, and the ids of the unsure."""
        ...


@runtime_checkable
class Storage(Protocol):
    """Runs units of work."""

    def read(self, tenant: str) -> AbstractContextManager[UnitOfWork]:
        """A unit of work that only reads."""
        ...

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        """Run `work` in one transaction and commit it; undo all of it if it raises.

        Where the storage asks for it (a deadlock, a lost race), `work` runs again from
        the start: it must have no effect but on the unit of work.
        """
        ...

    def using(self, lent: Any) -> AbstractContextManager[Storage]:
        """A storage whose units of work run inside the transaction of what the host lends."""
        ...

    def secret(self) -> bytes:
        """The random key of this database, made with its schema.

        Asked for each keyed hash: an adapter remembers it.
        """
        ...

    def close(self) -> None:
        """Give back what the storage itself opened."""
        ...
