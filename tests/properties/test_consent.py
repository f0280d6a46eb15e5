"""What stands after any words, at any instant, read naively; and what merges make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from hypothesis import find, given, settings
from hypothesis import strategies as st

from crmkit.gdpr.consent_state import Place, Way, lasting, latest, revived, said_by, state
from crmkit.model import Consent
from crmkit.model.catalogue import evolved
from crmkit.testing.clock import START

DAY = timedelta(days=1)
DAYS = range(8)
ADDRESSES = (None, "one", "other")
EVENTS = {"given": True, "confirmed": True, "withdrawn": False, "requested": None, "claimed": None}


@st.composite
def facts(draw: st.DrawFn) -> Consent:
    """A fact of one of a few days, about one of a few addresses."""
    event = draw(st.sampled_from(sorted(EVENTS)))
    day = draw(st.sampled_from(DAYS))
    ends = draw(st.none() | st.integers(1, 4)) if event != "withdrawn" else None
    return Consent(
        tenant="t",
        id=f"{draw(st.integers(0, 10**6)):07}",
        customer_id="c",
        purpose="marketing",
        channel=draw(st.sampled_from(("email", "sms"))),
        granted=EVENTS[event],
        event=event,
        source="form",
        address_key=draw(st.sampled_from(ADDRESSES)),
        expires_at=START + (day + ends) * DAY if ends else None,
        occurred_at=START + day * DAY,
        recorded_at=START + draw(st.sampled_from(DAYS)) * DAY,
    )


HISTORIES = st.lists(facts(), max_size=8, unique_by=lambda f: f.id)


def overrules(later: Consent, word: Consent) -> bool:
    """Whether one word overrules another that was said by then."""
    if later.granted is None or (later.purpose, later.channel) != (word.purpose, word.channel):
        return False
    if later.address_key is not None and later.address_key != word.address_key:
        return False
    if later.occurred_at == word.occurred_at:
        return later.granted is False
    return later.occurred_at > word.occurred_at


def naively(told: Sequence[Consent], at: datetime) -> set[Way]:
    """For what there is consent: a grant that no word overrules and that has not run out."""
    said = [f for f in told if f.occurred_at <= at]
    return {
        (f.purpose, f.channel)
        for f in said
        if f.granted
        and not any(overrules(later, f) for later in said)
        and (f.expires_at is None or at < f.expires_at)
    }


def by_order_of_record(told: Sequence[Consent], at: datetime) -> set[Way]:
    """What one gets who lets the word stand that was recorded last."""
    known = sorted(told, key=lambda f: f.recorded_at)
    last = {
        (f.purpose, f.channel): f for f in known if f.occurred_at <= at and f.granted is not None
    }
    return {way for way, f in last.items() if f.granted}


def exactly(told: Sequence[Consent], at: datetime) -> set[Way]:
    found = state(said_by(told, at), at).granted
    return {way for way, granted in found.items() if granted}


INSTANTS = [START + day * DAY + n * timedelta(microseconds=1) for day in range(13) for n in (-1, 0)]


@settings(max_examples=max(settings().max_examples, 300))
@given(HISTORIES)
def test_consent_at_any_instant_is_what_a_naive_reading_finds(told: list[Consent]) -> None:
    """At each edge and just before it, in whichever order the facts come."""
    for at in INSTANTS:
        assert exactly(told, at) == naively(told, at) == exactly(told[::-1], at)


def test_the_order_of_recording_is_found_out() -> None:
    """Who goes by it gets other answers."""

    def differs(told: list[Consent]) -> bool:
        return any(by_order_of_record(told, at) != naively(told, at) for at in INSTANTS)

    assert find(HISTORIES, differs)


@given(HISTORIES)
def test_until_when_it_holds_is_the_next_change_that_time_makes(told: list[Consent]) -> None:
    """Of rules that ask for consent: the answer before that instant, and at it."""
    until = lasting(told)
    for way, ends in until.items():
        if ends is not None and ends <= INSTANTS[-1]:
            assert not state(told, ends).given(*way)
            assert state(told, ends - timedelta(microseconds=1)).given(*way)


# --- merges ---


def granted_at(told: Sequence[Consent], place: Place) -> bool | None:
    """What the latest word at a place says, one about all addresses included."""
    found = latest(told)
    word = found.get(place) or found.get((place[0], place[1], None))
    return None if word is None else bool(word.granted)


def merge(one: Sequence[Consent], other: Sequence[Consent]) -> list[Consent]:
    """The facts of both, with what a merge withdraws after all of them."""
    at = START + 20 * DAY
    withdrawn = [
        evolved(
            [*one, *other][0], id=f"m{n}", purpose=purpose, channel=channel, address_key=key,
            granted=False, event="withdrawn", expires_at=None, occurred_at=at, recorded_at=at,
        )
        for n, ((purpose, channel, key), _) in enumerate(revived(one, other))
    ]  # fmt: skip
    return [*one, *other, *withdrawn]


def together(one: Sequence[Consent], other: Sequence[Consent]) -> list[Consent]:
    """What one gets who only puts the facts of both together."""
    return [*one, *other]


def makes_permission(
    way: Callable[[Sequence[Consent], Sequence[Consent]], list[Consent]],
    sides: tuple[list[Consent], list[Consent]],
) -> bool:
    """Whether somewhere is a yes that one of them had taken back, or neither given."""
    both = way(*sides)
    for channel in ("email", "sms"):
        for address in ADDRESSES:
            place = ("marketing", channel, address)
            said = [granted_at(side, place) for side in sides]
            if granted_at(both, place) and (False in said or True not in said):
                return True
    return False


SIDES = st.tuples(HISTORIES, HISTORIES)


@settings(max_examples=max(settings().max_examples, 300))
@given(SIDES)
def test_a_merge_never_makes_a_permission(sides: tuple[list[Consent], list[Consent]]) -> None:
    assert not makes_permission(merge, sides)


def test_putting_facts_together_makes_permissions() -> None:
    """Which is found out."""
    assert find(SIDES, lambda sides: makes_permission(together, sides))


@given(SIDES)
def test_a_merge_takes_back_no_more_than_it_must(
    sides: tuple[list[Consent], list[Consent]],
) -> None:
    """Where nothing was ever withdrawn, all stands."""
    if not any(f.granted is False for side in sides for f in side):
        assert merge(*sides) == together(*sides)
