"""Watching what waits for people, over cuts."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orcs_client.snapshots import Progress
from orcs_client.streams import replies
from orcs_client.v1 import control_service_pb2, workflow_pb2
from orcs_client.v1.control_service_pb2_grpc import ControlServiceStub
from orcs_client.watching import SILENT_BEATS, heartbeat

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import grpc

    from orcs_client.connection import Connection
    from orcs_client.errors import OrcsError

_c = control_service_pb2


@dataclass(frozen=True, slots=True)
class InputsUpdate:
    """Pending inputs as they are now, and workflows that are gone. With `snapshot` these are all that wait: forget the others."""

    inputs: tuple[workflow_pb2.PendingInput, ...]
    removed_workflow_ids: tuple[str, ...]
    cursor: str
    snapshot: bool = False


async def watch_pending_inputs(
    connection: Connection,
    *,
    workflow_id: str,
    kinds: tuple[workflow_pb2.PendingInputKind.ValueType, ...],
    after_cursor: str,
    heartbeat_interval: float,
    reconnect_timeout: float | None,
    on_disconnect: Callable[[OrcsError], object] | None,
    on_reconnect: Callable[[], object] | None,
) -> AsyncGenerator[InputsUpdate, None]:
    """Yield what `OrcsClient.watch_pending_inputs` promises."""
    progress: Progress[workflow_pb2.PendingInput] = Progress(after_cursor, snapshot=not after_cursor)
    stub = ControlServiceStub(connection.watching)

    def open_stream() -> grpc.aio.UnaryStreamCall[_c.WatchPendingInputsRequest, _c.WatchPendingInputsResponse]:
        progress.begin()
        request = _c.WatchPendingInputsRequest(
            workflow_id=workflow_id,
            kinds=kinds,
            after_cursor=progress.cursor,
            heartbeat_interval=heartbeat(heartbeat_interval),
        )
        return stub.WatchPendingInputs(request, metadata=connection.metadata())

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
            came = progress.take(reply, {(one.workflow_id, one.id): one for one in reply.inputs})
            if came is not None:
                yield InputsUpdate(*came)
