"""Approvals of tasks and tools, over gRPC and kills; of plans see `test_plans.py`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orcs_client import Conflict, IllegalTransition, PermissionDenied
from orcs_client.v1 import common_pb2
from orcs_client.v1 import workflow_pb2 as w
from tests.control.script import ask, look, script, task, wire_money
from tests.control.stage import APPROVE, EDIT, FAILED, REJECT, Stage, Zygote, staged


@pytest.mark.parametrize(
    ("decision", "rest", "read", "called"),
    [
        (APPROVE, {}, "t: wired", True),
        (REJECT, {"reason": "Too much."}, "Too much.", False),
        (EDIT, {"content": {"what": "half of it"}}, "t: half of it", True),
    ],
)
async def test_a_tool_waits_for_approval_of_exactly_its_arguments(
    stage: Stage, decision: w.Decision.ValueType, rest: dict[str, Any], read: str, *, called: bool
) -> None:
    workflow_id = await stage.create(task("a", [look("l"), wire_money("t")], [look("m")]), task("b"))
    asked = await stage.input(workflow_id)
    assert asked.kind == w.PENDING_INPUT_KIND_TOOL_APPROVAL
    assert '"what":"wired"' in asked.subject.json
    await stage.restart()
    with pytest.raises(Conflict) as stale:
        await stage.client.resolve_approval(workflow_id, asked.id, APPROVE, subject_sha256="0" * 64)
    assert stale.value.reason == "STALE_APPROVAL"
    await stage.decide(asked, decision, **rest)
    await stage.decide(asked, decision, **rest)
    with pytest.raises(IllegalTransition) as late:
        await stage.decide(asked, REJECT if decision == APPROVE else APPROVE)
    assert late.value.reason == "INPUT_ALREADY_RESOLVED"
    await stage.end_of(workflow_id)
    assert read in (await stage.output(workflow_id, "a"))[1]
    calls = stage.calls("a")
    assert ("tool t" in calls) == called
    assert [calls.count(name) for name in ("model 0", "tool l")] == [1, 1]


async def test_an_approved_tool_that_is_cut_off_is_in_doubt_and_not_called_again(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [wire_money("t", gate="never")]))
    await stage.decide(await stage.input(workflow_id), APPROVE)
    await stage.begun("a", "tool t")
    await stage.restart()
    asked = await stage.input(workflow_id)
    assert asked.kind == w.PENDING_INPUT_KIND_UNSAFE_RERUN
    await stage.decide(asked, REJECT, reason="It went through.")
    await stage.end_of(workflow_id)
    assert "It went through." in (await stage.output(workflow_id, "a"))[0]
    assert stage.calls("a").count("tool t") == 1


async def test_tasks_wait_for_approval_and_are_changed_or_refused(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a"),
        task("b", answer="planned", needs="a", needs_approval=True),
        task("c", needs="a", needs_approval=True),
        task("d", needs="c", optional=True),
        task("e", answer="approved", needs_approval=True),
    )
    await stage.task_until(workflow_id, "a", "COMPLETED")
    asked = {one.task_id: one for one in await stage.inputs(workflow_id, 3)}
    assert {one.kind for one in asked.values()} == {w.PENDING_INPUT_KIND_TASK_APPROVAL}
    await stage.restart()
    with pytest.raises(Conflict):
        await stage.client.resolve_approval(workflow_id, "i1", APPROVE, subject_sha256="f" * 64)
    await stage.decide(asked["b"], EDIT, content=script(answer="edited"))
    await stage.decide(asked["c"], REJECT, reason="Not now.")
    await stage.restart()
    await stage.decide(asked["e"], APPROVE)
    await stage.end_of(workflow_id, FAILED)
    assert [(await stage.task(workflow_id, name)).output.text for name in "be"] == ["edited", "approved"]
    refused = await stage.task(workflow_id, "c")
    assert (refused.failure.kind, "Not now." in refused.failure.message) == (common_pb2.FAILURE_KIND_REJECTED, True)
    assert (stage.calls("c"), stage.calls("d")) == ([], [])


async def test_approvals_expire_over_a_kill(zygote: Zygote, tmp_path: Path) -> None:
    async with staged(zygote, tmp_path / "stage", approvals={"expire_after": 1.5}) as stage:
        workflow_id = await stage.create(task("a", [wire_money("t")]), task("b", needs_approval=True))
        asked = await stage.inputs(workflow_id, 2)
        await stage.kill()
        await asyncio.sleep(1.5)
        await stage.start()
        await stage.end_of(workflow_id, FAILED)
        assert "nobody decided about it in time" in (await stage.output(workflow_id, "a"))[0]
        assert (await stage.task(workflow_id, "b")).failure.kind == common_pb2.FAILURE_KIND_INPUT_EXPIRED
        for one in asked:
            with pytest.raises(IllegalTransition):
                await stage.decide(one, APPROVE)
        assert (stage.calls("a"), stage.calls("b")) == (["model 0", "model 1"], [])


async def test_whoever_creates_does_not_approve_and_whoever_answers_does_not_either(
    zygote: Zygote, tmp_path: Path
) -> None:
    async with staged(zygote, tmp_path / "stage", approvals={"separate_approver": True}) as stage:
        answering, approving = stage.client_of("ada", "answer"), stage.client_of("bob", "approve")
        operating = stage.client_of("eve", "operate")
        workflow_id = await stage.create(task("a", [wire_money("t"), ask("q", "Sure?")]))
        first, second = await stage.inputs(workflow_id, 2)
        tool, question = (first, second) if first.kind == w.PENDING_INPUT_KIND_TOOL_APPROVAL else (second, first)
        await asyncio.sleep(1.1)  # Until their tokens hold.
        shown = tool.subject_sha256
        for client in (stage.client, answering, operating):
            with pytest.raises(PermissionDenied):
                await client.resolve_approval(workflow_id, tool.id, APPROVE, subject_sha256=shown)
        with pytest.raises(PermissionDenied):
            await operating.answer_input(workflow_id, question.id, "yes")
        await answering.answer_input(workflow_id, question.id, "yes")
        await stage.restart()
        await approving.resolve_approval(workflow_id, tool.id, APPROVE, subject_sha256=shown)
        await stage.end_of(workflow_id)
        resolved = (await stage.client.get_pending_input(workflow_id, tool.id)).input
        assert (resolved.principal, resolved.resolution) == ("bob", w.INPUT_RESOLUTION_APPROVED)
        assert await stage.output(workflow_id, "a") == ["t: wired", "yes"]
        await asyncio.gather(*(one.close() for one in (answering, approving, operating)))
