"""What grows with size: a task of a large plan beside one of a small plan, memory when idle, and the server's work for watchers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import aclosing

import orcs_client
from benchmarks.server import ServerProcess, serving
from benchmarks.table import say
from orcs_client.v1 import workflow_pb2

WATCHERS = 20


def wide(count: int) -> workflow_pb2.Plan:
    """Return a plan of 1 -> count-2 -> 1 tasks."""
    middle = [f"t{index}" for index in range(2, count)]
    return orcs_client.plan(
        {
            "id": name,
            "title": name,
            "description": "Answer the question.",
            "agent_id": "instant_agent",
            "dependencies": needed,
        }
        for name, needed in [("t1", ()), *((name, ("t1",)) for name in middle), (f"t{count}", middle[-64:])]
    )


async def _run(client: orcs_client.OrcsClient, plan: workflow_pb2.Plan, watchers: int = 1) -> None:
    created = await client.create_workflow(plan=plan, auto_start=False)
    workflow_id = created.workflow.id

    async def watch() -> int:
        seen = 0
        async with aclosing(client.watch(workflow_id)) as items:
            async for _ in items:
                seen += 1
        return seen

    watching = [asyncio.create_task(watch()) for _ in range(watchers)]
    await asyncio.sleep(0.2)
    await client.start_workflow(workflow_id)
    seen = await asyncio.gather(*watching)
    if len(set(seen)) != 1:
        raise RuntimeError(f"watchers saw different numbers of events: {seen}")


async def _cpu_a_task(server: ServerProcess, plan: workflow_pb2.Plan, repeat: int, watchers: int = 1) -> float:
    async with server.client() as client:
        before = server.cpu_s()
        for _ in range(repeat):
            await _run(client, plan, watchers)
        return (server.cpu_s() - before) / repeat / len(plan.tasks)


async def _wall_a_task(server: ServerProcess, plan: workflow_pb2.Plan, repeat: int) -> float:
    async with server.client() as client:
        began = time.perf_counter()
        await asyncio.gather(*(_run(client, plan) for _ in range(repeat)))
        return (time.perf_counter() - began) / repeat / len(plan.tasks)


def idle_memory() -> None:
    """Compare an idle server with a process that has only imported the Agents SDK."""
    program = "import agents, psutil; print(psutil.Process().memory_info().rss / 1048576)"
    bare = float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
    with serving() as server:
        time.sleep(1)
        ours = server.resident_mib()
    say(
        f"\nidle memory: server {ours:.0f} MiB, bare `import agents` {bare:.0f} MiB, ratio {ours / bare:.2f} (aim: 1.3)"
    )


def measure() -> None:
    """Print all three."""
    with serving("--agents", "benchmarks.instant:registry") as server:
        asyncio.run(_cpu_a_task(server, wide(50), 2))
        small = asyncio.run(_cpu_a_task(server, wide(50), 40))
        large = asyncio.run(_cpu_a_task(server, wide(5000), 1))
        say(
            f"\nserver CPU a task: {small * 1e6:.0f} us in a 50-task plan, {large * 1e6:.0f} us in a 5,000-task plan, "
            f"ratio {large / small:.2f} (aim: 1.3)"
        )
        small = asyncio.run(_wall_a_task(server, wide(50), 20))
        large = asyncio.run(_wall_a_task(server, wide(5000), 1))
        say(
            f"time a task: {small * 1e6:.0f} us in 20 plans of 50 at once, {large * 1e6:.0f} us in one of 5,000, "
            f"ratio {large / small:.2f} (aim: 1.3)"
        )
        one = asyncio.run(_cpu_a_task(server, wide(50), 10, 1))
        many = asyncio.run(_cpu_a_task(server, wide(50), 10, WATCHERS))
        say(
            f"server CPU a task: {one * 1e6:.0f} us with one watcher, {many * 1e6:.0f} us with {WATCHERS}, "
            f"ratio {many / one:.2f} (aim: less than 2)"
        )
    idle_memory()
