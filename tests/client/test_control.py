"""The client's calls of control against the real server, and the inbox over cuts."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orcs_client import (
    BlockingOrcsClient,
    Conflict,
    IllegalTransition,
    InvalidArgument,
    NotFound,
    OrcsClient,
    add_task,
    budget,
    change_task,
    load_edits,
    parse_edits,
    plan,
    remove_task,
    set_dependencies,
)
from orcs_client.inbox import InputsUpdate
from orcs_client.messages import ApprovalPolicy, Decision, PendingInputKind, Plan, WorkflowState, value_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server_process import ServerProcess

COMPLETED = value_named(WorkflowState, "completed")
APPROVE, REJECT = value_named(Decision, "approve"), value_named(Decision, "reject")
GATE = value_named(ApprovalPolicy, "plan")


def chain(*ids: str) -> Plan:
    """Return a plan of tasks, one after the other."""
    agent = "research_agent"
    return plan(
        [
            {"id": name, "title": name, "description": name, "agent_id": agent, "dependencies": ids[at - 1 : at]}
            for at, name in enumerate(ids)
        ]
    )


async def asked(client: OrcsClient, workflow_id: str) -> Any:
    async with aclosing(client.watch_pending_inputs(workflow_id=workflow_id)) as updates:
        async for update in updates:
            for one in update.inputs:
                if not one.resolution:
                    return (await client.get_pending_input(workflow_id, one.id)).input
    raise AssertionError("nothing is asked")


async def test_every_call_of_control_reaches_the_real_server(orcs_server_process: ServerProcess) -> None:
    async with OrcsClient(orcs_server_process.address, token=orcs_server_process.token) as client:
        made = await client.create_workflow(plan=chain("a", "b", "c", "d"), auto_start=False)
        ours = made.workflow.id
        assert (await client.pause_workflow(ours, reason="later")).workflow.paused
        assert not (await client.resume_workflow(ours)).workflow.paused
        await client.update_workflow(ours, budget=budget(tokens=10**9, wall_time=3600), labels={"x": "y"}, priority=3)
        workflow = (await client.get_workflow(ours)).workflow
        assert (workflow.budget.tokens, workflow.budget.wall_time.seconds) == (10**9, 3600)
        edits = [
            add_task(id="e", title="E", description="e", agent_id="writing_agent", budget=budget(tokens=10**9)),
            change_task("b", title="B", timeout=30, budget=budget()),
            set_dependencies("c", ["e"]),
            remove_task("d"),
        ]
        tried = await client.edit_plan(ours, edits, validate_only=True)
        assert (list(tried.changes.removed_task_ids), list(tried.violations)) == (["d"], [])
        assert (await client.edit_plan(ours, edits, plan_revision=1)).plan_revision == 2
        with pytest.raises(Conflict):
            await client.edit_plan(ours, edits, plan_revision=1)
        assert (await client.update_task(ours, "b", priority=9, timeout=0)).task.priority == 9
        assert [one.revision async for one in client.list_plan_revisions(ours, page_size=1)] == [1, 2, 3]
        compared = await client.compare_plan_revisions(ours, from_revision=1)
        assert [task.id for task in compared.changes.added] == ["e"]
        await client.send_message(ours, "Be short.", task_id="a")
        assert (await client.skip_task(ours, "e", reason="known", substitute="It is known.")).task.waived
        await client.start_workflow(ours)
        assert (await client.wait(ours)).state == COMPLETED
        preview = await client.retry_task(ours, "a", include_dependants=True, validate_only=True)
        assert [one.task_id for one in preview.reruns] == ["a", "b"]
        await client.retry_task(ours, "a", description="a again", include_dependants=True)
        assert (await client.wait(ours)).state == COMPLETED
        other = (await client.create_workflow(plan=chain("a", "b"), auto_start=False)).workflow.id
        await client.cancel_task(other, "b", reason="no use")
        await client.cancel_workflow(other, immediate=True, reason="no use")
        with pytest.raises(IllegalTransition):
            await client.resume_workflow(other)
        with pytest.raises(IllegalTransition):
            await client.replan(ours, "otherwise")


async def test_approvals_are_found_seen_and_decided(orcs_server_process: ServerProcess) -> None:
    async with OrcsClient(orcs_server_process.address, token=orcs_server_process.token) as client:
        ours = (await client.create_workflow(plan=chain("a"), approval_policy=GATE)).workflow.id
        one = await asked(client, ours)
        assert '"a"' in one.subject.json
        listed = [each.id async for each in client.list_pending_inputs(workflow_id=ours, page_size=1)]
        assert listed == [one.id]
        questions = client.list_pending_inputs(workflow_id=ours, kinds=[value_named(PendingInputKind, "question")])
        assert not [each async for each in questions]
        with pytest.raises(Conflict):
            await client.resolve_approval(ours, one.id, APPROVE, subject_sha256="0" * 64)
        with pytest.raises(IllegalTransition):
            await client.answer_input(ours, one.id, {"yes": True}, share=True)
        with pytest.raises(NotFound):
            await client.get_pending_input(ours, "i9")
        await client.resolve_approval(ours, one.id, APPROVE, subject_sha256=one.subject_sha256, reason="fine")
        assert (await client.wait(ours)).state == COMPLETED
        with pytest.raises(IllegalTransition):
            await client.resolve_approval(ours, one.id, REJECT, subject_sha256=one.subject_sha256)


async def test_a_watch_of_the_inbox_goes_on_after_the_server_was_killed(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = await asyncio.to_thread(start_server)
    async with OrcsClient(server.address, token=server.token) as client:
        await client.create_workflow(plan=chain("a"), workflow_id="w1", approval_policy=GATE)
        first = await asked(client, "w1")
        lost: list[object] = []
        seen: list[InputsUpdate] = []
        async with aclosing(client.watch_pending_inputs(on_disconnect=lost.append)) as updates:
            seen.append(await anext(updates))
            assert seen[0].snapshot
            assert [one.workflow_id for one in seen[0].inputs] == ["w1"]
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await client.create_workflow(plan=chain("a"), workflow_id="w2", approval_policy=GATE)
            await client.resolve_approval("w1", first.id, APPROVE, subject_sha256=first.subject_sha256)
            told: dict[str, int] = {}
            while set(told) != {"w1", "w2"} or not told["w1"]:
                told.update({one.workflow_id: one.resolution for one in (await anext(updates)).inputs})
        assert lost
        assert told["w2"] == 0


def test_a_namespace_is_frozen_and_thawed_without_an_event_loop(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    with BlockingOrcsClient(server.address, token=server.token) as client:
        client.create_workflow(plan=chain("a"), workflow_id="w", auto_start=False)
        assert client.freeze_namespace(reason="maintenance").workflow_count == 1
        with pytest.raises(IllegalTransition) as caught:
            client.resume_workflow("w")
        assert caught.value.reason == "NAMESPACE_FROZEN"
        client.thaw_namespace()
        client.start_workflow("w")
        assert client.wait("w").state == COMPLETED


def test_edits_are_read_from_json_and_what_is_wrong_is_named(tmp_path: Path) -> None:
    text = """{"edits": [
        {"add": {"task": {"id": "x", "title": "X", "agentId": "r"}}},
        {"change": {"task_id": "b", "timeout": "30s"}},
        {"remove": {"task_id": "c"}},
        {"set_dependencies": {"task_id": "d", "dependencies": ["b"]}}
    ]}"""
    assert [edit.WhichOneof("edit") for edit in parse_edits(text)] == ["add", "change", "remove", "set_dependencies"]
    file = tmp_path / "edits.json"
    file.write_text(text)
    assert load_edits(file) == parse_edits(text)
    for wrong, words in (
        ("[]", "must be a JSON object"),
        ("{}", "holds no edits"),
        ('{"edits": [{"change": {"task_id": "a", "titel": "x"}}]}', "edits[0].change has no field 'titel'"),
        ('{"edits": [{"remove": {"task_id": "a"}}], "workflow_id": "w"}', "only the edits belong here"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            parse_edits(wrong)
        assert words in str(caught.value), wrong
    with pytest.raises(InvalidArgument):
        change_task("a", titel="x")  # type: ignore[call-arg]
    with pytest.raises(InvalidArgument):
        add_task(id="a", titel="x")  # type: ignore[call-arg]
