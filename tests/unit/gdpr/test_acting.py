"""Who acts: for a block, in this thread or task alone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from crmkit.errors import InvalidInput
from crmkit.gdpr.auditing import Acting, acting, commitment, who_acts


def test_nobody_acts_outside() -> None:
    assert who_acts() == Acting()
    with acting("maria"):
        assert who_acts().actor == "maria"
    assert who_acts() == Acting()


def test_an_inner_block_keeps_what_it_leaves_out() -> None:
    with acting("maria", reason="call", via="desk"):
        with acting("job:7", reason="later"):
            assert who_acts() == Acting("job:7", "later", "desk")
        assert who_acts() == Acting("maria", "call", "desk")


def test_an_error_ends_the_block() -> None:
    with pytest.raises(LookupError), acting("maria"):
        raise LookupError
    assert who_acts() == Acting()


@pytest.mark.parametrize("wrong", ["", " ", "x" * 300, "a\0b"])
def test_an_actor_is_some_text(wrong: str) -> None:
    with pytest.raises(InvalidInput), acting(wrong):
        raise AssertionError("not reached")


def test_threads_do_not_act_for_each_other() -> None:
    seen: list[Acting] = []
    with acting("maria"):
        thread = threading.Thread(target=lambda: seen.append(who_acts()))
        thread.start()
        thread.join()
    assert seen == [Acting()]


def test_tasks_do_not_act_for_each_other() -> None:
    """Two that take turns; what a task hands to a thread acts for the task."""
    seen: dict[str, list[str | None]] = {}

    async def task(name: str) -> None:
        with acting(name):
            await asyncio.sleep(0)
            seen[name] = [who_acts().actor, (await asyncio.to_thread(who_acts)).actor]

    async def both() -> None:
        await asyncio.gather(task("maria"), task("dan"))

    asyncio.run(both())
    assert seen == {"maria": ["maria", "maria"], "dan": ["dan", "dan"]}


def test_a_commitment_keeps_its_parts_apart() -> None:
    told = {commitment("n", "a", "b"), commitment("n", "ab", None), commitment("n", None, "ab")}
    assert len(told) == 3
