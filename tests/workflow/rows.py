"""A state's rows as a store keeps them: encoded, decoded again, and handed back in no particular order."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from orcs_server.workflow.model import TaskProgress, TaskSpec, WorkflowProgress, WorkflowSpec
from orcs_server.workflow.people import PendingInput, PersonMessage
from orcs_server.workflow.restore import restore
from orcs_server.workflow.state import WorkflowState

T = TypeVar("T")


def through_rows(state: WorkflowState) -> WorkflowState:
    """Return what a restarted server would find of this state."""
    tasks = [
        (task.ordinal, stored(task.spec, TaskSpec), stored(task.progress, TaskProgress))
        for task in sorted(state.tasks.values(), key=lambda task: -task.ordinal)
    ]
    spec, progress = stored(state.spec, WorkflowSpec), stored(state.progress, WorkflowProgress)
    inputs = [stored(one, PendingInput) for one in sorted(state.inputs.values(), key=lambda one: -one.ordinal)]
    mail = [stored(one, PersonMessage) for one in reversed(state.mail)]
    return restore(state.namespace, state.id, spec, progress, tasks, inputs, mail)


def stored(value: T, kind: type[T]) -> T:
    """Return the value after a trip through JSON."""
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)
