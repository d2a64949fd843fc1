"""Bytes that are no request are answered like any other bad request, whoever sends them, and leave no trace in the log."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.rpc.surface.trials import check_log
from tests.rpc.surface.world import Place
from tests.rpc.wire import Wire, connected, explained
from tests.server_process import ServerProcess

NO_UTF8 = b"\x0a\x02\xff\xfe"


async def _answer(call: Any) -> tuple[str, str, dict[str, str]]:
    reply = call if isinstance(call, grpc.aio.UnaryUnaryCall) else call.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reply
    told = explained(caught.value)
    return told.code.name, told.reason, told.violations


@pytest.mark.parametrize("wire_bytes", [NO_UTF8, b"\xff", b"\x0a\x05a", b"\x0b" * 200], ids=repr)
async def test_they_are_refused_as_a_whole_by_every_kind_of_method(wire: Wire, wire_bytes: bytes) -> None:
    channel: Any = wire.channel
    metadata = wire.metadata
    calls: dict[str, Any] = {
        "orcs.v1.GetWorkflowRequest": channel.unary_unary("/orcs.v1.WorkflowService/GetWorkflow"),
        "orcs.v1.WatchWorkflowRequest": channel.unary_stream("/orcs.v1.WorkflowService/WatchWorkflow"),
        "grpc.health.v1.HealthCheckRequest": channel.unary_unary("/grpc.health.v1.Health/Check"),
    }
    for name, call in calls.items():
        code, reason, violations = await _answer(call(wire_bytes, metadata=metadata))
        assert (code, reason, set(violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", {""})
        assert name in violations[""]
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
    assert (await _answer(watch(wire_bytes)))[:2] == ("INVALID_ARGUMENT", "FIELD_INVALID")
    reflection = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    asked = reflection(metadata=metadata)
    await asked.write(wire_bytes)
    assert (await _answer(asked))[:2] == ("INVALID_ARGUMENT", "FIELD_INVALID")


async def test_whoever_has_no_token_learns_nothing_of_them(orcs_server_process: ServerProcess) -> None:
    async with connected(orcs_server_process.address, None) as nobody:
        call: Any = nobody.channel.unary_unary("/orcs.v1.WorkflowService/GetWorkflow")
        assert (await _answer(call(NO_UTF8)))[:2] == ("UNAUTHENTICATED", "TOKEN_MISSING")


async def test_the_log_does_not_grow_with_them(place: Place) -> None:
    before = len(place.log())
    async with connected(place.address, None) as nobody:
        for path in ("/orcs.v1.WorkflowService/GetWorkflow", "/grpc.health.v1.Health/Check"):
            call: Any = nobody.channel.unary_unary(path)
            await _answer(call(NO_UTF8))
        sound: Any = nobody.channel.unary_unary("/grpc.health.v1.Health/Check")
        reply = health_pb2.HealthCheckResponse.FromString(await sound(b""))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    check_log(place.log()[before:])
