"""Three stops, cancel and freeze, over gRPC, with the server killed in the middle: nothing that is finished is called again."""

from __future__ import annotations

import asyncio

import pytest

from orcs_client import IllegalTransition
from orcs_client.v1 import workflow_pb2 as w
from tests.control.script import delegate, look, pay, task
from tests.control.stage import APPROVE, CANCELLED, COMPLETED, EDIT, PAUSED, PAUSING, REJECT, RUNNING, Stage


async def test_a_drain_lets_what_runs_end_and_a_kill_within_it_changes_nothing(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("one", "g")], [look("two")]), task("b", [look("three")], needs="a")
    )
    await stage.begun("a", "tool one")
    paused = await stage.client.pause_workflow(workflow_id, mode=w.STOP_MODE_DRAIN, reason="lunch")
    assert paused.workflow.state == PAUSING
    await stage.kill()
    stage.open("g")
    await stage.start()
    stopped = await stage.until(workflow_id, PAUSED)
    # What the kill cut off was not run any more when the pause was: it waits.
    assert stopped.task_counts.running == 0
    await stage.client.resume_workflow(workflow_id)
    await stage.end_of(workflow_id)
    assert stage.calls("b") == ["model 0", "tool three", "model 1"]
    assert stage.calls("a").count("model 0") == 1


async def test_a_drain_is_over_when_what_runs_has_ended_by_itself(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [look("one", "g")], [look("two")]), task("b", needs="a"))
    await stage.begun("a", "tool one")
    await stage.client.pause_workflow(workflow_id, mode=w.STOP_MODE_DRAIN)
    stage.open("g")
    paused = await stage.until(workflow_id, PAUSED)
    assert (paused.task_counts.completed, paused.task_counts.ready) == (1, 1)
    await stage.restart()
    assert stage.calls("b") == []
    await stage.client.resume_workflow(workflow_id)
    await stage.end_of(workflow_id)
    assert stage.calls("a") == ["model 0", "tool one", "model 1", "tool two", "model 2"]
    assert stage.calls("b") == ["model 0"]


async def test_after_a_turn_each_agent_stops_before_its_next_model_call(stage: Stage) -> None:
    tasks = (
        task("a", [look("one", "g"), pay("two", "g")], [look("three")]),
        task("b", [delegate("d", [look("inner", "g")])], [look("four")]),
    )
    workflow_id = await stage.create(*tasks)
    await asyncio.gather(stage.begun("a", "tool two"), stage.begun("b", "tool d/inner"))
    await stage.client.pause_workflow(workflow_id)
    assert (await stage.workflow(workflow_id)).state == PAUSING
    stage.open("g")
    await stage.until(workflow_id, PAUSED)
    a, b = ["model 0", "tool one", "tool two"], ["model 0", "model d/0", "tool d/inner"]
    assert (sorted(stage.calls("a")), stage.calls("b")) == (a, b)
    await stage.restart()
    assert (await stage.workflow(workflow_id)).state == PAUSED
    await stage.client.resume_workflow(workflow_id)
    await stage.end_of(workflow_id)
    assert sorted(stage.calls("a")) == sorted([*a, "model 1", "tool three", "model 2"])
    assert stage.calls("b") == [*b, "model d/1", "model 1", "tool four", "model 2"]
    assert (await stage.task(workflow_id, "a")).failed_attempts == 0


@pytest.mark.parametrize(
    ("decision", "rest", "result", "times"),
    [
        (APPROVE, {}, "p: paid", 2),
        (REJECT, {"reason": "The bank says no."}, "The bank says no.", 1),
        (EDIT, {"content": "paid by hand"}, "paid by hand", 1),
    ],
)
async def test_an_immediate_pause_asks_about_what_must_not_run_twice(
    stage: Stage, decision: w.Decision.ValueType, rest: dict[str, str], result: str, times: int
) -> None:
    workflow_id = await stage.create(task("a", [look("l")], [pay("p", "g")]))
    await stage.begun("a", "tool p")
    await stage.client.pause_workflow(workflow_id, mode=w.STOP_MODE_IMMEDIATE)
    await stage.until(workflow_id, PAUSED)
    await stage.client.resume_workflow(workflow_id)
    asked = await stage.input(workflow_id)
    assert asked.kind == w.PENDING_INPUT_KIND_UNSAFE_RERUN
    await stage.restart()
    stage.open("g")
    assert (await stage.input(workflow_id)).subject_sha256 == asked.subject_sha256
    await stage.decide(asked, decision, **rest)
    await stage.end_of(workflow_id)
    calls = stage.calls("a")
    assert calls.count("tool p") == times
    assert [calls.count(name) for name in ("model 0", "model 1", "model 2", "tool l")] == [1, 1, 1, 1]
    assert result in (await stage.output(workflow_id, "a"))[-1]


async def test_what_is_in_doubt_after_a_kill_is_asked_about_again_after_another_kill(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [pay("p", "g")]))
    await stage.begun("a", "tool p")
    await stage.restart()
    await stage.decide(await stage.input(workflow_id), APPROVE)
    await stage.begun("a", "tool p", times=2)
    await stage.restart()
    asked = await stage.input(workflow_id)
    assert asked.id == "i2"
    await stage.decide(asked, EDIT, content="paid, says the bank")
    await stage.end_of(workflow_id)
    assert stage.calls("a").count("tool p") == 2
    assert await stage.output(workflow_id, "a") == ["paid, says the bank"]


@pytest.mark.parametrize("immediate", [False, True])
async def test_cancel_keeps_what_is_finished_and_ends_over_a_kill(stage: Stage, *, immediate: bool) -> None:
    workflow_id = await stage.create(
        task("a", answer="the finding"), task("b", [look("l", "g")], [look("m")], needs="a"), task("c", needs="b")
    )
    await stage.begun("b", "tool l")
    await stage.client.cancel_workflow(workflow_id, immediate=immediate, reason="no longer needed")
    await stage.restart()
    stage.open("g")
    cancelled = await stage.end_of(workflow_id, CANCELLED)
    assert cancelled.task_counts.completed == 1
    assert (await stage.task(workflow_id, "a")).output.text == "the finding"
    with pytest.raises(IllegalTransition):
        await stage.client.resume_workflow(workflow_id)
    assert stage.calls("b") == ["model 0", "tool l"]
    assert stage.calls("c") == []


async def test_a_graceful_cancel_lets_the_turn_end(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [pay("p", "g")], [look("l")]))
    await stage.begun("a", "tool p")
    await stage.client.cancel_workflow(workflow_id)
    assert (await stage.workflow(workflow_id)).state == w.WORKFLOW_STATE_CANCELLING
    stage.open("g")
    await stage.end_of(workflow_id, CANCELLED)
    await stage.restart()
    assert stage.calls("a", "ended") == ["model 0", "tool p"]
    assert stage.calls("a") == ["model 0", "tool p"]


async def test_a_freeze_outlives_a_kill_and_a_thaw_takes_back_nothing_else(stage: Stage) -> None:
    first = await stage.create(task("a", [look("l", "g")], [look("m")]))
    second = await stage.create(task("b"), auto_start=False)
    await stage.begun("a", "tool l")
    await stage.client.pause_workflow(second)
    assert (await stage.client.freeze_namespace(reason="an incident")).workflow_count == 2
    await stage.restart()
    third = await stage.create(task("c"))
    for workflow_id in (first, third):
        assert (await stage.until(workflow_id, PAUSED)).frozen
        with pytest.raises(IllegalTransition) as refused:
            await stage.client.resume_workflow(workflow_id)
        assert refused.value.reason == "NAMESPACE_FROZEN"
    stage.open("g")
    assert stage.calls("c") == []
    assert (await stage.client.thaw_namespace()).workflow_count == 3
    await stage.restart()
    await asyncio.gather(stage.end_of(first), stage.end_of(third))
    still = await stage.workflow(second)
    assert (still.state, still.paused, still.frozen) == (PAUSED, True, False)
    await stage.client.resume_workflow(second)
    await stage.client.start_workflow(second)
    await stage.end_of(second)
    # The kill after the thaw may have cut off c's only call.
    assert (stage.calls("a").count("model 0"), stage.calls("b"), set(stage.calls("c"))) == (1, ["model 0"], {"model 0"})


async def test_sigterm_brings_each_agent_to_a_safe_point_and_nothing_is_repeated(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("one", "g")], [look("two")]), task("b", [pay("p", "g"), look("q")], [look("r")])
    )
    await asyncio.gather(stage.begun("a", "tool one"), stage.begun("b", "tool p"), stage.begun("b", "tool q"))
    stopping = asyncio.create_task(stage.terminate())
    await asyncio.sleep(0.1)
    stage.open("g")
    await stopping
    before = stage.calls("a") + stage.calls("b")
    assert sorted(before) == sorted(["model 0", "tool one", "model 0", "tool p", "tool q"])
    await stage.start()
    await stage.until(workflow_id, RUNNING, COMPLETED)
    await stage.end_of(workflow_id)
    assert stage.calls("a") == ["model 0", "tool one", "model 1", "tool two", "model 2"]
    assert [stage.calls("b").count(name) for name in ("model 0", "tool p", "tool q", "tool r")] == [1, 1, 1, 1]
    happened = [one.WhichOneof("body") for one in await stage.log(workflow_id)]
    assert happened.count("attempt_interrupted") == 2
    assert "attempt_lost" not in happened
