"""What ought to be under way now, as a function of the state alone. Costs O(running + what may start), never a scan of tasks."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from orcs_server.workflow.effects import (
    AllocateResources,
    Effect,
    MakePlan,
    ReleaseResources,
    RunAttempt,
    Stop,
    WakeAt,
)
from orcs_server.workflow.model import Execution, ResourceStatus, StopMode, WorkflowSpec
from orcs_server.workflow.people import MessageMode
from orcs_server.workflow.state import TimerKind, WorkflowState
from orcs_server.workflow.states import WorkflowStatus

_STOPS = {None: Stop.NONE, StopMode.DRAIN: Stop.NONE, StopMode.AFTER_TURN: Stop.AT_TURN, StopMode.IMMEDIATE: Stop.NOW}
_LIVE = frozenset({WorkflowStatus.PLANNING, WorkflowStatus.READY, WorkflowStatus.RUNNING})
_NO_MAIL: Counter[str] = Counter()


SUSPECTED_AFTER = 2
"""Losses in a row without progress."""


def is_suspected(losses: int, spec: WorkflowSpec) -> bool:
    """Whether an attempt that was lost so often in a row may itself be what ends the server.

    Of such attempts an engine runs one at a time, so that from there on a loss counts against the one that causes it and not
    against those beside it.
    """
    return losses >= max(min(SUSPECTED_AFTER, spec.max_losses), 1)


def suspects(state: WorkflowState) -> list[tuple[str, int]]:
    """Return what of a live workflow is suspected, the planning as "", and how often in a row it was lost."""
    if state.terminal:
        return []
    losses = [("", state.progress.planning.losses)]
    losses += [(task.spec.id, task.progress.losses) for task in state.tasks_in_order()]
    return [(task_id, lost) for task_id, lost in losses if is_suspected(lost, state.spec)]


def parallel_limit(spec: WorkflowSpec) -> int:
    """How many tasks of this workflow may run at once."""
    return 1 if spec.execution is Execution.SEQUENTIAL else spec.max_parallel_tasks


def due(state: WorkflowState, now_us: int) -> list[Effect]:
    """Return the effects that ought to be under way, attempts that run before those that may start, by priority."""
    if state.terminal:
        return [ReleaseResources()] if state.owes_resources else []
    effects: list[Effect] = []
    stop = _STOPS[state.progress.stop]
    gate = state.gate if state.open_inputs else None
    if gate is not None and stop is Stop.NONE and state.over_budget:
        stop = Stop.AT_TURN
    effects.extend(_planning(state, stop, now_us))
    if state.status is WorkflowStatus.RUNNING and _lacks_resources(state):
        if gate is None:
            effects.append(AllocateResources())
    else:
        mail = _mail_by_task(state) if state.mail else _NO_MAIL
        effects.extend(_running(state, stop, mail))
        if state.status is WorkflowStatus.RUNNING and gate is None and not state.progress.planning.replanning:
            effects.extend(_starting(state, mail))
    wake_us = next_wake_us(state, now_us)
    if wake_us is not None:
        effects.append(WakeAt(wake_us))
    return effects


def next_wake_us(state: WorkflowState, now_us: int = 0) -> int | None:
    """Return the first time at which something happens by the clock alone."""
    for time_us, kind, name in state.timers:
        match kind:
            case TimerKind.PLAN_RETRY if time_us <= now_us or not _may_plan(state):
                continue
            case TimerKind.NOT_BEFORE if not _may_start(state):
                continue
            case TimerKind.BUDGET if name and (state.waiting_for(name) or state.status is WorkflowStatus.CANCELLING):
                continue
            case _:
                return time_us
    return None


def may_plan_now(state: WorkflowState, now_us: int) -> bool:
    """Whether an attempt of the planner may begin."""
    planning = state.progress.planning
    if planning.running or not _may_plan(state) or state.waiting_for(""):
        return False
    return planning.retry_at_us is None or planning.retry_at_us <= now_us


def waits_for_people(state: WorkflowState) -> bool:
    """Whether nothing is under way or due, and only a person, or a timer, moves a workflow on that has not ended.

    In doubt False, which is harmless: such a workflow stays in memory.
    """
    if state.terminal or state.running_attempts:
        return False
    waits = state.status in (WorkflowStatus.READY, WorkflowStatus.PAUSED) or bool(state.open_inputs)
    return waits and all(isinstance(effect, WakeAt) for effect in due(state, 0))


def _may_plan(state: WorkflowState) -> bool:
    return state.plans and state.status in _LIVE and state.gate is None


def _may_start(state: WorkflowState) -> bool:
    held = state.gate is not None or state.progress.planning.replanning
    return state.status is WorkflowStatus.READY and not held


def _planning(state: WorkflowState, stop: Stop, now_us: int) -> list[MakePlan]:
    planning = state.progress.planning
    if planning.running:
        return [MakePlan(planning.attempt, stop, len(state.mail_for("")))]
    if may_plan_now(state, now_us):
        return [MakePlan(planning.attempt + 1, mail=len(state.mail_for("")))]
    return []


def _lacks_resources(state: WorkflowState) -> bool:
    return state.spec.holds_resources and state.progress.resources is ResourceStatus.NONE


def _mail_by_task(state: WorkflowState) -> Counter[str]:
    """How many messages there are for each task, and under "" for all of them."""
    return Counter(one.task_id for one in state.mail if one.mode is not MessageMode.REPLAN)


def _running(state: WorkflowState, stop: Stop, mail: Counter[str]) -> list[RunAttempt]:
    tasks = state.tasks
    found: list[RunAttempt] = []
    asked = {one.task_id for one in state.waiting()} if stop is Stop.NONE else frozenset()
    for_all = mail[""]
    for _, task_id in state.running:
        task = tasks[task_id]
        moved = task.progress
        told = Stop.AT_TURN if task_id in asked else stop
        found.append(RunAttempt(task_id, moved.attempt, moved.run, task.spec.agent_id, told, for_all + mail[task_id]))
    return found


def _starting(state: WorkflowState, mail: Counter[str]) -> list[RunAttempt]:
    tasks = state.tasks
    found: list[RunAttempt] = []
    free = parallel_limit(state.spec) - len(state.running)
    for _, _, task_id in islice(state.ready, max(free, 0)):
        task = tasks[task_id]
        moved = task.progress
        unread = mail[""] + mail[task_id]
        found.append(RunAttempt(task_id, moved.attempt + 1, moved.run or 1, task.spec.agent_id, mail=unread))
    return found
