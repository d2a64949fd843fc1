"""A pending input as a message, without its texts."""

from __future__ import annotations

from orcs_client.v1 import workflow_pb2
from orcs_server.rpc.conversion import enums
from orcs_server.rpc.conversion.times import optional_timestamp, timestamp
from orcs_server.service.inbox import permission_for
from orcs_server.workflow.people import IfUnanswered, PendingInput


def pending_input(workflow_id: str, title: str, asked: PendingInput) -> workflow_pb2.PendingInput:
    """Return a pending input without its texts."""
    need = asked.need
    return workflow_pb2.PendingInput(
        id=asked.id,
        kind=enums.INPUT_KIND.to_wire(need.kind),
        workflow_id=workflow_id,
        task_id=asked.task_id,
        attempt=asked.attempt,
        prompt=need.prompt,
        subject_sha256=need.shown or "",
        permission=permission_for(need.kind),
        create_time=timestamp(asked.created_us),
        deadline_time=optional_timestamp(asked.deadline_us),
        workflow_title=title,
        fails_if_unanswered=need.if_unanswered is IfUnanswered.FAIL,
        resolution=enums.INPUT_RESOLUTION.optional(asked.resolution),
        answer_sha256=asked.answer or "",
        reason=asked.reason,
        principal=asked.principal,
        resolve_time=optional_timestamp(asked.resolved_us),
        shared=asked.shared,
    )
