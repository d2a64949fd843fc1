"""How events change the state: the only way in which it changes. State equals the fold of its events.

Each change of status is looked up in the tables of `states`; the ordered indexes (ready, running, timers, unmet counts)
are kept here and nowhere else.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, TypeVar, assert_never

from immutables import Map
from msgspec.structs import replace

from orcs_server.workflow import events as e
from orcs_server.workflow.model import (
    NO_USAGE,
    STATUS_INDEX,
    Planning,
    ResourceStatus,
    TaskProgress,
    TaskSpec,
    TaskState,
    TimerKind,
    Usage,
    WorkflowProgress,
    WorkflowState,
)
from orcs_server.workflow.states import (
    TASK_MOVES,
    TASK_TERMINAL,
    WORKFLOW_MOVES,
    TaskStatus,
    WorkflowStatus,
)

Timer = tuple[int, TimerKind, str]
Item = TypeVar("Item", bound=tuple[Any, ...])


class ImpossibleEvent(Exception):
    """The log holds an event that the state before it does not allow: the log is damaged, or the rules are wrong."""


def evolve(state: WorkflowState | None, event: e.Event, at_us: int) -> WorkflowState:  # noqa: PLR0911, PLR0912, C901
    """Return the state after `event`, which happened at `at_us`. Raises ImpossibleEvent where the tables have no move."""
    if state is None:
        return _create(event, at_us)
    match event:
        case e.WorkflowCreated():
            raise ImpossibleEvent("WorkflowCreated stands in the middle of a log.")
        case e.PlanningStarted():
            return _planning_started(state, event)
        case e.PlanRejected():
            return _plan_rejected(state, event)
        case e.PlanAdopted():
            return _plan_adopted(state, event, at_us)
        case e.PlanAmended():
            return _plan_amended(state, event)
        case e.WorkflowStarted():
            timers = _without_kind(state.timers, TimerKind.NOT_BEFORE)
            return replace(_moved(state, event, started_us=at_us), timers=timers)
        case e.WorkflowCompleted():
            return replace(_moved(state, event, finished_us=at_us), timers=())
        case e.WorkflowFailed():
            return replace(_moved(state, event, finished_us=at_us, failure=event.failure), timers=())
        case e.WorkflowDeleted():
            return state
        case e.ResourcesAllocated():
            return replace(state, progress=replace(state.progress, resources=ResourceStatus.GRANTED))
        case e.ResourcesReturned():
            return replace(state, progress=replace(state.progress, resources=ResourceStatus.RELEASED))
        case e.AttemptInterrupted() | e.AttemptLost() if not event.task_id:
            return _planning_stopped(state, event)
        case e.UsageRecorded():
            return _usage_recorded(state, event)
        case e.JournalMismatch():
            return _journal_mismatch(state, event)
        case (
            e.TaskReady()
            | e.AttemptStarted()
            | e.AttemptSucceeded()
            | e.AttemptFailed()
            | e.AttemptTimedOut()
            | e.AttemptInterrupted()
            | e.AttemptLost()
            | e.TaskRetryScheduled()
            | e.TaskCompleted()
            | e.TaskFailed()
            | e.TaskSkipped()
            | e.TaskCancelled()
        ):
            return _task_event(state, event, at_us)
        case _:
            assert_never(event)


def _create(event: e.Event, at_us: int) -> WorkflowState:
    if not isinstance(event, e.WorkflowCreated):
        raise ImpossibleEvent(f"A log begins with WorkflowCreated, not with {type(event).__name__}.")
    spec = event.spec
    timers: tuple[Timer, ...] = ()
    if spec.deadline_us is not None:
        timers = ((spec.deadline_us, TimerKind.DEADLINE, ""),)
    progress = WorkflowProgress(WorkflowStatus.PLANNING, at_us)
    return WorkflowState(event.namespace, event.workflow_id, spec, progress, timers=timers)


def _moved(state: WorkflowState, event: e.Event, **changes: Any) -> WorkflowState:
    name = type(event).__name__
    after = WORKFLOW_MOVES[name].get(state.progress.status)
    if after is None:
        raise ImpossibleEvent(f"{name} is not possible in {state.progress.status}.")
    return replace(state, progress=replace(state.progress, status=after, **changes))


# Planning


def _with_planning(
    state: WorkflowState, planning: Planning, timers: tuple[Timer, ...], usage: Usage | None = None
) -> WorkflowState:
    progress = replace(state.progress, planning=planning, usage=state.progress.usage if usage is None else usage)
    return replace(state, progress=progress, timers=timers)


def _planning_started(state: WorkflowState, event: e.PlanningStarted) -> WorkflowState:
    planning = replace(
        state.progress.planning,
        attempt=event.attempt,
        running=True,
        retry_at_us=None,
        deadline_us=event.deadline_us,
        calls=0,
        attempt_usage=NO_USAGE,
    )
    timers = _without_kind(state.timers, TimerKind.PLAN_RETRY)
    if event.deadline_us is not None:
        timers = _inserted(timers, (event.deadline_us, TimerKind.PLAN_ATTEMPT, ""))
    return _with_planning(state, planning, timers)


def _plan_rejected(state: WorkflowState, event: e.PlanRejected) -> WorkflowState:
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
    timers = _without_kind(state.timers, TimerKind.PLAN_ATTEMPT)
    if event.retry_at_us is not None:
        timers = _inserted(timers, (event.retry_at_us, TimerKind.PLAN_RETRY, ""))
    return _with_planning(state, planning, timers)


def _planning_stopped(state: WorkflowState, event: e.AttemptInterrupted | e.AttemptLost) -> WorkflowState:
    before = state.progress.planning
    losses = before.losses
    if isinstance(event, e.AttemptLost):
        losses = 0 if event.progressed else losses + 1
    after = replace(before, running=False, deadline_us=None, losses=losses)
    return _with_planning(state, after, _without_kind(state.timers, TimerKind.PLAN_ATTEMPT))


def _plan_adopted(state: WorkflowState, event: e.PlanAdopted, at_us: int) -> WorkflowState:
    planning = replace(state.progress.planning, running=False, retry_at_us=None, deadline_us=None, problems=())
    timers = _without_kind(_without_kind(state.timers, TimerKind.PLAN_RETRY), TimerKind.PLAN_ATTEMPT)
    spec = state.spec
    if spec.not_before_us is not None and spec.not_before_us > at_us and spec.starts_by_itself:
        timers = _inserted(timers, (spec.not_before_us, TimerKind.NOT_BEFORE, ""))
    state = _moved(state, event, planning=planning, plan_revision=event.revision)
    return _with_added(replace(state, timers=timers), event.tasks)


def _plan_amended(state: WorkflowState, event: e.PlanAmended) -> WorkflowState:
    state = replace(state, progress=replace(state.progress, plan_revision=event.revision))
    return _with_added(state, event.added)


def _with_added(state: WorkflowState, specs: tuple[TaskSpec, ...]) -> WorkflowState:
    progress = state.progress
    tasks = state.tasks.mutate()
    added: dict[str, list[str]] = {}
    for ordinal, spec in enumerate(specs, progress.task_count):
        unmet = sum(1 for dependency in spec.dependencies if not is_met(tasks.get(dependency)))
        tasks[spec.id] = TaskState(spec, ordinal, unmet=unmet)
        for dependency in spec.dependencies:
            added.setdefault(dependency, []).append(spec.id)
    dependants = state.dependants.mutate()
    for dependency, names in added.items():
        dependants[dependency] = (*state.dependants.get(dependency, ()), *names)
    counts = _recounted(progress.counts, None, TaskStatus.PENDING, len(specs))
    progress = replace(progress, task_count=progress.task_count + len(specs), counts=counts)
    return replace(state, progress=progress, tasks=tasks.finish(), dependants=dependants.finish())


def is_met(task: TaskState | None) -> bool:
    """Say whether a dependency holds nobody up: it is met when it completed, or when it ended otherwise and was optional."""
    if task is None:
        return False
    status = task.progress.status
    return status is TaskStatus.COMPLETED or (task.spec.optional and status in TASK_TERMINAL)


# Tasks


def _usage_recorded(state: WorkflowState, event: e.UsageRecorded) -> WorkflowState:
    progress = state.progress
    if not event.task_id:
        planning = progress.planning
        more = event.usage - planning.attempt_usage
        planning = replace(planning, calls=event.calls, attempt_usage=event.usage, usage=planning.usage + more)
        return _with_planning(state, planning, state.timers, progress.usage + more)
    task = _task(state, event)
    before = task.progress
    more = event.usage - before.attempt_usage
    after = replace(before, calls=event.calls, attempt_usage=event.usage, usage=before.usage + more)
    return replace(
        state,
        progress=replace(progress, usage=progress.usage + more),
        tasks=state.tasks.set(event.task_id, replace(task, progress=after)),
    )


def _journal_mismatch(state: WorkflowState, event: e.JournalMismatch) -> WorkflowState:
    if not event.task_id:
        planning = replace(state.progress.planning, mismatched=event.attempt)
        return replace(state, progress=replace(state.progress, planning=planning))
    task = _task(state, event)
    after = replace(task, progress=replace(task.progress, mismatched=event.attempt))
    return replace(state, tasks=state.tasks.set(event.task_id, after))


TaskEvent = (
    e.TaskReady
    | e.AttemptStarted
    | e.AttemptSucceeded
    | e.AttemptFailed
    | e.AttemptTimedOut
    | e.AttemptInterrupted
    | e.AttemptLost
    | e.TaskRetryScheduled
    | e.TaskCompleted
    | e.TaskFailed
    | e.TaskSkipped
    | e.TaskCancelled
)


def _task(state: WorkflowState, event: TaskEvent | e.UsageRecorded | e.JournalMismatch) -> TaskState:
    task = state.tasks.get(event.task_id)
    if task is None:
        raise ImpossibleEvent(f"{type(event).__name__} names task {event.task_id!r}, which the plan does not have.")
    return task


def _task_event(state: WorkflowState, event: TaskEvent, at_us: int) -> WorkflowState:
    task = _task(state, event)
    before = task.progress
    status = TASK_MOVES[type(event).__name__].get(before.status)
    if status is None:
        raise ImpossibleEvent(f"{type(event).__name__} is not possible for a task in {before.status}.")
    after = _task_progress(before, event, status, at_us)
    tasks = state.tasks.set(event.task_id, replace(task, progress=after))
    if status is before.status:
        return replace(state, tasks=tasks)
    ready, running = state.ready, state.running
    if before.status is TaskStatus.READY:
        ready = _removed(ready, (-task.spec.priority, task.ordinal, task.spec.id))
    elif before.status is TaskStatus.RUNNING:
        running = _removed(running, (task.ordinal, task.spec.id))
    if status is TaskStatus.READY:
        ready = _inserted(ready, (-task.spec.priority, task.ordinal, task.spec.id))
    elif status is TaskStatus.RUNNING:
        running = _inserted(running, (task.ordinal, task.spec.id))
    elif status in TASK_TERMINAL and (status is TaskStatus.COMPLETED or task.spec.optional):
        tasks = _released(tasks, state.dependants.get(task.spec.id, ()))
    counts = _recounted(state.progress.counts, before.status, status, 1)
    return replace(
        state,
        progress=replace(state.progress, counts=counts),
        tasks=tasks,
        ready=ready,
        running=running,
        timers=_task_timers(state.timers, task.spec.id, before, after),
    )


def _task_progress(before: TaskProgress, event: TaskEvent, status: TaskStatus, at_us: int) -> TaskProgress:  # noqa: PLR0911
    match event:
        case e.TaskReady():
            return replace(before, status=status, retry_at_us=None)
        case e.AttemptStarted():
            return replace(
                before,
                status=status,
                attempt=event.attempt,
                run=event.run,
                started_us=at_us if before.started_us is None else before.started_us,
                attempt_started_us=at_us,
                deadline_us=event.deadline_us,
                calls=0,
                attempt_usage=NO_USAGE,
            )
        case e.AttemptSucceeded():
            return replace(before, output=event.output, failure=None, losses=0)
        case e.AttemptFailed() | e.AttemptTimedOut():
            failures = before.failures + (not event.failure.spares_budget)
            return replace(before, failures=failures, failure=event.failure, losses=0)
        case e.AttemptInterrupted():
            return replace(before, status=status, deadline_us=None)
        case e.AttemptLost():
            losses = 0 if event.progressed else before.losses + 1
            return replace(before, status=status, deadline_us=None, losses=losses)
        case e.TaskRetryScheduled():
            return replace(before, status=status, deadline_us=None, retry_at_us=event.retry_at_us)
        case e.TaskCompleted():
            return replace(before, status=status, deadline_us=None, finished_us=at_us)
        case e.TaskFailed() | e.TaskSkipped() | e.TaskCancelled():
            return replace(
                before, status=status, deadline_us=None, retry_at_us=None, finished_us=at_us, failure=event.failure
            )
        case _:
            assert_never(event)


def _task_timers(
    timers: tuple[Timer, ...], task_id: str, before: TaskProgress, after: TaskProgress
) -> tuple[Timer, ...]:
    if before.deadline_us is not None and after.deadline_us is None:
        timers = _removed(timers, (before.deadline_us, TimerKind.ATTEMPT, task_id))
    if before.retry_at_us is not None and after.retry_at_us is None:
        timers = _removed(timers, (before.retry_at_us, TimerKind.RETRY, task_id))
    if after.deadline_us is not None and before.deadline_us is None:
        timers = _inserted(timers, (after.deadline_us, TimerKind.ATTEMPT, task_id))
    if after.retry_at_us is not None and before.retry_at_us is None:
        timers = _inserted(timers, (after.retry_at_us, TimerKind.RETRY, task_id))
    return timers


def _released(tasks: Map[str, TaskState], names: tuple[str, ...]) -> Map[str, TaskState]:
    if not names:
        return tasks
    changing = tasks.mutate()
    for name in names:
        dependant = changing[name]
        changing[name] = replace(dependant, unmet=dependant.unmet - 1)
    return changing.finish()


# Ordered tuples


def _inserted(items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    at = bisect_left(items, item)
    # Concatenation copies each side once, and an empty one not at all; unpacking goes by way of a list.
    return items[:at] + (item,) + items[at:]  # noqa: RUF005


def _removed(items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    at = bisect_left(items, item)
    return items[:at] + items[at + 1 :]


def _without_kind(timers: tuple[Timer, ...], kind: TimerKind) -> tuple[Timer, ...]:
    if not any(timer[1] is kind for timer in timers):
        return timers
    return tuple(timer for timer in timers if timer[1] is not kind)


def _recounted(counts: tuple[int, ...], before: TaskStatus | None, after: TaskStatus, by: int) -> tuple[int, ...]:
    changed = list(counts)
    if before is not None:
        changed[STATUS_INDEX[before]] -= by
    changed[STATUS_INDEX[after]] += by
    return tuple(changed)
