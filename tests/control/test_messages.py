"""Messages to what runs, over gRPC and kills: each is read once, at its place."""

from __future__ import annotations

from orcs_client.v1 import workflow_pb2 as w
from tests.control.script import delegate, look, planned, task
from tests.control.stage import Stage

INTERRUPT, REPLAN = w.MESSAGE_MODE_INTERRUPT, w.MESSAGE_MODE_REPLAN


async def test_a_message_is_read_at_the_next_turn_and_stays_where_it_was_read(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [look("one", "g")], [look("two", "h")], [look("three")]))
    await stage.begun("a", "tool one")
    await stage.client.send_message(workflow_id, "Mind the gap.", task_id="a")
    await stage.restart()
    stage.open("g")
    await stage.begun("a", "tool two")
    await stage.restart()
    stage.open("h")
    await stage.end_of(workflow_id)
    assert await stage.output(workflow_id, "a") == ["one: seen", "two: seen", "three: seen", "Mind the gap."]
    assert [stage.calls("a").count(f"model {turn}") for turn in range(4)] == [1, 1, 1, 1]
    assert "journal_mismatch" not in [one.WhichOneof("body") for one in await stage.log(workflow_id)]


async def test_a_message_to_the_workflow_reaches_what_runs_and_what_begins_later(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [look("one", "g")]), task("b", [look("two")], needs="a"))
    await stage.begun("a", "tool one")
    await stage.client.send_message(workflow_id, "In euros, please.")
    await stage.restart()
    stage.open("g")
    await stage.end_of(workflow_id)
    for name in "ab":
        assert "In euros, please." in await stage.output(workflow_id, name)


async def test_an_interruption_gives_up_the_model_call_that_streams_and_nothing_else(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [look("one")], gates={1: "never"}), task("b", [look("two", "h")]))
    await stage.begun("a", "model 1")
    await stage.begun("b", "tool two")
    await stage.client.send_message(workflow_id, "Stop that.", task_id="a", mode=INTERRUPT)
    await stage.begun("a", "model 1", times=2)
    await stage.restart()
    await stage.begun("a", "model 1", times=3)
    await stage.client.send_message(workflow_id, "And that.", task_id="a", mode=INTERRUPT)
    await stage.begun("a", "model 1", times=4)
    stage.open("never", "h")
    await stage.end_of(workflow_id)
    assert await stage.output(workflow_id, "a") == ["one: seen", "Stop that.", "And that."]
    assert stage.calls("a", "ended") == ["model 0", "tool one", "model 1"]
    assert stage.calls("b").count("model 0") == 1


async def test_a_message_that_meets_the_final_answer_is_read_before_the_task_ends(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [look("one")], gates={1: "g", 2: "h"}))
    await stage.begun("a", "model 1")
    await stage.client.send_message(workflow_id, "One thing more.", task_id="a")
    stage.open("g")
    await stage.begun("a", "model 2")
    await stage.restart()
    assert (await stage.task(workflow_id, "a")).state != w.TASK_STATE_COMPLETED
    stage.open("h")
    await stage.end_of(workflow_id)
    assert await stage.output(workflow_id, "a") == ["one: seen", "One thing more."]
    assert [stage.calls("a").count(name) for name in ("model 0", "tool one", "model 1")] == [1, 1, 1]


async def test_an_interruption_while_a_nested_agent_works_is_read_by_the_outer_one(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [delegate("d", [look("inner", "g")])]))
    await stage.begun("a", "tool d/inner")
    await stage.client.send_message(workflow_id, "Shorter.", task_id="a", mode=INTERRUPT)
    await stage.restart()
    stage.open("g")
    await stage.end_of(workflow_id)
    assert (await stage.output(workflow_id, "a"))[-1] == "Shorter."
    assert stage.calls("a").count("model d/0") == 1


async def test_a_message_with_replan_has_what_has_not_begun_planned_anew(stage: Stage) -> None:
    workflow_id = await stage.create(
        query=planned(task("first", [look("one", "g")]), task("second", needs="")), max_parallel_tasks=1
    )
    await stage.begun("t1", "tool one")
    await stage.client.send_message(workflow_id, planned(task("instead")), mode=REPLAN)
    await stage.restart()
    stage.open("g")
    await stage.end_of(workflow_id)
    titles = [one.title async for one in stage.client.list_tasks(workflow_id)]
    assert titles == ["Title of first", "Title of instead"]
    assert stage.calls("t1").count("model 0") == 1
    assert stage.calls("t2") == []


async def test_what_is_sent_twice_under_one_request_id_is_read_once_over_a_kill(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [look("one", "g")]))
    await stage.begun("a", "tool one")
    first = await stage.client.send_message(workflow_id, "Once.", task_id="a", request_id="r1")
    await stage.restart()
    second = await stage.client.send_message(workflow_id, "Once.", task_id="a", request_id="r1")
    assert first.cursor == second.cursor
    stage.open("g")
    await stage.end_of(workflow_id)
    assert await stage.output(workflow_id, "a") == ["one: seen", "Once."]
