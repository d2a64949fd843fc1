"""How events change the state: the only way in which it changes. State equals the fold of its events.

Each change of status is looked up in the tables of `states`; the ordered indexes (ready, running, timers, unmet counts, what
waits for people) are kept here, in `evolve_tasks` and `evolve_plan`, and nowhere else.
"""

from __future__ import annotations

from typing import Any, assert_never

from msgspec.structs import replace

from orcs_server.workflow import events as e
from orcs_server.workflow.evolve_plan import (
    journal_mismatch,
    plan_amended,
    plan_rejected,
    planned,
    planning_started,
    planning_stopped,
    replan_requested,
    usage_recorded,
    with_added,
)
from orcs_server.workflow.evolve_tasks import ImpossibleEvent, task_event, task_of
from orcs_server.workflow.indexes import Timer, inserted, moved_timer, removed, without
from orcs_server.workflow.model import ResourceStatus, StopMode, WorkflowProgress
from orcs_server.workflow.people import InputKind, Resolution
from orcs_server.workflow.state import TimerKind, WorkflowState
from orcs_server.workflow.states import WORKFLOW_MOVES, WorkflowStatus


def evolve(state: WorkflowState | None, event: e.Event, at_us: int) -> WorkflowState:  # noqa: PLR0911, PLR0912, C901
    """Return the state after `event`, which happened at `at_us`. Raises ImpossibleEvent where the tables have no move."""
    if state is None:
        return _create(event, at_us)
    match event:
        # What happens most often comes first: the cases are tried in order.
        case e.AttemptInterrupted() | e.AttemptLost() | e.AttemptSuspended() if not event.task_id:
            return planning_stopped(state, event)
        case (
            e.TaskReady()
            | e.TaskReopened()
            | e.TaskHeld()
            | e.AttemptStarted()
            | e.AttemptSucceeded()
            | e.AttemptFailed()
            | e.AttemptTimedOut()
            | e.AttemptSuspended()
            | e.AttemptInterrupted()
            | e.AttemptLost()
            | e.TaskRetryScheduled()
            | e.TaskCompleted()
            | e.TaskFailed()
            | e.TaskSkipped()
            | e.TaskCancelled()
        ):
            return task_event(state, event, at_us)
        case e.UsageRecorded():
            return usage_recorded(state, event)
        case e.WorkflowCreated():
            raise ImpossibleEvent("WorkflowCreated stands in the middle of a log.")
        case e.PlanningStarted():
            return planning_started(state, event)
        case e.PlanRejected():
            return plan_rejected(state, event)
        case e.PlanAdopted():
            return _plan_adopted(state, event)
        case e.PlanAmended():
            return plan_amended(state, event)
        case e.ReplanRequested():
            return replan_requested(state, event)
        case e.WorkflowStarted():
            timers = without(state.timers, TimerKind.NOT_BEFORE)
            return _clocked(replace(_moved(state, event, started_us=at_us), timers=timers), at_us)
        case e.WorkflowPausing():
            return _pausing(state, event)
        case e.WorkflowPaused():
            return _clocked(_moved(state, event, stop=None), at_us)
        case e.WorkflowResumed():
            return _resumed(state, event, at_us)
        case e.WorkflowCancelRequested():
            timers = without(state.timers, TimerKind.DEADLINE)
            moved = _moved(state, event, stop=event.mode, paused=False, frozen=False)
            return _clocked(replace(moved, timers=timers), at_us)
        case e.WorkflowReopened():
            return _reopened(state, event, at_us)
        case e.WorkflowUpdated():
            return _updated(state, event, at_us)
        case e.WorkflowCompleted():
            return _ended(state, event, at_us)
        case e.WorkflowFailed():
            return _ended(state, event, at_us, failure=event.failure)
        case e.WorkflowCancelled():
            return _ended(state, event, at_us)
        case e.WorkflowDeleted() | e.BudgetExceeded():
            return state
        case e.ResourcesAllocated():
            return replace(state, progress=replace(state.progress, resources=ResourceStatus.GRANTED))
        case e.ResourcesReturned():
            return replace(state, progress=replace(state.progress, resources=ResourceStatus.RELEASED))
        case e.JournalMismatch():
            return journal_mismatch(state, event)
        case e.InputRequested():
            return _input_requested(state, event, at_us)
        case e.InputResolved():
            return _input_resolved(state, event, at_us)
        case e.MessageReceived():
            return replace(state, mail=(*state.mail, event.message))
        case e.TaskStale():
            task = task_of(state, event)
            stale = replace(task, progress=replace(task.progress, stale=True))
            return replace(state, tasks=state.tasks.set(event.task_id, stale))
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
    possible = WORKFLOW_MOVES[name].get(state.progress.status)
    if possible is None:
        raise ImpossibleEvent(f"{name} is not possible in {state.progress.status}.")
    after = possible[0] if len(possible) == 1 else _where(state, possible)
    return replace(state, progress=replace(state.progress, status=after, **changes))


def _where(state: WorkflowState, possible: tuple[WorkflowStatus, ...]) -> WorkflowStatus:
    """A workflow that is still held stays where it is; any other goes to where it stands."""
    held = state.progress.paused or state.progress.frozen
    return state.status if held and state.status in possible else state.standing


def _plan_adopted(state: WorkflowState, event: e.PlanAdopted) -> WorkflowState:
    state = planned(_moved(state, event, plan_revision=event.revision))
    return with_added(_awaiting_its_time(state), event.tasks)


def _awaiting_its_time(state: WorkflowState) -> WorkflowState:
    not_before_us = state.spec.not_before_us
    if not_before_us is None or not state.spec.auto_start:
        return state
    return replace(state, timers=inserted(state.timers, (not_before_us, TimerKind.NOT_BEFORE, "")))


# Pause, resume, end


_SHARPER = {None: 0, StopMode.DRAIN: 1, StopMode.AFTER_TURN: 2, StopMode.IMMEDIATE: 3}


def sharper(mode: StopMode, than: StopMode | None) -> bool:
    """Whether one way of stopping is less gentle than another."""
    return _SHARPER[mode] > _SHARPER[than]


def _pausing(state: WorkflowState, event: e.WorkflowPausing) -> WorkflowState:
    """Of two pauses the less gentle mode counts."""
    before = state.progress
    stop = before.stop
    if before.status is not WorkflowStatus.PAUSED and sharper(event.mode, stop):
        stop = event.mode
    flags = {"frozen": True} if event.freeze else {"paused": True}
    return _moved(state, event, stop=stop, **flags)


def _resumed(state: WorkflowState, event: e.WorkflowResumed, at_us: int) -> WorkflowState:
    held = replace(state.progress, **({"frozen": False} if event.freeze else {"paused": False}))
    state = _moved(replace(state, progress=held), event)
    if not (held.paused or held.frozen):
        state = replace(state, progress=replace(state.progress, stop=None))
    return _clocked(state, at_us)


def _ended(state: WorkflowState, event: e.Event, at_us: int, **changes: Any) -> WorkflowState:
    before = state.progress.planning
    planning = replace(before, running=False, replanning=False, retry_at_us=None, deadline_us=None)
    ended = _moved(state, event, finished_us=at_us, stop=None, paused=False, frozen=False, planning=planning, **changes)
    return replace(_clocked(ended, at_us), timers=())


def _reopened(state: WorkflowState, event: e.WorkflowReopened, at_us: int) -> WorkflowState:
    """It asks for its resources again. A deadline that has passed has done its work, and holds no more."""
    state = _moved(state, event, finished_us=None, failure=None, resources=ResourceStatus.NONE)
    if state.status is WorkflowStatus.READY:
        state = _awaiting_its_time(state)
    deadline_us = state.spec.deadline_us
    if deadline_us is not None and deadline_us > at_us:
        state = replace(state, timers=inserted(state.timers, (deadline_us, TimerKind.DEADLINE, "")))
    else:
        state = replace(state, spec=replace(state.spec, deadline_us=None))
    return _clocked(state, at_us)


def _updated(state: WorkflowState, event: e.WorkflowUpdated, at_us: int) -> WorkflowState:
    spec = state.spec
    if event.labels is not None:
        spec = replace(spec, labels=event.labels)
    if event.priority is not None:
        spec = replace(spec, priority=event.priority)
    if event.budget is None:
        return replace(state, spec=spec)
    before = wall_end_us(state)
    state = replace(state, spec=replace(spec, budget=event.budget))
    timers = moved_timer(state.timers, TimerKind.BUDGET, "", before, wall_end_us(state))
    return _clocked(replace(state, timers=timers), at_us)


# Wall time


def wall_end_us(state: WorkflowState) -> int | None:
    """Return when the workflow has used up its wall time, if the clock goes on; None if never or while it stands still."""
    limit, progress = state.spec.budget.wall_time_us, state.progress
    if limit is None or progress.running_since_us is None:
        return None
    return progress.running_since_us + max(limit - progress.ran_us, 0)


def _clocked(state: WorkflowState, at_us: int) -> WorkflowState:
    """Let the clock of the wall time run while the workflow runs or comes to its stop, and no budget is waited for."""
    before = state.progress
    runs = before.status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSING) and before.started_us is not None
    since = before.running_since_us
    if (runs and not state.over_budget) == (since is not None):
        return state
    end = wall_end_us(state)
    if since is None:
        after = replace(before, running_since_us=at_us)
    else:
        after = replace(before, running_since_us=None, ran_us=before.ran_us + at_us - since)
    state = replace(state, progress=after)
    return replace(state, timers=moved_timer(state.timers, TimerKind.BUDGET, "", end, wall_end_us(state)))


# People


def _input_requested(state: WorkflowState, event: e.InputRequested, at_us: int) -> WorkflowState:
    asked = event.input
    timers = state.timers
    if asked.deadline_us is not None:
        timers = inserted(timers, (asked.deadline_us, TimerKind.INPUT, asked.id))
    state = replace(
        state,
        inputs=state.inputs.set(asked.id, asked),
        open_inputs=inserted(state.open_inputs, (asked.ordinal, asked.id)),
        timers=timers,
        progress=replace(state.progress, waiting=state.progress.waiting + 1),
    )
    return _clocked(state, at_us)


def _input_resolved(state: WorkflowState, event: e.InputResolved, at_us: int) -> WorkflowState:
    asked = state.inputs.get(event.input_id)
    if asked is None or not asked.open:
        raise ImpossibleEvent(f"InputResolved names input {event.input_id!r}, which does not wait.")
    timers = moved_timer(state.timers, TimerKind.INPUT, asked.id, asked.deadline_us, None)
    done = replace(
        asked,
        resolution=event.resolution,
        answer=event.answer,
        reason=event.reason,
        principal=event.principal,
        resolved_us=at_us,
        shared=event.shared,
        budget=event.budget,
    )
    progress = replace(state.progress, waiting=state.progress.waiting - 1)
    if asked.need.kind is InputKind.PLAN_APPROVAL and event.resolution is Resolution.APPROVED:
        progress = replace(progress, approved=asked.need.shown)
    state = replace(
        state,
        progress=progress,
        inputs=state.inputs.set(asked.id, done),
        open_inputs=removed(state.open_inputs, (asked.ordinal, asked.id)),
        timers=timers,
    )
    return _clocked(state, at_us)
