"""Who tries to be somebody else, or to do more than their token says."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from orcs_client.v1 import (
    common_pb2,
    control_service_pb2,
    memory_pb2,
    memory_service_pb2,
    system_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_server.app import Server
from orcs_server.hooks import HookSet, Origin
from orcs_server.identity import Caller
from tests.rpc.control import asked, resolve
from tests.rpc.servers import settings_in, token_for
from tests.rpc.wire import connected, plan_of, refused

_c, _w = control_service_pb2, workflow_service_pb2


async def test_forged_and_doubled_headers_let_nobody_in(server: Server) -> None:
    good, other = token_for(server, "ann", "a", "view"), token_for(server, "bob", "b", "administer")
    bearer = f"Bearer {good}"
    forged: tuple[tuple[tuple[str, Any], ...], ...] = (
        (("authorization", bearer), ("authorization", bearer)),
        (("authorization", bearer), ("authorization", f"Bearer {other}")),
        (("authorization", "Bearer x"), ("authorization", bearer)),
        (("authorization", f"{bearer}, Bearer {other}"),),
        (("authorization", f"{bearer} {other}"),),
        (("authorization", f"Bearer {good.upper()}"),),
        (("authorization", f"Bearer {good[:-1]}"),),
        (("authorization", f"Bearer {good}x"),),
        (("authorization", good),),
        (("authorization", "Bearer"),),
        (("authorization", "Bearer %00"),),
        (("authorization", f"Basic {good}"),),
        (("authorization-bin", bearer.encode()),),
        (("proxy-authorization", bearer),),
        (("cookie", f"authorization={good}"),),
    )
    async with connected(str(server.address), None) as wire:
        for metadata in forged:
            wire.metadata = metadata
            answer = await refused(wire.call("GetServerInfo", system_service_pb2.GetServerInfoRequest()))
            assert answer.code.name == "UNAUTHENTICATED", metadata
            assert good not in answer.message


async def test_no_header_but_the_token_says_who_calls_and_where(server: Server) -> None:
    token = token_for(server, "ann", "a", "view")
    forged: Any = (
        *(("orcs-namespace", "b"), ("orcs-principal", "root"), ("orcs-roles", "administer"), ("orcs-agent", "planner")),
        *(("x-forwarded-user", "root"), ("x-orcs-namespace", "b"), ("namespace", "b"), ("namespace-bin", b"b")),
        *(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),),
    )
    async with connected(str(server.address), token) as wire:
        wire.metadata = (*wire.metadata, *forged)
        caller = (await wire.call("GetServerInfo", system_service_pb2.GetServerInfoRequest())).caller
        assert (caller.principal, caller.namespace, list(caller.roles)) == ("ann", "a", ["view"])
        answer = await refused(wire.create(plan=plan_of(a=())))
        assert answer.code.name == "PERMISSION_DENIED"


async def test_who_may_answer_does_not_approve_by_answering(server: Server) -> None:
    both, answers = token_for(server, "ann", "a", "operate"), token_for(server, "bob", "a", "answer")
    async with connected(str(server.address), both) as ann, connected(str(server.address), answers) as bob:
        await ann.create(plan=plan_of(a=()), workflow_id="w", approval_policy=workflow_pb2.APPROVAL_POLICY_PLAN)
        one = await asked(ann, "w")
        text = common_pb2.Part(text='{"decision": "APPROVE"}', media_type="application/json")
        answer = _c.AnswerInputRequest(workflow_id="w", input_id=one.id, answer=text)
        assert (await refused(bob.call("AnswerInput", answer))).reason == "ILLEGAL_TRANSITION"
        for wire in (ann, bob):
            assert (await refused(wire.call("ResolveApproval", resolve(one, "APPROVE")))).reason == "PERMISSION_DENIED"
        get = _c.GetPendingInputRequest(workflow_id="w", input_id=one.id)
        assert (await bob.call("GetPendingInput", get)).input.resolution == 0


async def test_who_operates_does_not_make_the_rules_nor_grant_itself_more(server: Server) -> None:
    async with connected(str(server.address), token_for(server, "ann", "a", "operate", "approve")) as wire:
        rule = memory_pb2.MemoryAccessRule(
            subject="client:ann", scope="*", permissions=[memory_pb2.MEMORY_PERMISSION_READ]
        )
        for method, request in (
            ("SetAccessRules", memory_service_pb2.SetAccessRulesRequest(rules=[rule])),
            ("PurgeMemory", memory_service_pb2.PurgeMemoryRequest(scope="global", key="k")),
        ):
            assert (await refused(wire.call(method, request))).reason == "PERMISSION_DENIED"


async def test_what_a_revoked_principal_has_begun_goes_on_and_nothing_new_is_let_in(server: Server) -> None:
    assert server.registry is not None
    ann, bob = token_for(server, "ann", "a", "operate"), token_for(server, "bob", "a", "operate")
    soon = Timestamp()
    soon.FromMicroseconds(time.time_ns() // 1000 + 2_000_000)
    async with connected(str(server.address), ann) as hers, connected(str(server.address), bob) as his:
        await hers.create(plan=plan_of(a=()), workflow_id="w", not_before_time=soon)
        server.registry.revoke(next(one.id for one in server.registry.list() if one.principal == "ann"))
        assert (await refused(hers.create(plan=plan_of(a=())))).reason == "TOKEN_INVALID"
        async with asyncio.timeout(60):
            done = await his.finished("w")
        assert (done.state, done.creator) == (workflow_pb2.WORKFLOW_STATE_COMPLETED, "ann")


# A hook that lets the work of a principal rest, and hangs for another tenant

banned: set[str] = set()
hanging: set[str] = set()
released = threading.Event()


class _Warden:
    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def check_permission(self, operation: str, resource_id: str) -> bool:
        if self._caller.namespace in hanging:
            released.wait(60)
        return not (operation == "agents.run" and self._caller.principal in banned)


def hooks(caller: Caller, /, origin: Origin) -> HookSet:
    return HookSet(authorization=_Warden(caller))


async def test_the_hook_can_let_the_work_of_a_revoked_principal_rest(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, hooks=f"{__name__}:hooks")
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server:
        ann = token_for(server, "ann", "a", "operate")
        async with connected(str(server.address), ann) as wire:
            await wire.create(plan=plan_of(a=()), workflow_id="w", auto_start=False)
            banned.add("ann")
            try:
                await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w"))
                failed = await wire.finished("w")
            finally:
                banned.clear()
            assert failed.state == workflow_pb2.WORKFLOW_STATE_FAILED


async def test_a_tenant_whose_hooks_hang_under_load_does_not_hold_up_the_others(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, hooks=f"{__name__}:hooks", hook_timeout=1.0)
    released.clear()
    hanging.add("a")
    try:
        async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server:
            ann, bob = token_for(server, "ann", "a", "operate"), token_for(server, "bob", "b", "operate")
            async with connected(str(server.address), ann) as hers, connected(str(server.address), bob) as his:
                flood = [
                    asyncio.create_task(refused(hers.call("ListWorkflows", _w.ListWorkflowsRequest())))
                    for _ in range(60)
                ]
                await asyncio.sleep(0.2)
                # While hers hang: calls, work, and a watch to its end.
                await his.create(plan=plan_of(a=(), b=("a",)), workflow_id="w")
                done = await his.finished("w")
                assert done.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
                answers = await asyncio.gather(*flood)
                assert {one.code.name for one in answers} <= {"PERMISSION_DENIED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"}
                hanging.clear()
                released.set()
                # It is well again once they return.
                async with asyncio.timeout(30):
                    while True:
                        try:
                            await hers.call("ListWorkflows", _w.ListWorkflowsRequest())
                            break
                        except grpc.aio.AioRpcError:
                            await asyncio.sleep(0.1)
    finally:
        hanging.clear()
        released.set()
