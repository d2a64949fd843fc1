"""Workflows that are out of memory until their time comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from heapq import heapify, heappop, heappush

from orcs_server.identity import Clock

LONGEST_SLEEP_S = 3600.0

STALE_KEPT = 1_000
"""Entries of the heap that mean nothing any more; with more of them than of valid ones it is made anew."""

Key = tuple[str, str]
"""Namespace and workflow id."""


class Sleepers:
    """Wakes workflows at the first of their wake-up times. At most one time is kept for each."""

    def __init__(self, clock: Clock, wake: Callable[[str, str], Awaitable[None]]) -> None:
        self._clock = clock
        self._wake = wake
        self._times: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._waking: set[asyncio.Task[None]] = set()
        self._open = True

    def __len__(self) -> int:
        return len(self._times)

    def put(self, key: Key, time_us: int) -> None:
        """Have the workflow woken at this time."""
        self._times[key] = time_us
        heappush(self._heap, (time_us, key))
        if len(self._heap) > 2 * len(self._times) + STALE_KEPT:
            self._heap = [(due_us, sleeper) for sleeper, due_us in self._times.items()]
            heapify(self._heap)
        if self._heap[0] == (time_us, key):
            self._set_alarm()

    def discard(self, key: Key) -> None:
        """Forget the workflow: it is in memory again. Its entry in the heap is skipped when its time comes."""
        self._times.pop(key, None)

    def close(self) -> None:
        """Wake nobody any more."""
        self._open = False
        if self._alarm is not None:
            self._alarm.cancel()
        for task in self._waking:
            task.cancel()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._heap and self._open:
            delay = max(self._heap[0][0] - self._clock.now_us(), 0) / 1e6
            self._alarm = asyncio.get_running_loop().call_later(min(delay, LONGEST_SLEEP_S), self._ring)

    def _ring(self) -> None:
        now_us = self._clock.now_us()
        while self._heap and self._heap[0][0] <= now_us:
            time_us, key = heappop(self._heap)
            if self._times.get(key) == time_us:
                del self._times[key]
                waking = asyncio.ensure_future(self._wake(*key))
                self._waking.add(waking)
                waking.add_done_callback(self._waking.discard)
        self._set_alarm()
