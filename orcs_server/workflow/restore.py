"""The state rebuilt from its stored rows. Rows are the truth for restart; the indexes are derived from them here."""

from __future__ import annotations

from immutables import Map
from msgspec.structs import replace

from orcs_server.workflow.evolve import Timer, is_met
from orcs_server.workflow.model import (
    TaskProgress,
    TaskSpec,
    TaskState,
    TimerKind,
    WorkflowProgress,
    WorkflowSpec,
    WorkflowState,
)
from orcs_server.workflow.states import WORKFLOW_TERMINAL, TaskStatus, WorkflowStatus


def restore(
    namespace: str,
    workflow_id: str,
    spec: WorkflowSpec,
    progress: WorkflowProgress,
    tasks: list[tuple[int, TaskSpec, TaskProgress]],
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
    if progress.status not in WORKFLOW_TERMINAL:
        timers.extend(_workflow_timers(spec, progress))
    return WorkflowState(
        namespace,
        workflow_id,
        spec,
        progress,
        Map(states),
        Map({name: tuple(names) for name, names in dependants.items()}),
        tuple(sorted(ready)),
        tuple(running),
        tuple(sorted(timers)),
    )


def _workflow_timers(spec: WorkflowSpec, progress: WorkflowProgress) -> list[Timer]:
    timers: list[Timer] = []
    if spec.deadline_us is not None:
        timers.append((spec.deadline_us, TimerKind.DEADLINE, ""))
    if progress.planning.retry_at_us is not None:
        timers.append((progress.planning.retry_at_us, TimerKind.PLAN_RETRY, ""))
    if progress.planning.deadline_us is not None:
        timers.append((progress.planning.deadline_us, TimerKind.PLAN_ATTEMPT, ""))
    if progress.status is WorkflowStatus.READY and spec.not_before_us is not None and spec.starts_by_itself:
        timers.append((spec.not_before_us, TimerKind.NOT_BEFORE, ""))
    return timers
