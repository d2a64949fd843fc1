"""Whether the server receives work, by grpc.health.v1. Asking needs no token."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from orcs_server.errors import OrcsError, ResourceExhausted, Unavailable
from orcs_server.rpc.admission import RETRY_AFTER_US, received
from orcs_server.rpc.decoding import decoded
from orcs_server.rpc.errors import refusal
from orcs_server.rpc.patience import Patience
from orcs_server.storage.store import Store

CHECK_EVERY_S: Final = 5.0
CHECKS_AT_ONCE: Final = 64
WATCHES_AT_ONCE: Final = 1_000
ARRIVES_WITHIN_S: Final = 5.0
"""A question of a few bytes."""
SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"]

_log = logging.getLogger("orcs.rpc")

_Status = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """SERVING from when the engine takes work until it no longer does, except while the store does not answer."""

    def __init__(self, store: Store, services: tuple[str, ...]) -> None:
        self._store = store
        self._services = frozenset(("", *services))
        self._serving = False
        self._ended = False
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Say that the server receives work, and keep an eye on the store."""
        await self._look()
        self._looking = asyncio.create_task(self._keep_looking(), name="health")

    async def end(self) -> None:
        """Say, to those who watch too, that the server receives no more work."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))
        self._ended = True
        await self._say(serving=False)

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """Return the handlers of grpc.health.v1, by the names of its methods."""
        one, every = health_pb2.HealthCheckRequest, health_pb2.HealthListRequest
        return {
            "Check": self._handler(one, self._check, CHECKS_AT_ONCE),
            "Watch": self._handler(one, self._watch, WATCHES_AT_ONCE),
            "List": self._handler(every, self._list, CHECKS_AT_ONCE),
        }

    def _handler(self, request: Any, serve: Any, at_once: int) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a handler for so many calls at once. Asking needs no token, so that nobody is known to share them among."""
        free = at_once
        arrival = Patience(ARRIVES_WITHIN_S)

        async def call(_requests: object, context: Any) -> None:
            nonlocal free
            refused = None
            free -= 1
            try:
                if free < 0:
                    raise ResourceExhausted("QUOTA_EXCEEDED", f"{at_once} such calls are open already.", RETRY_AFTER_US)
                message = await received(context, arrival)
                await serve(decoded(request, message), context)
            except OrcsError as error:
                refused = refusal(error, request.DESCRIPTOR.name)
            finally:
                free += 1
            if refused is not None:
                await context.abort(refused.code, refused.message, refused.trailers)

        return grpc.stream_stream_rpc_method_handler(call, None, _serialised)

    def _status(self, service: str) -> Any:
        if service not in self._services:
            return _Status.Value("SERVICE_UNKNOWN")
        return _Status.Value("SERVING" if self._serving else "NOT_SERVING")

    async def _check(self, request: Any, context: Any) -> None:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        await context.write(health_pb2.HealthCheckResponse(status=self._status(request.service)))

    async def _list(self, _request: Any, context: Any) -> None:
        reply = health_pb2.HealthListResponse()
        for service in sorted(self._services):
            reply.statuses[service].status = self._status(service)
        await context.write(reply)

    async def _watch(self, request: Any, context: Any) -> None:
        said = None
        while True:
            status = self._status(request.service)
            if status != said:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                said = status
            # A watch that stayed would hold up the server's end.
            if self._ended:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "The server is going down.")
            async with self._changed:
                if not self._ended and self._status(request.service) == said:
                    await self._changed.wait()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            await self._look()

    async def _look(self) -> None:
        try:
            await self._store.check()
        except Unavailable:
            await self._say(serving=False)
        except Exception:  # noqa: BLE001 - see below
            # Whatever it is, a server that cannot even say how it is should get no work, and go on looking.
            _log.exception("the storage could not be looked at")
            await self._say(serving=False)
        else:
            await self._say(serving=True)

    async def _say(self, *, serving: bool) -> None:
        async with self._changed:
            self._serving = serving
            self._changed.notify_all()


def _serialised(message: Any) -> bytes:
    return bytes(message.SerializeToString())
