"""The texts that an attempt needs, read from the store: what was asked, the context, and what earlier tasks produced."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from orcs_server.agents.earlier import Earlier
from orcs_server.agents.planner import TASKS_SHOWN, PlannedBefore, Replanning
from orcs_server.agents.task_input import Predecessor, build_task_input
from orcs_server.storage.store import Store
from orcs_server.workflow.edits import has_begun
from orcs_server.workflow.evolve_tasks import is_met
from orcs_server.workflow.model import Digest, Output
from orcs_server.workflow.state import TaskState, WorkflowState
from orcs_server.workflow.states import TASK_TERMINAL, TaskStatus


def output_of(task: TaskState) -> Output | None:
    """Return what others build on: the task's output, or what a person gave in its stead."""
    counts = task.status is TaskStatus.COMPLETED or task.progress.waived
    return task.progress.output if counts else None


OUTPUTS_SHOWN = 60_000
"""Characters of outputs that the planner sees in all when it plans anew."""
OUTPUT_SHOWN = 2_000
"""Of each."""


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
        continued = await self.earlier(state)
        if continued is not None:
            title = f"{continued.title} (an earlier request, which this one continues)"
            predecessors.insert(0, Predecessor(continued.workflow_id, title, continued.text))
        return build_task_input(task.spec.title, description, predecessors, context, max_predecessor_bytes)

    async def earlier(self, state: WorkflowState) -> Earlier | None:
        """Return what the workflow continues; None if nothing."""
        kept = state.spec.earlier
        if kept is None:
            return None
        return msgspec.json.decode(await self._store.blob(state.namespace, kept.digest), type=Earlier)

    async def replanning(self, state: WorkflowState) -> Replanning | None:
        """Return what the planner gets to know of the plan that it makes anew; None for the first plan."""
        planning = state.progress.planning
        if not planning.replanning:
            return None
        tasks = sorted(state.tasks.values(), key=lambda task: (not has_begun(state, task.spec.id), task.ordinal))
        shown = sum(output_of(task) is not None for task in tasks[:TASKS_SHOWN])
        share = min(OUTPUTS_SHOWN // max(shown, 1), OUTPUT_SHOWN)
        before = [
            await self._before(state, task, share if index < TASKS_SHOWN else 0) for index, task in enumerate(tasks)
        ]
        instructions = planning.instructions
        text = "" if instructions is None else await self.read(state.namespace, instructions)
        return Replanning(tuple(before), text, planning.reason)

    async def _before(self, state: WorkflowState, task: TaskState, share: int) -> PlannedBefore:
        output = output_of(task) if share else None
        text = "" if output is None else await self.read(state.namespace, output.digest)
        return PlannedBefore(
            task.spec.id,
            task.spec.title,
            str(task.status),
            stays=has_begun(state, task.spec.id),
            usable=task.status not in TASK_TERMINAL or is_met(task),
            text=text if len(text) <= share else f"{text[:share]}…",
        )

    async def _predecessor(self, namespace: str, task: TaskState) -> Predecessor:
        output = output_of(task)
        if output is not None:
            return Predecessor(task.spec.id, task.spec.title, await self.read(namespace, output.digest))
        why = task.progress.failure
        what = (
            "a person decided to go on without it"
            if task.progress.waived
            else f"the optional task ended as {task.status}"
        )
        missing = what + (f": {why.message}" if why is not None else "")
        return Predecessor(task.spec.id, task.spec.title, missing=missing)
