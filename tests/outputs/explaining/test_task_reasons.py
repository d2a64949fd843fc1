"""Why tasks are said to stand where they stand: what they wait for, how they ended, why they ran again, what they cost."""

from __future__ import annotations

from orcs_server.outputs.explaining.attempts import ATTEMPTS_LIMIT
from orcs_server.outputs.explaining.explanation import AttemptEnding, ReasonCode
from orcs_server.outputs.explaining.history import TASK_PAST_LIMIT
from orcs_server.workflow import messages as m
from orcs_server.workflow.edits import ChangeTask
from orcs_server.workflow.model import (
    Budget,
    Digest,
    FailurePolicy,
    PlanSource,
    RetryPolicy,
    StopMode,
    TaskSpec,
    Usage,
)
from orcs_server.workflow.people import Decision, InputKind, MessageMode, Need
from tests.outputs.explaining.played import BROKEN, OUTAGE, REFUSED, SECOND, TEXT, Played, output, task

Code = ReasonCode
End = AttemptEnding


# Waiting


def test_a_task_names_the_tasks_that_it_waits_for_and_their_states() -> None:
    played = Played(task("x"), task("y"), task("z"), task("join", "x", "y", "z")).begin("x").complete("z")
    reason = played.task_why("join")[Code.DEPENDENCIES]
    assert (reason.text, reason.task_ids) == ("It waits for x (running) and y (ready).", ("x", "y"))


def test_before_the_start_a_task_waits_for_that_and_for_its_dependencies() -> None:
    played = Played(task("x"), task("y", "x"), auto_start=False)
    assert set(played.task_why("x")) == {Code.NOT_STARTED}
    assert set(played.task_why("y")) == {Code.DEPENDENCIES, Code.NOT_STARTED}


def test_a_task_that_needs_approval_names_the_input() -> None:
    played = Played(task("x", needs_approval=True))
    assert played.task_why("x")[Code.TASK_APPROVAL].input_id == "i1"


def test_a_tasks_own_budget_is_what_it_stops_for() -> None:
    played = Played(task("x", budget=Budget(tokens=10)), task("y")).begin("x").use("x", 5)
    assert set(played.task_why("x")) == {Code.RUNNING, Code.BUDGET}
    played.say(m.AttemptInterrupted(1, "x"))
    assert set(played.task_why("x")) == {Code.BUDGET}
    assert set(played.task_why("y")) == {Code.SLOT}
    assert played.task("x").attempts.latest[0].ending is End.SUSPENDED
    played.say(m.ResolveApproval("i1", Decision.REJECT, principal="bob"), actor="bob")
    assert set(played.task_why("x")) == {Code.BUDGET_REFUSED}


def test_a_retry_says_how_many_attempts_failed_and_when_it_goes_on() -> None:
    played = Played(task("x")).fail("x", BROKEN)
    reason = played.task_why("x")[Code.RETRY]
    assert reason.text == "It is tried again (1 of 3 attempts failed): The server broke."
    assert reason.time_us == played.state.tasks["x"].progress.retry_at_us
    assert (played.task("x").failed_attempts, played.task("x").max_attempts) == (1, 3)


def test_an_outage_does_not_count_against_the_budget() -> None:
    played = Played(task("x", max_attempts=1)).fail("x", OUTAGE)
    assert set(played.task_why("x")) == {Code.MODEL_OUTAGE}
    assert played.task("x").failed_attempts == 0


def test_a_task_that_takes_its_server_with_it_is_known_by_its_losses() -> None:
    played = Played(task("x"), max_losses=2)
    for _ in range(2):
        played.begin("x").say(m.AttemptLost(played.attempt("x"), "x"))
    reason = played.task_why("x")[Code.LOSSES]
    assert reason.text.startswith("Its attempts were lost 2 times in a row together with their server")
    assert "one at a time" in reason.text
    played.begin("x").say(m.AttemptLost(3, "x"))
    assert set(played.task_why("x")) == {Code.LOST_TOO_OFTEN}
    assert [attempt.ending for attempt in played.task("x").attempts.latest] == [End.LOST] * 3
    assert played.task_past("x") == [Code.LOSSES, Code.LOSSES, Code.LOSSES, Code.FAILED]


# Ends


def test_a_skipped_task_names_the_chain_down_to_what_failed() -> None:
    played = Played(task("x"), task("y", "x"), task("z", "y"), task("other")).fail("x", REFUSED)
    reason = played.task_why("z")[Code.DEPENDENCY_FAILED]
    assert reason.task_ids == ("y", "x")
    assert reason.text == (
        "It was skipped, for it rests on what did not complete, by way of y: x failed: The model refused."
    )
    assert reason.failure == REFUSED


def test_the_chain_is_found_without_the_log_too() -> None:
    played = Played(task("x"), task("y", "x"), task("z", "y"), task("other")).fail("x", REFUSED)
    played.records = []
    assert played.task_why("z")[Code.DEPENDENCY_FAILED].task_ids == ("y", "x")


def test_a_task_that_a_person_skipped_says_what_its_dependants_go_on_with() -> None:
    played = Played(task("x"), task("y", "x"))
    played.say(m.SkipTask("x", "known already", output()), actor="bob")
    reason = played.task_why("x")[Code.SKIPPED_BY_PERSON]
    assert reason.text == (
        "A person skipped it, and what depends on it goes on with a substitute for its output: known already."
    )
    assert played.task("x").past.latest[-1].text == "It was skipped by bob: known already."
    assert set(played.task_why("y")) == {Code.SLOT}


def test_a_task_that_was_skipped_without_a_reason_says_so_once() -> None:
    played = Played(task("x"), task("y", "x")).say(m.SkipTask("x"), actor="bob")
    reason = played.task_why("x")[Code.SKIPPED_BY_PERSON]
    assert reason.text == "A person skipped it, and what depends on it goes on without its output."


def test_a_cancelled_task_is_told_apart_from_a_cancelled_workflow() -> None:
    played = Played(task("x"), task("y")).begin("x").say(m.CancelTask("x", "wrong city"), actor="bob")
    assert played.task_why("x")[Code.CANCELLED_BY_PERSON].text == "A person cancelled it: wrong city."
    assert played.task("x").attempts.latest[0].ending is End.CUT_OFF
    played.begin("y").say(m.CancelWorkflow(StopMode.IMMEDIATE), m.AttemptInterrupted(1, "y"))
    assert set(played.task_why("x")) == {Code.CANCELLED_BY_PERSON}
    assert set(played.task_why("y")) == {Code.WORKFLOW_CANCELLED}


def test_a_task_that_ended_because_another_failed_fast_says_so() -> None:
    played = Played(task("x"), task("y"), failure_policy=FailurePolicy.FAIL_FAST).begin("y").fail("x", REFUSED)
    reason = played.task_why("y")[Code.WORKFLOW_FAILED]
    assert reason.text == (
        "Its workflow ended before it did: Task x failed, and the workflow fails fast. The model refused."
    )


def test_a_failure_says_whether_attempts_were_used_up_or_none_would_have_helped() -> None:
    played = Played(task("x"), task("y"), retry=RetryPolicy(max_attempts=2, initial_backoff_us=0))
    played.fail("x", BROKEN).say(m.Tick()).fail("x", BROKEN).fail("y", REFUSED)
    assert played.task_why("x")[Code.ATTEMPTS_USED_UP].text == (
        "It failed, and its 2 attempts are used up: The server broke."
    )
    assert played.task_why("y")[Code.NOT_RETRYABLE].failure == REFUSED
    assert played.task_past("x") == [Code.RETRY_SCHEDULED, Code.FAILED]


def test_what_a_person_refused_or_let_pass_is_named() -> None:
    played = Played(task("x", needs_approval=True), task("y", needs_approval=True), approval_expires_us=9 * SECOND)
    shown = played.state.inputs["i1"].need.shown
    played.say(m.ResolveApproval("i1", Decision.REJECT, shown, "no", "bob"), actor="bob")
    played.say(m.Tick(), after_us=10 * SECOND)
    assert set(played.task_why("x")) == {Code.REJECTED}
    assert set(played.task_why("y")) == {Code.INPUT_EXPIRED}
    assert "i1, the task's approval, was refused by bob: no." in [one.text for one in played.task("x").past.latest]


# Carried out again


def test_a_task_that_is_retried_says_by_whom() -> None:
    played = Played(task("x"), task("y", "x")).fail("x", REFUSED).say(m.RetryTask("x"), actor="bob")
    assert played.task("x").past.latest[-1].text == "It was to be carried out again by bob, in conversation 1."
    again = played.task("y").past.latest[-1]
    assert (again.code, again.task_ids) == (Code.REOPENED_BY_DEPENDENCY, ("x",))
    assert again.text == "It had been skipped, and may be carried out after all: x was taken up again by bob."
    assert "It was reopened by bob." in [one.text for one in played.explanation().past.latest]


def test_a_task_that_goes_on_with_its_workflow_says_so() -> None:
    played = Played(task("x"), task("y"), failure_policy=FailurePolicy.FAIL_FAST).begin("y").fail("x", REFUSED)
    played.say(m.RetryTask("x"), actor="bob")
    again = played.task("y").past.latest[-1]
    assert (again.code, again.text) == (
        Code.REOPENED,
        "It had ended with its workflow, which was reopened by bob, for x.",
    )


def test_an_output_that_rests_on_the_same_again_is_said_to_be_reused() -> None:
    played = Played(task("x"), task("y", "x")).complete("x", "y")
    played.say(m.RetryTask("x", include_dependants=True), actor="bob").complete("x")
    assert set(played.task_why("y")) == {Code.OUTPUT_REUSED}
    assert played.task_past("y") == [Code.REOPENED_BY_DEPENDENCY, Code.OUTPUT_REUSED]
    assert len(played.task("y").attempts.latest) == 1


def test_an_output_that_rests_on_something_else_is_said_to_be_made_again() -> None:
    played = Played(task("x"), task("y", "x")).complete("x", "y")
    played.say(m.RetryTask("x", include_dependants=True), actor="bob").complete("x", letter="b").complete("y")
    assert set(played.task_why("y")) == {Code.COMPLETED}
    assert played.task_past("y") == [Code.REOPENED_BY_DEPENDENCY, Code.INPUTS_CHANGED]
    assert [attempt.run for attempt in played.task("y").attempts.latest] == [1, 2]


def test_an_output_that_is_left_as_it_is_is_said_to_be_stale() -> None:
    played = Played(task("x"), task("y", "x")).complete("x", "y").say(m.RetryTask("x"), actor="bob")
    assert set(played.task_why("y")) == {Code.COMPLETED, Code.STALE}
    assert played.task("y").past.latest[-1].task_ids == ("x",)


def test_changes_of_the_plan_are_told_with_the_task_that_they_change() -> None:
    played = Played(task("x"), task("y", "x"))
    played.say(m.EditPlan((ChangeTask("y", description=Digest("1" * 64)),)), actor="bob")
    assert played.task("y").past.latest[-1].text == "It was changed by bob in revision 2 of the plan."
    assert played.task_past("x") == []
    added = (TaskSpec("more", "More", TEXT, "a", depth=1),)
    played.begin("x").say(m.TasksProposed(added, PlanSource.TASK, "x", 1), actor="agent:a")
    assert played.task("more").past.latest[0].text == "It was added in revision 3 of the plan: x proposed it."
    assert played.explanation().past.latest[-1].text == (
        "The plan got revision 3 with 3 tasks, 1 added: x proposed it."
    )


# Attempts, messages, costs


def test_attempts_are_told_with_their_ends_their_times_and_what_they_cost() -> None:
    played = Played(task("x"), retry=RetryPolicy(initial_backoff_us=0)).begin("x").use("x", 7)
    played.say(m.AttemptFinished("x", 1, failure=BROKEN), m.Tick()).begin("x")
    played.use("x", 3, calls=2)
    first, second = played.task("x").attempts.latest
    assert (first.ending, first.failure, first.usage, first.calls) == (End.FAILED, BROKEN, Usage(1, 7, 0, 7), 1)
    assert first.ended_us is not None
    assert first.ended_us - first.started_us == 2 * SECOND
    assert (second.number, second.ending, second.ended_us, second.calls) == (2, None, None, 2)
    assert played.task("x").usage == Usage(3, 10, 0, 10)
    assert played.task("x").ran_us == 2 * SECOND + 1 * SECOND


def test_an_attempt_that_timed_out_or_gave_way_says_so() -> None:
    played = Played(task("x"), task("y"), task_timeout_us=10 * SECOND, retry=RetryPolicy(initial_backoff_us=0))
    played.begin("x", "y").say(m.AttemptInterrupted(1, "y")).say(m.Tick(), after_us=20 * SECOND)
    assert [one.ending for one in played.task("x").attempts.latest] == [End.TIMED_OUT]
    assert [one.ending for one in played.task("y").attempts.latest] == [End.INTERRUPTED]


def test_an_attempt_that_asks_people_names_what_it_waits_for() -> None:
    needs = (Need(InputKind.QUESTION, "Which?"),)
    played = Played(task("x")).begin("x").say(m.AttemptSuspended(1, needs, "x"))
    played.say(m.AnswerInput("i1", TEXT, "bob"), actor="bob").begin("x")
    assert [one.input_ids for one in played.task("x").attempts.latest] == [("i1",), ()]
    assert [one.text for one in played.task("x").past.latest] == [
        "i1 was asked: the question: Which?",
        "i1, the question, was answered by bob.",
    ]


def test_of_many_attempts_the_latest_are_told_and_the_others_counted() -> None:
    retry = RetryPolicy(max_attempts=30, initial_backoff_us=0)
    played = Played(task("x"), retry=retry)
    for _ in range(25):
        played.fail("x", BROKEN).say(m.Tick())
    told = played.task("x")
    assert (len(told.attempts.latest), told.attempts.omitted) == (ATTEMPTS_LIMIT, 25 - ATTEMPTS_LIMIT)
    assert told.attempts.latest[-1].number == 25
    assert (len(told.past.latest), told.past.omitted) == (TASK_PAST_LIMIT, 25 - TASK_PAST_LIMIT)


def test_messages_that_an_output_was_made_in_the_knowledge_of_are_told_apart() -> None:
    played = Played(task("x"), task("y")).begin("x")
    played.say(m.SendMessage(TEXT, MessageMode.QUEUE, "x", "bob"), m.SendMessage(TEXT, principal="eve"), actor="bob")
    assert [(one.id, one.counted) for one in played.task("x").messages] == [("m1", False), ("m2", False)]
    played.say(m.AttemptFinished("x", 1, output(), read=2)).say(m.SendMessage(TEXT, principal="eve"))
    assert [(one.id, one.actor, one.counted) for one in played.task("x").messages] == [
        ("m1", "bob", True),
        ("m2", "eve", True),
        ("m3", "eve", False),
    ]
    assert [one.id for one in played.task("y").messages] == ["m2", "m3"]


def test_costs_are_told_apart_for_planning_and_tasks() -> None:
    played = Played(query=TEXT).say(m.SlotGranted(1)).use("", 4).say(m.PlanMade(1, (task("x"),)))
    played.begin("x").use("x", 6).say(m.AttemptFinished("x", 1, output()))
    cost = played.explanation().cost
    assert (cost.usage, cost.planning, cost.tasks) == (Usage(2, 10, 0, 10), Usage(1, 4, 0, 4), Usage(1, 6, 0, 6))
    assert cost.ran_us == 3 * SECOND
    assert cost.elapsed_us == 6 * SECOND
    (planner,) = played.explanation().attempts.latest
    assert (planner.ending, planner.usage, planner.run) == (End.SUCCEEDED, Usage(1, 4, 0, 4), 0)


def test_texts_of_people_are_cut_and_cannot_control_a_terminal() -> None:
    played = Played(task("x")).say(m.PauseWorkflow(StopMode.DRAIN, "\x1b[2J" + "no " * 300), actor="bob\x1b[31m")
    text = played.why()[Code.PAUSED].text
    assert "\x1b" not in text
    assert len(text) < 400
