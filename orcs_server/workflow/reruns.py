"""The rules of carrying out again, skipping and cancelling single tasks, also of workflows that have ended."""

from __future__ import annotations

from msgspec.structs import replace

from orcs_server.errors import IllegalTransition, NotFound
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow import progress
from orcs_server.workflow.evolve_tasks import is_met
from orcs_server.workflow.holds import require_live
from orcs_server.workflow.model import FailureKind, PlanSource
from orcs_server.workflow.people import REASON_LIMIT, Resolution
from orcs_server.workflow.state import TaskState, WorkflowState
from orcs_server.workflow.states import TASK_TERMINAL, TaskStatus, WorkflowStatus
from orcs_server.workflow.turn import Turn

_UNDER_WAY = frozenset({TaskStatus.READY, TaskStatus.RUNNING, TaskStatus.RETRYING, TaskStatus.INPUT_REQUIRED})


def retry(turn: Turn, message: m.RetryTask) -> None:
    """A task that failed goes on in its conversation; one that completed, or has another description now, begins a new one."""
    task = _find(turn, message.task_id)
    if task.status is TaskStatus.RETRYING and message.description is None:
        require_live(turn)
        turn.emit(e.TaskReady(message.task_id))
        return
    if task.status not in TASK_TERMINAL and task.status is not TaskStatus.RETRYING:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION", f"Only a task that has ended can be retried; it is {task.status}."
        )
    lost = [name for name in task.spec.dependencies if not is_met(turn.state.tasks[name])]
    if lost:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION", f"Task {message.task_id} depends on {lost[0]}, which has not completed: retry that."
        )
    was_met = is_met(task)
    if was_met and not message.include_dependants:
        _refuse_if_under_way(turn.state, message.task_id)
    reopen(turn)
    if message.description is not None and message.description != task.spec.description:
        _redescribe(turn, task, message)
    anew = message.description is not None or task.status is TaskStatus.COMPLETED
    _reopen_task(turn, message.task_id, anew=anew)
    _reopen_skipped(turn, message.task_id)
    if was_met and message.include_dependants:
        _reopen_dependants(turn, message.task_id)
    elif was_met:
        _hold_back(turn, message.task_id)
        _mark_stale(turn, message.task_id)
    progress.make_ready(turn, [message.task_id])


def skip(turn: Turn, message: m.SkipTask) -> None:
    """Its dependants go on, also those that were skipped because of it."""
    task = _find(turn, message.task_id)
    before = task.progress
    if task.status is TaskStatus.COMPLETED:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION", f"Task {message.task_id} has completed: retry it, if its output is not good."
        )
    if task.status is TaskStatus.SKIPPED and before.waived and before.output == message.output:
        return
    reopen(turn)
    why = progress.failure(FailureKind.SKIPPED, progress.cut(message.reason, REASON_LIMIT) or "A person skipped it.")
    _withdraw(turn, message.task_id)
    turn.emit(e.TaskSkipped(message.task_id, "", why, message.output))
    _reopen_skipped(turn, message.task_id)
    if before.waived:
        _mark_stale(turn, message.task_id)
    progress.after_task(turn, message.task_id)


def cancel(turn: Turn, message: m.CancelTask) -> None:
    task = _find(turn, message.task_id)
    if task.status is TaskStatus.CANCELLED:
        return
    require_live(turn)
    if task.status in TASK_TERMINAL:
        raise IllegalTransition("ILLEGAL_TRANSITION", f"Task {message.task_id} has ended ({task.status}).")
    said = progress.cut(message.reason, REASON_LIMIT)
    why = progress.failure(FailureKind.CANCELLED, f"A person cancelled it{f': {said}' if said else '.'}")
    _withdraw(turn, message.task_id)
    turn.emit(e.TaskCancelled(message.task_id, why))
    progress.after_task(turn, message.task_id)


def reopen(turn: Turn) -> None:
    """Let a workflow that completed or failed go on. Raises IllegalTransition where that cannot be."""
    state = turn.state
    if not state.terminal:
        if state.status is WorkflowStatus.CANCELLING:
            raise IllegalTransition("ILLEGAL_TRANSITION", "The workflow is being cancelled.")
        return
    if state.status is WorkflowStatus.CANCELLED:
        raise IllegalTransition("WORKFLOW_TERMINAL", "The workflow was cancelled: it cannot go on.")
    if not state.settled:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION",
            "The workflow still holds resources that are being given back; try again a little later.",
        )
    turn.emit(e.WorkflowReopened())


def affected(state: WorkflowState, task_id: str) -> list[str]:
    """Return the tasks that rest on this one, directly or not, in the order of the plan."""
    found: dict[str, None] = {}
    waiting = list(state.dependants.get(task_id, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting.extend(state.dependants.get(name, ()))
    return sorted(found, key=lambda name: state.tasks[name].ordinal)


def _find(turn: Turn, task_id: str) -> TaskState:
    task = turn.state.tasks.get(task_id)
    if task is None:
        raise NotFound("TASK_NOT_FOUND", f"The workflow has no task {task_id!r}.")
    return task


def _redescribe(turn: Turn, task: TaskState, message: m.RetryTask) -> None:
    changed = (replace(task.spec, description=message.description or task.spec.description),)
    state = turn.state
    revision = state.progress.plan_revision + 1
    turn.emit(e.PlanAmended(revision, PlanSource.CLIENT, state.progress.task_count, changed=changed))


def _reopen_task(turn: Turn, name: str, *, anew: bool, cause: str = "", keeps_output: bool = False) -> None:
    progress_before = turn.state.tasks[name].progress
    run = max(progress_before.run, 1) + 1 if anew and progress_before.attempt else progress_before.run
    _withdraw(turn, name)
    turn.emit(e.TaskReopened(name, run, cause, keeps_output))


def _reopen_skipped(turn: Turn, task_id: str) -> None:
    """What was skipped because this task did not complete may be carried out after all."""
    for name in affected(turn.state, task_id):
        task = turn.state.tasks[name]
        if task.status is TaskStatus.SKIPPED and not task.progress.waived:
            _reopen_task(turn, name, anew=False, cause=task_id)


def _refuse_if_under_way(state: WorkflowState, task_id: str) -> None:
    for name in state.dependants.get(task_id, ()):
        task = state.tasks[name]
        if task.progress.attempt and task.status in _UNDER_WAY:
            raise IllegalTransition(
                "ILLEGAL_TRANSITION",
                f"Task {name}, which rests on {task_id}, is under way: include the dependants, or cancel it first.",
            )


def _hold_back(turn: Turn, task_id: str) -> None:
    """What rests on the task and has not begun waits for it again."""
    for name in turn.state.dependants.get(task_id, ()):
        if turn.state.tasks[name].status in _UNDER_WAY:
            _reopen_task(turn, name, anew=False, cause=task_id)


def _reopen_dependants(turn: Turn, task_id: str) -> None:
    """Everything that rests on the task waits for it again. An output that would rest on the same as before stays good."""
    for name in affected(turn.state, task_id):
        if turn.state.tasks[name].status is not TaskStatus.PENDING:
            _reopen_task(turn, name, anew=True, cause=task_id, keeps_output=True)


def _mark_stale(turn: Turn, task_id: str) -> None:
    for name in affected(turn.state, task_id):
        task = turn.state.tasks[name]
        if task.status is TaskStatus.COMPLETED and not task.progress.stale:
            turn.emit(e.TaskStale(name, task_id))


def _withdraw(turn: Turn, task_id: str) -> None:
    for asked in turn.state.waiting_for(task_id):
        turn.emit(e.InputResolved(asked.id, Resolution.WITHDRAWN, task_id))
