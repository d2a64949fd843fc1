"""Plans that are edited, made anew, proposed and approved while the workflow runs, over gRPC and kills."""

from __future__ import annotations

import pytest

from orcs_client import (
    Conflict,
    IllegalTransition,
    InvalidArgument,
    add_task,
    change_task,
    remove_task,
    set_dependencies,
)
from orcs_client.v1 import workflow_pb2 as w
from tests.control.script import look, planned, propose, script, task
from tests.control.stage import APPROVE, FAILED, REJECT, RUNNING, Stage


async def test_a_live_edit_is_all_or_nothing_and_outlives_a_kill(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("l", "g")]), task("b", needs="a"), task("x", needs="a"), task("y", answer="old", needs="a")
    )
    await stage.begun("a", "tool l")
    added = task("c", [look("m")], needs="a")
    edits = (
        add_task(**added),
        set_dependencies("b", ("a", "c")),
        remove_task("x"),
        change_task("y", description=script(answer="new")),
    )
    with pytest.raises(InvalidArgument) as refused:
        await stage.client.edit_plan(workflow_id, (*edits, set_dependencies("c", ("b",))))
    assert refused.value.reason == "PLAN_INVALID"
    with pytest.raises(IllegalTransition, match="too late"):
        await stage.client.edit_plan(workflow_id, (remove_task("a"),))
    assert (await stage.workflow(workflow_id)).plan_revision == 1
    preview = await stage.client.edit_plan(workflow_id, edits, plan_revision=1, validate_only=True)
    assert not preview.violations
    await stage.client.edit_plan(workflow_id, edits, plan_revision=1)
    await stage.restart()
    with pytest.raises(Conflict) as stale:
        await stage.client.edit_plan(workflow_id, (remove_task("y"),), plan_revision=1)
    assert stale.value.reason == "STALE_REVISION"
    with pytest.raises(InvalidArgument):
        await stage.client.edit_plan(workflow_id, (add_task(**task("x")),))
    stage.open("g")
    await stage.end_of(workflow_id)
    assert stage.calls("a").count("model 0") == 1
    assert (stage.calls("x"), stage.calls("c")) == ([], ["model 0", "tool m", "model 1"])
    assert len(await stage.output(workflow_id, "b")) == 2
    assert (await stage.task(workflow_id, "y")).output.text == "new"
    revisions = [one async for one in stage.client.list_plan_revisions(workflow_id)]
    assert [one.revision for one in revisions] == [1, 2]
    difference = await stage.client.compare_plan_revisions(workflow_id)
    assert [one.id for one in difference.changes.added] == ["c"]
    assert list(difference.changes.removed_task_ids) == ["x"]


async def test_a_completed_workflow_that_gets_a_task_goes_on(stage: Stage) -> None:
    workflow_id = await stage.create(task("a"))
    await stage.end_of(workflow_id)
    await stage.restart()
    await stage.client.edit_plan(workflow_id, (add_task(**task("b", [look("l", "g")], needs="a")),))
    await stage.begun("b", "tool l")
    await stage.restart()
    stage.open("g")
    await stage.end_of(workflow_id)
    assert stage.calls("a") == ["model 0"]
    assert stage.calls("b").count("model 0") == 1


async def test_what_has_not_begun_is_planned_anew_while_the_rest_runs(stage: Stage) -> None:
    query = planned(task("first", [look("l", "g")]), task("second", [look("never")], needs=""))
    workflow_id = await stage.create(query=query, max_parallel_tasks=1)
    await stage.begun("t1", "tool l")
    instructions = planned(task("third", [look("m")], needs="t1"))
    await stage.client.replan(workflow_id, instructions, plan_revision=1)
    await stage.restart()
    stage.open("g")
    ended = await stage.end_of(workflow_id)
    assert ended.plan_revision == 2
    tasks = [one async for one in stage.client.list_tasks(workflow_id)]
    assert [(one.id, one.title) for one in tasks] == [("t1", "Title of first"), ("t3", "Title of third")]
    assert (stage.calls("t1").count("model 0"), stage.calls("t2")) == (1, [])
    assert await stage.output(workflow_id, "t3") == [str(await _text(stage, workflow_id, "t1")), "m: seen"]


async def _text(stage: Stage, workflow_id: str, task_id: str) -> str:
    return (await stage.task(workflow_id, task_id)).output.text


async def test_a_planner_that_is_killed_while_it_plans_anew_does_it_once_more(stage: Stage) -> None:
    workflow_id = await stage.create(query=planned(task("first")))
    await stage.end_of(workflow_id)
    slow = planned(task("late", needs="t1"))[:-1] + ', "gates": {"0": "g"}}'
    await stage.client.replan(workflow_id, slow)
    await stage.begun("", "model 0", times=2)
    assert (await stage.workflow(workflow_id)).planning.replanning
    with pytest.raises(IllegalTransition):
        await stage.client.edit_plan(workflow_id, (remove_task("t1"),))
    await stage.restart()
    stage.open("g")
    await stage.task_until(workflow_id, "t2", "COMPLETED")
    await stage.end_of(workflow_id)
    assert stage.calls("t1") == ["model 0"]


async def test_a_running_task_proposes_tasks_once_whatever_is_killed(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [propose("p", task("n", [look("l")]))], [look("m", "g")]))
    await stage.begun("a", "tool m")
    await stage.restart()
    stage.open("g")
    await stage.end_of(workflow_id)
    tasks = [one async for one in stage.client.list_tasks(workflow_id)]
    assert [(one.title, one.depth) for one in tasks] == [("Title of a", 0), ("Title of n", 1)]
    (said, _) = await stage.output(workflow_id, "a")
    assert tasks[1].id in said
    assert stage.calls("a").count("model 0") == 1
    changes = [one for one in await stage.log(workflow_id) if one.WhichOneof("body") == "plan_amended"]
    assert [(one.plan_amended.proposer_task_id, one.plan_amended.source) for one in changes] == [
        ("a", w.PLAN_SOURCE_TASK)
    ]


async def test_a_plan_waits_for_approval_and_again_when_it_materially_changes(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("l", "g")]), task("b", needs="a"), approval_policy=w.APPROVAL_POLICY_PLAN
    )
    first = await stage.input(workflow_id)
    assert first.kind == w.PENDING_INPUT_KIND_PLAN_APPROVAL
    await stage.restart()
    await stage.client.edit_plan(workflow_id, (change_task("b", description=script(answer="changed")),))
    second = await stage.input(workflow_id)
    assert second.subject_sha256 != first.subject_sha256
    with pytest.raises((Conflict, IllegalTransition)):
        await stage.decide(first, APPROVE)
    assert stage.calls("a") == []
    await stage.decide(second, APPROVE)
    await stage.begun("a", "tool l")
    await stage.client.edit_plan(workflow_id, (change_task("b", title="Another title", priority=3),))
    assert (await stage.workflow(workflow_id)).pending_input_count == 0
    await stage.client.edit_plan(workflow_id, (add_task(**task("c")),))
    third = await stage.input(workflow_id)
    stage.open("g")
    await stage.task_until(workflow_id, "a", "COMPLETED")
    await stage.restart()
    assert (stage.calls("b"), stage.calls("c")) == ([], [])
    await stage.decide(third, APPROVE)
    await stage.end_of(workflow_id)
    assert stage.calls("a").count("model 0") == 1


async def test_a_rejected_plan_goes_back_to_the_planner_with_the_reason(stage: Stage) -> None:
    workflow_id = await stage.create(query=planned(task("bad")), approval_policy=w.APPROVAL_POLICY_PLAN)
    await stage.decide(await stage.input(workflow_id), REJECT, reason=planned(task("good")))
    await stage.restart()
    asked = await stage.input(workflow_id)
    assert asked.id != "i1"
    await stage.decide(asked, APPROVE)
    await stage.end_of(workflow_id)
    titles = [one.title async for one in stage.client.list_tasks(workflow_id)]
    assert titles == ["Title of good"]
    assert stage.calls("t1") == []


async def test_a_clients_plan_that_is_rejected_is_the_end(stage: Stage) -> None:
    workflow_id = await stage.create(task("a"), approval_policy=w.APPROVAL_POLICY_PLAN)
    asked = await stage.input(workflow_id)
    await stage.restart()
    await stage.decide(asked, REJECT, reason="Not this one.")
    failed = await stage.end_of(workflow_id, FAILED)
    assert "Not this one." in failed.failure.message
    assert stage.calls("a") == []


async def test_a_plan_that_is_edited_while_paused_runs_as_edited(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [look("l", "g")]), task("b", answer="old", needs="a"))
    await stage.begun("a", "tool l")
    await stage.client.pause_workflow(workflow_id)
    await stage.client.edit_plan(workflow_id, (change_task("b", description=script(answer="new")),))
    await stage.restart()
    stage.open("g")
    await stage.client.resume_workflow(workflow_id)
    await stage.until(workflow_id, RUNNING, w.WORKFLOW_STATE_COMPLETED)
    await stage.end_of(workflow_id)
    assert await _text(stage, workflow_id, "b") == "new"
