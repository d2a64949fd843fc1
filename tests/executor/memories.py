"""What the tests of agents' memory share: agents whose model is scripted, and what they are told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from agents import Agent, FunctionTool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

from orcs_server import memory_delete, memory_get, memory_list, memory_put, memory_search
from orcs_server.agents.catalog import definition_of
from orcs_server.agents.definition import AgentDefinition
from orcs_server.memory import Actor, Memory, ReadSet, workflow_scope
from orcs_server.memory.values import encode
from orcs_server.storage.people import InputFilter
from orcs_server.workflow import messages as m
from orcs_server.workflow.people import Decision, PendingInput
from tests.agents.test_needs import outputs_of
from tests.engines.support import World

OPERATOR = Actor("olga", operator=True)
TOOLS = [memory_get, memory_put, memory_delete, memory_search, memory_list]
DEFAULTS: dict[str, dict[str, Any]] = {
    "memory_get": {"scope": None, "offset": 0},
    "memory_put": {"scope": None, "expected_version": None, "as_json": False, "ttl_seconds": None},
    "memory_delete": {"scope": None, "expected_version": None},
    "memory_search": {"scope": None, "limit": 10},
    "memory_list": {"prefix": "", "scope": None, "after": ""},
}


def use(tool: str, call_id: str, **arguments: Any) -> Any:
    """Return a model's call of a tool."""
    return function_call(tool, {**DEFAULTS.get(tool, {}), **arguments}, call_id=call_id)


def coded(name: str, *steps: Any, tools: list[FunctionTool] | None = None) -> AgentDefinition:
    """Return an agent with the memory tools and more, whose model does these steps."""
    agent = Agent(name=name, instructions="Code.", tools=[*TOOLS, *(tools or ())], model=ScriptedModel(steps))
    return definition_of(name, agent)


def telling() -> ModelStep:
    """Return a last step whose answer is what the tools returned."""
    return ModelStep.respond(lambda call: [assistant_message(json.dumps(outputs_of(call)))])


def noting(shown: list[list[str]], *output: Any) -> ModelStep:
    """Return a step that notes what users' items the model is shown."""

    def respond(call: Any) -> list[Any]:
        shown.append([str(one["content"]) for one in call.input if one.get("role") == "user"])
        return list(output)

    return ModelStep.respond(respond)


async def put(world: World, key: str, value: object, scope: str = workflow_scope("w1"), actor: Actor = OPERATOR) -> int:
    """Store something, as the operator if nobody else."""
    written = await Memory(world.store).put("default", actor, key, encode(value), scope)
    return written.version


async def inject(world: World, key: str, value: object, scope: str = workflow_scope("w1")) -> None:
    """Store something that comes from outside."""
    reads = ReadSet()
    reads.external("fetch")
    await Memory(world.store).put("default", OPERATOR, key, encode(value), scope, reads=reads)


async def told(world: World, task_id: str = "a", workflow_id: str = "w1") -> dict[str, str]:
    """Return what a task's tools returned."""
    return dict(json.loads(await output(world, task_id, workflow_id)))


async def output(world: World, task_id: str, workflow_id: str = "w1") -> str:
    snapshot = await world.end(workflow_id)
    progress = next(one.progress for one in snapshot.tasks if one.spec.id == task_id)
    assert progress.output is not None
    return (await world.store.blob("default", progress.output.digest)).decode()


async def asked(world: World) -> PendingInput:
    """Wait until a person is asked for something."""
    async with asyncio.timeout(10):
        while True:
            rows = await world.store.list_inputs("default", InputFilter(), 10)
            for row in rows:
                if row.input.resolution is None:
                    return row.input
            await asyncio.sleep(0.01)


async def decide(world: World, one: PendingInput, decision: Decision) -> None:
    await world.send(m.ResolveApproval(one.id, decision, one.need.shown, principal="bob"))
