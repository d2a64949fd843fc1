"""From batches of a watch to messages of a stream: many events to a message, no message over 1 MiB, nothing serialised twice.

A reply is put together from serialised pieces (a tag, a length, the bytes), which is the same on the wire as one message that
was serialised as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from orcs_client.v1 import workflow_service_pb2
from orcs_server.engines.feed import DeltaChunk
from orcs_server.rpc.conversion import enums, workflows
from orcs_server.rpc.conversion.events import event_bytes
from orcs_server.service.cursors import NamespaceCursors, WorkflowCursors
from orcs_server.service.watching import SnapshotPart, StreamEnd, WatchBatch
from orcs_server.service.watchingall import WorkflowsBatch

MESSAGE_BYTES = 128 * 1024
"""Pieces are added to a message up to this. A reader that takes nothing keeps one such message in memory for as long as its
connection lives, so it is small."""
DELTA_CHARACTERS = 32_000
"""A longer text is handed over in pieces: so many characters are less than a message in any script."""

_Reply = workflow_service_pb2.WatchWorkflowResponse


class StreamMessage(NamedTuple):
    """A serialised reply, and the cursor in it; "" where there is none yet."""

    wire: bytes
    cursor: str


def _tag(message: type[Message], field: str) -> bytes:
    """Return the first bytes of a length-delimited field."""
    return _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | 2)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


_EVENTS = _tag(_Reply, "events")
_SNAPSHOT = _tag(_Reply, "snapshot")
_SNAPSHOT_WORKFLOW = _tag(workflow_service_pb2.WorkflowSnapshot, "workflow")
_SNAPSHOT_TASKS = _tag(workflow_service_pb2.WorkflowSnapshot, "tasks")


class _Pieces:
    """Serialised fields of one message, up to its size limit."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def full_for(self, data: bytes) -> bool:
        return self.size > 0 and self.size + len(data) > MESSAGE_BYTES

    def add(self, tag: bytes, data: bytes) -> None:
        self._parts += (tag, _varint(len(data)), data)
        self.size += len(data) + 8

    def take(self) -> bytes:
        """Return what is there, and begin anew."""
        joined = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return joined


def watch_messages(batch: WatchBatch, cursors: WorkflowCursors) -> Iterator[StreamMessage]:
    """Yield the messages of a batch, at least one."""
    if batch.snapshot is not None:
        yield from _snapshot_messages(batch.snapshot, cursors.at(batch.seq))
        return
    pieces = _Pieces()
    sent = 0
    for record in batch.records:
        data = event_bytes(record)
        if pieces.full_for(data):
            yield _with_cursor(pieces.take(), cursors.at(sent))
        pieces.add(_EVENTS, data)
        sent = record.seq
    cursor = cursors.at(batch.seq)
    room = MESSAGE_BYTES - pieces.size
    deltas: list[workflow_service_pb2.Delta] = []
    for delta in _deltas(batch.deltas):
        size = delta.ByteSize()
        if size > room:
            yield StreamMessage(pieces.take() + _Reply(cursor=cursor, deltas=deltas).SerializeToString(), cursor)
            deltas, room = [], MESSAGE_BYTES
        deltas.append(delta)
        room -= size + 8
    last = _Reply(cursor=cursor, deltas=deltas, bookmark=batch.bookmark, end=_end(batch.end))
    yield StreamMessage(pieces.take() + last.SerializeToString(), cursor)


def _with_cursor(events: bytes, cursor: str) -> StreamMessage:
    return StreamMessage(events + _Reply(cursor=cursor).SerializeToString(), cursor)


def _end(end: StreamEnd | None) -> workflow_service_pb2.StreamEnd | None:
    if end is None:
        return None
    return workflow_service_pb2.StreamEnd(state=enums.WORKFLOW_STATE.to_wire(end.status), deleted=end.deleted)


def _deltas(chunks: Sequence[DeltaChunk]) -> Iterator[workflow_service_pb2.Delta]:
    for chunk in chunks:
        for start in range(0, len(chunk.text), DELTA_CHARACTERS):
            yield workflow_service_pb2.Delta(
                task_id=chunk.task_id,
                attempt=chunk.attempt,
                offset=chunk.offset + start,
                text=chunk.text[start : start + DELTA_CHARACTERS],
            )


def _snapshot_messages(part: SnapshotPart, cursor: str) -> Iterator[StreamMessage]:
    convert = workflows.TaskMessages(part.workflow.id, part.workflow.spec).task
    pieces = _Pieces()
    if part.first:
        pieces.add(_SNAPSHOT_WORKFLOW, workflows.workflow(part.workflow).SerializeToString())
    for task in part.tasks:
        data = convert(task).SerializeToString()
        if pieces.full_for(data):
            yield StreamMessage(_in_snapshot(pieces), "")
        pieces.add(_SNAPSHOT_TASKS, data)
    if part.last:
        end = _Reply(cursor=cursor, snapshot_complete=True).SerializeToString()
        yield StreamMessage(_in_snapshot(pieces) + end, cursor)
    else:
        yield StreamMessage(_in_snapshot(pieces), "")


def _in_snapshot(pieces: _Pieces) -> bytes:
    content = pieces.take()
    return _SNAPSHOT + _varint(len(content)) + content


def workflows_messages(batch: WorkflowsBatch, cursors: NamespaceCursors) -> Iterator[StreamMessage]:
    """Yield the messages of a batch, at least one."""
    last = workflow_service_pb2.WatchWorkflowsResponse(
        removed_workflow_ids=batch.removed,
        snapshot_complete=batch.snapshot_complete,
        bookmark=batch.bookmark,
        cursor="" if batch.in_snapshot else cursors.at(batch.position),
    )
    return row_messages("workflows", map(workflows.workflow_summary, batch.workflows), last)


def row_messages(field: str, rows: Iterable[Message], last: Any) -> Iterator[StreamMessage]:
    """Yield messages with the rows in this field; `last` is all that is in the last one beside its rows.

    The cursor is in the last, since it stands for all of them.
    """
    message, room = type(last)(), MESSAGE_BYTES
    for row in rows:
        size = row.ByteSize()
        if size > room and getattr(message, field):
            yield StreamMessage(message.SerializeToString(), "")
            message, room = type(last)(), MESSAGE_BYTES
        getattr(message, field).append(row)
        room -= size + 8
    message.MergeFrom(last)
    yield StreamMessage(message.SerializeToString(), last.cursor)
