"""What a workflow says of itself at its end."""

from __future__ import annotations

from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import take
from orcs_server.workflow.model import Digest, Failure, FailureKind, TaskSpec, WorkflowSpec
from orcs_server.workflow.states import WorkflowStatus

REFUSED = Failure(FailureKind.REFUSED, "No.")


def test_two_failures_without_a_skipped_task_are_told_as_two_failures() -> None:
    tasks = tuple(TaskSpec(name, name, Digest("0" * 64), "a") for name in ("x", "y"))
    state, _ = take(None, m.CreateWorkflow("ns", "w", WorkflowSpec("w", agents=(("a", "1"),)), tasks), 1)
    for name in ("x", "y"):
        state, _ = take(state, m.SlotGranted(1, name), 2)
        state, _ = take(state, m.AttemptFinished(name, 1, failure=REFUSED), 3)
    assert state is not None
    assert state.status is WorkflowStatus.FAILED
    assert state.progress.failure is not None
    assert state.progress.failure.message == "2 tasks failed; first x: No."
