"""What a person takes along makes an equal customer elsewhere, whatever their history was."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crmkit import CRMError, CRMService, MemoryStorage, Settings
from crmkit.gdpr.export import Export
from crmkit.model import Metrics
from crmkit.testing import FrozenClock
from crmkit.testing.strategies import corrections
from tests.merging import COMMANDS, PROFILES, Command, do, merged, people
from tests.populate import values
from tests.schemas import fits

SETTINGS = Settings(region="RO", timezone="Europe/Bucharest")
_pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=2)
_corrections = st.lists(st.tuples(st.integers(0, 9), corrections()), max_size=4)


def service() -> CRMService:
    return CRMService(MemoryStorage(), settings=SETTINGS, clock=FrozenClock())


def taken(crm: CRMService, customer: str) -> dict[str, Any]:
    """The document, through JSON and back."""
    document: dict[str, Any] = json.loads(crm.gdpr.export(customer, "portability").json())
    return document


def told(document: dict[str, Any]) -> dict[str, Any]:
    """What it says, up to ids and to when it was made."""
    (person,) = document["records"]["crm_customers"]
    systems = ("user_id", "external_ids")
    profile = {name: value for name, value in person.items() if name not in systems}
    known_as = {
        name: values
        for name, values in profile.pop("aliases", {}).items()
        if name not in systems and not name.startswith("external:")
    }
    profile |= {"aliases": known_as} if known_as else {}
    return {**document["records"], "crm_customers": [profile]}


def numbers(metrics: Metrics) -> dict[str, Any]:
    """All that is counted but whose it is."""
    return {n: v for n, v in values(metrics).items() if n not in ("tenant", "customer_id")}


def history(
    profiles: list[dict[str, Any]],
    commands: list[Command],
    corrected: list[tuple[int, Any]],
    pairs: list[tuple[int, int]],
) -> tuple[CRMService, list[str]]:
    """A service in which all this happened, and who is there."""
    crm = service()
    ids = people(crm, profiles)
    do(crm, ids, commands)
    facts = [fact for c in ids for fact in crm.activities.timeline(c, limit=1_000)]
    for number, (name, arguments) in corrected if facts else ():
        with suppress(CRMError):
            getattr(crm.activities, name)(facts[number % len(facts)].id, **arguments)
    merged(crm, [(ids[a], ids[b]) for a, b in pairs])
    return crm, [c.id for c in crm.customers.list()]


def objected(crm: CRMService, customer: str) -> dict[tuple[str, str], bool]:
    """The ways to which a customer objects, none of them granted."""
    said = crm.gdpr.export(customer).records.get("crm_objections", ())
    return {(o["purpose"], o["channel"]): False for o in said if "ended_at" not in o}


@given(
    profiles=st.lists(PROFILES, min_size=3, max_size=3),
    commands=COMMANDS,
    corrected=_corrections,
    pairs=_pairs,
)
def test_an_equal_customer(
    profiles: list[dict[str, Any]],
    commands: list[Command],
    corrected: list[tuple[int, Any]],
    pairs: list[tuple[int, int]],
) -> None:
    """Profile, tags, consents, activities and aliases; and the same numbers follow from them.

    Bills that others shared are all the payer's: who the others were is not told.
    """
    crm, there = history(profiles, commands, corrected, pairs)
    schema = Export.schema()
    for customer in there:
        crm.gdpr.lift(customer, reason="settled")  # who is restricted is not taken over
        document = taken(crm, customer)
        assert fits(document, schema)
        elsewhere = service()
        made = elsewhere.gdpr.import_portable(document, same_controller=True, key="once")
        again = elsewhere.gdpr.import_portable(document, same_controller=True, key="once")
        assert again.customer.id == made.customer.id
        assert told(taken(elsewhere, made.customer.id)) == told(document)
        assert elsewhere.activities.verify() == ()
        assert elsewhere.customers.reindex() == 0
        assert len(elsewhere.customers.list()) == 1
        granted = dict(crm.gdpr.consents.state(customer).granted) | objected(crm, customer)
        assert elsewhere.gdpr.consents.state(made.customer.id).granted == granted
        if not any(name == "share" for name, _, _ in commands):
            found = elsewhere.activities.metrics(made.customer.id)
            assert numbers(found) == numbers(crm.activities.metrics(customer))


@given(
    profiles=st.lists(PROFILES, min_size=3, max_size=3),
    commands=COMMANDS,
    pairs=_pairs,
    data=st.data(),
)
def test_a_damaged_document_is_refused_as_a_whole(
    profiles: list[dict[str, Any]],
    commands: list[Command],
    pairs: list[tuple[int, int]],
    data: st.DataObject,
) -> None:
    """Whatever value is replaced by another: a typed error and nothing written, or a customer."""
    crm, there = history(profiles, commands, [], pairs)
    document = taken(crm, there[0])
    places = list(_places(document))
    where = data.draw(st.sampled_from(places))
    junk: st.SearchStrategy[Any] = st.sampled_from(
        [None, True, -1, 0, 2**60, 1e300, "", "\0", "\ud800", "x" * 20_000, [], {}, [[]], {"a": 1}]
    )
    _replace(document, where, data.draw(junk))
    elsewhere = service()
    try:
        elsewhere.gdpr.import_portable(document, same_controller=True, key="k")
    except CRMError:
        assert len(elsewhere.customers.list()) == 0
    else:
        assert elsewhere.activities.verify() == ()
        assert len(elsewhere.customers.list()) == 1


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """The paths of all values in a document."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(item, (*path, key))


def _replace(document: Any, path: tuple[Any, ...], value: Any) -> None:
    *above, last = path
    for key in above:
        document = document[key]
    document[last] = value
