"""What an operator's log says of workflows and attempts that failed."""

from __future__ import annotations

import logging

import pytest

from orcs_server.hooks import GuardedHooks, null_factory
from orcs_server.identity import Caller
from orcs_server.service.recording import MESSAGE_LIMIT, EventRecording
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow.model import Failure, FailureKind

ADA = Caller("ada", "default", ())
WHY = Failure(FailureKind.CONNECTION, "Line one\nand \x1b[2Jtwo " + "x" * 2_000)


def lines_for(caplog: pytest.LogCaptureFixture, *events: e.Event) -> list[logging.LogRecord]:
    caplog.set_level("INFO", "orcs.service")
    recording = EventRecording(GuardedHooks(null_factory))
    records = [EventRecord("default", "w1", seq + 1, 0, "orcs", "", event) for seq, event in enumerate(events)]
    recording.note(ADA, None, records)
    return caplog.records


def test_a_failed_workflow_is_a_warning_with_where_and_why(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = lines_for(caplog, e.WorkflowStarted(), e.WorkflowFailed(WHY))
    assert (line.levelname, line.getMessage()) == ("WARNING", "workflow failed")
    fields = vars(line)
    assert (fields["workflow"], fields["namespace"], fields["kind"]) == ("w1", "default", "CONNECTION")
    assert fields["failure"].startswith("Line one and two xxx")
    assert len(fields["failure"]) == MESSAGE_LIMIT


def test_failed_attempts_are_told_at_info(caplog: pytest.LogCaptureFixture) -> None:
    lines = lines_for(
        caplog,
        e.AttemptFailed("t1", 2, WHY),
        e.AttemptTimedOut("t2", 1, WHY),
        e.PlanRejected(3, WHY, ("tasks: A plan needs at least one task.",)),
        e.WorkflowCompleted(),
    )
    assert {line.levelname for line in lines} == {"INFO"}
    told = [(line.getMessage(), vars(line).get("task"), vars(line)["attempt"]) for line in lines]
    assert told == [
        ("task attempt failed", "t1", 2),
        ("task attempt failed", "t2", 1),
        ("planning attempt failed", None, 3),
    ]
    assert vars(lines[2])["problem"] == "tasks: A plan needs at least one task."
