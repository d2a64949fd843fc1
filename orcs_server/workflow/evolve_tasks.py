"""How events change a task, and with it the indexes of its workflow."""

from __future__ import annotations

from typing import assert_never

from immutables import Map
from msgspec.structs import replace

from orcs_server.workflow import events as e
from orcs_server.workflow.fingerprints import fingerprint
from orcs_server.workflow.indexes import Timer, inserted, moved_timer, recounted, removed
from orcs_server.workflow.model import NO_USAGE, TaskProgress
from orcs_server.workflow.state import TaskState, TimerKind, WorkflowState
from orcs_server.workflow.states import TASK_MOVES, TASK_TERMINAL, TaskStatus


class ImpossibleEvent(Exception):
    """The log holds an event that the state before it does not allow: the log is damaged, or the rules are wrong."""


TaskEvent = (
    e.TaskReady
    | e.TaskReopened
    | e.TaskHeld
    | e.AttemptStarted
    | e.AttemptSucceeded
    | e.AttemptFailed
    | e.AttemptTimedOut
    | e.AttemptSuspended
    | e.AttemptInterrupted
    | e.AttemptLost
    | e.TaskRetryScheduled
    | e.TaskCompleted
    | e.TaskFailed
    | e.TaskSkipped
    | e.TaskCancelled
)


def is_met(task: TaskState | None) -> bool:
    """Say whether a dependency holds nobody up: it completed, or ended otherwise and was optional or is done without."""
    if task is None:
        return False
    status = task.progress.status
    return status is TaskStatus.COMPLETED or (status in TASK_TERMINAL and (task.spec.optional or task.progress.waived))


def is_dead(task: TaskState) -> bool:
    """Say whether what depends on the task cannot be carried out: it has ended, and not well."""
    return task.progress.status in TASK_TERMINAL and not is_met(task)


def task_of(state: WorkflowState, event: TaskEvent | e.TaskStale | e.UsageRecorded | e.JournalMismatch) -> TaskState:
    """Return the task that the event names. Raises ImpossibleEvent when the plan does not have it."""
    task = state.tasks.get(event.task_id)
    if task is None:
        raise ImpossibleEvent(f"{type(event).__name__} names task {event.task_id!r}, which the plan does not have.")
    return task


def task_event(state: WorkflowState, event: TaskEvent, at_us: int) -> WorkflowState:
    """Return the state after the event. Raises ImpossibleEvent where the table has no move."""
    task = task_of(state, event)
    before = task.progress
    status = TASK_MOVES[type(event).__name__].get(before.status)
    if status is None:
        raise ImpossibleEvent(f"{type(event).__name__} is not possible for a task in {before.status}.")
    after = _after(state, task, event, status, at_us)
    changed = replace(task, progress=after)
    tasks = state.tasks.set(event.task_id, changed)
    if status is before.status and not isinstance(event, e.TaskSkipped):
        return replace(state, tasks=tasks)
    ready, running = state.ready, state.running
    if before.status is TaskStatus.READY:
        ready = removed(ready, (-task.spec.priority, task.ordinal, task.spec.id))
    elif before.status is TaskStatus.RUNNING:
        running = removed(running, (task.ordinal, task.spec.id))
    if status is TaskStatus.READY:
        ready = inserted(ready, (-task.spec.priority, task.ordinal, task.spec.id))
    elif status is TaskStatus.RUNNING:
        running = inserted(running, (task.ordinal, task.spec.id))
    ends = status in TASK_TERMINAL or before.status in TASK_TERMINAL
    met = is_met(changed) - is_met(task) if ends else 0
    if met:
        tasks = _released(tasks, state.dependants.get(task.spec.id, ()), met)
    return replace(
        state,
        progress=replace(state.progress, counts=recounted(state.progress.counts, before.status, status, 1)),
        tasks=tasks,
        ready=ready,
        running=running,
        timers=_timers(state.timers, task, before, after),
    )


def _after(state: WorkflowState, task: TaskState, event: TaskEvent, status: TaskStatus, at_us: int) -> TaskProgress:  # noqa: PLR0911, PLR0912, C901
    before = task.progress
    match event:
        case e.TaskReady():
            return replace(before, status=status, retry_at_us=None)
        case e.TaskHeld():
            return replace(before, status=status)
        case e.TaskReopened():
            return _reopened(_stopped(before, status, at_us), event)
        case e.AttemptStarted():
            return replace(
                before,
                status=status,
                attempt=event.attempt,
                run=event.run,
                started_us=at_us if before.started_us is None else before.started_us,
                attempt_started_us=at_us,
                deadline_us=event.deadline_us,
                fingerprint=fingerprint(state, task.spec),
                kept=None,
                calls=0,
                attempt_usage=NO_USAGE,
            )
        case e.AttemptSucceeded():
            return replace(before, output=event.output, failure=None, losses=0)
        case e.AttemptFailed() | e.AttemptTimedOut():
            failures = before.failures + (not event.failure.spares_budget)
            return replace(before, failures=failures, failure=event.failure, losses=0)
        case e.AttemptSuspended():
            return replace(_stopped(before, status, at_us), losses=0)
        case e.AttemptInterrupted():
            return _stopped(before, status, at_us)
        case e.AttemptLost():
            losses = 0 if event.progressed else before.losses + 1
            return replace(_stopped(before, status, at_us), losses=losses)
        case e.TaskRetryScheduled():
            return replace(_stopped(before, status, at_us), retry_at_us=event.retry_at_us)
        case e.TaskCompleted():
            done = replace(_stopped(before, status, at_us), finished_us=at_us, stale=False)
            return replace(done, output=event.output, kept=None, failure=None) if event.reused else done
        case e.TaskFailed() | e.TaskCancelled():
            return _ended(_stopped(before, status, at_us), event, at_us)
        case e.TaskSkipped():
            ended = _ended(_stopped(before, status, at_us), event, at_us)
            return replace(ended, waived=not event.cause, output=event.output)
        case _:
            assert_never(event)


def _stopped(before: TaskProgress, status: TaskStatus, at_us: int) -> TaskProgress:
    """An attempt that was under way is so no more; its time is counted."""
    if before.deadline_us is None or before.attempt_started_us is None:
        return replace(before, status=status)
    spent = at_us - before.attempt_started_us
    return replace(before, status=status, deadline_us=None, ran_us=before.ran_us + spent)


def _ended(before: TaskProgress, event: e.TaskFailed | e.TaskCancelled | e.TaskSkipped, at_us: int) -> TaskProgress:
    return replace(before, retry_at_us=None, finished_us=at_us, failure=event.failure, output=None, kept=None)


def _reopened(before: TaskProgress, event: e.TaskReopened) -> TaskProgress:
    """A task that is carried out again begins with fresh budgets of retries and losses."""
    return replace(
        before,
        run=event.run,
        retry_at_us=None,
        finished_us=None,
        failure=None,
        failures=0,
        losses=0,
        output=None,
        kept=before.output or before.kept if event.keeps_output else None,
        stale=False,
        waived=False,
    )


def _timers(timers: tuple[Timer, ...], task: TaskState, before: TaskProgress, after: TaskProgress) -> tuple[Timer, ...]:
    name = task.spec.id
    if before.deadline_us != after.deadline_us:
        timers = moved_timer(timers, TimerKind.ATTEMPT, name, before.deadline_us, after.deadline_us)
    if before.retry_at_us != after.retry_at_us:
        timers = moved_timer(timers, TimerKind.RETRY, name, before.retry_at_us, after.retry_at_us)
    limit = task.spec.budget.wall_time_us
    if limit is None:
        return timers
    return moved_timer(timers, TimerKind.BUDGET, name, budget_end_us(limit, before), budget_end_us(limit, after))


def budget_end_us(limit_us: int | None, progress: TaskProgress) -> int | None:
    """Return when the running attempt uses up the task's wall time; None if never, or if it did so before."""
    if limit_us is None or progress.deadline_us is None or progress.ran_us >= limit_us:
        return None
    return (progress.attempt_started_us or 0) + limit_us - progress.ran_us


def _released(tasks: Map[str, TaskState], names: tuple[str, ...], met: int) -> Map[str, TaskState]:
    """Note that the dependants wait for one task less, or for one more."""
    if not names:
        return tasks
    changing = tasks.mutate()
    for name in names:
        dependant = changing[name]
        changing[name] = replace(dependant, unmet=dependant.unmet - met)
    return changing.finish()
