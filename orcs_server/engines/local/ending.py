"""The end of an engine: attempts stop at their next turn, then are interrupted, then left behind; what ended is stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence

from orcs_server.engines.local.actor import WorkflowActor

STOP_PATIENCE_S = 5.0
"""How long a stop waits for attempts that do not react to their cancellation, and for a store that does not answer."""

_log = logging.getLogger("orcs.engine")


async def end_all(actors: Sequence[WorkflowActor], grace_s: float) -> None:
    """Let what runs get `grace_s` seconds to its next turn, interrupt the rest, and send all actors home."""
    for actor in actors:
        actor.flights.close_at_turn()
    if not await _in_time(_quiet(actors), grace_s):
        for actor in actors:
            actor.flights.interrupt()
        if not await _in_time(_quiet(actors), STOP_PATIENCE_S):
            await _abandon(actors)
    for actor in actors:
        actor.leave()


async def _quiet(actors: Sequence[WorkflowActor]) -> None:
    """Wait until nothing is under way and everything is stored."""
    while any(actor.busy for actor in actors):
        for actor in actors:
            await actor.flights.landed()
            await actor.idle()


async def _abandon(actors: Sequence[WorkflowActor]) -> None:
    for actor in actors:
        for name in actor.flights.abandon():
            _log.error("%s of workflow %s ignores its cancellation and is left behind", name, actor.workflow_id)
    stored = asyncio.gather(*(actor.idle() for actor in actors))
    if not await _in_time(stored, STOP_PATIENCE_S):
        _log.error("the store does not answer: what ended last will be taken for lost and done again")


async def _in_time(work: Awaitable[object], seconds: float) -> bool:
    """Wait for it up to so many seconds; False when it took longer and was given up."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True
