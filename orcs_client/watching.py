"""Watching: what the items of a watch are, and how each event comes once and in order whatever breaks in between."""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.duration_pb2 import Duration

from orcs_client.errors import GapError, InternalError, SettingsError
from orcs_client.snapshots import Progress
from orcs_client.streams import replies
from orcs_client.v1 import event_pb2, workflow_service_pb2
from orcs_client.v1.workflow_service_pb2 import Delta
from orcs_client.v1.workflow_service_pb2_grpc import WorkflowServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

    import grpc
    from google.protobuf.message import Message

    from orcs_client.connection import Connection
    from orcs_client.errors import OrcsError
    from orcs_client.v1 import workflow_pb2

HEARTBEAT = 15.0
"""Seconds of silence after which a server sends a bookmark; after three times as many a stream counts as cut."""
SILENT_BEATS = 3

_IN_MESSAGE = re.compile(r"(?P<cursor>.*)~(?P<sequence>[0-9]{1,18})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened, and the cursor after which a watch goes on with exactly the next event."""

    message: event_pb2.Event
    cursor: str

    @property
    def sequence(self) -> int:
        """The place in the workflow's log: 1, 2, 3 and so on."""
        return self.message.sequence

    @property
    def type(self) -> event_pb2.EventType.ValueType:
        """What kind of event it is; EVENT_TYPE_UNSPECIFIED for a kind that this version of the client does not know."""
        name = self.message.WhichOneof("body")
        return event_pb2.EventType.Value("EVENT_TYPE_UNSPECIFIED" if name is None else f"EVENT_TYPE_{name.upper()}")

    @property
    def body(self) -> Message | None:
        """What happened, such as a `TaskCompleted`; None for a kind that this version of the client does not know."""
        name = self.message.WhichOneof("body")
        if name is None:
            return None
        body: Message = getattr(self.message, name)
        return body


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A workflow and all of its tasks as they were at one moment; the events go on after `cursor`."""

    workflow: workflow_pb2.Workflow
    tasks: tuple[workflow_pb2.Task, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class WorkflowsUpdate:
    """Workflows as they are now, and those that are gone. With `snapshot` these are all there are: forget the others."""

    workflows: tuple[workflow_pb2.WorkflowSummary, ...]
    removed_workflow_ids: tuple[str, ...]
    cursor: str
    snapshot: bool = False


WatchItem: TypeAlias = Snapshot | Event | Delta


class _Place:
    """How far a watch has come: after which cursor of the server, and from which event on nothing may be missing.

    A server gives one cursor for many events. Between them the place is written as the cursor before and the last event's
    number, `CURSOR~NUMBER`: asking again after that cursor brings some events twice, which the number tells.
    """

    def __init__(self, after_cursor: str, *, complete: bool, from_first: bool) -> None:
        match = _IN_MESSAGE.fullmatch(after_cursor)
        self.cursor = after_cursor if match is None else match["cursor"]
        self.sequence: int | None = 0 if from_first else None
        """The number of the last event; None where it is not known, as after a server's cursor."""
        if match is not None:
            self.sequence = int(match["sequence"])
        self._complete = complete

    def events(self, reply: workflow_service_pb2.WatchWorkflowResponse) -> Iterator[Event]:
        """Yield the reply's new events and move on to its cursor. Raises `GapError` where one is missing before an event."""
        newest = len(reply.events) - 1
        for index, message in enumerate(reply.events):
            known, sequence = self.sequence, message.sequence
            if known is not None and sequence <= known:
                continue
            if self._complete and known is not None and sequence != known + 1:
                raise GapError(
                    f"the stream went from event {known} to {sequence}: watch again after the last cursor, and if the gap is "
                    "still there, report it to whoever runs the server"
                )
            self.sequence = sequence
            whole = index == newest and reply.cursor
            yield Event(message, reply.cursor if whole else f"{self.cursor}~{sequence}")
        self.cursor = reply.cursor or self.cursor


async def watch_workflow(
    connection: Connection,
    workflow_id: str,
    *,
    after_cursor: str,
    snapshot: bool,
    deltas: bool,
    event_types: Iterable[event_pb2.EventType.ValueType],
    heartbeat_interval: float,
    reconnect_timeout: float | None,
    on_disconnect: Callable[[OrcsError], object] | None,
    on_reconnect: Callable[[], object] | None,
) -> AsyncGenerator[WatchItem, None]:
    """Yield what `OrcsClient.watch` promises."""
    if snapshot and after_cursor:
        raise SettingsError("a watch goes on after a cursor or starts with a snapshot, not both")
    wanted = tuple(event_types)
    place = _Place(after_cursor, complete=not wanted, from_first=not (snapshot or after_cursor))
    parts: list[workflow_service_pb2.WorkflowSnapshot] = []
    stub = WorkflowServiceStub(connection.watching)

    def open_stream() -> grpc.aio.UnaryStreamCall[
        workflow_service_pb2.WatchWorkflowRequest, workflow_service_pb2.WatchWorkflowResponse
    ]:
        parts.clear()  # a snapshot that was cut off starts again
        request = workflow_service_pb2.WatchWorkflowRequest(
            workflow_id=workflow_id,
            after_cursor=place.cursor,
            snapshot=snapshot,
            event_types=wanted,
            include_deltas=deltas,
            heartbeat_interval=heartbeat(heartbeat_interval),
        )
        return stub.WatchWorkflow(request, metadata=connection.metadata())

    stream = replies(
        connection,
        open_stream,
        longest_silence=SILENT_BEATS * heartbeat_interval,
        reconnect_timeout=reconnect_timeout,
        on_disconnect=on_disconnect,
        on_reconnect=on_reconnect,
    )
    async with aclosing(stream):
        async for reply in stream:
            if reply.HasField("snapshot"):
                parts.append(reply.snapshot)
            if reply.snapshot_complete:
                place.cursor = reply.cursor
                snapshot = False
                yield _assembled(parts, reply.cursor)
                parts.clear()
            if not snapshot:
                for event in place.events(reply):
                    yield event
            for delta in reply.deltas:
                yield delta
            if reply.HasField("end"):
                return


async def watch_workflows(
    connection: Connection,
    workflow_filter: workflow_pb2.WorkflowFilter | None,
    *,
    after_cursor: str,
    snapshot: bool,
    heartbeat_interval: float,
    reconnect_timeout: float | None,
    on_disconnect: Callable[[OrcsError], object] | None,
    on_reconnect: Callable[[], object] | None,
) -> AsyncGenerator[WorkflowsUpdate, None]:
    """Yield what `OrcsClient.watch_workflows` promises."""
    if snapshot and after_cursor:
        raise SettingsError("a watch goes on after a cursor or starts with a snapshot, not both")
    progress: Progress[workflow_pb2.WorkflowSummary] = Progress(after_cursor, snapshot=snapshot)
    stub = WorkflowServiceStub(connection.watching)

    def open_stream() -> grpc.aio.UnaryStreamCall[
        workflow_service_pb2.WatchWorkflowsRequest, workflow_service_pb2.WatchWorkflowsResponse
    ]:
        progress.begin()
        request = workflow_service_pb2.WatchWorkflowsRequest(
            filter=workflow_filter,
            after_cursor=progress.cursor,
            snapshot=progress.snapshot,
            heartbeat_interval=heartbeat(heartbeat_interval),
        )
        return stub.WatchWorkflows(request, metadata=connection.metadata())

    stream = replies(
        connection,
        open_stream,
        longest_silence=SILENT_BEATS * heartbeat_interval,
        reconnect_timeout=reconnect_timeout,
        on_disconnect=on_disconnect,
        on_reconnect=on_reconnect,
    )
    async with aclosing(stream):
        async for reply in stream:
            came = progress.take(reply, {one.id: one for one in reply.workflows})
            if came is not None:
                yield WorkflowsUpdate(*came)


def _assembled(parts: list[workflow_service_pb2.WorkflowSnapshot], cursor: str) -> Snapshot:
    if not parts:
        raise InternalError("the server said that its snapshot was whole, but sent none")
    return Snapshot(parts[0].workflow, tuple(task for part in parts for task in part.tasks), cursor)


def heartbeat(seconds: float) -> Duration:
    """Return the interval of bookmarks as a message. Raises `SettingsError` for one that no server keeps."""
    if not 1 <= seconds <= 300:
        raise SettingsError(f"the heartbeat interval is {seconds:g} seconds: it must be from 1 to 300")
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1_000_000))
    return duration
