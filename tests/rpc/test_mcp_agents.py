"""Agents that use MCP servers, over gRPC, on a real server whose model is scripted: approvals, trust, crashes, bad servers, tenants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

from orcs_client.v1 import agent_service_pb2, workflow_pb2, workflow_service_pb2
from orcs_server.app import Server
from orcs_server.config import Settings
from tests.agents.mcp.support import Noted, descendants, gone, until
from tests.agents.support import OneModel
from tests.agents.test_needs import outputs_of
from tests.rpc.control import asked, resolve
from tests.rpc.wire import Wire, connected, plan_of

_w = workflow_service_pb2
COMPLETED: Final = workflow_pb2.WORKFLOW_STATE_COMPLETED
KIND: Final = workflow_pb2.PendingInputKind


@pytest.fixture
async def noted(tmp_path: Path) -> AsyncIterator[Noted]:
    """What the programs noted; at the end none of them is left."""
    before, noted = descendants(), Noted(tmp_path)
    yield noted
    for process in {*noted.processes, *(descendants() - before)}:
        await gone(process)


def telling() -> ModelStep:
    """A last step whose answer is what the tools returned."""
    return ModelStep.respond(lambda call: [assistant_message(json.dumps(outputs_of(call)))])


def calling(tool: str, call_id: str = "c1", **arguments: Any) -> Any:
    return [function_call(tool, arguments, call_id=call_id)]


@asynccontextmanager
async def serving(folder: Path, steps: Sequence[Any], **tables: Any) -> AsyncIterator[Wire]:
    """A server without tokens, whose model takes these steps."""
    given = {"listen": "127.0.0.1:0", "data": folder / "orcs.db", "offline_pace": 0, "drain_grace": 0}
    given |= {"insecure_no_auth": True, "retry": {"max_attempts": 1}, **tables}
    server = Server(Settings.model_validate(given), {"XDG_STATE_HOME": str(folder), "HOME": str(folder)})
    server.backend.executor._runner._models = OneModel(ScriptedModel(steps))
    async with server, connected(str(server.address), None) as wire:
        yield wire


def user(*servers: str, **more: Any) -> dict[str, Any]:
    """The configuration of an agent that uses servers."""
    return {"user": {"instructions": "Use the tools.", "mcp": servers, **more}}


async def begin(wire: Wire, workflow_id: str = "w", agent_id: str = "user", *, auto_start: bool = True) -> None:
    plan = plan_of(a=())
    plan.tasks[0].agent_id = agent_id
    await wire.create(plan=plan, workflow_id=workflow_id, auto_start=auto_start)


async def output(wire: Wire, workflow_id: str = "w") -> str:
    async with asyncio.timeout(60):
        ended = await wire.finished(workflow_id)
    assert ended.state == COMPLETED, ended.failure.message
    reply = await wire.call("GetWorkflowOutput", _w.GetWorkflowOutputRequest(workflow_id=workflow_id))
    text: str = reply.content.text
    return text


async def test_an_agent_of_the_configuration_calls_a_tool(tmp_path: Path, noted: Noted) -> None:
    steps = [calling("notes__add", text="tea"), calling("notes__read", "c2"), telling()]
    async with serving(tmp_path, steps, mcp={"notes": noted.table("good")}, agents=user("notes")) as wire:
        (one,) = [
            agent
            for agent in (await wire.call("ListAgents", agent_service_pb2.ListAgentsRequest())).agents
            if agent.id == "user"
        ]
        assert list(one.mcp_servers) == ["notes"]
        await begin(wire)
        told = await output(wire)
    assert '"c1": "kept 1", "c2": "tea"' in told
    assert noted.calls == ["add", "read"]


async def test_an_agent_with_code_uses_a_server_beside_its_own_tools(tmp_path: Path, noted: Noted) -> None:
    steps = [calling("notes__read"), calling("look_up", "c2", city="Bern"), telling()]
    tables = {"mcp": {"notes": noted.table("good")}, "agents": {"city_agent": {"mcp": ["notes"]}}}
    registry = "tests.agents.example_registry:registry"
    async with serving(tmp_path, steps, agent_registry=registry, **tables) as wire:
        await begin(wire, agent_id="city_agent")
        told = await output(wire)
    assert '"c1": "none"' in told
    assert "Bern" in told


async def test_a_registered_agent_uses_what_is_set_aside(tmp_path: Path, noted: Noted) -> None:
    steps = [calling("notes__add", text="tea"), telling()]
    tables = {"mcp": {"notes": noted.table("good")}, "registration": {"mcp": ["notes"]}}
    declared = agent_service_pb2.AgentDeclaration(
        id="keeper",
        description="Keeps notes.",
        instructions="Keep notes.",
        mcp_servers=["notes"],
        needs_approval=["notes__add"],
    )
    async with serving(tmp_path, steps, **tables) as wire:
        await wire.call("RegisterAgent", agent_service_pb2.RegisterAgentRequest(agent=declared))
        await begin(wire, agent_id="keeper")
        wanted = await asked(wire, "w")
        assert (KIND.Name(wanted.kind), noted.calls) == ("PENDING_INPUT_KIND_TOOL_APPROVAL", [])
        await wire.call("ResolveApproval", resolve(wanted, "APPROVE"))
        assert "kept 1" in await output(wire)
        await begin(wire, "w2", "keeper", auto_start=False)
        # The same in a server that has taken the table away: the workflow is pinned to the agent, and its attempt fails.
    steps = [calling("notes__add", text="tea"), telling()]
    async with serving(tmp_path, steps) as wire:
        await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w2"))
        failed = await wire.finished("w2")
        assert "'notes' is not configured any more" in failed.failure.message


@pytest.mark.parametrize("decision", ["APPROVE", "REJECT"])
async def test_a_person_is_asked_before_a_tool_that_needs_approval(tmp_path: Path, noted: Noted, decision: str) -> None:
    steps = [calling("notes__add", text="tea"), telling()]
    tables = {"mcp": {"notes": noted.table("good", needs_approval=["add"])}, "agents": user("notes")}
    async with serving(tmp_path, steps, **tables) as wire:
        await begin(wire)
        wanted = await asked(wire, "w")
        assert "notes__add" in wanted.prompt
        assert noted.calls == []
        await wire.call("ResolveApproval", resolve(wanted, decision))
        told = await output(wire)
    assert noted.calls == (["add"] if decision == "APPROVE" else [])
    assert ("kept 1" if decision == "APPROVE" else "a person refused it") in told


@pytest.mark.parametrize("trusted", [False, True])
async def test_what_a_server_returns_is_from_outside_unless_the_operator_trusts_it(
    tmp_path: Path, noted: Noted, trusted: bool
) -> None:
    steps = [calling("notes__read"), calling("notes__add", "c2", text="tea"), telling()]
    table = noted.table("good", sensitive=["add"], trusted=["read"] if trusted else [])
    async with serving(tmp_path, steps, mcp={"notes": table}, agents=user("notes")) as wire:
        await begin(wire)
        if not trusted:
            wanted = await asked(wire, "w")
            assert "has read what comes from outside (notes__read)" in wanted.prompt
            assert noted.calls == ["read"]
            await wire.call("ResolveApproval", resolve(wanted, "APPROVE"))
        assert "kept 1" in await output(wire)


@pytest.mark.parametrize("declared", [False, True])
async def test_only_the_operators_word_lets_a_tool_that_was_cut_off_run_again(
    tmp_path: Path, noted: Noted, declared: bool
) -> None:
    table = noted.table("good", idempotent=["slow"] if declared else [])
    tables = {"mcp": {"notes": table}, "agents": user("notes")}
    steps = [calling("notes__slow", seconds=600.0), telling()]
    async with serving(tmp_path, steps, **tables) as wire:
        await begin(wire)
        await until(lambda: noted.calls == ["slow"], "it was not called")
    # The program says of this tool that it is idempotent; only the operator is believed.
    tables["mcp"]["notes"]["timeout"] = 3.0
    async with serving(tmp_path, steps[1:], **tables) as wire:
        if not declared:
            wanted = await asked(wire, "w")
            assert KIND.Name(wanted.kind) == "PENDING_INPUT_KIND_UNSAFE_RERUN"
            await wire.call("ResolveApproval", resolve(wanted, "REJECT"))
        told = await output(wire)
    assert noted.calls == ["slow"] * (2 if declared else 1)
    assert ("has not answered within 3 seconds" if declared else "not made again") in told


async def test_what_a_tool_returned_is_not_asked_again_after_a_restart(tmp_path: Path, noted: Noted) -> None:
    tables = {"mcp": {"notes": noted.table("good", needs_approval=["read"])}, "agents": user("notes")}
    steps = [calling("notes__add", text="tea"), calling("notes__read", "c2"), telling()]
    async with serving(tmp_path, steps, **tables) as wire:
        await begin(wire)
        wanted = await asked(wire, "w")
        assert noted.calls == ["add"]
    async with serving(tmp_path, steps[2:], **tables) as wire:
        await wire.call("ResolveApproval", resolve(wanted, "APPROVE"))
        told = await output(wire)
    assert noted.calls == ["add", "read"]
    assert '"c1": "kept 1"' in told


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("dies at start", "it ended before it had answered"),
        ("hangs at start", "did not answer within"),
        ("thousands of tools", "128 are taken at most"),
    ],
)
async def test_a_server_that_cannot_be_used_fails_its_task_and_no_other(
    tmp_path: Path, noted: Noted, kind: str, said: str
) -> None:
    tables = {"mcp": {"bad": noted.table(kind, timeout=3)}, "agents": user("bad")}
    async with serving(tmp_path, [[assistant_message("Fine.")]], **tables) as wire:
        await begin(wire)
        await begin(wire, "other", "research_agent")
        assert "Fine." in await output(wire, "other")
        failed = await wire.finished("w")
        assert said in failed.failure.message
        assert "MCP server 'bad'" in failed.failure.message


async def test_a_server_that_dies_in_a_call_is_told_to_the_model_which_goes_on(tmp_path: Path, noted: Noted) -> None:
    steps = [calling("bad__act"), calling("bad__other", "c2"), telling()]
    tables = {"mcp": {"bad": noted.table("dies in a call")}, "agents": user("bad")}
    async with serving(tmp_path, steps, **tables) as wire:
        await begin(wire)
        told = await output(wire)
    assert told.count("nobody knows whether the tool has acted") == 2
    assert noted.calls == ["act", "other"]


async def test_two_servers_whose_tools_are_called_the_same_do_not_clash(tmp_path: Path, noted: Noted) -> None:
    steps = [[*calling("one__act"), *calling("two__act", "c2")], telling()]
    tables = {"mcp": {name: noted.table("structure only") for name in ("one", "two")}, "agents": user("one", "two")}
    async with serving(tmp_path, steps, **tables) as wire:
        await begin(wire)
        await output(wire)
    assert noted.calls == ["act", "act"]
    assert len(set(noted.processes)) == 2


async def test_a_tool_of_the_tool_registry_is_named_and_set_aside(tmp_path: Path, noted: Noted) -> None:
    steps = [calling("look_up", city="Bern"), telling(), calling("look_up", city="Bern"), telling()]
    tables: dict[str, Any] = {
        "tool_registry": "tests.agents.example_registry:TOOLS",
        "agents": {"user": {"instructions": "Look it up.", "tools": ["look_up"]}},
        "registration": {"tools": ["look_up"]},
    }
    declared = agent_service_pb2.AgentDeclaration(id="clerk", description="d", instructions="i", tools=["look_up"])
    async with serving(tmp_path, steps, **tables) as wire:
        await wire.call("RegisterAgent", agent_service_pb2.RegisterAgentRequest(agent=declared))
        for agent_id in ("user", "clerk"):
            await begin(wire, agent_id, agent_id)
            assert "Bern" in await output(wire, agent_id)
        plan = plan_of(a=())
        plan.tasks[0].agent_id = "clerk"
        await wire.create(plan=plan, workflow_id="later", auto_start=False)
    async with serving(tmp_path, []) as wire:
        await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="later"))
        assert "'look_up' is gone: start the server with it again" in (await wire.finished("later")).failure.message
