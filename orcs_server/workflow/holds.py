"""The rules of stopping: pause, freeze, resume, cancel. What is due follows from the state; here it is only told what was asked."""

from __future__ import annotations

from orcs_server.errors import IllegalTransition
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow import progress
from orcs_server.workflow.evolve import sharper
from orcs_server.workflow.model import StopMode
from orcs_server.workflow.people import REASON_LIMIT
from orcs_server.workflow.states import WorkflowStatus
from orcs_server.workflow.turn import Turn


def pause(turn: Turn, message: m.PauseWorkflow) -> None:
    require_live(turn)
    state = turn.state
    if state.status is WorkflowStatus.CANCELLING:
        raise IllegalTransition("ILLEGAL_TRANSITION", "The workflow is being cancelled: it cannot be paused any more.")
    held = state.progress.frozen if message.freeze else state.progress.paused
    runs_out = state.status is WorkflowStatus.PAUSED or not sharper(message.mode, state.progress.stop)
    if not held or not runs_out:
        reason = progress.cut(message.reason, REASON_LIMIT)
        turn.emit(e.WorkflowPausing(message.mode, reason, message.freeze))


def resume(turn: Turn, message: m.ResumeWorkflow) -> None:
    require_live(turn)
    held = turn.state.progress
    if message.freeze and not held.frozen:
        return
    if not message.freeze and not held.paused:
        if held.frozen:
            raise IllegalTransition(
                "NAMESPACE_FROZEN", "The whole namespace is frozen: the workflow goes on once that is thawed."
            )
        if turn.state.status is WorkflowStatus.CANCELLING:
            raise IllegalTransition("ILLEGAL_TRANSITION", "The workflow is being cancelled: it cannot go on.")
        return
    turn.emit(e.WorkflowResumed(message.freeze))
    progress.start_if_due(turn)


def cancel(turn: Turn, message: m.CancelWorkflow) -> None:
    if turn.state.status is WorkflowStatus.CANCELLED:
        return
    require_live(turn)
    state = turn.state
    if state.status is WorkflowStatus.CANCELLING and not sharper(message.mode, state.progress.stop):
        return
    mode = StopMode.AFTER_TURN if message.mode is StopMode.DRAIN else message.mode
    turn.emit(e.WorkflowCancelRequested(mode, progress.cut(message.reason, REASON_LIMIT)))


def require_live(turn: Turn) -> None:
    """Raise IllegalTransition for a workflow that has ended."""
    if turn.state.terminal:
        raise IllegalTransition("WORKFLOW_TERMINAL", f"The workflow has ended ({turn.state.status}).")
