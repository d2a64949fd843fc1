"""What the result of an agent's run, or an error, comes to: an outcome for the engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from orcs_server.agents.planner import PlannerOutput
from orcs_server.agents.runner import AgentResult
from orcs_server.errors import OrcsError, PermissionDenied, PermissionUnknown
from orcs_server.executor.outcome import AttemptOutcome, PlanOutcome
from orcs_server.executor.planning import PlanTexts, problems_of, to_tasks
from orcs_server.storage.store import blob_of
from orcs_server.workflow.model import Failure, FailureKind, Output


def store_output(result: AgentResult, max_bytes: int, *, untrusted: bool) -> AttemptOutcome:
    """Return the outcome of an attempt whose run came to this."""
    if result.halted:
        return AttemptOutcome(blobs=result.blobs, needs=result.needs, stopped=True)
    if result.failure is not None:
        return AttemptOutcome(failure=result.failure)
    blob = blob_of(result.text.encode("utf-8", "replace"))
    if len(blob.data) > max_bytes:
        return AttemptOutcome(
            failure=Failure(
                FailureKind.INVALID_OUTPUT,
                f"The output has {len(blob.data)} bytes, more than the {max_bytes} allowed. Ask for a shorter one, or raise "
                "limits.max_output_bytes.",
            )
        )
    output = Output(blob.digest, result.media_type, len(blob.data), untrusted)
    return AttemptOutcome(output, blobs=(blob,))


def read_plan(result: AgentResult, stays: Sequence[str], taken: Collection[str], *, untrusted: bool) -> PlanOutcome:
    """Return the outcome of a planning whose run came to this; `taken` are ids that its tasks may not have."""
    if result.halted:
        return PlanOutcome(blobs=result.blobs, needs=result.needs, stopped=True)
    if result.failure is not None:
        return PlanOutcome(failure=result.failure, problems=result.problems)
    answer: PlannerOutput = result.output
    mistakes = problems_of(answer, stays)
    if mistakes:
        return PlanOutcome(failure=Failure(FailureKind.PLAN_INVALID, mistakes[0][:1000]), problems=mistakes)
    texts = PlanTexts()
    tasks = to_tasks(answer, texts, taken, untrusted=untrusted)
    return PlanOutcome(tasks, blobs=texts.blobs)


def failure_of(error: OrcsError) -> Failure:
    """Return an error as the failure of an attempt: what may go away by itself is tried again."""
    denied = isinstance(error, PermissionDenied) and not isinstance(error, PermissionUnknown)
    kind = FailureKind.PERMISSION_DENIED if denied else FailureKind.INTERNAL
    return Failure(kind, error.message, retryable=kind is FailureKind.INTERNAL)


def unknown_agent(agent_id: str) -> Failure:
    """Return the failure of an attempt whose agent is gone."""
    return Failure(
        FailureKind.UNKNOWN_AGENT,
        f"There is no agent {agent_id!r} on this server any more. Start it with the configuration or registry that has it, "
        "then create the workflow again.",
    )
