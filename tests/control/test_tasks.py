"""Retry, skip and update of single tasks over gRPC, with kills in between: only what has changed is carried out again."""

from __future__ import annotations

import pytest

from orcs_client import IllegalTransition
from orcs_client.v1 import workflow_pb2 as w
from tests.control.script import look, pay, script, task
from tests.control.stage import CANCELLED, COMPLETED, FAILED, Stage


async def test_a_failed_task_that_is_retried_goes_on_where_it_failed(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("l"), pay("p")], [look("m")], gates={2: "never"}, max_attempts=1, timeout=1),
        task("b", needs="a"),
        task("c"),
    )
    failed = await stage.end_of(workflow_id, FAILED)
    assert (failed.task_counts.failed, failed.task_counts.skipped, failed.task_counts.completed) == (1, 1, 1)
    await stage.restart()
    stage.open("never")
    preview = await stage.client.retry_task(workflow_id, "a", validate_only=True)
    assert [one.task_id for one in preview.reruns] == ["a", "b"]
    assert stage.calls("a").count("model 2") == 1
    await stage.client.retry_task(workflow_id, "a")
    await stage.restart()
    await stage.end_of(workflow_id)
    calls = stage.calls("a")
    assert [calls.count(name) for name in ("model 0", "tool l", "tool p", "model 1", "tool m")] == [1, 1, 1, 1, 1]
    assert stage.calls("c") == ["model 0"]


async def test_a_retry_with_dependants_of_a_completed_workflow_stops_where_nothing_changes(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("l")]),
        task("b", answer="the same", needs="a"),
        task("c", needs="b"),
        task("d"),
    )
    await stage.end_of(workflow_id)
    await stage.restart()
    again = script([look("new")], [look("held", "g")])
    await stage.client.retry_task(workflow_id, "a", description=again, include_dependants=True)
    await stage.begun("a", "tool held")
    await stage.restart()
    stage.open("g")
    await stage.end_of(workflow_id)
    assert await stage.output(workflow_id, "a") == ["new: seen", "held: seen"]
    assert stage.calls("a").count("tool new") == 1
    assert len(stage.calls("b")) >= 2
    assert (stage.calls("c"), stage.calls("d")) == (["model 0"], ["model 0"])
    reused = [one.task_completed.task_id for one in await stage.log(workflow_id) if one.task_completed.reused]
    assert reused == ["c"]


async def test_without_dependants_they_stay_and_are_marked_stale(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", answer="one"), task("b", needs="a"))
    await stage.end_of(workflow_id)
    await stage.client.retry_task(workflow_id, "a", description=script(answer="two"))
    await stage.restart()
    await stage.until(workflow_id, COMPLETED)
    await stage.task_until(workflow_id, "a", "COMPLETED")
    assert (await stage.task(workflow_id, "a")).output.text == "two"
    stale = await stage.task(workflow_id, "b")
    assert (stale.stale, stage.calls("b")) == (True, ["model 0"])


async def test_a_skip_with_a_substitute_reopens_a_failed_workflow(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", broken_until="never", max_attempts=1), task("b", needs="a"), task("c", needs="b")
    )
    await stage.end_of(workflow_id, FAILED)
    await stage.restart()
    await stage.client.skip_task(workflow_id, "a", reason="found by hand", substitute="the substitute")
    await stage.restart()
    await stage.end_of(workflow_id)
    assert await stage.output(workflow_id, "b") == ["the substitute"]
    assert (await stage.task(workflow_id, "a")).state == w.TASK_STATE_SKIPPED


async def test_a_completed_task_is_retried_and_not_skipped(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", answer="wrong"), task("b", needs="a"))
    await stage.end_of(workflow_id)
    await stage.restart()
    with pytest.raises(IllegalTransition) as refused:
        await stage.client.skip_task(workflow_id, "a", substitute="right")
    assert refused.value.reason == "ILLEGAL_TRANSITION"
    assert "Task a has completed: retry it" in str(refused.value)
    assert (await stage.workflow(workflow_id)).state == COMPLETED
    assert (await stage.task(workflow_id, "a")).output.text == "wrong"
    await stage.client.retry_task(workflow_id, "a", description=script(answer="right"), include_dependants=True)
    await stage.end_of(workflow_id)
    assert (await stage.task(workflow_id, "a")).output.text == "right"


async def test_one_task_is_cancelled_and_another_one_updated_before_it_begins(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("l", "g")]), task("b", needs="a"), task("c", [look("m", "h")]), task("d", needs="c")
    )
    await stage.begun("a", "tool l")
    await stage.begun("c", "tool m")
    await stage.client.cancel_task(workflow_id, "c", reason="wrong")
    await stage.client.update_task(workflow_id, "b", description=script(answer="updated"), priority=7)
    await stage.restart()
    stage.open("g", "h")
    with pytest.raises(IllegalTransition) as refused:
        await stage.client.update_task(workflow_id, "c", priority=1)
    assert refused.value.reason == "ILLEGAL_TRANSITION"
    await stage.end_of(workflow_id, FAILED)
    b = await stage.task(workflow_id, "b")
    assert (b.output.text, b.priority) == ("updated", 7)
    assert (await stage.task(workflow_id, "c")).state == w.TASK_STATE_CANCELLED
    assert (await stage.task(workflow_id, "d")).state == w.TASK_STATE_SKIPPED
    assert stage.calls("c") == ["model 0", "tool m"]


async def test_a_cancelled_workflow_stays_cancelled(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [look("l", "g")]))
    await stage.begun("a", "tool l")
    await stage.client.cancel_workflow(workflow_id, immediate=True)
    await stage.restart()
    await stage.end_of(workflow_id, CANCELLED)
    with pytest.raises(IllegalTransition):
        await stage.client.retry_task(workflow_id, "a")
