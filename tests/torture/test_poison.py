"""A task that ends its server whenever it runs is found out, and costs its neighbours nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import aclosing
from pathlib import Path

from orcs_client import Event, OrcsClient
from orcs_client.v1 import common_pb2, event_pb2
from tests.torture.load import make_plan
from tests.torture.servers import TortureServer

LOSSES = 6
"""A poisonous task is given up with this one."""
NEIGHBOURS = [("b", "patient", ""), ("c", "patient", ""), ("d", "patient", "")]


async def test_only_the_poison_is_given_up(tmp_path: Path) -> None:
    server = TortureServer(tmp_path)
    await server.fork()
    assert await server.news() is None
    deaths = 0
    async with OrcsClient(server.address, token=server.token) as client:
        for name, tasks in (("w1", [*NEIGHBOURS, ("poison", "poison", "")]), ("w2", NEIGHBOURS)):
            await client.create_workflow(plan=make_plan(name, *tasks), workflow_id=name)
        watching = asyncio.gather(*(watched(client, name) for name in ("w1", "w2")))
        while True:
            dying = asyncio.create_task(server.reap())
            await asyncio.wait((watching, dying), return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                break
            await dying
            deaths += 1
            assert deaths <= LOSSES
            await server.fork()
        with_poison, without = await watching
    os.kill(server.pid, signal.SIGKILL)
    await dying
    await server.close()
    assert deaths == LOSSES
    assert completed(without) == {"b", "c", "d"} == completed(with_poison)
    (failed,) = [event.task_failed for event in with_poison if event.WhichOneof("body") == "task_failed"]
    assert (failed.task_id, failed.failure.kind) == ("poison", common_pb2.FAILURE_KIND_LOST)
    lost = [
        event.attempt_lost.task_id for event in [*with_poison, *without] if event.WhichOneof("body") == "attempt_lost"
    ]
    assert Counter(lost)["poison"] == LOSSES


async def watched(client: OrcsClient, workflow_id: str) -> list[event_pb2.Event]:
    async with aclosing(client.watch(workflow_id)) as items:
        return [item.message async for item in items if isinstance(item, Event)]


def completed(log: list[event_pb2.Event]) -> set[str]:
    return {event.task_completed.task_id for event in log if event.WhichOneof("body") == "task_completed"}
