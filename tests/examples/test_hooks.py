"""The example of hooks on a real server: tenants that see nothing of each other, quotas that outlive a crash, events of their own."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from orcs_client.v1 import common_pb2, control_service_pb2, system_service_pb2, workflow_pb2, workflow_service_pb2
from tests.rpc.wire import Wire, connected, plan_of, refused
from tests.server_process import ROOT, ServerProcess

_w = workflow_service_pb2
EXAMPLES = ROOT / "examples"
LATE_S = 30.0


class TenantsServer(ServerProcess):
    """A server with the example's hooks."""

    @property
    def environ(self) -> dict[str, str]:
        own = {"TENANTS_FILE": str(self.folder / "tenants.json"), "PYTHONPATH": f"{ROOT}:{EXAMPLES}"}
        return {**super().environ, **own}

    def held(self, tenant: str) -> list[str]:
        path = self.folder / f"held-{tenant}.json"
        return sorted(json.loads(path.read_text())) if path.exists() else []

    def events(self, tenant: str) -> list[dict[str, Any]]:
        path = self.folder / f"events-{tenant}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TenantsServer]:
    shutil.copy(EXAMPLES / "tenants.json", tmp_path)
    server = TenantsServer(tmp_path, hooks="hooks:factory", offline_pace="0.7")
    for name in ("ann", "abe", "bob", "stranger"):
        (tmp_path / name).write_text(server.create_token(name, "default", "operate", "administer"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def caller(server: TenantsServer, name: str) -> AsyncIterator[Wire]:
    async with connected(server.address, (server.folder / name).read_text()) as wire:
        yield wire


async def until(done: Any) -> None:
    async with asyncio.timeout(LATE_S):
        while not done():  # noqa: ASYNC110 - what is waited for is in a file
            await asyncio.sleep(0.05)


async def test_tenants_have_namespaces_permissions_settings_and_contexts_of_their_own(server: TenantsServer) -> None:
    async with (
        caller(server, "ann") as ann,
        caller(server, "abe") as abe,
        caller(server, "bob") as bob,
        caller(server, "stranger") as stranger,
    ):
        info = await ann.call("GetServerInfo", system_service_pb2.GetServerInfoRequest())
        assert info.caller.namespace == "tenant:red"
        await ann.create(
            plan=plan_of(a=()),
            workflow_id="w",
            auto_start=False,
            context={"json": '{"tenant": "blue", "mine": 1}'},
        )
        get = _w.GetWorkflowRequest(workflow_id="w", view=common_pb2.VIEW_FULL)
        context = json.loads((await abe.call("GetWorkflow", get)).workflow.context.json)
        assert context == {"tenant": "red", "asked_by": "ann", "house_style": "short sentences", "mine": 1}
        start = _w.StartWorkflowRequest(workflow_id="w")
        assert (await refused(abe.call("StartWorkflow", start))).reason == "PERMISSION_DENIED"
        for method, request in (("GetWorkflow", get), ("StartWorkflow", start)):
            assert (await refused(bob.call(method, request))).reason == "WORKFLOW_NOT_FOUND"
            assert (await refused(stranger.call(method, request))).reason == "PERMISSION_DENIED"
        many = plan_of(**{f"t{number}": () for number in range(6)})
        assert (await refused(ann.create(plan=many))).reason == "PLAN_INVALID"
        await bob.create(plan=many, workflow_id="w", auto_start=False)
        await until(lambda: server.events("red") and server.events("blue"))
    assert {event["principal"] for event in server.events("red")} == {"ann"}
    assert {event["namespace"] for event in server.events("blue")} == {"tenant:blue"}


async def test_what_is_held_is_held_through_a_pause_and_a_crash_and_given_back_at_every_end(
    server: TenantsServer,
) -> None:
    async with caller(server, "ann") as ann:
        await ann.create(plan=plan_of(a=(), b=("a",), c=("b",)), workflow_id="first")
        await until(lambda: server.held("red") == ["first"])
        # There is room for one at a time.
        await ann.create(plan=plan_of(a=()), workflow_id="second")
        second = await ann.finished("second")
        assert second.state == workflow_pb2.WORKFLOW_STATE_FAILED
        assert "resources" in second.failure.message
        await ann.call("PauseWorkflow", control_service_pb2.PauseWorkflowRequest(workflow_id="first"))
        await until(lambda: any(event["event"] == "WorkflowPaused" for event in server.events("red")))
        assert server.held("red") == ["first"]
    server.kill()
    server.start()
    assert server.held("red") == ["first"]
    async with caller(server, "ann") as ann:
        await ann.call("ResumeWorkflow", control_service_pb2.ResumeWorkflowRequest(workflow_id="first"))
        assert (await ann.finished("first")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
        await until(lambda: server.held("red") == [])
        # Killed while it runs, and cancelled after that.
        await ann.create(plan=plan_of(a=(), b=("a",), c=("b",)), workflow_id="third")
        await until(lambda: server.held("red") == ["third"])
    server.kill()
    server.start()
    async with caller(server, "ann") as ann:
        cancel = control_service_pb2.CancelWorkflowRequest(workflow_id="third")
        await ann.call("CancelWorkflow", cancel)
        await ann.finished("third")
        await until(lambda: server.held("red") == [])
        await ann.call("DeleteWorkflow", _w.DeleteWorkflowRequest(workflow_id="third"))
    await until(lambda: any(event["event"] == "WorkflowDeleted" for event in server.events("red")))
    assert {"RPC", "RECOVERY"} <= {event["origin"] for event in server.events("red")}


async def test_a_tenants_file_that_is_broken_lets_nobody_in_until_it_is_mended(server: TenantsServer) -> None:
    file = server.folder / "tenants.json"
    whole = file.read_text()
    async with caller(server, "bob") as bob:
        listing = _w.ListWorkflowsRequest()
        await bob.call("ListWorkflows", listing)
        file.write_text("{")
        answer = await refused(bob.call("ListWorkflows", listing))
        assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "HOOK_FAILED")
        file.write_text(whole)
        await bob.call("ListWorkflows", listing)
