"""What a workflow, a task, a plan, a failure and a usage record are. Everything is frozen and holds no text of any length:
queries, descriptions, inputs and outputs are blobs, named here by the SHA-256 of their bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

from msgspec import Struct

from orcs_server.workflow.states import TASK_TERMINAL, TaskStatus, WorkflowStatus

Digest = NewType("Digest", str)
"""Lower-case hex SHA-256 of a blob's bytes."""

TITLE_LIMIT = 200
"""Characters in a title."""
PATH_LIMIT = 512
"""Characters of a journal path in an event; the rest is left out."""
FAILURE_MESSAGE_LIMIT = 2048
"""Bytes in a failure's message."""

STATUS_INDEX = {status: index for index, status in enumerate(TaskStatus)}
"""Where `WorkflowProgress.counts` counts a status."""
TERMINAL_INDEXES = tuple(STATUS_INDEX[status] for status in TaskStatus if status in TASK_TERMINAL)


class Execution(StrEnum):
    """PARALLEL runs all that is ready, within the limits; SEQUENTIAL one task at a time."""

    PARALLEL = "PARALLEL"
    SEQUENTIAL = "SEQUENTIAL"


class FailurePolicy(StrEnum):
    """ISOLATE: a failed task skips only its dependants. FAIL_FAST: it ends the workflow."""

    ISOLATE = "ISOLATE"
    FAIL_FAST = "FAIL_FAST"


class PlanningStrategy(StrEnum):
    """How the planner is asked to cut the work."""

    BREADTH_FIRST = "BREADTH_FIRST"
    SEQUENTIAL = "SEQUENTIAL"
    MINIMAL = "MINIMAL"


class OutputFormat(StrEnum):
    """The format in which a client wants the result."""

    TEXT = "TEXT"
    MARKDOWN = "MARKDOWN"
    JSON = "JSON"
    HTML = "HTML"


class ApprovalPolicy(StrEnum):
    """NONE: nothing waits for approval. PLAN: the plan waits for it before it starts."""

    NONE = "NONE"
    PLAN = "PLAN"


class PlanSource(StrEnum):
    """Who made or changed a plan."""

    PLANNER = "PLANNER"
    CLIENT = "CLIENT"
    TASK = "TASK"


class StopMode(StrEnum):
    """How what runs comes to its stop.

    DRAIN: running attempts end by themselves. AFTER_TURN: each agent stops before its next model call, tools that run end.
    IMMEDIATE: attempts are cut off. A graceful cancellation stops after the turn.
    """

    DRAIN = "DRAIN"
    AFTER_TURN = "AFTER_TURN"
    IMMEDIATE = "IMMEDIATE"


class FailureKind(StrEnum):
    """Why something failed. The failure says for itself whether trying again may help."""

    RATE_LIMITED = "RATE_LIMITED"
    TIMEOUT = "TIMEOUT"
    CONNECTION = "CONNECTION"
    SERVER_ERROR = "SERVER_ERROR"
    TRUNCATED = "TRUNCATED"
    REFUSED = "REFUSED"
    INVALID_OUTPUT = "INVALID_OUTPUT"
    MAX_TURNS = "MAX_TURNS"
    TOOL_FAILED = "TOOL_FAILED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    AUTHENTICATION = "AUTHENTICATION"
    MODEL_REQUEST = "MODEL_REQUEST"
    GUARDRAIL = "GUARDRAIL"
    UNKNOWN_AGENT = "UNKNOWN_AGENT"
    PLAN_INVALID = "PLAN_INVALID"
    LOST = "LOST"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    RESOURCES_REFUSED = "RESOURCES_REFUSED"
    DEPENDENCY_FAILED = "DEPENDENCY_FAILED"
    FAIL_FAST = "FAIL_FAST"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    INTERNAL = "INTERNAL"
    REJECTED = "REJECTED"
    INPUT_EXPIRED = "INPUT_EXPIRED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"


class Failure(Struct, frozen=True, omit_defaults=True):
    """A failure as data: what went wrong, in words that say what to do (at most 2 KiB), and whether to try again."""

    kind: FailureKind
    message: str
    retryable: bool = False
    retry_after_us: int | None = None
    """Microseconds that the failing party asked to be left alone."""
    spares_budget: bool = False
    """Nothing that the attempt did: it is tried again, if `retryable`, however often it has failed, and is not counted."""


class Usage(Struct, frozen=True, omit_defaults=True):
    """What model calls consumed; failed calls count as requests too. Money is in millionths of the currency unit."""

    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_micros: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cost_micros + other.cost_micros,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.requests - other.requests,
            self.input_tokens - other.input_tokens,
            self.cached_input_tokens - other.cached_input_tokens,
            self.output_tokens - other.output_tokens,
            self.reasoning_tokens - other.reasoning_tokens,
            self.cost_micros - other.cost_micros,
        )


NO_USAGE = Usage()


class Output(Struct, frozen=True, omit_defaults=True):
    """A reference to what a task produced."""

    digest: Digest
    media_type: str
    size: int
    """Bytes."""
    untrusted: bool = False
    """It was made by somebody who had read what comes from outside."""


class RetryPolicy(Struct, frozen=True):
    """When to try a failed attempt again: full jitter over an exponential backoff, within a budget of attempts."""

    max_attempts: int = 3
    initial_backoff_us: int = 1_000_000
    max_backoff_us: int = 60_000_000
    multiplier: float = 2.0


class Budget(Struct, frozen=True):
    """Limits on what a workflow or a task may consume; None means unlimited. At a limit a person is asked."""

    tokens: int | None = None
    cost_micros: int | None = None
    wall_time_us: int | None = None
    """Of a workflow: while it runs, not while it is paused or waits for a larger budget. Of a task: of its attempts together."""


NO_BUDGET = Budget()


class TaskSpec(Struct, frozen=True, omit_defaults=True):
    """One task of a plan, as planned."""

    id: str
    title: str
    description: Digest
    agent_id: str
    dependencies: tuple[str, ...] = ()
    priority: int = 0
    """Higher goes first."""
    timeout_us: int | None = None
    """Of one attempt; None means the server's default, frozen into the workflow."""
    max_attempts: int | None = None
    """None means the workflow's retry policy."""
    optional: bool = False
    """The workflow goes on, dependants included, when this task fails."""
    output_schema: Digest | None = None
    needs_approval: bool = False
    """A person approves it before it starts."""
    budget: Budget = NO_BUDGET
    depth: int = 0
    """How many tasks stand above it that proposed one another; 0: the planner's or a client's."""
    untrusted: bool = False
    """It was planned or proposed by an agent that had read what comes from outside."""


class WorkflowSpec(Struct, frozen=True):
    """What the client asked for and the server's configuration that was frozen with it. It changes only by request.

    Stored whole, defaults included: a default that changes later must not change workflows that exist.
    """

    title: str
    query: Digest | None = None
    labels: tuple[tuple[str, str], ...] = ()
    priority: int = 0
    execution: Execution = Execution.PARALLEL
    failure_policy: FailurePolicy = FailurePolicy.ISOLATE
    planning: PlanningStrategy = PlanningStrategy.BREADTH_FIRST
    approval_policy: ApprovalPolicy = ApprovalPolicy.NONE
    auto_start: bool = True
    max_parallel_tasks: int = 64
    max_tasks: int = 10_000
    max_plan_repairs: int = 2
    max_losses: int = 5
    """Lost attempts (crashes) in a row, without progress, that a task or the planning survives; one more fails it."""
    task_timeout_us: int = 600_000_000
    retry: RetryPolicy = RetryPolicy()
    budget: Budget = Budget()
    deadline_us: int | None = None
    not_before_us: int | None = None
    holds_resources: bool = False
    """Ask the resources hook before starting, and give back at the end."""
    resource_requirements: Digest | None = None
    context: Digest | None = None
    """JSON from the client and the context hook."""
    output_format: OutputFormat = OutputFormat.MARKDOWN
    output_schema: Digest | None = None
    continue_from: str | None = None
    earlier: Output | None = None
    """What that workflow came to, as it was at creation."""
    agents: tuple[tuple[str, str], ...] = ()
    """(agent id, revision) of every agent known at creation: the plan may name only these."""
    configuration: Digest | None = None
    """JSON of the settings and prompts frozen at creation."""
    max_proposed_tasks: int = 100
    """Tasks that running tasks may propose in all."""
    max_proposal_depth: int = 3
    """How deep tasks that were proposed may propose others."""
    approval_expires_us: int | None = None
    """How long an approval may wait; None: without end."""


class ResourceStatus(StrEnum):
    """Whether the resources hook has given what the workflow needs."""

    NONE = "NONE"
    GRANTED = "GRANTED"
    RELEASED = "RELEASED"


class Planning(Struct, frozen=True, omit_defaults=True):
    """How far planning has come."""

    attempt: int = 0
    """Number of the last attempt that was begun."""
    running: bool = False
    rejected: int = 0
    """Plans that were bad: the repair budget."""
    failures: int = 0
    """Attempts that failed for other reasons: the retry budget."""
    losses: int = 0
    """Attempts lost in a row: the crash budget."""
    retry_at_us: int | None = None
    deadline_us: int | None = None
    """When the running attempt times out."""
    problems: tuple[str, ...] = ()
    """What was wrong with the last plan, handed to the planner for its repair."""
    calls: int = 0
    mismatched: int = 0
    """The last attempt that did not match the journal of its run."""
    attempt_usage: Usage = NO_USAGE
    usage: Usage = NO_USAGE
    """All attempts together, the running one included."""
    replanning: bool = False
    """An adopted plan is to be made anew."""
    replans: int = 0
    """Times that it was asked for: each is a conversation of its own."""
    instructions: Digest | None = None
    """What the new plan is to bring."""
    reason: str = ""
    """Why the last plan was not wanted, if a person said so."""


class WorkflowProgress(Struct, frozen=True, omit_defaults=True):
    """The part of a workflow that moves, without its tasks. One row of storage."""

    status: WorkflowStatus
    created_us: int
    planning: Planning = Planning()
    plan_revision: int = 0
    resources: ResourceStatus = ResourceStatus.NONE
    started_us: int | None = None
    finished_us: int | None = None
    failure: Failure | None = None
    usage: Usage = NO_USAGE
    """Planner and all tasks together."""
    paused: bool = False
    """Somebody paused it."""
    frozen: bool = False
    """Its namespace is frozen."""
    stop: StopMode | None = None
    """How what runs comes to its stop, in PAUSING and CANCELLING."""
    running_since_us: int | None = None
    """While its wall time is counted."""
    ran_us: int = 0
    """Wall time before that."""
    approved: Digest | None = None
    """Fingerprint of the plan that a person approved."""
    retired: tuple[str, ...] = ()
    """Ids of tasks that left the plan, never to be used again."""
    waiting: int = 0
    """Inputs that wait for people."""
    task_count: int = 0
    counts: tuple[int, ...] = (0,) * len(TaskStatus)
    """Tasks in each status, in the order of `TaskStatus`."""


class TaskProgress(Struct, frozen=True, omit_defaults=True):
    """The part of a task that moves. One row of storage."""

    status: TaskStatus = TaskStatus.PENDING
    attempt: int = 0
    """Number of the last attempt that was begun; never reused. The fence of every report."""
    run: int = 0
    """Number of the agent conversation that attempts continue; never reused."""
    failures: int = 0
    losses: int = 0
    retry_at_us: int | None = None
    started_us: int | None = None
    attempt_started_us: int | None = None
    deadline_us: int | None = None
    """When the running attempt times out."""
    finished_us: int | None = None
    calls: int = 0
    mismatched: int = 0
    """The last attempt that did not match the journal of its run."""
    attempt_usage: Usage = NO_USAGE
    usage: Usage = NO_USAGE
    """All attempts together, the running one included."""
    output: Output | None = None
    failure: Failure | None = None
    ran_us: int = 0
    """Time of its attempts that ended."""
    fingerprint: str = ""
    """Of everything that its latest attempt rested on."""
    kept: Output | None = None
    """Its output from before it was reopened: still good if it would rest on the same again."""
    stale: bool = False
    """Its output rests on one that has changed since."""
    waived: bool = False
    """A person decided that its dependants go on without it, or with a substitute."""
