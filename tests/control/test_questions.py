"""Questions of agents to people, over gRPC and kills: a wait costs nothing that was done before it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from orcs_client import IllegalTransition, InvalidArgument, NotFound
from orcs_client.v1 import common_pb2
from orcs_client.v1 import workflow_pb2 as w
from tests.control.script import ask, delegate, look, pay, planned, task
from tests.control.stage import COMPLETED, FAILED, Stage, Zygote, staged

HOW_MANY = json.dumps({"type": "integer", "minimum": 1})


async def test_several_questions_at_once_are_answered_each_by_its_id(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("before"), pay("once")], [ask("q1", "Tea?"), ask("q2", "Milk?"), look("beside")]),
        task("b"),
        task("c", needs="a b"),
    )
    await stage.task_until(workflow_id, "b", "COMPLETED")
    first, second = sorted(await stage.inputs(workflow_id, 2), key=lambda one: one.prompt)
    assert [(one.kind, one.prompt) for one in (second, first)] == [
        (w.PENDING_INPUT_KIND_QUESTION, "Tea?"),
        (w.PENDING_INPUT_KIND_QUESTION, "Milk?"),
    ]
    assert (await stage.task(workflow_id, "a")).state == w.TASK_STATE_INPUT_REQUIRED
    await stage.restart()
    await stage.client.answer_input(workflow_id, second.id, "green")
    assert (await stage.task(workflow_id, "a")).state == w.TASK_STATE_INPUT_REQUIRED
    await stage.restart()
    await stage.client.answer_input(workflow_id, first.id, "none")
    await stage.end_of(workflow_id)
    assert await stage.output(workflow_id, "a") == ["before: seen", "once: paid", "green", "none", "beside: seen"]
    assert sorted(stage.calls("a")) == ["model 0", "model 1", "model 2", "tool before", "tool beside", "tool once"]


async def test_a_nested_agent_asks_and_what_it_did_before_is_not_done_again(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [delegate("d", [look("in")], [ask("q", "Which?")], [look("out")])]))
    asked = await stage.input(workflow_id)
    await stage.restart()
    await stage.client.answer_input(workflow_id, asked.id, "this one")
    await stage.end_of(workflow_id)
    assert "this one" in (await stage.output(workflow_id, "a"))[0]
    assert [stage.calls("a").count(one) for one in ("model 0", "model d/0", "tool d/in", "model d/1")] == [1, 1, 1, 1]


async def test_a_wrong_answer_is_refused_and_the_first_good_one_counts(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [ask("q", "How many?", answer_schema=HOW_MANY)]))
    asked = await stage.input(workflow_id)
    assert json.loads(asked.answer_schema)["minimum"] == 1
    for wrong in (0, "three", {"many": 3}, None):
        with pytest.raises(InvalidArgument):
            await stage.client.answer_input(workflow_id, asked.id, wrong)
    with pytest.raises(NotFound) as unknown:
        await stage.client.answer_input(workflow_id, "i99", 3)
    assert unknown.value.reason == "INPUT_NOT_FOUND"
    others = [stage.client_of(name, "answer") for name in ("ada", "bob")]
    await stage.restart()
    results = await asyncio.gather(
        *(one.answer_input(workflow_id, asked.id, 3 + place) for place, one in enumerate(others)),
        return_exceptions=True,
    )
    refused = [one for one in results if isinstance(one, BaseException)]
    assert len(refused) == 1
    assert isinstance(refused[0], IllegalTransition)
    assert refused[0].reason == "INPUT_ALREADY_RESOLVED"
    await stage.restart()
    given = (await stage.client.get_pending_input(workflow_id, asked.id)).input
    await stage.client.answer_input(workflow_id, asked.id, int(given.answer.json))
    with pytest.raises(IllegalTransition):
        await stage.client.answer_input(workflow_id, asked.id, 99)
    await stage.end_of(workflow_id)
    assert await stage.output(workflow_id, "a") == [given.answer.json]
    assert given.principal == ("ada", "bob")[int(given.answer.json) - 3]
    await asyncio.gather(*(one.close() for one in others))


async def test_deadlines_pass_while_no_server_is_up(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("l")], [ask("q", "Which?", choices=["x", "y"], default="y", deadline_seconds=2)]),
        task("b", [ask("r", "Whither?", deadline_seconds=2)]),
        task("c", [ask("s", "When?", deadline_seconds=2, if_unanswered="fail")]),
        task("d", needs="c"),
    )
    asked = {one.task_id: one for one in await stage.inputs(workflow_id, 3)}
    assert (asked["a"].default_answer.json, asked["c"].fails_if_unanswered) == ('"y"', True)
    await stage.kill()
    await asyncio.sleep(2)
    await stage.start()
    await stage.end_of(workflow_id, FAILED)
    assert await stage.output(workflow_id, "a") == [
        "l: seen",
        "Nobody answered in time. The default counts: y",
    ]
    assert "Go on without an answer" in (await stage.output(workflow_id, "b"))[0]
    assert (await stage.task(workflow_id, "c")).failure.kind == common_pb2.FAILURE_KIND_INPUT_EXPIRED
    with pytest.raises(IllegalTransition):
        await stage.client.answer_input(workflow_id, asked["c"].id, "now")
    assert stage.calls("a") == ["model 0", "tool l", "model 1", "model 2"]


async def test_a_shared_answer_is_seen_by_what_begins_later(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [ask("q", "Currency?")]), task("x", [look("l", "g")]), task("b", needs="x"), task("c", needs="x")
    )
    await stage.begun("x", "tool l")
    asked = await stage.input(workflow_id)
    await stage.restart()
    await stage.client.answer_input(workflow_id, asked.id, "euro", share=True)
    await stage.restart()
    stage.open("g")
    await stage.end_of(workflow_id)
    for name in "bc":
        assert any("Currency?" in read and "euro" in read for read in await stage.output(workflow_id, name))
    assert await stage.output(workflow_id, "a") == ["euro"]


async def test_the_planner_asks_before_it_plans(zygote: Zygote, tmp_path: Path) -> None:
    async with staged(zygote, tmp_path / "stage", agents={"planner": {"tools": ["ask_user"]}}) as stage:
        query = json.loads(planned(task("first")))
        query["turns"] = [[ask("q", "For whom?")]]
        workflow_id = await stage.create(query=json.dumps(query))
        asked = await stage.input(workflow_id)
        assert asked.task_id == ""
        await stage.restart()
        await stage.client.answer_input(workflow_id, asked.id, "for children")
        await stage.end_of(workflow_id)
        assert stage.calls("") == ["model 0", "model 1"]


async def test_what_is_cancelled_asks_nothing_any_more(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", [ask("q", "Why?")]), task("b", [ask("r", "Who?")]), task("c"))
    inputs = {one.task_id: one for one in await stage.inputs(workflow_id, 2)}
    await stage.client.skip_task(workflow_id, "a", substitute="because")
    await stage.restart()
    with pytest.raises(IllegalTransition):
        await stage.client.answer_input(workflow_id, inputs["a"].id, "so")
    await stage.client.pause_workflow(workflow_id)
    await stage.client.answer_input(workflow_id, inputs["b"].id, "me")
    await stage.until(workflow_id, w.WORKFLOW_STATE_PAUSED)
    assert stage.calls("b") == ["model 0"]
    await stage.restart()
    await stage.client.resume_workflow(workflow_id)
    assert (await stage.end_of(workflow_id)).state == COMPLETED
    assert await stage.output(workflow_id, "b") == ["me"]
