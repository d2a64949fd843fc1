"""Workflows that sleep until their time comes."""

from __future__ import annotations

import asyncio

from orcs_server.engines.local.sleepers import STALE_KEPT, Key, Sleepers
from orcs_server.identity import Clock


async def test_a_sleeper_that_is_woken_early_again_and_again_leaves_nothing_behind() -> None:
    clock, woken = Clock(), asyncio.Event()
    rung: list[Key] = []

    async def wake(namespace: str, workflow_id: str) -> None:
        rung.append((namespace, workflow_id))
        woken.set()

    sleepers = Sleepers(clock, wake)
    for _ in range(3 * STALE_KEPT):
        sleepers.put(("n", "far"), clock.now_us() + 3_600_000_000)
        sleepers.discard(("n", "far"))
    assert len(sleepers._heap) <= STALE_KEPT + 2
    sleepers.put(("n", "near"), clock.now_us())
    await woken.wait()
    assert rung == [("n", "near")]
    sleepers.close()
