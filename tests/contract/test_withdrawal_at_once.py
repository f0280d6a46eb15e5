"""Withdrawals while others send: nobody is told yes once a withdrawal was committed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
import sqlalchemy as sa

from crmkit import CRMService
from crmkit.testing import FrozenClock, together

# 10,000 interleavings of an answer with a withdrawal, or as many as a quick look takes.
ASKED = 10_000 if os.environ.get("CRMKIT_HYPOTHESIS_PROFILE") == "deep" else 400
SENDERS = 2
AFTER = 4


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana", "email": "ana@mail.com"}).id


def _asked(crm: CRMService, ana: str, purpose: str) -> bool:
    return bool(crm.gdpr.consents.may_contact(ana, "email", purpose))


def sent_too_late(
    crm: CRMService,
    clock: FrozenClock,
    ana: str,
    way: Callable[[Callable[[], bool]], Callable[[], bool]],
) -> tuple[int, int]:
    """How often two senders ask while somebody withdraws, and how often in vain is said yes.

    That is after the withdrawal was committed. `way` makes what a sender asks of what crmkit is
    asked.
    """
    consents = crm.gdpr.consents
    asked = late = 0
    while asked < ASKED:
        clock.advance(seconds=1)
        purpose = f"newsletter after {asked}"  # so that the histories that are read stay short
        consents.give(ana, "email", source="form", purpose=purpose)
        clock.advance(seconds=1)
        done = threading.Event()
        ask = way(partial(_asked, crm, ana, purpose))
        assert ask()

        def each(
            number: int,
            done: threading.Event = done,
            ask: Callable[[], bool] = ask,
            purpose: str = purpose,
        ) -> list[tuple[bool, bool]]:
            if number == SENDERS:
                consents.withdraw(ana, "email", purpose=purpose)
                done.set()
                return []
            answers: list[tuple[bool, bool]] = []
            while sum(known for known, _ in answers) < AFTER:
                known = done.is_set()
                answers.append((known, ask()))
            return answers

        told = [answer for answers in together(SENDERS + 1, each) for answer in answers]
        asked += len(told)
        late += sum(known and yes for known, yes in told)
    return asked, late


def test_after_a_withdrawal_nobody_is_told_yes(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    asked, late = sent_too_late(crm, clock, ana, lambda ask: ask)
    assert asked >= ASKED
    assert late == 0


def test_one_who_remembers_the_answer_is_found_out(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    def remembering(ask: Callable[[], bool]) -> Callable[[], bool]:
        known: list[bool] = []

        def cached() -> bool:
            if not known:
                known.append(ask())
            return known[0]

        return cached

    asked, late = sent_too_late(crm, clock, ana, remembering)
    assert 0 < late < asked


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
