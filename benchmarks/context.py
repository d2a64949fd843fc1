"""How long it takes to put together what an agent reads: with many predecessors, and with what a full memory holds for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from immutables import Map

from benchmarks.table import percentile, say
from orcs_server.executor.context import MemoryFeed
from orcs_server.executor.texts import Texts
from orcs_server.memory import Actor, AgentContext, Memory, Put, workflow_scope
from orcs_server.memory.values import encode
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.store import blob_of
from orcs_server.workflow.model import Output, TaskProgress, TaskSpec, WorkflowProgress, WorkflowSpec
from orcs_server.workflow.state import TaskState, WorkflowState
from orcs_server.workflow.states import TaskStatus, WorkflowStatus

PREDECESSORS = 200
OUTPUT_BYTES = 4_000
ROOM = 65_536
ENTRIES = 10_000
PINNED = 20
TOKENS = 4_000
ROUNDS = 200
NAMESPACE, WORKFLOW = "default", "w1"
PROGRAM = Actor("program")


def text_of(number: int) -> str:
    """Return the output of a task, unlike any other."""
    return f"{number}: " + "some words of a finding that others build upon. " * (OUTPUT_BYTES // 48)


async def build(store: SqliteStore) -> tuple[WorkflowState, TaskState]:
    """Return a workflow in which a task depends on many that are done, with their outputs stored."""
    blobs = [blob_of(text_of(number)) for number in range(PREDECESSORS)]
    description = blob_of("Join what the others have found about the harbour into one report.")
    await store.put_blobs(NAMESPACE, [*blobs, description])
    done = [
        TaskState(
            TaskSpec(f"t{number}", f"Finding {number}", description.digest, "worker"),
            number,
            TaskProgress(TaskStatus.COMPLETED, output=Output(blob.digest, "text/markdown", len(blob.data))),
        )
        for number, blob in enumerate(blobs)
    ]
    names = tuple(task.spec.id for task in done)
    last = TaskState(TaskSpec("last", "Join the findings", description.digest, "worker", names), PREDECESSORS)
    tasks = Map({task.spec.id: task for task in (*done, last)})
    progress = WorkflowProgress(WorkflowStatus.RUNNING, 0)
    return WorkflowState(NAMESPACE, WORKFLOW, WorkflowSpec("Benchmark"), progress, tasks), last


async def fill(memory: Memory) -> None:
    """Store entries, some of which are pinned and one in a hundred of which the task's words find."""
    scope = workflow_scope(WORKFLOW)
    for first in range(0, ENTRIES, 100):
        changes = [
            Put(
                scope,
                f"notes/{first + one}",
                encode(f"{first + one}: {'harbour' if one == 0 else 'field'} notes of a day"),
            )
            for one in range(100)
        ]
        await memory.batch(NAMESPACE, PROGRAM, changes)
    for number in range(PINNED):
        await memory.put(NAMESPACE, PROGRAM, f"pinned/{number}", encode("What everybody is to know. " * 10), scope)


async def timed(one: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await one()
        taken.append((time.perf_counter() - began) * 1e3)
    taken.sort()
    return percentile(taken, 0.5), percentile(taken, 0.99)


async def measure_all(path: Path) -> None:
    """Print the figures."""
    store = SqliteStore(path)
    await store.open()
    try:
        state, last = await build(store)
        memory = Memory(store)

        async def place() -> tuple[Memory, str]:
            return memory, NAMESPACE

        async def floor() -> str:
            texts = [
                (await store.blob(NAMESPACE, output.digest)).decode()
                for name in last.spec.dependencies
                if (output := state.tasks[name].progress.output) is not None
            ]
            return "".join(texts)

        async def from_memory() -> None:
            words = "Join the findings\nJoin what the others have found about the harbour into one report."
            feed = MemoryFeed(AgentContext(place, "worker", WORKFLOW, "last"), words, TOKENS)
            await feed.begin()

        def note(what: str, figures: tuple[float, float]) -> None:
            say(f"{what:62}{figures[0]:>10.2f}{figures[1]:>10.2f}")

        say(f"\nBuilding an agent's input: {PREDECESSORS} predecessors of {OUTPUT_BYTES} bytes, {ROOM} bytes of room")
        say(f"{'':62}{'p50 ms':>10}{'p99 ms':>10}")
        base = await timed(floor)
        note("the outputs read and joined, nothing else", base)
        built = await timed(lambda: Texts(store).task_input(state, last, ROOM))
        note("the task's input", built)
        note("what memory holds for it: an empty memory", await timed(from_memory))
        await fill(memory)
        note(f"what memory holds for it: {ENTRIES} entries, {PINNED} of them pinned", await timed(from_memory))
        say(f"{'ratio of the input to its floor':62}{built[0] / base[0]:>10.2f}{built[1] / base[1]:>10.2f}")
        await memory.close()
    finally:
        await store.close()


def measure() -> None:
    """Measure in a folder of its own."""
    with TemporaryDirectory() as folder:
        asyncio.run(measure_all(Path(folder) / "orcs.db"))
