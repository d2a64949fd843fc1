"""The rules of planning: attempts of the planner, bounded repair of a bad plan, adoption, and additions to a plan."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from orcs_server.errors import Violation
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow import progress
from orcs_server.workflow.backoff import backoff_us
from orcs_server.workflow.evolve import is_met
from orcs_server.workflow.model import Failure, FailureKind, Planning, PlanSource, TaskSpec
from orcs_server.workflow.plan import check_plan
from orcs_server.workflow.states import TASK_TERMINAL, WorkflowStatus
from orcs_server.workflow.turn import Turn

PROBLEM_LIMIT = 20
"""Problems that a rejection lists; more would not fit a planner's attention, nor an event's bounds."""
PROBLEM_LENGTH = 300
"""Characters of each."""
UNUSABLE = "The planner's plan is not usable."
"""The message of a rejection for problems: what they are is listed beside it, once."""


def begin_attempt(turn: Turn, attempt: int) -> None:
    planning = turn.state.progress.planning
    waiting = planning.retry_at_us is not None and planning.retry_at_us > turn.now_us
    if turn.state.status is not WorkflowStatus.PLANNING or planning.running or waiting:
        return
    if attempt == planning.attempt + 1:
        turn.emit(e.PlanningStarted(attempt, turn.now_us + turn.spec.task_timeout_us))


def time_out(turn: Turn, jitter: float) -> None:
    seconds = turn.spec.task_timeout_us / 1e6
    said = f"The planner took longer than {seconds:g} s. Raise task_timeout, or use a faster model."
    _reject(turn, progress.failure(FailureKind.TIMEOUT, said, retryable=True), (), jitter)


def plan_made(turn: Turn, message: m.PlanMade) -> None:
    if _current(turn, message.attempt) is None:
        return
    problems = check_plan(message.tasks, agents=dict(turn.spec.agents), max_tasks=turn.spec.max_tasks, where="tasks")
    if problems:
        said = tuple(f"{problem.field}: {problem.description}" for problem in problems)
        _reject(turn, progress.failure(FailureKind.PLAN_INVALID, UNUSABLE), said, 1.0)
    else:
        adopt(turn, message.tasks, PlanSource.PLANNER)


def plan_failed(turn: Turn, message: m.PlanFailed) -> None:
    if _current(turn, message.attempt) is not None:
        _reject(turn, progress.bounded(message.failure), message.problems, message.jitter)


def adopt(turn: Turn, tasks: tuple[TaskSpec, ...], source: PlanSource) -> None:
    turn.emit(e.PlanAdopted(turn.state.progress.plan_revision + 1, tasks, source))
    not_before = turn.spec.not_before_us
    if turn.spec.starts_by_itself and (not_before is None or not_before <= turn.now_us):
        progress.start(turn)


def check_addition(turn: Turn, tasks: Sequence[TaskSpec]) -> tuple[Violation, ...]:
    """Return what is wrong with adding these tasks to the plan as it stands."""
    state = turn.state
    problems = check_plan(
        tasks, agents=dict(state.spec.agents), max_tasks=state.spec.max_tasks, existing=state.tasks, where="tasks"
    )
    if problems:
        return problems
    return tuple(
        Violation(f"tasks[{index}].dependencies[{place}]", f"Task {name!r} has ended without an output.")
        for index, task in enumerate(tasks)
        for place, name in enumerate(task.dependencies)
        if name in state.tasks and state.tasks[name].status in TASK_TERMINAL and not is_met(state.tasks[name])
    )


def _current(turn: Turn, attempt: int) -> Planning | None:
    planning = turn.state.progress.planning
    if turn.state.status is WorkflowStatus.PLANNING and planning.running and planning.attempt == attempt:
        return planning
    return None


def _reject(turn: Turn, failure: Failure, problems: tuple[str, ...], jitter: float) -> None:
    """Problems are for the planner to repair, within its budget; other failures are tried again if that may help."""
    planning, spec = turn.state.progress.planning, turn.spec
    retry_at: int | None = None
    if problems:
        if planning.rejected < spec.max_plan_repairs:
            retry_at = turn.now_us
    elif failure.retryable and (failure.spares_budget or planning.failures + 1 < spec.retry.max_attempts):
        retry_at = turn.now_us + backoff_us(spec.retry, planning.failures + 1, jitter, failure)
    shown = tuple(problem[:PROBLEM_LENGTH] for problem in problems[:PROBLEM_LIMIT])
    rejection = replace(failure, message=UNUSABLE) if shown else failure
    turn.emit(e.PlanRejected(planning.attempt, rejection, shown, retry_at))
    if retry_at is None:
        progress.fail_workflow(turn, _given_up(failure, shown[0], planning.rejected + 1) if shown else failure)


def _given_up(failure: Failure, problem: str, times: int) -> Failure:
    """Say that it was the model's plan that was bad, how often, and what helps."""
    often = "once" if times == 1 else f"{times} times"
    return progress.failure(
        failure.kind,
        f"The planner's plan was not usable {often}: {problem.rstrip('.')}; try again, rephrase the query or use a "
        "stronger model.",
    )
