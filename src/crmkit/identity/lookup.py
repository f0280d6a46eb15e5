"""The customer that given data lead to: by identifiers, else by what resembles them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs

from crmkit.customers import blocking, records, traits
from crmkit.customers.blocking import LIMITS, NAME
from crmkit.customers.normalise import Given, Identifier
from crmkit.customers.traits import Traits
from crmkit.identity import learning
from crmkit.identity.comparing import CROWD, EMAIL, EQUAL
from crmkit.identity.comparing import NAME as NAME_FIELD
from crmkit.identity.matcher import Evidence, Judgement, Matcher
from crmkit.model import Customer
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

PERSONAL: Final = frozenset({"email", "phone", "instagram"})
"""Identifiers that several people may use; the others are one person's."""

COMPARED_MAX: Final = 40
"""How many profiles one record is compared with, those first that share most with it."""

_TRAITS: Final = {"email": "emails", "phone": "phones", "instagram": "handles"}
_NAMES: Final = ("name", "first_name", "last_name")


@attrs.frozen
class Found:
    """Whom data lead to, if to anybody, by what, and who else it may be."""

    customer: Customer | None
    matched_by: str | None = None
    evidence: tuple[Evidence, ...] = ()
    probability: float = 1.0
    others: Mapping[str, float] = attrs.field(factory=dict)
    """Other customers who may be meant, by id, and how probable that is."""
    unlinked: bool = False
    """Whether an identifier is not linked to the customer yet."""
    origin: str | None = None
    """Where the identifier that led to the customer belongs, as on the records of a merge."""


Owners = Mapping[Identifier, Mapping[str, tuple[Customer, str | None]]]
"""Whose identifiers are, in order of trust: by id the customer, and the identifier's origin."""


@attrs.frozen(repr=False)
class _Candidate:
    customer: Customer
    judgement: Judgement


def found(uow: UnitOfWork, rt: Runtime, matcher: Matcher, given: Given) -> Found:
    """The customer whom the data mean."""
    asked = [i for i in given.identifiers if _takes_part(i, matcher)]
    owners = _owners(uow, rt, asked)
    plain = _plainly(given, owners)
    if plain is not None:
        customer, kind = plain
        return _outcome(customer, kind, (Evidence(kind, "equal"),), owners)
    known = traits.of_fields(given.fields)
    crowded = _crowded(matcher, known, owners)
    people = {i: c for of in owners.values() for i, (c, _) in of.items()}
    judged = [
        _Candidate(c, matcher.judge(known, traits.of_customer(c), crowded=crowded))
        for c in people.values()
    ]
    best = _best(judged, matcher)
    if best is None and matcher.matching.fuzzy_match:
        judged += _resembling(uow, rt, matcher, known, people, crowded)
        best = _best(judged, matcher)
    others = {
        c.customer.id: c.judgement.probability
        for c in judged
        if c is not best
        and (c.judgement.probability >= matcher.matching.maybe or c.customer.id in people)
    }
    if best is None:
        closest = max(judged, key=lambda c: c.judgement.probability, default=None)
        said = closest.judgement.match().evidence if closest else ()
        return Found(None, None, said, 0.0, others)
    by = next((i.kind for i, of in owners.items() if best.customer.id in of), None)
    said = best.judgement.match().evidence
    result = _outcome(best.customer, by or "profile", said, owners)
    return attrs.evolve(result, probability=best.judgement.probability, others=others)


def _takes_part(identifier: Identifier, matcher: Matcher) -> bool:
    fields = matcher.matching.fields
    return fields is None or identifier.kind not in PERSONAL or identifier.kind in fields


def _owners(uow: UnitOfWork, rt: Runtime, identifiers: Sequence[Identifier]) -> Owners:
    of: dict[Identifier, dict[str, tuple[Customer, str | None]]] = {i: {} for i in identifiers}
    if of:
        prints = {p: i for i in identifiers for p in rt.indexes(i.kind, i.value)}
        kinds = tuple(dict.fromkeys(i.kind for i in identifiers))
        found = uow.linked(kinds, tuple(prints))
        # Whose it was first comes first, by whichever hash it is stored.
        for row, customer in sorted(found, key=lambda pair: pair[0].slot):
            of[prints[row.fingerprint]].setdefault(customer.id, (customer, row.origin))
    return of


def _plainly(given: Given, owners: Owners) -> tuple[Customer, str] | None:
    """The customer whom nobody could doubt: an account's, or an only owner of that name."""
    for identifier, of in owners.items():
        if not of:
            continue
        first, _ = next(iter(of.values()))
        if identifier.kind not in PERSONAL:
            return first, identifier.kind
        if not _named(given):
            # Whose it was first, unless so many use it that it may be an agency's.
            if identifier.kind == "email" and len(of) < CROWD and _agrees(given, first):
                return first, identifier.kind
            continue
        many, mailbox = len(of) > 1, identifier.kind == "email"
        same = [c for c, _ in of.values() if _agrees(given, c, whole=many, filling=mailbox)]
        if len(same) == 1:
            return same[0], identifier.kind
    return None


def _named(given: Given) -> bool:
    return any(given.fields.get(f) for f in _NAMES)


def _agrees(
    given: Given, customer: Customer, *, whole: bool = False, filling: bool = False
) -> bool:
    """Whether nothing that is given differs.

    With `whole` the profile has no more of a name; with `filling` it may lack the birth date.
    """
    fields = given.fields
    told = [f for f in (*_NAMES, "birth_date") if fields.get(f)]
    if filling and customer.birth_date is None:
        told = [f for f in told if f != "birth_date"]
    if any(fields[f] != getattr(customer, f) for f in told):
        return False
    if whole and any(getattr(customer, f) and not fields.get(f) for f in _NAMES):
        return False
    # Two accounts are two persons'.
    account = fields.get("user_id")
    return not account or customer.user_id in (None, account)


def _outcome(
    customer: Customer,
    by: str,
    evidence: tuple[Evidence, ...],
    owners: Owners,
) -> Found:
    others = dict.fromkeys(sorted({i for of in owners.values() for i in of} - {customer.id}), 0.0)
    unlinked = any(customer.id not in of for of in owners.values())
    led = next((of[customer.id] for of in owners.values() if customer.id in of), None)
    origin = led[1] if led else None
    return Found(customer, by, evidence, 1.0, others, unlinked, origin)


def _best(judged: Iterable[_Candidate], matcher: Matcher) -> _Candidate | None:
    """Who is the same person, as far as can be told without asking anybody."""
    sure = [c for c in judged if _is_sure(c.judgement, matcher.matching.same)]
    if any(c.judgement.pattern[NAME_FIELD] for c in sure):
        return max(sure, key=lambda c: c.judgement.probability, default=None)
    # Without names the identifiers are all there is; they come in order of trust.
    return next(iter(sure), None)


def _is_sure(judgement: Judgement, same: float) -> bool:
    if judgement.against is not None:
        return False
    # A mailbox that no crowd uses decides where no name is given, or the names agree.
    nameless = not judgement.pattern[NAME_FIELD]
    mailbox = judgement.pattern[EMAIL] == EQUAL and (nameless or judgement.named)
    return mailbox or (judgement.decides and judgement.probability >= same)


def _resembling(
    uow: UnitOfWork,
    rt: Runtime,
    matcher: Matcher,
    known: Traits,
    seen: Collection[str],
    crowded: Collection[str],
) -> list[_Candidate]:
    """Those who share match tokens with the data, judged."""
    tokens = blocking.sought(rt, blocking.of_traits(known))
    if not tokens:
        return []
    limits = {t: LIMITS[t[0]] + 1 for t in sorted(tokens)}
    shared: dict[str, int] = {}
    namesakes = 0
    for token, ids in uow.sharing(limits).items():
        if token[0] == NAME:
            namesakes = max(namesakes, len(ids) - 1)
        if len(ids) > LIMITS[token[0]]:
            continue
        for customer_id in ids:
            shared[customer_id] = shared.get(customer_id, 0) + 1
    closest = sorted(shared.keys() - set(seen), key=lambda c: (-shared[c], c))[:COMPARED_MAX]
    if not closest:
        return []
    return [
        _Candidate(
            c,
            matcher.judge(known, traits.of_customer(c), namesakes=namesakes, crowded=crowded),
        )
        for c in uow.find(Customer, id=tuple(closest))
    ]


def crowds(
    uow: UnitOfWork, rt: Runtime, matcher: Matcher, one: Customer, other: Customer
) -> frozenset[str]:
    """The contacts of two customers that so many others use that they tell nothing."""
    known = dict.fromkeys((*records.identifiers(one), *records.identifiers(other)))
    owners = _owners(uow, rt, [i for i in known if i.kind in PERSONAL])
    return _crowded(matcher, traits.united(*map(traits.of_customer, (one, other))), owners)


def _crowded(matcher: Matcher, known: Traits, owners: Owners) -> frozenset[str]:
    """The contacts among the data that three or more incompatible names use."""
    found: set[str] = set()
    for identifier, of in owners.items():
        if identifier.kind in PERSONAL and len(of) > 2:
            bearers = [n for c, _ in of.values() for n in traits.of_customer(c).names[:1]]
            values = getattr(known, _TRAITS[identifier.kind])
            found |= learning.crowded(((v, bearers) for v in values), matcher.names)
    return frozenset(found)
