"""The rules of carrying out again, skipping and cancelling single tasks, also of workflows that have ended."""

from __future__ import annotations

from msgspec.structs import replace

from orcs_server.errors import IllegalTransition, NotFound
from orcs_server.workflow import budgets, gates, inputs, progress
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.evolve_tasks import is_dead, is_met
from orcs_server.workflow.holds import require_live
from orcs_server.workflow.model import FailureKind, PlanSource
from orcs_server.workflow.people import REASON_LIMIT
from orcs_server.workflow.state import TaskState, WorkflowState
from orcs_server.workflow.states import TASK_TERMINAL, TaskStatus, WorkflowStatus
from orcs_server.workflow.turn import Turn

NO_REASON = "A person skipped it."
"""Said of a task that was skipped without a reason."""

_UNDER_WAY = frozenset({TaskStatus.READY, TaskStatus.RUNNING, TaskStatus.RETRYING, TaskStatus.INPUT_REQUIRED})


def retry(turn: Turn, message: m.RetryTask) -> None:
    """A task that failed goes on in its conversation; one that completed, or has another description now, begins a new one."""
    name = message.task_id
    task = _find(turn, name)
    require_open(turn)
    if task.status is TaskStatus.RETRYING and message.description is None:
        progress.ready(turn, name)
        return
    if task.status not in TASK_TERMINAL and task.status is not TaskStatus.RETRYING:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION", f"Only a task that has ended can be retried; it is {task.status}."
        )
    revivable = _revivable(turn.state, name)
    lost = [one for one in task.spec.dependencies if is_dead(turn.state.tasks[one]) and one not in revivable]
    if lost:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION", f"Task {name} depends on {lost[0]}, which has not completed: retry that."
        )
    if is_met(task) and not message.include_dependants:
        _refuse_if_under_way(turn.state, name, "include the dependants, or cancel it first")
    revived = reopen(turn, but=name)
    if message.description is not None and message.description != task.spec.description:
        _redescribe(turn, task, message)
    _reopen_task(turn, name, anew=message.description is not None or task.status is TaskStatus.COMPLETED)
    if message.include_dependants:
        _reopen_dependants(turn, name)
    else:
        _touch_dependants(turn, name)
    _go_on(turn, [name, *revived])


def skip(turn: Turn, message: m.SkipTask) -> None:
    """Its dependants go on, also those that were skipped because of it."""
    name = message.task_id
    task = _find(turn, name)
    before = task.progress
    if task.status is TaskStatus.SKIPPED and before.waived and before.output == message.output:
        return
    require_open(turn)
    if not message.may_approve:
        gates.refuse_to_lift(gates.gates_before(turn.state, name))
        gates.refuse_unapproved(turn.state)
    if task.status is TaskStatus.COMPLETED:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION", f"Task {name} has completed: retry it, if its output is not good."
        )
    if is_met(task):
        _refuse_if_under_way(turn.state, name, "cancel it first")
    revived = reopen(turn, but=name)
    why = progress.failure(FailureKind.SKIPPED, progress.cut(message.reason, REASON_LIMIT) or NO_REASON)
    progress.withdraw_for(turn, name)
    turn.emit(e.TaskSkipped(name, "", why, message.output))
    _touch_dependants(turn, name)
    progress.after_task(turn, name)
    _go_on(turn, revived)


def cancel(turn: Turn, message: m.CancelTask) -> None:
    task = _find(turn, message.task_id)
    if task.status is TaskStatus.CANCELLED:
        return
    require_live(turn)
    if task.status in TASK_TERMINAL:
        raise IllegalTransition("ILLEGAL_TRANSITION", f"Task {message.task_id} has ended ({task.status}).")
    said = progress.cut(message.reason, REASON_LIMIT)
    why = progress.failure(FailureKind.CANCELLED, f"A person cancelled it{f': {said}' if said else '.'}")
    progress.withdraw_for(turn, message.task_id)
    turn.emit(e.TaskCancelled(message.task_id, why))
    progress.after_task(turn, message.task_id)


def reopen(turn: Turn, but: str = "") -> list[str]:
    """Let a workflow that completed or failed go on; return the tasks that go on with it, for they ended only because it did.

    Raises IllegalTransition where that cannot be. The task `but` is the caller's matter.
    """
    require_open(turn)
    state = turn.state
    if not state.terminal:
        return []
    turn.emit(e.WorkflowReopened())
    revived = _revivable(state, but)
    for name in revived:
        _reopen_task(turn, name, anew=False, cause=but)
    budgets.check(turn, "")
    return revived


def require_open(turn: Turn) -> None:
    """Raise IllegalTransition for a workflow that was cancelled, or cannot be reopened yet."""
    state = turn.state
    if state.status is WorkflowStatus.CANCELLING:
        raise IllegalTransition("ILLEGAL_TRANSITION", "The workflow is being cancelled.")
    if state.status is WorkflowStatus.CANCELLED:
        raise IllegalTransition("WORKFLOW_TERMINAL", "The workflow was cancelled: it cannot go on.")
    if state.terminal and not state.settled:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION",
            "The workflow still holds resources that are being given back; try again a little later.",
        )


def ended_with_workflow(task: TaskState) -> bool:
    """Whether a task ended only because its workflow failed: nobody cancelled it."""
    why = task.progress.failure
    return task.status is TaskStatus.CANCELLED and why is not None and why.kind is not FailureKind.CANCELLED


def affected(state: WorkflowState, task_id: str) -> list[str]:
    """Return the tasks that rest on this one, directly or not, each after those that it rests on."""
    found: dict[str, int] = {}
    waiting = [task_id]
    while waiting:
        for name in state.dependants.get(waiting.pop(), ()):
            if name not in found:
                waiting.append(name)
            found[name] = found.get(name, 0) + 1
    return _ordered(state, [task_id], found)[1:]


def _in_order_of_dependencies(state: WorkflowState) -> list[str]:
    tasks = state.tasks_in_order()
    waits_for = {task.spec.id: len(task.spec.dependencies) for task in tasks}
    return _ordered(state, [name for name, count in waits_for.items() if count == 0], waits_for)


def _ordered(state: WorkflowState, first: list[str], waits_for: dict[str, int]) -> list[str]:
    """Return the first ones and what comes after them, each once it waits for nothing any more."""
    ordered = list(first)
    for name in ordered:  # It grows on the way.
        for dependant in state.dependants.get(name, ()):
            waits_for[dependant] -= 1
            if waits_for[dependant] == 0:
                ordered.append(dependant)
    return ordered


def _find(turn: Turn, task_id: str) -> TaskState:
    task = turn.state.tasks.get(task_id)
    if task is None:
        raise NotFound("TASK_NOT_FOUND", f"The workflow has no task {task_id!r}.")
    return task


def _revivable(state: WorkflowState, but: str) -> list[str]:
    """Return what goes on with a workflow that is reopened, given that `but` does: all of which nothing above stays dead."""
    if not state.terminal:
        return []
    dead: set[str] = set()
    found: list[str] = []
    for name in _in_order_of_dependencies(state):
        task = state.tasks[name]
        if name == but or not is_dead(task):
            continue
        if ended_with_workflow(task) and dead.isdisjoint(task.spec.dependencies):
            found.append(name)
        else:
            dead.add(name)
    return found


def _redescribe(turn: Turn, task: TaskState, message: m.RetryTask) -> None:
    changed = (replace(task.spec, description=message.description or task.spec.description),)
    state = turn.state
    revision = state.progress.plan_revision + 1
    turn.emit(e.PlanAmended(revision, PlanSource.CLIENT, state.progress.task_count, changed=changed))


def _reopen_task(turn: Turn, name: str, *, anew: bool, cause: str = "", keeps_output: bool = False) -> None:
    before = turn.state.tasks[name].progress
    run = max(before.run, 1) + 1 if anew and before.attempt else before.run
    progress.withdraw_for(turn, name)
    turn.emit(e.TaskReopened(name, run, cause, keeps_output))


def _refuse_if_under_way(state: WorkflowState, task_id: str, remedy: str) -> None:
    for name in state.dependants.get(task_id, ()):
        task = state.tasks[name]
        if task.progress.attempt and task.status in _UNDER_WAY:
            raise IllegalTransition(
                "ILLEGAL_TRANSITION",
                f"Task {name}, which rests on {task_id}, is under way: {remedy}.",
            )


def _touch_dependants(turn: Turn, task_id: str) -> None:
    """What was skipped because of the task may be carried out after all; what waits for a slot or for leave waits for the task
    again; outputs that rest on its old one stay, as stale.
    """
    for name in affected(turn.state, task_id):
        task = turn.state.tasks[name]
        rests = task_id in task.spec.dependencies
        if (task.status is TaskStatus.SKIPPED and not task.progress.waived) or ended_with_workflow(task):
            if not _lacks(turn.state, task):
                _reopen_task(turn, name, anew=False, cause=task_id)
        elif task.status in _UNDER_WAY and rests:
            _reopen_task(turn, name, anew=False, cause=task_id)
        elif task.status is TaskStatus.COMPLETED and not task.progress.stale:
            turn.emit(e.TaskStale(name, task_id))


def _reopen_dependants(turn: Turn, task_id: str) -> None:
    """Everything that rests on the task waits for it again, but for what a person decided to do without.

    An output that would rest on the same as before stays good. What cannot be carried out stays as it is.
    """
    for name in affected(turn.state, task_id):
        task = turn.state.tasks[name]
        if task.status is TaskStatus.PENDING or task.progress.waived:
            continue
        if not _lacks(turn.state, task):
            skipped = task.status is TaskStatus.SKIPPED
            _reopen_task(turn, name, anew=not skipped, cause=task_id, keeps_output=not skipped)


def _lacks(state: WorkflowState, task: TaskState) -> bool:
    """Whether something that the task rests on will never be there."""
    return any(is_dead(state.tasks[name]) for name in task.spec.dependencies)


def _go_on(turn: Turn, names: list[str]) -> None:
    """Let run what may run now. What changed materially, or was never approved, is asked for first."""
    inputs.ask_for_plan(turn)
    progress.make_ready(turn, names)
    progress.start_if_due(turn)
