"""Server reflection, for those who have a token: what the services are, told by the server itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

from orcs_server.errors import ResourceExhausted
from orcs_server.identity import Caller
from orcs_server.rpc.admission import RETRY_AFTER_US
from orcs_server.rpc.callers import Callers
from orcs_server.rpc.calls import host_of
from orcs_server.rpc.decoding import decoded
from orcs_server.rpc.errors import refusal
from orcs_server.service.auditing import Auditing
from orcs_server.service.trails import Trail, on_trail

NAMES: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""The messages of both versions are the same on the wire; newer tools ask for the first, older ones for the second."""

SESSIONS: Final = 64
"""Open at once. Who has one open is not known before its first question."""
_FULL: Final = ResourceExhausted("QUOTA_EXCEEDED", f"{SESSIONS} reflection sessions are open already.", RETRY_AFTER_US)


def reflection_handlers(
    services: tuple[str, ...],
    callers: Callers,
    authorise: Callable[[Caller, str], Awaitable[object]],
    auditing: Auditing,
) -> tuple[grpc.GenericRpcHandler, ...]:
    """Return the handlers of reflection over these services."""
    servicer = aio.ReflectionServicer((*services, NAMES[1]))

    async def admitted(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        # Refused after a question and not before: a client that is still writing would miss why. Each is looked at anew, since a
        # token may be revoked in the midst of a session.
        async for wire in requests:
            request = None
            try:
                await admit(context)
                request = decoded(reflection_pb2.ServerReflectionRequest, wire)
            except Exception as error:  # noqa: BLE001 - every error becomes a status
                refused = refusal(error, "ServerReflectionInfo")
                await context.abort(refused.code, refused.message, refused.trailers)
            yield request

    async def admit(context: Any) -> None:
        caller: Caller | None = None
        with on_trail(Trail("ServerReflectionInfo", host_of(context.peer()))) as trail:
            try:
                caller = callers.identify(context.invocation_metadata())
                await authorise(caller, "system.reflect")
            except Exception as error:
                await auditing.refused(trail, caller, error)
                raise

    free = SESSIONS

    async def reflect(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        nonlocal free
        if free <= 0:
            refused = refusal(_FULL, "ServerReflectionInfo")
            await context.abort(refused.code, refused.message, refused.trailers)
        free -= 1
        try:
            async for reply in servicer.ServerReflectionInfo(admitted(requests, context), context):
                yield reply
        finally:
            free += 1

    handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
        reflect,
        None,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return tuple(grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}) for name in NAMES)
