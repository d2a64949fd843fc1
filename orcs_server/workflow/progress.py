"""The rules of execution: starting, attempts, retries, what a task's end means for its dependants and for the workflow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from orcs_server.workflow import events as e
from orcs_server.workflow.backoff import backoff_us
from orcs_server.workflow.due import parallel_limit
from orcs_server.workflow.evolve_tasks import is_met
from orcs_server.workflow.fingerprints import fingerprint, shown_digest, task_shown
from orcs_server.workflow.model import (
    FAILURE_MESSAGE_LIMIT,
    Failure,
    FailureKind,
    FailurePolicy,
    ResourceStatus,
    TaskProgress,
)
from orcs_server.workflow.people import PROMPT_LIMIT, InputKind, Need, PendingInput, Resolution
from orcs_server.workflow.state import TaskState
from orcs_server.workflow.states import TASK_TERMINAL, TaskStatus, WorkflowStatus
from orcs_server.workflow.turn import Turn


def failure(kind: FailureKind, message: str, *, retryable: bool = False) -> Failure:
    """Return a failure whose message keeps to its limit."""
    return bounded(Failure(kind, message, retryable))


def bounded(why: Failure) -> Failure:
    """Return the failure with a message that can be stored: within its limit, without lone surrogates."""
    return replace(why, message=cut(why.message, FAILURE_MESSAGE_LIMIT))


def cut(text: str, limit: int) -> str:
    """Return the text within so many bytes of UTF-8, without lone surrogates."""
    stored = text.encode(errors="replace")
    if len(stored) > limit:
        stored = stored[: limit - 3] + "…".encode()
    return stored.decode(errors="ignore")


def start(turn: Turn) -> None:
    turn.emit(e.WorkflowStarted())
    make_ready(turn, [task.spec.id for task in turn.state.tasks_in_order() if task.unmet == 0])


def start_if_due(turn: Turn) -> None:
    """Start a workflow that is to start by itself, once nothing keeps it from that."""
    spec, state = turn.spec, turn.state
    waits = spec.not_before_us is not None and spec.not_before_us > turn.now_us
    held = state.gate is not None or state.progress.planning.replanning
    if state.status is WorkflowStatus.READY and spec.auto_start and not waits and not held:
        start(turn)


def make_ready(turn: Turn, names: Iterable[str]) -> None:
    """Make those of the tasks ready that wait for nothing; with what that means for their dependants. Before the start none is."""
    if turn.state.standing is not WorkflowStatus.RUNNING or turn.state.status is WorkflowStatus.CANCELLING:
        return
    waiting = deque(names)
    while waiting:
        name = waiting.popleft()
        state = turn.state
        task = state.tasks[name]
        if task.status is not TaskStatus.PENDING or task.unmet:
            continue
        kept = task.progress.kept
        if kept is not None and task.progress.fingerprint == fingerprint(state, task.spec):
            turn.emit(e.TaskCompleted(name, kept, reused=True))
            waiting.extend(turn.state.dependants.get(name, ()))
        elif task.spec.needs_approval:
            _hold(turn, task)
        else:
            turn.emit(e.TaskReady(name))


def ready(turn: Turn, name: str) -> None:
    """Let a task wait for a slot only, unless it waits for people besides."""
    turn.emit(e.TaskReady(name))
    hold_if_waiting(turn, name)


def hold_if_waiting(turn: Turn, name: str) -> None:
    state = turn.state
    if state.open_inputs and state.waiting_for(name):
        turn.emit(e.TaskHeld(name))


def _hold(turn: Turn, task: TaskState) -> None:
    name = task.spec.id
    turn.emit(e.TaskHeld(name))
    shown = shown_digest(task_shown(turn.state, task.spec))
    prompt = f"Shall task {name} ({task.spec.title}) start?"
    request(
        turn, Need(InputKind.TASK_APPROVAL, prompt, shown=shown, expires_after_us=turn.spec.approval_expires_us), name
    )


def request(turn: Turn, need: Need, task_id: str = "", attempt: int = 0, run: int = 0) -> str:
    """Ask people for something; return the id of what waits for them."""
    ordinal = len(turn.state.inputs) + 1
    deadline = None if need.expires_after_us is None else turn.now_us + need.expires_after_us
    asked = replace(need, prompt=cut(need.prompt, PROMPT_LIMIT))
    name = f"i{ordinal}"
    turn.emit(e.InputRequested(PendingInput(name, ordinal, asked, turn.now_us, task_id, attempt, run, deadline)))
    return name


def may_begin(turn: Turn, task_id: str, attempt: int) -> bool:
    """Whether this attempt is one that is due and has not begun."""
    state = turn.state
    task = state.tasks.get(task_id)
    if state.status is not WorkflowStatus.RUNNING or task is None or task.status is not TaskStatus.READY:
        return False
    if state.progress.planning.replanning or (state.open_inputs and state.gate is not None):
        return False
    if attempt != task.progress.attempt + 1 or len(state.running) >= parallel_limit(state.spec):
        return False
    return not state.spec.holds_resources or state.progress.resources is ResourceStatus.GRANTED


def begin_attempt(turn: Turn, task_id: str, attempt: int) -> None:
    state = turn.state
    task = state.tasks[task_id]
    timeout = state.spec.task_timeout_us if task.spec.timeout_us is None else task.spec.timeout_us
    turn.emit(e.AttemptStarted(task_id, attempt, max(task.progress.run, 1), turn.now_us + timeout))


def interrupt(turn: Turn, task_id: str, attempt: int) -> None:
    """The attempt goes on later; what waits for people by then has to be there first."""
    waits = turn.state.waiting_for(task_id) if task_id else []
    if waits:
        turn.emit(e.AttemptSuspended(attempt, tuple(one.id for one in waits), task_id))
    else:
        turn.emit(e.AttemptInterrupted(attempt, task_id))


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
    withdraw_for(turn, task_id)
    task = turn.state.tasks[task_id]
    if turn.spec.failure_policy is FailurePolicy.FAIL_FAST and not task.spec.optional:
        said = failure(why.kind, f"Task {task_id} failed, and the workflow fails fast. {why.message}")
        fail_workflow(turn, said, others=FailureKind.FAIL_FAST)
    else:
        after_task(turn, task_id)


def after_task(turn: Turn, task_id: str) -> None:
    """Draw the consequences of a task's end: free or skip its dependants."""
    ended = deque([task_id])
    while ended:
        name = ended.popleft()
        dependants = turn.state.dependants.get(name, ())
        if is_met(turn.state.tasks[name]):
            make_ready(turn, dependants)
            continue
        for dependant in dependants:
            if turn.state.tasks[dependant].status is TaskStatus.PENDING:
                because = failure(FailureKind.DEPENDENCY_FAILED, f"Task {name} did not complete.")
                turn.emit(e.TaskSkipped(dependant, name, because))
                ended.append(dependant)


def settle(turn: Turn) -> None:
    """Draw the consequences of what has come to rest: the end of the workflow, or of its pause."""
    state = turn.state
    if state.terminal:
        return
    status, planning = state.status, state.progress.planning
    if status is WorkflowStatus.CANCELLING:
        if not state.running_attempts:
            _end_rest(turn, failure(FailureKind.CANCELLED, "The workflow was cancelled."))
            turn.emit(e.WorkflowCancelled())
    elif state.standing is WorkflowStatus.RUNNING and state.live_tasks == 0 and not planning.replanning:
        if status is not WorkflowStatus.PAUSED:
            _finish(turn)
    elif status is WorkflowStatus.PAUSING and not state.running_attempts:
        turn.emit(e.WorkflowPaused())


def _finish(turn: Turn) -> None:
    missing = [task for task in turn.state.tasks_in_order() if not is_met(task)]
    withdraw(turn)
    if not missing:
        turn.emit(e.WorkflowCompleted())
        return
    first = next((task for task in missing if task.status is TaskStatus.FAILED), missing[0])
    why = first.progress.failure or failure(FailureKind.INTERNAL, "It ended without saying why.")
    if len(missing) == 1:
        said = f"Task {first.spec.id} {_ENDED.get(first.status, 'failed')}: {why.message}"
    else:
        said = f"{_tally(missing)}; first {first.spec.id}: {why.message}"
    turn.emit(e.WorkflowFailed(failure(why.kind, said)))


_ENDED = {TaskStatus.CANCELLED: "was cancelled", TaskStatus.SKIPPED: "was skipped"}


def _tally(missing: list[TaskState]) -> str:
    counted = [
        (sum(task.status is status for task in missing), one, many)
        for status, one, many in (
            (TaskStatus.FAILED, "failed", "failed"),
            (TaskStatus.CANCELLED, "was cancelled", "were cancelled"),
            (TaskStatus.SKIPPED, "was skipped", "were skipped"),
        )
    ]
    words = [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]
    first, *rest = words
    number, _, verb = first.partition(" ")
    return ", ".join([f"{number} {'task' if number == '1' else 'tasks'} {verb}", *rest])


def fail_workflow(turn: Turn, why: Failure, *, others: FailureKind | None = None) -> None:
    """End the workflow now: what still lives is cancelled (as `others`, else as `why`), finished outputs stay.

    One that is being cancelled ends as cancelled, whatever else goes wrong with it.
    """
    if turn.state.status is WorkflowStatus.CANCELLING:
        return
    _end_rest(turn, failure(others or why.kind, "The workflow ended before this task did."))
    turn.emit(e.WorkflowFailed(why))


def _end_rest(turn: Turn, ended: Failure) -> None:
    withdraw(turn)
    for task in turn.state.tasks_in_order():
        if task.status not in TASK_TERMINAL:
            turn.emit(e.TaskCancelled(task.spec.id, ended))


def withdraw_for(turn: Turn, task_id: str) -> None:
    """Nobody needs to resolve any more what a task waits for or, without a task, what the planner asked."""
    for asked in turn.state.waiting_for(task_id):
        turn.emit(e.InputResolved(asked.id, Resolution.WITHDRAWN, task_id))


def withdraw(turn: Turn) -> None:
    """Nobody needs to resolve what still waits."""
    for asked in turn.state.waiting():
        turn.emit(e.InputResolved(asked.id, Resolution.WITHDRAWN, asked.task_id))
