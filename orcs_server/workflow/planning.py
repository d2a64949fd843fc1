"""The rules of planning: attempts of the planner, bounded repair of a bad plan, adoption, changes of a plan, planning anew."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from orcs_server.errors import Conflict, IllegalTransition, InvalidArgument, Violation
from orcs_server.workflow import events as e
from orcs_server.workflow import gates, inputs, progress, reruns
from orcs_server.workflow import messages as m
from orcs_server.workflow.backoff import backoff_us
from orcs_server.workflow.due import may_plan_now
from orcs_server.workflow.edits import Amendment, amended, has_begun
from orcs_server.workflow.evolve_tasks import is_dead
from orcs_server.workflow.fingerprints import shown_digest, task_shown
from orcs_server.workflow.model import Digest, Failure, FailureKind, Planning, PlanSource, TaskSpec
from orcs_server.workflow.plan import check_plan
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TaskStatus, WorkflowStatus
from orcs_server.workflow.turn import Turn

PROBLEM_LIMIT = 20
"""Problems that a rejection lists; more would not fit a planner's attention, nor an event's bounds."""
PROBLEM_LENGTH = 300
"""Characters of each."""
UNUSABLE = "The planner's plan is not usable."
"""The message of a rejection for problems: what they are is listed beside it, once."""


def begin_attempt(turn: Turn, attempt: int) -> None:
    state = turn.state
    if attempt == state.progress.planning.attempt + 1 and may_plan_now(state, turn.now_us):
        turn.emit(e.PlanningStarted(attempt, turn.now_us + turn.spec.task_timeout_us))


def time_out(turn: Turn, jitter: float) -> None:
    seconds = turn.spec.task_timeout_us / 1e6
    said = f"The planner took longer than {seconds:g} s. Raise task_timeout, or use a faster model."
    _reject(turn, progress.failure(FailureKind.TIMEOUT, said, retryable=True), (), jitter)


def plan_made(turn: Turn, message: m.PlanMade) -> None:
    state = turn.state
    if not is_current(state, message.attempt):
        return
    if state.status is WorkflowStatus.CANCELLING or message.read < len(state.mail_for("")):
        # A plan that does not know what people said meanwhile does not count.
        turn.emit(e.AttemptInterrupted(message.attempt))
        return
    known = _that_stay(state) if state.progress.planning.replanning else ()
    problems = check_plan(
        message.tasks, agents=dict(turn.spec.agents), max_tasks=turn.spec.max_tasks, existing=known, where="tasks"
    )
    problems = problems or _check_rests(state, message.tasks) or _check_ids(state, message.tasks)
    if problems:
        said = tuple(f"{problem.field}: {problem.description}" for problem in problems)
        _reject(turn, progress.failure(FailureKind.PLAN_INVALID, UNUSABLE), said, 1.0)
    elif state.progress.planning.replanning:
        _adopt_anew(turn, message.tasks)
    else:
        adopt(turn, message.tasks, PlanSource.PLANNER)


def plan_failed(turn: Turn, message: m.PlanFailed) -> None:
    if is_current(turn.state, message.attempt):
        _reject(turn, progress.bounded(message.failure), message.problems, message.jitter)


def adopt(turn: Turn, tasks: tuple[TaskSpec, ...], source: PlanSource) -> None:
    turn.emit(e.PlanAdopted(turn.state.progress.plan_revision + 1, tasks, source))
    inputs.ask_for_plan(turn)
    progress.start_if_due(turn)


def is_current(state: WorkflowState, attempt: int) -> bool:
    """The fence: whether this is the planner's attempt that runs now."""
    planning = state.progress.planning
    return planning.running and planning.attempt == attempt


# Changes of a plan


def edit(turn: Turn, message: m.EditPlan) -> None:
    _check_revision(turn, message.revision)
    state = turn.state
    reruns.require_open(turn)
    if state.progress.plan_revision == 0:
        raise IllegalTransition("ILLEGAL_TRANSITION", "There is no plan yet that could be edited.")
    if state.progress.planning.replanning:
        raise IllegalTransition("ILLEGAL_TRANSITION", "The plan is being made anew: edit it once that is done.")
    change = amended(state, message.edits)
    if change.begun:
        late = ", ".join(change.begun)
        raise IllegalTransition("ILLEGAL_TRANSITION", f"It is too late: {late} has begun. Retry, skip or cancel it.")
    if change.problems:
        raise InvalidArgument("PLAN_INVALID", "The plan cannot be edited like this.", change.problems)
    if change.empty:
        return
    if not message.may_approve:
        gates.refuse_to_lift(gates.lifted_by(state, change))
    revived = reruns.reopen(turn)
    amend(turn, change, PlanSource.CLIENT, others=revived)


def amend(turn: Turn, change: Amendment, source: PlanSource, proposer: str = "", others: Sequence[str] = ()) -> None:
    """Change the plan, and let run what may run now."""
    for name in change.removed:
        progress.withdraw_for(turn, name)
    state = turn.state
    count = state.progress.task_count + len(change.added) - len(change.removed)
    turn.emit(
        e.PlanAmended(
            state.progress.plan_revision + 1, source, count, change.added, change.changed, change.removed, proposer
        )
    )
    for spec in change.changed:
        _reconsider(turn, spec)
    inputs.ask_for_plan(turn)
    progress.make_ready(turn, [*others, *(spec.id for spec in (*change.changed, *change.added))])
    progress.start_if_due(turn)


def _reconsider(turn: Turn, spec: TaskSpec) -> None:
    """Have a changed task wait for what it waits for now. What was shown for its approval still holds if it is the same."""
    task = turn.state.tasks[spec.id]
    if task.status is TaskStatus.READY:
        outdated = task.unmet > 0 or spec.needs_approval
    else:
        shown = shown_digest(task_shown(turn.state, spec))
        holds = task.unmet == 0 and spec.needs_approval
        outdated = not holds or any(asked.need.shown != shown for asked in turn.state.waiting_for(spec.id))
    if outdated and task.status is not TaskStatus.PENDING:
        progress.withdraw_for(turn, spec.id)
        turn.emit(e.TaskReopened(spec.id, task.progress.run))


def tasks_proposed(turn: Turn, message: m.TasksProposed) -> None:
    state = turn.state
    if message.source is PlanSource.TASK and progress.running_task(turn, message.proposer, message.attempt) is None:
        return
    if message.tasks and all(_is_known(state, task) for task in message.tasks):
        return  # Proposed before, word for word: by a repeated call, or by the attempt that continues a lost one.
    if state.standing is WorkflowStatus.PLANNING or state.terminal or state.status is WorkflowStatus.CANCELLING:
        raise IllegalTransition("ILLEGAL_TRANSITION", f"Tasks cannot be added to a workflow that is {state.status}.")
    _check_revision(turn, message.revision)
    problems = check_addition(turn, message.tasks)
    if problems:
        raise InvalidArgument("PLAN_INVALID", "The tasks cannot be added.", problems)
    amend(turn, Amendment(added=message.tasks), message.source, message.proposer)


def _is_known(state: WorkflowState, task: TaskSpec) -> bool:
    """Whether the plan has this very task. By the time of a repeated call, its proposer may have read what it had not."""
    known = state.tasks.get(task.id)
    return known is not None and replace(known.spec, untrusted=task.untrusted) == task


def check_addition(turn: Turn, tasks: Sequence[TaskSpec]) -> tuple[Violation, ...]:
    """Return what is wrong with adding these tasks to the plan as it stands."""
    state = turn.state
    problems = check_plan(
        tasks, agents=dict(state.spec.agents), max_tasks=state.spec.max_tasks, existing=state.tasks, where="tasks"
    )
    return problems or _check_ids(state, tasks) or _check_rests(state, tasks) or _check_proposals(state, tasks)


def replan(turn: Turn, instructions: Digest, revision: int | None = None, *, may_approve: bool = True) -> None:
    """Plan anew what has not begun; a planning of the kind that is under way gives way."""
    state = turn.state
    if state.spec.query is None:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION", "The plan is a client's and there is no query to plan from: edit it instead."
        )
    _check_revision(turn, revision)
    if state.status is WorkflowStatus.PLANNING and not state.terminal:
        raise IllegalTransition("ILLEGAL_TRANSITION", "The first plan is still being made: send the planner a message.")
    if not may_approve:
        gates.refuse_to_lift(gates.lifted_by(state, Amendment(removed=_that_leave(state))))
    revived = reruns.reopen(turn)
    progress.make_ready(turn, revived)
    inputs.plan_anew(turn, instructions)


def _adopt_anew(turn: Turn, tasks: tuple[TaskSpec, ...]) -> None:
    """The new tasks take the place of all that have not begun."""
    amend(turn, Amendment(added=tasks, removed=_that_leave(turn.state)), PlanSource.PLANNER)


def _that_leave(state: WorkflowState) -> tuple[str, ...]:
    """What a new plan takes the place of."""
    stay = _that_stay(state)
    return tuple(task.spec.id for task in state.tasks_in_order() if task.spec.id not in stay)


def _that_stay(state: WorkflowState) -> frozenset[str]:
    """What has begun, and all that it rests on."""
    stay = [name for name in state.tasks if has_begun(state, name)]
    known = set(stay)
    for name in stay:  # It grows on the way.
        below = [one for one in state.tasks[name].spec.dependencies if one not in known]
        known.update(below)
        stay.extend(below)
    return frozenset(known)


def _check_rests(state: WorkflowState, tasks: Sequence[TaskSpec]) -> tuple[Violation, ...]:
    return tuple(
        Violation(f"tasks[{index}].dependencies[{place}]", f"Task {name!r} has ended without an output.")
        for index, task in enumerate(tasks)
        for place, name in enumerate(task.dependencies)
        if name in state.tasks and is_dead(state.tasks[name])
    )


def _check_ids(state: WorkflowState, tasks: Sequence[TaskSpec]) -> tuple[Violation, ...]:
    retired = frozenset(state.progress.retired)
    return tuple(
        Violation(f"tasks[{index}].id", f"{task.id!r} is taken: every task needs an id of its own, for ever.")
        for index, task in enumerate(tasks)
        if task.id in state.tasks or task.id in retired
    )


def _check_proposals(state: WorkflowState, tasks: Sequence[TaskSpec]) -> tuple[Violation, ...]:
    found: list[Violation] = []
    new = [task for task in tasks if task.depth]
    proposed = sum(task.spec.depth > 0 for task in state.tasks.values()) if new else 0
    if new and proposed + len(new) > state.spec.max_proposed_tasks:
        most = state.spec.max_proposed_tasks
        found.append(
            Violation("tasks", f"Running tasks may propose {most} tasks in all; {proposed} there are already.")
        )
    found.extend(
        Violation(f"tasks[{index}]", f"Proposals may stand {state.spec.max_proposal_depth} deep, this one is deeper.")
        for index, task in enumerate(tasks)
        if task.depth > state.spec.max_proposal_depth
    )
    return tuple(found)


def _check_revision(turn: Turn, revision: int | None) -> None:
    current = turn.state.progress.plan_revision
    if revision is not None and revision != current:
        raise Conflict("STALE_REVISION", f"The plan is at revision {current} by now: read it again, then change it.")


# Bad plans


def _reject(turn: Turn, failure: Failure, problems: tuple[str, ...], jitter: float) -> None:
    """Problems are for the planner to repair, within its budget; other failures are tried again if that may help.

    Without a plan the workflow fails. Without a new one it goes on with the one that it has.
    """
    planning = turn.state.progress.planning
    retry_at = _retry_at(turn, planning, failure, problems, jitter)
    shown = tuple(problem[:PROBLEM_LENGTH] for problem in problems[:PROBLEM_LIMIT])
    rejection = replace(failure, message=UNUSABLE) if shown else failure
    turn.emit(e.PlanRejected(planning.attempt, rejection, shown, retry_at))
    if retry_at is not None:
        return
    if planning.replanning:
        inputs.ask_for_plan(turn)
        progress.start_if_due(turn)
    else:
        progress.fail_workflow(turn, _given_up(failure, shown[0], planning.rejected + 1) if shown else failure)


def _retry_at(turn: Turn, planning: Planning, failure: Failure, problems: tuple[str, ...], jitter: float) -> int | None:
    spec = turn.spec
    if problems:
        return turn.now_us if planning.rejected < spec.max_plan_repairs else None
    if failure.retryable and (failure.spares_budget or planning.failures + 1 < spec.retry.max_attempts):
        return turn.now_us + backoff_us(spec.retry, planning.failures + 1, jitter, failure)
    return None


def _given_up(failure: Failure, problem: str, times: int) -> Failure:
    """Say that it was the model's plan that was bad, how often, and what helps."""
    often = "once" if times == 1 else f"{times} times"
    return progress.failure(
        failure.kind,
        f"The planner's plan was not usable {often}: {problem.rstrip('.')}; try again, rephrase the query or use a "
        "stronger model.",
    )
