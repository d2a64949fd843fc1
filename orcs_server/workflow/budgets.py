"""The rules of budgets: a limit that is reached stops what it is for at the next turn and asks a person for more."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from orcs_server.workflow import events as e
from orcs_server.workflow import progress
from orcs_server.workflow.model import NO_BUDGET, Budget, PlanSource, TaskProgress, TaskSpec, Usage
from orcs_server.workflow.people import InputKind, Need
from orcs_server.workflow.states import TaskStatus, WorkflowStatus
from orcs_server.workflow.turn import Turn

MORE = "Shall it get as much again?"
LIMITS = ("tokens", "cost_micros", "wall_time_us")
_SAID: dict[str, Callable[[int], str]] = {
    "tokens": lambda tokens: "only token" if tokens == 1 else f"{tokens} tokens",
    "cost_micros": lambda micros: f"budget of {micros / 1e6:g}",
    "wall_time_us": lambda us: f"{us / 1e6:g} s",
}


def check(turn: Turn, task_id: str) -> None:
    """Ask for more where what was spent has reached a limit, of the task or of the workflow."""
    if turn.state.status is WorkflowStatus.CANCELLING:
        return
    if task_id and turn.state.tasks[task_id].status is TaskStatus.RUNNING:
        _check_task(turn, task_id)
    state = turn.state
    if state.spec.budget == NO_BUDGET or state.over_budget:
        return
    ran = state.progress.ran_us
    if state.progress.running_since_us is not None:
        ran += turn.now_us - state.progress.running_since_us
    reached = _reached(state.spec.budget, state.progress.usage, ran)
    if reached:
        _ask(turn, reached, state.spec.budget, "The workflow")


def holds(turn: Turn, task_id: str) -> bool:
    """Whether the task has used up its budget, so that another attempt waits for a larger one."""
    if not _check_task(turn, task_id):
        return False
    turn.emit(e.TaskHeld(task_id))
    return True


def grant(turn: Turn, task_id: str, budget: Budget | None) -> None:
    """Give a new budget or, without one, so much beyond what was spent as was given at first."""
    state = turn.state
    if not task_id:
        new = _more(state.spec.budget, state.progress.usage, state.progress.ran_us) if budget is None else budget
        turn.emit(e.WorkflowUpdated(budget=new))
        check(turn, "")
        return
    task = state.tasks[task_id]
    ran = _ran_us(task.progress, turn.now_us)
    new = _more(task.spec.budget, task.progress.usage, ran) if budget is None else budget
    amend_by_approver(turn, replace(task.spec, budget=new))
    check(turn, task_id)


def amend_by_approver(turn: Turn, changed: TaskSpec) -> None:
    """Change a task as somebody decided who may approve: that asks for no further approval."""
    progress = turn.state.progress
    turn.emit(
        e.PlanAmended(
            progress.plan_revision + 1,
            PlanSource.CLIENT,
            progress.task_count,
            changed=(changed,),
            keeps_approval=progress.approved is not None,
        )
    )


def _check_task(turn: Turn, task_id: str) -> bool:
    state = turn.state
    task = state.tasks[task_id]
    if task.spec.budget == NO_BUDGET or state.waiting_for(task_id):
        return False
    reached = _reached(task.spec.budget, task.progress.usage, _ran_us(task.progress, turn.now_us))
    if reached:
        _ask(turn, reached, task.spec.budget, f"Task {task_id}", task_id)
    return bool(reached)


def _ran_us(progress: TaskProgress, now_us: int) -> int:
    """The time of a task's attempts, with the one under way."""
    if progress.deadline_us is None or progress.attempt_started_us is None:
        return progress.ran_us
    return progress.ran_us + now_us - progress.attempt_started_us


def _reached(budget: Budget, usage: Usage, ran_us: int) -> str:
    spent = (usage.input_tokens + usage.output_tokens, usage.cost_micros, ran_us)
    limits = (budget.tokens, budget.cost_micros, budget.wall_time_us)
    for name, used, limit in zip(LIMITS, spent, limits, strict=True):
        if limit is not None and used >= limit:
            return name
    return ""


def _ask(turn: Turn, limit: str, budget: Budget, who: str, task_id: str = "") -> None:
    turn.emit(e.BudgetExceeded(limit, budget, task_id))
    prompt = f"{who} has used up its {_SAID[limit](getattr(budget, limit))}. {MORE}"
    progress.request(turn, Need(InputKind.BUDGET, prompt, expires_after_us=turn.spec.approval_expires_us), task_id)


def _more(budget: Budget, usage: Usage, ran_us: int) -> Budget:
    tokens, cost, wall = budget.tokens, budget.cost_micros, budget.wall_time_us
    return Budget(
        None if tokens is None else max(usage.input_tokens + usage.output_tokens, tokens) + tokens,
        None if cost is None else max(usage.cost_micros, cost) + cost,
        None if wall is None else max(ran_us, wall) + wall,
    )
