"""What can be said to a workflow. A request may be refused (`IllegalTransition`); a report says what an effect did, and a
stale or repeated one changes nothing.
"""

from __future__ import annotations

from msgspec import Struct

from orcs_server.workflow.edits import PlanEdit
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
from orcs_server.workflow.people import Decision, MessageMode, Need

# Requests


class CreateWorkflow(Struct, frozen=True):
    """Begin a workflow; with `tasks` the plan is the client's, without it the planner makes one."""

    namespace: str
    workflow_id: str
    spec: WorkflowSpec
    tasks: tuple[TaskSpec, ...] | None = None
    frozen: bool = False
    """Its namespace is frozen: it waits for the thaw."""
    frozen_because: str = ""


class StartWorkflow(Struct, frozen=True):
    """Start a workflow that is READY."""


class DeleteWorkflow(Struct, frozen=True):
    """Delete a workflow that has ended."""


class PauseWorkflow(Struct, frozen=True):
    """Bring what runs to its stop. Pausing again, in the same or a gentler mode, changes nothing."""

    mode: StopMode
    reason: str = ""
    freeze: bool = False
    """For the whole namespace: taken back by a thaw only."""


class ResumeWorkflow(Struct, frozen=True):
    """Go on from where the pause left it."""

    freeze: bool = False


class CancelWorkflow(Struct, frozen=True):
    """End the workflow: AFTER_TURN lets each agent finish its turn, IMMEDIATE cuts it off. Finished outputs stay."""

    mode: StopMode
    reason: str = ""


class UpdateWorkflow(Struct, frozen=True):
    """Change what is not None."""

    budget: Budget | None = None
    labels: tuple[tuple[str, str], ...] | None = None
    priority: int | None = None
    principal: str = ""
    may_approve: bool = True
    """Whoever asks for it may approve, too: only then a budget that is used up and waits for approval can be changed."""


class RetryTask(Struct, frozen=True):
    """Carry a task out again; with a new description it begins a new conversation, and so does one that completed."""

    task_id: str
    description: Digest | None = None
    include_dependants: bool = False
    """Carry out again, too, what rests on its output, where that changes; else their outputs stay, marked as stale."""


class SkipTask(Struct, frozen=True):
    """Go on without a task, or with a substitute for its output."""

    task_id: str
    reason: str = ""
    output: Output | None = None
    may_approve: bool = True
    """Whoever asks for it may approve, too: only then a task that needs approval can be skipped."""


class CancelTask(Struct, frozen=True):
    """End one task; what depends on it is skipped."""

    task_id: str
    reason: str = ""


class EditPlan(Struct, frozen=True):
    """Change the plan, all of it or nothing. Tasks that have begun cannot be changed or removed."""

    edits: tuple[PlanEdit, ...]
    revision: int | None = None
    """The plan's revision that the editor saw; None means any."""
    may_approve: bool = True
    """Whoever edits may approve, too: only then the need for an approval can be taken away."""


class Replan(Struct, frozen=True):
    """Have the planner plan anew what has not begun."""

    instructions: Digest
    revision: int | None = None
    may_approve: bool = True
    """As in `EditPlan`."""


class SendMessage(Struct, frozen=True):
    """Say something to a task's agent or, without a task, to all of the workflow's."""

    text: Digest
    mode: MessageMode = MessageMode.QUEUE
    task_id: str = ""
    principal: str = ""
    may_approve: bool = True
    """With REPLAN: as in `EditPlan`."""


class AnswerInput(Struct, frozen=True):
    """Answer a question. The first answer counts; the same one again changes nothing."""

    input_id: str
    answer: Digest
    principal: str = ""
    shared: bool = False
    """Later tasks and the planner see it, too."""


class ResolveApproval(Struct, frozen=True):
    """Decide about anything that is no question."""

    input_id: str
    decision: Decision
    shown: Digest | None = None
    """SHA-256 of what the decision is about, as it was shown."""
    reason: str = ""
    principal: str = ""
    edit: Digest | None = None
    """With EDIT: the new arguments, result or description."""
    budget: Budget | None = None
    """With EDIT of a budget: the new one."""


class TasksProposed(Struct, frozen=True):
    """Somebody wants tasks added to the plan. Refused like a request; the same proposal again changes nothing."""

    tasks: tuple[TaskSpec, ...]
    source: PlanSource
    proposer: str = ""
    """The proposing task's id, if it was one."""
    attempt: int = 0
    """The proposing task's attempt: a stale one adds nothing."""
    revision: int | None = None
    """The plan's revision that the proposer saw; None means any."""


# Reports


class SlotGranted(Struct, frozen=True):
    """The engine has room for this attempt and will run it once its start is stored. No task id: the planner's attempt."""

    attempt: int
    task_id: str = ""


class PlanMade(Struct, frozen=True):
    """The planner answered with a well-formed plan; whether it is a good one is for the core to say."""

    attempt: int
    tasks: tuple[TaskSpec, ...]
    read: int = 0
    """Messages that the planner has read."""


class PlanFailed(Struct, frozen=True):
    """The planner's attempt brought no plan. `problems` is what a repair must mend, if the answer was unusable."""

    attempt: int
    failure: Failure
    problems: tuple[str, ...] = ()
    jitter: float = 1.0
    """Drawn by the engine from [0, 1): full jitter."""


class AttemptFinished(Struct, frozen=True):
    """A task's attempt ended by itself, with an output or a failure."""

    task_id: str
    attempt: int
    output: Output | None = None
    failure: Failure | None = None
    jitter: float = 1.0
    read: int = 0
    """Messages that the agent has read. An output that does not know of one does not count."""


class AttemptSuspended(Struct, frozen=True):
    """The attempt can go on only once people have given what it needs. No task id: the planner's."""

    attempt: int
    needs: tuple[Need, ...]
    task_id: str = ""


class AttemptInterrupted(Struct, frozen=True):
    """The engine stopped the attempt in good order (shutdown). It costs no budget. No task id: the planner's."""

    attempt: int
    task_id: str = ""


class AttemptLost(Struct, frozen=True):
    """The attempt vanished with its process. It is not a failure, and has a budget of its own."""

    attempt: int
    task_id: str = ""
    """Empty: the planner's."""
    progressed: bool = False
    """The attempt had stored finished calls, so that the next one goes further."""


class UsageRecorded(Struct, frozen=True):
    """What the attempt has consumed so far, over `calls` model calls. Cumulative, so that loss and repetition do no harm."""

    attempt: int
    calls: int
    usage: Usage
    task_id: str = ""


class JournalMismatch(Struct, frozen=True):
    """What the attempt asked its model does not match the journal: it takes another course than the attempts before it."""

    attempt: int
    turn: int
    path: str = ""
    task_id: str = ""
    """Empty: the planner's."""


class ResourcesGranted(Struct, frozen=True):
    """The resources hook gave what the workflow needs."""


class ResourcesRefused(Struct, frozen=True):
    """The resources hook refused, or failed for good."""

    reason: str


class ResourcesReleased(Struct, frozen=True):
    """The resources hook took everything back."""


class Tick(Struct, frozen=True):
    """Time has passed: a wake-up time is due."""

    jitter: float = 1.0


Control = (
    StartWorkflow
    | PauseWorkflow
    | ResumeWorkflow
    | CancelWorkflow
    | UpdateWorkflow
    | DeleteWorkflow
    | RetryTask
    | SkipTask
    | CancelTask
    | EditPlan
    | Replan
    | SendMessage
    | AnswerInput
    | ResolveApproval
)
"""Requests to a workflow that exists, by clients."""
Request = CreateWorkflow | TasksProposed | Control
Report = (
    SlotGranted
    | PlanMade
    | PlanFailed
    | AttemptFinished
    | AttemptSuspended
    | AttemptInterrupted
    | AttemptLost
    | UsageRecorded
    | JournalMismatch
    | ResourcesGranted
    | ResourcesRefused
    | ResourcesReleased
    | Tick
)
Message = Request | Report
