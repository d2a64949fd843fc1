"""Limits of time on streams: which one was passed, and whose cancellation is whose. What is waited for never comes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from orcs_server.agents.watchdog import CallLimits, StalledError, TotalExceededError, Watchdog

SOON, NEVER = 0.02, 3600.0


async def words(*given: str, then: BaseException | None = None, swallow: bool = False) -> AsyncIterator[str]:
    """Yield these, then fall silent; once broken off, raise `then`, or go on if it is swallowed."""
    for word in given:
        yield word
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if then is not None:
            raise then from None
        if not swallow:
            raise
    yield "late"


async def drain(watchdog: Watchdog, stream: AsyncIterator[str]) -> list[str]:
    heard = []
    while (word := await watchdog.next(stream)) is not None:
        heard.append(word)
        watchdog.writing = word == "write"
    return heard


@pytest.mark.parametrize(
    ("limits", "given", "error"),
    [
        (CallLimits(total=SOON), (), TotalExceededError),
        (CallLimits(total=SOON), ("a", "write"), TotalExceededError),
        (CallLimits(total=SOON, stall=NEVER), ("write",), TotalExceededError),
        (CallLimits(total=NEVER, stall=SOON), ("a", "write"), StalledError),
        (CallLimits(stall=SOON), ("write",), StalledError),
        (CallLimits(total=5 * SOON, stall=SOON), ("write", "a"), TotalExceededError),
    ],
)
async def test_the_limit_that_was_passed_is_told(
    limits: CallLimits, given: tuple[str, ...], error: type[TimeoutError]
) -> None:
    with pytest.raises(error):
        await drain(Watchdog(limits), words(*given))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the task goes on as if nothing had been cancelled"


@pytest.mark.parametrize("odd", [{"swallow": True}, {"then": ValueError("no")}])
async def test_a_stream_that_makes_something_else_of_its_end_is_late_all_the_same(odd: dict[str, object]) -> None:
    with pytest.raises(TotalExceededError):
        await drain(Watchdog(CallLimits(total=SOON)), words(**odd))  # type: ignore[arg-type]
    await asyncio.sleep(0)


async def test_a_stream_within_its_limits_is_heard_to_its_end_and_its_errors_are_its_own() -> None:
    async def short() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(0)
        yield "write"

    async def broken() -> AsyncIterator[str]:
        yield "write"
        raise ConnectionResetError

    assert await drain(Watchdog(CallLimits(NEVER, NEVER)), short()) == ["a", "write"]
    assert await drain(Watchdog(CallLimits()), short()) == ["a", "write"]
    with pytest.raises(ConnectionResetError):
        await drain(Watchdog(CallLimits(NEVER, NEVER)), broken())


async def test_somebody_elses_cancellation_stays_one() -> None:
    watchdog = Watchdog(CallLimits(NEVER, NEVER))
    task = asyncio.create_task(drain(watchdog, words("write")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    watchdog.close()


async def test_what_happens_between_two_events_is_not_watched() -> None:
    watchdog = Watchdog(CallLimits(stall=SOON))
    stream = words("write", "write", "write")
    for _ in range(3):
        assert await watchdog.next(stream) == "write"
        watchdog.writing = True
        await asyncio.sleep(2 * SOON)
    with pytest.raises(StalledError):
        await watchdog.next(stream)
    with suppress(StopAsyncIteration):
        await anext(stream)
