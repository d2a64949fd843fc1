"""What callers ask for, as plain values: read from any wire, checked nowhere yet. An empty text means not given.

The hash of a request, by which its repetition is known, is taken over these values: what hooks and settings add later is
not the caller's, and may differ from one try to the next.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from orcs_server.workflow.model import (
    ApprovalPolicy,
    Budget,
    Execution,
    FailurePolicy,
    OutputFormat,
    PlanningStrategy,
)
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


def command_hash(request: Struct | tuple[str, ...]) -> str:
    """Return the hash by which a repeated request is told from another one under the same request id."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()
