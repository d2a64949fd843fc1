"""The rules of execution: starting, attempts, retries, what a task's end means for its dependants and for the workflow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from orcs_server.workflow import events as e
from orcs_server.workflow.backoff import backoff_us
from orcs_server.workflow.due import parallel_limit
from orcs_server.workflow.model import (
    FAILURE_MESSAGE_LIMIT,
    Failure,
    FailureKind,
    FailurePolicy,
    ResourceStatus,
    TaskProgress,
    TaskState,
)
from orcs_server.workflow.states import TASK_TERMINAL, TaskStatus, WorkflowStatus
from orcs_server.workflow.turn import Turn


def failure(kind: FailureKind, message: str, *, retryable: bool = False) -> Failure:
    """Return a failure whose message keeps to its limit."""
    return bounded(Failure(kind, message, retryable))


def bounded(why: Failure) -> Failure:
    """Return the failure with a message that can be stored: within its limit, without lone surrogates."""
    stored = why.message.encode(errors="replace")
    if len(stored) > FAILURE_MESSAGE_LIMIT:
        stored = stored[: FAILURE_MESSAGE_LIMIT - 3] + "…".encode()
    return replace(why, message=stored.decode(errors="ignore"))


def start(turn: Turn) -> None:
    turn.emit(e.WorkflowStarted())
    make_ready(turn, [task.spec.id for task in turn.tasks_in_order() if task.unmet == 0])


def make_ready(turn: Turn, names: Iterable[str]) -> None:
    """Make those of the tasks ready that wait for nothing."""
    for name in names:
        task = turn.state.tasks[name]
        if task.status is TaskStatus.PENDING and task.unmet == 0:
            turn.emit(e.TaskReady(name))


def begin_attempt(turn: Turn, task_id: str, attempt: int) -> None:
    state = turn.state
    task = state.tasks.get(task_id)
    if state.status is not WorkflowStatus.RUNNING or task is None or task.status is not TaskStatus.READY:
        return
    if attempt != task.progress.attempt + 1 or len(state.running) >= parallel_limit(state.spec):
        return
    if state.spec.holds_resources and state.progress.resources is not ResourceStatus.GRANTED:
        return
    timeout = state.spec.task_timeout_us if task.spec.timeout_us is None else task.spec.timeout_us
    turn.emit(e.AttemptStarted(task_id, attempt, max(task.progress.run, 1), turn.now_us + timeout))


def running_task(turn: Turn, task_id: str, attempt: int) -> TaskState | None:
    """Return the task if this attempt is the one that runs now, else None."""
    task = turn.state.tasks.get(task_id)
    if task is None or task.status is not TaskStatus.RUNNING or task.progress.attempt != attempt:
        return None
    return task


def latest_attempt(turn: Turn, task_id: str) -> TaskProgress | None:
    """Return what is known of the task's latest attempt, ended or not; None if there is no such task."""
    task = turn.state.tasks.get(task_id)
    return None if task is None else task.progress


def time_out(turn: Turn, task_id: str, jitter: float) -> None:
    task = turn.state.tasks[task_id]
    seconds = (task.progress.deadline_us or 0) - (task.progress.attempt_started_us or 0)
    late = failure(FailureKind.TIMEOUT, f"The attempt took longer than its {seconds / 1e6:g} s.", retryable=True)
    turn.emit(e.AttemptTimedOut(task_id, task.progress.attempt, late))
    after_failed_attempt(turn, task_id, late, jitter)


def after_failed_attempt(turn: Turn, task_id: str, why: Failure, jitter: float) -> None:
    """Try again if that may help and the budget allows it; otherwise the task has failed."""
    task = turn.state.tasks[task_id]
    policy = turn.spec.retry
    budget = policy.max_attempts if task.spec.max_attempts is None else task.spec.max_attempts
    failures = task.progress.failures
    if why.retryable and (why.spares_budget or failures < budget):
        turn.emit(e.TaskRetryScheduled(task_id, turn.now_us + backoff_us(policy, failures, jitter, why)))
    else:
        fail_task(turn, task_id, why)


def fail_task(turn: Turn, task_id: str, why: Failure) -> None:
    turn.emit(e.TaskFailed(task_id, why))
    task = turn.state.tasks[task_id]
    if turn.spec.failure_policy is FailurePolicy.FAIL_FAST and not task.spec.optional:
        said = failure(why.kind, f"Task {task_id} failed, and the workflow fails fast. {why.message}")
        fail_workflow(turn, said, others=FailureKind.FAIL_FAST)
    else:
        after_task(turn, task_id)


def after_task(turn: Turn, task_id: str) -> None:
    """Draw the consequences of a task's end: free or skip its dependants, and end the workflow with its last task."""
    ended = deque([task_id])
    while ended:
        name = ended.popleft()
        task = turn.state.tasks[name]
        dependants = turn.state.dependants.get(name, ())
        if task.status is TaskStatus.COMPLETED or task.spec.optional:
            make_ready(turn, dependants)
            continue
        for dependant in dependants:
            if turn.state.tasks[dependant].status is TaskStatus.PENDING:
                because = failure(FailureKind.DEPENDENCY_FAILED, f"Task {name} did not complete.")
                turn.emit(e.TaskSkipped(dependant, name, because))
                ended.append(dependant)
    if turn.state.live_tasks == 0:
        _finish(turn)


def _finish(turn: Turn) -> None:
    missing = [
        task for task in turn.tasks_in_order() if task.status is not TaskStatus.COMPLETED and not task.spec.optional
    ]
    if not missing:
        turn.emit(e.WorkflowCompleted())
        return
    first = next((task for task in missing if task.status is TaskStatus.FAILED), missing[0])
    why = first.progress.failure or failure(FailureKind.INTERNAL, "It ended without saying why.")
    if len(missing) == 1:
        said = f"Task {first.spec.id} failed: {why.message}"
    else:
        said = f"{_tally(missing)}; first {first.spec.id}: {why.message}"
    turn.emit(e.WorkflowFailed(failure(why.kind, said)))


def _tally(missing: list[TaskState]) -> str:
    failed = sum(task.status is TaskStatus.FAILED for task in missing)
    skipped = len(missing) - failed
    words = "1 task failed" if failed == 1 else f"{failed} tasks failed"
    if skipped:
        words += f", {skipped} {'was' if skipped == 1 else 'were'} skipped"
    return words


def fail_workflow(turn: Turn, why: Failure, *, others: FailureKind | None = None) -> None:
    """End the workflow now: what still lives is cancelled (as `others`, else as `why`), finished outputs stay."""
    ended = failure(others or why.kind, "The workflow ended before this task did.")
    for task in turn.tasks_in_order():
        if task.status not in TASK_TERMINAL:
            turn.emit(e.TaskCancelled(task.spec.id, ended))
    turn.emit(e.WorkflowFailed(why))
