"""What callers ask for, as plain values: read from any wire, checked nowhere yet. An empty text means not given.

The hash of a request, by which its repetition is known, is taken over these values: what hooks and settings add later is
not the caller's, and may differ from one try to the next.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import UNSET, Struct, UnsetType

from orcs_server.workflow.edits import RemoveTask, SetDependencies
from orcs_server.workflow.model import (
    ApprovalPolicy,
    Budget,
    Execution,
    FailurePolicy,
    OutputFormat,
    PlanningStrategy,
)
from orcs_server.workflow.people import Decision, InputKind, MessageMode
from orcs_server.workflow.states import TaskStatus, WorkflowStatus


class NewTask(Struct, frozen=True, omit_defaults=True):
    """A task of a client's plan."""

    title: str
    description: str
    agent_id: str
    id: str = ""
    dependencies: tuple[str, ...] = ()
    priority: int = 0
    timeout_us: int | None = None
    max_attempts: int | None = None
    optional: bool = False
    output_schema: str = ""
    needs_approval: bool = False
    budget: Budget = Budget()


class RetryWish(Struct, frozen=True, omit_defaults=True):
    """The parts of a retry policy that the caller sets; the rest is the server's default."""

    max_attempts: int | None = None
    initial_backoff_us: int | None = None
    max_backoff_us: int | None = None
    multiplier: float | None = None


class NewWorkflow(Struct, frozen=True, omit_defaults=True):
    """A workflow to be created, from a query or from a plan."""

    workflow_id: str = ""
    title: str = ""
    query: str | None = None
    plan: tuple[NewTask, ...] | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted by key."""
    context: str = ""
    """A JSON object."""
    priority: int = 0
    budget: Budget = Budget()
    deadline_us: int | None = None
    not_before_us: int | None = None
    resource_requirements: str = ""
    """A JSON object."""
    output_format: OutputFormat = OutputFormat.MARKDOWN
    output_schema: str = ""
    approval_policy: ApprovalPolicy = ApprovalPolicy.NONE
    failure_policy: FailurePolicy = FailurePolicy.ISOLATE
    execution: Execution = Execution.PARALLEL
    planning: PlanningStrategy | None = None
    continue_from: str = ""
    auto_start: bool = True
    retry: RetryWish = RetryWish()
    max_parallel_tasks: int = 0
    max_tasks: int | None = None


class PlanDraft(Struct, frozen=True, omit_defaults=True):
    """A query or a plan to be looked at without storing anything."""

    query: str | None = None
    plan: tuple[NewTask, ...] | None = None
    context: str = ""
    planning: PlanningStrategy | None = None
    max_tasks: int | None = None


class WorkflowWish(Struct, frozen=True):
    """Which workflows a list or a watch is about; what is left out does not restrict."""

    statuses: tuple[WorkflowStatus, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


class TaskWish(Struct, frozen=True):
    """Which tasks of a workflow a list is about; what is left out does not restrict."""

    statuses: tuple[TaskStatus, ...] = ()
    agent_id: str = ""


class WatchWish(Struct, frozen=True):
    """What to watch of one workflow, and from where."""

    workflow_id: str
    after_cursor: str = ""
    snapshot: bool = False
    event_types: frozenset[str] = frozenset()
    """Names of event classes; empty: all."""
    deltas: bool = False
    heartbeat_us: int | None = None


class WatchAllWish(Struct, frozen=True):
    """Which workflows to watch, and from where."""

    which: WorkflowWish = WorkflowWish()
    after_cursor: str = ""
    snapshot: bool = False
    heartbeat_us: int | None = None


class Content(Struct, frozen=True, omit_defaults=True):
    """A piece of content: text, JSON as text, or bytes."""

    text: str = ""
    is_json: bool = False
    data: bytes | None = None
    """Bytes that are not text."""
    media_type: str = ""


class MessageWish(Struct, frozen=True):
    """A message to what runs."""

    text: Content
    mode: MessageMode = MessageMode.QUEUE
    task_id: str = ""


class RetryTaskWish(Struct, frozen=True):
    """Which task is to be carried out again, and how."""

    task_id: str
    description: str | None = None
    include_dependants: bool = False


class TaskChange(Struct, frozen=True, omit_defaults=True):
    """Another form of a task: what is set is changed, the rest stays. An empty text takes a schema away."""

    task_id: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    agent_id: str | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    timeout_us: int | UnsetType | None = UNSET
    max_attempts: int | UnsetType | None = UNSET
    optional: bool | UnsetType = UNSET
    output_schema: str | UnsetType = UNSET
    needs_approval: bool | UnsetType = UNSET
    budget: Budget | UnsetType = UNSET


PlanChange = NewTask | TaskChange | RemoveTask | SetDependencies
"""One edit of a plan, texts as they are; a `NewTask` is added."""


class Resolving(Struct, frozen=True, omit_defaults=True):
    """A decision about an approval."""

    input_id: str
    decision: Decision
    subject_sha256: str = ""
    reason: str = ""
    content: Content | None = None
    budget: Budget | None = None


class InputWish(Struct, frozen=True):
    """Which pending inputs a list or a watch is about; what is left out does not restrict."""

    workflow_id: str = ""
    task_id: str = ""
    kinds: tuple[InputKind, ...] = ()
    include_resolved: bool = False


class WatchInputsWish(Struct, frozen=True):
    """Which pending inputs to watch, and from where."""

    which: InputWish = InputWish()
    after_cursor: str = ""
    heartbeat_us: int | None = None


def command_hash(request: object) -> str:
    """Return the hash by which a repeated request is told from another one under the same request id."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()
