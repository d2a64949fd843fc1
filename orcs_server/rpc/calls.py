"""What every call has in common: who makes it, its span, its answer when something goes wrong."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeVar, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from orcs_server.errors import OrcsError, ResourceExhausted
from orcs_server.identity import Caller
from orcs_server.rpc.admission import Admission, Entry
from orcs_server.rpc.callers import Callers, value_of
from orcs_server.rpc.conversion.streams import StreamMessage
from orcs_server.rpc.decoding import decoded
from orcs_server.rpc.errors import Refusal, refusal
from orcs_server.rpc.leases import Leases
from orcs_server.rpc.patience import Patience
from orcs_server.service.auditing import Auditing
from orcs_server.service.trails import Trail, current_trail, on_trail
from orcs_server.telemetry import OpenSpan, Telemetry, trace_fields

SLOW_AFTER_S: Final = 30.0
"""How long a stream waits for a reader that takes nothing."""
SLOW_RETRY_US: Final = 1_000_000
REFUSE_S: Final = 2.0
"""How long a refusal may take: a reader that takes nothing does not take the refusal either."""

_log = logging.getLogger("orcs.rpc")
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
B = TypeVar("B")
_Serve = Callable[[Any, "StreamCall"], Awaitable[None]]


class SlowConsumer(ResourceExhausted):
    """The reader of a stream took nothing for too long. Watching again after `cursor` misses nothing."""

    def __init__(self, seconds: float, cursor: str) -> None:
        super().__init__(
            "SLOW_CONSUMER",
            f"Nothing was read from the stream for {seconds:g} s, so it was ended: watch again after the last cursor.",
            SLOW_RETRY_US,
        )
        self.cursor = cursor


class Context(Protocol):
    """The part of gRPC's context that is used here."""

    def invocation_metadata(self) -> Any: ...

    def peer(self) -> str: ...

    async def read(self) -> Any: ...

    async def write(self, message: bytes, /) -> None: ...

    async def send_initial_metadata(self, metadata: tuple[()], /) -> None: ...

    def add_done_callback(self, callback: Callable[[Any], None], /) -> None: ...

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any, /) -> None: ...


class StreamCall:
    """A call that is answered with a stream."""

    def __init__(
        self, context: Context, caller: Caller, identify: Callable[[], Caller], taking: Patience, entry: Entry
    ) -> None:
        self.caller = caller
        """As it was when the call came."""
        self.identify = identify
        """Returns the caller as it is now; raises when it is no longer welcome."""
        self._context = context
        self._taking = taking
        self._entry = entry
        self._cursor = ""

    async def accept(self) -> None:
        """Let the client know that the stream stands, however long its first message takes. It no longer keeps others out."""
        self._entry.leave()
        trail = current_trail()
        if trail is not None:
            trail.standing = True
        await self._context.send_initial_metadata(())

    async def send(self, message: StreamMessage) -> None:
        """Send a message. Raises `SlowConsumer` if nobody takes it."""
        try:
            await self._taking.wait(self._context.write(message.wire))
        except TimeoutError:
            raise SlowConsumer(self._taking.seconds, self._cursor) from None
        self._cursor = message.cursor or self._cursor

    async def follow(self, batches: AsyncGenerator[B, None], messages: Callable[[B], Iterable[StreamMessage]]) -> None:
        """Accept, and send the messages of each batch until there are no more."""
        await self.accept()
        async with aclosing(batches):
            async for batch in batches:
                for message in messages(batch):
                    await self.send(message)


class Calls:
    """Stands in front of every method."""

    def __init__(
        self, callers: Callers, telemetry: Telemetry, auditing: Auditing, *, slow_after_s: float = SLOW_AFTER_S
    ) -> None:
        self._callers = callers
        self._telemetry = telemetry
        self._auditing = auditing
        self._taking = Patience(slow_after_s)
        self.admission = Admission()
        self._leases = Leases()

    def handlers(self, service: ServiceDescriptor, servicer: object) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """Return the handlers of a service, by the names of its methods.

        For the method `GetTask` the servicer has `async def get_task(self, request, caller) -> reply`; for one that is answered
        with a stream, `async def watch_tasks(self, request, call) -> None`, where `call` is a `StreamCall`.
        """
        return {
            method.name: self._handler(method, getattr(servicer, _CAPITAL.sub("_", method.name).lower()))
            for method in service.methods
        }

    def _handler(
        self, method: MethodDescriptor, behave: Callable[..., Awaitable[Any]]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        kind = message_factory.GetMessageClass(method.input_type)
        # On the wire one message is a stream of one. So gRPC reads no request before this side asks for it.
        if method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream(method.name, kind, self._leased(behave)))
        return grpc.stream_unary_rpc_method_handler(self._unary(method.name, kind, behave))

    def _leased(self, behave: _Serve) -> _Serve:
        async def serve(request: Any, call: StreamCall) -> None:
            with self._leases.hold(call.identify):
                await behave(request, call)

        return serve

    def _stream(self, name: str, kind: type[Message], serve: _Serve) -> Any:
        async def call(_requests: object, context: Context) -> None:
            metadata = context.invocation_metadata()
            trail = Trail(name, host_of(context.peer()))
            known: Caller | None = None
            with on_trail(trail), self._telemetry.rpc_span(name, value_of(metadata, "traceparent")) as span:

                def identify() -> Caller:
                    return self._callers.identify(metadata, span.traceparent)

                try:
                    caller = known = identify()
                    span.note("orcs.namespace", caller.namespace)
                    entry = await self.admission.enter(caller.namespace, name)
                    try:
                        request = decoded(kind, await entry.receive(context))
                        trail.read(request)
                        await serve(request, StreamCall(context, caller, identify, self._taking, entry))
                    finally:
                        entry.leave()
                    refused = None
                except Exception as error:  # noqa: BLE001 - every error becomes a status, here and nowhere else
                    refused = _refused(error, name, span)
                    await self._auditing.refused(trail, known, error)
            if refused is not None:
                await _refuse(context, refused)

        return call

    def _unary(self, name: str, kind: type[Message], behave: Callable[[Any, Caller], Awaitable[Any]]) -> Any:
        async def call(_requests: object, context: Context) -> bytes:
            metadata = context.invocation_metadata()
            trail = Trail(name, host_of(context.peer()))
            known: Caller | None = None
            with on_trail(trail), self._telemetry.rpc_span(name, value_of(metadata, "traceparent")) as span:
                try:
                    caller = known = self._callers.identify(metadata, span.traceparent)
                    span.note("orcs.namespace", caller.namespace)
                    entry = await self.admission.enter(caller.namespace, name)
                    try:
                        request = decoded(kind, await entry.receive(context))
                        trail.read(request)
                        reply = (await behave(request, caller)).SerializeToString()
                    except BaseException:
                        entry.leave()
                        raise
                    self._handed_over(context, entry, name)
                    return reply  # type: ignore[no-any-return]
                except Exception as error:  # noqa: BLE001 - every error becomes a status, here and nowhere else
                    refused = _refused(error, name, span)
                    await self._auditing.refused(trail, known, error)
            await _refuse(context, refused)
            return b""  # for nobody: the status has ended the call

        return call

    def _handed_over(self, context: Context, entry: Entry, name: str) -> None:
        """Keep a call's place until its reply was taken, which gRPC does in one step with its end; give up waiting for it."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._taking.bound(task)

        def taken(_context: object) -> None:
            entry.leave()
            if not self._taking.released(task):
                _log.info("the reply of a call of %s was not taken", name)

        context.add_done_callback(taken)


def host_of(peer: str) -> str:
    """Return the address of a peer as gRPC names it, without the port."""
    kind, _, address = peer.partition(":")
    return f"{kind}:{address.rpartition(':')[0]}" if kind in ("ipv4", "ipv6") else peer


def _refused(error: Exception, name: str, span: OpenSpan) -> Refusal:
    span.outcome = error.reason if isinstance(error, OrcsError) else "INTERNAL"
    return refusal(error, name, trace_fields(span.traceparent))


async def _refuse(context: Context, refused: Refusal) -> None:
    """End the call with a status, which gRPC does by an exception."""
    try:
        async with asyncio.timeout(REFUSE_S):
            await context.abort(refused.code, refused.message, refused.trailers)
    except TimeoutError:
        # The status lies in the connection until its reader takes it, or the connection ends. There is nothing more to do here.
        _log.info("a client took not even the status %s", refused.code.name)
        raise asyncio.CancelledError from None
    except grpc.aio.InternalError:
        # gRPC itself has ended the call meanwhile: there is nobody to tell.
        _log.info("a call had ended before its status %s", refused.code.name)
        raise asyncio.CancelledError from None
