"""The main job against the floor: ten-task plans (1 -> 8 -> 1) with a model that takes no time.

The floor is bare `Runner.run` under asyncio in one process, nothing durable, nobody watching. ORCS is a server process with
`synchronous=FULL` and this process as its client, which creates every workflow and watches it to its end.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import aclosing

import orcs_client
from benchmarks.server import ServerProcess, serving
from benchmarks.table import Row, figures, print_rows
from orcs_client.v1 import workflow_pb2

WIDTH = 8
TASKS = WIDTH + 2
CONCURRENCIES = (1, 8, 32)


def plan() -> workflow_pb2.Plan:
    """Return a plan of 1 -> 8 -> 1 tasks."""
    middle = [f"t{index + 2}" for index in range(WIDTH)]
    dependencies = [(), *(("t1",) for _ in middle), tuple(middle)]
    return orcs_client.plan(
        {
            "id": f"t{index + 1}",
            "title": f"t{index + 1}",
            "description": f"Answer the question of task t{index + 1}.",
            "agent_id": "instant_agent",
            "dependencies": needed,
        }
        for index, needed in enumerate(dependencies)
    )


async def drive(server: ServerProcess, concurrency: int, total: int, *, deltas: bool) -> Row:
    """Run `total` workflows through the server, `concurrency` at a time."""
    latencies: list[float] = []
    the_plan = plan()
    async with orcs_client.OrcsClient(server.address) as client:

        async def one() -> None:
            began = time.perf_counter()
            created = await client.create_workflow(plan=the_plan)
            last = ""
            async with aclosing(client.watch(created.workflow.id, deltas=deltas)) as items:
                async for item in items:
                    if isinstance(item, orcs_client.Event):
                        last = item.message.WhichOneof("body") or ""
            if last != "workflow_completed":
                raise RuntimeError(f"a workflow ended with {last}")
            latencies.append(time.perf_counter() - began)

        async def worker() -> None:
            for _ in left:
                await one()

        left = iter(range(8))
        await asyncio.gather(*(worker() for _ in range(4)))
        latencies.clear()
        left = iter(range(total))
        server_cpu, own_cpu, began = server.cpu_s(), time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        wall = time.perf_counter() - began
    cpu = server.cpu_s() - server_cpu + time.process_time() - own_cpu
    return figures(f"orcs, {concurrency} at a time", latencies, wall, cpu, server.peak_mib(), TASKS)


def floor(concurrency: int, total: int, deltas: int) -> Row:
    """Run the same work under bare `Runner.run`, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.floor", str(concurrency), str(total)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "ORCS_BENCH_DELTAS": str(deltas)}
    )
    run = json.loads(done.stdout)
    name = f"floor, {concurrency} at a time"
    return figures(name, run["latencies_s"], run["wall_s"], run["cpu_s"], run["peak_mib"], TASKS)


def measure(total: int = 100, deltas: int = 0) -> None:
    """Print floor and ORCS side by side at each concurrency."""
    print_rows(f"Ten-task plans, {deltas} deltas a task", [])
    with serving("--agents", "benchmarks.instant:registry", ORCS_BENCH_DELTAS=str(deltas)) as server:
        for concurrency in CONCURRENCIES:
            count = total if concurrency > 1 else max(total // 3, 10)
            base = floor(concurrency, count, deltas)
            ours = asyncio.run(drive(server, concurrency, count, deltas=deltas > 0))
            again = floor(concurrency, count, deltas)
            best = max(base, again, key=lambda row: row.rate)
            print_rows("", [best, ours], ratio_of=(ours, best))
