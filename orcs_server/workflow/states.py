"""The closed table of states: which event moves a workflow or a task from where to where.

`evolve` looks every change of state up here, so that a move which is not in the table cannot happen, and the
state diagrams in `docs/states.md` are generated from it.
"""

from __future__ import annotations

from enum import StrEnum


class WorkflowStatus(StrEnum):
    """Where a workflow stands. READY means planned and not started."""

    PLANNING = "PLANNING"
    READY = "READY"
    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TaskStatus(StrEnum):
    """Where a task stands. READY means that nothing but a slot is missing."""

    PENDING = "PENDING"
    READY = "READY"
    RUNNING = "RUNNING"
    INPUT_REQUIRED = "INPUT_REQUIRED"
    EVALUATING = "EVALUATING"
    RETRYING = "RETRYING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"


WORKFLOW_TERMINAL = frozenset({WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.CANCELLED})
TASK_TERMINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.SKIPPED})

_W = WorkflowStatus
_T = TaskStatus

WORKFLOW_MOVES: dict[str, dict[WorkflowStatus, WorkflowStatus]] = {
    "PlanAdopted": {_W.PLANNING: _W.READY},
    "WorkflowStarted": {_W.READY: _W.RUNNING},
    "WorkflowCompleted": {_W.RUNNING: _W.COMPLETED},
    "WorkflowFailed": {_W.PLANNING: _W.FAILED, _W.READY: _W.FAILED, _W.RUNNING: _W.FAILED},
}
"""Event name -> {status before: status after}. WorkflowCreated is how a workflow begins, in PLANNING."""

TASK_MOVES: dict[str, dict[TaskStatus, TaskStatus]] = {
    "TaskReady": {_T.PENDING: _T.READY, _T.RETRYING: _T.READY},
    "AttemptStarted": {_T.READY: _T.RUNNING},
    "AttemptSucceeded": {_T.RUNNING: _T.RUNNING},
    "AttemptFailed": {_T.RUNNING: _T.RUNNING},
    "AttemptTimedOut": {_T.RUNNING: _T.RUNNING},
    "AttemptInterrupted": {_T.RUNNING: _T.READY},
    "AttemptLost": {_T.RUNNING: _T.READY},
    "TaskRetryScheduled": {_T.RUNNING: _T.RETRYING},
    "TaskCompleted": {_T.RUNNING: _T.COMPLETED},
    "TaskFailed": {_T.RUNNING: _T.FAILED, _T.READY: _T.FAILED},
    "TaskSkipped": {_T.PENDING: _T.SKIPPED},
    "TaskCancelled": {
        _T.PENDING: _T.CANCELLED,
        _T.READY: _T.CANCELLED,
        _T.RUNNING: _T.CANCELLED,
        _T.RETRYING: _T.CANCELLED,
    },
}
"""Event name -> {status before: status after}. A task begins, by PlanAdopted or PlanAmended, in PENDING."""
