"""Quotas and usage as a client meets them: who is refused what, what is said of it, and that nobody else is told."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from orcs_client.v1 import (
    common_pb2,
    control_service_pb2,
    explanation_pb2,
    memory_pb2,
    memory_service_pb2,
    usage_service_pb2,
    workflow_service_pb2,
)
from orcs_server.app import Server
from orcs_server.identity.quotas import date_of, day_of
from tests.rpc.servers import settings_in
from tests.rpc.wire import Refused, Wire, broken_off, connected, explained, plan_of, refused

_u, _w, _m = usage_service_pb2, workflow_service_pb2, memory_service_pb2
NOW = _u.GetUsageRequest()


class Tenants:
    """A server with a client of each namespace."""

    def __init__(self, server: Server, red: Wire, blue: Wire) -> None:
        self.server = server
        self.red = red
        self.blue = blue


@asynccontextmanager
async def tenants(folder: Path, **quota: int) -> AsyncIterator[Tenants]:
    """Run a server on which the namespace red has this quota, and blue none."""
    settings = settings_in(folder, namespaces={"red": quota})
    async with Server(settings, {"XDG_STATE_HOME": str(folder)}) as server:
        assert server.registry is not None
        tokens = {name: server.registry.create("ann", name, ("operate", "view")) for name in ("red", "blue")}
        address = str(server.address)
        async with connected(address, tokens["red"]) as red, connected(address, tokens["blue"]) as blue:
            yield Tenants(server, red, blue)


async def usage(wire: Wire, days: int = 0) -> Any:
    return await wire.call("GetUsage", _u.GetUsageRequest(days=days))


def quota_of(reply: Any, kind: str) -> Any:
    (found,) = (quota for quota in reply.quotas if quota.kind == _u.QuotaKind.Value(f"QUOTA_KIND_{kind}"))
    return found


async def until_explained(wire: Wire, workflow_id: str, code: str) -> Any:
    """Return the reason of this kind for which the workflow waits, once there is one."""
    wanted = explanation_pb2.ReasonCode.Value(f"REASON_CODE_{code}")
    async with asyncio.timeout(20):
        while True:
            told = await wire.call("ExplainWorkflow", _w.ExplainWorkflowRequest(workflow_id=workflow_id))
            for reason in (*told.explanation.why, *(reason for one in told.tasks for reason in one.why)):
                if reason.code == wanted:
                    return reason
            await asyncio.sleep(0.01)


async def test_usage_is_that_of_the_callers_namespace_alone(tmp_path: Path) -> None:
    async with tenants(tmp_path, max_workflows=7, tokens_per_day=10**9) as world:
        empty = await usage(world.blue)
        for number in range(2):
            await world.red.create(plan=plan_of(a=(), b=("a",)), workflow_id=f"w{number}")
            await world.red.finished(f"w{number}")
        waiting = world.red.watch(workflow_id="w0", heartbeat_interval=None)
        told = await usage(world.red, 3)
        assert told.namespace == "red"
        assert [day.date for day in told.days] == [date_of(day_of(told.time.ToMicroseconds()))]
        (today,) = told.days
        summaries = (await world.red.call("ListWorkflows", _w.ListWorkflowsRequest())).workflows
        assert today.usage.requests == sum(one.usage.requests for one in summaries) >= 4
        assert today.usage.input_tokens == sum(one.usage.input_tokens for one in summaries) > 0
        assert (today.attempts, today.workflows_created, today.workflows_completed) == (4, 2, 2)
        assert {_u.QuotaKind.Name(one.kind).removeprefix("QUOTA_KIND_"): one.limit for one in told.quotas} == {
            "WORKFLOWS": 7,
            "RUNNING_TASKS": 0,
            "WATCHES": 0,
            "TOKENS_PER_DAY": 10**9,
            "COST_PER_DAY": 0,
            "BYTES": 0,
        }
        assert not quota_of(told, "BYTES").HasField("limit")
        assert quota_of(told, "BYTES").in_use > 500
        assert quota_of(told, "WORKFLOWS").in_use == 0
        tokens = quota_of(told, "TOKENS_PER_DAY")
        assert tokens.in_use == today.usage.input_tokens + today.usage.output_tokens
        assert (tokens.free_time.ToMicroseconds(), tokens.free_when) == (
            (day_of(told.time.ToMicroseconds()) + 1) * 86_400_000_000,
            "at midnight UTC",
        )
        waiting.cancel()
        # Byte for byte what it was before, the time apart.
        after = await usage(world.blue)
        for reply in (empty, after):
            reply.ClearField("time")
        assert after == empty
        assert (after.namespace, [day.attempts for day in after.days]) == ("blue", [0])


async def test_a_workflow_too_many_is_refused_with_all_that_a_program_needs(tmp_path: Path) -> None:
    async with tenants(tmp_path, max_workflows=2) as world:
        first = {"plan": plan_of(a=()), "auto_start": False, "request_id": "r0"}
        await world.red.create(workflow_id="w0", **first)
        await world.red.create(plan=plan_of(a=()), auto_start=False)
        answer = await refused(world.red.create(plan=plan_of(a=()), workflow_id="more"))
        assert (answer.code.name, answer.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        assert answer.metadata == {
            "quota": "max_workflows",
            "limit": "2",
            "in_use": "2",
            "free_when": "when a workflow ends",
        }
        assert "2 unended workflows" in answer.message
        # There is no time at which another try makes sense.
        assert answer.details == ["google.rpc.ErrorInfo", "google.rpc.QuotaFailure"]
        assert (await world.red.create(workflow_id="w0", **first)).workflow.id == "w0"
        assert quota_of(await usage(world.red), "WORKFLOWS").in_use == 2
        for _ in range(4):
            await world.blue.create(plan=plan_of(a=()), auto_start=False)
        cancelled = control_service_pb2.CancelWorkflowRequest(
            workflow_id="w0", mode=control_service_pb2.CANCEL_MODE_IMMEDIATE
        )
        await world.red.call("CancelWorkflow", cancelled)
        await world.red.create(plan=plan_of(a=()), workflow_id="more")
        await world.red.finished("more")


async def test_a_day_that_is_used_up_refuses_previews_and_creations_until_midnight(tmp_path: Path) -> None:
    async with tenants(tmp_path, tokens_per_day=1) as world:
        await world.red.create(plan=plan_of(a=(), b=("a",)), workflow_id="w")
        reason = await until_explained(world.red, "w", "QUOTA")
        assert "its quota tokens_per_day is 1" in reason.text
        told = await usage(world.red)
        free = quota_of(told, "TOKENS_PER_DAY").free_time
        assert reason.time == free
        for call in (
            world.red.create(plan=plan_of(a=())),
            world.red.call("PreviewPlan", _w.PreviewPlanRequest(query="Plan it.")),
        ):
            answer = await refused(call)
            assert (answer.reason, answer.metadata["quota"]) == ("QUOTA_EXCEEDED", "tokens_per_day")
            assert answer.metadata["free_time"] == free.ToJsonString()
            assert "google.rpc.RetryInfo" in answer.details
        # A plan that is only checked costs nothing, and nobody else is refused.
        await world.red.call("PreviewPlan", _w.PreviewPlanRequest(plan=plan_of(a=())))
        before = await usage(world.blue)
        await world.blue.call("PreviewPlan", _w.PreviewPlanRequest(query="Plan it."))
        after = await usage(world.blue)
        assert after.days[0].usage.requests == before.days[0].usage.requests + 1
        await world.blue.create(plan=plan_of(a=()), workflow_id="w")
        await world.blue.finished("w")


async def test_what_waits_for_a_quota_of_running_attempts_is_told_so(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, namespaces={"red": {"max_running_tasks": 1}}, offline_pace=5)
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server:
        assert server.registry is not None
        token = server.registry.create("ann", "red", ("operate",))
        async with connected(str(server.address), token) as red:
            await red.create(plan=plan_of(a=(), b=()), workflow_id="w")
            await red.create(query="Plan it.", workflow_id="planned")
            reason = await until_explained(red, "w", "QUOTA")
            assert "has 1 of its attempts running, and its quota max_running_tasks is 1" in reason.text
            assert not reason.HasField("time")
            assert (await until_explained(red, "planned", "QUOTA")).text in reason.text
            told = await usage(red)
            assert (quota_of(told, "RUNNING_TASKS").in_use, quota_of(told, "RUNNING_TASKS").limit) == (1, 1)


async def test_a_watch_too_many_is_refused_and_those_of_others_are_not(tmp_path: Path) -> None:
    async with tenants(tmp_path, max_watches=2) as world:
        await world.red.create(plan=plan_of(a=()), workflow_id="w", auto_start=False)
        await world.blue.create(plan=plan_of(a=()), workflow_id="w", auto_start=False)
        watches = [wire.watch(workflow_id="w") for wire in (world.red, world.red, world.blue, world.blue, world.blue)]
        for watch in watches:
            await watch.read()
        assert quota_of(await usage(world.red), "WATCHES").in_use == 2
        assert quota_of(await usage(world.blue), "WATCHES").in_use == 3
        answer = await broken_off(world.red.watch(workflow_id="w"), [])
        assert (answer.reason, answer.metadata["quota"]) == ("QUOTA_EXCEEDED", "max_watches")
        assert (answer.metadata["limit"], answer.metadata["in_use"]) == ("2", "2")
        watches[0].cancel()
        async with asyncio.timeout(10):
            while quota_of(await usage(world.red), "WATCHES").in_use == 2:  # noqa: ASYNC110 - it ends on the server
                await asyncio.sleep(0.01)
        await world.red.watch(workflow_id="w").read()


async def test_a_full_namespace_takes_no_more_memory_and_deleting_makes_room(tmp_path: Path) -> None:
    async with tenants(tmp_path, max_bytes=20_000) as world:

        def put(wire: Wire, key: str, text: str, request_id: str = "") -> Any:
            one = memory_pb2.MemoryPut(scope="global", key=key, value=common_pb2.Part(text=text))
            return wire.call("PutMemory", _m.PutMemoryRequest(put=one, request_id=request_id))

        def noise(number: int) -> str:
            """Return a text of 2,400 characters that does not get smaller by compression."""
            return "".join(hashlib.sha256(f"{number} {part}".encode()).hexdigest() for part in range(40))

        last = None
        for number in range(30):
            last = await _tried(put(world.red, f"k{number}", noise(number), f"r{number}"))
            if last is not None:
                break
        assert last is not None
        assert (last.reason, last.metadata["quota"]) == ("QUOTA_EXCEEDED", "max_bytes")
        assert last.metadata["free_when"] == "when workflows or memory are deleted"
        # What was carried out before gets its first answer, and what frees something is never refused.
        assert (await put(world.red, "k0", noise(0), "r0")).version == 1
        gone = memory_pb2.MemoryDelete(scope="global", key="k1")
        await world.red.call("DeleteMemory", _m.DeleteMemoryRequest(delete=gone))
        assert (await refused(put(world.red, "new", "text"))).metadata["quota"] == "max_bytes"
        share = _m.ShareMemoryRequest(scope="global", key="k2", target_scope="shared:team")
        await world.red.call("ShareMemory", share)
        await put(world.blue, "new", "text")
        admin = world.server.registry
        assert admin is not None
        async with connected(str(world.server.address), admin.create("root", "red", ("administer",))) as root:
            for number in range(3):
                await root.call("PurgeMemory", _m.PurgeMemoryRequest(scope="global", key=f"k{number}"))
        await put(world.red, "new", "text")


async def _tried(call: Any) -> Refused | None:
    """Return how a call failed, if it did."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return explained(error)
    return None


async def test_usage_needs_a_token_with_any_role(tmp_path: Path) -> None:
    async with Server(settings_in(tmp_path), {"XDG_STATE_HOME": str(tmp_path)}) as server:
        assert server.registry is not None
        for role in ("view", "answer", "approve", "operate", "administer"):
            async with connected(str(server.address), server.registry.create("ann", "red", (role,))) as wire:
                assert (await wire.call("GetUsage", NOW)).namespace == "red"
        async with connected(str(server.address), None) as nobody:
            assert (await refused(nobody.call("GetUsage", NOW))).reason == "TOKEN_MISSING"
