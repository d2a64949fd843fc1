"""The rules of what waits for people: asked by attempts and by the rules themselves, resolved by people or by time."""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from orcs_server.errors import Conflict, IllegalTransition, InvalidArgument, NotFound, Violation
from orcs_server.workflow import budgets, progress
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.fingerprints import plan_shown, shown_digest
from orcs_server.workflow.model import NO_BUDGET, ApprovalPolicy, Budget, Digest, Failure, FailureKind
from orcs_server.workflow.people import (
    INPUTS_LIMIT,
    REASON_LIMIT,
    RESOLUTION_OF,
    Decision,
    IfUnanswered,
    InputKind,
    Need,
    PendingInput,
    Resolution,
)
from orcs_server.workflow.plan import check_budget
from orcs_server.workflow.states import TaskStatus
from orcs_server.workflow.turn import Turn

_GOOD = frozenset({Resolution.APPROVED, Resolution.EDITED})


# Asking


def attempt_suspended(turn: Turn, message: m.AttemptSuspended) -> None:
    """The attempt goes on once everything that it needs is there. What waits already is not asked twice."""
    state = turn.state
    if len(state.inputs) + len(message.needs) > INPUTS_LIMIT:
        _ask_too_often(turn, message)
        return
    run = state.tasks[message.task_id].progress.run if message.task_id else 0
    known = {(one.run, one.need.place): one.id for one in state.waiting() if one.task_id == message.task_id}
    ids = [
        known.get((run, need.place)) or progress.request(turn, need, message.task_id, message.attempt, run)
        for need in message.needs
    ]
    turn.emit(e.AttemptSuspended(message.attempt, tuple(ids), message.task_id))
    _go_on(turn, message.task_id)


def ask_for_plan(turn: Turn) -> None:
    """Ask for leave to carry out the plan, unless it is the one that was approved. What was asked about another one is withdrawn."""
    if turn.spec.approval_policy is not ApprovalPolicy.PLAN or turn.state.progress.planning.replanning:
        return
    shown = shown_digest(plan_shown(turn.state))
    gate = [one for one in turn.state.waiting() if one.need.kind is InputKind.PLAN_APPROVAL]
    for asked in gate:
        if asked.need.shown == shown:
            return
        turn.emit(e.InputResolved(asked.id, Resolution.WITHDRAWN))
    if shown != turn.state.progress.approved:
        count = turn.state.progress.task_count
        prompt = (
            f"Shall the plan with its {count} tasks be carried out?" if count > 1 else "Shall the plan be carried out?"
        )
        expires = turn.spec.approval_expires_us
        progress.request(turn, Need(InputKind.PLAN_APPROVAL, prompt, shown=shown, expires_after_us=expires))


def _ask_too_often(turn: Turn, message: m.AttemptSuspended) -> None:
    why = progress.failure(FailureKind.INPUT_EXPIRED, f"The workflow has asked people {INPUTS_LIMIT} times, its limit.")
    if not message.task_id:
        turn.emit(e.AttemptSuspended(message.attempt, ()))
        give_up_planning(turn, why)
        return
    turn.emit(e.AttemptFailed(message.task_id, message.attempt, why))
    progress.fail_task(turn, message.task_id, why)


# Resolving


def answer(turn: Turn, message: m.AnswerInput) -> None:
    asked = _find(turn, message.input_id)
    if asked.need.kind is not InputKind.QUESTION:
        raise IllegalTransition("ILLEGAL_TRANSITION", f"{asked.id} is no question: approve, reject or edit it.")
    if asked.open:
        _resolve(
            turn,
            asked,
            e.InputResolved(
                asked.id, Resolution.ANSWERED, asked.task_id, message.answer, "", message.principal, message.shared
            ),
        )
    elif (asked.resolution, asked.answer) != (Resolution.ANSWERED, message.answer):
        raise _resolved(asked)


def decide_approval(turn: Turn, message: m.ResolveApproval) -> None:
    asked = _find(turn, message.input_id)
    if asked.need.kind is InputKind.QUESTION:
        raise IllegalTransition("ILLEGAL_TRANSITION", f"{asked.id} is a question: answer it.")
    resolution = RESOLUTION_OF[message.decision]
    edits = message.decision is Decision.EDIT
    edit, budget = (message.edit, message.budget) if edits else (None, None)
    if not asked.open:
        if (asked.resolution, asked.answer, asked.budget) != (resolution, edit, budget):
            raise _resolved(asked)
        return
    if message.shown != asked.need.shown:
        raise Conflict(
            "STALE_APPROVAL", "What was decided about is not what is asked: read the pending input again, then decide."
        )
    if edits:
        _check_edit(asked, edit, budget)
    reason = progress.cut(message.reason, REASON_LIMIT)
    _resolve(
        turn,
        asked,
        e.InputResolved(asked.id, resolution, asked.task_id, edit, reason, message.principal, budget=budget),
    )


def expire(turn: Turn, input_id: str) -> None:
    """The deadline of an input has come: take the default, or do without."""
    asked = turn.state.inputs[input_id]
    taken = asked.need.default
    resolution = Resolution.EXPIRED if taken is None else Resolution.DEFAULTED
    _resolve(turn, asked, e.InputResolved(asked.id, resolution, asked.task_id, taken))


def _find(turn: Turn, input_id: str) -> PendingInput:
    asked = turn.state.inputs.get(input_id)
    if asked is None:
        raise NotFound("INPUT_NOT_FOUND", f"The workflow has no pending input {input_id!r}.")
    return asked


def _resolved(asked: PendingInput) -> IllegalTransition:
    how = "nobody" if not asked.principal else asked.principal
    return IllegalTransition(
        "INPUT_ALREADY_RESOLVED", f"{asked.id} has been resolved already ({asked.resolution}, by {how})."
    )


def _check_edit(asked: PendingInput, edit: Digest | None, budget: Budget | None) -> None:
    kind = asked.need.kind
    if kind is InputKind.PLAN_APPROVAL:
        raise IllegalTransition(
            "ILLEGAL_TRANSITION", "Edit the plan with EditPlan: it is then asked for approval anew."
        )
    wrong: tuple[Violation, ...]
    if kind is not InputKind.BUDGET:
        wrong = () if edit is not None else (Violation("edit", "Give what it is changed to."),)
    elif budget is None:
        wrong = (Violation("edit", "Give the new budget."),)
    else:
        wrong = check_budget(budget, "edit")
    if wrong:
        raise InvalidArgument("FIELD_INVALID", "The edit cannot be made.", wrong)


# Consequences


def _resolve(turn: Turn, asked: PendingInput, resolved: e.InputResolved) -> None:
    turn.emit(resolved)
    match asked.need.kind:
        case InputKind.QUESTION | InputKind.TOOL_APPROVAL | InputKind.UNSAFE_RERUN:
            _answered(turn, asked, resolved)
        case InputKind.TASK_APPROVAL:
            _task_decided(turn, asked, resolved)
        case InputKind.PLAN_APPROVAL:
            _plan_decided(turn, resolved)
        case InputKind.BUDGET:
            _budget_decided(turn, asked, resolved)
        case _:
            assert_never(asked.need.kind)


def _answered(turn: Turn, asked: PendingInput, resolved: e.InputResolved) -> None:
    """The agent sees what came of it, a refusal too, unless the question was not to stay unanswered."""
    fails = asked.need.if_unanswered is IfUnanswered.FAIL
    if resolved.resolution is not Resolution.EXPIRED or not fails:
        _go_on(turn, asked.task_id)
        return
    why = progress.failure(FailureKind.INPUT_EXPIRED, f"Nobody answered in time: {asked.need.prompt}")
    if asked.task_id:
        progress.fail_task(turn, asked.task_id, why)
    else:
        give_up_planning(turn, why)


def give_up_planning(turn: Turn, why: Failure) -> None:
    """Without a plan the workflow fails. Without a new one it goes on with the one that it has, if that is approved."""
    planning = turn.state.progress.planning
    if not planning.replanning:
        progress.fail_workflow(turn, why)
        return
    progress.withdraw_for(turn, "")
    turn.emit(e.PlanRejected(planning.attempt, why))
    ask_for_plan(turn)
    progress.start_if_due(turn)


def plan_anew(turn: Turn, instructions: Digest | None = None, reason: str = "") -> None:
    """Have what has not begun planned anew; what was asked about the old plan, and by its planner, is asked no more."""
    progress.withdraw_for(turn, "")
    for asked in turn.state.waiting():
        if asked.need.kind is InputKind.PLAN_APPROVAL:
            turn.emit(e.InputResolved(asked.id, Resolution.WITHDRAWN))
    turn.emit(e.ReplanRequested(instructions, reason))


def _go_on(turn: Turn, task_id: str) -> None:
    task = turn.state.tasks.get(task_id)
    if task is not None and task.status is TaskStatus.INPUT_REQUIRED and not turn.state.waiting_for(task_id):
        turn.emit(e.TaskReady(task_id))


def _task_decided(turn: Turn, asked: PendingInput, resolved: e.InputResolved) -> None:
    if resolved.resolution not in _GOOD:
        progress.fail_task(turn, asked.task_id, _refusal(f"Task {asked.task_id}", resolved))
        return
    if resolved.answer is not None:
        task = turn.state.tasks[asked.task_id]
        budgets.amend_by_approver(turn, replace(task.spec, description=resolved.answer))
    _go_on(turn, asked.task_id)


def _plan_decided(turn: Turn, resolved: e.InputResolved) -> None:
    """A plan that is not wanted goes back to the planner, with the reason; a client's plan, and no planner, is the end."""
    if resolved.resolution is Resolution.APPROVED:
        progress.start_if_due(turn)
    elif resolved.resolution is Resolution.REJECTED and turn.spec.query is not None and resolved.reason:
        plan_anew(turn, reason=resolved.reason)
    else:
        progress.fail_workflow(turn, _refusal("The plan", resolved))


def _budget_decided(turn: Turn, asked: PendingInput, resolved: e.InputResolved) -> None:
    if resolved.resolution in _GOOD:
        budgets.grant(turn, asked.task_id, resolved.budget)
        _go_on(turn, asked.task_id)
        return
    spent = asked.need.prompt.removesuffix(budgets.MORE)
    said = f": {resolved.reason}" if resolved.reason else "."
    why = progress.failure(FailureKind.BUDGET_EXCEEDED, f"{spent}It was given no more{said}")
    if asked.task_id:
        progress.fail_task(turn, asked.task_id, why)
    else:
        progress.fail_workflow(turn, why)


def budget_raised(turn: Turn, principal: str) -> None:
    """The budget was changed by other means than by resolving what waits for it: that has come to its end, too."""
    for asked in turn.state.waiting():
        if asked.need.kind is InputKind.BUDGET and not asked.task_id:
            turn.emit(e.InputResolved(asked.id, Resolution.APPROVED, principal=principal))
    if turn.spec.budget != NO_BUDGET:
        budgets.check(turn, "")


def _refusal(what: str, resolved: e.InputResolved) -> Failure:
    if resolved.resolution is Resolution.EXPIRED:
        return progress.failure(FailureKind.INPUT_EXPIRED, f"{what} was not approved in time.")
    who = f" by {resolved.principal}" if resolved.principal else ""
    why = f": {resolved.reason}" if resolved.reason else "."
    return progress.failure(FailureKind.REJECTED, f"{what} was rejected{who}{why}")
