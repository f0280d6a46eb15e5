"""Finding customers by a fragment: writing their tokens, and reading them back.

A search reads a bounded number of rows however many customers there are. Where more fit
than that, the newest are looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import attrs

from crmkit.customers import tokens
from crmkit.customers.tokens import Ask, Hasher, Query
from crmkit.errors import Erased, NotFound
from crmkit.model import Customer, SearchToken, Tag
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_PAGES: Final = (50, 450)  # rows of the index: most lists are short
_ROWS_MAX: Final = sum(_PAGES)  # for one token
_PROFILES: Final = (25, 100, 250)  # read at once; a few sizes, for each is a statement
_TOKENS: Final = 128  # sets of tokens are padded to multiples of this, for the same reason
_ID_MAX: Final = 64


@attrs.frozen
class Hit:
    """A customer whom a search found; 1.0 is a perfect `score`.

    `matched` is the field that fits best: name, email, phone, instagram, tag or id.
    """

    customer: Customer
    score: float
    matched: str


# --- writing ---


def index(uow: UnitOfWork, runtime: Runtime, customer: Customer) -> None:
    """Store the tokens of a customer who is new."""
    _store(uow, runtime, customer.id, _hashes(runtime, tokens.of_profile(customer)))


def reindex(uow: UnitOfWork, runtime: Runtime, before: Customer, after: Customer) -> None:
    """Store what a change of a profile does to its tokens."""
    if runtime.is_rotating:
        repair(uow, runtime, after)
        return
    old = _hashes(runtime, tokens.of_profile(before))
    new = _hashes(runtime, tokens.of_profile(after))
    if old != new:
        # What is to be added goes too: an older version may have left it there.
        uow.remove(SearchToken, customer_id=after.id, fingerprint=tuple(sorted(old ^ new)))
        _store(uow, runtime, after.id, new - old)


def index_tags(uow: UnitOfWork, runtime: Runtime, customer_id: str, tags: Iterable[str]) -> None:
    """Store the tokens of tags; tags that differ in case alone share one."""
    for fingerprint in sorted(_hashes(runtime, map(tokens.of_tag, tags))):
        uow.add_if_absent(_row(runtime, customer_id, fingerprint))


def unindex_tags(uow: UnitOfWork, runtime: Runtime, customer_id: str, tags: Iterable[str]) -> None:
    """Remove the tokens of tags that are gone, but for those that another tag shares."""
    left = {tokens.of_tag(t.tag) for t in uow.find(Tag, customer_id=customer_id)}
    former = {tokens.of_tag(t) for t in tags} - left
    gone = {h for hasher in _hashers(runtime) for h in map(hasher.whole, former)}
    if gone:
        uow.remove(SearchToken, customer_id=customer_id, fingerprint=tuple(sorted(gone)))


def repair(uow: UnitOfWork, runtime: Runtime, customer: Customer) -> bool:
    """Make the stored tokens of a customer what they should be; tells whether they were not."""
    labels = (tokens.of_tag(t.tag) for t in uow.find(Tag, customer_id=customer.id))
    wanted = _hashes(runtime, {*tokens.of_profile(customer), *labels})
    stored = {t.fingerprint for t in uow.find(SearchToken, customer_id=customer.id)}
    if wanted == stored:
        return False
    uow.remove(SearchToken, customer_id=customer.id)
    _store(uow, runtime, customer.id, wanted)
    return True


def _hashes(runtime: Runtime, of: Iterable[str]) -> set[str]:
    return set(map(_hashers(runtime)[0].whole, of))


def _hashers(runtime: Runtime) -> list[Hasher]:
    """What makes the forms in which tokens may be stored; the first is that of now."""
    # The key of all tokens is a keyed hash itself: the host's key is asked once, not often.
    return [Hasher(key) for key in runtime.indexes("search", "tokens")]


def _store(uow: UnitOfWork, runtime: Runtime, customer_id: str, hashes: Iterable[str]) -> None:
    uow.add_many([_row(runtime, customer_id, h) for h in sorted(hashes)])


def _row(runtime: Runtime, customer_id: str, fingerprint: str) -> SearchToken:
    return SearchToken(tenant=runtime.tenant, customer_id=customer_id, fingerprint=fingerprint)


# --- reading ---


def search(uow: UnitOfWork, runtime: Runtime, text: str, limit: int) -> tuple[Hit, ...]:
    """The best hits, the newest customers first among equals."""
    query = Query.of(text)
    if not query.is_enough:
        return ()
    known = _known(uow, runtime, query, text)
    if known:
        return known
    readers = [_Reader(uow, hasher) for hasher in _hashers(runtime)]
    tagged = _having_all(readers, [Ask(tokens.of_tag(query.text))])
    meant: dict[str, None] = {}
    for reading in dict.fromkeys(tokens.readings(query)):
        if len(meant) < _PROFILES[-1]:
            meant |= _having_all(readers, reading)
    meant |= tagged
    hits = _hits(uow, query, meant, tags=bool(tagged))
    for some in tokens.misspelt(query) if len(hits) < limit else ():
        near = [c for r in readers for c in r.having_any(some) if c not in meant]
        meant |= dict.fromkeys(near)
        hits += _hits(uow, query, near)
        if len(hits) >= limit:
            break
    hits.sort(key=lambda h: (h.score, h.customer.id), reverse=True)
    return tuple(hits[:limit])


def _having_all(readers: Sequence[_Reader], asked: Sequence[Ask]) -> dict[str, None]:
    return dict.fromkeys(c for reader in readers for c in reader.having_all(asked))


class _Reader:
    """Finds customers by their tokens."""

    def __init__(self, uow: UnitOfWork, hasher: Hasher) -> None:
        self._uow = uow
        self._hasher = hasher

    def having_all(self, asked: Sequence[Ask]) -> list[str]:
        """Customers who may fit everything asked.

        They are all in the list of any one token. So the first list that is short enough
        to be read to its end will do; if none is, who is in most lists comes first.
        """
        votes: Counter[str] = Counter()
        for ask in asked:
            found = self._whole(ask.token) if ask.whole else self._beginning(ask.token)
            if len(found) < _ROWS_MAX:
                return found
            votes.update(set(found))
        return sorted(votes, key=lambda c: (votes[c], c), reverse=True)

    def having_any(self, wanted: Sequence[str]) -> list[str]:
        """Customers who have any of the tokens, the newest first; the first in the index."""
        hashes = [self._hasher.whole(t) for t in wanted]
        rows = self._uow.find(
            SearchToken,
            fingerprint=_padded(hashes, -(-len(hashes) // _TOKENS) * _TOKENS),
            # In the order of the index: in another, PostgreSQL may walk all customers.
            order=("fingerprint", "customer_id"),
            limit=_ROWS_MAX,
        )
        return sorted({r.customer_id for r in rows}, reverse=True)

    def _whole(self, token: str) -> list[str]:
        """Customers who have that token, the newest first."""
        rows = self._uow.find(
            SearchToken,
            fingerprint=self._hasher.whole(token),
            order=("customer_id",),
            descending=True,
            limit=_ROWS_MAX,
        )
        return [r.customer_id for r in rows]

    def _beginning(self, token: str) -> list[str]:
        """Customers who have a token that begins so, in the order of the index."""
        start = self._hasher.beginning(token)
        place, found = (start, ""), list[str]()
        for limit in _PAGES:
            rows = self._uow.find(
                SearchToken, order=("fingerprint", "customer_id"), after=place, limit=limit
            )
            fitting = [r.customer_id for r in rows if r.fingerprint.startswith(start)]
            found += fitting
            if len(fitting) < limit:
                break
            place = (rows[-1].fingerprint, rows[-1].customer_id)
        return found


def _known(uow: UnitOfWork, runtime: Runtime, query: Query, text: str) -> tuple[Hit, ...]:
    """The customer whose id or whole e-mail address the text is: nobody else is meant."""
    if query.email:
        prints = runtime.indexes("email", query.email)
        return tuple(Hit(c, 1.0, "email") for _, c in uow.linked(("email",), prints))
    if not text.isascii() or len(text) > _ID_MAX:
        return ()
    try:
        return (Hit(runtime.customer(uow, text), 1.0, "id"),)
    except (NotFound, Erased):
        return ()


def _hits(
    uow: UnitOfWork,
    query: Query,
    ids: Collection[str],
    *,
    tags: bool = False,
) -> list[Hit]:
    """Those of the first customers who fit, and how well they do."""
    # Ranking needs rapidfuzz, which `import crmkit` should not pay for.
    from crmkit.customers.ranking import fit

    some = list(ids)[: _PROFILES[-1]]
    if not some:
        return []
    wanted = _padded(some, next(n for n in _PROFILES if len(some) <= n))
    labels: dict[str, list[str]] = {}
    for tag in uow.find(Tag, customer_id=wanted) if tags else ():
        labels.setdefault(tag.customer_id, []).append(tag.tag)
    hits = []
    for customer in uow.find(Customer, id=wanted):
        found = fit(query, customer, labels.get(customer.id, ()))
        if found:
            hits.append(Hit(customer, found.score, found.field))
    return hits


def _padded(values: Sequence[str], size: int) -> tuple[str, ...]:
    """The values, the last one repeated up to that size."""
    return (*values, *[values[-1]] * (size - len(values)))
