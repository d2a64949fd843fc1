"""What is refused is refused with all that is wrong with it, and changes nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orcs_server.errors import (
    Conflict,
    IllegalTransition,
    InvalidArgument,
)
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import decide, take
from orcs_server.workflow.model import Failure, FailureKind, PlanSource, RetryPolicy, TaskSpec, WorkflowSpec
from orcs_server.workflow.turn import Turn
from tests.workflow.strategies import AGENTS, TEXT
from tools.generate_state_diagrams import sample_states

STATES = sample_states()
SPEC = WorkflowSpec("Fruit", agents=AGENTS)
TASK = TaskSpec("a", "A", TEXT, "research")


def test_a_workflow_is_refused_with_all_that_is_wrong_with_settings_and_plan() -> None:
    spec = replace(SPEC, max_parallel_tasks=0, retry=RetryPolicy(max_attempts=0))
    with pytest.raises(InvalidArgument) as refused:
        decide(None, m.CreateWorkflow("n", "w", spec, ()), 0)
    assert refused.value.reason == "FIELD_INVALID"
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["max_parallel_tasks", "retry_policy.max_attempts", "plan.tasks"]


def test_a_bad_plan_is_refused_with_all_that_is_wrong_with_it() -> None:
    with pytest.raises(InvalidArgument) as refused:
        decide(None, m.CreateWorkflow("n", "w", SPEC, (replace(TASK, agent_id="nobody", title=""),)), 0)
    assert refused.value.reason == "PLAN_INVALID"
    assert [violation.field for violation in refused.value.violations] == [
        "plan.tasks[0].title",
        "plan.tasks[0].agent_id",
    ]


def test_an_empty_proposal_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        decide(STATES["RUNNING"], m.TasksProposed((), PlanSource.CLIENT), 0)
    assert refused.value.violations[0].description == "A plan needs at least one task."


def test_an_addition_to_an_older_plan_is_a_conflict() -> None:
    with pytest.raises(Conflict) as refused:
        decide(STATES["RUNNING"], m.TasksProposed((TASK,), PlanSource.CLIENT, revision=7), 0)
    assert refused.value.reason == "STALE_REVISION"


def test_a_plan_does_not_grow_over_its_limit() -> None:
    state, _ = take(None, m.CreateWorkflow("n", "w", replace(SPEC, max_tasks=1), (TASK,)), 0)
    with pytest.raises(InvalidArgument, match="cannot be added"):
        decide(state, m.TasksProposed((replace(TASK, id="b"),), PlanSource.CLIENT), 0)


def test_a_refused_request_leaves_the_state_as_it_was() -> None:
    state = STATES["RUNNING"]
    with pytest.raises(IllegalTransition):
        take(state, m.StartWorkflow(), 0)
    assert state == sample_states()["RUNNING"]


def test_texts_of_failures_are_cut_to_what_an_event_may_hold() -> None:
    failure = Failure(FailureKind.SERVER_ERROR, "ä\ud800" * 10_000)
    state, _ = take(STATES["RUNNING"], m.SlotGranted(1, "one"), 0)
    failed = decide(state, m.AttemptFinished("one", 1, None, failure), 0)[0]
    assert isinstance(failed, e.AttemptFailed)
    assert len(failed.failure.message.encode()) <= 2048
    assert failed.failure.message.startswith("ä?ä?")
    assert failed.failure.message.endswith("…")


def test_problems_of_a_plan_are_cut_to_what_an_event_may_hold() -> None:
    state, _ = take(STATES["PLANNING"], m.SlotGranted(1), 0)
    failure = Failure(FailureKind.INVALID_OUTPUT, "No plan.")
    rejected = decide(state, m.PlanFailed(1, failure, ("x" * 5000,) * 500), 0)[0]
    assert isinstance(rejected, e.PlanRejected)
    assert [len(problem) for problem in rejected.problems] == [300] * 20
    assert "No plan." not in rejected.failure.message


def test_a_turn_has_no_state_before_the_workflow_is_created() -> None:
    with pytest.raises(LookupError, match="not been created"):
        _ = Turn(None, 0).state


def test_a_repeated_proposal_changes_nothing_even_if_its_proposer_has_read_more_by_then() -> None:
    state, _ = take(None, m.CreateWorkflow("n", "w", SPEC, (TASK,)), 0)
    proposal = (replace(TASK, id="b"),)
    state, events = take(state, m.TasksProposed(proposal, PlanSource.CLIENT), 0)
    assert events
    for untrusted in (False, True):
        assert decide(state, m.TasksProposed((replace(proposal[0], untrusted=untrusted),), PlanSource.CLIENT), 0) == []
    with pytest.raises(InvalidArgument):
        decide(state, m.TasksProposed((replace(proposal[0], title="Another"),), PlanSource.CLIENT), 0)
