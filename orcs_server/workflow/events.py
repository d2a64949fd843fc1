"""What has happened to a workflow, in the past tense. Frozen for ever once stored: a change of shape is a new schema version
with an upcaster in `storage/codec`. Events hold structure and bounded text only.
"""

from __future__ import annotations

from msgspec import Struct

from orcs_server.workflow.model import Failure, Output, PlanSource, TaskSpec, Usage, WorkflowSpec


class WorkflowCreated(Struct, frozen=True, tag=True):
    namespace: str
    workflow_id: str
    spec: WorkflowSpec


class PlanningStarted(Struct, frozen=True, tag=True, omit_defaults=True):
    attempt: int
    deadline_us: int | None = None
    """None in logs from before planning had a time limit here."""


class PlanRejected(Struct, frozen=True, tag=True, omit_defaults=True):
    """A planner's attempt brought no usable plan. With `retry_at_us` another one follows."""

    attempt: int
    failure: Failure
    problems: tuple[str, ...] = ()
    retry_at_us: int | None = None


class PlanAdopted(Struct, frozen=True, tag=True):
    revision: int
    tasks: tuple[TaskSpec, ...]
    source: PlanSource


class PlanAmended(Struct, frozen=True, tag=True, omit_defaults=True):
    """The one event by which planner, client or task change a plan that was adopted."""

    revision: int
    source: PlanSource
    task_count: int
    """Tasks that the plan has now."""
    added: tuple[TaskSpec, ...] = ()
    changed: tuple[TaskSpec, ...] = ()
    removed: tuple[str, ...] = ()
    proposer: str = ""


class WorkflowStarted(Struct, frozen=True, tag=True):
    pass


class WorkflowCompleted(Struct, frozen=True, tag=True):
    pass


class WorkflowFailed(Struct, frozen=True, tag=True):
    failure: Failure


class WorkflowDeleted(Struct, frozen=True, tag=True):
    pass


class ResourcesAllocated(Struct, frozen=True, tag=True):
    pass


class ResourcesReturned(Struct, frozen=True, tag=True):
    pass


class TaskReady(Struct, frozen=True, tag=True):
    task_id: str


class AttemptStarted(Struct, frozen=True, tag=True):
    task_id: str
    attempt: int
    run: int
    deadline_us: int


class AttemptSucceeded(Struct, frozen=True, tag=True):
    task_id: str
    attempt: int
    output: Output


class AttemptFailed(Struct, frozen=True, tag=True):
    task_id: str
    attempt: int
    failure: Failure


class AttemptTimedOut(Struct, frozen=True, tag=True):
    task_id: str
    attempt: int
    failure: Failure


class AttemptInterrupted(Struct, frozen=True, tag=True, omit_defaults=True):
    """The engine stopped the attempt in good order; it costs nothing. No task id: the planner."""

    attempt: int
    task_id: str = ""


class AttemptLost(Struct, frozen=True, tag=True, omit_defaults=True):
    """The attempt vanished with its process. No task id: the planner."""

    attempt: int
    task_id: str = ""
    progressed: bool = False


class TaskRetryScheduled(Struct, frozen=True, tag=True):
    task_id: str
    retry_at_us: int


class TaskCompleted(Struct, frozen=True, tag=True):
    task_id: str
    output: Output


class TaskFailed(Struct, frozen=True, tag=True):
    task_id: str
    failure: Failure


class TaskSkipped(Struct, frozen=True, tag=True):
    """The task will not run, because `cause` (a task id) did not complete."""

    task_id: str
    cause: str
    failure: Failure


class TaskCancelled(Struct, frozen=True, tag=True):
    task_id: str
    failure: Failure


class JournalMismatch(Struct, frozen=True, tag=True, omit_defaults=True):
    """What an attempt asked its model does not match what the journal of its run says. No task id: the planner."""

    attempt: int
    turn: int
    """Of the model call, from 0, within the path."""
    path: str = ""
    """The ids of the tool calls within which the call was made, parted by `/`; bounded."""
    task_id: str = ""


class UsageRecorded(Struct, frozen=True, tag=True, omit_defaults=True):
    """What the attempt consumed so far (cumulative) over `calls` model calls. No task id: the planner."""

    attempt: int
    calls: int
    usage: Usage
    task_id: str = ""


Event = (
    WorkflowCreated
    | PlanningStarted
    | PlanRejected
    | PlanAdopted
    | PlanAmended
    | WorkflowStarted
    | WorkflowCompleted
    | WorkflowFailed
    | WorkflowDeleted
    | ResourcesAllocated
    | ResourcesReturned
    | TaskReady
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | AttemptTimedOut
    | AttemptInterrupted
    | AttemptLost
    | TaskRetryScheduled
    | TaskCompleted
    | TaskFailed
    | TaskSkipped
    | TaskCancelled
    | UsageRecorded
    | JournalMismatch
)
