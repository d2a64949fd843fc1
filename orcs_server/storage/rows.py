"""What the columns of a write's rows are, derived from the state after it. Every store fills them alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orcs_server.storage.store import Write
from orcs_server.workflow.events import (
    InputRequested,
    InputResolved,
    MessageReceived,
    PlanAdopted,
    PlanAmended,
    WorkflowReopened,
    WorkflowUpdated,
)
from orcs_server.workflow.model import Digest, WorkflowSpec
from orcs_server.workflow.people import InputKind, PendingInput, PersonMessage
from orcs_server.workflow.state import TaskState, WorkflowState

PLAN_EVENTS = frozenset({PlanAdopted, PlanAmended})
"""The events that change task specs; all other events only move progress."""
_SPEC_EVENTS = frozenset({WorkflowUpdated, WorkflowReopened})
"""The events that change the workflow's own spec."""


def is_live(state: WorkflowState) -> bool:
    """True while a restarted server has to look after the workflow: not ended, or resources not yet given back."""
    return not state.settled


def turns_workflow(write: Write) -> bool:
    """True when the workflow's status may have changed: an event that names no task."""
    return not all(hasattr(record.event, "task_id") for record in write.events)


def changes_specs(write: Write) -> bool:
    """True when the specs of the touched tasks are to be written too, not only their progress."""
    return write.touched is None or any(type(record.event) in PLAN_EVENTS for record in write.events)


def changes_workflow_spec(write: Write) -> bool:
    """True when what the workflow is to do may have changed."""
    return write.base_seq > 0 and any(type(record.event) in _SPEC_EVENTS for record in write.events)


def touched_inputs(write: Write) -> list[PendingInput]:
    """Return what was asked of people, or resolved, as it is after the write."""
    names: dict[str, None] = {}
    for record in write.events:
        if isinstance(record.event, InputRequested):
            names[record.event.input.id] = None
        elif isinstance(record.event, InputResolved):
            names[record.event.input_id] = None
    return [write.state.inputs[name] for name in names]


def new_mail(write: Write) -> list[PersonMessage]:
    """Return the messages that came in."""
    return [record.event.message for record in write.events if isinstance(record.event, MessageReceived)]


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
    for asked in state.inputs.values():
        used.update(_input_blobs(asked))
    used.update(said.text for said in state.mail)
    instructions = state.progress.planning.instructions
    return used if instructions is None else used | {instructions}


def _task_blobs(task: TaskState, *, with_spec: bool) -> Iterator[Digest]:
    if with_spec:
        yield task.spec.description
        if task.spec.output_schema is not None:
            yield task.spec.output_schema
    for output in (task.progress.output, task.progress.kept):
        if output is not None:
            yield output.digest


def _input_blobs(asked: PendingInput) -> Iterator[Digest]:
    need = asked.need
    # What is shown of a plan or a task is made from the rows.
    shown = need.shown if need.kind in (InputKind.TOOL_APPROVAL, InputKind.UNSAFE_RERUN) else None
    yield from (one for one in (shown, need.answer_schema, need.default, asked.answer) if one is not None)


def _spec_blobs(spec: WorkflowSpec) -> Iterator[Digest]:
    for digest in (spec.query, spec.context, spec.output_schema, spec.resource_requirements, spec.configuration):
        if digest is not None:
            yield digest
