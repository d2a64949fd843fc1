"""A state's rows as a store keeps them: encoded, decoded again, and handed back in no particular order."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from orcs_server.workflow.model import TaskProgress, TaskSpec, WorkflowProgress, WorkflowSpec, WorkflowState
from orcs_server.workflow.restore import restore

T = TypeVar("T")


def through_rows(state: WorkflowState) -> WorkflowState:
    """Return what a restarted server would find of this state."""
    tasks = [
        (task.ordinal, stored(task.spec, TaskSpec), stored(task.progress, TaskProgress))
        for task in sorted(state.tasks.values(), key=lambda task: -task.ordinal)
    ]
    spec, progress = stored(state.spec, WorkflowSpec), stored(state.progress, WorkflowProgress)
    return restore(state.namespace, state.id, spec, progress, tasks)


def stored(value: T, kind: type[T]) -> T:
    """Return the value after a trip through JSON."""
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)
