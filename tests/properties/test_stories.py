"""What facts are worth depends on which they are, never on the order in which they came."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from crmkit.activities import payload as payloads
from crmkit.activities.metrics import NOTHING, Effect, Folded, advance, effect, fold
from crmkit.activities.stories import read, stories
from crmkit.loyalty.earning import worth
from crmkit.model import Activity, Metrics
from crmkit.model.catalogue import evolved
from crmkit.testing.strategies import SETTINGS, activities, histories

KINDS = SETTINGS.kinds_by_name
START = Metrics(tenant="t", customer_id="c")


def fact(call: dict[str, Any], id: str) -> Activity:
    read = payloads.read(KINDS[call["kind"]], call["payload"], SETTINGS)
    return Activity(
        tenant="t",
        id=id,
        customer_id="c",
        kind=call["kind"],
        occurred_at=call["at"],
        recorded_at=call["at"],
        amount_minor=read.amount_minor,
        currency=read.currency,
        story=read.reference or id,
        status=read.status,
        reference=read.reference,
        item=read.item,
        venue=read.venue,
        payload=read.document,
    )


def facts_of(history: Sequence[dict[str, Any]]) -> list[Activity]:
    return [fact(call, f"f{n:03}") for n, call in enumerate(history)]


def _folded(facts: Sequence[Activity]) -> Folded:
    return fold(START, facts, SETTINGS, str)


def _effect(story: Sequence[Activity]) -> Effect:
    return effect(read(story, KINDS), SETTINGS)


def kept(facts: Sequence[Activity], step: Callable[..., Metrics | None] = advance) -> Metrics:
    """The metrics as `track` keeps them: story by story, folded anew where it must be."""
    metrics, told = START, list[Activity]()
    for new in facts:
        story = [f for f in told if new.reference and f.reference == new.reference]
        before = _effect(story) if story else NOTHING
        told.append(new)
        advanced = step(metrics, before, _effect([*story, new]))
        metrics = _folded(told).metrics if advanced is None else advanced
    return metrics


many = settings(max_examples=5 * settings().max_examples)
# Any counter-example will do; making it small takes long.
unshrunk = settings(phases=[Phase.generate], max_examples=10_000, database=None)

_histories = histories().map(facts_of)
_shuffled = _histories.flatmap(lambda facts: st.tuples(st.just(facts), st.permutations(facts)))


@given(_shuffled)
@many
def test_any_order_folds_to_the_same_metrics(orders: tuple[list[Activity], list[Activity]]) -> None:
    one, other = orders
    assert _folded(one) == _folded(other)


@given(_shuffled)
@many
def test_any_order_earns_the_same_points(orders: tuple[list[Activity], list[Activity]]) -> None:
    def points(facts: Sequence[Activity]) -> int:
        return sum(
            worth(read(s, KINDS), SETTINGS.programme.earn_rules).kept for s in stories(facts)
        )

    assert points(orders[0]) == points(orders[1]) >= 0


@given(_histories)
@many
def test_metrics_kept_step_by_step_are_the_fold(facts: list[Activity]) -> None:
    assert kept(facts) == _folded(facts).metrics


def _forgetful(metrics: Metrics, before: Any, after: Any) -> Metrics:
    """Adds and subtracts, and never looks back for the date that takes the lost one's place."""
    changed = {
        name: getattr(metrics, name) + after.sums.get(name, 0) - before.sums.get(name, 0)
        for name in {**before.sums, **after.sums}
    }
    for family, (first, last) in after.spans.items():
        old_first = getattr(metrics, f"first_{family}_at") or first
        old_last = getattr(metrics, f"last_{family}_at") or last
        changed |= {f"first_{family}_at": min(first, old_first)}
        changed |= {f"last_{family}_at": max(last, old_last)}
    return evolved(metrics, **changed)


def test_a_step_that_never_looks_back_fails_the_same_property() -> None:
    """A cancelled first booking must give its date back."""
    wrong = find(
        _histories,
        lambda facts: kept(facts, _forgetful) != _folded(facts).metrics,
        settings=unshrunk,
    )
    assert len(wrong) >= 2


@given(_histories)
@many
def test_a_refund_never_gives_back_more_than_was_taken(facts: list[Activity]) -> None:
    for story in stories(facts):
        left, paid = read(story, KINDS).kept_of_paid
        assert 0 <= left <= paid
        if any(KINDS[f.kind].spends for f in story):
            assert _effect(story).sums.get("spend_minor", 0) >= 0


@given(st.lists(activities(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_stories_part_the_facts(calls: list[dict[str, Any]], rng: random.Random) -> None:
    """Every fact is in one story, and only a shared reference puts two into one."""
    facts = facts_of(calls)
    rng.shuffle(facts)
    told = list(stories(facts))
    assert sorted(f.id for s in told for f in s) == sorted(f.id for f in facts)
    for story in told:
        assert len({f.story for f in story}) == 1
        assert len(story) == 1 or story[0].reference
