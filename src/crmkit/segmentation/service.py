"""`crm.segments`: who is in, by rule at any instant, or by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from crmkit.customers.records import record_change
from crmkit.errors import AlreadyTaken, InvalidInput, RuleError, shown
from crmkit.model import (
    Customer,
    Membership,
    Segment,
    SegmentCatalogue,
    SegmentState,
    SegmentVersion,
)
from crmkit.model.catalogue import evolved
from crmkit.model.document import document, text
from crmkit.model.page import checked_limit
from crmkit.model.rule import AllOf, Rule, Top, leaves
from crmkit.model.time import EARLIEST
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation import asking
from crmkit.segmentation.asking import When
from crmkit.segmentation.bands import bands
from crmkit.segmentation.definition import SegmentDefinition
from crmkit.segmentation.explain import explain
from crmkit.segmentation.keeping import Keeper
from crmkit.segmentation.needs import Needs, needs
from crmkit.segmentation.past import BY_HAND
from crmkit.segmentation.rules import parse
from crmkit.segmentation.verdicts import Explanation

if TYPE_CHECKING:
    from crmkit.segmentation.analytics import SegmentAnalytics

_PAGE = 500
_AT_ONCE = 10_000
"""Of up to so many customers a new rule is asked at once; of more, when `run_due` runs."""


@attrs.frozen
class Preview:
    """Whom a rule would fit: how many, the first of them, and how many by band."""

    count: int
    sample: tuple[Customer, ...] = attrs.field(repr=False)
    bands: Mapping[str, Mapping[str, int]]


@attrs.frozen
class Verified:
    """What is kept of a segment against what its rule says of everybody.

    `pending` are those for whom `run_due` has yet to ask again. `missing` and `surplus`, ids
    of customers who are kept wrongly, are empty unless something went wrong.
    """

    members: int
    pending: int
    missing: tuple[str, ...] = attrs.field(repr=False)
    surplus: tuple[str, ...] = attrs.field(repr=False)

    @property
    def exact(self) -> bool:
        """Whether what is kept is right."""
        return not self.missing and not self.surplus


class Segments:
    """Segments of one tenant.

    Membership is a pure function of facts, rule, time zone and instant: each answer is
    worked out at the instant that is asked about, and never stale. Beside the answers the
    comings and goings are kept, for history and events; these follow each change at once,
    and `run_due` where time alone decides.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    @cached_property
    def keeper(self) -> Keeper:
        """Hears of changes; crmkit's own."""
        return Keeper(self._rt)

    @cached_property
    def analytics(self) -> SegmentAnalytics:
        """Overviews, comparisons, growth, history and export."""
        from crmkit.segmentation.analytics import SegmentAnalytics

        return SegmentAnalytics(self._rt)

    # --- segments ---

    def create(
        self,
        name: str,
        rules: Mapping[str, Any] | None = None,
        *,
        auto_update: bool = True,
        description: str | None = None,
    ) -> Segment:
        """Make a segment: by rule, or without `rules` a static one that is filled by hand.

        With `auto_update=False` the rule is asked once, now, and whoever it fits stays.
        Raises `RuleError` with the path into the rule, and `AlreadyTaken`.
        """
        now = self._rt.now()
        if rules is not None:
            parse(rules, self._rt.settings)  # what cannot be read is refused by its path
        segment = Segment(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            name=_name(name),
            description=text(description or "", field="description", limit=1_000),
            rules=None if rules is None else _document(rules),
            auto_update=auto_update,
            created_at=now,
        )

        def work(uow: UnitOfWork) -> None:
            self._claim(uow, segment.name)
            if rules is not None:
                rule = self._checked(uow, rules, segment.name)
                if not auto_update:
                    fit = asking.ids(uow, self._rt, rule, When(now, live=True))
                    uow.add_many([self._by_hand(segment, customer_id) for customer_id in fit])
            self._add(uow, segment)

        self._rt.write(work)
        self._build_at_once([segment.id], now)
        return self.get(segment.name)

    def change(
        self,
        name: str,
        *,
        rename: str | None = None,
        rules: Mapping[str, Any] | None = None,
        description: str | None = None,
        archived: bool | None = None,
    ) -> Segment:
        """Change what is given of a segment.

        A new rule is a new version: who comes or goes by it does so now, and the history says
        by which version. Archiving lets the members go and keeps the history. Raises
        `RuleError`, `NotFound`, `AlreadyTaken`, and `InvalidInput` for archiving a segment
        that another asks for.
        """
        now = self._rt.now()
        called = None if rename is None else _name(rename)

        def work(uow: UnitOfWork) -> tuple[Segment, bool]:
            segment = self._segment(uow, name)
            uow.lock([self._rt.fingerprint("segment", segment.name)])
            changes: dict[str, Any] = {}
            if description is not None:
                changes["description"] = text(description, field="description", limit=1_000)
            if called is not None and called != segment.name:
                self._rename(uow, segment.name, called)
                changes["name"] = called
            if rules is not None:
                changes["rules"] = self._rules(uow, segment, rules)
            if archived is not None:
                changes |= self._archived(uow, segment, now if archived else None)
            return self._changed(uow, segment, changes, now)

        changed, anew = self._rt.write(work)
        if changed.archived_at is not None:
            while self._rt.write(lambda uow: self.keeper.close(uow, changed, now)):
                pass
        elif anew:
            with self._rt.read() as uow:
                users = self._users(uow, changed.name)
            self._build_at_once([changed.id, *(u.id for u in users)], now)
        return self.get(changed.name)

    def install(
        self, preset: Iterable[SegmentDefinition], *, replace: bool = False
    ) -> tuple[str, ...]:
        """Make those segments that are missing; returns the names of what was made or changed.

        A segment that is there stays as it is; with `replace` it is given the rule and the
        description of the preset, unless it is archived. Installing again changes nothing.
        Raises `RuleError` for a rule that these settings do not know and `InvalidInput` for
        two of one name, before anything is made.
        """
        wanted = self._installable(preset)
        there = {s.name: s for s in self.list(archived=True)}
        done = []
        for name, of in wanted.items():
            had = there.get(name)
            if had is None:
                with suppress(AlreadyTaken):  # somebody else installs it at this moment
                    self.create(name, of.rules, description=of.description)
                    done.append(name)
            elif replace and had.archived_at is None and had.rules != _document(of.rules):
                self.change(name, rules=of.rules, description=of.description)
                done.append(name)
        return tuple(done)

    def _installable(self, preset: Iterable[SegmentDefinition]) -> dict[str, SegmentDefinition]:
        wanted: dict[str, SegmentDefinition] = {}
        if isinstance(preset, str) or not isinstance(preset, Iterable):
            raise InvalidInput("expected a preset such as presets.restaurant()", field="preset")
        for of in preset:
            if not isinstance(of, SegmentDefinition):
                raise InvalidInput("expected definitions of segments", field="preset")
            name = _name(of.name)
            if name in wanted:
                raise InvalidInput(f"two segments of the name {shown(name)}", field="preset")
            try:
                parse(of.rules, self._rt.settings)
            except RuleError as error:
                raise RuleError(error.message, field=f"{name}: {error.field}") from None
            wanted[name] = of
        return wanted

    def get(self, name: str) -> Segment:
        """The segment of that name; raises `NotFound` with the nearest name."""
        with self._rt.read() as uow:
            return self._segment(uow, name)

    def list(self, *, archived: bool = False) -> tuple[Segment, ...]:
        """All segments, by name; with `archived` those too."""
        with self._rt.read() as uow:
            found = uow.find(Segment) if archived else uow.find(Segment, archived_at=None)
        return tuple(sorted(found, key=lambda s: s.name))

    # --- answers ---

    def members(self, name: str, *, at: datetime | str | None = None) -> Iterator[Customer]:
        """The customers in the segment at that instant, in the order of their ids."""
        when = When.of(self._rt, at)
        with self._rt.read() as uow:
            rule = self._rule(uow, self._segment(uow, name), when)
            rule = asking.ranked(uow, self._rt, rule, when)  # once, not for each page
        return self._members(rule, when)

    def count(self, name: str, *, at: datetime | str | None = None) -> int:
        """How many customers are in the segment at that instant."""
        when = When.of(self._rt, at)
        with self._rt.read() as uow:
            return asking.count(
                uow, self._rt, self._rule(uow, self._segment(uow, name), when), when
            )

    def is_member(self, customer_id: str, name: str, *, at: datetime | str | None = None) -> bool:
        """Whether the customer is in the segment at that instant."""
        when = When.of(self._rt, at)
        with self._rt.read() as uow:
            rule = self._rule(uow, self._segment(uow, name), when)
            return asking.holds(uow, self._rt, rule, self._rt.customer(uow, customer_id), when)

    def explain(
        self, customer_id: str, name: str, *, at: datetime | str | None = None
    ) -> Explanation:
        """Why the customer is in the segment at that instant, or is not.

        It tells values, for the people whom you let see the customer. See `Explanation`.
        Raises `InvalidInput` for a segment that was archived by then.
        """
        when = When.of(self._rt, at)
        with self._rt.read() as uow:
            segment = self._segment(uow, name)
            if segment.archived_at is not None and segment.archived_at <= when.at:
                raise InvalidInput("the segment is archived; ask of a time before", field="at")
            named = self._named(uow) | {segment.name: segment}
            rule = asking.whole(segment, named, self._rt)
            customer = self._rt.customer(uow, customer_id)
            subject = asking.seen(uow, self._rt, needs(rule), customer, when)
            tops = {leaf for leaf in leaves(rule) if isinstance(leaf, Top)}
            ranks = {top: asking.rank(uow, self._rt, top, subject, when) for top in tops}
        return explain(segment.name, subject, when.at, self._rt.settings, named, ranks)

    def segments_of(self, customer_id: str, *, at: datetime | str | None = None) -> tuple[str, ...]:
        """The names of the segments the customer is in at that instant."""
        when = When.of(self._rt, at)
        with self._rt.read() as uow:
            customer = self._rt.customer(uow, customer_id)
            return self._names(uow, customer, when)

    def names(self, uow: UnitOfWork, customer_id: str, at: datetime | None) -> tuple[str, ...]:
        """`segments_of`, inside a unit of work that is under way; crmkit's own."""
        return self._names(uow, self._rt.customer(uow, customer_id), When.of(self._rt, at))

    def _names(self, uow: UnitOfWork, customer: Customer, when: When) -> tuple[str, ...]:
        named = self._named(uow)
        if not named:
            return ()
        rules = {name: asking.whole(named[name], named, self._rt) for name in sorted(named)}
        return asking.fits(uow, self._rt, rules, customer, when)

    def preview(
        self,
        rules: Mapping[str, Any],
        *,
        sample: int = 10,
        at: datetime | str | None = None,
    ) -> Preview:
        """Whom a rule would fit, without saving it; raises `RuleError`."""
        when, sample = When.of(self._rt, at), checked_limit(sample)
        with self._rt.read() as uow:
            rule = asking.asked(parse(rules, self._rt.settings), self._named(uow), self._rt)
            rule = asking.ranked(uow, self._rt, rule, when)
            found = tuple(islice(asking.ids(uow, self._rt, rule, when, limit=sample), sample))
            return Preview(
                asking.count(uow, self._rt, rule, when),
                tuple(uow.find(Customer, order=("id",), id=found)) if found else (),
                {
                    band: {
                        label: asking.count(uow, self._rt, AllOf((rule, inside)), when)
                        for label, inside in of.items()
                    }
                    for band, of in bands(self._rt.settings).items()
                },
            )

    def verify(self, name: str) -> Verified:
        """Compare what is kept of a segment with what its rule says of everybody, now."""
        when = When.of(self._rt, None)
        with self._rt.read() as uow:
            segment = self._segment(uow, name)
            kept, pending = set[str](), set[str]()
            for state in uow.stream(SegmentState, segment_id=segment.id):
                if state.next_change_at is not None and state.next_change_at <= when.at:
                    pending.add(state.customer_id)
                elif state.member:
                    kept.add(state.customer_id)
            told = set(asking.asked_in_memory(uow, self._rt, self._rule(uow, segment, when), when))
        told -= pending
        return Verified(
            len(kept), len(pending), tuple(sorted(told - kept)), tuple(sorted(kept - told))
        )

    # --- by hand ---

    def add(self, customer_id: str, name: str) -> None:
        """Put a customer into a segment by hand; a segment that is not there yet is made.

        In a segment with a rule the customer is in from then on, whatever the rule says.
        """
        self._by_hand_now(customer_id, name, kept_out=False)

    def keep_out(self, customer_id: str, name: str) -> None:
        """Keep a customer out of a segment, whatever its rule says."""
        self._by_hand_now(customer_id, name, kept_out=True)

    def remove(self, customer_id: str, name: str) -> None:
        """Take back what was done by hand; the rule, if any, still applies."""
        self._by_hand_now(customer_id, name, kept_out=None)

    def _by_hand_now(self, customer_id: str, name: str, *, kept_out: bool | None) -> None:
        called, now = _name(name), self._rt.now()

        def work(uow: UnitOfWork) -> None:
            customer = self._rt.customer(uow, customer_id, lock=True)
            keeps = kept_out is not False
            segment = self._segment(uow, called) if keeps else self._made(uow, called, now)
            if segment.archived_at is not None:
                raise InvalidInput("the segment is archived", field="name")
            had = uow.get(Membership, segment.id, customer.id)
            was = had.kept_out if had else None
            if was is kept_out:
                return
            if not segment.by_hand:
                uow.change(Segment, {"by_hand": True}, id=segment.id)
                self._mark(uow)
            uow.put(self._by_hand(segment, customer.id, kept_out=kept_out))
            told = {BY_HAND: {segment.id: [was, kept_out]}}
            origin = self._rt.whose(uow, customer_id, customer.id).origin
            record_change(uow, self._rt, customer.id, told, now, origin)
            self.keeper.changed(uow, customer.id, now, Needs(by_hand=True))

        self._rt.write(work)

    def _made(self, uow: UnitOfWork, name: str, now: datetime) -> Segment:
        """The segment of that name, a new static one if there is none."""
        found = uow.find(Segment, name=name)
        if not found:
            uow.lock([self._rt.fingerprint("segment", name)])
            found = uow.find(Segment, name=name)
        if found:
            return found[0]
        made = Segment(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            name=name,
            rules=None,
            watched=True,  # nobody is in it yet
            created_at=now,
        )
        self._add(uow, made)
        return made

    def _by_hand(
        self, segment: Segment, customer_id: str, *, kept_out: bool | None = False
    ) -> Membership:
        return Membership(
            tenant=self._rt.tenant,
            segment_id=segment.id,
            customer_id=customer_id,
            kept_out=kept_out,
            added_at=self._rt.now(),
        )

    # --- what time makes due ---

    def run_due(self, now: datetime, progress: Callable[[int], None] | None = None) -> int:
        """Let time do its part, for `crm.run_due`; how many answers it asked; crmkit's own."""
        done = 0
        anew = self._rt.write(self._asked_by_other_settings)
        with self._rt.read() as uow:
            unbuilt = uow.find(Segment, archived_at=None, watched=False)
        if unbuilt:
            self._build(frozenset(s.id for s in unbuilt), now if anew else EARLIEST)
        while some := self._rt.write(lambda uow: self.keeper.due(uow, now)):
            done += some
            if progress:
                progress(done)
        return done

    def _build_at_once(self, segment_ids: Iterable[str], since: datetime) -> None:
        """Ask all customers about segments whose rule is new, unless they are very many."""
        with self._rt.read() as uow:
            few = len(uow.rows(Customer, ("id",), limit=_AT_ONCE + 1)) <= _AT_ONCE
        if few:
            self._build(frozenset(segment_ids), since)

    def _build(self, segment_ids: frozenset[str], since: datetime) -> None:
        """Ask all customers about segments from an instant on, a page in a transaction."""
        with self._rt.read() as uow:
            fields = self.keeper.unfilled(uow, segment_ids)
        if fields:
            self._page_by_page(lambda uow, after: self.keeper.fill(uow, fields, after))
        self._rt.write(lambda uow: self.keeper.begin(uow, segment_ids))
        self._page_by_page(lambda uow, after: self.keeper.build(uow, segment_ids, since, after))
        built = tuple(sorted(segment_ids))
        self._rt.write(lambda uow: uow.change(Segment, {"watched": True}, id=built))

    def _page_by_page(self, page: Callable[..., str | None]) -> None:
        """Run pages, each in a transaction; each tells where the next begins, if there is one."""
        after: str | None = None
        while after := self._rt.write(partial(page, after=after)):
            pass

    # --- within a unit of work ---

    def _segment(self, uow: UnitOfWork, name: str) -> Segment:
        return asking.segment_of(uow, name)

    def _named(self, uow: UnitOfWork) -> dict[str, Segment]:
        return asking.by_name(uow)

    def _rule(self, uow: UnitOfWork, segment: Segment, when: When) -> Rule:
        return asking.at(segment, self._named(uow), self._rt, when)

    def _members(self, rule: Rule, when: When) -> Iterator[Customer]:
        after: str | None = None
        while True:
            with self._rt.read() as uow:
                ids = list(asking.ids(uow, self._rt, rule, when, after=after, limit=_PAGE))
                page = uow.find(Customer, order=("id",), id=tuple(ids)) if ids else []
            yield from page
            if len(ids) < _PAGE:
                return
            after = ids[-1]

    def _checked(self, uow: UnitOfWork, rules: Mapping[str, Any], name: str) -> Rule:
        """The rule, if it can be asked of this storage and of no segment in a circle."""
        named = self._named(uow)
        rule = asking.asked(parse(rules, self._rt.settings), named, self._rt, (name,))
        self._try(uow, rule)
        return rule

    def _try(self, uow: UnitOfWork, rule: Rule) -> None:
        """Ask once, so that what the storage cannot run is not saved."""
        for _ in asking.ids(uow, self._rt, rule, When.of(self._rt, None), limit=1):
            break

    def _claim(self, uow: UnitOfWork, name: str) -> None:
        uow.lock([self._rt.fingerprint("segment", name)])
        had = uow.find(Segment, name=name)
        if had:
            archived = "an archived segment has this name; bring it back, or rename it"
            there = "a segment of this name is there already"
            raise AlreadyTaken(archived if had[0].archived_at else there, field="name")

    def _add(self, uow: UnitOfWork, segment: Segment) -> None:
        uow.add(segment)
        uow.add(_version(segment, segment.created_at))
        self._mark(uow)

    def _mark(self, uow: UnitOfWork) -> None:
        tenant = self._rt.tenant
        had = uow.get(SegmentCatalogue, tenant)
        basis = had.basis if had else self._basis()
        uow.put(SegmentCatalogue(tenant=tenant, id=tenant, mark=self._rt.new_id(), basis=basis))

    def _basis(self) -> str:
        """What of the settings decides about answers, as a hash."""
        of = self._rt.settings
        loyalty = of.programme.name, of.programme.tiers, of.programme.policy
        said = repr((of.timezone, of.currency, loyalty, of.kinds))
        return self._rt.fingerprint("segments", said)

    def _asked_by_other_settings(self, uow: UnitOfWork) -> bool:
        """Whether comings and goings were kept by other settings; from now on by these."""
        had = uow.get(SegmentCatalogue, self._rt.tenant)
        if had is None or had.basis == self._basis():
            return False
        uow.put(evolved(had, mark=self._rt.new_id(), basis=self._basis()))
        uow.change(Segment, {"watched": False}, archived_at=None)
        return True

    def _rules(self, uow: UnitOfWork, segment: Segment, rules: Mapping[str, Any]) -> dict[str, Any]:
        if segment.rules is None or not segment.auto_update:
            raise InvalidInput("its members are fixed; make another segment", field="rules")
        self._checked(uow, rules, segment.name)
        kept = _document(rules)
        named = self._named(uow) | {segment.name: evolved(segment, rules=kept)}
        for user in self._users(uow, segment.name):
            self._try(uow, asking.whole(user, named, self._rt))
        return kept

    def _changed(
        self, uow: UnitOfWork, segment: Segment, changes: dict[str, Any], now: datetime
    ) -> tuple[Segment, bool]:
        """Store the changes; whether everybody must be asked anew, by a new version."""
        anew = "rules" in changes or changes.get("archived_at", now) is None
        if anew:
            changes |= {"version": segment.version + 1, "watched": False}
        changed = evolved(segment, **changes)
        uow.put(changed)
        if anew:
            uow.add(_version(changed, now))
        self._mark(uow)
        if anew or "archived_at" in changes:
            self.keeper.forget(uow)
        return changed, anew

    def _rename(self, uow: UnitOfWork, name: str, to: str) -> None:
        """Claim a new name, and let the rules know it that ask for the segment."""
        self._claim(uow, to)
        for segment in uow.find(Segment):  # archived ones too: they may come back
            renamed = asking.renamed(segment.rules, name, to)
            if renamed != segment.rules:
                uow.put(evolved(segment, rules=renamed))

    def _users(self, uow: UnitOfWork, name: str) -> tuple[Segment, ...]:
        """The segments whose rules ask for this one, by themselves or through others."""
        named = self._named(uow)
        return tuple(named[user] for user in sorted(asking.users(name, named, self._rt)))

    def _archived(self, uow: UnitOfWork, segment: Segment, at: datetime | None) -> dict[str, Any]:
        if (at is None) is (segment.archived_at is None):
            return {}
        users = () if at is None else self._users(uow, segment.name)
        if users:
            raise InvalidInput(f"segment {users[0].name!r} asks for it", field="archived")
        return {"archived_at": at}


def _name(raw: str) -> str:
    called = text(raw, field="name", limit=100)
    if called is None:
        raise InvalidInput("expected some text", field="name")
    return called


def _document(rules: Mapping[str, Any]) -> dict[str, Any]:
    """The rule as it is kept; what is too much of a rule, `parse` has refused."""
    return document(rules, field="rules", nodes=20_000, depth=60)


def _version(segment: Segment, since: datetime) -> SegmentVersion:
    return SegmentVersion(
        tenant=segment.tenant,
        segment_id=segment.id,
        version=segment.version,
        rules=segment.rules,
        since=since,
    )
