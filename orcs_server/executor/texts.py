"""The texts that an attempt needs, read from the store: what was asked, the context, and what earlier tasks produced."""

from __future__ import annotations

import json
from typing import Any

from orcs_server.agents.task_input import Predecessor, build_task_input
from orcs_server.storage.store import Store
from orcs_server.workflow.model import Digest, Output
from orcs_server.workflow.state import TaskState, WorkflowState
from orcs_server.workflow.states import TaskStatus


def output_of(task: TaskState) -> Output | None:
    """Return what others build on: the task's output, or what a person gave in its stead."""
    counts = task.status is TaskStatus.COMPLETED or task.progress.waived
    return task.progress.output if counts else None


class Texts:
    """Reads blobs as what they stand for."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, namespace: str, digest: Digest) -> str:
        """Return a stored text."""
        return (await self._store.blob(namespace, digest)).decode("utf-8", "replace")

    async def read_json(self, namespace: str, digest: Digest | None) -> dict[str, Any]:
        """Return a stored JSON object, the caller's own to change; {} without a digest."""
        return {} if digest is None else dict(json.loads(await self.read(namespace, digest)))

    async def task_input(self, state: WorkflowState, task: TaskState, max_predecessor_bytes: int) -> str:
        """Return what the task's agent gets to read."""
        namespace = state.namespace
        description = await self.read(namespace, task.spec.description)
        context = await self.read_json(namespace, state.spec.context)
        earlier = [state.tasks[name] for name in task.spec.dependencies]
        predecessors = [await self._predecessor(namespace, one) for one in earlier]
        return build_task_input(task.spec.title, description, predecessors, context, max_predecessor_bytes)

    async def _predecessor(self, namespace: str, task: TaskState) -> Predecessor:
        output = output_of(task)
        if output is not None:
            return Predecessor(task.spec.id, task.spec.title, await self.read(namespace, output.digest))
        why = task.progress.failure
        what = "a person decided to go on without it" if task.progress.waived else f"the task ended as {task.status}"
        missing = what + (f": {why.message}" if why is not None else "")
        return Predecessor(task.spec.id, task.spec.title, missing=missing)
