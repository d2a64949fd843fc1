"""Letting calls in: so many at once, so many waiting, nobody crowded out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orcs_client.v1 import workflow_service_pb2
from orcs_server.app import Server
from orcs_server.errors import ResourceExhausted
from orcs_server.rpc import admission
from orcs_server.rpc.admission import Gate
from tests.rpc.servers import settings_in
from tests.rpc.wire import connected, refused


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


async def test_what_waits_gets_in_by_turns_and_what_is_too_much_is_refused_with_advice() -> None:
    gate, order = Gate(4, 6), []

    async def call(namespace: str) -> None:
        await gate.enter(namespace)
        order.append(namespace)

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(call("red"))
        await asyncio.sleep(0)
        assert order == ["red"] * 2
        with pytest.raises(ResourceExhausted) as caught:
            await gate.enter("red")
        assert caught.value.reason == "QUOTA_EXCEEDED"
        assert caught.value.retry_after_us
        group.create_task(call("blue"))
        await asyncio.sleep(0)
        assert order == ["red", "red", "blue"]
        for _ in range(3):
            gate.leave("red" if order.count("red") < 5 else "blue")
            await asyncio.sleep(0)
    assert sorted(order) == ["blue"] + ["red"] * 5


async def test_calls_that_wait_for_the_disk_keep_no_place_from_others_nor_others_from_them() -> None:
    lets = admission.Admission()
    async with asyncio.timeout(60):
        puts = [await lets.enter("red", "PutMemory") for _ in range(admission.DISK_AT_ONCE // 2)]
        gets = [await lets.enter("red", "GetMemory") for _ in range(admission.AT_ONCE // 2)]
        more = asyncio.create_task(lets.enter("red", "DeleteMemory"))
        await asyncio.sleep(0)
        assert not more.done()
        await lets.enter("blue", "PutMemory")
        gets[0].leave()
        await asyncio.sleep(0)
        assert not more.done()
        puts[0].leave()
        await more


async def test_a_call_that_goes_while_it_waits_leaves_its_place_to_others() -> None:
    gate = Gate(2, 4)
    await gate.enter("red")
    waiting = [asyncio.create_task(gate.enter("red")) for _ in range(2)]
    await asyncio.sleep(0)
    # Cancelled in the same moment in which it is given the place.
    gate.leave("red")
    waiting[0].cancel()
    await asyncio.wait((waiting[0],))
    await waiting[1]
    last = asyncio.create_task(gate.enter("red"))
    await asyncio.sleep(0)
    last.cancel()
    gate.leave("red")
    await asyncio.wait((last,))
    await gate.enter("red")
    assert waiting[0].cancelled()
    assert last.cancelled()


async def test_over_the_wire_a_refusal_says_when_to_try_again_and_others_are_served(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "REQUEST_BYTES", 2_000_000)
    settings = settings_in(tmp_path, insecure_no_auth=True)
    async with Server(settings, environ) as server, connected(str(server.address), None) as client:
        answer = await refused(client.create(query="x" * 3_000_000))
        assert (answer.code.name, answer.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        assert {"google.rpc.QuotaFailure", "google.rpc.RetryInfo"} <= set(answer.details)
        assert (await client.create(query="Compare tea and coffee", auto_start=False)).cursor


async def test_what_is_no_message_is_an_invalid_argument(tmp_path: Path, environ: dict[str, str]) -> None:
    settings = settings_in(tmp_path, insecure_no_auth=True)
    async with Server(settings, environ) as server, connected(str(server.address), None) as client:
        method: Any = client.channel.unary_unary("/orcs.v1.WorkflowService/GetWorkflow")
        answer = await refused(method(b"\xff\xff"))
        assert (answer.code.name, answer.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        health: Any = client.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert (await refused(health(b"\xff\xff"))).code.name == "INVALID_ARGUMENT"
        nothing: Any = client.channel.stream_unary(
            "/orcs.v1.WorkflowService/GetWorkflow",
            request_serializer=workflow_service_pb2.GetWorkflowRequest.SerializeToString,
        )
        assert (await refused(nothing(iter(())))).code.name == "INVALID_ARGUMENT"
