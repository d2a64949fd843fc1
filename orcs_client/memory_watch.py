"""Watching memory, over cuts."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orcs_client.streams import replies
from orcs_client.v1 import memory_pb2, memory_service_pb2
from orcs_client.v1.memory_service_pb2_grpc import MemoryServiceStub
from orcs_client.watching import SILENT_BEATS, heartbeat

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import grpc

    from orcs_client.connection import Connection
    from orcs_client.errors import OrcsError

_s = memory_service_pb2


@dataclass(frozen=True, slots=True)
class MemoryUpdate:
    """New versions, without values, in the order in which they were written, and the place to go on after."""

    entries: tuple[memory_pb2.MemoryEntry, ...]
    cursor: str


async def watch_memory(
    connection: Connection,
    *,
    scope: str,
    prefix: str,
    after_cursor: str,
    heartbeat_interval: float,
    reconnect_timeout: float | None,
    on_disconnect: Callable[[OrcsError], object] | None,
    on_reconnect: Callable[[], object] | None,
) -> AsyncGenerator[MemoryUpdate, None]:
    """Yield what `OrcsClient.watch_memory` promises."""
    cursor = after_cursor
    stands = False
    stub = MemoryServiceStub(connection.watching)

    def open_stream() -> grpc.aio.UnaryStreamCall[_s.WatchMemoryRequest, _s.WatchMemoryResponse]:
        request = _s.WatchMemoryRequest(
            scope=scope, prefix=prefix, after_cursor=cursor, heartbeat_interval=heartbeat(heartbeat_interval)
        )
        return stub.WatchMemory(request, metadata=connection.metadata())

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
            cursor = reply.cursor
            if reply.entries or not stands:
                stands = True
                yield MemoryUpdate(tuple(reply.entries), cursor)
