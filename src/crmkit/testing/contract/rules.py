"""What a storage promises that finds by rule: the answers of the evaluator in memory."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

import attrs
from hypothesis import given
from hypothesis import strategies as st

from crmkit.model import Consent, Membership, PointsAccount, Tag
from crmkit.model.rule import Compare, Did, Leaf, Rule, Then, Top, leaves
from crmkit.model.time import EARLIEST, FOREVER
from crmkit.ports.storage import RulePushdown
from crmkit.segmentation.asking import among, at_cutoff, replaced
from crmkit.segmentation.evaluate import compiled, getter
from crmkit.segmentation.fields import BALANCE, Source, find
from crmkit.segmentation.rules import parse
from crmkit.segmentation.subject import Subject
from crmkit.testing.contract.base import Contract
from crmkit.testing.strategies import INSTANTS, SETTINGS, instants, rules, subjects

_OF_PROFILE: Final = frozenset({Source.CUSTOMER, Source.PREFERENCES, Source.CUSTOM, Source.AGE})
_OF_METRICS: Final = frozenset({Source.METRICS, Source.AVERAGE})
_EARLIER: Final = timedelta(days=1)


class RuleContract(Contract):
    """The promises of `crmkit.ports.storage.RulePushdown`; needs `hypothesis`.

    Subclass it and make the storage, as with `StorageContract`.
    """

    def test_rules_find_whom_they_fit_in_memory(self) -> None:
        """Each customer is found for sure, not found, or rightly left in doubt."""

        # Inside, for Hypothesis takes one function to be one test, whoever inherits it.
        @given(
            documents=st.lists(rules(), min_size=1, max_size=4),
            people=st.tuples(*(subjects(id=f"c{n}") for n in range(6))),
            strangers=st.tuples(*(subjects(id=f"c{n}") for n in range(2))),
            at=instants(),
        )
        def agrees(
            documents: Sequence[dict[str, Any]],
            people: Sequence[Subject],
            strangers: Sequence[Subject],
            at: datetime,
        ) -> None:
            self._agrees(documents, people, strangers, at)

        agrees()

    def _agrees(
        self,
        documents: Sequence[dict[str, Any]],
        people: Sequence[Subject],
        strangers: Sequence[Subject],
        at: datetime,
    ) -> None:
        names = secrets.token_hex(8), secrets.token_hex(8)
        for name, subjects_ in zip(names, (people, strangers), strict=True):
            self._store(name, subjects_)
        for document in documents:
            rule = parse(document, SETTINGS)
            with self.storage.read(names[0]) as uow:
                able = cast(RulePushdown, uow)
                found = able.matching(rule, SETTINGS, at)
                page = able.matching(rule, SETTINGS, at, after="c1", limit=2)
                counted = able.count_matching(rule, SETTINGS, at)
            self._check(rule, people, at, dict(found))
            assert [i for i, _ in found] == sorted(i for i, _ in found)
            assert page == [row for row in found if row[0] > "c1"][:2]
            unsure = [i for i, sure in found if not sure]
            assert counted == (len(found) - len(unsure), unsure)
            if all(_is_over(subject, at) for subject in people):
                self._agrees_settled(names[0], rule, people, at)

    def _agrees_settled(
        self, tenant: str, rule: Rule, people: Sequence[Subject], at: datetime
    ) -> None:
        with self.storage.read(tenant) as uow:
            able = cast(RulePushdown, uow)
            found = able.matching(rule, SETTINGS, at, settled=True)
            self._check(rule, people, at, dict(found))
            unsure = [i for i, sure in found if not sure]
            counted = able.count_matching(rule, SETTINGS, at, settled=True)
            assert counted == (len(found) - len(unsure), unsure)

    def _check(
        self, rule: Rule, people: Sequence[Subject], at: datetime, found: dict[str, bool]
    ) -> None:
        check(rule, people, at, found)

    def _store(self, tenant: str, people: Sequence[Subject]) -> None:
        every = [moved(r, tenant) for s in people for r in records(s)]
        self.storage.write(tenant, lambda uow: uow.add_many(every))


def moved(record: Any, tenant: str) -> object:
    """The same record of another tenant."""
    return attrs.evolve(record, tenant=tenant)


def check(rule: Rule, people: Sequence[Subject], at: datetime, found: dict[str, bool]) -> None:
    """Compare what a storage found with what the evaluator says."""
    holds = compiled(ranked(rule, people), SETTINGS)
    for subject in people:
        fits = subject.begins_at <= at and holds(subject, at)
        sure = found.get(subject.customer.id)
        doubt = in_doubt(rule, subject, at)
        if sure is False:
            assert subject.begins_at <= at, (rule, subject)
            assert doubt or _hard(rule, subject), (rule, subject)
        elif doubt:
            # The rest of the rule settled it: nothing that came later would let it fit.
            assert sure is None, (rule, subject)
            assert not fits, (rule, subject)
        else:
            assert sure is (True if fits else None), (rule, subject)


def _is_over(subject: Subject, at: datetime) -> bool:
    """Whether nothing came after the instant."""
    customer, last = subject.customer, subject.metrics.last_activity_at
    return max(customer.created_at, customer.updated_at, last or customer.created_at) <= at


def in_doubt(rule: Rule, subject: Subject, at: datetime) -> bool:
    """Whether the answer depends on what a storage cannot know as of that instant."""
    every = list(leaves(rule))
    if any(isinstance(leaf, Top) for leaf in every):
        return False
    asked = {find(leaf.field) for leaf in every if isinstance(leaf, Compare)}
    if BALANCE in asked and not _is_held(subject.account, at):
        return True
    sources = {field.source for field in asked}
    last = subject.metrics.last_activity_at
    if sources & _OF_METRICS and last is not None and last > at:
        return True
    near = any(type(leaf).__name__ == "Near" for leaf in every)
    return bool(sources & _OF_PROFILE or near) and subject.customer.updated_at > at


def _is_held(account: PointsAccount | None, at: datetime) -> bool:
    """Whether the balance that is stored is that of the instant."""
    if account is None:
        return True
    since, until = account.since or EARLIEST, account.next_at or FOREVER
    return since <= at < until


def _hard(rule: Rule, subject: Subject) -> bool:
    """Whether a database may be at a loss: months after an instant, days without a beginning."""
    for leaf in leaves(rule):
        if isinstance(leaf, Then) and leaf.within.exact is None:
            return bool(subject.occasions.get(leaf.first.kind))
        if isinstance(leaf, Did) and leaf.measure in ("day", "week"):
            return bool(subject.occasions.get(leaf.what.kind))
    return False


def ranked(rule: Rule, people: Sequence[Subject]) -> Rule:
    """The rule with the cut-offs of its rankings among these people."""

    def by_value(leaf: Leaf) -> Rule:
        if not isinstance(leaf, Top):
            return leaf
        get = getter(find(leaf.field))
        return at_cutoff(leaf, among(leaf, map(get, people)))

    return replaced(rule, by_value)


def records(subject: Subject) -> Iterator[object]:
    """What a storage holds of a subject."""
    tenant, owner = subject.customer.tenant, subject.customer.id
    moment = INSTANTS[0]
    yield subject.customer
    yield subject.metrics
    if subject.account is not None:
        yield subject.account
    yield from subject.tiers
    if subject.score is not None:
        yield subject.score
    for tag in subject.tags:
        yield Tag(tenant=tenant, customer_id=owner, fingerprint=tag, tag=tag, tagged_at=moment)
    for kept_out, segments in ((False, subject.memberships), (True, subject.kept_out)):
        for segment in segments:
            yield Membership(
                tenant=tenant, segment_id=segment, customer_id=owner, added_at=moment,
                kept_out=kept_out,
            )  # fmt: skip
    for of_kind in subject.occasions.values():
        yield from of_kind
    yield from consent_facts(subject)


def consent_facts(subject: Subject) -> Iterator[Consent]:
    """Facts of which the last in time says what holds; at one instant, the withdrawal."""
    tenant, owner, at = subject.customer.tenant, subject.customer.id, INSTANTS[0]
    for n, ((purpose, channel), until) in enumerate(subject.consents.items()):
        granted = until is not None
        ends = until if until != FOREVER else None
        # A withdrawal overrules a grant of its instant, whichever was written first, and of two
        # grants the longer one holds.
        tie = [("1", at, True, None, at if granted else None)]
        tie += [] if granted else [("4", at, True, None, None)]
        # What is said later than any rule is asked does not count yet.
        late = ("5", INSTANTS[-1] + _EARLIER, not granted, None, None)
        facts = [
            ("2", at, granted, None, ends), *tie, late,
            ("3", at - _EARLIER, not granted, None, None),
            # A withdrawal at another address leaves the rest; one for all goes for each.
            ("6", at, False, "elsewhere", None), ("7", at - _EARLIER, True, "there", None),
            # What was only asked is no word.
            ("8", at, None, None, None), ("9", at - _EARLIER, None, "there", None),
        ]  # fmt: skip
        for order, moment, says, address, expires in facts:
            yield Consent(
                tenant=tenant,
                id=f"{owner}-{n}-{order}",
                customer_id=owner,
                purpose=purpose,
                channel=channel,
                granted=says,
                event={True: "given", False: "withdrawn", None: "requested"}[says],
                address_key=address,
                expires_at=expires,
                source="test",
                occurred_at=moment,
                recorded_at=moment,
            )
