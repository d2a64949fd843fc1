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

_LIVE = (_W.PLANNING, _W.READY, _W.RUNNING)

WORKFLOW_MOVES: dict[str, dict[WorkflowStatus, tuple[WorkflowStatus, ...]]] = {
    "PlanAdopted": {_W.PLANNING: (_W.READY,), _W.PAUSING: (_W.PAUSING,)},
    "WorkflowStarted": {_W.READY: (_W.RUNNING,)},
    "WorkflowPausing": {**dict.fromkeys((*_LIVE, _W.PAUSING), (_W.PAUSING,)), _W.PAUSED: (_W.PAUSED,)},
    "WorkflowPaused": {_W.PAUSING: (_W.PAUSED,)},
    "WorkflowResumed": {_W.PAUSING: (_W.PAUSING, *_LIVE), _W.PAUSED: (_W.PAUSED, *_LIVE)},
    "WorkflowCancelRequested": dict.fromkeys((*_LIVE, _W.PAUSING, _W.PAUSED, _W.CANCELLING), (_W.CANCELLING,)),
    "WorkflowCancelled": {_W.CANCELLING: (_W.CANCELLED,)},
    "WorkflowCompleted": {_W.RUNNING: (_W.COMPLETED,), _W.PAUSING: (_W.COMPLETED,)},
    "WorkflowFailed": dict.fromkeys((*_LIVE, _W.PAUSING, _W.PAUSED), (_W.FAILED,)),
    "WorkflowReopened": {_W.COMPLETED: (_W.RUNNING,), _W.FAILED: (_W.RUNNING, _W.READY, _W.PLANNING)},
}
"""Event name -> {status before: what it may be after}. WorkflowCreated is how a workflow begins, in PLANNING.

Where there are several, the workflow goes to where it would stand if nobody had paused it.
"""

_ASKED = (_T.READY, _T.RUNNING, _T.RETRYING, _T.INPUT_REQUIRED)
"""Tasks that have not ended and wait for no other."""

TASK_MOVES: dict[str, dict[TaskStatus, TaskStatus]] = {
    "TaskReady": dict.fromkeys((_T.PENDING, _T.RETRYING, _T.INPUT_REQUIRED), _T.READY),
    "TaskReopened": dict.fromkeys((*_ASKED, *sorted(TASK_TERMINAL)), _T.PENDING),
    "AttemptStarted": {_T.READY: _T.RUNNING},
    "AttemptSucceeded": {_T.RUNNING: _T.RUNNING},
    "AttemptFailed": {_T.RUNNING: _T.RUNNING},
    "AttemptTimedOut": {_T.RUNNING: _T.RUNNING},
    "AttemptSuspended": {_T.RUNNING: _T.INPUT_REQUIRED},
    "AttemptInterrupted": {_T.RUNNING: _T.READY},
    "AttemptLost": {_T.RUNNING: _T.READY},
    "TaskHeld": dict.fromkeys((_T.PENDING, _T.READY), _T.INPUT_REQUIRED),
    "TaskRetryScheduled": {_T.RUNNING: _T.RETRYING},
    "TaskCompleted": {_T.RUNNING: _T.COMPLETED, _T.PENDING: _T.COMPLETED},
    "TaskFailed": dict.fromkeys(_ASKED, _T.FAILED),
    "TaskSkipped": dict.fromkeys((_T.PENDING, *_ASKED, _T.FAILED, _T.CANCELLED, _T.SKIPPED), _T.SKIPPED),
    "TaskCancelled": dict.fromkeys((_T.PENDING, *_ASKED), _T.CANCELLED),
}
"""Event name -> {status before: status after}. A task begins, by PlanAdopted or PlanAmended, in PENDING."""
