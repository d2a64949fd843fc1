"""From event records to messages, each serialised once however many watch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from orcs_client.v1 import event_pb2, workflow_pb2
from orcs_server.rpc.conversion import enums
from orcs_server.rpc.conversion.inputs import pending_input
from orcs_server.rpc.conversion.plantasks import plan_task
from orcs_server.rpc.conversion.times import optional_timestamp, timestamp
from orcs_server.rpc.conversion.workflows import (
    budget,
    failure,
    optional_output,
    output_reference,
    usage,
    workflow_of,
)
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow.model import WorkflowProgress
from orcs_server.workflow.states import WorkflowStatus

TASKS_IN_EVENT = 200
"""An event with more tasks leaves them out."""
BYTES_IN_EVENT = 256 * 1024
"""Tasks that take more are left out."""


def event_bytes(record: EventRecord) -> bytes:
    """Return the serialised `Event` of a committed record."""
    wire = record.wire
    if wire is None:
        wire = record.wire = event_message(record).SerializeToString()
    return wire


def event_message(record: EventRecord) -> event_pb2.Event:
    """Return the `Event` of a record."""
    field, convert = _BODIES[type(record.event)]
    body: dict[str, Any] = {field: convert(record.event, record)}
    return event_pb2.Event(
        sequence=record.seq,
        position=record.position,
        workflow_id=record.workflow_id,
        time=timestamp(record.time_us),
        actor=record.actor,
        cause=record.cause,
        **body,
    )


def _workflow_created(event: e.WorkflowCreated, record: EventRecord) -> event_pb2.WorkflowCreated:
    progress = WorkflowProgress(WorkflowStatus.PLANNING, created_us=record.time_us)
    message = workflow_of(event.workflow_id, event.spec, progress, record.actor, record.time_us)
    return event_pb2.WorkflowCreated(workflow=message)


def _plan_adopted(event: e.PlanAdopted, _: EventRecord) -> event_pb2.PlanAdopted:
    message = event_pb2.PlanAdopted(
        revision=event.revision, task_count=len(event.tasks), source=enums.PLAN_SOURCE.to_wire(event.source)
    )
    if len(event.tasks) <= TASKS_IN_EVENT:
        message.tasks.extend(plan_task(task) for task in event.tasks)
    message.tasks_omitted = len(message.tasks) < len(event.tasks) or message.ByteSize() > BYTES_IN_EVENT
    if message.tasks_omitted:
        message.ClearField("tasks")
    return message


def _plan_rejected(event: e.PlanRejected, _: EventRecord) -> event_pb2.PlanRejected:
    return event_pb2.PlanRejected(
        attempt=event.attempt,
        failure=failure(event.failure),
        problems=event.problems,
        will_retry=event.retry_at_us is not None,
        retry_time=optional_timestamp(event.retry_at_us),
    )


def _plan_amended(event: e.PlanAmended, _: EventRecord) -> event_pb2.PlanAmended:
    message = event_pb2.PlanAmended(
        revision=event.revision,
        source=enums.PLAN_SOURCE.to_wire(event.source),
        proposer_task_id=event.proposer,
        task_count=event.task_count,
    )
    if len(event.added) + len(event.changed) + len(event.removed) <= TASKS_IN_EVENT:
        message.added.extend(plan_task(task) for task in event.added)
        message.changed.extend(plan_task(task) for task in event.changed)
        message.removed_task_ids.extend(event.removed)
        if message.ByteSize() <= BYTES_IN_EVENT:
            return message
        for field in ("added", "changed", "removed_task_ids"):
            message.ClearField(field)
    message.tasks_omitted = True
    return message


def _usage_recorded(event: e.UsageRecorded, _: EventRecord) -> event_pb2.UsageRecorded:
    return event_pb2.UsageRecorded(
        task_id=event.task_id, attempt=event.attempt, calls=event.calls, usage=usage(event.usage)
    )


def _attempt_started(event: e.AttemptStarted, _: EventRecord) -> event_pb2.AttemptStarted:
    return event_pb2.AttemptStarted(
        task_id=event.task_id,
        attempt=event.attempt,
        run=event.run,
        deadline_time=timestamp(event.deadline_us),
    )


def _pausing(event: e.WorkflowPausing, _: EventRecord) -> event_pb2.WorkflowPausing:
    mode = enums.STOP_MODE.to_wire(event.mode)
    return event_pb2.WorkflowPausing(reason=event.reason, mode=mode, freeze=event.freeze)


def _cancelling(event: e.WorkflowCancelRequested, _: EventRecord) -> event_pb2.WorkflowCancelRequested:
    return event_pb2.WorkflowCancelRequested(reason=event.reason, mode=enums.STOP_MODE.to_wire(event.mode))


def _workflow_updated(event: e.WorkflowUpdated, _: EventRecord) -> event_pb2.WorkflowUpdated:
    labels = None if event.labels is None else workflow_pb2.Labels(labels=dict(event.labels))
    limits = None if event.budget is None else budget(event.budget) or workflow_pb2.Budget()
    return event_pb2.WorkflowUpdated(budget=limits, labels=labels, priority=event.priority)


def _task_skipped(event: e.TaskSkipped, _: EventRecord) -> event_pb2.TaskSkipped:
    return event_pb2.TaskSkipped(
        task_id=event.task_id,
        cause_task_id=event.cause,
        failure=failure(event.failure),
        reason="" if event.cause else event.failure.message,
        substitute=optional_output(event.output),
    )


def _input_requested(event: e.InputRequested, record: EventRecord) -> event_pb2.InputRequested:
    return event_pb2.InputRequested(input=pending_input(record.workflow_id, "", event.input))


def _input_resolved(event: e.InputResolved, _: EventRecord) -> event_pb2.InputResolved:
    return event_pb2.InputResolved(
        input_id=event.input_id,
        task_id=event.task_id,
        resolution=enums.INPUT_RESOLUTION.to_wire(event.resolution),
        answer_sha256=event.answer or "",
        principal=event.principal,
        reason=event.reason,
        shared=event.shared,
    )


def _message_received(event: e.MessageReceived, _: EventRecord) -> event_pb2.MessageReceived:
    said = event.message
    return event_pb2.MessageReceived(
        message_id=said.id,
        task_id=said.task_id,
        mode=enums.MESSAGE_MODE.to_wire(said.mode),
        text_sha256=said.text,
        principal=said.principal,
    )


def _budget_exceeded(event: e.BudgetExceeded, _: EventRecord) -> event_pb2.BudgetExceeded:
    limit = event.limit.removesuffix("_us")
    return event_pb2.BudgetExceeded(budget=budget(event.budget), limit=limit, task_id=event.task_id)


def _attempt_failure(message: Any) -> Callable[[Any, EventRecord], Any]:
    return lambda event, _: message(task_id=event.task_id, attempt=event.attempt, failure=failure(event.failure))


def _task_failure(message: Any) -> Callable[[Any, EventRecord], Any]:
    return lambda event, _: message(task_id=event.task_id, failure=failure(event.failure))


def _bare(message: Any) -> Callable[[Any, EventRecord], Any]:
    return lambda _event, _record: message()


_CONVERSIONS: dict[type, Callable[[Any, EventRecord], Any]] = {
    e.WorkflowCreated: _workflow_created,
    e.WorkflowStarted: _bare(event_pb2.WorkflowStarted),
    e.WorkflowCompleted: _bare(event_pb2.WorkflowCompleted),
    e.WorkflowFailed: lambda event, _: event_pb2.WorkflowFailed(failure=failure(event.failure)),
    e.WorkflowDeleted: _bare(event_pb2.WorkflowDeleted),
    e.WorkflowPausing: _pausing,
    e.WorkflowPaused: _bare(event_pb2.WorkflowPaused),
    e.WorkflowResumed: lambda event, _: event_pb2.WorkflowResumed(freeze=event.freeze),
    e.WorkflowCancelRequested: _cancelling,
    e.WorkflowCancelled: _bare(event_pb2.WorkflowCancelled),
    e.WorkflowReopened: _bare(event_pb2.WorkflowReopened),
    e.WorkflowUpdated: _workflow_updated,
    e.ReplanRequested: lambda event, _: event_pb2.ReplanRequested(
        instructions_sha256=event.instructions or "", reason=event.reason
    ),
    e.PlanningStarted: lambda event, _: event_pb2.PlanningStarted(
        attempt=event.attempt, deadline_time=optional_timestamp(event.deadline_us)
    ),
    e.PlanAdopted: _plan_adopted,
    e.PlanRejected: _plan_rejected,
    e.PlanAmended: _plan_amended,
    e.TaskReady: lambda event, _: event_pb2.TaskReady(task_id=event.task_id),
    e.TaskReopened: lambda event, _: event_pb2.TaskReopened(
        task_id=event.task_id, run=event.run, cause_task_id=event.cause, keeps_output=event.keeps_output
    ),
    e.TaskStale: lambda event, _: event_pb2.TaskStale(task_id=event.task_id, cause_task_id=event.cause),
    e.TaskHeld: lambda event, _: event_pb2.TaskHeld(task_id=event.task_id),
    e.TaskRetryScheduled: lambda event, _: event_pb2.TaskRetryScheduled(
        task_id=event.task_id, retry_time=timestamp(event.retry_at_us)
    ),
    e.TaskCompleted: lambda event, _: event_pb2.TaskCompleted(
        task_id=event.task_id, output=output_reference(event.output), reused=event.reused
    ),
    e.TaskFailed: _task_failure(event_pb2.TaskFailed),
    e.TaskSkipped: _task_skipped,
    e.TaskCancelled: _task_failure(event_pb2.TaskCancelled),
    e.AttemptStarted: _attempt_started,
    e.AttemptSucceeded: lambda event, _: event_pb2.AttemptSucceeded(
        task_id=event.task_id, attempt=event.attempt, output=output_reference(event.output)
    ),
    e.AttemptFailed: _attempt_failure(event_pb2.AttemptFailed),
    e.AttemptTimedOut: _attempt_failure(event_pb2.AttemptTimedOut),
    e.AttemptSuspended: lambda event, _: event_pb2.AttemptSuspended(
        task_id=event.task_id, attempt=event.attempt, input_ids=event.input_ids
    ),
    e.AttemptInterrupted: lambda event, _: event_pb2.AttemptInterrupted(task_id=event.task_id, attempt=event.attempt),
    e.AttemptLost: lambda event, _: event_pb2.AttemptLost(
        task_id=event.task_id, attempt=event.attempt, progressed=event.progressed
    ),
    e.InputRequested: _input_requested,
    e.InputResolved: _input_resolved,
    e.MessageReceived: _message_received,
    e.BudgetExceeded: _budget_exceeded,
    e.UsageRecorded: _usage_recorded,
    e.JournalMismatch: lambda event, _: event_pb2.JournalMismatch(
        task_id=event.task_id, attempt=event.attempt, path=event.path, turn=event.turn
    ),
    e.ResourcesAllocated: _bare(event_pb2.ResourcesAllocated),
    e.ResourcesReturned: _bare(event_pb2.ResourcesReturned),
}

EVENT_FIELDS = {
    field.number: (field.name, field.message_type.name)
    for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields
    if field.message_type is not None
}
"""Number of an EventType -> the field of Event, and the name of the event."""

_FIELD_OF = {name: field for field, name in EVENT_FIELDS.values()}
_BODIES = {kind: (_FIELD_OF[kind.__name__], _CONVERSIONS[kind]) for kind in get_args(e.Event)}
"""Of every event that the core knows; one without a message fails the import."""
