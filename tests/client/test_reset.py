"""A stream that the server's side resets, in HTTP/2's own words, is a cut like any other, and not the caller's cancellation."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded

from orcs_client import Event, OrcsClient
from orcs_client.v1 import workflow_pb2
from orcs_client.v1.workflow_service_pb2 import StreamEnd, WatchWorkflowRequest, WatchWorkflowResponse
from tests.client.scripted_server import log

EVENTS = log(5)
RESETS = (ErrorCodes.CANCEL, ErrorCodes.INTERNAL_ERROR, ErrorCodes.REFUSED_STREAM)


class Resetting:
    """Answers a watch with two events, resets it when told to, and answers the rest of it once it comes again."""

    def __init__(self, code: ErrorCodes) -> None:
        self._code = code
        self.asked: list[str] = []
        """The cursors after which it was watched."""
        self.reset: Callable[[], None] = lambda: None
        self.connections: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = H2Connection(H2Configuration(client_side=False))
        http.initiate_connection()
        bodies: dict[int, bytes] = {}
        writer.write(http.data_to_send())
        while received := await reader.read(65_536):
            for event in http.receive_data(received):
                if isinstance(event, RequestReceived):
                    bodies[event.stream_id] = b""
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id] += event.data
                elif isinstance(event, StreamEnded):
                    request = WatchWorkflowRequest.FromString(bodies[event.stream_id][5:])
                    self._answer(http, writer, event.stream_id, request)
            writer.write(http.data_to_send())

    def _answer(
        self, http: H2Connection, writer: asyncio.StreamWriter, stream: int, request: WatchWorkflowRequest
    ) -> None:
        def reset() -> None:
            http.reset_stream(stream, self._code)
            writer.write(http.data_to_send())

        self.asked.append(request.after_cursor)
        http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        if not request.after_cursor:
            http.send_data(stream, _framed(WatchWorkflowResponse(events=EVENTS[:2], cursor="c2")))
            self.reset = reset
            return
        http.send_data(stream, _framed(WatchWorkflowResponse(events=EVENTS[2:], cursor="c5")))
        end = StreamEnd(state=workflow_pb2.WORKFLOW_STATE_COMPLETED)
        http.send_data(stream, _framed(WatchWorkflowResponse(end=end, cursor="c5")))
        http.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def _framed(reply: WatchWorkflowResponse) -> bytes:
    body = reply.SerializeToString()
    return b"\x00" + struct.pack(">I", len(body)) + body


@asynccontextmanager
async def serving(resetting: Resetting) -> AsyncIterator[str]:
    writers: list[asyncio.StreamWriter] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        resetting.connections.append(asyncio.create_task(resetting.serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.close()
        await asyncio.gather(*resetting.connections)


@pytest.mark.parametrize("code", RESETS, ids=lambda code: code.name)
async def test_a_watch_goes_on_after_its_cursor_when_the_server_resets_its_stream(code: ErrorCodes) -> None:
    told: list[grpc.StatusCode | None] = []
    seen: list[int] = []
    resetting = Resetting(code)
    async with asyncio.timeout(30), serving(resetting) as address, OrcsClient(address) as client:
        async for item in client.watch("w", on_disconnect=lambda cut: told.append(cut.code)):
            assert isinstance(item, Event)
            seen.append(item.sequence)
            if seen == [1, 2]:
                # Not before they are read: what is on its way when a stream is reset is lost.
                resetting.reset()
    assert seen == [1, 2, 3, 4, 5]
    assert resetting.asked == ["", "c2"]
    assert len(told) == 1
    if code is ErrorCodes.CANCEL:
        assert told == [grpc.StatusCode.CANCELLED]
