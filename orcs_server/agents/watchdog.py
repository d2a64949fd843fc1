"""Limits of time on a stream of events, at the price of one timer for many events instead of one for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple, TypeVar

Event = TypeVar("Event")


class CallLimits(NamedTuple):
    """How long a model call may take, in seconds; None is no limit."""

    total: float | None = None
    stall: float | None = None
    """Silence in the middle of an answer."""


class TotalExceededError(TimeoutError):
    """A stream took longer than it may in all."""


class StalledError(TimeoutError):
    """A stream fell silent for longer than it may."""


class GivenUpError(Exception):
    """Nobody wants the rest of the stream any more."""


class Watchdog:
    """Takes events from one stream and breaks off when it takes too long. What happens between two events is not watched."""

    __slots__ = ("_ends", "_expired", "_given_up", "_heard", "_limits", "_loop", "_task", "_timer", "writing")

    def __init__(self, limits: CallLimits) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._heard = self._loop.time()
        self._ends = None if limits.total is None else self._heard + limits.total
        self._task: asyncio.Task[object] | None = None
        """Who waits for the next event."""
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False
        self._given_up = False
        self.writing = False
        """Whether the limit on silence holds now."""

    async def next(self, events: AsyncIterator[Event]) -> Event | None:
        """Return the next event, None at the end. Raises TotalExceededError, StalledError, GivenUpError, and what the stream
        raises.
        """
        if self._given_up:
            raise GivenUpError
        self._heard = self._loop.time()
        if self._timer is None:
            self._arm()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        cancelled = task.cancelling()
        self._task = task
        try:
            event = await anext(events, None)
        except BaseException as error:
            if self._expired and (task.uncancel() <= cancelled or not isinstance(error, asyncio.CancelledError)):
                raise self._late() from error
            raise
        finally:
            self._task = None
        if self._expired:
            task.uncancel()
            raise self._late()
        return event

    def give_up(self) -> None:
        """Break off, now or when the next wait begins."""
        self._given_up = True
        if self._task is not None and not self._expired:
            self._expired = True
            self._task.cancel()

    def close(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        stall = self._limits.stall
        # Where silence is no matter now it may become one until the timer fires.
        silent_at = None if stall is None else (self._heard if self.writing else self._loop.time()) + stall
        at = min((time for time in (self._ends, silent_at) if time is not None), default=None)
        self._timer = None if at is None else self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return  # The next wait arms it again.
        now = self._loop.time()
        silent = self.writing and self._limits.stall is not None and now >= self._heard + self._limits.stall
        if silent or (self._ends is not None and now >= self._ends):
            self._expired = True
            self._task.cancel()
        else:
            self._arm()

    def _late(self) -> Exception:
        if self._given_up:
            return GivenUpError()
        if self._ends is not None and self._loop.time() >= self._ends:
            return TotalExceededError()
        return StalledError()
