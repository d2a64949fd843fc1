"""Who may call: tokens, roles, namespaces, and leave that is taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from orcs_client.v1 import agent_service_pb2, common_pb2, system_service_pb2, task_service_pb2, workflow_service_pb2
from orcs_server.app import Server
from orcs_server.hooks import HookSet, Origin, inline
from orcs_server.identity import Caller
from orcs_server.service import openwatches
from tests.rpc.servers import settings_in, token_for
from tests.rpc.wire import Wire, broken_off, connected, plan_of, refused

_w = workflow_service_pb2


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "TOKEN_MISSING"),
        ((("authorization", "Bearer nonsense"),), "TOKEN_INVALID"),
        ((("authorization", "Basic abc"),), "TOKEN_INVALID"),
        ((("authorization", "Bearer " + "x" * 4000),), "TOKEN_INVALID"),
        ((("orcs-namespace", "other"),), "TOKEN_MISSING"),
    ],
)
async def test_a_call_without_a_good_token_is_refused(
    wire: Wire, metadata: tuple[tuple[str, str], ...], reason: str
) -> None:
    wire.metadata = metadata
    for method, request in (
        ("GetServerInfo", system_service_pb2.GetServerInfoRequest()),
        ("ListWorkflows", _w.ListWorkflowsRequest()),
    ):
        answer = await refused(wire.call(method, request))
        assert (answer.code.name, answer.reason) == ("UNAUTHENTICATED", reason)
    assert (await broken_off(wire.watch(workflow_id="w"), [])).reason == reason


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_names_the_services_to_those_who_have_a_token(wire: Wire, version: str) -> None:
    reflect: Any = wire.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    reply = await reflect(iter([question]), metadata=wire.metadata).read()
    names = {service.name for service in reply.list_services_response.service}
    assert {"orcs.v1.WorkflowService", "orcs.v1.TaskService", "grpc.health.v1.Health"} <= names
    answer = await broken_off(reflect(iter([question])), [])
    assert (answer.code.name, answer.reason) == ("UNAUTHENTICATED", "TOKEN_MISSING")


async def test_what_another_namespace_holds_is_not_there(server: Server) -> None:
    ours = token_for(server, "ada", "a", "operate")
    theirs = token_for(server, "bob", "b", "administer")
    async with connected(str(server.address), ours) as us, connected(str(server.address), theirs) as them:
        created = await us.create(plan=plan_of(a=()), workflow_id="same", request_id="r")
        await us.finished("same")
        token_request = task_service_pb2.ListTasksRequest(workflow_id="same", page_size=1)
        for method, request in (
            ("GetWorkflow", _w.GetWorkflowRequest(workflow_id="same")),
            ("GetWorkflowOutput", _w.GetWorkflowOutputRequest(workflow_id="same")),
            ("RenderGraph", _w.RenderGraphRequest(workflow_id="same")),
            ("StartWorkflow", _w.StartWorkflowRequest(workflow_id="same")),
            ("DeleteWorkflow", _w.DeleteWorkflowRequest(workflow_id="same")),
            ("GetTask", task_service_pb2.GetTaskRequest(workflow_id="same", task_id="a")),
            ("ListTasks", token_request),
        ):
            answer = await refused(them.call(method, request))
            assert (answer.code.name, answer.reason) == ("NOT_FOUND", "WORKFLOW_NOT_FOUND"), method
        assert not (await them.call("ListWorkflows", _w.ListWorkflowsRequest())).workflows
        # The same ids are free there, and the same cursors are not good there.
        await them.create(plan=plan_of(a=(), b=()), workflow_id="same", request_id="r")
        await them.finished("same")
        foreign = them.watch(workflow_id="same", after_cursor=created.cursor)
        assert (await broken_off(foreign, [])).reason == "CURSOR_INVALID"
        page = (await us.call("ListWorkflows", _w.ListWorkflowsRequest())).workflows
        assert [workflow.creator for workflow in page] == ["ada"]


async def test_a_role_allows_what_it_says_and_no_more(server: Server) -> None:
    operator, viewer = token_for(server, "ada", "a", "operate"), token_for(server, "eve", "a", "view")
    async with connected(str(server.address), operator) as ada, connected(str(server.address), viewer) as eve:
        created = await ada.create(plan=plan_of(a=()), auto_start=False)
        seen = await eve.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id=created.workflow.id))
        assert seen.workflow.creator == "ada"
        for method, request in (
            ("CreateWorkflow", _w.CreateWorkflowRequest(query="q")),
            ("PreviewPlan", _w.PreviewPlanRequest(query="q")),
            ("StartWorkflow", _w.StartWorkflowRequest(workflow_id=created.workflow.id)),
            ("DeleteWorkflow", _w.DeleteWorkflowRequest(workflow_id=created.workflow.id)),
        ):
            answer = await refused(eve.call(method, request))
            assert (answer.code.name, answer.reason) == ("PERMISSION_DENIED", "PERMISSION_DENIED"), method


async def test_a_revoked_token_ends_a_watch_that_is_open(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openwatches, "RECHECK_S", 0.05)
    token = token_for(server, "ada", "a", "operate")
    registry = server.registry
    assert registry is not None
    async with connected(str(server.address), token) as client:
        created = await client.create(plan=plan_of(a=()), auto_start=False)
        watch = client.watch(workflow_id=created.workflow.id)
        assert (await watch.read()).events
        registry.revoke(next(entry.id for entry in registry.list() if entry.principal == "ada"))
        assert (await broken_off(watch, [])).reason == "TOKEN_INVALID"


async def test_without_tokens_everybody_on_this_machine_may_call(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, insecure_no_auth=True)
    async with (
        Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server,
        connected(str(server.address), None) as client,
    ):
        info = await client.call("GetServerInfo", system_service_pb2.GetServerInfoRequest())
        assert info.caller.principal == "anonymous"
    assert not (tmp_path / "orcs.db.token").exists()


class _Doors:
    """An authorization hook that lets nobody see workflows whose ids begin with `secret`."""

    @inline
    def check_permission(self, operation: str, resource_id: str, /) -> bool:
        asked.append((operation, resource_id))
        return not resource_id.startswith("secret")


class _Tenants:
    """An isolation hook: every caller has a namespace of its own."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def get_isolation_prefix(self) -> str:
        return f"tenant-{self._caller.principal}"


class _Facts:
    """A context hook."""

    async def get_context(self) -> dict[str, Any]:
        return {"tenant": "acme"}


asked: list[tuple[str, str]] = []


def hooks(caller: Caller, /, origin: Origin) -> HookSet:
    return HookSet(context=_Facts(), isolation=_Tenants(caller), authorization=_Doors())


async def test_hooks_decide_on_permission_namespace_and_context(tmp_path: Path) -> None:
    asked.clear()
    settings = settings_in(tmp_path, hooks=f"{__name__}:hooks")
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server:
        token = token_for(server, "ada", "ignored", "administer")
        async with connected(str(server.address), token) as client:
            info = await client.call("GetServerInfo", system_service_pb2.GetServerInfoRequest())
            assert info.caller.namespace == "tenant-ada"
            answer = await refused(client.create(plan=plan_of(a=()), workflow_id="secret-1"))
            assert answer.code is grpc.StatusCode.PERMISSION_DENIED
            await client.create(
                plan=plan_of(a=()), workflow_id="open-1", context={"json": '{"tenant": "mine", "n": 1}'}
            )
            view = _w.GetWorkflowRequest(workflow_id="open-1", view=common_pb2.VIEW_FULL)
            context = (await client.call("GetWorkflow", view)).workflow.context.json
            assert context == '{"tenant":"acme","n":1}'
            assert ("workflows.create", "open-1") in asked
            assert [each.id for each in (await client.call("ListWorkflows", _w.ListWorkflowsRequest())).workflows] == [
                "open-1"
            ]
            # Whether there is such an agent is told to those who may see it only.
            hidden = agent_service_pb2.GetAgentRequest(agent_id="secret_agent")
            assert (await refused(client.call("GetAgent", hidden))).reason == "PERMISSION_DENIED"


async def test_a_fault_of_the_server_is_told_by_its_id_only(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(type(server.backend.store), "get_summary", broken)
    token = token_for(server, "ada", "a", "view")
    async with connected(str(server.address), token) as client:
        answer = await refused(client.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id="w")))
    assert (answer.code.name, answer.reason) == ("INTERNAL", "INTERNAL")
    assert "swordfish" not in answer.message
    logged = next(record for record in caplog.records if answer.metadata["error_id"] in record.getMessage())
    assert logged.exc_info is not None
