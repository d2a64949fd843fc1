"""How planning and changes of the plan change the state."""

from __future__ import annotations

from immutables import Map
from msgspec.structs import replace

from orcs_server.workflow import events as e
from orcs_server.workflow.evolve_tasks import budget_end_us, is_met, task_of
from orcs_server.workflow.fingerprints import plan_shown, shown_digest
from orcs_server.workflow.indexes import Timer, inserted, moved_timer, recounted, removed, without
from orcs_server.workflow.model import NO_USAGE, Digest, Planning, PlanSource, TaskSpec, Usage
from orcs_server.workflow.state import TaskState, TimerKind, WorkflowState
from orcs_server.workflow.states import TaskStatus


def with_planning(
    state: WorkflowState, planning: Planning, timers: tuple[Timer, ...], usage: Usage | None = None
) -> WorkflowState:
    progress = replace(state.progress, planning=planning, usage=state.progress.usage if usage is None else usage)
    return replace(state, progress=progress, timers=timers)


def planning_started(state: WorkflowState, event: e.PlanningStarted) -> WorkflowState:
    planning = replace(
        state.progress.planning,
        attempt=event.attempt,
        running=True,
        retry_at_us=None,
        deadline_us=event.deadline_us,
        calls=0,
        attempt_usage=NO_USAGE,
    )
    timers = without(state.timers, TimerKind.PLAN_RETRY)
    if event.deadline_us is not None:
        timers = inserted(timers, (event.deadline_us, TimerKind.PLAN_ATTEMPT, ""))
    return with_planning(state, planning, timers)


def plan_rejected(state: WorkflowState, event: e.PlanRejected) -> WorkflowState:
    before = state.progress.planning
    planning = replace(
        before,
        running=False,
        rejected=before.rejected + bool(event.problems),
        failures=before.failures + (not event.problems and not event.failure.spares_budget),
        losses=0,
        retry_at_us=event.retry_at_us,
        deadline_us=None,
        problems=event.problems or before.problems,
    )
    timers = without(state.timers, TimerKind.PLAN_ATTEMPT)
    if event.retry_at_us is not None:
        timers = inserted(timers, (event.retry_at_us, TimerKind.PLAN_RETRY, ""))
    else:
        planning = replace(planning, replanning=False)
    return with_planning(state, planning, timers)


def planning_stopped(
    state: WorkflowState, event: e.AttemptInterrupted | e.AttemptSuspended | e.AttemptLost
) -> WorkflowState:
    before = state.progress.planning
    losses = before.losses
    if isinstance(event, e.AttemptLost):
        losses = 0 if event.progressed else losses + 1
    elif isinstance(event, e.AttemptSuspended):
        losses = 0
    after = replace(before, running=False, deadline_us=None, losses=losses)
    return with_planning(state, after, without(state.timers, TimerKind.PLAN_ATTEMPT))


def replan_requested(state: WorkflowState, event: e.ReplanRequested) -> WorkflowState:
    """A new conversation with budgets of its own; it takes the place of one that is under way."""
    before = state.progress.planning
    planning = replace(
        before,
        running=False,
        replanning=state.progress.plan_revision > 0,
        replans=before.replans + 1,
        instructions=event.instructions,
        reason=event.reason,
        rejected=0,
        failures=0,
        losses=0,
        retry_at_us=None,
        deadline_us=None,
        problems=(),
    )
    return with_planning(state, planning, _without_planning(state.timers))


def _without_planning(timers: tuple[Timer, ...]) -> tuple[Timer, ...]:
    return without(without(timers, TimerKind.PLAN_RETRY), TimerKind.PLAN_ATTEMPT)


def planned(state: WorkflowState) -> WorkflowState:
    """Return the state in which planning is done."""
    planning = replace(
        state.progress.planning,
        running=False,
        replanning=False,
        retry_at_us=None,
        deadline_us=None,
        problems=(),
        instructions=None,
        reason="",
    )
    return with_planning(state, planning, _without_planning(state.timers))


def plan_amended(state: WorkflowState, event: e.PlanAmended) -> WorkflowState:
    if event.source is PlanSource.PLANNER:
        state = planned(state)
    keeps = event.keeps_approval and state.progress.approved == _plan_digest(state)
    state = replace(state, progress=replace(state.progress, plan_revision=event.revision))
    state = _without_removed(state, event.removed)
    # Before those that are changed: they may depend on them.
    state = with_added(state, event.added)
    for spec in event.changed:
        state = _with_changed(state, spec)
    return replace(state, progress=replace(state.progress, approved=_plan_digest(state))) if keeps else state


def _plan_digest(state: WorkflowState) -> Digest:
    return shown_digest(plan_shown(state))


def with_added(state: WorkflowState, specs: tuple[TaskSpec, ...]) -> WorkflowState:
    progress = state.progress
    tasks = state.tasks.mutate()
    added: dict[str, list[str]] = {}
    for ordinal, spec in enumerate(specs, progress.task_count + len(progress.retired)):
        unmet = sum(1 for dependency in spec.dependencies if not is_met(tasks.get(dependency)))
        tasks[spec.id] = TaskState(spec, ordinal, unmet=unmet)
        for dependency in spec.dependencies:
            added.setdefault(dependency, []).append(spec.id)
    dependants = state.dependants.mutate()
    for dependency, names in added.items():
        dependants[dependency] = (*state.dependants.get(dependency, ()), *names)
    counts = recounted(progress.counts, None, TaskStatus.PENDING, len(specs))
    progress = replace(progress, task_count=progress.task_count + len(specs), counts=counts)
    return replace(state, progress=progress, tasks=tasks.finish(), dependants=dependants.finish())


def _without_removed(state: WorkflowState, names: tuple[str, ...]) -> WorkflowState:
    progress, ready = state.progress, state.ready
    tasks, dependants, counts = state.tasks, state.dependants, progress.counts
    for name in names:
        task = tasks[name]
        dependants = _unlinked(dependants, name, task.spec.dependencies)
        if task.status is TaskStatus.READY:
            ready = removed(ready, (-task.spec.priority, task.ordinal, name))
        counts = recounted(counts, task.status, None, 1)
        tasks = tasks.delete(name)
        if name in dependants:
            dependants = dependants.delete(name)
    progress = replace(
        progress, counts=counts, task_count=progress.task_count - len(names), retired=(*progress.retired, *names)
    )
    return replace(state, progress=progress, tasks=tasks, dependants=dependants, ready=ready)


def _with_changed(state: WorkflowState, spec: TaskSpec) -> WorkflowState:
    task = state.tasks[spec.id]
    before = task.spec
    dependants = state.dependants
    if spec.dependencies != before.dependencies:
        dependants = _unlinked(dependants, spec.id, before.dependencies)
        for dependency in spec.dependencies:
            names = (*dependants.get(dependency, ()), spec.id)
            dependants = dependants.set(dependency, tuple(sorted(names, key=lambda name: state.tasks[name].ordinal)))
    unmet = sum(1 for dependency in spec.dependencies if not is_met(state.tasks.get(dependency)))
    ready = state.ready
    if task.status is TaskStatus.READY:
        ready = removed(ready, (-before.priority, task.ordinal, spec.id))
        ready = inserted(ready, (-spec.priority, task.ordinal, spec.id))
    timers = moved_timer(
        state.timers,
        TimerKind.BUDGET,
        spec.id,
        budget_end_us(before.budget.wall_time_us, task.progress),
        budget_end_us(spec.budget.wall_time_us, task.progress),
    )
    tasks = state.tasks.set(spec.id, replace(task, spec=spec, unmet=unmet))
    return replace(state, tasks=tasks, dependants=dependants, ready=ready, timers=timers)


def _unlinked(
    dependants: Map[str, tuple[str, ...]], name: str, dependencies: tuple[str, ...]
) -> Map[str, tuple[str, ...]]:
    for dependency in dependencies:
        names = dependants.get(dependency, ())
        left = tuple(one for one in names if one != name)
        if left:
            dependants = dependants.set(dependency, left)
        elif names:
            dependants = dependants.delete(dependency)
    return dependants


def usage_recorded(state: WorkflowState, event: e.UsageRecorded) -> WorkflowState:
    progress = state.progress
    if not event.task_id:
        planning = progress.planning
        more = event.usage - planning.attempt_usage
        planning = replace(planning, calls=event.calls, attempt_usage=event.usage, usage=planning.usage + more)
        return with_planning(state, planning, state.timers, progress.usage + more)
    task = task_of(state, event)
    before = task.progress
    more = event.usage - before.attempt_usage
    after = replace(before, calls=event.calls, attempt_usage=event.usage, usage=before.usage + more)
    return replace(
        state,
        progress=replace(progress, usage=progress.usage + more),
        tasks=state.tasks.set(event.task_id, replace(task, progress=after)),
    )


def journal_mismatch(state: WorkflowState, event: e.JournalMismatch) -> WorkflowState:
    if not event.task_id:
        planning = replace(state.progress.planning, mismatched=event.attempt)
        return replace(state, progress=replace(state.progress, planning=planning))
    task = task_of(state, event)
    after = replace(task, progress=replace(task.progress, mismatched=event.attempt))
    return replace(state, tasks=state.tasks.set(event.task_id, after))
