"""The queue between the server and a telemetry hook: bounded, in order, drained by one task."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orcs_server.hooks.nulls import NO_TELEMETRY, HookSet

LOG_EVERY = 1_000
"""The first trouble of each kind is logged, then every thousandth."""

_log = logging.getLogger("orcs.hooks")
_Event = tuple[HookSet, str, str, dict[str, Any]]


class Recorder:
    """Events on their way to telemetry hooks. `recorded`, `failed` and `dropped` count what became of them."""

    def __init__(self, record: Callable[[HookSet, str, str, dict[str, Any]], Awaitable[None]], limit: int) -> None:
        self._record = record
        self._limit = limit
        self._waiting: deque[_Event] = deque()
        self._drain: asyncio.Task[None] | None = None
        self.recorded = 0
        self.failed = 0
        self.dropped = 0

    def put(self, hooks: HookSet, event_type: str, resource_id: str, metadata: Mapping[str, Any]) -> None:
        """Queue an event; count it as dropped where the hook cannot keep up. Never blocks, never raises."""
        if hooks.telemetry is NO_TELEMETRY:
            return
        if len(self._waiting) >= self._limit:
            if self.dropped % LOG_EVERY == 0:
                _log.warning("the telemetry hook cannot keep up: %d events dropped so far", self.dropped + 1)
            self.dropped += 1
            return
        self._waiting.append((hooks, event_type, resource_id, dict(metadata)))
        if self._drain is None or self._drain.done():
            self._drain = asyncio.get_running_loop().create_task(self._drain_all(), name="telemetry hook")

    async def close(self, seconds: float) -> None:
        """Wait at most `seconds` for what is queued, then drop the rest and say so in the log."""
        if self._drain is None:
            return
        await asyncio.wait({self._drain}, timeout=seconds)
        left = len(self._waiting)
        self._drain.cancel()
        await asyncio.wait({self._drain})
        if left:
            self.dropped += left
            self._waiting.clear()
            _log.warning("%d events did not reach the telemetry hook before the end", left)

    async def _drain_all(self) -> None:
        while self._waiting:
            try:
                await self._record(*self._waiting[0])
            except Exception as error:  # noqa: BLE001 - telemetry fails open, whatever it raises
                if self.failed % LOG_EVERY == 0:
                    _log.warning(
                        "the telemetry hook failed %d times so far: %s",
                        self.failed + 1,
                        error,
                        exc_info=error.__cause__,
                    )
                self.failed += 1
            else:
                self.recorded += 1
            self._waiting.popleft()
