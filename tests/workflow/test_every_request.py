"""Each request in each state of a workflow and of a task: what docs/states.md says, said here once more by hand."""

from __future__ import annotations

import pytest

from orcs_server.errors import OrcsError
from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import take
from orcs_server.workflow.due import due, waits_for_people
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TaskStatus, WorkflowStatus
from tests.workflow.rows import through_rows
from tools.generate_state_diagrams import requests, sample_states, task_requests, task_states

STATES, REQUESTS = sample_states(), requests()
TASK_STATES, TASK_REQUESTS = task_states(), task_requests()

NONE = ["none yet"]
PLANNING = ["PLANNING", "PLANNING, the planner runs"]
READY = ["READY"]
GATED = ["READY, the plan waits for approval"]
ASKING = ["RUNNING, a question is open", "PAUSED, a question is open"]
ANEW = ["RUNNING, the plan is made anew"]
PAUSING = ["PAUSING, a task runs"]
PAUSED = ["PAUSED while READY", "PAUSED while RUNNING"]
UNPLANNED = ["PAUSING, the planner runs", "PAUSED while PLANNING"]
FROZEN = ["PAUSED by a freeze"]
CANCELLING = ["CANCELLING, the planner runs", "CANCELLING, a task runs"]
LOST = ["FAILED without a plan"]
HOLDING = ["FAILED, holds resources"]
COMPLETED, FAILED, CANCELLED = ["COMPLETED"], ["FAILED"], ["CANCELLED"]

RUNNING = ["RUNNING", *ANEW]
PLANNED = [*READY, *GATED, "RUNNING", *ASKING, *PAUSING, *PAUSED, *FROZEN]
LIVE = [*PLANNING, *PLANNED, *ANEW, *UNPLANNED]
ENDED = [*COMPLETED, *FAILED, *LOST, *HOLDING, *CANCELLED]
NO_TASK = [*PLANNING, *UNPLANNED, CANCELLING[0], *LOST]
NO_INPUT = [state for state in (*LIVE, *CANCELLING, *ENDED) if state not in (*ASKING, *GATED)]
WITH_TASK = [state for state in (*PLANNED, *ANEW) if state not in ASKING]

Answers = dict[str, list[str]]
ANSWERS: dict[str, Answers] = {
    "CreateWorkflow": {"WorkflowCreated": NONE, "WORKFLOW_ALREADY_EXISTS": [*LIVE, *CANCELLING, *ENDED]},
    "StartWorkflow": {
        "WorkflowStarted": READY,
        "APPROVAL_REQUIRED": GATED,
        "WORKFLOW_TERMINAL": ENDED,
        "WORKFLOW_NOT_READY": [state for state in (*LIVE, *CANCELLING) if state not in (*READY, *GATED)],
    },
    "PauseWorkflow": {
        "nothing": [*PAUSED, "PAUSED while PLANNING", "PAUSED, a question is open"],
        "WorkflowPausing": [state for state in LIVE if "PAUSED" not in state or state in FROZEN],
        "ILLEGAL_TRANSITION": CANCELLING,
        "WORKFLOW_TERMINAL": ENDED,
    },
    "ResumeWorkflow": {
        "WorkflowResumed": [*UNPLANNED, *PAUSING, *PAUSED, "PAUSED, a question is open"],
        "NAMESPACE_FROZEN": FROZEN,
        "nothing": [state for state in LIVE if not state.startswith("PAUS")],
        "ILLEGAL_TRANSITION": CANCELLING,
        "WORKFLOW_TERMINAL": ENDED,
    },
    "CancelWorkflow": {
        "WorkflowCancelRequested": [*LIVE, *CANCELLING],
        "nothing": CANCELLED,
        "WORKFLOW_TERMINAL": [state for state in ENDED if state not in CANCELLED],
    },
    "UpdateWorkflow": {"WorkflowUpdated": [*LIVE, *CANCELLING], "WORKFLOW_TERMINAL": ENDED},
    "EditPlan": {
        "PlanAmended": PLANNED,
        "WorkflowReopened": [*COMPLETED, *FAILED],
        "WORKFLOW_TERMINAL": CANCELLED,
        "ILLEGAL_TRANSITION": [*PLANNING, *UNPLANNED, *ANEW, *CANCELLING, *LOST, *HOLDING],
    },
    "TasksProposed": {
        "PlanAmended": [*PLANNED, *ANEW],
        "ILLEGAL_TRANSITION": [*PLANNING, *UNPLANNED, *CANCELLING, *ENDED],
    },
    "Replan": {
        "ReplanRequested": [state for state in (*PLANNED, *ANEW, *UNPLANNED) if state not in GATED],
        "InputResolved": GATED,
        "WorkflowReopened": [*COMPLETED, *FAILED, *LOST],
        "WORKFLOW_TERMINAL": CANCELLED,
        "ILLEGAL_TRANSITION": [*PLANNING, *CANCELLING, *HOLDING],
    },
    "SendMessage": {"MessageReceived": LIVE, "ILLEGAL_TRANSITION": CANCELLING, "WORKFLOW_TERMINAL": ENDED},
    "RetryTask": {
        "TASK_NOT_FOUND": NO_TASK,
        "ILLEGAL_TRANSITION": [*WITH_TASK, *ASKING, CANCELLING[1], *HOLDING],
        "WorkflowReopened": [*COMPLETED, *FAILED],
        "WORKFLOW_TERMINAL": CANCELLED,
    },
    "SkipTask": {
        "TASK_NOT_FOUND": NO_TASK,
        "TaskSkipped": WITH_TASK,
        "InputResolved": ASKING,
        "WorkflowReopened": FAILED,
        "WORKFLOW_TERMINAL": CANCELLED,
        "ILLEGAL_TRANSITION": [CANCELLING[1], *COMPLETED, *HOLDING],
    },
    "CancelTask": {
        "TASK_NOT_FOUND": NO_TASK,
        "TaskCancelled": [*WITH_TASK, CANCELLING[1]],
        "InputResolved": ASKING,
        "WORKFLOW_TERMINAL": [*COMPLETED, *FAILED],
        "nothing": [*HOLDING, *CANCELLED],
    },
    "AnswerInput": {"INPUT_NOT_FOUND": NO_INPUT, "InputResolved": ASKING, "ILLEGAL_TRANSITION": GATED},
    "ResolveApproval": {"INPUT_NOT_FOUND": NO_INPUT, "InputResolved": GATED, "ILLEGAL_TRANSITION": ASKING},
    "DeleteWorkflow": {
        "WORKFLOW_NOT_TERMINAL": [*LIVE, *CANCELLING],
        "WorkflowDeleted": [*COMPLETED, *FAILED, *LOST, *CANCELLED],
        "ILLEGAL_TRANSITION": HOLDING,
    },
}
for answers in ANSWERS.values():
    answers.setdefault("WORKFLOW_NOT_FOUND", [] if "WorkflowCreated" in answers else NONE)

HELD = ["INPUT_REQUIRED, waits for approval"]
ASKS = ["INPUT_REQUIRED, asks"]
BEFORE = ["PENDING", "READY"]
DONE = ["COMPLETED", "COMPLETED, what rests on it runs"]
DOOMED = ["SKIPPED, for what it rests on failed"]
WAIVED = ["SKIPPED by a person"]
BEGUN = ["RUNNING", *ASKS, "RETRYING"]
OVER = [*DONE, "FAILED", "CANCELLED", *DOOMED, *WAIVED]
TASK_ANSWERS: dict[str, Answers] = {
    "RetryTask": {
        "TaskReady": ["RETRYING"],
        "TaskReopened": ["COMPLETED", "FAILED", "CANCELLED", *WAIVED],
        "ILLEGAL_TRANSITION": [*BEFORE, "RUNNING", *ASKS, *HELD, DONE[1], *DOOMED],
    },
    "RetryTask, with dependants": {
        "TaskReady": ["RETRYING"],
        "TaskReopened": [*DONE, "FAILED", "CANCELLED", *WAIVED],
        "ILLEGAL_TRANSITION": [*BEFORE, "RUNNING", *ASKS, *HELD, *DOOMED],
    },
    "SkipTask": {
        "TaskSkipped": [*BEFORE, "RUNNING", "RETRYING", "FAILED", "CANCELLED", *DOOMED],
        "InputResolved": [*ASKS, *HELD],
        "nothing": WAIVED,
        "ILLEGAL_TRANSITION": DONE,
    },
    "CancelTask": {
        "TaskCancelled": [*BEFORE, "RUNNING", "RETRYING"],
        "InputResolved": [*ASKS, *HELD],
        "nothing": ["CANCELLED"],
        "ILLEGAL_TRANSITION": [*DONE, "FAILED", *DOOMED, *WAIVED],
    },
    "EditPlan, changes it": {"PlanAmended": [*BEFORE, *HELD], "ILLEGAL_TRANSITION": [*BEGUN, *OVER]},
    "EditPlan, removes it": {"PlanAmended": BEFORE, "InputResolved": HELD, "ILLEGAL_TRANSITION": [*BEGUN, *OVER]},
    "SendMessage": {"MessageReceived": [*BEFORE, *BEGUN, *HELD], "ILLEGAL_TRANSITION": OVER},
    "AnswerInput": {
        "InputResolved": ASKS,
        "ILLEGAL_TRANSITION": HELD,
        "INPUT_NOT_FOUND": [*BEFORE, "RUNNING", "RETRYING", *OVER],
    },
    "ResolveApproval": {
        "InputResolved": HELD,
        "ILLEGAL_TRANSITION": ASKS,
        "INPUT_NOT_FOUND": [*BEFORE, "RUNNING", "RETRYING", *OVER],
    },
}


def cases(table: dict[str, Answers]) -> list[object]:
    return [
        pytest.param(request, answer, state, id=f"{request}: {state}")
        for request, answers in table.items()
        for answer, states in answers.items()
        for state in states
    ]


def check(state: WorkflowState | None, request: m.Request, answer: str) -> None:
    """The answer is as expected, and what is carried out leaves a sound state."""
    if answer.isupper():
        with pytest.raises(OrcsError) as refused:
            take(state, request, 7)
        assert refused.value.reason == answer
        assert refused.value.message.endswith(".")
        return
    after, events = take(state, request, 7)
    assert (type(events[0]).__name__ if events else "nothing") == answer
    for event in events:
        state = evolve(state, event, 7)
    assert state == after
    assert after is not None
    assert through_rows(after) == after
    assert len(set(due(after, 7))) == len(due(after, 7))


@pytest.mark.parametrize(("request_name", "answer", "state"), cases(ANSWERS))
def test_each_request_in_each_state(request_name: str, answer: str, state: str) -> None:
    check(STATES[state], REQUESTS[request_name], answer)


@pytest.mark.parametrize(("request_name", "answer", "state"), cases(TASK_ANSWERS))
def test_each_request_to_a_task_in_each_of_its_states(request_name: str, answer: str, state: str) -> None:
    check(TASK_STATES[state], TASK_REQUESTS[request_name], answer)


def test_only_people_move_on_what_waits_for_them() -> None:
    waiting = {name for name, state in STATES.items() if state is not None and waits_for_people(state)}
    assert waiting == {*READY, *GATED, *ASKING, *PAUSED, "PAUSED while PLANNING", *FROZEN}


def test_the_cases_are_all_there_are() -> None:
    for table, states, asked in ((ANSWERS, STATES, REQUESTS), (TASK_ANSWERS, TASK_STATES, TASK_REQUESTS)):
        assert list(table) == list(asked)
        for request, answers in table.items():
            assert sorted(state for several in answers.values() for state in several) == sorted(states), request


def test_the_states_are_what_they_are_called() -> None:
    for name, state in STATES.items():
        assert state is None or state.status is WorkflowStatus(name.replace(",", "").split()[0])
    for name, state in TASK_STATES.items():
        assert state is not None
        assert state.tasks["one"].status is TaskStatus(name.replace(",", "").split()[0])
    assert {name.replace(",", "").split()[0] for name in TASK_STATES} == set(TaskStatus) - {TaskStatus.EVALUATING}
