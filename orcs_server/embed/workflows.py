"""Workflows and tasks as an embedding program sees them: pictures of what is stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from orcs_server.service.reading import no_workflow
from orcs_server.storage.store import Store, StoredTask
from orcs_server.workflow.model import NO_USAGE, Digest, Failure, Output, Usage
from orcs_server.workflow.states import TaskStatus, WorkflowStatus


@dataclass(slots=True)
class Task:
    """A task as it was when it was read."""

    id: str
    title: str
    description: str
    agent_id: str
    dependencies: tuple[str, ...]
    """Ids of tasks."""
    status: TaskStatus
    result: Any = None
    """Text, or the JSON value where the task has an output schema; None until the task is COMPLETED."""
    error: str | None = None
    started_us: int | None = None
    finished_us: int | None = None


@dataclass(slots=True)
class Workflow:
    """A workflow as it was when it was read; while it is executed, `execute` keeps it up to date."""

    id: str
    title: str
    query: str
    status: WorkflowStatus
    external_context: dict[str, Any] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    """In the order of the plan."""
    error: str | None = None
    usage: Usage = NO_USAGE
    started_us: int | None = None
    finished_us: int | None = None
    seq: int = 0
    """Of the last event that it shows."""


async def read_workflow(store: Store, namespace: str, workflow_id: str) -> Workflow:
    """Return a workflow with all its tasks. Raises NotFound."""
    snapshot = await store.snapshot(namespace, workflow_id)
    if snapshot is None:
        raise no_workflow(workflow_id)
    spec, progress = snapshot.summary.spec, snapshot.summary.progress
    context = await _text(store, namespace, spec.context)
    return Workflow(
        id=workflow_id,
        title=spec.title,
        query=await _text(store, namespace, spec.query),
        status=progress.status,
        external_context=json.loads(context) if context else {},
        tasks=[await read_task(store, namespace, task) for task in snapshot.tasks],
        error=message_of(progress.failure),
        usage=progress.usage,
        started_us=progress.started_us,
        finished_us=progress.finished_us,
        seq=snapshot.summary.seq,
    )


async def read_task(store: Store, namespace: str, stored: StoredTask) -> Task:
    """Return a stored task with its texts."""
    spec, progress = stored.spec, stored.progress
    return Task(
        id=spec.id,
        title=spec.title,
        description=await _text(store, namespace, spec.description),
        agent_id=spec.agent_id,
        dependencies=spec.dependencies,
        status=progress.status,
        result=await read_result(store, namespace, progress.output),
        error=message_of(progress.failure),
        started_us=progress.started_us,
        finished_us=progress.finished_us,
    )


async def read_result(store: Store, namespace: str, output: Output | None) -> Any:
    """Return what a task produced, JSON as its value."""
    if output is None:
        return None
    text = await _text(store, namespace, output.digest)
    return json.loads(text) if output.media_type == "application/json" else text


def message_of(failure: Failure | None) -> str | None:
    return None if failure is None else failure.message


async def _text(store: Store, namespace: str, digest: Digest | None) -> str:
    return "" if digest is None else (await store.blob(namespace, digest)).decode("utf-8", "replace")
