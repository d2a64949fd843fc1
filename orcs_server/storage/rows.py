"""What the columns of a write's rows are, derived from the state after it. Every store fills them alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orcs_server.storage.store import Write
from orcs_server.workflow.events import PlanAdopted, PlanAmended
from orcs_server.workflow.model import Digest, WorkflowSpec
from orcs_server.workflow.state import TaskState, WorkflowState
from orcs_server.workflow.states import TaskStatus, WorkflowStatus

PLAN_EVENTS = frozenset({PlanAdopted, PlanAmended})
"""The events that change task specs; all other events only move progress."""

_INPUT_REQUIRED = tuple(TaskStatus).index(TaskStatus.INPUT_REQUIRED)


def is_live(state: WorkflowState) -> bool:
    """True while a restarted server has to look after the workflow: not ended, or resources not yet given back."""
    return not state.settled


def is_idle(state: WorkflowState) -> bool:
    """True when nothing is due and only a person, or a timer, moves the workflow on. In doubt False, which is harmless."""
    match state.progress.status:
        case WorkflowStatus.PAUSED | WorkflowStatus.READY:
            return True
        case WorkflowStatus.RUNNING:
            waiting = state.progress.counts[_INPUT_REQUIRED] > 0
            return waiting and not state.ready and not state.running
        case _:
            return False


def wake_at_us(state: WorkflowState) -> int | None:
    """Return the time of the workflow's first timer."""
    return state.timers[0][0] if state.timers else None


def turns_workflow(write: Write) -> bool:
    """True when the workflow's status may have changed: an event that names no task."""
    return not all(hasattr(record.event, "task_id") for record in write.events)


def changes_specs(write: Write) -> bool:
    """True when the specs of the touched tasks are to be written too, not only their progress."""
    return write.touched is None or any(type(record.event) in PLAN_EVENTS for record in write.events)


def touched_tasks(write: Write) -> tuple[list[TaskState], list[str]]:
    """Return the tasks whose rows change and the ids of those that left the plan."""
    tasks = write.state.tasks
    if write.touched is None:
        return list(tasks.values()), []
    changed, removed = [], []
    for task_id in write.touched:
        task = tasks.get(task_id)
        if task is None:
            removed.append(task_id)
        else:
            changed.append(task)
    return changed, removed


def used_blobs(write: Write, changed: Iterable[TaskState], with_specs: bool) -> set[Digest]:
    """Return the digests that this write makes the workflow refer to."""
    used = {blob.digest for blob in write.blobs}
    if write.base_seq == 0:
        used.update(_spec_blobs(write.state.spec))
    for task in changed:
        used.update(_task_blobs(task, with_spec=with_specs))
    return used


def state_blobs(state: WorkflowState) -> set[Digest]:
    """Return the digests to which a workflow's rows refer."""
    used = set(_spec_blobs(state.spec))
    for task in state.tasks.values():
        used.update(_task_blobs(task, with_spec=True))
    return used


def _task_blobs(task: TaskState, *, with_spec: bool) -> Iterator[Digest]:
    if with_spec:
        yield task.spec.description
        if task.spec.output_schema is not None:
            yield task.spec.output_schema
    if task.progress.output is not None:
        yield task.progress.output.digest


def _spec_blobs(spec: WorkflowSpec) -> Iterator[Digest]:
    for digest in (spec.query, spec.context, spec.output_schema, spec.resource_requirements, spec.configuration):
        if digest is not None:
            yield digest
