"""What has happened to a workflow, in the past tense. Frozen for ever once stored: a change of shape is a new schema version
with an upcaster in `storage/codec`. Events hold structure and bounded text only.
"""

from __future__ import annotations

from msgspec import Struct

from orcs_server.workflow.model import (
    Budget,
    Digest,
    Failure,
    Output,
    PlanSource,
    StopMode,
    TaskSpec,
    Usage,
    WorkflowSpec,
)
from orcs_server.workflow.people import PendingInput, PersonMessage, Resolution


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
    keeps_approval: bool = False
    """Who may approve made the change: a plan that was approved is approved with it."""


class WorkflowStarted(Struct, frozen=True, tag=True):
    pass


class WorkflowPausing(Struct, frozen=True, tag=True, omit_defaults=True):
    """A pause was asked for, by a person or for the whole namespace; what runs is coming to its stop."""

    mode: StopMode
    reason: str = ""
    freeze: bool = False


class WorkflowPaused(Struct, frozen=True, tag=True):
    """Nothing runs any more."""


class WorkflowResumed(Struct, frozen=True, tag=True, omit_defaults=True):
    """A pause was taken back: by a person or for the whole namespace."""

    freeze: bool = False


class WorkflowCancelRequested(Struct, frozen=True, tag=True, omit_defaults=True):
    mode: StopMode
    reason: str = ""


class WorkflowCancelled(Struct, frozen=True, tag=True):
    pass


class WorkflowReopened(Struct, frozen=True, tag=True):
    """A workflow that had ended goes on."""


class WorkflowUpdated(Struct, frozen=True, tag=True, omit_defaults=True):
    """What is not None was changed."""

    budget: Budget | None = None
    labels: tuple[tuple[str, str], ...] | None = None
    priority: int | None = None


class ReplanRequested(Struct, frozen=True, tag=True, omit_defaults=True):
    """What has not begun is to be planned anew, in the light of the instructions, or of the reason why the plan was not wanted."""

    instructions: Digest | None = None
    reason: str = ""


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


class TaskReopened(Struct, frozen=True, tag=True, omit_defaults=True):
    """The task is to be carried out again, or for the first time after all, in the conversation `run`."""

    task_id: str
    run: int
    cause: str = ""
    """The task that is carried out again, if it is not this one."""
    keeps_output: bool = False
    """Its output still counts if it would rest on the same as before."""


class TaskStale(Struct, frozen=True, tag=True):
    """The task's output rests on that of `cause`, which is made anew."""

    task_id: str
    cause: str


class TaskHeld(Struct, frozen=True, tag=True):
    """The task waits for leave to start."""

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


class AttemptSuspended(Struct, frozen=True, tag=True, omit_defaults=True):
    """The attempt stopped to wait for people; a later one continues it. No task id: the planner."""

    attempt: int
    input_ids: tuple[str, ...]
    task_id: str = ""


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


class TaskCompleted(Struct, frozen=True, tag=True, omit_defaults=True):
    task_id: str
    output: Output
    reused: bool = False
    """The output is that from before it was reopened: it would rest on the same again."""


class TaskFailed(Struct, frozen=True, tag=True):
    task_id: str
    failure: Failure


class TaskSkipped(Struct, frozen=True, tag=True, omit_defaults=True):
    """The task will not run: `cause` (a task id) did not complete or, without a cause, a person said so. Then its dependants go on,
    with the substitute output if there is one.
    """

    task_id: str
    cause: str
    failure: Failure
    output: Output | None = None


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


class InputRequested(Struct, frozen=True, tag=True):
    input: PendingInput


class InputResolved(Struct, frozen=True, tag=True, omit_defaults=True):
    input_id: str
    resolution: Resolution
    task_id: str = ""
    answer: Digest | None = None
    reason: str = ""
    principal: str = ""
    """Who resolved it; empty: nobody did."""
    shared: bool = False
    budget: Budget | None = None
    """What a budget was edited to."""


class MessageReceived(Struct, frozen=True, tag=True):
    message: PersonMessage


class BudgetExceeded(Struct, frozen=True, tag=True, omit_defaults=True):
    """A limit was reached. No task id: the workflow's."""

    limit: str
    """tokens, cost_micros or wall_time_us."""
    budget: Budget
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
    | ReplanRequested
    | WorkflowStarted
    | WorkflowPausing
    | WorkflowPaused
    | WorkflowResumed
    | WorkflowCancelRequested
    | WorkflowCancelled
    | WorkflowReopened
    | WorkflowUpdated
    | WorkflowCompleted
    | WorkflowFailed
    | WorkflowDeleted
    | ResourcesAllocated
    | ResourcesReturned
    | TaskReady
    | TaskReopened
    | TaskStale
    | TaskHeld
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | AttemptTimedOut
    | AttemptSuspended
    | AttemptInterrupted
    | AttemptLost
    | TaskRetryScheduled
    | TaskCompleted
    | TaskFailed
    | TaskSkipped
    | TaskCancelled
    | InputRequested
    | InputResolved
    | MessageReceived
    | BudgetExceeded
    | UsageRecorded
    | JournalMismatch
)
