"""Withdrawals while others send: nobody is told yes once a withdrawal was committed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import attrs
import pytest
import sqlalchemy as sa

from crmkit import CRMService
from crmkit.testing import FrozenClock, together

# Each of 10,000 withdrawals against senders, or as many as a quick look takes.
ROUNDS = 10_000 if os.environ.get("CRMKIT_HYPOTHESIS_PROFILE") == "deep" else 40
PER_TENANT = 100  # so that what is read stays short
SENDERS = 2
AFTER = 2

Ask: TypeAlias = Callable[[], bool]


@attrs.frozen
class Tally:
    """Of the withdrawals: how many some answer began before, and how many some yes came after."""

    raced: int
    late: int


def withdrawn(crm: CRMService, ana: str, ask: Ask) -> list[tuple[bool, bool]]:
    """One withdraws while others ask: whether it was known to be committed, and the answer."""
    done = threading.Event()

    def each(number: int) -> list[tuple[bool, bool]]:
        if number == SENDERS:
            crm.gdpr.consents.withdraw(ana, "email")
            done.set()
            return []
        answers: list[tuple[bool, bool]] = []
        while sum(known for known, _ in answers) < AFTER:
            known = done.is_set()
            answers.append((known, ask()))
        return answers

    return [answer for answers in together(SENDERS + 1, each) for answer in answers]


def tallied(crm: CRMService, clock: FrozenClock, way: Callable[[Ask], Ask]) -> Tally:
    """`way` makes what a sender asks of what crmkit is asked."""
    raced = late = 0
    of, ana = crm, ""
    for number in range(ROUNDS):
        if number % PER_TENANT == 0:
            of = crm.for_tenant(f"sending {number}")
            ana = of.find_or_create({"name": "Ana", "email": "ana@mail.com"}).id
        clock.advance(seconds=1)
        of.gdpr.consents.give(ana, "email", source="form")
        clock.advance(seconds=1)
        ask = way(partial(_asked, of, ana))
        assert ask()
        told = withdrawn(of, ana, ask)
        raced += any(not known for known, _ in told)
        late += any(known and yes for known, yes in told)
    return Tally(raced, late)


def _asked(crm: CRMService, ana: str) -> bool:
    return bool(crm.gdpr.consents.may_contact(ana, "email"))


def test_after_a_withdrawal_nobody_is_told_yes(crm: CRMService, clock: FrozenClock) -> None:
    assert tallied(crm, clock, lambda ask: ask).late == 0


def test_one_who_remembers_the_answer_is_found_out(crm: CRMService, clock: FrozenClock) -> None:
    """Each time."""

    def remembering(ask: Ask) -> Ask:
        known: list[bool] = []

        def first() -> bool:
            known.append(ask())  # as slowly as who asks each time
            return known[0]

        return first

    assert tallied(crm, clock, remembering).late == ROUNDS


@pytest.mark.parametrize("hold", [True, False])
def test_with_hold_a_withdrawal_waits_for_the_sending(
    postgres_engine: sa.Engine, hold: bool
) -> None:
    """The record of a sending is there when the withdrawal returns; without, it comes later."""
    crm = CRMService(postgres_engine)
    ana = crm.find_or_create({"name": "Ana", "email": "ana@mail.com"}).id
    crm.gdpr.consents.give(ana, "email", source="form")
    begun, ended = threading.Event(), threading.Event()
    sent: list[int] = []

    def withdraw() -> None:
        begun.set()
        crm.gdpr.consents.withdraw(ana, "email")
        sent.append(crm.activities.metrics(ana).activities)
        ended.set()

    thread = threading.Thread(target=withdraw)
    with postgres_engine.connect() as connection, crm.using(connection) as tx:
        assert tx.gdpr.consents.may_contact(ana, "email", hold=hold)
        thread.start()
        begun.wait()
        if hold:
            time.sleep(0.05)  # for a withdrawal that would not wait
        else:
            ended.wait()
        tx.track_activity(ana, "message_delivered")
        connection.commit()
    thread.join()
    assert sent == [1 if hold else 0]
