"""Matching of any records: stable, symmetric, and of any text."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crmkit import CRMService, InvalidInput, MemoryStorage, Settings
from crmkit.model import Customer
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock

shared_storage = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
_tenants = (f"matching {n}" for n in itertools.count())

IDENTIFYING = ("user_id", "external_ids", "email", "phone", "instagram")


def fresh(storage: Storage) -> CRMService:
    return CRMService(storage, settings=Settings(region="IT"), tenant=next(_tenants))


# --- records that resemble each other ---

_NAMES = ("Marco", "Giulia", "Rossi", "Giuseppe", "Beppe", "Russo", "Иван", "Ivan", "M.", "Ana")
_ONE = st.sampled_from(_NAMES)
_SEVERAL = st.lists(_ONE, min_size=1, max_size=3).map(" ".join)
_NAMED = (
    st.fixed_dictionaries({"name": _SEVERAL})
    | st.fixed_dictionaries({}, optional={"first_name": _SEVERAL, "last_name": _ONE})
    | st.fixed_dictionaries({}, optional={"nickname": _ONE})
)
_KNOWN = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(
            ["marco.rossi@gmail.com", "marcorossi84@gmial.com", "casa@mail.com",
             "rossi@mail.com", "M.Rossi+x@mail.com"]
        ),
        "phone": st.sampled_from(
            ["+39 347 1234567", "347 1234568", "+40722123456", "0722 123 456"]
        ),
        "instagram": st.sampled_from(["@rossi", "@marco.rossi84"]),
        "user_id": st.sampled_from(["1", "2"]),
        "external_ids": st.just({"pos": "1"}),
        "birth_date": st.sampled_from(
            ["1984-03-07", "1984-07-03", "1984-01-01", "1958-02-11", "1970-01-01"]
        ),
        "city": st.sampled_from(["Roma", "Rome", "Milano"]),
        "gender": st.sampled_from(["F", "M"]),
        "custom": st.just({"card": "Q-17-88"}),
    },
)  # fmt: skip
RECORDS = st.tuples(_NAMED, _KNOWN).map(lambda parts: parts[0] | parts[1]).filter(bool)


@given(known=st.lists(RECORDS, max_size=6), record=RECORDS)
@shared_storage
def test_the_same_record_again_is_the_same_customer(
    storage: Storage, known: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    """Whoever is there already, where it has any identifier."""
    assume(any(f in record for f in IDENTIFYING))
    crm = fresh(storage)
    for other in known:
        crm.find_or_create(other)
    first = crm.find_or_create(record)
    again = crm.identity.resolve(record)
    assert again.customer.id == crm.customers.get(first.id).id
    assert not again.created


@given(known=st.lists(RECORDS, min_size=2, max_size=4), fitted=st.booleans())
@shared_storage
def test_a_comparison_is_symmetric_and_a_probability(
    storage: Storage, known: list[dict[str, Any]], fitted: bool
) -> None:
    """The same probability, evidence and contradiction whichever of the two is named first."""
    crm = fresh(storage)
    ids = crm.identity.resolve_many(known, match=False)
    if fitted:
        crm.identity.fit()
    for one, other in itertools.combinations(ids, 2):
        found = crm.identity.compare(one, other)
        assert crm.identity.compare(other, one) == found
        assert 0 <= found.probability <= 1
        assert found.explain() == crm.identity.compare(other, one).explain()


@given(known=st.lists(RECORDS, min_size=2, max_size=5))
@shared_storage
def test_whoever_contradicts_is_never_joined(storage: Storage, known: list[dict[str, Any]]) -> None:
    """Of two whom a comparison says can never be one, a scan makes no cluster of two."""
    crm = fresh(storage)
    ids = crm.identity.resolve_many(known, match=False)
    groups = [group for group in crm.identity.scan().clusters if len(group) == 2]
    for one, other in groups:
        assert crm.identity.compare(one, other).against is None
    assert {c for group in groups for c in group} <= set(ids)


# --- any text ---

_ATOMS = (
    "a", "Ana", "Pop", " ", "  ", "'", "-", ".", "@", "@mail.com", "+39", "0", "7" * 9, "\u0430",
    "\u0301", "\u202e", "\u200f", "\u200d", "\ufeff", "\U0001f600", "\U0001f468\u200d\U0001f469",
    "\x00", "\x1f", "\x7f", "\ud800", "\udfff", "ß", "İ", "\ufb01", "\u2167", "\ufdfd", "王",
    "\U0001d49c", "e\u0301" * 3, "\u0345", "\t", "\n", "\\", "%", "_", "|", ";--", "<b>", "\u2126",
    "\u212a", "١٢٣", "²", "½", "ª", "\u2028", "A" * 40, "xn--", "\uffff", "\U000e0001",
    "1984-03-07", "IT", "RO", "null",
)  # fmt: skip
_MEGABYTES = (
    "x" * 10**6, "\u0301" * 10**6, "Ana " * 250_000, "\U0001f600" * 10**6, "\ud800" * 10**6,
    "a." * 500_000 + "@mail.com", "a@" + "b." * 500_000 + "com", "9" * 10**6, "\x00" * 10**6,
    "\u202e" * 10**6, "\ufdfa" * 10**6, "İ" * 10**6,
)  # fmt: skip
_TEXTS = (
    "name", "first_name", "last_name", "nickname", "email", "phone", "instagram", "birth_date",
    "city", "address", "postal_code", "country", "language", "occupation", "gender",
    "anniversary", "user_id",
)  # fmt: skip


def hostile() -> Iterator[str]:
    """Two thousand texts that somebody may send."""
    rng = random.Random(5)
    yield from _MEGABYTES
    for _ in range(2_000 - len(_MEGABYTES)):
        yield "".join(rng.choices(_ATOMS, k=rng.randrange(1, 8)))


def _records(text: str) -> Iterator[dict[str, Any]]:
    """The text in each field of a person, one record for each."""
    yield from ({field: text} for field in _TEXTS)
    yield {"name": text, "city": text, "address": text, "email": "ana@mail.com"}
    yield {"first_name": text, "last_name": "Pop", "birth_date": "1984-03-07"}
    yield {"name": "Ana Pop", "custom": {"k": text}, "social_handles": {"k": text}}
    for field in ("custom", "social_handles", "external_ids"):
        yield {"name": "Ana Pop", field: {text: "value"}}
    yield {"name": "Ana Pop", "external_ids": {"k": text}}


def test_any_text_in_any_field_is_understood_or_refused() -> None:
    """A customer or `InvalidInput`, nothing else; those who were made can be scanned.

    A megabyte goes into every field, the other texts into every fourth in turn.
    """
    texts = list(hostile())
    done, errors = 0, []
    for start in range(0, len(texts), 100):
        crm = CRMService(MemoryStorage(), clock=FrozenClock(), settings=Settings(region="IT"))
        for n, text in enumerate(texts[start : start + 100]):
            step = 1 if len(text) > 10_000 else 4
            for record in itertools.islice(_records(text), n % step, None, step):
                try:
                    done += isinstance(crm.identity.resolve(record).customer, Customer)
                except InvalidInput as error:
                    errors.append(error)
        assert crm.identity.scan().customers > 0
    assert done > 2_000
    assert len(errors) > 2_000
    assert max(len(str(error)) for error in errors) < 500
