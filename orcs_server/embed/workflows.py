"""Workflows and tasks as an embedding program sees them: pictures of what is stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
    metadata: dict[str, Any] = field(default_factory=dict)
    """`attempts`: how often an agent has begun it."""

    @property
    def started_at(self) -> str | None:
        """When an agent began it, in ISO 8601."""
        return _iso(self.started_us)

    @property
    def completed_at(self) -> str | None:
        """When it ended, in ISO 8601."""
        return _iso(self.finished_us)


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
    created_us: int | None = None
    started_us: int | None = None
    finished_us: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    """`resource_requirements` as they were given; `error` of a workflow that failed, `planning_error` of one that got no plan."""
    seq: int = 0
    """Of the last event that it shows."""

    @property
    def description(self) -> str:
        """What is wanted."""
        return f"Generated workflow for query: {self.query}"

    @property
    def created_at(self) -> str | None:
        """When it was created, in ISO 8601."""
        return _iso(self.created_us)

    @property
    def started_at(self) -> str | None:
        """When its execution began, in ISO 8601."""
        return _iso(self.started_us)

    @property
    def completed_at(self) -> str | None:
        """When it ended, in ISO 8601."""
        return _iso(self.finished_us)


async def read_workflow(store: Store, namespace: str, workflow_id: str) -> Workflow:
    """Return a workflow with all its tasks. Raises NotFound."""
    snapshot = await store.snapshot(namespace, workflow_id)
    if snapshot is None:
        raise no_workflow(workflow_id)
    spec, progress = snapshot.summary.spec, snapshot.summary.progress
    context = await _text(store, namespace, spec.context)
    requirements = await _text(store, namespace, spec.resource_requirements)
    error = message_of(progress.failure)
    metadata: dict[str, Any] = {"resource_requirements": json.loads(requirements) if requirements else {}}
    if error is not None:
        metadata |= {"error": error} if snapshot.tasks else {"error": error, "planning_error": error}
    return Workflow(
        id=workflow_id,
        title=spec.title,
        query=await _text(store, namespace, spec.query),
        status=progress.status,
        external_context=json.loads(context) if context else {},
        tasks=[await read_task(store, namespace, task) for task in snapshot.tasks],
        error=error,
        usage=progress.usage,
        created_us=progress.created_us,
        metadata=metadata,
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
        metadata={"attempts": progress.attempt},
    )


async def read_result(store: Store, namespace: str, output: Output | None) -> Any:
    """Return what a task produced, JSON as its value."""
    if output is None:
        return None
    text = await _text(store, namespace, output.digest)
    return json.loads(text) if output.media_type == "application/json" else text


def message_of(failure: Failure | None) -> str | None:
    return None if failure is None else failure.message


def _iso(time_us: int | None) -> str | None:
    return None if time_us is None else datetime.fromtimestamp(time_us / 1_000_000, UTC).isoformat()


async def _text(store: Store, namespace: str, digest: Digest | None) -> str:
    return "" if digest is None else (await store.blob(namespace, digest)).decode("utf-8", "replace")
