"""One attempt as a pipeline, over a real store and the real Agents SDK; the only stand-in is the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunContextWrapper, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from orcs_server.agents.catalog import AgentCatalog, definition_of
from orcs_server.agents.context import RunContext
from orcs_server.agents.definition import PLANNER_ID, AgentDefinition
from orcs_server.executor.configuration import freeze, pack
from orcs_server.hooks import HookSet, Origin
from orcs_server.identity import Caller
from orcs_server.storage.memory_rows import Trust, Writer
from orcs_server.storage.store import Snapshot, blob_of
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import Failure, FailureKind
from orcs_server.workflow.states import WorkflowStatus
from tests.engines.support import OTHER, PLANNING, WORKER, Stage, plan_of, server, task


def failure_of(snapshot: Snapshot, index: int = 0) -> Failure:
    failure = snapshot.tasks[index].progress.failure
    assert failure is not None
    return failure


async def test_a_dependants_input_carries_its_predecessors_outputs_within_bounds(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts.update({"a": ["short"], "b": ["ä" * 50_000], "c": ["z" * 90_000]})
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b"), task("c"), task("join", "a", "b", "c")])
        await world.end()
        given = stage.inputs["join"]
        assert "do join" in given
        assert "short" in given
        assert given.count("[… cut:") == 2
        assert len(given.encode()) < 65_536 + 1_000


async def test_an_optional_tasks_failure_is_told_to_its_dependant(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts["a"] = [ValueError("broken")]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a", optional=True), task("b", "a")])
        await world.end()
        assert "No result: the optional task ended as FAILED" in stage.inputs["b"]


async def test_an_output_that_is_too_long_is_a_failure_that_says_so(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts["a"] = ["x" * 100_001]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a")])
        failure = failure_of(await world.until(WorkflowStatus.FAILED))
        assert failure.kind is FailureKind.INVALID_OUTPUT
        assert "limits.max_output_bytes" in failure.message


async def test_an_output_schema_is_kept(tmp_path: Path) -> None:
    stage = Stage()
    schema = json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    stage.acts["a"] = ['{"n": "many"}', '{"n": 7}']
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.store.put_blobs("default", [blob_of(schema)])
        await world.create(tasks=[task("a", output_schema=blob_of(schema).digest)])
        ended = await world.end()
        output = ended.tasks[0].progress.output
        assert output is not None
        assert output.media_type == "application/json"
        assert json.loads(await world.store.blob("default", output.digest)) == {"n": 7}
        assert ended.tasks[0].progress.failures == 1


class OnlyPlanning:
    """An authorization hook under which nobody but the planner works."""

    def check_permission(self, operation: str, resource_id: str) -> bool:
        return (operation, resource_id) == ("agents.run", PLANNER_ID)

    def factory(self, _: Caller, origin: Origin) -> HookSet:
        return HookSet(authorization=self)


async def test_an_agent_that_the_caller_may_not_run_does_not_run(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts[PLANNING] = [plan_of(("a", ()))]
    async with server(tmp_path / "orcs.db", stage, factory=OnlyPlanning().factory) as world:
        await world.create()
        ended = await world.until(WorkflowStatus.FAILED)
        assert failure_of(ended).kind is FailureKind.PERMISSION_DENIED
        assert stage.calls == [PLANNING]
        assert ended.tasks[0].progress.attempt == 1


async def test_an_agent_runs_as_it_was_when_its_workflow_was_created(tmp_path: Path) -> None:
    stage = Stage()
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create(tasks=[task("a"), task("b", agent_id="other")], auto_start=False)
    changed = [replace(WORKER, instructions="You do something else."), OTHER]
    async with server(tmp_path / "orcs.db", stage, agents=changed) as world:
        await world.send(m.StartWorkflow())
        await world.end()
        assert stage.instructions == {"a": WORKER.instructions, "b": OTHER.instructions}
        await world.create("w2", tasks=[task("a")])
        await world.end("w2")
        assert stage.instructions["a"] == "You do something else."


async def test_an_agent_with_code_that_is_gone_fails_with_advice(tmp_path: Path) -> None:
    stage = Stage()
    coded = definition_of("coded", Agent(name="coded", instructions="Code.", model=stage))
    async with server(tmp_path / "orcs.db", stage, agents=[coded]) as world:
        await world.create(tasks=[task("a", agent_id="coded")], auto_start=False)
    # Neither without it nor with another agent of its name, which has no code.
    for others in ([], [AgentDefinition("coded", "I pretend.")]):
        async with server(tmp_path / "orcs.db", stage, agents=others) as world:
            if not others:
                await world.send(m.StartWorkflow())
            failure = failure_of(await world.until(WorkflowStatus.FAILED))
            assert failure.kind is FailureKind.UNKNOWN_AGENT
            assert "registry" in failure.message
    assert stage.calls == []


async def test_tools_get_the_context_and_the_memory_of_their_workflow(tmp_path: Path) -> None:
    seen: list[RunContext] = []

    @function_tool
    async def remember(context: RunContextWrapper[RunContext]) -> str:
        """Remember something."""
        seen.append(context.context)
        assert context.context.memory is not None
        await context.context.memory.store("found", {"n": 1}, "workflow:w1")
        return "remembered"

    model = ScriptedModel([[function_call("remember", {}, call_id="c1")], [assistant_message("done")]])
    coded = definition_of("coded", Agent(name="coded", instructions="Code.", tools=[remember], model=model))
    async with server(tmp_path / "orcs.db", agents=[coded]) as world:
        await world.create(tasks=[task("a", agent_id="coded")])
        await world.end()
        entry = await world.store.memory.version("default", "workflow:w1", "found", 1)
        assert entry is not None
        assert entry.writer == Writer("ada", "coded", "w1", "a", 1)
        assert entry.trust is Trust.AGENT
    assert [(one.namespace, one.workflow_id, one.task_id, one.principal) for one in seen] == [
        ("default", "w1", "a", "ada")
    ]


async def test_what_an_agent_changes_in_its_context_no_other_run_sees(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    @function_tool
    async def scribble(context: RunContextWrapper[RunContext]) -> str:
        """Change the context."""
        given = context.context.external_context
        assert isinstance(given, dict)
        seen.append(json.loads(json.dumps(given)))
        given["list"].append("scribbled")
        return "done"

    def coded(name: str) -> AgentDefinition:
        model = ScriptedModel([[function_call("scribble", {}, call_id="c1")], [assistant_message("done")]])
        return definition_of(name, Agent(name=name, instructions="Code.", tools=[scribble], model=model))

    async with server(tmp_path / "orcs.db", agents=[coded("one"), coded("two")]) as world:
        context = blob_of('{"list": []}')
        await world.store.put_blobs("default", [context])
        await world.create(tasks=[task("a", agent_id="one"), task("b", "a", agent_id="two")], context=context.digest)
        await world.end()
    assert seen == [{"list": []}, {"list": []}]


def test_a_planner_prompt_is_frozen_into_the_planner(tmp_path: Path) -> None:
    planner = AgentDefinition(PLANNER_ID, "Plan.")
    catalog = AgentCatalog([planner, WORKER])
    bounds: dict[str, Any] = {"model": None, "max_predecessor_bytes": 1, "max_output_bytes": 1}
    plain = freeze(catalog, planner_prompt=None, **bounds)
    prompted = freeze(catalog, planner_prompt="Plan otherwise.", **bounds)
    assert [one.instructions for one in prompted.agents] == ["Plan otherwise.", WORKER.instructions]
    assert pack(plain).digest == pack(freeze(catalog, planner_prompt=None, **bounds)).digest
    assert pack(plain).digest != pack(prompted).digest


@pytest.mark.parametrize("answer", ["no JSON at all", '{"tasks": []}', plan_of(("a", (3,)))])
async def test_a_plan_that_cannot_be_written_as_tasks_is_handed_back_to_the_planner(
    tmp_path: Path, answer: str
) -> None:
    stage = Stage()
    stage.acts[PLANNING] = [answer, plan_of(("a", ()))]
    async with server(tmp_path / "orcs.db", stage) as world:
        await world.create()
        ended = await world.end()
        assert ended.summary.progress.planning.rejected == 1
        assert "What was wrong with your last plan" in stage.inputs[PLANNING]
