"""What every call has in common: who makes it, its span, its answer when something goes wrong."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from orcs_server.errors import OrcsError, ResourceExhausted
from orcs_server.identity import Caller
from orcs_server.rpc.callers import Callers, value_of
from orcs_server.rpc.conversion.streams import StreamMessage
from orcs_server.rpc.decoding import decoded
from orcs_server.rpc.errors import Refusal, refusal
from orcs_server.telemetry import OpenSpan, Telemetry

SLOW_AFTER_S: Final = 30.0
"""How long a stream waits for a reader that takes nothing."""
REFUSE_S: Final = 2.0
"""How long a refusal may take: a reader that takes nothing does not take the refusal either."""

_log = logging.getLogger("orcs.rpc")
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class SlowConsumer(ResourceExhausted):
    """The reader of a stream took nothing for too long. Watching again after `cursor` misses nothing."""

    def __init__(self, seconds: float, cursor: str) -> None:
        super().__init__(
            "SLOW_CONSUMER",
            f"Nothing was read from the stream for {seconds:g} s, so it was ended: watch again after the last cursor.",
        )
        self.cursor = cursor


class Context(Protocol):
    """The part of gRPC's context that is used here; both kinds of handlers get one."""

    def invocation_metadata(self) -> Any: ...

    async def write(self, message: bytes, /) -> None: ...

    async def send_initial_metadata(self, metadata: tuple[()], /) -> None: ...

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any, /) -> None: ...


class StreamCall:
    """A call that is answered with a stream."""

    def __init__(self, context: Context, identify: Callable[[], Caller], slow_after_s: float) -> None:
        self.identify = identify
        """Returns the caller as it is now; raises when it is no longer welcome."""
        self._context = context
        self._slow_after_s = slow_after_s
        self._cursor = ""

    async def accept(self) -> None:
        """Let the client know that the stream stands, however long its first message takes."""
        await self._context.send_initial_metadata(())

    async def send(self, message: StreamMessage) -> None:
        """Send a message. Raises `SlowConsumer` if nobody takes it."""
        try:
            async with asyncio.timeout(self._slow_after_s):
                await self._context.write(message.wire)
        except TimeoutError:
            raise SlowConsumer(self._slow_after_s, self._cursor) from None
        self._cursor = message.cursor or self._cursor


class Calls:
    """Stands in front of every method."""

    def __init__(self, callers: Callers, telemetry: Telemetry, *, slow_after_s: float = SLOW_AFTER_S) -> None:
        self._callers = callers
        self._telemetry = telemetry
        self._slow_after_s = slow_after_s

    def handlers(self, service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
        """Return the handlers of a service.

        For the method `GetTask` the servicer has `async def get_task(self, request, caller) -> reply`; for one that is answered
        with a stream, `async def watch_tasks(self, request, call) -> None`, where `call` is a `StreamCall`.
        """
        handlers = {
            method.name: self._handler(method, getattr(servicer, _CAPITAL.sub("_", method.name).lower()))
            for method in service.methods
        }
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _handler(
        self, method: MethodDescriptor, behave: Callable[..., Awaitable[Any]]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        kind = message_factory.GetMessageClass(method.input_type)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(method.name, kind, behave), None, _as_it_is)
        return grpc.unary_unary_rpc_method_handler(self._unary(method.name, kind, behave), None, _serialised)

    def _unary(self, name: str, kind: type[Message], behave: Callable[[Any, Caller], Awaitable[Any]]) -> Any:
        async def call(wire: bytes, context: Context) -> Any:
            metadata = context.invocation_metadata()
            reply: Any = None
            with self._telemetry.rpc_span(name, value_of(metadata, "traceparent")) as span:
                try:
                    caller = self._callers.identify(metadata, span.traceparent)
                    span.note("orcs.namespace", caller.namespace)
                    reply = await behave(decoded(kind, wire), caller)
                    refused = None
                except Exception as error:  # noqa: BLE001 - every error becomes a status, here and nowhere else
                    refused = _refused(error, name, span)
            if refused is not None:
                await _refuse(context, refused)
            return reply

        return call

    def _stream(self, name: str, kind: type[Message], behave: Callable[[Any, StreamCall], Awaitable[None]]) -> Any:
        async def call(wire: bytes, context: Context) -> None:
            metadata = context.invocation_metadata()
            with self._telemetry.rpc_span(name, value_of(metadata, "traceparent")) as span:

                def identify() -> Caller:
                    return self._callers.identify(metadata, span.traceparent)

                try:
                    span.note("orcs.namespace", identify().namespace)
                    await behave(decoded(kind, wire), StreamCall(context, identify, self._slow_after_s))
                    refused = None
                except Exception as error:  # noqa: BLE001 - as above
                    refused = _refused(error, name, span)
            if refused is not None:
                await _refuse(context, refused)

        return call


def _refused(error: Exception, name: str, span: OpenSpan) -> Refusal:
    span.outcome = error.reason if isinstance(error, OrcsError) else "INTERNAL"
    return refusal(error, name)


async def _refuse(context: Context, refused: Refusal) -> None:
    """End the call with a status, which gRPC does by an exception."""
    try:
        async with asyncio.timeout(REFUSE_S):
            await context.abort(refused.code, refused.message, refused.trailers)
    except TimeoutError:
        # The status lies in the connection until its reader takes it, or the connection ends. There is nothing more to do here.
        _log.info("a client took not even the status %s", refused.code.name)
        raise asyncio.CancelledError from None


def _serialised(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _as_it_is(message: bytes) -> bytes:
    return message
