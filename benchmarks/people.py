"""What people do to workflows: how soon a pause holds and an answer is heard while others run, and what it costs to wait for one."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import orcs_client
from benchmarks.asking import MAX_TURNS, TURN_S
from benchmarks.load import at_once, one_task
from benchmarks.server import ServerProcess, new_folder, serving, serving_in
from benchmarks.table import percentile, say
from orcs_client.v1 import event_pb2, workflow_pb2

AGENTS = ("--agents", "benchmarks.asking:registry")
RUNNING = 100
ROUNDS = 2
WAITING = 10_000
AT_ONCE = 32
PATIENCE_S = 300.0
SETTLED_S = 2.0


def to_do(agent_id: str, mark: str) -> workflow_pb2.Plan:
    """Return a plan of one task; the mark makes its description another one."""
    return one_task(agent_id, f"Do what has to be done, {mark}.")


async def until(client: orcs_client.OrcsClient, workflow_id: str, kind: event_pb2.EventType.ValueType) -> None:
    """Return at the first event of this kind that is not there yet when the watch begins, or was."""
    async with asyncio.timeout(PATIENCE_S), aclosing(client.watch(workflow_id, event_types=(kind,))) as items:
        async for _ in items:
            return


async def pause_s(client: orcs_client.OrcsClient, workflow_id: str) -> float:
    """Pause at once; return the seconds from the request to PAUSED, as a watcher sees it."""
    watching = asyncio.Event()

    async def paused() -> float:
        kinds = (event_pb2.EVENT_TYPE_WORKFLOW_PAUSED,)
        async with aclosing(client.watch(workflow_id, snapshot=True, event_types=kinds)) as items:
            async for item in items:
                if isinstance(item, orcs_client.Event):
                    return time.perf_counter()
                watching.set()
        raise RuntimeError("a workflow ended before it was paused")

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        ended = group.create_task(paused())
        await watching.wait()
        began = time.perf_counter()
        await client.pause_workflow(workflow_id, mode=workflow_pb2.STOP_MODE_IMMEDIATE)
    return ended.result() - began


async def answer_s(client: orcs_client.OrcsClient, mark: str) -> float:
    """Have an agent ask, and answer; return the seconds from the answer to the next call of its model."""
    created = await client.create_workflow(plan=to_do("asking_agent", mark))
    workflow_id = created.workflow.id
    await until(client, workflow_id, event_pb2.EVENT_TYPE_INPUT_REQUESTED)
    began = time.time()
    await client.answer_input(workflow_id, "i1", "the first")
    async with asyncio.timeout(PATIENCE_S):
        await client.wait(workflow_id)
    return float((await client.get_task(workflow_id, "t1", full=True)).task.output.text) - began


async def get_s(client: orcs_client.OrcsClient, workflow_id: str) -> float:
    """Return the seconds that it takes to read a workflow."""
    began = time.perf_counter()
    await client.get_workflow(workflow_id)
    return time.perf_counter() - began


async def latencies(server: ServerProcess) -> dict[str, list[float]]:
    """Measure all three in turns, each alone, while the others run."""
    found: dict[str, list[float]] = {"GetWorkflow": [], "pause to PAUSED": [], "answer to next turn": []}
    async with server.client() as client:
        running = [
            (await client.create_workflow(plan=to_do("busy_agent", f"number {index}"))).workflow.id
            for index in range(RUNNING)
        ]
        for workflow_id in running:
            await until(client, workflow_id, event_pb2.EVENT_TYPE_ATTEMPT_STARTED)
        for number in range(ROUNDS):
            for workflow_id in running:
                found["GetWorkflow"].append(await get_s(client, workflow_id))
                found["pause to PAUSED"].append(await pause_s(client, workflow_id))
                await client.resume_workflow(workflow_id)
                found["answer to next turn"].append(await answer_s(client, f"{number} {workflow_id}"))
        for workflow_id in running:
            await client.cancel_workflow(workflow_id, immediate=True)
    return found


def control() -> None:
    """Print how soon a pause holds and an answer is heard."""
    with new_folder() as home:
        settings = home / "orcs.toml"
        settings.write_text(f"[limits]\nslots = {2 * RUNNING}\n[agents.busy_agent]\nmax_turns = {MAX_TURNS}\n")
        with serving_in(home, "--config", str(settings), *AGENTS) as server:
            found = asyncio.run(latencies(server))
    say(
        f"\nPause and answer while {RUNNING} workflows run, each with a model call and a tool call every {TURN_S:g} s"
        f"\n{'':28}{'p50 ms':>10}{'p99 ms':>10}{'times GetWorkflow':>22}"
    )
    base = percentile(sorted(found["GetWorkflow"]), 0.5)
    for name, seconds in found.items():
        ordered = sorted(seconds)
        middle = percentile(ordered, 0.5)
        say(f"{name:28}{middle * 1e3:>10.1f}{percentile(ordered, 0.99) * 1e3:>10.1f}{middle / base:>22.1f}")


async def fill(server: ServerProcess, workflows: int) -> None:
    """Create workflows, and see each come to its question."""
    async with server.client() as client:

        async def ask(index: int) -> None:
            created = await client.create_workflow(plan=to_do("asking_agent", f"number {index}"))
            await until(client, created.workflow.id, event_pb2.EVENT_TYPE_INPUT_REQUESTED)

        await at_once(AT_ONCE, workflows, ask)


def idle_mib(home: Path) -> float:
    """Start a server on this folder; return its memory once it has come to rest."""
    with serving_in(home, *AGENTS) as server:
        time.sleep(SETTLED_S)
        return server.resident_mib()


def waiting(workflows: int = WAITING) -> None:
    """Print the memory of a server with workflows that wait for an answer, beside one of a server with none."""
    with serving(*AGENTS) as server:
        time.sleep(SETTLED_S)
        empty = server.resident_mib()
    with new_folder() as home:
        with serving_in(home, *AGENTS) as server:
            asyncio.run(fill(server, workflows))
            time.sleep(SETTLED_S)
            full = server.resident_mib()
        again = idle_mib(home)
    say(f"\n{workflows:,} workflows that wait for an answer\n{'':28}{'resident MiB':>14}{'ratio':>8}{'KiB each':>10}")
    for name, mib in (("empty server", empty), ("the server that asked", full), ("after a restart", again)):
        say(f"{name:28}{mib:>14.0f}{mib / empty:>8.2f}{(mib - empty) / workflows * 1024:>10.2f}")
