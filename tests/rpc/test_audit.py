"""The audit log over the wire: what is recorded, in which words, and what is not."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection_pb2

from orcs_client.v1 import (
    audit_service_pb2,
    common_pb2,
    control_service_pb2,
    memory_pb2,
    memory_service_pb2,
    plan_edit_pb2,
    system_service_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_server.app import Server
from orcs_server.service.auditing import Auditing
from orcs_server.service.trails import METHODS
from orcs_server.storage.audit import SERVER
from orcs_server.storage.sqlite.audit_file import newest
from tests.rpc.audits import audited, facts, said
from tests.rpc.control import asked, resolve
from tests.rpc.memories import putting
from tests.rpc.servers import settings_in
from tests.rpc.surface.methods import methods
from tests.rpc.wire import Wire, connected, plan_of, refused

_c, _m, _s, _t, _w = (
    control_service_pb2,
    memory_pb2,
    memory_service_pb2,
    task_service_pb2,
    workflow_service_pb2,
)
SECRET = "what nobody else may read"
TEXT = common_pb2.Part(text=SECRET)


@asynccontextmanager
async def serving(folder: Path, *tokens: tuple[str, tuple[str, ...]]) -> AsyncIterator[tuple[Server, list[Wire]]]:
    """Run a server; give clients with these principals and roles, all of one namespace, after its own administrator."""
    async with Server(settings_in(folder), {"XDG_STATE_HOME": str(folder)}) as server:
        registry = server.registry
        assert registry is not None
        registry.on_change = None  # These are not what is looked at.
        texts = [registry.create(name, "red", roles) for name, roles in (("olga", ("administer",)), *tokens)]
        async with AsyncExitStack() as stack:
            yield server, [await stack.enter_async_context(connected(str(server.address), text)) for text in texts]


def test_every_rpc_is_known_by_its_operation() -> None:
    assert set(methods()) <= set(METHODS), "add the RPC to METHODS in orcs_server/service/trails.py"


async def test_each_change_is_recorded_with_who_what_where_and_how(tmp_path: Path) -> None:
    async with serving(tmp_path, ("ann", ("operate",))) as (_, (root, ann)):
        plan = plan_of(a=(), b=("a",))
        await ann.create(workflow_id="w", plan=plan, auto_start=False, request_id="r1")
        await ann.create(workflow_id="w", plan=plan, auto_start=False, request_id="r1")  # The same again is no change.
        await ann.call("SendMessage", _c.SendMessageRequest(workflow_id="w", task_id="a", text=TEXT, request_id="r2"))
        change = plan_edit_pb2.ChangeTask(task_id="b", description=SECRET)
        edit = _w.EditPlanRequest(workflow_id="w", edits=[plan_edit_pb2.PlanEdit(change=change)], plan_revision=1)
        await ann.call("EditPlan", edit)
        await ann.call("PauseWorkflow", _c.PauseWorkflowRequest(workflow_id="w", reason=SECRET))
        await ann.call("PauseWorkflow", _c.PauseWorkflowRequest(workflow_id="w", reason=SECRET))  # Changes nothing.
        await ann.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id="w"))
        await ann.call("FreezeNamespace", _c.FreezeNamespaceRequest(reason=SECRET, request_id="r3"))
        await ann.call("ThawNamespace", _c.ThawNamespaceRequest())
        await ann.call("CancelWorkflow", _c.CancelWorkflowRequest(workflow_id="w", reason=SECRET))
        await ann.call("DeleteWorkflow", _w.DeleteWorkflowRequest(workflow_id="w"))
        records = await audited(root)
    assert said(records) == [
        ("workflows.create", "w", "OK"),
        ("workflows.message", "w/a", "OK"),
        ("plans.edit", "w", "OK"),
        ("workflows.pause", "w", "OK"),
        ("namespaces.freeze", "*", "OK"),
        ("namespaces.thaw", "*", "OK"),
        ("workflows.cancel", "w", "OK"),
        ("workflows.delete", "w", "OK"),
    ]
    assert {(one.namespace, one.principal, tuple(one.roles), one.peer, one.agent) for one in records} == {
        ("red", "ann", ("operate",), "ipv4:127.0.0.1", "")
    }
    assert [one.number for one in records] == list(range(1, 9))
    assert [one.method for one in records[:3]] == ["CreateWorkflow", "SendMessage", "EditPlan"]
    assert [one.request_id for one in records] == ["r1", "r2", "", "", "r3", "", "", ""]
    assert facts(records[0])["tasks"] == 2
    assert facts(records[1])["text_sha256"] == hashlib.sha256(SECRET.encode()).hexdigest()
    assert facts(records[2]) == {"edits": 1, "revision": 1}
    assert SECRET not in str(records)


async def test_decisions_hold_the_hash_of_exactly_what_was_shown(tmp_path: Path) -> None:
    async with serving(tmp_path, ("bob", ("approve",))) as (_, (root, bob)):
        policy = workflow_pb2.APPROVAL_POLICY_PLAN
        await root.create(workflow_id="w", plan=plan_of(a=()), approval_policy=policy)
        shown = await asked(root, "w")
        stale = resolve(shown, "APPROVE", subject_sha256="0" * 64)
        assert (await refused(bob.call("ResolveApproval", stale))).reason == "STALE_APPROVAL"
        await bob.call("ResolveApproval", resolve(shown, "REJECT", reason=SECRET))
        records = await audited(root, operation="inputs.approve")
    assert [(one.principal, one.outcome) for one in records] == [("bob", "STALE_APPROVAL"), ("bob", "OK")]
    decided = facts(records[1])
    assert (decided["input"], decided["decision"], decided["kind"]) == (shown.id, "REJECT", "PLAN_APPROVAL")
    assert decided["shown_sha256"] == decided["repeated_sha256"] == shown.subject_sha256
    assert decided["prompt_sha256"] == hashlib.sha256(shown.prompt.encode()).hexdigest()
    assert SECRET not in str(records)


async def test_changes_of_memory_name_scopes_and_keys_and_no_values(tmp_path: Path) -> None:
    async with serving(tmp_path, ("ann", ("operate",))) as (_, (root, ann)):
        await ann.call("PutMemory", putting("k", SECRET, "shared:x", "r1"))
        await ann.call("PutMemory", putting("k", SECRET, "shared:x", "r1"))
        put = _m.MemoryPut(scope="shared:x", key="l", value=TEXT)
        check = _m.MemoryCheck(scope="shared:y", key="none", expected_version=0)
        batch = [_m.MemoryChange(put=put), _m.MemoryChange(check=check)]
        await ann.call("BatchMemory", _s.BatchMemoryRequest(changes=batch))
        await ann.call("ShareMemory", _s.ShareMemoryRequest(scope="shared:x", key="k", target_scope="shared:z"))
        await root.call("CreateSnapshot", _s.CreateSnapshotRequest(scope="shared:x", title=SECRET))
        version = _m.MemoryVersionName(scope="shared:x", key="k", version=1)
        await ann.call("RevertMemory", _s.RevertMemoryRequest(version=version))
        await ann.call("RestoreSnapshot", _s.RestoreSnapshotRequest(scope="shared:x", snapshot=1))
        await root.call("DeleteSnapshot", _s.DeleteSnapshotRequest(scope="shared:x", snapshot=1))
        rule = _m.MemoryAccessRule(
            subject="client:ann", scope="shared:x", permissions=[_m.MEMORY_PERMISSION_READ], deny=True
        )
        await root.call("SetAccessRules", _s.SetAccessRulesRequest(rules=[rule]))
        assert (await refused(ann.call("GetMemory", _s.GetMemoryRequest(scope="shared:x", key="k")))).reason == (
            "PERMISSION_DENIED"
        )
        await root.call("PurgeMemory", _s.PurgeMemoryRequest(scope="shared:x", key="k"))
        records = await audited(root, operation="memory.")
    assert said(records) == [
        ("memory.write", "shared:x", "OK"),
        ("memory.write", "shared:x", "OK"),
        ("memory.share", "shared:x", "OK"),
        ("memory.write", "shared:x", "OK"),
        ("memory.revert", "shared:x", "OK"),
        ("memory.revert", "shared:x", "BEGUN"),
        ("memory.revert", "shared:x", "OK"),
        ("memory.delete", "shared:x", "OK"),
        ("memory.administer", "*", "OK"),
        ("memory.read", "shared:x", "PERMISSION_DENIED"),
        ("memory.administer", "shared:x", "BEGUN"),
        ("memory.administer", "shared:x", "OK"),
    ]
    assert facts(records[0]) == {"change": "put", "scope": "shared:x", "key": "k"}
    assert [one["key"] for one in facts(records[1])["changes"]] == ["l", "none"]
    assert facts(records[2]) == {"key": "k", "target": "shared:z"}
    assert facts(records[6]) == {"snapshot": 1, "count": 0}
    assert facts(records[8])["rules"] == 1
    assert facts(records[9]) == {"permission": "read", "key": "k"}
    assert facts(records[11])["count"] == 2
    assert facts(records[11])["key"] == "k"
    assert SECRET not in str(records)


async def test_refused_attempts_are_recorded_with_their_reasons(tmp_path: Path) -> None:
    async with serving(tmp_path, ("eve", ("view",))) as (_, (root, eve)):
        await eve.call("ListWorkflows", _w.ListWorkflowsRequest())
        for method, request, reason in (
            ("PauseWorkflow", _c.PauseWorkflowRequest(workflow_id="w", request_id="r1"), "PERMISSION_DENIED"),
            ("ListAuditRecords", audit_service_pb2.ListAuditRecordsRequest(), "PERMISSION_DENIED"),
            ("SkipTask", _t.SkipTaskRequest(workflow_id="a b", task_id="t"), "FIELD_INVALID"),
            ("GetWorkflow", _w.GetWorkflowRequest(workflow_id="none"), "WORKFLOW_NOT_FOUND"),
            ("PutMemory", putting("k", "x", "agent:somebody"), "PERMISSION_DENIED"),
            ("PutMemory", putting("", "x", "shared:y"), "FIELD_INVALID"),
            ("GetTask", _t.GetTaskRequest(workflow_id="w" * 5_000, task_id="t"), "FIELD_INVALID"),
        ):
            call = eve.call(method, request)
            assert (await refused(call)).reason == reason, method
        records = await audited(root, principal="eve")
        only = await audited(root, refused_only=True)
    assert said(records) == [
        ("workflows.pause", "w", "PERMISSION_DENIED"),
        ("audit.list", "*", "PERMISSION_DENIED"),
        ("tasks.skip", "a b/t", "FIELD_INVALID"),
        ("workflows.get", "none", "WORKFLOW_NOT_FOUND"),
        ("memory.write", "agent:somebody", "PERMISSION_DENIED"),
        ("memory.write", "shared:y", "FIELD_INVALID"),
        ("tasks.get", ("w" * 5_000)[:600], "FIELD_INVALID"),
    ]
    assert records[0].request_id == "r1"
    assert only == records


async def test_calls_without_a_valid_token_are_recorded_for_the_server_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, (root,)):
        address = str(server.address)
        for token in (None, "orcs_wrong", "orcs_wrong"):
            async with connected(address, token) as stranger:
                call = stranger.call("GetServerInfo", system_service_pb2.GetServerInfoRequest())
                assert (await refused(call)).code is grpc.StatusCode.UNAUTHENTICATED
        assert await audited(root) == []
    records = newest(tmp_path / "orcs.db", SERVER, 0)
    assert [(one.draft.outcome, one.draft.method, one.draft.peer) for one in records] == [
        ("TOKEN_MISSING", "GetServerInfo", "ipv4:127.0.0.1"),
        ("TOKEN_INVALID", "GetServerInfo", "ipv4:127.0.0.1"),
        ("TOKEN_INVALID", "GetServerInfo", "ipv4:127.0.0.1"),
    ]
    # The second one was only counted, until the server went down.
    assert '"repeated":1' in records[2].draft.details


async def test_reflection_that_is_refused_is_recorded(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, _):
        address = str(server.address)
        async with connected(address, "orcs_wrong") as stranger:
            ask = stranger.channel.stream_stream(
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                reflection_pb2.ServerReflectionRequest.SerializeToString,
                reflection_pb2.ServerReflectionResponse.FromString,
            )
            call = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), metadata=stranger.metadata)
            await refused(call.read())
    (record,) = newest(tmp_path / "orcs.db", SERVER, 0)
    assert (record.draft.operation, record.draft.outcome) == ("system.reflect", "TOKEN_INVALID")
    assert record.draft.method == "ServerReflectionInfo"


async def test_tokens_that_come_and_go_are_recorded(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, (root,)):
        registry = server.registry
        assert registry is not None
        registry.on_change = server.backend.auditing.token_changed
        registry.create("zoe", "red", ("view", "answer"))
        (entry,) = [one for one in registry.list() if one.principal == "zoe"]
        registry.rotate(entry.id)
        registry.revoke(entry.id)
        records: list[Any] = []
        for _ in range(1_000):  # They are written in the background.
            records = await audited(root, operation="tokens.")
            if len(records) == 3:
                break
    assert said(records) == [(f"tokens.{what}", entry.id, "OK") for what in ("create", "rotate", "revoke")]
    assert facts(records[0]) == {"token_id": entry.id, "principal": "zoe", "roles": ["view", "answer"]}
    assert {(one.method, one.principal) for one in records} == {("file", "operator")}


async def test_a_flood_of_refusals_is_counted_and_not_written_one_by_one(tmp_path: Path) -> None:
    async with serving(tmp_path, ("eve", ("view",)), ("ann", ("operate",))) as (_, (root, eve, ann)):
        for _ in range(100):
            await refused(eve.call("PauseWorkflow", _c.PauseWorkflowRequest(workflow_id="w")))
        for number in range(60):
            await refused(eve.call("ResumeWorkflow", _c.ResumeWorkflowRequest(workflow_id=f"w{number}")))
        assert len(await audited(root, principal="eve")) == 32
        await refused(ann.call("PauseWorkflow", _c.PauseWorkflowRequest(workflow_id="w")))
        assert said(await audited(root, principal="ann")) == [("workflows.pause", "w", "WORKFLOW_NOT_FOUND")]
    counts = [one for one in newest(tmp_path / "orcs.db", "red", 0) if "repeated" in one.draft.details]
    assert [(one.draft.principal, one.draft.resource, one.draft.outcome) for one in counts] == [
        ("eve", "w", "PERMISSION_DENIED"),
        ("eve", "*", "*"),
    ]
    assert '"repeated":99' in counts[0].draft.details
    assert '"repeated":29' in counts[1].draft.details


async def test_a_count_is_written_once_its_window_has_ended(tmp_path: Path) -> None:
    server = Server(settings_in(tmp_path, insecure_no_auth=True), {"XDG_STATE_HOME": str(tmp_path)})
    backend = server.backend
    backend.auditing = Auditing(backend.store.audit, backend.clock, window_s=0.01)
    async with server, connected(str(server.address), None) as wire:
        for _ in range(10_000):
            await refused(wire.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id="none")))
            if any(facts(one).get("repeated") for one in await audited(wire)):
                break
        else:
            raise AssertionError("no count was ever written")
        records = await audited(wire)
    assert {(one.operation, one.outcome, one.principal) for one in records} == {
        ("workflows.get", "WORKFLOW_NOT_FOUND", "anonymous")
    }
