"""The state rebuilt from its stored rows. Rows are the truth for restart; the indexes are derived from them here."""

from __future__ import annotations

from collections.abc import Sequence

from immutables import Map
from msgspec.structs import replace

from orcs_server.workflow.evolve import wall_end_us
from orcs_server.workflow.evolve_tasks import budget_end_us, is_met
from orcs_server.workflow.indexes import Timer
from orcs_server.workflow.model import TaskProgress, TaskSpec, WorkflowProgress, WorkflowSpec
from orcs_server.workflow.people import PendingInput, PersonMessage
from orcs_server.workflow.state import TaskState, TimerKind, WorkflowState
from orcs_server.workflow.states import WORKFLOW_TERMINAL, TaskStatus, WorkflowStatus


def restore(
    namespace: str,
    workflow_id: str,
    spec: WorkflowSpec,
    progress: WorkflowProgress,
    tasks: Sequence[tuple[int, TaskSpec, TaskProgress]],
    inputs: Sequence[PendingInput] = (),
    mail: Sequence[PersonMessage] = (),
) -> WorkflowState:
    """Return the state whose stored rows these are, with its indexes rebuilt. Equal to the fold of its events."""
    states = {task.id: TaskState(task, ordinal, moved) for ordinal, task, moved in sorted(tasks, key=lambda t: t[0])}
    dependants: dict[str, list[str]] = {}
    timers: list[Timer] = []
    ready: list[tuple[int, int, str]] = []
    running: list[tuple[int, str]] = []
    for name, task in states.items():
        unmet = 0
        for dependency in task.spec.dependencies:
            unmet += not is_met(states.get(dependency))
            dependants.setdefault(dependency, []).append(name)
        states[name] = replace(task, unmet=unmet)
        if task.progress.status is TaskStatus.READY:
            ready.append((-task.spec.priority, task.ordinal, name))
        elif task.progress.status is TaskStatus.RUNNING:
            running.append((task.ordinal, name))
        if task.progress.deadline_us is not None:
            timers.append((task.progress.deadline_us, TimerKind.ATTEMPT, name))
        if task.progress.retry_at_us is not None:
            timers.append((task.progress.retry_at_us, TimerKind.RETRY, name))
        end_us = budget_end_us(task.spec.budget.wall_time_us, task.progress)
        if end_us is not None:
            timers.append((end_us, TimerKind.BUDGET, name))
    waiting = [one for one in inputs if one.open]
    timers.extend((one.deadline_us, TimerKind.INPUT, one.id) for one in waiting if one.deadline_us is not None)
    if progress.status not in WORKFLOW_TERMINAL:
        timers.extend(_workflow_timers(spec, progress))
    state = WorkflowState(
        namespace,
        workflow_id,
        spec,
        progress,
        Map(states),
        Map({name: tuple(names) for name, names in dependants.items()}),
        tuple(sorted(ready)),
        tuple(running),
        inputs=Map({one.id: one for one in inputs}),
        open_inputs=tuple(sorted((one.ordinal, one.id) for one in waiting)),
        mail=tuple(sorted(mail, key=lambda one: one.ordinal)),
    )
    end_us = wall_end_us(state)
    if end_us is not None:
        timers.append((end_us, TimerKind.BUDGET, ""))
    return replace(state, timers=tuple(sorted(timers)))


def _workflow_timers(spec: WorkflowSpec, progress: WorkflowProgress) -> list[Timer]:
    timers: list[Timer] = []
    if spec.deadline_us is not None and progress.status is not WorkflowStatus.CANCELLING:
        timers.append((spec.deadline_us, TimerKind.DEADLINE, ""))
    if progress.planning.retry_at_us is not None:
        timers.append((progress.planning.retry_at_us, TimerKind.PLAN_RETRY, ""))
    if progress.planning.deadline_us is not None:
        timers.append((progress.planning.deadline_us, TimerKind.PLAN_ATTEMPT, ""))
    if spec.auto_start and spec.not_before_us is not None and progress.plan_revision and progress.started_us is None:
        timers.append((spec.not_before_us, TimerKind.NOT_BEFORE, ""))
    return timers
