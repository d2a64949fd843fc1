"""Every event and every value of an enum has its counterpart in the protos, and what is put together from pieces reads as one."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from orcs_client.v1 import common_pb2, event_pb2, workflow_pb2, workflow_service_pb2
from orcs_server import errors
from orcs_server.engines.feed import DeltaChunk
from orcs_server.rpc.conversion import streams
from orcs_server.rpc.conversion.events import event_bytes, event_message
from orcs_server.rpc.errors import CODES, refusal
from orcs_server.service.cursors import WorkflowCursors
from orcs_server.service.watching import WatchBatch
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow.model import (
    Budget,
    Digest,
    Failure,
    FailureKind,
    Output,
    PlanSource,
    StopMode,
    TaskSpec,
    Usage,
    WorkflowSpec,
)
from orcs_server.workflow.people import InputKind, MessageMode, Need, PendingInput, PersonMessage, Resolution

FAILURE = Failure(FailureKind.TIMEOUT, "too slow", retryable=True, retry_after_us=1_500_000)
OUTPUT = Output(Digest("0" * 64), "text/markdown", 7)
TASK = TaskSpec("t1", "Title", Digest("1" * 64), "research_agent", ("t0",), 3, 1_000_000, 2, optional=True)
HAPPENED: list[e.Event] = [
    e.WorkflowCreated("default", "w", WorkflowSpec("Title", Digest("2" * 64), (("k", "v"),))),
    e.PlanningStarted(1),
    e.PlanRejected(1, FAILURE, ("tasks: empty",), 5_000_000),
    e.PlanAdopted(1, (TASK,), PlanSource.PLANNER),
    e.PlanAmended(2, PlanSource.TASK, 3, (TASK,), (TASK,), ("t9",), "t1"),
    e.WorkflowStarted(),
    e.WorkflowCompleted(),
    e.WorkflowFailed(FAILURE),
    e.WorkflowDeleted(),
    e.ResourcesAllocated(),
    e.ResourcesReturned(),
    e.TaskReady("t1"),
    e.AttemptStarted("t1", 2, 1, 9_000_000),
    e.AttemptSucceeded("t1", 2, OUTPUT),
    e.AttemptFailed("t1", 2, FAILURE),
    e.AttemptTimedOut("t1", 2, FAILURE),
    e.AttemptInterrupted(2, "t1"),
    e.AttemptLost(2, "t1", progressed=True),
    e.JournalMismatch(2, 1, "call", "t1"),
    e.TaskRetryScheduled("t1", 7_000_000),
    e.TaskCompleted("t1", OUTPUT),
    e.TaskFailed("t1", FAILURE),
    e.TaskSkipped("t1", "t0", FAILURE),
    e.TaskCancelled("t1", FAILURE),
    e.TaskReopened("t1", 2, "t0", keeps_output=True),
    e.TaskStale("t1", "t0"),
    e.TaskHeld("t1"),
    e.AttemptSuspended(2, ("i1",), "t1"),
    e.InputRequested(PendingInput("i1", 1, Need(InputKind.QUESTION, "Which?"), 5, "t1", 2, 1)),
    e.InputResolved("i1", Resolution.ANSWERED, "t1", Digest("3" * 64), "so", "ada", shared=True),
    e.MessageReceived(PersonMessage("m1", 1, MessageMode.INTERRUPT, Digest("4" * 64), 5, "t1", "ada")),
    e.BudgetExceeded("wall_time_us", Budget(wall_time_us=5), "t1"),
    e.WorkflowPausing(StopMode.DRAIN, "lunch", freeze=True),
    e.WorkflowPaused(),
    e.WorkflowResumed(freeze=True),
    e.WorkflowCancelRequested(StopMode.IMMEDIATE, "enough"),
    e.WorkflowCancelled(),
    e.WorkflowReopened(),
    e.WorkflowUpdated(Budget(tokens=3), (("k", "v"),), 4),
    e.ReplanRequested(Digest("5" * 64), "too dear"),
    e.UsageRecorded(2, 3, Usage(requests=3, output_tokens=9), "t1"),
]


def record(event: e.Event, seq: int = 1) -> EventRecord:
    return EventRecord("default", "w", seq, 1_700_000_000_123_456, "ada", "r1", event, position=seq + 100)


def test_the_samples_are_all_the_events_that_there_are() -> None:
    assert {type(event) for event in HAPPENED} == set(get_args(e.Event))


@pytest.mark.parametrize("event", HAPPENED, ids=lambda event: type(event).__name__)
def test_an_event_reads_on_the_wire_as_it_happened(event: e.Event) -> None:
    message = event_message(record(event))
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    assert message.WhichOneof("body") == name
    number = event_pb2.Event.DESCRIPTOR.fields_by_name[name].number
    assert event_pb2.EventType.Name(number) == f"EVENT_TYPE_{name.upper()}"  # type: ignore[arg-type]
    assert (message.sequence, message.position, message.actor, message.cause) == (1, 101, "ada", "r1")
    assert message.time.ToMicroseconds() == 1_700_000_000_123_456
    body: Any = getattr(message, name)
    for field in ("task_id", "attempt", "revision", "run", "calls"):
        if hasattr(event, field):
            assert getattr(body, field) == getattr(event, field)
    if hasattr(event, "failure"):
        assert body.failure.kind == common_pb2.FAILURE_KIND_TIMEOUT
        assert body.failure.retry_after.ToMicroseconds() == 1_500_000
    if getattr(event, "output", None) is not None:
        assert body.output.size_bytes == 7


def test_what_people_did_reads_as_they_did_it() -> None:
    read = {type(event): event_message(record(event)) for event in HAPPENED}
    pausing, cancelling = read[e.WorkflowPausing].workflow_pausing, read[e.WorkflowCancelRequested]
    assert (pausing.mode, pausing.reason, pausing.freeze) == (workflow_pb2.STOP_MODE_DRAIN, "lunch", True)
    assert cancelling.workflow_cancel_requested.mode == workflow_pb2.STOP_MODE_IMMEDIATE
    updated = read[e.WorkflowUpdated].workflow_updated
    assert (updated.budget.tokens, dict(updated.labels.labels), updated.priority) == (3, {"k": "v"}, 4)
    asked = read[e.InputRequested].input_requested.input
    assert (asked.id, asked.workflow_id, asked.prompt, asked.permission) == ("i1", "w", "Which?", "inputs.answer")
    resolved = read[e.InputResolved].input_resolved
    assert (resolved.input_id, resolved.answer_sha256, resolved.principal) == ("i1", "3" * 64, "ada")
    assert (resolved.reason, resolved.shared) == ("so", True)
    said = read[e.MessageReceived].message_received
    assert (said.message_id, said.mode, said.principal) == ("m1", workflow_pb2.MESSAGE_MODE_INTERRUPT, "ada")
    assert read[e.BudgetExceeded].budget_exceeded.limit == "wall_time"
    reopened = read[e.TaskReopened].task_reopened
    assert (reopened.cause_task_id, reopened.keeps_output) == ("t0", True)
    assert read[e.ReplanRequested].replan_requested.reason == "too dear"
    by_a_person = event_message(record(e.TaskSkipped("t1", "", FAILURE, OUTPUT))).task_skipped
    assert (by_a_person.reason, by_a_person.substitute.size_bytes) == ("too slow", 7)
    nothing = event_message(record(e.WorkflowUpdated(Budget()))).workflow_updated
    assert nothing.HasField("budget")
    assert not nothing.HasField("labels")


def test_every_event_type_is_an_event() -> None:
    fields = {field.number for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields}
    assert fields == set(event_pb2.EventType.values()) - {0}


def test_a_plan_that_is_too_large_for_an_event_is_left_out_of_it() -> None:
    many = event_message(record(e.PlanAdopted(1, (TASK,) * 201, PlanSource.CLIENT))).plan_adopted
    assert (many.task_count, many.tasks_omitted, len(many.tasks)) == (201, True, 0)
    wide = TaskSpec("t", "t", Digest(""), "a", tuple(f"dependency-{n}" for n in range(9_000)))
    heavy = event_message(record(e.PlanAdopted(1, (wide,) * 3, PlanSource.CLIENT))).plan_adopted
    assert (heavy.task_count, heavy.tasks_omitted, len(heavy.tasks)) == (3, True, 0)
    amended = event_message(record(e.PlanAmended(2, PlanSource.CLIENT, 3, added=(wide,) * 3))).plan_amended
    assert (amended.tasks_omitted, len(amended.added)) == (True, 0)


def test_a_batch_becomes_messages_below_a_mebibyte_that_hold_all_of_it_in_order() -> None:
    cursors = WorkflowCursors("0" * 16, "default", "w")
    long = Failure(FailureKind.TIMEOUT, "x" * 2000)
    records = [record(e.TaskFailed("t1", long), seq) for seq in range(1, 1501)]
    text = "é𝄞" * 600_000
    batch = WatchBatch(1500, records, [DeltaChunk("t1", 1, 5, text)])
    messages = list(streams.watch_messages(batch, cursors))
    read = [workflow_service_pb2.WatchWorkflowResponse.FromString(message.wire) for message in messages]
    assert all(len(message.wire) < 1024 * 1024 for message in messages)
    assert [event.sequence for reply in read for event in reply.events] == list(range(1, 1501))
    for reply, message in zip(read, messages, strict=True):
        assert reply.cursor == message.cursor
        if reply.events and not reply.deltas and reply is not read[-1]:
            assert cursors.seq(reply.cursor) == reply.events[-1].sequence
    assert cursors.seq(read[-1].cursor) == 1500
    deltas = [delta for reply in read for delta in reply.deltas]
    assert "".join(delta.text for delta in deltas) == text
    assert [delta.offset - 5 for delta in deltas] == [streams.DELTA_CHARACTERS * place for place in range(len(deltas))]


def test_an_event_is_serialised_once() -> None:
    one = record(e.WorkflowStarted())
    assert event_bytes(one) is event_bytes(one)


def test_every_kind_of_error_has_its_code_and_every_code_is_another() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.OrcsError)}
    # A subclass of one of them has its parent's.
    assert set(CODES) == {kind for kind in kinds if kind.__base__ is errors.OrcsError}
    assert len(set(CODES.values())) == len(CODES)


def test_the_details_of_an_error_fit_into_trailers() -> None:
    violations = tuple(errors.Violation(f"plan.tasks[{n}].title", "é" * 3000) for n in range(500))
    answer = refusal(errors.InvalidArgument("PLAN_INVALID", "w" * 5000, violations), "CreateWorkflow")
    assert sum(len(value) for _, value in answer.trailers) + len(answer.message) < 6000


def test_a_refusal_in_any_script_fits_into_trailers() -> None:
    message = "\U0001f600" * 5000
    answer = refusal(errors.IllegalTransition("OUTPUT_NOT_READY", message), "GetWorkflowOutput")
    assert answer.message.endswith("\U0001f600…")
    # gRPC sends the message percent-encoded, and the details, which repeat it, in base64.
    on_the_wire = 3 * len(answer.message.encode()) + 4 * len(answer.trailers[0][1]) // 3
    assert on_the_wire < 8 * 1024
