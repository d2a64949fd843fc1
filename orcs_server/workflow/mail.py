"""The rules of messages to what runs. Agents are given them at their next turn; what they are given is seen from the state."""

from __future__ import annotations

from orcs_server.errors import IllegalTransition, NotFound, ResourceExhausted
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow import planning
from orcs_server.workflow.holds import require_live
from orcs_server.workflow.people import MAIL_LIMIT, MessageMode, PersonMessage
from orcs_server.workflow.states import TASK_TERMINAL, WorkflowStatus
from orcs_server.workflow.turn import Turn


def send(turn: Turn, message: m.SendMessage) -> None:
    state = turn.state
    if message.mode is MessageMode.REPLAN:
        if message.task_id:
            raise IllegalTransition("ILLEGAL_TRANSITION", "A message that asks for another plan is for the workflow.")
        planning.replan(turn, message.text, may_approve=message.may_approve)
    else:
        require_live(turn)
        if state.status is WorkflowStatus.CANCELLING:
            raise IllegalTransition("ILLEGAL_TRANSITION", "The workflow is being cancelled: nobody would read this.")
    if len(state.mail) >= MAIL_LIMIT:
        raise ResourceExhausted("QUOTA_EXCEEDED", f"A workflow takes {MAIL_LIMIT} messages, and it has them.")
    if message.task_id:
        task = state.tasks.get(message.task_id)
        if task is None:
            raise NotFound("TASK_NOT_FOUND", f"The workflow has no task {message.task_id!r}.")
        if task.status in TASK_TERMINAL:
            raise IllegalTransition(
                "ILLEGAL_TRANSITION", f"Task {message.task_id} has ended ({task.status}): nobody would read this."
            )
    ordinal = len(state.mail) + 1
    turn.emit(
        e.MessageReceived(
            PersonMessage(
                f"m{ordinal}", ordinal, message.mode, message.text, turn.now_us, message.task_id, message.principal
            )
        )
    )
