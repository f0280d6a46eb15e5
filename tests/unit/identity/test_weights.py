"""How much each agreement weighs, and how that is estimated."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmkit.errors import InvalidInput
from crmkit.identity import comparing as c
from crmkit.identity import names as n
from crmkit.identity import weights as w
from crmkit.identity.comparing import Pattern
from crmkit.identity.weights import CLASSES, MATCH, Weights

SHIPPED = w.shipped()
NOTHING: Pattern = (0,) * len(c.FIELDS)
RARE, COMMON = n.EQUAL * 10, n.EQUAL * 10 + c.RARITIES - 1


def patterns(model: Weights = SHIPPED) -> st.SearchStrategy[Pattern]:
    """Any pattern that a comparison may come to."""
    return st.tuples(*(st.sampled_from([0, *table]) for table in model.tables[MATCH]))


_COUNTS = st.dictionaries(patterns(), st.integers(1, 500), min_size=1, max_size=12)
few = settings(max_examples=15)


def pattern(**levels: int) -> Pattern:
    """A pattern by the names of its fields; those that are not named are silent."""
    assert levels.keys() <= set(c.FIELDS)
    return tuple(levels.get(field, 0) for field in c.FIELDS)


def probability(**levels: int) -> float:
    return w.scorer(SHIPPED)(pattern(**levels))


def close(one: Weights, other: Weights) -> bool:
    """Whether two sets of weights are the same but for rounding."""
    return (
        one.details == other.details
        and dict(one.prior) == pytest.approx(dict(other.prior), abs=1e-8)
        and all(
            dict(x) == pytest.approx(dict(y), abs=1e-8)
            for of in CLASSES
            for x, y in zip(one.tables[of], other.tables[of], strict=True)
        )
    )


def assert_probabilities(model: Weights) -> None:
    assert sum(model.prior.values()) == pytest.approx(1)
    for of in CLASSES:
        assert len(model.tables[of]) == len(c.FIELDS) + len(model.details)
        for table in model.tables[of]:
            assert all(0 < p <= 1 for p in table.values())
            assert sum(table.values()) == pytest.approx(1, abs=2e-4)


# --- what is shipped ---


def test_what_is_shipped_are_probabilities() -> None:
    """Of classes, and of the levels of each field in each class."""
    assert_probabilities(SHIPPED)
    assert_probabilities(w.shipped(["gender", "custom.card"]))


def test_every_level_that_is_compared_has_a_weight() -> None:
    for of in CLASSES:
        assert set(SHIPPED.tables[of][c.NAME]) == set(c.levels_of_names())
        assert set(SHIPPED.tables[of][c.EMAIL]) == {
            c.EQUAL, c.CLOSE, c.LOCAL, c.DIFFERS, c.CROWDED
        }  # fmt: skip
        assert set(SHIPPED.tables[of][c.YEAR]) == {c.EQUAL, c.DIFFERS}


def test_a_detail_is_weighed_like_any_until_it_was_fitted() -> None:
    """And one that is known keeps its weights, in whatever order it is asked for."""
    one = w.shipped(["gender"])
    for of in CLASSES:
        one.tables[of][-1][c.EQUAL] = 0.5  # type: ignore[index]
    both = one.with_details(["language", "gender"])
    assert both.details == ("language", "gender")
    for of in CLASSES:
        assert both.tables[of][:-2] == SHIPPED.tables[of]
        assert both.tables[of][-2] == w.shipped(["gender"]).tables[of][-1]
        assert both.tables[of][-1] == one.tables[of][-1]
    assert close(both.with_details([]), SHIPPED)


# --- using weights ---


@given(patterns())
def test_a_score_is_a_probability(levels: Pattern) -> None:
    """Of any pattern, and the same the second time, when it is remembered."""
    score = w.scorer(SHIPPED)
    assert 0 <= score(levels) <= 1
    assert score(levels) == score(levels) == w.scorer(SHIPPED)(levels)


def test_what_is_missing_says_nothing() -> None:
    """A pattern of zeros is as probable as a match was before; with any weights."""
    other = attrs.evolve(SHIPPED, prior=dict.fromkeys(CLASSES, 0.1) | {MATCH: 0.5})
    assert w.scorer(SHIPPED)(NOTHING) == pytest.approx(SHIPPED.prior[MATCH])
    assert w.scorer(other)(NOTHING) == pytest.approx(0.5)
    assert w.scorer(SHIPPED)(()) == pytest.approx(SHIPPED.prior[MATCH])


@given(patterns())
def test_the_score_is_bayes_theorem_over_all_classes(levels: Pattern) -> None:
    """As one would write it down, multiplied out."""
    likely = {
        of: SHIPPED.prior[of]
        * math.prod(SHIPPED.tables[of][f][level] for f, level in enumerate(levels) if level)
        for of in CLASSES
    }
    expected = likely[MATCH] / sum(likely.values())
    assert w.scorer(SHIPPED)(levels) == pytest.approx(expected, rel=1e-3)


@given(patterns())
def test_the_last_step_is_the_log_odds_of_the_score(levels: Pattern) -> None:
    """The first is that of the prior; what each field adds, together with it, is the last."""
    p = w.scorer(SHIPPED)(levels)
    steps = w.steps(SHIPPED, levels)
    assert len(steps) == len(levels) + 1
    prior = SHIPPED.prior[MATCH]
    assert steps[0] == pytest.approx(math.log2(prior / (1 - prior)))
    added = [after - before for before, after in pairwise(steps)]
    assert math.isfinite(steps[-1])
    if 1e-9 < p < 1 - 1e-9:
        assert steps[0] + sum(added) == pytest.approx(math.log2(p / (1 - p)), abs=1e-4)
    for level, gain in zip(levels, added, strict=True):
        assert level or gain == 0


@pytest.mark.parametrize("field", ["email", "phone", "birth_date", "city", "instagram", "year"])
def test_agreement_speaks_for_one_person_and_difference_against(field: str) -> None:
    """Each field for itself."""
    for_, against = probability(**{field: c.EQUAL}), probability(**{field: c.DIFFERS})
    assert against < probability() < for_


@pytest.mark.parametrize("kind", [n.EQUAL, n.TYPED, n.SHORT, n.GIVEN_ONLY, n.SIMILAR])
def test_the_rarer_a_name_the_more_its_agreement_says(kind: int) -> None:
    scores = [probability(name=kind * 10 + rarity) for rarity in range(c.RARITIES)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 2 * scores[-1]


@pytest.mark.parametrize(
    ("levels", "low", "high"),
    [
        pytest.param({"name": RARE, "email": c.EQUAL, "phone": c.EQUAL}, 0.99, 1, id="one person"),
        pytest.param({"name": n.GIVEN_DIFFERS * 10, "phone": c.EQUAL, "birth_date": c.DIFFERS},
                     0, 0.05, id="relatives"),
        pytest.param({"name": COMMON, "email": c.DIFFERS, "phone": c.DIFFERS}, 0, 0.05,
                     id="namesakes"),
        pytest.param({"name": n.DIFFERENT * 10, "email": c.CROWDED}, 0, 0.05, id="an agency"),
        pytest.param({"name": n.DIFFERENT * 10, "birth_date": c.EQUAL}, 0, 0.1, id="a birthday"),
        pytest.param({"name": n.DIFFERENT * 10, "phone": c.DIFFERS, "email": c.DIFFERS}, 0, 0.01,
                     id="strangers"),
    ],
)  # fmt: skip
def test_each_class_is_told_from_one_person(
    levels: dict[str, int], low: float, high: float
) -> None:
    assert low <= probability(**levels) <= high


def test_a_level_that_no_table_has_ends_nothing() -> None:
    """Weights of another version may lack it."""
    assert 0 < probability(email=9) < 1
    assert all(map(math.isfinite, w.steps(SHIPPED, pattern(email=9))))


# --- as a document ---


def test_weights_come_back_from_their_document() -> None:
    """Through JSON, in any order of its keys, with the tables of details."""
    model = w.shipped(["occupation", "address", "custom.card"])
    text = json.dumps(model.document(), sort_keys=True)
    back = Weights.from_document(json.loads(text))
    assert set(back.details) == set(model.details)
    assert close(back.with_details(model.details), model)
    assert back.document() == json.loads(text)


@given(patterns())
def test_weights_from_a_document_score_the_same(levels: Pattern) -> None:
    back = Weights.from_document(json.loads(json.dumps(SHIPPED.document())))
    assert w.scorer(back)(levels) == pytest.approx(w.scorer(SHIPPED)(levels), rel=1e-3)


def without(document: dict[str, Any], *path: str) -> dict[str, Any]:
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return document


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="empty"),
        pytest.param([], id="a list"),
        pytest.param(without(SHIPPED.document(), "prior"), id="no prior"),
        pytest.param(without(SHIPPED.document(), "prior", MATCH), id="no prior of a class"),
        pytest.param(without(SHIPPED.document(), "levels", "agency"), id="no class"),
        pytest.param(without(SHIPPED.document(), "levels", "agency", "email"), id="no field"),
        pytest.param({"prior": {}, "levels": {MATCH: 3}}, id="a number"),
        pytest.param(SHIPPED.document() | {"prior": dict.fromkeys(CLASSES, "x")}, id="a text"),
    ],
)
def test_another_document_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInput, match="fitted weights"):
        Weights.from_document(document)


# --- estimating weights ---


@few
@given(_COUNTS)
def test_fitted_weights_are_probabilities(counts: dict[Pattern, int]) -> None:
    assert_probabilities(w.fit(counts, SHIPPED, rounds=3))


@few
@given(_COUNTS, st.randoms(use_true_random=False))
def test_the_same_counts_give_the_same_weights(counts: dict[Pattern, int], random: Any) -> None:
    """In whatever order they are told, to the last bit."""
    mixed = list(counts.items())
    random.shuffle(mixed)
    one, other = (w.fit(dict(x), SHIPPED, rounds=3) for x in (counts.items(), mixed))
    assert one == other
    assert one.document() == other.document()


def test_no_counts_leave_the_weights_as_they_are() -> None:
    model = w.shipped(["gender"])
    assert close(w.fit({}, model), model)


def test_a_field_that_is_always_silent_keeps_its_weights() -> None:
    fitted = w.fit({pattern(name=RARE, email=c.EQUAL): 900, NOTHING: 100}, SHIPPED)
    for of in CLASSES:
        for field in (c.PHONE, c.BIRTH, c.CITY, c.HANDLE, c.YEAR):
            assert fitted.tables[of][field] == pytest.approx(SHIPPED.tables[of][field])
        assert fitted.tables[MATCH][c.EMAIL] != pytest.approx(SHIPPED.tables[MATCH][c.EMAIL])


def test_fitting_does_not_change_what_it_starts_from() -> None:
    start = w.shipped(["gender"])
    before = json.dumps(start.document())
    w.fit({(*pattern(name=RARE), c.EQUAL): 100}, start)
    assert json.dumps(start.document()) == before


def drawn(model: Weights, pairs: int, seed: int) -> Counter[Pattern]:
    """Patterns as pairs of these classes have them; one value in five is missing."""
    random = Random(seed)

    def levels(tables: Sequence[Mapping[int, float]]) -> Pattern:
        return tuple(
            0 if random.random() < 0.2 else random.choices([*t], [*t.values()])[0] for t in tables
        )

    classes = random.choices(CLASSES, [model.prior[of] for of in CLASSES], k=pairs)
    return Counter(levels(model.tables[of]) for of in classes)


def changed(of_matches: Mapping[int, Mapping[int, float]], **prior: float) -> Weights:
    """The shipped weights with other tables of matches, and another prior."""
    tables = {of: list(SHIPPED.tables[of]) for of in CLASSES}
    for field, table in of_matches.items():
        tables[MATCH][field] = table
    return Weights(prior, tables)


def test_weights_that_made_the_counts_are_found_again() -> None:
    """From the shipped ones, which are far from them; no pair is labelled."""
    truth = changed(
        {
            c.EMAIL: {c.EQUAL: 0.4, c.CLOSE: 0.05, c.LOCAL: 0.1, c.DIFFERS: 0.44, c.CROWDED: 0.01},
            c.PHONE: {c.EQUAL: 0.5, c.CLOSE: 0.1, c.DIFFERS: 0.39, c.CROWDED: 0.01},
            c.CITY: {c.EQUAL: 0.55, c.DIFFERS: 0.45},
            c.HANDLE: {c.EQUAL: 0.6, c.DIFFERS: 0.4},
        },
        match=0.55, relatives=0.1, namesakes=0.15, agency=0.02, birthday=0.03, strangers=0.15,
    )  # fmt: skip
    fitted = w.fit(drawn(truth, 4000, seed=1), SHIPPED)
    assert dict(fitted.prior) == pytest.approx(dict(truth.prior), abs=0.03)
    for field in (c.EMAIL, c.PHONE, c.BIRTH, c.CITY, c.HANDLE, c.YEAR):
        found, right, was = (m.tables[MATCH][field] for m in (fitted, truth, SHIPPED))
        assert dict(found) == pytest.approx(dict(right), abs=0.04)
        if was != right:
            assert abs(was[c.EQUAL] - right[c.EQUAL]) > 0.2


def test_relatives_are_not_called_a_match_however_many_they_are() -> None:
    """What defines a class is held: else the most frequent pattern would become the match."""
    relatives = pattern(name=n.GIVEN_DIFFERS * 10, phone=c.EQUAL, city=c.EQUAL)
    fitted = w.fit({relatives: 5000, pattern(name=RARE, email=c.EQUAL): 100}, SHIPPED)
    assert w.scorer(fitted)(relatives) < 0.1
    assert w.scorer(fitted)(pattern(name=RARE, email=c.EQUAL)) > 0.5


def test_what_defines_a_class_keeps_half_of_its_shipped_weights() -> None:
    """Of relatives it is the contact they share; of matches nothing is held."""
    fitted = w.fit(
        {
            pattern(name=n.GIVEN_DIFFERS * 10, phone=c.DIFFERS, city=c.EQUAL): 5000,
            pattern(name=RARE, phone=c.DIFFERS, email=c.EQUAL, birth_date=c.EQUAL): 5000,
        },
        SHIPPED,
    )
    held, was = (m.tables["relatives"][c.PHONE] for m in (fitted, SHIPPED))
    assert all(held[level] >= 0.49 * was[level] for level in was)
    free, was = (m.tables[MATCH][c.PHONE] for m in (fitted, SHIPPED))
    assert free[c.EQUAL] < 0.1 * was[c.EQUAL]


def test_few_counts_move_the_weights_little() -> None:
    """The shipped ones are worth as much as fifty pairs."""
    levels = pattern(name=RARE, email=c.EQUAL, phone=c.EQUAL, city=c.DIFFERS)
    moved = [
        SHIPPED.tables[MATCH][c.CITY][c.EQUAL]
        - w.fit({levels: count}, SHIPPED).tables[MATCH][c.CITY][c.EQUAL]
        for count in (5, 50, 5000)
    ]
    assert 0 < moved[0] < 0.1 < moved[1] < 0.5 < moved[2]
