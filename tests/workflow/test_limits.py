"""How much one workflow may ask of people, and be told by them."""

from __future__ import annotations

import pytest
from immutables import Map
from msgspec.structs import replace

from orcs_server.errors import ResourceExhausted
from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import take
from orcs_server.workflow.due import is_suspected
from orcs_server.workflow.model import FailureKind, WorkflowSpec
from orcs_server.workflow.people import (
    INPUTS_LIMIT,
    MAIL_LIMIT,
    InputKind,
    Need,
    PendingInput,
    Resolution,
)
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import WorkflowStatus
from tests.workflow.strategies import TEXT
from tools.generate_state_diagrams import sample_states

STATES = sample_states()
NEED = Need(InputKind.QUESTION, "One more?")


def running(name: str) -> WorkflowState:
    state = STATES[name]
    assert state is not None
    return state


def after(state: WorkflowState, *messages: m.Message) -> WorkflowState:
    for message in messages:
        moved, _ = take(state, message, 9)
        assert moved is not None
        state = moved
    return state


def tired(state: WorkflowState) -> WorkflowState:
    """A workflow that has asked people as often as it may."""
    asked = (PendingInput(f"i{n}", n, NEED, 0, resolution=Resolution.EXPIRED) for n in range(1, INPUTS_LIMIT + 1))
    return replace(state, inputs=Map({one.id: one for one in asked}))


def test_a_task_that_asks_too_often_fails() -> None:
    state = after(tired(running("PAUSING, a task runs")), m.AttemptSuspended(1, (NEED,), "one"))
    assert state.tasks["one"].progress.failure is not None
    assert state.tasks["one"].progress.failure.kind is FailureKind.INPUT_EXPIRED
    assert (
        state.tasks["one"].progress.failure.message == f"The workflow has asked people {INPUTS_LIMIT} times, its limit."
    )


def test_a_planner_that_asks_too_often_is_given_up() -> None:
    state = after(tired(running("PLANNING, the planner runs")), m.AttemptSuspended(1, (NEED,)))
    assert state.status is WorkflowStatus.FAILED
    state = after(tired(running("RUNNING, the plan is made anew")), m.AttemptSuspended(1, (NEED,)))
    assert state.status is WorkflowStatus.RUNNING
    assert not state.progress.planning.replanning


def test_a_workflow_takes_so_many_messages_and_no_more() -> None:
    state = after(running("RUNNING"), *[m.SendMessage(TEXT)] * MAIL_LIMIT)
    with pytest.raises(ResourceExhausted, match="takes 1000 messages"):
        take(state, m.SendMessage(TEXT), 9)


@pytest.mark.parametrize(
    ("losses", "max_losses", "suspected"), [(0, 0, False), (1, 0, True), (1, 5, False), (2, 5, True)]
)
def test_what_was_lost_repeatedly_is_suspected(losses: int, max_losses: int, suspected: bool) -> None:
    assert is_suspected(losses, WorkflowSpec("Fruit", max_losses=max_losses)) is suspected
