"""Waits that share one timer: each ends after its own time, and nobody's cancellation is mistaken for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from orcs_server.rpc.patience import Patience


async def test_what_takes_too_long_is_given_up_and_what_does_not_is_left_alone() -> None:
    patience = Patience(0.05)
    came = asyncio.Event()

    async def quick() -> str:
        await came.wait()
        return "came"

    late = [asyncio.create_task(patience.wait(asyncio.Event().wait())) for _ in range(3)]
    in_time = asyncio.create_task(patience.wait(quick()))
    await asyncio.sleep(0)
    came.set()
    assert await in_time == "came"
    for task in late:
        with pytest.raises(TimeoutError):
            await task
        assert not task.cancelled()


async def test_each_wait_has_its_own_beginning_also_of_one_task() -> None:
    patience = Patience(0.05)
    with pytest.raises(TimeoutError):
        await patience.wait(asyncio.Event().wait())
    # What was given up leaves nothing behind in its task.
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await patience.wait(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(TimeoutError):
        await patience.wait(asyncio.Event().wait())


async def test_a_cancellation_stays_one_even_in_the_moment_in_which_the_time_is_over() -> None:
    patience = Patience(0.01)
    waiting = asyncio.create_task(patience.wait(asyncio.Event().wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    both = asyncio.create_task(patience.wait(asyncio.Event().wait()))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    patience._give_up(loop, loop.time() + 1)
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_what_came_while_the_loop_was_late_itself_is_taken() -> None:
    patience, came = Patience(0.01), asyncio.Event()
    waiting = asyncio.create_task(patience.wait(came.wait()))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.005, came.set)
    time.sleep(0.05)  # noqa: ASYNC251 - the loop is held up
    assert await waiting


async def test_an_error_is_handed_on() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Patience(1).wait(broken())
