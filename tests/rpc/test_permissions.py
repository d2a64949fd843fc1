"""Controlling, answering and approving are separate permissions, and who creates need not be who approves."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcs_client.v1 import (
    common_pb2,
    control_service_pb2,
    plan_edit_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_server.app import Server
from orcs_server.identity.tokens import TokenRegistry
from tests.rpc.control import asked, resolve
from tests.rpc.servers import settings_in
from tests.rpc.wire import connected, plan_of, refused

_c, _w = control_service_pb2, workflow_service_pb2
POLICY = workflow_pb2.APPROVAL_POLICY_PLAN


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("view", set()),
        ("operate", {"PauseWorkflow"}),
        ("answer", {"AnswerInput"}),
        ("approve", {"AnswerInput", "ResolveApproval"}),
        ("administer", {"PauseWorkflow", "AnswerInput", "ResolveApproval"}),
    ],
)
async def test_each_role_may_do_its_own(tmp_path: Path, role: str, may: set[str]) -> None:
    registry = TokenRegistry(tmp_path / "orcs.db")
    token = registry.create("ann", "default", (role,))
    async with (
        Server(settings_in(tmp_path), {"XDG_STATE_HOME": str(tmp_path)}) as server,
        connected(str(server.address), token) as wire,
    ):
        text = common_pb2.Part(text="yes")
        decision = workflow_pb2.DECISION_APPROVE
        for name, request in (
            ("PauseWorkflow", _c.PauseWorkflowRequest(workflow_id="w")),
            ("AnswerInput", _c.AnswerInputRequest(workflow_id="w", input_id="i1", answer=text)),
            ("ResolveApproval", _c.ResolveApprovalRequest(workflow_id="w", input_id="i1", decision=decision)),
        ):
            reason = "WORKFLOW_NOT_FOUND" if name in may else "PERMISSION_DENIED"
            assert (await refused(wire.call(name, request))).reason == reason, name
        listed = await wire.call("ListPendingInputs", _c.ListPendingInputsRequest())
        assert not listed.inputs


async def test_with_a_separate_approver_the_creator_may_reject_and_not_approve(tmp_path: Path) -> None:
    registry = TokenRegistry(tmp_path / "orcs.db")
    both = ("operate", "approve")
    ann, bob = registry.create("ann", "default", both), registry.create("bob", "default", both)
    settings = settings_in(tmp_path, approvals={"separate_approver": True})
    async with (
        Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server,
        connected(str(server.address), ann) as creator,
        connected(str(server.address), bob) as other,
    ):
        await creator.create(plan=plan_of(a=()), workflow_id="w", approval_policy=POLICY)
        one = await asked(creator, "w")
        assert (await refused(creator.call("ResolveApproval", resolve(one, "APPROVE")))).reason == "PERMISSION_DENIED"
        await other.call("ResolveApproval", resolve(one, "APPROVE"))
        assert (await other.finished("w")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
        got = _c.GetPendingInputRequest(workflow_id="w", input_id=one.id)
        assert (await creator.call("GetPendingInput", got)).input.principal == "bob"
        await creator.create(plan=plan_of(a=()), workflow_id="v", approval_policy=POLICY)
        await creator.call("ResolveApproval", resolve(await asked(creator, "v"), "REJECT"))
        # A budget that is used up cannot be got round either.
        await creator.create(plan=plan_of(a=(), b=("a",)), workflow_id="u", budget=workflow_pb2.Budget(tokens=1))
        await asked(creator, "u")
        more = _w.UpdateWorkflowRequest(workflow_id="u", budget=workflow_pb2.Budget(tokens=10**9))
        assert (await refused(creator.call("UpdateWorkflow", more))).reason == "PERMISSION_DENIED"
        await other.call("UpdateWorkflow", more)
        assert (await other.finished("u")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED


async def test_with_a_separate_approver_the_creator_may_not_take_an_approval_away(tmp_path: Path) -> None:
    registry = TokenRegistry(tmp_path / "orcs.db")
    ann = registry.create("ann", "default", ("operate", "approve"))
    bob, eve = (
        registry.create("bob", "default", ("operate", "approve")),
        registry.create("eve", "default", ("operate",)),
    )
    settings = settings_in(tmp_path, approvals={"separate_approver": True})
    async with (
        Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server,
        connected(str(server.address), ann) as creator,
        connected(str(server.address), bob) as approver,
        connected(str(server.address), eve) as operator,
    ):
        plan = plan_of(a=(), b=("a",))
        plan.tasks[0].needs_approval = True
        await creator.create(plan=plan, workflow_id="w")
        await asked(creator, "w")
        change = workflow_service_pb2.EditPlanRequest(
            workflow_id="w",
            edits=[plan_edit_pb2.PlanEdit(change=plan_edit_pb2.ChangeTask(task_id="a", needs_approval=False))],
        )
        tried = workflow_service_pb2.EditPlanRequest(validate_only=True)
        tried.MergeFrom(change)
        update = task_service_pb2.UpdateTaskRequest(workflow_id="w", task_id="a", description="do something else")
        skip = task_service_pb2.SkipTaskRequest(workflow_id="w", task_id="a")
        for wire in (creator, operator):
            for name, request in (("EditPlan", change), ("EditPlan", tried), ("SkipTask", skip)):
                assert (await refused(wire.call(name, request))).reason == "PERMISSION_DENIED", name
        await creator.call("UpdateTask", update)
        await approver.call("SkipTask", skip)
        assert (await approver.finished("w")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED


async def test_approvals_expire_after_the_time_that_is_set(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, insecure_no_auth=True, approvals={"expire_after": 0.2})
    async with (
        Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server,
        connected(str(server.address), None) as wire,
    ):
        created = await wire.create(plan=plan_of(a=()), workflow_id="w", approval_policy=POLICY)
        assert created.workflow.approval_timeout.ToMicroseconds() == 200_000
        failed = await wire.finished("w")
        assert failed.failure.kind == common_pb2.FAILURE_KIND_INPUT_EXPIRED
