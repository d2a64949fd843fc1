"""What a message leads to. Requests that the state does not allow are refused with an error; reports that are stale, repeated
or late lead to nothing.

Rules, each held by property tests (`tests/workflow/test_invariants.py`):

1. Attempt numbers, task ids and run numbers are never reused; budgets are counters of their own. A report carries its
   attempt, and is dropped when that is not the current one (usage: not the latest one, for what was spent is spent).
2. Only ordered collections are walked.
3. State equals the fold of its events.
4. Never stuck: a live workflow has something due, someone awaited, or a wake-up time.
5. Delivering every report again, in any order, changes nothing more.
6. A lost attempt is not a failed one: losses in a row without progress have a budget of their own.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from orcs_server.errors import AlreadyExists, IllegalTransition, InvalidArgument, NotFound, PermissionDenied
from orcs_server.workflow import budgets, holds, inputs, mail, planning, progress, reruns
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.indexes import among
from orcs_server.workflow.model import PATH_LIMIT, FailureKind, PlanSource, ResourceStatus, StopMode
from orcs_server.workflow.plan import check_plan, check_spec
from orcs_server.workflow.state import TimerKind, WorkflowState
from orcs_server.workflow.states import WorkflowStatus
from orcs_server.workflow.turn import Turn


def decide(state: WorkflowState | None, message: m.Message, now_us: int) -> list[e.Event]:
    """Return the events that `message` causes.

    Raises for a refused request: NotFound or AlreadyExists (of the workflow), InvalidArgument with every violation,
    IllegalTransition where the state does not allow it, Conflict where the caller saw an older plan, PermissionDenied where
    an approval would be taken away by somebody who may not approve.
    """
    return take(state, message, now_us)[1]


def take(state: WorkflowState | None, message: m.Message, now_us: int) -> tuple[WorkflowState | None, list[e.Event]]:
    """Return the state after `message` together with the events that lead there, as `decide` and `evolve` would."""
    turn = Turn(state, now_us)
    if state is not None:
        _dispatch(turn, message)
    elif isinstance(message, m.CreateWorkflow):
        _create(turn, message)
    else:
        raise NotFound("WORKFLOW_NOT_FOUND", "The workflow does not exist.")
    if turn.events:
        progress.settle(turn)
    return turn.state, turn.events


def _dispatch(turn: Turn, message: m.Message) -> None:  # noqa: C901, PLR0912
    match message:
        case m.SlotGranted():
            _slot_granted(turn, message)
        case m.AttemptFinished():
            _attempt_finished(turn, message)
        case m.UsageRecorded():
            _usage_recorded(turn, message)
        case m.AttemptSuspended():
            if _is_current(turn, message.task_id, message.attempt):
                _attempt_suspended(turn, message)
        case m.AttemptLost():
            _attempt_lost(turn, message)
        case m.JournalMismatch():
            _journal_mismatch(turn, message)
        case m.AttemptInterrupted():
            _attempt_interrupted(turn, message)
        case m.PlanMade():
            planning.plan_made(turn, message)
        case m.PlanFailed():
            planning.plan_failed(turn, message)
        case m.TasksProposed():
            planning.tasks_proposed(turn, message)
        case m.ResourcesGranted():
            if turn.state.owes_resources and turn.state.progress.resources is ResourceStatus.NONE:
                turn.emit(e.ResourcesAllocated())
        case m.ResourcesRefused():
            if turn.state.status is WorkflowStatus.RUNNING and turn.state.progress.resources is ResourceStatus.NONE:
                progress.fail_workflow(turn, progress.failure(FailureKind.RESOURCES_REFUSED, message.reason))
        case m.ResourcesReleased():
            if turn.state.terminal and turn.state.owes_resources:
                turn.emit(e.ResourcesReturned())
        case m.Tick():
            _tick(turn, message)
        case m.CreateWorkflow():
            raise AlreadyExists(
                "WORKFLOW_ALREADY_EXISTS", f"There is a workflow {turn.state.id} already; choose another id."
            )
        case _:
            _control(turn, message)


def _control(turn: Turn, message: m.Control) -> None:  # noqa: C901, PLR0912
    match message:
        case m.StartWorkflow():
            _start(turn)
        case m.PauseWorkflow():
            holds.pause(turn, message)
        case m.ResumeWorkflow():
            holds.resume(turn, message)
        case m.CancelWorkflow():
            holds.cancel(turn, message)
        case m.UpdateWorkflow():
            _update(turn, message)
        case m.DeleteWorkflow():
            _delete(turn)
        case m.RetryTask():
            reruns.retry(turn, message)
        case m.SkipTask():
            reruns.skip(turn, message)
        case m.CancelTask():
            reruns.cancel(turn, message)
        case m.EditPlan():
            planning.edit(turn, message)
        case m.Replan():
            planning.replan(turn, message.instructions, message.revision, may_approve=message.may_approve)
        case m.SendMessage():
            mail.send(turn, message)
        case m.AnswerInput():
            inputs.answer(turn, message)
        case m.ResolveApproval():
            inputs.decide_approval(turn, message)
        case _:
            assert_never(message)


# Requests


def _create(turn: Turn, message: m.CreateWorkflow) -> None:
    spec, tasks = message.spec, message.tasks
    wrong = check_spec(spec)
    problems = () if tasks is None else check_plan(tasks, agents=dict(spec.agents), max_tasks=spec.max_tasks)
    if wrong:
        raise InvalidArgument("FIELD_INVALID", "The workflow cannot be carried out as asked.", wrong + problems)
    if problems:
        raise InvalidArgument("PLAN_INVALID", "The plan cannot be carried out.", problems)
    turn.emit(e.WorkflowCreated(message.namespace, message.workflow_id, spec))
    if message.frozen:
        turn.emit(e.WorkflowPausing(StopMode.AFTER_TURN, message.frozen_because, freeze=True))
    if tasks is not None:
        planning.adopt(turn, tasks, PlanSource.CLIENT)


def _start(turn: Turn) -> None:
    holds.require_live(turn)
    if turn.state.status is not WorkflowStatus.READY:
        raise IllegalTransition(
            "WORKFLOW_NOT_READY", f"Only a READY workflow can be started; it is {turn.state.status}."
        )
    if turn.state.progress.planning.replanning:
        raise IllegalTransition("ILLEGAL_TRANSITION", "The plan is being made anew: start once that is done.")
    if turn.state.gate is not None:
        raise IllegalTransition("APPROVAL_REQUIRED", "The plan waits for approval: approve it, then start.")
    progress.start(turn)


def _update(turn: Turn, message: m.UpdateWorkflow) -> None:
    spec = turn.spec
    new = e.WorkflowUpdated(
        None if message.budget == spec.budget else message.budget,
        None if message.labels == spec.labels else message.labels,
        None if message.priority == spec.priority else message.priority,
    )
    if new == e.WorkflowUpdated():
        return
    if new.budget is not None or new.priority is not None:
        holds.require_live(turn)
    priority = spec.priority if new.priority is None else new.priority
    budget = spec.budget if new.budget is None else new.budget
    wrong = check_spec(replace(spec, priority=priority, budget=budget))
    if wrong:
        raise InvalidArgument("FIELD_INVALID", "The workflow cannot be changed like this.", wrong)
    if new.budget is not None and turn.state.over_budget and not message.may_approve:
        raise PermissionDenied(
            "PERMISSION_DENIED", "The budget is used up and waits for approval: ask somebody who may approve it."
        )
    turn.emit(new)
    if new.budget is not None:
        inputs.budget_raised(turn, message.principal)


def _delete(turn: Turn) -> None:
    if not turn.state.terminal:
        raise IllegalTransition(
            "WORKFLOW_NOT_TERMINAL", f"Only a workflow that has ended can be deleted; it is {turn.state.status}."
        )
    if not turn.state.settled:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION",
            "The workflow still holds resources that are being given back; delete it a little later.",
        )
    turn.emit(e.WorkflowDeleted())


# Reports


def _is_current(turn: Turn, task_id: str, attempt: int) -> bool:
    """The fence: whether this attempt is the one that runs now."""
    if not task_id:
        return planning.is_current(turn.state, attempt)
    return progress.running_task(turn, task_id, attempt) is not None


def _slot_granted(turn: Turn, message: m.SlotGranted) -> None:
    if message.task_id:
        if progress.may_begin(turn, message.task_id, message.attempt) and not budgets.holds(turn, message.task_id):
            progress.begin_attempt(turn, message.task_id, message.attempt)
    else:
        planning.begin_attempt(turn, message.attempt)


def _attempt_interrupted(turn: Turn, message: m.AttemptInterrupted) -> None:
    if _is_current(turn, message.task_id, message.attempt):
        progress.interrupt(turn, message.task_id, message.attempt)


def _attempt_suspended(turn: Turn, message: m.AttemptSuspended) -> None:
    """Of a workflow that is being cancelled nobody is asked anything any more."""
    if turn.state.status is WorkflowStatus.CANCELLING:
        turn.emit(e.AttemptInterrupted(message.attempt, message.task_id))
    else:
        inputs.attempt_suspended(turn, message)


def _attempt_finished(turn: Turn, message: m.AttemptFinished) -> None:
    task = progress.running_task(turn, message.task_id, message.attempt)
    if task is None:
        return
    unread = bool(turn.state.mail) and message.read < len(turn.state.mail_for(message.task_id))
    if message.output is not None and unread and turn.state.status is not WorkflowStatus.CANCELLING:
        # An output that does not know what people said meanwhile does not count: the agent reads it and goes on.
        progress.interrupt(turn, message.task_id, message.attempt)
        return
    if message.output is not None:
        turn.emit(e.AttemptSucceeded(message.task_id, message.attempt, message.output))
        turn.emit(e.TaskCompleted(message.task_id, message.output))
        progress.withdraw_for(turn, message.task_id)
        progress.after_task(turn, message.task_id)
        return
    said = message.failure or progress.failure(FailureKind.INTERNAL, "The attempt ended with nothing.")
    failure = progress.bounded(said)
    turn.emit(e.AttemptFailed(message.task_id, message.attempt, failure))
    progress.after_failed_attempt(turn, message.task_id, failure, message.jitter)


def _usage_recorded(turn: Turn, message: m.UsageRecorded) -> None:
    """Usage counts up to the workflow's end, even where it comes after the attempt's (timed out, cancelled, overtaken)."""
    state = turn.state
    known = state.progress.planning if not message.task_id else progress.latest_attempt(turn, message.task_id)
    if state.terminal or known is None or not 0 < message.attempt == known.attempt:
        return
    if message.calls > known.calls:
        turn.emit(e.UsageRecorded(message.attempt, message.calls, message.usage, message.task_id))
        budgets.check(turn, message.task_id)


def _journal_mismatch(turn: Turn, message: m.JournalMismatch) -> None:
    """An attempt is noted once: from its first mismatch on it takes another course anyway."""
    if not _is_current(turn, message.task_id, message.attempt):
        return
    state = turn.state
    known = state.tasks[message.task_id].progress if message.task_id else state.progress.planning
    if known.mismatched < message.attempt:
        turn.emit(e.JournalMismatch(message.attempt, message.turn, message.path[:PATH_LIMIT], message.task_id))


def _attempt_lost(turn: Turn, message: m.AttemptLost) -> None:
    if not _is_current(turn, message.task_id, message.attempt):
        return
    turn.emit(e.AttemptLost(message.attempt, message.task_id, message.progressed))
    state = turn.state
    losses = state.tasks[message.task_id].progress.losses if message.task_id else state.progress.planning.losses
    if losses <= state.spec.max_losses:
        if message.task_id:
            progress.hold_if_waiting(turn, message.task_id)
        return
    failure = progress.failure(
        FailureKind.LOST,
        f"{'It' if message.task_id else 'Planning'} was lost {losses} times in a row together with its server process, without "
        "getting any further.",
    )
    if message.task_id:
        progress.fail_task(turn, message.task_id, failure)
    else:
        inputs.give_up_planning(turn, failure)


def _tick(turn: Turn, message: m.Tick) -> None:  # noqa: C901
    for time_us, kind, name in turn.state.timers:
        if time_us > turn.now_us or turn.state.terminal:
            return
        if not among(turn.state.timers, (time_us, kind, name)):
            continue  # What came before it has taken it away.
        match kind:
            case TimerKind.NOT_BEFORE:
                progress.start_if_due(turn)
            case TimerKind.DEADLINE:
                progress.fail_workflow(
                    turn, progress.failure(FailureKind.DEADLINE_EXCEEDED, "The workflow's deadline has passed.")
                )
            case TimerKind.RETRY:
                progress.ready(turn, name)
            case TimerKind.ATTEMPT:
                progress.time_out(turn, name, message.jitter)
            case TimerKind.PLAN_ATTEMPT:
                planning.time_out(turn, message.jitter)
            case TimerKind.INPUT:
                inputs.expire(turn, name)
            case TimerKind.BUDGET:
                budgets.check(turn, name)
            case TimerKind.PLAN_RETRY:
                pass  # Planning is due again by the time alone; its next start takes the timer away.
            case _:
                assert_never(kind)
