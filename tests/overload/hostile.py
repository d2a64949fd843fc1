"""Clients that do what no good client does, on plain sockets: they say nothing, half of something, or too much, or take nothing."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import Self

from google.protobuf.message import Message
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RemoteSettingsChanged, ResponseReceived, StreamEnded, TrailersReceived
from h2.exceptions import ProtocolError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
HALF_OF_HEADERS = b"\x00\x10\x00\x01\x04\x00\x00\x00\x01" + b"\x00" * 10
"""A frame that announces 4,096 bytes of headers and brings ten."""
PATIENCE_S = 60.0


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)


def vanish(connection: socket.socket) -> None:
    """Go without a word: the other side gets a reset, and not the end of a conversation."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class RawClient:
    """Speaks HTTP/2 as it likes. Its windows are never opened, unless it drains."""

    def __init__(self, address: str, token: str) -> None:
        self._token = token
        self._http = H2Connection(H2Configuration(client_side=True))
        self.socket = connect(address)
        self._http.initiate_connection()
        self._flush()
        while not any(isinstance(event, RemoteSettingsChanged) for event in self._events()):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def call(self, method: str, request: Message | None = None, *, sent: float = 1.0) -> int:
        """Begin a call; of the request so much is sent, and only a whole one is ended. Returns the number of the stream."""
        stream = self._http.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/{method}"),
            (":authority", "orcs"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("authorization", f"Bearer {self._token}"),
        ]
        self._http.send_headers(stream, headers)
        if request is not None:
            body = request.SerializeToString()
            framed = b"\x00" + struct.pack(">I", len(body)) + body
            self._http.send_data(stream, framed[: int(len(framed) * sent)], end_stream=sent >= 1)
        self._flush()
        return stream

    def reset(self, stream: int) -> None:
        """Take a call back."""
        self._http.reset_stream(stream, ErrorCodes.CANCEL)
        self._flush()

    def begun(self, streams: set[int]) -> None:
        """Return once the replies of these streams have begun, and take no more of them than has come."""
        left = set(streams)
        ends = time.monotonic() + PATIENCE_S
        while left:
            assert time.monotonic() < ends, f"{len(left)} replies did not begin"
            left -= {event.stream_id for event in self._events() if isinstance(event, ResponseReceived)}

    def drain(self, streams: set[int]) -> dict[int, dict[str, str]]:
        """Take everything at last; return the trailers of these streams."""
        left, trailers = set(streams), {}
        ends = time.monotonic() + PATIENCE_S
        self._http.increment_flow_control_window(2**30)
        for stream in streams:
            self._http.increment_flow_control_window(2**30, stream)
        self._flush()
        while left:
            assert time.monotonic() < ends, f"{len(left)} streams did not end"
            for event in self._events():
                if isinstance(event, TrailersReceived | ResponseReceived):
                    trailers[event.stream_id] = {str(key): str(value) for key, value in _texts(event.headers)}
                elif isinstance(event, StreamEnded):
                    left.discard(event.stream_id)
                elif isinstance(event, DataReceived):
                    continue
            self._flush()
        return trailers

    def _events(self) -> list[Event]:
        received = self.socket.recv(65_536)
        assert received, "the server closed the connection"
        return list(self._http.receive_data(received))

    def _flush(self) -> None:
        self.socket.sendall(self._http.data_to_send())


def _texts(headers: object) -> list[tuple[str, str]]:
    return [
        tuple(part.decode() if isinstance(part, bytes) else str(part) for part in header)  # type: ignore[misc]
        for header in headers  # type: ignore[attr-defined]
    ]


def reset_rapidly(address: str, token: str, method: str, request: Message, count: int) -> int:
    """Begin so many calls and take each back at once; return how many the server let happen before it hung up."""
    done = 0
    with RawClient(address, token) as client, contextlib.suppress(OSError, ProtocolError):
        for _ in range(count):
            client.reset(client.call(method, request))
            done += 1
    return done


def wait_until(so: Callable[[], bool], what: str) -> None:
    """Wait for something that nobody tells of."""
    ends = time.monotonic() + PATIENCE_S
    while not so():
        assert time.monotonic() < ends, f"waited in vain for {what}"
        time.sleep(0.05)
