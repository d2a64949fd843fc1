"""From what waits for people to messages."""

from __future__ import annotations

from collections.abc import Iterator

from orcs_client.v1 import common_pb2, control_service_pb2, workflow_pb2
from orcs_server.rpc.conversion.inputs import pending_input
from orcs_server.rpc.conversion.streams import StreamMessage, row_messages
from orcs_server.rpc.conversion.workflows import content_part
from orcs_server.service.cursors import NamespaceCursors
from orcs_server.service.inbox import InputTexts
from orcs_server.service.watchinginbox import InputsBatch
from orcs_server.storage.people import StoredInput
from orcs_server.workflow.people import InputKind


def stored_input(stored: StoredInput) -> workflow_pb2.PendingInput:
    return pending_input(stored.workflow_id, stored.title, stored.input)


def full_input(stored: StoredInput, texts: InputTexts) -> workflow_pb2.PendingInput:
    """Return a pending input with its texts."""
    message = stored_input(stored)
    need = stored.input.need
    message.answer_schema = texts.answer_schema or ""
    if texts.subject is not None:
        message.subject.CopyFrom(content_part("application/json", texts.subject))
    message.subject_incomplete = texts.subject_incomplete
    for task in texts.subject_tasks:
        message.subject_tasks.add(
            task_id=task.id, title=task.title, description=task.description, output_schema=task.output_schema
        )
    as_json = need.answer_schema is not None or need.kind is InputKind.TOOL_APPROVAL
    for field, data in (("default_answer", texts.default), ("answer", texts.answer)):
        if data is not None:
            part: common_pb2.Part = getattr(message, field)
            part.CopyFrom(content_part("application/json" if as_json else "text/plain", data))
    return message


def inputs_messages(batch: InputsBatch, cursors: NamespaceCursors) -> Iterator[StreamMessage]:
    """Yield the messages of a batch, at least one."""
    last = control_service_pb2.WatchPendingInputsResponse(
        removed_workflow_ids=batch.removed,
        snapshot_complete=batch.snapshot_complete,
        bookmark=batch.bookmark,
        cursor="" if batch.unfinished else cursors.at(batch.position),
    )
    return row_messages("inputs", map(stored_input, batch.inputs), last)
