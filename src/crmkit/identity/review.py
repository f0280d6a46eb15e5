"""Duplicates among stored customers: found all at once or one by one, shown, dismissed.

A pair keeps the two ids that were compared. Who they are by now is looked up when the pair
is shown, so that merging and undoing a merge need not touch it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

import attrs

from crmkit.customers import blocking, traits
from crmkit.customers.restriction import restricted_among
from crmkit.customers.traits import Traits
from crmkit.errors import InvalidInput
from crmkit.identity import lookup, merges, scanning
from crmkit.identity import matcher as judging
from crmkit.identity.clustering import Link
from crmkit.identity.matcher import Judgement, Knowledge, Match, Matcher
from crmkit.identity.merges import Words
from crmkit.identity.scanning import Candidates, Lessons, Progress
from crmkit.identity.weights import Weights
from crmkit.model import Customer, MatchModel, MatchPair, MatchToken, Merge, Page, Redirect
from crmkit.model.document import text
from crmkit.model.page import checked_limit, paged, position
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_REMEMBERED: Final = timedelta(minutes=1)
_PPM: Final = 1_000_000
_BY_SCORE: Final = ("score_ppm", "one_id", "other_id")
_PAGE: Final = 2_000
_BATCH: Final = 500
_GROWN: Final = 4  # so many times the customers it was fitted to, and a model is fitted anew
_BY_NAME: Final = 0.1  # how much surer a scan must be where nothing but a name speaks
_WORDS_MIN: Final = 5  # a rarer word counts as one that nobody else bears
_WORDS_MAX: Final = 5_000


@attrs.frozen
class Duplicate:
    """Two customers who may be one person, and why.

    `score` is the probability by which they were found; `match` judges them as they are now.
    """

    customer: Customer
    other: Customer
    score: float
    match: Match


@attrs.frozen
class Scan:
    """What a scan of all customers found.

    `clusters` are the customers who are one person each, by their ids, as far as the scan
    is sure; `review` is how many further pairs wait for somebody to look at them.
    """

    customers: int
    compared: int
    clusters: tuple[tuple[str, ...], ...] = attrs.field(repr=False)
    links: int
    review: int
    model_version: int


# --- what is known ---


def matcher(uow: UnitOfWork, rt: Runtime) -> Matcher:
    """What judges profiles, by the weights that were fitted last."""
    key = ("matcher", rt.tenant, rt.settings.identity)
    now = rt.now()
    remembered = rt.memory.get(key)
    if remembered is not None and now - remembered[0] < _REMEMBERED:
        ready: Matcher = remembered[1]
        return ready
    model = uow.get(MatchModel, rt.tenant)
    if remembered is not None and remembered[1].version == (model.version if model else 0):
        ready = remembered[1]
    else:
        ready = Matcher(rt.settings.identity, _knowledge(rt, model))
    rt.memory[key] = (now, ready)
    return ready


def _knowledge(rt: Runtime, model: MatchModel | None) -> Knowledge:
    if model is None:
        return judging.shipped()
    words, short = dict(model.common["words"]), frozenset(model.common["short_forms"])
    hasher = blocking.Hasher(rt.fingerprint("match", "words"))
    return Knowledge(
        Weights.from_document(model.weights),
        lambda word: words.get(hasher(word), 1),
        model.customers,
        lambda a, b: hasher("|".join(sorted((a, b)))) in short,
        model.version,
    )


def compare(uow: UnitOfWork, rt: Runtime, judge: Matcher, customer_id: str, other_id: str) -> Match:
    """How probable it is that two customers are one person."""
    one, other = rt.customer(uow, customer_id), rt.customer(uow, other_id)
    return _judged(uow, rt, judge, one, other).match()


def _judged(
    uow: UnitOfWork, rt: Runtime, judge: Matcher, one: Customer, other: Customer
) -> Judgement:
    crowded = lookup.crowds(uow, rt, judge, one, other)
    return judge.judge(traits.of_customer(one), traits.of_customer(other), crowded=crowded)


# --- pairs ---


def _probability(score: object) -> float:
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise InvalidInput("expected a probability from 0 to 1", field="min_score")
    return float(score)


def _pair(rt: Runtime, a: str, b: str, score: float, **also: Any) -> MatchPair:
    low, high = sorted((a, b))
    return MatchPair(
        tenant=rt.tenant,
        one_id=low,
        other_id=high,
        score_ppm=round(score * _PPM),
        found_at=rt.now(),
        **also,
    )


def note(uow: UnitOfWork, rt: Runtime, customer_id: str, others: Mapping[str, float]) -> None:
    """Keep for review who a new customer may be, beside somebody new."""
    least = rt.settings.identity.maybe
    uow.add_many(_pair(rt, customer_id, o, p) for o, p in others.items() if p >= least)


def dismiss(rt: Runtime, customer_id: str, other_id: str) -> None:
    """Say that two customers are two persons."""

    def work(uow: UnitOfWork) -> None:
        one, other = rt.customer(uow, customer_id), rt.customer(uow, other_id)
        if one.id == other.id:
            raise InvalidInput("expected two customers; this is one", field="other_id")
        # For all that each was merged from, so that it holds when a merge is undone.
        for a in _ids(uow, one.id):
            uow.put_many(_pair(rt, a, b, 0.0, dismissed=True) for b in _ids(uow, other.id))

    rt.write(work)


def _ids(uow: UnitOfWork, customer_id: str) -> tuple[str, ...]:
    """The ids that stand for a customer."""
    return (customer_id, *(r.id for r in uow.find(Redirect, customer_id=customer_id)))


def duplicates(
    rt: Runtime,
    judge: Callable[[UnitOfWork], Matcher],
    min_score: float | None,
    limit: int,
    after: str | None,
) -> Page[Duplicate]:
    """A page of pairs, the likeliest first."""
    least = rt.settings.identity.maybe if min_score is None else _probability(min_score)
    limit, start = checked_limit(limit), position(after, (int, str, str))
    found: list[tuple[MatchPair, Duplicate]] = []
    with rt.read() as uow:
        apart = Dismissed(uow, rt)
        seen: set[tuple[str, str]] = set()
        while len(found) <= limit:
            page = uow.find(
                MatchPair,
                dismissed=False,
                order=_BY_SCORE,
                descending=True,
                after=start,
                limit=limit + 1,
            )
            for pair in page:
                if pair.score_ppm < least * _PPM:
                    break
                shown = _shown(uow, judge(uow), pair, apart, seen)
                if shown is not None:
                    found.append((pair, shown))
            if len(page) <= limit or page[-1].score_ppm < least * _PPM:
                break
            start = (page[-1].score_ppm, page[-1].one_id, page[-1].other_id)
    cut = paged(found, limit, lambda f: (f[0].score_ppm, f[0].one_id, f[0].other_id))
    return Page(tuple(shown for _, shown in cut.items), cut.next)


def _shown(
    uow: UnitOfWork,
    judge: Matcher,
    pair: MatchPair,
    apart: Dismissed,
    seen: set[tuple[str, str]],
) -> Duplicate | None:
    """The pair as it stands now; None if it is one customer by now, or two by decision."""
    low, high = sorted((apart.who(pair.one_id), apart.who(pair.other_id)))
    if low == high or (low, high) in seen or apart.forbid(low, high):
        return None
    seen.add((low, high))
    one, other = uow.get(Customer, low), uow.get(Customer, high)
    if one is None or other is None:
        return None
    found = _judged(uow, apart.rt, judge, one, other).match()
    return Duplicate(one, other, pair.score_ppm / _PPM, found)


class Dismissed:
    """Who was said not to be one person, or was parted again, whatever was merged since."""

    def __init__(self, uow: UnitOfWork, rt: Runtime) -> None:
        self._uow, self.rt = uow, rt
        self._who: dict[str, str] = {}
        self._pairs = {
            tuple(sorted((self.who(a), self.who(b))))
            for a, b in uow.stream_rows(
                MatchPair, ("one_id", "other_id"), page=_PAGE, dismissed=True
            )
        }
        self._pairs |= {
            tuple(sorted((self.who(kept), self.who(dropped))))
            for kept, dropped, undone in uow.stream_rows(
                Merge, ("kept_id", "dropped_id", "undone_at"), page=_PAGE
            )
            if undone
        }

    def who(self, customer_id: str) -> str:
        """Who the id stands for by now; they may have been erased."""
        if customer_id not in self._who:
            self._who[customer_id] = self.rt.led(self._uow, customer_id)
        return self._who[customer_id]

    def forbid(self, a: str, b: str) -> bool:
        """Whether these two are two persons by decision."""
        return (min(a, b), max(a, b)) in self._pairs

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._pairs)


def are_apart(uow: UnitOfWork, one: str, other: str) -> bool:
    """Whether two customers are two persons by decision: dismissed, or parted again."""
    low, high = _ids(uow, one), _ids(uow, other)
    return any(
        uow.count(MatchPair, one_id=a, other_id=b, dismissed=True)
        or any(m.undone_at for m in uow.find(Merge, kept_id=a, dropped_id=b))
        for a, b in ((low, high), (high, low))
    )


def join(
    uow: UnitOfWork,
    rt: Runtime,
    judge: Matcher,
    one: str,
    other: str,
    least: float,
    said: Words,
    *,
    unasked: bool = False,
) -> Merge | None:
    """Merge two customers, into the older, if they are one person with that probability.

    Something that is the person's own must agree, and where nobody asked for it, the names too.
    Whose data is only stored is left for somebody to look at.
    """
    a, b = uow.get(Customer, one), uow.get(Customer, other)
    if a is None or b is None or a.id == b.id:
        return None
    found = _judged(uow, rt, judge, a, b)
    if found.against or not found.decides or found.probability < least:
        return None
    if unasked and not found.is_beyond_doubt:
        return None
    if are_apart(uow, a.id, b.id) or restricted_among(uow, (a.id, b.id)):
        return None
    keep, drop = sorted((a, b), key=lambda c: (c.created_at, c.id))
    return merges.merge(uow, rt, keep.id, drop.id, rt.new_id(), said)


def merge_all(
    rt: Runtime,
    judge: Callable[[UnitOfWork], Matcher],
    min_score: float,
    actor: str | None,
    progress: Callable[[int], None] | None,
) -> tuple[Merge, ...]:
    """Merge the open pairs from that probability on, the likeliest first."""
    if not _probability(min_score):
        raise InvalidInput("expected a probability above 0, or anybody would do", field="min_score")
    said = Words("duplicate", None if actor is None else text(actor, field="actor"), rt.now())
    done: list[Merge] = []
    after: tuple[Any, ...] | None = None
    while True:
        with rt.read() as uow:
            page = uow.find(
                MatchPair, dismissed=False, order=_BY_SCORE, descending=True, after=after,
                limit=_BATCH,
            )  # fmt: skip
        for pair in page:
            if pair.score_ppm < min_score * _PPM:
                return tuple(done)
            made = rt.write(partial(_joined, rt=rt, judge=judge, pair=pair, said=said,
                                    least=min_score))  # fmt: skip
            done += [made] if made else []
            if progress is not None and made:
                progress(len(done))
        if len(page) < _BATCH:
            return tuple(done)
        after = tuple(getattr(page[-1], f) for f in _BY_SCORE)


def _joined(
    uow: UnitOfWork,
    rt: Runtime,
    judge: Callable[[UnitOfWork], Matcher],
    pair: MatchPair,
    said: Words,
    least: float,
) -> Merge | None:
    one, other = rt.led(uow, pair.one_id), rt.led(uow, pair.other_id)
    # Named as a whole, the two may be less alike than the records that made the pair.
    return None if one == other else join(uow, rt, judge(uow), one, other, least, said)


# --- all at once ---


@attrs.frozen(repr=False)
class _Base:
    """All customers of a tenant, numbered."""

    ids: Sequence[str]
    candidates: Candidates
    lessons: Lessons


def _read(rt: Runtime, progress: Progress | None) -> _Base:
    """All customers as they are compared, and the pairs to compare."""
    fields = (*traits.FIELDS, "aliases")
    ids: list[str] = []
    people: list[Traits] = []
    with rt.read() as uow:
        total = uow.count(Customer)
        for row in uow.stream_rows(Customer, ("id", *fields), page=_PAGE):
            ids.append(row[0])
            given = dict(zip(traits.FIELDS, row[1:-1], strict=True))
            people.append(traits.of_fields(given, row[-1]))
            if progress is not None and len(ids) % _PAGE == 0:
                progress("read", len(ids), total)
        numbers = {customer_id: n for n, customer_id in enumerate(ids)}
        tokens = (
            (token, numbers[customer_id])
            for token, customer_id in uow.stream_rows(
                MatchToken, ("fingerprint", "customer_id"), page=5 * _PAGE
            )
            if customer_id in numbers
        )
        found = scanning.candidates(people, tokens)
    matching = rt.settings.identity
    return _Base(
        ids, found, scanning.learned(found, partial(judging.given_names, matching), matching.fields)
    )


def fit(rt: Runtime, progress: Progress | None) -> MatchModel:
    """Estimate the weights anew, and store them."""
    base = _read(rt, progress)
    kinds, of = scanning.patterns(base.candidates, base.lessons.comparator, progress)
    return _stored(rt, base, scanning.fitted(kinds, of, base.lessons.comparator.details))


def _stored(rt: Runtime, base: _Base, fitted: Weights) -> MatchModel:
    hasher = blocking.Hasher(rt.fingerprint("match", "words"))
    lessons = base.lessons
    common = [(w, n) for w, n in lessons.words.most_common(_WORDS_MAX) if n >= _WORDS_MIN]
    learned = {
        "words": {hasher(word): n for word, n in common},
        "short_forms": sorted(hasher("|".join(pair)) for pair in lessons.short_forms),
    }

    def work(uow: UnitOfWork) -> MatchModel:
        before = uow.get(MatchModel, rt.tenant, lock=True)
        model = MatchModel(
            tenant=rt.tenant,
            id=rt.tenant,
            version=before.version + 1 if before else 1,
            customers=len(base.ids),
            weights=fitted.document(),
            common=learned,
            fitted_at=rt.now(),
        )
        uow.put(model)
        return model

    stored = rt.write(work)
    rt.memory.clear()
    return stored


def scan(rt: Runtime, progress: Progress | None) -> Scan:
    """Find all duplicates, and keep the pairs for review."""
    base = _read(rt, progress)
    found, compare = base.candidates, base.lessons.comparator
    kinds, of = scanning.patterns(found, compare, progress)
    with rt.read() as uow:
        model = uow.get(MatchModel, rt.tenant)
        apart = _apart(Dismissed(uow, rt), base.ids)
    if model is None or len(base.ids) > _GROWN * model.customers:
        # What few guests taught is of no use to many.
        model = _stored(rt, base, scanning.fitted(kinds, of, compare.details))
    weights = Weights.from_document(model.weights).with_details(compare.details)
    likely = scanning.likely(found, kinds, of, weights)
    matching = rt.settings.identity
    links = list(
        scanning.links(
            found,
            likely,
            scanning.scorer(compare, weights, by_name=matching.same + _BY_NAME),
            join=matching.same,
            apart=apart,
            progress=progress,
        )
    )
    groups = scanning.clusters(links)
    cluster_of = {n: i for i, group in enumerate(groups) for n in group}
    open_ = _open(found, likely, cluster_of, apart, matching.maybe)
    review = _keep(rt, base.ids, links, open_)
    clusters = tuple(tuple(sorted(base.ids[n] for n in group)) for group in groups)
    return Scan(len(base.ids), len(found.pairs), clusters, len(links), review, model.version)


def _apart(dismissed: Iterable[tuple[str, ...]], ids: Sequence[str]) -> dict[int, set[int]]:
    pairs = list(dismissed)
    wanted = {i for pair in pairs for i in pair}
    numbers = {customer_id: n for n, customer_id in enumerate(ids) if customer_id in wanted}
    apart: dict[int, set[int]] = {}
    for one, other in pairs:
        if one in numbers and other in numbers:
            apart.setdefault(numbers[one], set()).add(numbers[other])
            apart.setdefault(numbers[other], set()).add(numbers[one])
    return apart


def _open(
    found: Candidates,
    likely: Iterable[tuple[float, int]],
    cluster_of: Mapping[int, int],
    apart: Mapping[int, set[int]],
    least: float,
) -> Iterator[tuple[int, int, float]]:
    """Pairs that are likely but were not joined: somebody should look at them."""
    for score, pair in likely:
        if score < least:
            continue
        a, b = found.split(pair)
        joined = a in cluster_of and cluster_of[a] == cluster_of.get(b)
        if not joined and b not in apart.get(a, ()):
            yield a, b, score


def _keep(
    rt: Runtime,
    ids: Sequence[str],
    links: Sequence[Link],
    open_: Iterable[tuple[int, int, float]],
) -> int:
    """Replace the pairs of earlier scans; what was dismissed stays. Returns how many are open."""
    rt.write(lambda uow: uow.remove(MatchPair, dismissed=False))
    rows = [_pair(rt, ids[link.a], ids[link.b], link.score) for link in links]
    joined = len(rows)
    rows += [_pair(rt, ids[a], ids[b], score) for a, b, score in open_]
    for start in range(0, len(rows), _BATCH):
        rt.write(partial(_put, rows=rows[start : start + _BATCH]))
    return len(rows) - joined


def _put(uow: UnitOfWork, rows: Sequence[MatchPair]) -> None:
    ids = tuple({r.one_id for r in rows})
    taken = {(p.one_id, p.other_id) for p in uow.find(MatchPair, one_id=ids, dismissed=True)}
    uow.put_many(r for r in rows if (r.one_id, r.other_id) not in taken)
