"""What a workflow is said to wait for: each reason, with who and what is behind it."""

from __future__ import annotations

from typing import Any

import pytest

from orcs_server.identity.quotas import DAY_US, QuotaKind, UsedUp
from orcs_server.outputs.explaining.explanation import ReasonCode
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import ApprovalPolicy, Budget, Execution, Failure, FailureKind, StopMode
from orcs_server.workflow.people import Decision, InputKind, Need
from tests.outputs.explaining.played import BROKEN, OUTAGE, REFUSED, SECOND, TEXT, Played, task

Code = ReasonCode
QUERY: dict[str, Any] = {"query": TEXT}


def test_a_workflow_without_a_plan_waits_for_its_planner() -> None:
    played = Played(**QUERY)
    assert set(played.why()) == {Code.PLANNING_SLOT}
    played.say(m.SlotGranted(1))
    assert played.why()[Code.PLANNING].text == "Attempt 1 of the planner is under way."


def test_planning_that_is_tried_again_says_why_and_when() -> None:
    played = Played(**QUERY).say(m.SlotGranted(1), m.PlanFailed(1, BROKEN, jitter=1.0))
    reason = played.why()[Code.PLAN_RETRY]
    assert reason.text == "Planning is tried again (1 of 3 attempts failed): The server broke."
    assert reason.time_us == played.state.progress.planning.retry_at_us
    assert reason.failure == BROKEN


def test_a_planner_whose_model_server_is_dead_is_named_as_such() -> None:
    reason = Played(**QUERY).say(m.SlotGranted(1), m.PlanFailed(1, OUTAGE)).why()[Code.MODEL_OUTAGE]
    assert reason.text == "The planner's model server does not answer; it is asked again: Nothing listens there."


def test_a_question_of_the_planner_is_what_it_waits_for() -> None:
    played = Played(**QUERY).say(m.SlotGranted(1), m.AttemptSuspended(1, (Need(InputKind.QUESTION, "Which?"),)))
    assert {code: reason.input_id for code, reason in played.why().items()} == {Code.QUESTION: "i1"}
    assert played.why()[Code.QUESTION].text == "It waits for a person, i1: Which?"


def test_a_plan_that_nobody_starts_waits_for_its_start() -> None:
    assert set(Played(task("x"), auto_start=False).why()) == {Code.NOT_STARTED}


def test_before_its_time_a_workflow_says_when_that_is() -> None:
    assert Played(task("x"), not_before_us=900 * SECOND).why()[Code.NOT_BEFORE].time_us == 900 * SECOND


def test_a_plan_that_is_to_be_approved_names_the_input() -> None:
    played = Played(task("x"), approval_policy=ApprovalPolicy.PLAN)
    assert {code: reason.input_id for code, reason in played.why().items()} == {Code.PLAN_APPROVAL: "i1"}
    assert set(played.task_why("x")) == {Code.PLAN_APPROVAL}


def test_a_budget_that_is_used_up_is_what_everything_waits_for() -> None:
    played = Played(task("x"), task("y"), budget=Budget(tokens=10)).begin("x").use("x", 5)
    reason = played.why()[Code.BUDGET]
    assert (reason.input_id, "used up its 10 tokens" in reason.text) == ("i1", True)
    assert Code.BUDGET in played.task_why("x")
    assert set(played.task_why("y")) == {Code.BUDGET}
    assert Code.BUDGET_EXCEEDED in played.past()
    assert "It reached its limit of 10 tokens." in [one.text for one in played.explanation().past.latest]


def test_a_pause_says_by_whom_when_and_why() -> None:
    played = Played(task("x"), task("y", "x")).begin("x")
    played.say(m.PauseWorkflow(StopMode.AFTER_TURN, "the price is wrong"), actor="bob")
    reason = played.why()[Code.PAUSED]
    assert (reason.text, reason.actor, reason.time_us) == (
        "It is paused by bob: the price is wrong.",
        "bob",
        played.now_us,
    )
    assert played.why()[Code.STOPPING].text == "1 attempt still under way: each agent stops after its turn."
    played.say(m.AttemptInterrupted(1, "x"))
    assert set(played.why()) == {Code.PAUSED}
    assert set(played.task_why("x")) == {Code.PAUSED}


def test_a_freeze_is_told_apart_from_a_pause() -> None:
    played = Played(task("x")).say(m.PauseWorkflow(StopMode.DRAIN, "incident", freeze=True), actor="root")
    assert played.why()[Code.FROZEN].text == "Its namespace is frozen by root: incident."
    assert Code.PAUSED not in played.why()
    played.say(m.ResumeWorkflow(freeze=True), actor="root")
    assert set(played.why()) == {Code.SLOT}
    assert played.past()[-2:] == [Code.FROZEN, Code.THAWED]


def test_whoever_creates_a_workflow_within_a_freeze_is_not_said_to_have_frozen_it() -> None:
    played = Played(task("x"), frozen="incident")
    reason = played.why()[Code.FROZEN]
    assert (reason.text, reason.actor) == ("Its namespace is frozen: incident.", "")
    told = next(one for one in played.explanation().past.latest if one.code is Code.FROZEN)
    assert (told.text, told.actor) == ("Its namespace was frozen already: incident.", "")


def test_a_cancellation_says_what_it_still_waits_for() -> None:
    played = Played(task("x")).begin("x").say(m.CancelWorkflow(StopMode.AFTER_TURN, "not needed"), actor="bob")
    assert played.why()[Code.CANCELLING].text == "It is being cancelled by bob: not needed."
    assert played.why()[Code.STOPPING].task_ids == ("x",)
    played.say(m.AttemptInterrupted(1, "x"))
    assert played.why()[Code.WORKFLOW_CANCELLED].text == "It was cancelled by bob: not needed."
    assert set(played.task_why("x")) == {Code.WORKFLOW_CANCELLED}


def test_a_resources_hook_that_has_not_answered_is_named_with_the_time_since() -> None:
    played = Played(task("x"), holds_resources=True)
    started_us = played.state.progress.started_us
    reason = played.why()[Code.RESOURCES]
    assert "resources hook has not granted" in reason.text
    assert reason.time_us == started_us
    assert set(played.task_why("x")) == {Code.RESOURCES}
    played.say(m.ResourcesGranted())
    assert set(played.why()) == {Code.SLOT}
    played.complete("x")
    assert set(played.why()) == {Code.COMPLETED, Code.RESOURCES_RETURN}


def test_while_it_is_planned_anew_nothing_new_starts() -> None:
    played = Played(**QUERY).say(m.SlotGranted(1), m.PlanMade(1, (task("x"),)))
    played.say(m.Replan(TEXT), actor="ada")
    assert set(played.why()) == {Code.REPLANNING, Code.PLANNING_SLOT}
    assert set(played.task_why("x")) == {Code.REPLANNING}
    assert Code.REPLAN_REQUESTED in played.past()


def test_what_runs_and_what_waits_for_a_slot_is_named() -> None:
    played = Played(task("x"), task("y"), task("z"), task("late", "x")).begin("x")
    why = played.why()
    assert {code: reason.task_ids for code, reason in why.items()} == {Code.RUNNING: ("x",), Code.SLOT: ("y", "z")}
    assert why[Code.SLOT].text == "y and z are ready, and begin once the server has room."


@pytest.mark.parametrize("spec", [{"execution": Execution.SEQUENTIAL}, {"max_parallel_tasks": 1}])
def test_the_workflows_own_limit_is_told_apart_from_the_servers(spec: dict[str, Any]) -> None:
    played = Played(task("x"), task("y"), **spec).begin("x")
    assert set(played.why()) == {Code.RUNNING, Code.PARALLEL_LIMIT}
    assert played.task_why("y")[Code.PARALLEL_LIMIT].task_ids == ("x",)


def test_a_dead_model_server_is_told_apart_from_a_failure() -> None:
    played = Played(task("x"), task("y"), task("z")).fail("x", OUTAGE).fail("y", BROKEN)
    why = played.why()
    assert why[Code.MODEL_OUTAGE].text == (
        "x waits for its model server, which does not answer: Nothing listens there."
    )
    assert why[Code.MODEL_OUTAGE].failure == OUTAGE
    assert why[Code.RETRY].text == "y waits to be tried again: The server broke."
    assert played.task_why("z")[Code.MODEL_OUTAGE].task_ids == ("x",)


def test_a_workflow_waits_for_the_persons_that_its_tasks_wait_for() -> None:
    needs = (Need(InputKind.TOOL_APPROVAL, "Delete?"), Need(InputKind.UNSAFE_RERUN, "Again?"))
    played = Played(task("x")).begin("x").say(m.AttemptSuspended(1, needs, "x"))
    assert {code: (one.input_id, one.task_ids) for code, one in played.why().items()} == {
        Code.TOOL_APPROVAL: ("i1", ("x",)),
        Code.UNSAFE_RERUN: ("i2", ("x",)),
    }


def test_how_it_ended_is_why_it_does_nothing() -> None:
    assert set(Played(task("x")).complete("x").why()) == {Code.COMPLETED}
    failed = Played(task("x")).fail("x", REFUSED).why()[Code.FAILED]
    assert failed.text == "It failed: Task x failed: The model refused."
    assert failed.failure is not None


def test_a_deadline_that_passed_is_why_it_failed() -> None:
    played = Played(task("x"), deadline_us=150 * SECOND).begin("x").say(m.Tick(), after_us=100 * SECOND)
    assert played.why()[Code.FAILED].failure == Failure(
        FailureKind.DEADLINE_EXCEEDED, "The workflow's deadline has passed."
    )
    assert played.task_why("x")[Code.WORKFLOW_FAILED].text == (
        "Its workflow ended before it did: The workflow's deadline has passed."
    )


def test_every_kind_of_input_has_a_code_of_its_own() -> None:
    assert {kind.name for kind in InputKind} <= {code.name for code in Code}


def test_a_rejected_plan_goes_back_to_the_planner_and_the_past_says_so() -> None:
    played = Played(approval_policy=ApprovalPolicy.PLAN, **QUERY).say(m.SlotGranted(1), m.PlanMade(1, (task("x"),)))
    shown = played.state.inputs["i1"].need.shown
    played.say(m.ResolveApproval("i1", Decision.REJECT, shown, "too expensive", "bob"), actor="bob")
    texts = [reason.text for reason in played.explanation().past.latest]
    assert "i1, the plan's approval, was refused by bob: too expensive." in texts
    assert "What had not begun was to be planned anew by bob: too expensive." in texts


@pytest.mark.parametrize(
    ("used_up", "words", "when"),
    [
        (UsedUp(QuotaKind.TOKENS_PER_DAY, 10, 12), "has used 12 tokens today", "at midnight UTC"),
        (
            UsedUp(QuotaKind.COST_PER_DAY, 10, 12),
            "has used 12 millionths of the currency unit today",
            "at midnight UTC",
        ),
        (UsedUp(QuotaKind.RUNNING_TASKS, 10, 12), "has 12 of its attempts running", "when an attempt ends"),
    ],
)
def test_what_a_quota_of_the_namespace_holds_is_told_so(used_up: UsedUp, words: str, when: str) -> None:
    said = f"Its namespace {words}, and its quota {used_up.kind.value} is 10: it goes on {when}."
    free_us = None if used_up.kind is QuotaKind.RUNNING_TASKS else DAY_US
    planned, ready = Played(**QUERY), Played(task("a"), task("b", "a"))
    why = {reason.code: reason for reason in planned.explanation(used_up).why}
    assert set(why) == {Code.QUOTA}
    assert (why[Code.QUOTA].text, why[Code.QUOTA].time_us) == (said, free_us)
    told = ready.explanation(used_up)
    (reason,) = told.why
    assert (reason.code, reason.text, reason.time_us) == (Code.QUOTA, f"a is ready. {said}", free_us)
    assert reason.task_ids == ("a",)
    of_task = {one.task_id: one.why for one in told.tasks}
    assert [(one.code, one.text, one.time_us) for one in of_task["a"]] == [(Code.QUOTA, said, free_us)]
    assert [one.code for one in of_task["b"]] == [Code.DEPENDENCIES]
    # What runs, or waits for something else, is not held by it.
    ready.begin("a")
    assert {reason.code for reason in ready.explanation(used_up).why} == {Code.RUNNING}
