"""What agents and planner ask of people and get to know of them, from the request to the next attempt: real engine, real store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agents import Agent
from agents.testing import ScriptedModel, function_call

from orcs_server.agents.builtin import PLANNER
from orcs_server.agents.catalog import AgentCatalog, definition_of
from orcs_server.agents.definition import AgentDefinition
from orcs_server.agents.people_tools import ask_user, propose_tasks
from orcs_server.executor.configuration import Configurations, unpack
from orcs_server.storage.store import blob_of
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import Output, PlanSource
from orcs_server.workflow.people import MessageMode
from orcs_server.workflow.states import TaskStatus, WorkflowStatus
from tests.agents.test_needs import question
from tests.engines.support import PLANNING, Gate, Stage, World, plan_of, server, statuses, task
from tests.executor.memories import asked, output, telling


def coded(*steps: Any) -> AgentDefinition:
    agent = Agent(name="coded", instructions="Code.", tools=[ask_user, propose_tasks], model=ScriptedModel(steps))
    return definition_of("coded", agent)


async def waits(world: World, task_id: str = "a") -> None:
    async with asyncio.timeout(10):
        while True:
            snapshot = await world.store.snapshot("default", "w1")
            if snapshot is not None and statuses(snapshot).get(task_id) is TaskStatus.INPUT_REQUIRED:
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_question_is_answered_and_the_agent_goes_on(tmp_path: Path, restarts: bool) -> None:
    agent = coded([question("Which colour?", choices=["red", "blue"])], telling())
    answer = blob_of('"blue"')
    async with server(tmp_path / "orcs.db", agents=[agent]) as world:
        await world.create(tasks=[task("a", agent_id="coded"), task("b")])
        await waits(world)
        if not restarts:
            await world.send(m.AnswerInput("i1", answer.digest, "bob"), blobs=(answer,))
            assert await output(world, "a") == '{"ask_1": "blue"}'
    if restarts:
        async with server(tmp_path / "orcs.db", agents=[agent]) as world:
            await world.send(m.AnswerInput("i1", answer.digest, "bob"), blobs=(answer,))
            assert await output(world, "a") == '{"ask_1": "blue"}'
            assert "AttemptSuspended a" in await world.happened()


async def test_a_shared_answer_reaches_later_tasks(tmp_path: Path) -> None:
    stage = Stage()
    agent = coded([question("Which colour?")], telling())
    async with server(tmp_path / "orcs.db", stage, agents=[agent]) as world:
        await world.create(tasks=[task("a", agent_id="coded"), task("b", "a")])
        await waits(world)
        answer = blob_of("blue")
        await world.send(m.AnswerInput("i1", answer.digest, "bob", shared=True), blobs=(answer,))
        await world.end()
        assert stage.notes["b"] == ["Question: Which colour?\nAnswer: blue"]


async def test_the_planner_asks_and_plans_with_the_answer(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts[PLANNING] = [[question("Which?")], plan_of(("b", ())), [question("And now?")], plan_of(("c", ()))]
    planner = replace(PLANNER, tools=("ask_user",), max_turns=5)
    async with server(tmp_path / "orcs.db", stage, agents=[planner]) as world:
        await world.create(auto_start=False)
        for number, text in enumerate(("the first", "the second"), 1):
            await asked(world)
            answer = blob_of(text)
            await world.send(m.AnswerInput(f"i{number}", answer.digest, "bob"), blobs=(answer,))
            if number == 1:
                await world.until(WorkflowStatus.READY)
                await world.send(m.Replan(blob_of("again").digest), blobs=(blob_of("again"),))
        await world.until_happened("PlanAmended")
        await world.send(m.StartWorkflow())
        ended = await world.end()
        assert [one.spec.title for one in ended.tasks] == ["c"]
        assert stage.calls == [*[PLANNING] * 4, "c"]
        assert stage.notes[PLANNING] == ["Question: Which?\nAnswer: the first"]


async def test_a_tool_that_waits_for_nobody_any_more_is_told(tmp_path: Path) -> None:
    agent = coded([question("Which colour?", deadline_seconds=1.0)], telling())
    async with server(tmp_path / "orcs.db", agents=[agent]) as world:
        await world.create(tasks=[task("a", agent_id="coded")])
        assert "Nobody answered in time" in await output(world, "a")


# Proposals


def proposal(*tasks: dict[str, Any], call_id: str = "p1") -> Any:
    return function_call("propose_tasks", {"tasks": list(tasks)}, call_id=call_id)


def proposed(title: str, agent_id: str = "worker", **rest: Any) -> dict[str, Any]:
    return {
        "title": title,
        "description": f"do {title}",
        "agent_id": agent_id,
        "depends_on": [],
        "depends_on_positions": [],
        **rest,
    }


async def test_proposed_tasks_run_and_depend_on_what_they_name(tmp_path: Path) -> None:
    stage = Stage()
    agent = coded([proposal(proposed("x", depends_on=["a"]), proposed("y", depends_on_positions=[0]))], telling())
    async with server(tmp_path / "orcs.db", stage, agents=[agent]) as world:
        await world.create(tasks=[task("a", agent_id="coded"), task("b")])
        told = json.loads(await output(world, "a"))["p1"]
        ended = await world.end()
        new = {one.spec.title: one.spec for one in ended.tasks if one.spec.depth}
        assert sorted(new) == ["x", "y"]
        assert (new["x"].dependencies, new["y"].dependencies) == (("a",), (new["x"].id,))
        assert {one.depth for one in new.values()} == {1}
        assert all(one.id in told for one in new.values())
        assert stage.calls.index("x") < stage.calls.index("y")
        (amended,) = [one.event for one in await world.log() if type(one.event).__name__ == "PlanAmended"]
        assert (amended.source, amended.proposer) == (PlanSource.TASK, "a")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ([proposed("x", agent_id="nobody")], "tasks[0].agent_id"),
        ([proposed("x", depends_on=["nothing"])], "There is no task 'nothing'"),
        ([proposed("x", depends_on_positions=[0])], "is not the position of another task"),
        ([proposed("x", description=" ")], "needs a description"),
        ([proposed("x", description="x" * 70_000)], "at most 65536 bytes"),
        ([], "1 to 50 tasks"),
        ([proposed("x")] * 51, "1 to 50 tasks"),
    ],
)
async def test_a_bad_proposal_is_told_to_the_model_and_changes_nothing(
    tmp_path: Path, wrong: list[dict[str, Any]], problem: str
) -> None:
    agent = coded([proposal(*wrong)], telling())
    async with server(tmp_path / "orcs.db", agents=[agent]) as world:
        await world.create(tasks=[task("a", agent_id="coded")])
        assert problem in json.loads(await output(world, "a"))["p1"]
        assert len((await world.end()).tasks) == 1


async def test_proposals_are_limited_in_number(tmp_path: Path) -> None:
    agent = coded([proposal(proposed("x"), proposed("y"))], telling())
    async with server(tmp_path / "orcs.db", agents=[agent]) as world:
        await world.create(tasks=[task("a", agent_id="coded")], max_proposed_tasks=1)
        assert "may propose 1 tasks in all" in json.loads(await output(world, "a"))["p1"]


# Messages


async def test_a_message_reaches_running_and_later_tasks_and_outdates_an_answer(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", "a")])
        await gate.reached.wait()
        await world.send(m.SendMessage(blob_of("hurry").digest), blobs=(blob_of("hurry"),))
        gate.opened.set()
        await world.end()
        assert stage.calls == ["a", "a", "b"]
        assert stage.notes == {"a": ["through the gate", "hurry"], "b": ["hurry"]}


async def test_an_interruption_reaches_the_planner(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts[PLANNING] = [gate, plan_of(("b", ()))]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create()
        await gate.reached.wait()
        message = m.SendMessage(blob_of("b only").digest, MessageMode.INTERRUPT)
        await world.send(message, blobs=(blob_of("b only"),))
        await world.end()
        assert gate.cancelled
        assert stage.calls == [PLANNING, PLANNING, "b"]
        assert stage.notes[PLANNING] == ["b only"]


# Planning anew


async def test_the_planner_plans_on_from_what_has_happened(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["b"] = [gate]
    anew = {"title": "d", "description": "do d", "agent_id": "worker", "dependencies": [], "builds_on": ["t1", "t2"]}
    stage.acts[PLANNING] = [plan_of(("a", ()), ("b", (0,)), ("c", (1,))), json.dumps({"tasks": [anew]})]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create()
        await gate.reached.wait()
        wanted = blob_of("Leave c out.\n# Request\nDo d instead.")
        await world.send(m.Replan(wanted.digest), blobs=(wanted,))
        gate.opened.set()
        ended = await world.end()
        told = stage.inputs[PLANNING]
        assert "- t1 [stays] (COMPLETED): a\n> result of a\n" in told
        assert "- t2 [stays] (RUNNING): b\n" in told
        assert "- t3 [dropped] (PENDING): c\n" in told
        assert "> Leave c out.\n> # Request\n> Do d instead.\n" in told
        assert told.endswith("\n# Request\ndo it")
        assert [(one.spec.id, one.spec.dependencies) for one in ended.tasks][-1] == ("t4", ("t1", "t2"))
        assert "result of a" in stage.inputs["d"]


async def test_a_new_plan_that_builds_on_what_is_dropped_is_repaired(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate]
    bad = {"title": "d", "description": "do d", "agent_id": "worker", "dependencies": [], "builds_on": ["t2"]}
    stage.acts[PLANNING] = [plan_of(("a", ()), ("b", (0,))), json.dumps({"tasks": [bad]}), plan_of(("e", ()))]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create()
        await gate.reached.wait()
        await world.send(m.Replan(blob_of("e").digest), blobs=(blob_of("e"),))
        async with asyncio.timeout(10):
            while stage.calls.count(PLANNING) < 3:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)
        gate.opened.set()
        ended = await world.end()
        assert "builds_on: 't2' is none of the tasks that stay; the tasks that stay are t1" in stage.inputs[PLANNING]
        assert [one.spec.id for one in ended.tasks] == ["t1", "t3"]


@pytest.mark.parametrize("substitute", [None, "made by hand"])
async def test_what_builds_on_a_skipped_task_is_told(tmp_path: Path, substitute: str | None) -> None:
    stage = Stage()
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", "a")], auto_start=False)
        blob = blob_of(substitute or "")
        given = None if substitute is None else Output(blob.digest, "text/markdown", len(blob.data))
        await world.send(m.SkipTask("a", "not needed", given), blobs=(blob,))
        await world.send(m.StartWorkflow())
        await world.end()
        told = stage.inputs["b"]
        assert (substitute or "No result: a person decided to go on without it") in told


# Agents of the configuration


async def test_an_agent_of_the_configuration_keeps_its_tools(tmp_path: Path) -> None:
    helper = AgentDefinition("helper", "You help.", source="config", tools=("ask_user",))
    async with server(tmp_path / "orcs.db", agents=[helper]) as world:
        frozen = unpack(world.frozen.data)
        later = AgentCatalog([])
        thawed = Configurations(world.store, later).agent(frozen, "helper")
        assert thawed is not None
        assert thawed.tools == ("ask_user",)
        assert thawed.revision == helper.revision
