"""What the tests of engines share: a server without its wire (real store, real Agents SDK, real engine), whose only stand-in is
the model, and a store that can be made to fail.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from agents import Model, ModelProvider, ModelResponse
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)

from orcs_server.agents.builtin import PLANNER
from orcs_server.agents.catalog import AgentCatalog
from orcs_server.agents.definition import AgentDefinition
from orcs_server.agents.runner import AgentRunner
from orcs_server.agents.task_input import read_note, read_task_input
from orcs_server.engines.base import Command, Receipt
from orcs_server.engines.local.engine import EngineLimits, LocalEngine
from orcs_server.errors import OrcsError, Unavailable
from orcs_server.executor.configuration import Configurations, freeze, pack
from orcs_server.executor.executor import Executor
from orcs_server.hooks import GuardedHooks, null_factory
from orcs_server.hooks.protocols import HookFactory
from orcs_server.identity import Caller
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.store import Blob, EventRecord, Snapshot, Store, Write, blob_of
from orcs_server.workflow import messages as m
from orcs_server.workflow.events import WorkflowDeleted
from orcs_server.workflow.model import ResourceStatus, RetryPolicy, TaskSpec, WorkflowSpec
from orcs_server.workflow.states import WORKFLOW_TERMINAL, TaskStatus, WorkflowStatus

WORKER = AgentDefinition("worker", "You work.")
OTHER = AgentDefinition("other", "You work, too.")
QUICK_RETRY = RetryPolicy(3, 1_000, 2_000, 2.0)
PLANNING = ""
"""What planning is called on the stage."""


@dataclass
class Gate:
    """A call that answers once the test opens the gate."""

    text: str = "through the gate"
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False
    error: Exception | None = None
    """Raised instead of answering."""
    deltas: Sequence[str] = ()


Act = str | Exception | Gate | list[Any]
"""A list: what the model puts out, such as calls of tools."""


class Stage(Model, ModelProvider):
    """The model: for each task (by title) it does what the test says, call by call, and then answers by rule."""

    def __init__(self) -> None:
        self.acts: dict[str, list[Act]] = defaultdict(list)
        self.calls: list[str] = []
        self.inputs: dict[str, str] = {}
        self.notes: dict[str, list[Any]] = {}
        """What people said to it, and what it answered before."""
        self.instructions: dict[str, str] = {}
        self.at_once = 0
        self.most_at_once = 0

    def get_model(self, model_name: str | None) -> Model:
        return self

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise NotImplementedError("the runner streams")

    async def stream_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the SDK's name
        *_: Any,
        **__: Any,
    ) -> AsyncIterator[Any]:
        text = input if isinstance(input, str) else str(input[0]["content"])
        title = PLANNING if "\n# Request\n" in text else read_task_input(text)[0]
        self.calls.append(title)
        self.inputs[title] = text
        self.notes[title] = [] if isinstance(input, str) else [_said(one) for one in input[1:] if "role" in one]
        self.instructions[title] = system_instructions or ""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            acts = self.acts[title]
            act = acts.pop(0) if acts else f"result of {title}"
            if isinstance(act, Exception):
                raise act
            if isinstance(act, Gate):
                for delta in act.deltas:
                    yield _delta(delta)
                act.reached.set()
                try:
                    await act.opened.wait()
                except asyncio.CancelledError:
                    act.cancelled = True
                    raise
                if act.error is not None:
                    raise act.error
                act = act.text
            yield ResponseCompletedEvent(type="response.completed", sequence_number=0, response=_response(act))
        finally:
            self.at_once -= 1


class FaultyStore:
    """The real store, which a test can make unavailable, or whose answers it can lose."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.down = False
        self.lose_answers = 0
        self.refusals = 0
        self.raises: Callable[[Write], Exception | None] = lambda _: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, write: Write) -> None:
        self._check()
        error = self.raises(write)
        if error is not None:
            raise error
        await self._store.commit(write)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unavailable("STORAGE_UNAVAILABLE", "the answer was lost")

    async def load(self, namespace: str, workflow_id: str) -> Any:
        self._check()
        return await self._store.load(namespace, workflow_id)

    def _check(self) -> None:
        if self.down:
            self.refusals += 1
            raise Unavailable("STORAGE_UNAVAILABLE", "the storage does not answer")


class World:
    """An engine over a data file, and what a client would do with it."""

    def __init__(self, store: Store, engine: LocalEngine, stage: Stage, catalog: AgentCatalog) -> None:
        self.store = store
        self.engine = engine
        self.stage = stage
        self.catalog = catalog
        self.frozen = pack(
            freeze(catalog, planner_prompt=None, model=None, max_predecessor_bytes=65_536, max_output_bytes=100_000)
        )

    async def create(
        self,
        workflow_id: str = "w1",
        tasks: Sequence[TaskSpec] | None = None,
        *,
        namespace: str = "default",
        request_id: str = "",
        query: str = "do it",
        blobs: Sequence[Blob] = (),
        **spec: Any,
    ) -> Receipt:
        texts = [blob_of(query), self.frozen, *blobs, *(blob_of(f"do {task.id}") for task in tasks or ())]
        spec = {"retry": QUICK_RETRY, "query": texts[0].digest, **spec}
        whole = WorkflowSpec(
            title=f"Title of {workflow_id}",
            agents=self.catalog.revisions(),
            configuration=self.frozen.digest,
            **spec,
        )
        plan = None if tasks is None else tuple(tasks)
        request = m.CreateWorkflow(namespace, workflow_id, whole, plan)
        digest = blob_of(repr(request)).digest
        caller = Caller("ada", namespace, ("operate",))
        return await self.engine.submit(
            Command(caller, workflow_id, request, "CreateWorkflow", request_id, digest, tuple(texts))
        )

    async def send(
        self,
        request: m.Request,
        workflow_id: str = "w1",
        namespace: str = "default",
        request_id: str = "",
        blobs: tuple[Blob, ...] = (),
    ) -> Receipt:
        caller = Caller("ada", namespace, ("operate",))
        method = type(request).__name__
        return await self.engine.submit(
            Command(caller, workflow_id, request, method, request_id, f"{workflow_id} {request}", blobs)
        )

    async def until(self, status: WorkflowStatus, workflow_id: str = "w1", namespace: str = "default") -> Snapshot:
        """Wait until the workflow is there; fail where it has ended otherwise."""
        watch = self.engine.watch(namespace, workflow_id, deltas=False)
        try:
            async with asyncio.timeout(20):
                while True:
                    watch.after(0)
                    snapshot = await self.store.snapshot(namespace, workflow_id)
                    at = None if snapshot is None else snapshot.summary.progress.status
                    if snapshot is not None and at is status:
                        return snapshot
                    assert at not in WORKFLOW_TERMINAL, snapshot
                    await watch.wait(0.5)
        finally:
            watch.close()

    async def end(self, workflow_id: str = "w1", namespace: str = "default") -> Snapshot:
        return await self.until(WorkflowStatus.COMPLETED, workflow_id, namespace)

    async def log(self, workflow_id: str = "w1", namespace: str = "default") -> list[EventRecord]:
        """Return the whole log, and see that it has no gap."""
        records = await self.store.events(namespace, workflow_id, 0, 100_000)
        if records and not isinstance(records[-1].event, WorkflowDeleted):
            assert [record.seq for record in records] == list(range(1, len(records) + 1))
        return records

    async def happened(self, workflow_id: str = "w1", namespace: str = "default") -> list[str]:
        return [named(record) for record in await self.log(workflow_id, namespace)]

    async def until_happened(self, event: str, workflow_id: str = "w1") -> None:
        """Wait until the log has this event, such as `TaskCompleted a`."""
        async with asyncio.timeout(10):
            while event not in await self.happened(workflow_id):  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)

    async def at_rest(self) -> None:
        """Wait until no workflow is in memory; all slots are back then."""
        async with asyncio.timeout(10):
            while self.engine.active:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)

    async def resources(self, status: ResourceStatus, workflow_id: str = "w1") -> None:
        async with asyncio.timeout(10):
            while True:
                summary = await self.store.get_summary("default", workflow_id)
                if summary is not None and summary.progress.resources is status:
                    return
                await asyncio.sleep(0.005)


@asynccontextmanager
async def server(
    path: Path,
    stage: Stage | None = None,
    *,
    factory: HookFactory = null_factory,
    agents: Sequence[AgentDefinition] = (),
    limits: EngineLimits | None = None,
    faulty: bool = False,
    stop: bool = True,
    **engine_options: Any,
) -> AsyncIterator[World]:
    """Run an engine over the data file. `stop=False` drops it at the end as a crash would."""
    limits = limits or EngineLimits(slots=8)
    real = SqliteStore(path, limits.quotas)
    await real.open()
    store = cast("Store", FaultyStore(real)) if faulty else real
    stage = stage or Stage()
    catalog = AgentCatalog([PLANNER, WORKER, OTHER, *agents])
    hooks = GuardedHooks(factory)
    executor = Executor(store, AgentRunner(stage), Configurations(store, catalog), hooks)
    engine = LocalEngine(store, executor, limits=limits, **engine_options)
    before = asyncio.all_tasks()
    try:
        await engine.start()
        yield World(store, engine, stage, catalog)
    finally:
        if stop:
            await engine.stop(0)
            assert engine.slots.free == limits.slots
            await hooks.close()
            await real.close()
        else:
            await crash(real, before)


async def crash(store: SqliteStore, before: set[asyncio.Task[Any]]) -> None:
    """Drop everything at once, as far as one process can: nothing more gets into the file."""
    await store.close()
    dropped = [task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()]
    for task in dropped:
        task.cancel()
    if dropped:
        await asyncio.wait(dropped)


def task(task_id: str, *dependencies: str, agent_id: str = "worker", **spec: Any) -> TaskSpec:
    """Return a task whose title, by which the stage knows it, is its id."""
    return TaskSpec(task_id, task_id, blob_of(f"do {task_id}").digest, agent_id, dependencies, **spec)


def plan_of(*tasks: tuple[str, Sequence[int]], agent_id: str = "worker") -> str:
    """Return a planner's answer: (title, dependencies) of each task."""
    planned = [
        {"title": title, "description": f"do {title}", "agent_id": agent_id, "dependencies": list(dependencies)}
        for title, dependencies in tasks
    ]
    return json.dumps({"tasks": planned})


def named(record: EventRecord) -> str:
    """Return an event as a word or two: `TaskCompleted a`."""
    task_id = getattr(record.event, "task_id", "")
    return f"{type(record.event).__name__} {task_id}".rstrip()


def statuses(snapshot: Snapshot) -> dict[str, TaskStatus]:
    return {one.spec.id: one.progress.status for one in snapshot.tasks}


async def outcome(submission: Any) -> Receipt | OrcsError:
    """Return the receipt, or the error that a client would get."""
    try:
        return cast("Receipt", await submission)
    except OrcsError as error:
        return error


def _said(item: dict[str, Any]) -> str:
    """Return what a message of a person, or an answer before it, says."""
    content = item["content"]
    return read_note(content) if isinstance(content, str) else str(content[0]["text"])


def _delta(text: str) -> ResponseTextDeltaEvent:
    return ResponseTextDeltaEvent(
        type="response.output_text.delta",
        content_index=0,
        delta=text,
        item_id="msg",
        logprobs=[],
        output_index=0,
        sequence_number=0,
    )


def _response(act: str | list[Any]) -> Response:
    if isinstance(act, str):
        text = ResponseOutputText(type="output_text", text=act, annotations=[])
        act = [ResponseOutputMessage(id="msg", type="message", role="assistant", status="completed", content=[text])]
    return Response.model_validate(
        {
            "id": "resp",
            "created_at": 0,
            "model": "stage",
            "object": "response",
            "output": act,
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "status": "completed",
            "usage": {
                "input_tokens": 4,
                "output_tokens": 2,
                "total_tokens": 6,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            },
        }
    )
