"""A log that cannot have come from these rules is found out, not followed."""

from __future__ import annotations

import pytest

from orcs_server.workflow import events as e
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.evolve_tasks import ImpossibleEvent
from orcs_server.workflow.model import NO_USAGE, Failure, FailureKind, WorkflowSpec
from orcs_server.workflow.people import Resolution
from tools.generate_state_diagrams import sample_states

RUNNING = sample_states()["RUNNING"]
COMPLETED = sample_states()["COMPLETED"]
CREATED = e.WorkflowCreated("n", "w", WorkflowSpec("Fruit"))
WHY = Failure(FailureKind.REFUSED, "The model refused.")


def test_a_log_begins_with_the_workflows_creation() -> None:
    with pytest.raises(ImpossibleEvent, match="begins with WorkflowCreated, not with WorkflowStarted"):
        evolve(None, e.WorkflowStarted(), 0)


def test_a_workflow_is_created_once() -> None:
    with pytest.raises(ImpossibleEvent, match="in the middle of a log"):
        evolve(RUNNING, CREATED, 0)


@pytest.mark.parametrize("event", [e.WorkflowStarted(), e.WorkflowCompleted(), e.WorkflowFailed(WHY)])
def test_an_ended_workflow_does_not_move(event: e.Event) -> None:
    with pytest.raises(ImpossibleEvent, match=f"{type(event).__name__} is not possible in COMPLETED"):
        evolve(COMPLETED, event, 0)


@pytest.mark.parametrize("event", [e.TaskReady("one"), e.TaskFailed("one", WHY), e.AttemptLost(1, "one")])
def test_an_ended_task_does_not_move(event: e.Event) -> None:
    with pytest.raises(ImpossibleEvent, match="is not possible for a task in COMPLETED"):
        evolve(COMPLETED, event, 0)


@pytest.mark.parametrize("event", [e.TaskReady("zz"), e.UsageRecorded(1, 1, NO_USAGE, "zz")])
def test_a_task_that_the_plan_does_not_have_does_not_move(event: e.Event) -> None:
    with pytest.raises(ImpossibleEvent, match="names task 'zz', which the plan does not have"):
        evolve(RUNNING, event, 0)


def test_an_input_is_resolved_once() -> None:
    asking = sample_states()["RUNNING, a question is open"]
    resolved = e.InputResolved("i1", Resolution.ANSWERED, "one")
    after = evolve(asking, resolved, 0)
    for state, event in ((after, resolved), (asking, e.InputResolved("i2", Resolution.ANSWERED))):
        with pytest.raises(ImpossibleEvent, match="which does not wait"):
            evolve(state, event, 0)


def test_evolve_leaves_the_state_before_as_it_was() -> None:
    before = sample_states()["RUNNING"]
    evolve(before, e.TaskCancelled("one", WHY), 0)
    assert before == RUNNING


def test_planning_of_an_old_log_has_no_time_limit() -> None:
    created = evolve(None, CREATED, 0)
    planning = evolve(created, e.PlanningStarted(1), 5)
    assert planning.progress.planning.running
    assert planning.timers == created.timers == ()
