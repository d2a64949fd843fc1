"""Agents whose model server is down: they get one slot at a time, when the server is asked again, instead of all starting only
to be told that it is down. What waits stays in its queue, so an outage costs no events.
"""

from __future__ import annotations

import asyncio

from orcs_server.engines.local.slots import Slots
from orcs_server.workflow.model import Failure

NEXT_TRY_S = 30.0
"""When one more may start, if nothing was heard of the one that was to try: it may have been cancelled."""


class Outages:
    """Learns from how attempts end which agents wait for their model server."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def note(self, agent_id: str, failure: Failure | None) -> None:
        """An attempt of this agent ended, not merely stopped. A failure that spares its budget is an outage; anything else is the
        end of one.
        """
        if failure is not None and failure.spares_budget:
            self._slots.hold_back(agent_id)
            self._look_again(agent_id, (failure.retry_after_us or 0) / 1e6)
        elif agent_id in self._timers:
            self._timers.pop(agent_id).cancel()
            self._slots.let_all(agent_id)

    def close(self) -> None:
        """Look at nothing any more (shutdown)."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _look_again(self, agent_id: str, pause_s: float) -> None:
        known = self._timers.get(agent_id)
        if known is not None:
            known.cancel()
        self._timers[agent_id] = asyncio.get_running_loop().call_later(pause_s, self._let_one, agent_id)

    def _let_one(self, agent_id: str) -> None:
        self._look_again(agent_id, NEXT_TRY_S)
        self._slots.let_one(agent_id)
