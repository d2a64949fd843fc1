"""What records say of commands: numbers, modes and hashes, and never what people wrote."""

from __future__ import annotations

from typing import Any

import pytest

from orcs_server.service.auditfacts import command_facts
from orcs_server.storage.audit import details_of
from orcs_server.workflow import messages as m
from orcs_server.workflow.edits import RemoveTask
from orcs_server.workflow.model import Budget, Digest, Output, StopMode
from orcs_server.workflow.people import Decision, MessageMode

SECRET = "what nobody else may read"
HASH = Digest("0" * 64)


@pytest.mark.parametrize(
    ("command", "facts"),
    [
        (m.StartWorkflow(), {}),
        (m.ResumeWorkflow(), {}),
        (m.DeleteWorkflow(), {}),
        (m.CancelTask("t", SECRET), {}),
        (m.PauseWorkflow(StopMode.DRAIN, SECRET), {"mode": "DRAIN"}),
        (m.CancelWorkflow(StopMode.IMMEDIATE, SECRET), {"mode": "IMMEDIATE"}),
        (
            m.UpdateWorkflow(Budget(tokens=5), ((SECRET, SECRET),), 7, "ada"),
            {"priority": 7, "labels": 1, "budget": {"tokens": 5}},
        ),
        (m.UpdateWorkflow(priority=0), {"priority": 0}),
        (m.RetryTask("t", HASH, include_dependants=True), {"description_sha256": HASH, "include_dependants": True}),
        (m.SkipTask("t", SECRET), {}),
        (m.SkipTask("t", SECRET, Output(HASH, "text/plain", 1)), {"substitute_sha256": HASH}),
        (m.EditPlan((RemoveTask("a"), RemoveTask("b")), 3), {"edits": 2, "revision": 3}),
        (m.Replan(HASH, 3), {"instructions_sha256": HASH, "revision": 3}),
        (m.SendMessage(HASH, MessageMode.QUEUE, "t", "ada"), {"text_sha256": HASH, "mode": "QUEUE"}),
        (m.AnswerInput("i1", HASH, "ada"), {"input": "i1", "answer_sha256": HASH, "share": False}),
        (
            m.ResolveApproval("i1", Decision.EDIT, HASH, SECRET, "ada", HASH, Budget(cost_micros=9)),
            {
                "input": "i1",
                "decision": "EDIT",
                "repeated_sha256": HASH,
                "edit_sha256": HASH,
                "budget": {"cost_micros": 9},
            },
        ),
    ],
)
def test_each_command_is_told_without_its_texts(command: m.Control, facts: dict[str, Any]) -> None:
    said = command_facts(command)
    assert {name: fact for name, fact in said.items() if fact is not None} == facts
    assert SECRET not in details_of(said)
