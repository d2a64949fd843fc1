"""A token that is revoked, replaced or expires ends every stream that is open, of whatever kind and whatever it is busy with."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from orcs_client.v1 import workflow_service_pb2
from orcs_server.errors import Unauthenticated, Unavailable
from orcs_server.identity import Caller
from orcs_server.identity.tokens import TokenRegistry
from orcs_server.rpc.leases import Leases
from tests.rpc.surface.methods import kind_of, methods
from tests.rpc.surface.table import BASE
from tests.rpc.wire import Wire, connected, explained, plan_of
from tests.server_process import ServerProcess

ANN = Caller("ann", "red")
LIMIT_S = 30.0
"""So long a stream may take to end before the test gives up; what is promised is five seconds."""


def streaming() -> list[str]:
    """Return the methods that answer with a stream without an end, as the descriptors have them: they have a heartbeat."""
    streams = (name for name, method in methods().items() if method.server_streaming)
    return [name for name in streams if "heartbeat_interval" in methods()[name].input_type.fields_by_name]


def test_there_are_streams_to_end() -> None:
    assert {"WatchWorkflow", "WatchWorkflows", "WatchMemory", "WatchPendingInputs"} <= set(streaming())


@pytest.mark.parametrize("way", ["revoked", "rotated", "expired"])
async def test_every_kind_of_stream_ends_when_its_token_does(
    orcs_server_process: ServerProcess, tmp_path: Path, way: str
) -> None:
    server, name = orcs_server_process, f"leases-{way}"
    registry = TokenRegistry(server.data)
    expires_us = time.time_ns() // 1000 + 6_000_000 if way == "expired" else None
    token = registry.create(name, name, ("operate", "administer"), expires_us)
    keeper = registry.create(name, name, ("operate",))
    async with connected(server.address, token) as wire, connected(server.address, keeper) as kept:
        await _known(wire)
        await kept.create(plan=plan_of(a=()), workflow_id="ready", auto_start=False)
        streams = {method: _open(wire, method) for method in streaming()}
        still = _open(kept, "WatchWorkflow")
        for method, stream in (*streams.items(), ("kept", still)):
            async with asyncio.timeout(LIMIT_S):
                await stream.initial_metadata()
            assert not stream.done(), method
        entry = next(one.id for one in registry.list() if one.principal == name)
        if way == "revoked":
            registry.revoke(entry)
        elif way == "rotated":
            registry.rotate(entry)
        for method, stream in streams.items():
            code, reason = await _end(stream)
            assert (code, reason) == ("UNAUTHENTICATED", "TOKEN_INVALID"), method
        # Who has another token is not disturbed.
        assert not still.done()
        still.cancel()


def _open(wire: Wire, method: str) -> Any:
    fields = {**BASE[method], "heartbeat_interval": {"seconds": 300}}
    return wire.call(method, kind_of(methods()[method].input_type)(**fields))


async def _end(stream: Any) -> tuple[str, str]:
    try:
        async with asyncio.timeout(LIMIT_S):
            while await stream.read() is not grpc.aio.EOF:
                pass
    except grpc.aio.AioRpcError as error:
        told = explained(error)
        return told.code.name, told.reason
    return str(await stream.code()), ""


async def _known(wire: Wire) -> None:
    """Wait until a running server knows a token that was just made."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                await wire.call("ListWorkflows", workflow_service_pb2.ListWorkflowsRequest())
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_a_session_of_reflection_does_not_outlive_its_token(orcs_server_process: ServerProcess) -> None:
    registry = TokenRegistry(orcs_server_process.data)
    token = registry.create("reflecting", "reflecting", ("view",))
    async with connected(orcs_server_process.address, token) as wire:
        await _known(wire)
        reflect: Any = wire.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        session = reflect(metadata=wire.metadata)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        await session.write(question)
        assert (await session.read()).list_services_response.service
        registry.revoke(next(one.id for one in registry.list() if one.principal == "reflecting"))
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _go_on_asking(session, question)
    assert explained(refused.value).reason == "TOKEN_INVALID"


async def _go_on_asking(session: Any, question: Any) -> None:
    while True:
        await session.write(question)
        await session.read()
        await asyncio.sleep(0.1)


class Doorman:
    """Lets in, until it is told otherwise."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(self) -> Caller:
        if self.error is not None:
            raise self.error
        return ANN


async def _hold(leases: Leases, doorman: Doorman, begun: asyncio.Event) -> None:
    with leases.hold(doorman):
        begun.set()
        # Such as a write that the reader does not take.
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "error", [Unauthenticated("TOKEN_INVALID", "gone"), Unavailable("STORAGE_UNAVAILABLE", "cannot be checked")]
)
async def test_a_stream_that_is_stuck_ends_with_what_its_caller_is_told(error: Exception) -> None:
    leases, doorman, begun = Leases(0.01), Doorman(), asyncio.Event()
    stream = asyncio.create_task(_hold(leases, doorman, begun))
    other = asyncio.create_task(_hold(leases, Doorman(), asyncio.Event()))
    await begun.wait()
    await asyncio.sleep(0.05)
    assert not stream.done()
    doorman.error = error
    with pytest.raises(type(error)):
        await stream
    await asyncio.sleep(0.05)
    assert not other.done()
    other.cancel()


async def test_a_client_that_goes_away_is_not_taken_for_one_that_was_sent_away() -> None:
    leases, doorman, begun = Leases(0.01), Doorman(), asyncio.Event()
    stream = asyncio.create_task(_hold(leases, doorman, begun))
    await begun.wait()
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    # Nothing is looked after any more, and the next one is.
    again = asyncio.create_task(_hold(leases, doorman, asyncio.Event()))
    await asyncio.sleep(0.03)
    doorman.error = Unauthenticated("TOKEN_INVALID", "gone")
    with pytest.raises(Unauthenticated):
        await again


async def test_a_fault_in_looking_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    leases, doorman, begun = Leases(0.01), Doorman(), asyncio.Event()
    stream = asyncio.create_task(_hold(leases, doorman, begun))
    await begun.wait()
    doorman.error = ValueError("broken")
    await asyncio.sleep(0.05)
    assert not stream.done()
    assert "could not be looked at" in caplog.text
    stream.cancel()
