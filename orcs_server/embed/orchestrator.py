"""`WorkflowOrchestrator`: carries a workflow out and tells how it goes."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import msgspec

from orcs_server.embed.session import Session, bond_of, definitions, session
from orcs_server.embed.workflows import Task, Workflow, message_of, read_result, read_task, read_workflow
from orcs_server.errors import IllegalTransition, InvalidArgument
from orcs_server.hooks import NO_TELEMETRY, UNLIMITED_RESOURCES, HookSet, ResourcesHook, TelemetryHook
from orcs_server.memory import Actor, MemorySystem, ReadSet, workflow_scope
from orcs_server.memory.values import encode
from orcs_server.service.cursors import WorkflowCursors
from orcs_server.service.requests import WatchWish
from orcs_server.storage.memory_rows import Trust
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow.model import ResourceStatus
from orcs_server.workflow.states import TASK_MOVES, WORKFLOW_TERMINAL, WorkflowStatus

RELEASE_PATIENCE_S: Final = 10.0
"""How long an execution waits for resources to be taken back; after that the next execution of the workflow tries again."""

StatusCallback = Callable[[Workflow, Task], Awaitable[None] | None]

_log = logging.getLogger("orcs.embed")


class WorkflowOrchestrator:
    """Executes workflows: tasks run as soon as what they depend on is done, failed attempts are tried again.

    `agent_registry` maps ids to agents of the Agents SDK, beside (or in place of) the built-in ones; plans made after this
    constructor may name them. `resource_manager` and `telemetry_collector` are the plan's hooks; the collector is told of the
    creation and the planning of workflows of this memory, too.
    """

    def __init__(
        self,
        memory_system: MemorySystem,
        agent_registry: Mapping[str, Any] | None = None,
        resource_manager: ResourcesHook | None = None,
        telemetry_collector: TelemetryHook | None = None,
    ) -> None:
        """Raises StartupError for a registry that holds something else than agents."""
        self.memory = memory_system
        self._resources = resource_manager or UNLIMITED_RESOURCES
        self._telemetry = telemetry_collector or NO_TELEMETRY
        if telemetry_collector is not None:
            bond_of(memory_system).telemetry = telemetry_collector
        if agent_registry:
            bond_of(memory_system).agents.update(definitions(agent_registry))

    async def execute(self, workflow: Workflow, status_callback: StatusCallback | None = None) -> dict[str, Any]:
        """Carry a workflow out and return its output; one that was cut off goes on where it stood, one that has ended is read.

        Whenever a task's status changes, `workflow` is brought up to date and `status_callback(workflow, task)`, sync or async, is called
        and waited for. The output has the keys `workflow_id`, `title`, `status`, `output` (one document), `results` (task id to
        result), `error` (None if all went well), `usage`. A workflow that fails is an output, not an exception. Raises NotFound;
        IllegalTransition where it is being executed already; PermissionDenied; StartupError; what the callback raises.
        """
        hooks = HookSet(
            authorization=bond_of(self.memory).authorization, resources=self._resources, telemetry=self._telemetry
        )
        async with session(self.memory, hooks) as at:
            at.claim(workflow.id)
            await _update(workflow, at)
            await _begin(workflow, at)
            if workflow.status not in WORKFLOW_TERMINAL:
                await _follow(workflow, at, status_callback)
            await _given_back(workflow, at)
            await _update(workflow, at)
            return await _output(workflow, at)


async def _begin(workflow: Workflow, at: Session) -> None:
    if workflow.status is WorkflowStatus.PLANNING:
        await at.engine.take_up(at.namespace, workflow.id)
        await at.planned(workflow.id)
        await _update(workflow, at)
    if workflow.status is WorkflowStatus.READY:
        await at.services.control.start(at.caller, workflow.id)
    else:
        await at.engine.take_up(at.namespace, workflow.id)


async def _follow(workflow: Workflow, at: Session, callback: StatusCallback | None) -> None:
    """Show in `workflow` what happens, event by event, until it has ended."""
    cursor = WorkflowCursors(at.store.epoch, at.namespace, workflow.id).at(workflow.seq)
    stream = await at.services.watching.open(lambda: at.caller, WatchWish(workflow.id, cursor))
    async with aclosing(stream.batches()) as batches:
        async for batch in batches:
            for record in batch.records:
                task = await _show(workflow, record, at)
                if task is not None and callback is not None:
                    called = callback(workflow, task)
                    if inspect.isawaitable(called):
                        await called


async def _show(workflow: Workflow, record: EventRecord, at: Session) -> Task | None:
    """Show one event; return the task whose status it changed."""
    event = record.event
    if isinstance(event, e.WorkflowStarted):
        workflow.status, workflow.started_us = WorkflowStatus.RUNNING, record.time_us
    elif isinstance(event, e.PlanAmended):
        for added in event.added:
            stored = await at.store.get_task(at.namespace, workflow.id, added.id)
            if stored is not None:
                workflow.tasks.append(await read_task(at.store, at.namespace, stored))
    workflow.seq = record.seq
    moves = TASK_MOVES.get(type(event).__name__, {})
    task_id = getattr(event, "task_id", "")
    task = next((one for one in workflow.tasks if one.id == task_id), None)
    if task is None or moves.get(task.status, task.status) is task.status:
        return None
    task.status = moves[task.status]
    if isinstance(event, e.AttemptStarted):
        task.started_us = task.started_us or record.time_us
    elif isinstance(event, e.TaskCompleted):
        task.finished_us = record.time_us
        task.result = await read_result(at.store, at.namespace, event.output)
        await _remember(workflow, task, at, untrusted=event.output.untrusted)
    elif isinstance(event, e.TaskFailed | e.TaskSkipped | e.TaskCancelled):
        task.finished_us, task.error = record.time_us, message_of(event.failure)
    return task


async def _remember(workflow: Workflow, task: Task, at: Session, *, untrusted: bool) -> None:
    reads = ReadSet()
    reads.output(workflow.id, task.id, Trust.EXTERNAL if untrusted else Trust.AGENT)
    try:
        writer = Actor(at.caller.principal, task.agent_id, workflow.id, task.id)
        scope = workflow_scope(workflow.id)
        await at.memory.put(at.namespace, writer, f"task_result:{task.id}", encode(task.result), scope, reads=reads)
    except InvalidArgument as error:
        _log.warning("the result of task %s is not in memory, only in the workflow's output: %s", task.id, error)


async def _given_back(workflow: Workflow, at: Session) -> None:
    """Wait until the resources hook has taken back what the workflow held."""
    watch = at.engine.watch(at.namespace, workflow.id, deltas=False)
    try:
        async with asyncio.timeout(RELEASE_PATIENCE_S):
            while at.engine.state(at.namespace, workflow.id) is not None:
                watch.after(0)
                summary = await at.store.get_summary(at.namespace, workflow.id)
                if summary is None or summary.progress.resources is ResourceStatus.RELEASED:
                    return
                await watch.wait(0.5)
    except TimeoutError:
        _log.error("the resources of workflow %s were not taken back yet: execute it again to retry", workflow.id)
    finally:
        watch.close()


async def _update(workflow: Workflow, at: Session) -> None:
    """Bring the program's picture up to date, in place: it may hold on to the tasks, too."""
    stored = await read_workflow(at.store, at.namespace, workflow.id)
    known = {task.id: task for task in workflow.tasks}
    for name in Workflow.__slots__:
        if name != "tasks":
            setattr(workflow, name, getattr(stored, name))
    workflow.tasks = [_onto(known.get(task.id), task) for task in stored.tasks]


def _onto(known: Task | None, stored: Task) -> Task:
    if known is None:
        return stored
    for name in Task.__slots__:
        setattr(known, name, getattr(stored, name))
    return known


async def _output(workflow: Workflow, at: Session) -> dict[str, Any]:
    try:
        document = (await at.services.results.output(at.caller, workflow.id)).content.content.decode()
    except IllegalTransition:
        document = ""  # It failed before anything was produced.
    return {
        "workflow_id": workflow.id,
        "title": workflow.title,
        "status": workflow.status.value,
        "output": document,
        "results": {task.id: task.result for task in workflow.tasks if task.result is not None},
        "error": workflow.error,
        "usage": msgspec.to_builtins(workflow.usage),
    }
