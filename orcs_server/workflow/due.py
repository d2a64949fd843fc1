"""What ought to be under way now, as a function of the state alone. Costs O(running + what may start), never a scan of tasks."""

from __future__ import annotations

from itertools import islice

from orcs_server.workflow.effects import (
    AllocateResources,
    Effect,
    MakePlan,
    ReleaseResources,
    RunAttempt,
    WakeAt,
)
from orcs_server.workflow.model import Execution, ResourceStatus, TimerKind, WorkflowSpec, WorkflowState
from orcs_server.workflow.states import WorkflowStatus

SUSPECTED_AFTER = 2
"""Losses in a row without progress."""


def is_suspected(losses: int, spec: WorkflowSpec) -> bool:
    """Whether an attempt that was lost so often in a row may itself be what ends the server.

    Of such attempts an engine runs one at a time, so that from there on a loss counts against the one that causes it and not
    against those beside it.
    """
    return losses >= max(min(SUSPECTED_AFTER, spec.max_losses), 1)


def parallel_limit(spec: WorkflowSpec) -> int:
    """How many tasks of this workflow may run at once."""
    return 1 if spec.execution is Execution.SEQUENTIAL else spec.max_parallel_tasks


def due(state: WorkflowState, now_us: int) -> list[Effect]:
    """Return the effects that ought to be under way, attempts that run before those that may start, by priority."""
    effects: list[Effect] = []
    if state.terminal:
        if state.owes_resources:
            effects.append(ReleaseResources())
        return effects
    if state.status is WorkflowStatus.PLANNING:
        planning = state.progress.planning
        if planning.running:
            effects.append(MakePlan(planning.attempt))
        elif planning.retry_at_us is None or planning.retry_at_us <= now_us:
            effects.append(MakePlan(planning.attempt + 1))
    elif state.status is WorkflowStatus.RUNNING:
        if state.spec.holds_resources and state.progress.resources is ResourceStatus.NONE:
            effects.append(AllocateResources())
        else:
            effects.extend(_attempts(state))
    for time_us, kind, _ in state.timers:
        if time_us > now_us or kind is not TimerKind.PLAN_RETRY:
            effects.append(WakeAt(time_us))
            break
    return effects


def _attempts(state: WorkflowState) -> list[RunAttempt]:
    tasks = state.tasks
    found: list[RunAttempt] = []
    for _, task_id in state.running:
        task = tasks[task_id]
        found.append(RunAttempt(task_id, task.progress.attempt, task.progress.run, task.spec.agent_id))
    free = parallel_limit(state.spec) - len(found)
    for _, _, task_id in islice(state.ready, max(free, 0)):
        task = tasks[task_id]
        found.append(RunAttempt(task_id, task.progress.attempt + 1, max(task.progress.run, 1), task.spec.agent_id))
    return found
