"""The load of the benchmarks: plans of ten tasks (1 -> 8 -> 1), each created and watched to its end by this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import orcs_client
from benchmarks.server import ServerProcess
from benchmarks.table import Row, figures
from orcs_client.v1 import workflow_pb2

WIDTH = 8
TASKS = WIDTH + 2
WARM_UP = 8
"""Workflows that come before the measurement."""


def ten_tasks(agent_id: str = "instant_agent", mark: str = "") -> workflow_pb2.Plan:
    """Return a plan of 1 -> 8 -> 1 tasks; the mark goes into their descriptions, so that no two plans share a text."""
    middle = [f"t{index + 2}" for index in range(WIDTH)]
    dependencies = [(), *(("t1",) for _ in middle), tuple(middle)]
    return orcs_client.plan(
        {
            "id": f"t{index + 1}",
            "title": f"t{index + 1}",
            "description": f"Answer the question of task t{index + 1}{mark}.",
            "agent_id": agent_id,
            "dependencies": needed,
        }
        for index, needed in enumerate(dependencies)
    )


def one_task(agent_id: str, description: str) -> workflow_pb2.Plan:
    """Return a plan of one task."""
    return orcs_client.plan([{"id": "t1", "title": "t1", "description": description, "agent_id": agent_id}])


async def at_once(workers: int, count: int, one: Callable[[int], Awaitable[object]]) -> None:
    """Do something for each number below `count`, in their order, so many at a time."""
    left = iter(range(count))

    async def worker() -> None:
        for index in left:
            await one(index)

    await asyncio.gather(*(worker() for _ in range(workers)))


async def finish(client: orcs_client.OrcsClient, plan: workflow_pb2.Plan, *, deltas: bool = False) -> None:
    """Run a workflow and watch it to its end, which must be its completion."""
    created = await client.create_workflow(plan=plan)
    before = last = ""
    async with aclosing(client.watch(created.workflow.id, deltas=deltas)) as items:
        async for item in items:
            if isinstance(item, orcs_client.Event):
                before, last = last, item.message.WhichOneof("body") or ""
    # Its resources are given back after its end.
    if "workflow_completed" not in (before, last):
        raise RuntimeError(f"a workflow ended with {last}")


async def drive(
    server: ServerProcess,
    concurrency: int,
    total: int,
    plans: Callable[[], workflow_pb2.Plan],
    *,
    name: str = "orcs",
    deltas: bool = False,
) -> Row:
    """Run `total` workflows through the server, `concurrency` at a time, after a few to warm up."""
    latencies: list[float] = []
    async with server.client() as client:

        async def one(_: int) -> None:
            began = time.perf_counter()
            await finish(client, plans(), deltas=deltas)
            latencies.append(time.perf_counter() - began)

        await at_once(WARM_UP // 2, WARM_UP, one)
        latencies.clear()
        server_cpu, own_cpu, began = server.cpu_s(), time.process_time(), time.perf_counter()
        await at_once(concurrency, total, one)
        wall = time.perf_counter() - began
    cpu = server.cpu_s() - server_cpu + time.process_time() - own_cpu
    return figures(f"{name}, {concurrency} at a time", latencies, wall, cpu, server.peak_mib(), TASKS)
