"""What can be said to a workflow. A request may be refused (`IllegalTransition`); a report says what an effect did, and a
stale or repeated one changes nothing.
"""

from __future__ import annotations

from msgspec import Struct

from orcs_server.workflow.model import Failure, Output, PlanSource, TaskSpec, Usage, WorkflowSpec

# Requests


class CreateWorkflow(Struct, frozen=True):
    """Begin a workflow; with `tasks` the plan is the client's, without it the planner makes one."""

    namespace: str
    workflow_id: str
    spec: WorkflowSpec
    tasks: tuple[TaskSpec, ...] | None = None


class StartWorkflow(Struct, frozen=True):
    """Start a workflow that is READY."""


class DeleteWorkflow(Struct, frozen=True):
    """Delete a workflow that has ended."""


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


Request = CreateWorkflow | StartWorkflow | DeleteWorkflow | TasksProposed
Report = (
    SlotGranted
    | PlanMade
    | PlanFailed
    | AttemptFinished
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
