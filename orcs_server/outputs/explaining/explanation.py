"""What an explanation says: reasons with a code for programs and a sentence for people, attempts, costs."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from orcs_server.workflow.model import Budget, Failure, Usage
from orcs_server.workflow.people import MessageMode
from orcs_server.workflow.states import TaskStatus, WorkflowStatus


class ReasonCode(StrEnum):
    """What kind of reason it is. Those of what waits for a person are named like `InputKind`."""

    # What is waited for, or under way
    PLANNING = "PLANNING"
    PLANNING_SLOT = "PLANNING_SLOT"
    PLAN_RETRY = "PLAN_RETRY"
    REPLANNING = "REPLANNING"
    NOT_STARTED = "NOT_STARTED"
    NOT_BEFORE = "NOT_BEFORE"
    QUESTION = "QUESTION"
    PLAN_APPROVAL = "PLAN_APPROVAL"
    TASK_APPROVAL = "TASK_APPROVAL"
    TOOL_APPROVAL = "TOOL_APPROVAL"
    BUDGET = "BUDGET"
    UNSAFE_RERUN = "UNSAFE_RERUN"
    PAUSED = "PAUSED"
    FROZEN = "FROZEN"
    STOPPING = "STOPPING"
    CANCELLING = "CANCELLING"
    RESOURCES = "RESOURCES"
    RESOURCES_RETURN = "RESOURCES_RETURN"
    RUNNING = "RUNNING"
    SLOT = "SLOT"
    PARALLEL_LIMIT = "PARALLEL_LIMIT"
    RETRY = "RETRY"
    MODEL_OUTAGE = "MODEL_OUTAGE"
    LOSSES = "LOSSES"
    DEPENDENCIES = "DEPENDENCIES"
    STORAGE_TROUBLE = "STORAGE_TROUBLE"
    HOOK_TROUBLE = "HOOK_TROUBLE"
    # How it ended
    COMPLETED = "COMPLETED"
    OUTPUT_REUSED = "OUTPUT_REUSED"
    STALE = "STALE"
    FAILED = "FAILED"
    ATTEMPTS_USED_UP = "ATTEMPTS_USED_UP"
    NOT_RETRYABLE = "NOT_RETRYABLE"
    LOST_TOO_OFTEN = "LOST_TOO_OFTEN"
    REJECTED = "REJECTED"
    INPUT_EXPIRED = "INPUT_EXPIRED"
    BUDGET_REFUSED = "BUDGET_REFUSED"
    DEPENDENCY_FAILED = "DEPENDENCY_FAILED"
    SKIPPED_BY_PERSON = "SKIPPED_BY_PERSON"
    CANCELLED_BY_PERSON = "CANCELLED_BY_PERSON"
    WORKFLOW_CANCELLED = "WORKFLOW_CANCELLED"
    WORKFLOW_FAILED = "WORKFLOW_FAILED"
    # What happened
    CREATED = "CREATED"
    STARTED = "STARTED"
    RESUMED = "RESUMED"
    THAWED = "THAWED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    REOPENED = "REOPENED"
    REOPENED_BY_DEPENDENCY = "REOPENED_BY_DEPENDENCY"
    UPDATED = "UPDATED"
    PLAN_ADOPTED = "PLAN_ADOPTED"
    PLAN_REJECTED = "PLAN_REJECTED"
    PLAN_CHANGED = "PLAN_CHANGED"
    REPLAN_REQUESTED = "REPLAN_REQUESTED"
    INPUTS_CHANGED = "INPUTS_CHANGED"
    RESOURCES_GRANTED = "RESOURCES_GRANTED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    INPUT_REQUESTED = "INPUT_REQUESTED"
    INPUT_RESOLVED = "INPUT_RESOLVED"
    MESSAGE_RECEIVED = "MESSAGE_RECEIVED"
    JOURNAL_MISMATCH = "JOURNAL_MISMATCH"
    RETRY_SCHEDULED = "RETRY_SCHEDULED"
    # What is waited for, too
    QUOTA = "QUOTA"


class Reason(Struct, frozen=True):
    """One reason. The text says nothing that the other fields do not say to programs, times excepted, which only `time_us` says."""

    code: ReasonCode
    text: str
    task_ids: tuple[str, ...] = ()
    """Other tasks that it is about; of a chain, the last one is where it began."""
    input_id: str = ""
    time_us: int | None = None
    """When it happened, or came to be; of a wait that ends by the clock, when it ends."""
    actor: str = ""
    """Who brought it about; empty: nobody, or nobody knows."""
    failure: Failure | None = None


class AttemptEnding(StrEnum):
    """How an attempt came to its end."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    SUSPENDED = "SUSPENDED"
    INTERRUPTED = "INTERRUPTED"
    LOST = "LOST"
    CUT_OFF = "CUT_OFF"


class Attempt(Struct, frozen=True):
    """One attempt of a task, or of the planner."""

    number: int
    run: int
    """The conversation that it continued; 0 for the planner's."""
    started_us: int
    ended_us: int | None = None
    ending: AttemptEnding | None = None
    """None while it runs."""
    failure: Failure | None = None
    calls: int = 0
    usage: Usage = Usage()
    input_ids: tuple[str, ...] = ()
    """What it stopped to wait for."""


class Attempts(Struct, frozen=True):
    """The latest attempts, the first one first."""

    latest: tuple[Attempt, ...] = ()
    omitted: int = 0
    """How many came before."""


class Past(Struct, frozen=True):
    """The latest things that happened, the first one first."""

    latest: tuple[Reason, ...] = ()
    omitted: int = 0
    """How many came before."""


class ReadMessage(Struct, frozen=True):
    """A message that a task's agent is to read."""

    id: str
    mode: MessageMode
    time_us: int
    actor: str
    counted: bool
    """The task's output was made in the knowledge of it."""


class TaskExplanation(Struct, frozen=True):
    """Why a task stands where it stands."""

    task_id: str
    title: str
    ordinal: int
    status: TaskStatus
    why: tuple[Reason, ...]
    """Why it is so now: what it waits for, or why it ended as it did."""
    past: Past
    attempts: Attempts
    failed_attempts: int
    """Of the budget of attempts, since it was last reopened."""
    max_attempts: int
    lost_attempts: int
    """In a row, without progress."""
    usage: Usage
    ran_us: int
    """Time of its attempts together, the running one included."""
    messages: tuple[ReadMessage, ...] = ()
    """The latest, the first one first."""


class Cost(Struct, frozen=True):
    """What a workflow has cost so far."""

    usage: Usage
    planning: Usage
    tasks: Usage
    """Those that left the plan included."""
    ran_us: int
    """Of the wall time that the budget counts."""
    elapsed_us: int
    """From its creation to its end, or to now."""
    budget: Budget


class Explanation(Struct, frozen=True):
    """Why a workflow stands where it stands, and some of its tasks."""

    status: WorkflowStatus
    why: tuple[Reason, ...]
    """What it waits for right now, or why it ended as it did."""
    past: Past
    attempts: Attempts
    """Of the planner."""
    cost: Cost
    tasks: tuple[TaskExplanation, ...]
