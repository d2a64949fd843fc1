"""Waiting with a limit, without a timer for each wait: two timers a call were a tenth of a small call's CPU."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Patience:
    """Lets tasks wait for so many seconds. The limit is the same for all, so one timer, for the oldest wait, does for all.

    Used from one event loop; each task waits for one thing at a time.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends: dict[asyncio.Task[Any], float] = {}
        """When each wait is too long, the oldest first."""
        self._late: set[asyncio.Task[Any]] = set()
        """Cancelled for it, and not there yet."""
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, awaited: Awaitable[T]) -> T:
        """Return what comes of it; it is cancelled, and TimeoutError raised, where it takes too long."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        loop = asyncio.get_running_loop()
        cancellations = task.cancelling()
        self._ends[task] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look, loop)
        try:
            return await awaited
        except asyncio.CancelledError:
            # Whoever else cancels the task in the same moment is obeyed.
            if task in self._late and task.uncancel() <= cancellations:
                raise TimeoutError from None
            raise
        finally:
            self._ends.pop(task, None)
            self._late.discard(task)

    def bound(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task that has not ended within the time, which says so itself: `released`."""
        loop = asyncio.get_running_loop()
        self._ends[task] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look, loop)

    def released(self, task: asyncio.Task[Any]) -> bool:
        """Say that a task has ended; return whether it did so in time."""
        self._ends.pop(task, None)
        if task not in self._late:
            return True
        self._late.discard(task)
        return False

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        # Where the loop itself was late, what has come meanwhile is seen first.
        self._timer = None
        loop.call_soon(self._give_up, loop, loop.time())

    def _give_up(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        while self._ends:
            task, end = next(iter(self._ends.items()))
            if end > now:
                if self._timer is None:
                    self._timer = loop.call_at(end, self._look, loop)
                return
            del self._ends[task]
            self._late.add(task)
            task.cancel()
