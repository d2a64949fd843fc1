"""The queues between the server and telemetry hooks: bounded, in order, one for each tenant, so that none waits for another's hook."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orcs_server.hooks.nulls import NO_TELEMETRY, HookSet
from orcs_server.identity.fairness import Shares

LOG_EVERY = 1_000
"""The first trouble of each kind is logged, then every thousandth."""

_log = logging.getLogger("orcs.hooks")
_Event = tuple[HookSet, str, str, dict[str, Any]]


class Recorder:
    """Events on their way to telemetry hooks. `recorded`, `failed` and `dropped` count what became of them.

    A tenant alone may have `limit` of them waiting; several share twice as many.
    """

    def __init__(self, record: Callable[[HookSet, str, str, dict[str, Any]], Awaitable[None]], limit: int) -> None:
        self._record = record
        self._room = Shares(2 * limit)
        self._waiting: dict[str, deque[_Event]] = {}
        self._drains: dict[str, asyncio.Task[None]] = {}
        self.recorded = 0
        self.failed = 0
        self.dropped = 0

    def put(self, hooks: HookSet, event_type: str, resource_id: str, metadata: Mapping[str, Any]) -> None:
        """Queue an event; count it as dropped where the hook cannot keep up. Never blocks, never raises."""
        if hooks.telemetry is NO_TELEMETRY:
            return
        if not self._room.take(hooks.tenant):
            if self.dropped % LOG_EVERY == 0:
                _log.warning("the telemetry hook cannot keep up: %d events dropped so far", self.dropped + 1)
            self.dropped += 1
            return
        self._waiting.setdefault(hooks.tenant, deque()).append((hooks, event_type, resource_id, dict(metadata)))
        if hooks.tenant not in self._drains:
            drain = asyncio.get_running_loop().create_task(self._drain(hooks.tenant), name="telemetry hook")
            self._drains[hooks.tenant] = drain

    async def close(self, seconds: float) -> None:
        """Wait at most `seconds` for what is queued, then drop the rest and say so in the log."""
        drains = tuple(self._drains.values())
        if not drains:
            return
        await asyncio.wait(drains, timeout=seconds)
        left = sum(len(events) for events in self._waiting.values())
        for drain in drains:
            drain.cancel()
        await asyncio.wait(drains)
        if left:
            self.dropped += left
            self._waiting.clear()
            _log.warning("%d events did not reach the telemetry hook before the end", left)

    async def _drain(self, tenant: str) -> None:
        waiting = self._waiting[tenant]
        try:
            while waiting:
                await self._pass_on(waiting[0])
                waiting.popleft()
                self._room.give(tenant)
        finally:
            del self._drains[tenant]
            if not waiting:
                self._waiting.pop(tenant, None)

    async def _pass_on(self, event: _Event) -> None:
        try:
            await self._record(*event)
        except Exception as error:  # noqa: BLE001 - telemetry fails open, whatever it raises
            if self.failed % LOG_EVERY == 0:
                _log.warning(
                    "the telemetry hook failed %d times so far: %s", self.failed + 1, error, exc_info=error.__cause__
                )
            self.failed += 1
        else:
            self.recorded += 1
