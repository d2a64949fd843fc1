"""Agents that are registered by RPC: who may, what may be named, who sees them, and what becomes of workflows that have them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from orcs_client.v1 import agent_service_pb2, plan_edit_pb2, workflow_pb2, workflow_service_pb2
from orcs_server.agents.offline import OfflineModel
from orcs_server.app import Server
from orcs_server.identity.tokens import TokenRegistry
from tests.agents.support import OneModel
from tests.rpc.audits import audited, facts, said
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected, plan_of, refused

_a, _w = agent_service_pb2, workflow_service_pb2
SCHEMA: Final = '{"type": "object", "properties": {"verse": {"type": "string"}}, "required": ["verse"]}'


class Asked(OfflineModel):
    """The offline model, which notes what it was told and asked."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.asked: list[str] = []

    def stream_response(self, system_instructions: str | None, input: Any, *rest: Any, **more: Any) -> Any:  # noqa: A002
        self.told.append(system_instructions or "")
        self.asked.append(json.dumps(input))
        return super().stream_response(system_instructions, input, *rest, **more)


class Tenants:
    """A server with two namespaces, a and b; of each an administrator's client."""

    def __init__(self, server: Server, a: Wire, b: Wire, model: Asked) -> None:
        self.server = server
        self.a = a
        self.b = b
        self.model = model


def tokens(folder: Path) -> tuple[str, str]:
    registry = TokenRegistry(folder / "orcs.db")
    return registry.create("ada", "a", ("administer",)), registry.create("bob", "b", ("administer",))


@asynccontextmanager
async def serving(folder: Path, given: tuple[str, str], **flags: Any) -> AsyncIterator[Tenants]:
    async with AsyncExitStack() as stack:
        server = Server(settings_in(folder, **flags), {"XDG_STATE_HOME": str(folder)})
        model = Asked()
        server.backend.executor._runner._models = OneModel(model)
        await stack.enter_async_context(server)
        a, b = [await stack.enter_async_context(connected(str(server.address), token)) for token in given]
        yield Tenants(server, a, b, model)


@pytest.fixture
async def tenants(tmp_path: Path) -> AsyncIterator[Tenants]:
    async with serving(tmp_path, tokens(tmp_path)) as both:
        yield both


def declared(**fields: Any) -> Any:
    sound = {"id": "poet", "description": "Writes verse about anything.", "instructions": "Rhyme about it."}
    return _a.AgentDeclaration(**{**sound, **fields})


async def register(wire: Wire, expected_revision: str | None = None, request_id: str = "", **fields: Any) -> Any:
    request = _a.RegisterAgentRequest(
        agent=declared(**fields), expected_revision=expected_revision, request_id=request_id
    )
    return (await wire.call("RegisterAgent", request)).agent


async def deregister(wire: Wire, agent_id: str = "poet", **fields: Any) -> Any:
    return await wire.call("DeregisterAgent", _a.DeregisterAgentRequest(agent_id=agent_id, **fields))


async def ids(wire: Wire) -> set[str]:
    return {one.id for one in (await wire.call("ListAgents", _a.ListAgentsRequest())).agents}


def plan_for(agent_id: str, **tasks: tuple[str, ...]) -> workflow_pb2.Plan:
    plan = plan_of(**(tasks or {"verse": ()}))
    for task in plan.tasks:
        task.agent_id = agent_id
    return plan


async def test_an_agent_is_registered_listed_shown_and_works(tenants: Tenants) -> None:
    made = await register(tenants.a, name="The poet", output_schema=SCHEMA, tools=["ask_user"], max_turns=9)
    assert (made.id, made.name, made.source) == ("poet", "The poet", _a.AGENT_SOURCE_REGISTERED)
    assert len(made.revision) == 12
    shown = await tenants.a.call("GetAgent", _a.GetAgentRequest(agent_id="poet"))
    assert shown.agent == made
    assert shown.declaration == declared(name="The poet", output_schema=SCHEMA, tools=["ask_user"], max_turns=9)
    assert "poet" in await ids(tenants.a)
    await tenants.a.create(plan=plan_for("poet"), workflow_id="w")
    ended = await tenants.a.finished("w")
    assert ended.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert tenants.model.told == ["Rhyme about it."]
    output = await tenants.a.call("GetWorkflowOutput", _w.GetWorkflowOutputRequest(workflow_id="w"))
    assert '{"verse":' in output.content.text, "the agent's own schema holds"


async def test_whoever_does_not_administer_may_not(tenants: Tenants, tmp_path: Path) -> None:
    assert tenants.server.registry is not None
    for role in ("view", "operate", "answer", "approve"):
        token = tenants.server.registry.create("eve", "a", (role,))
        async with connected(str(tenants.server.address), token) as eve:
            for call in (register(eve), deregister(eve)):
                assert (await refused(call)).reason == "PERMISSION_DENIED"
    assert "poet" not in await ids(tenants.a)


async def test_what_is_registered_and_taken_back_is_in_the_audit_log(tenants: Tenants) -> None:
    made = await register(tenants.a, request_id="r", tools=["ask_user"])
    await register(tenants.a, request_id="r", tools=["ask_user"])
    await refused(register(tenants.a, tools=["rm"]))
    await deregister(tenants.a)
    records = await audited(tenants.a, operation="agents.")
    assert said(records) == [
        ("agents.register", "poet", "OK"),
        ("agents.register", "poet", "FIELD_INVALID"),
        ("agents.deregister", "poet", "OK"),
    ]
    assert facts(records[0])["revision"] == made.revision
    assert facts(records[0])["tools"] == ["ask_user"]
    assert await audited(tenants.b, operation="agents.") == []


async def test_every_violation_is_named_with_what_may_be_named(tmp_path: Path) -> None:
    flags = {"registration": {"models": ["small-model"]}}
    async with serving(tmp_path, tokens(tmp_path), **flags) as tenants:
        answer = await refused(
            register(
                tenants.a,
                instructions="",
                model="gpt-secret",
                tools=["rm"],
                mcp_servers=["files"],
                sensitive=["memory_put"],
            )
        )
        assert answer.reason == "FIELD_INVALID"
        assert answer.violations.keys() == {
            "agent.instructions",
            "agent.model",
            "agent.tools[0]",
            "agent.mcp_servers[0]",
            "agent.sensitive[0]",
        }
        assert "choose from small-model" in answer.violations["agent.model"]
        assert "ask_user" in answer.violations["agent.tools[0]"]
        assert "sets none aside" in answer.violations["agent.mcp_servers[0]"]
        assert (await register(tenants.a, model="small-model")).model == "small-model"


async def test_a_request_without_an_agent_says_so(tenants: Tenants) -> None:
    answer = await refused(tenants.a.call("RegisterAgent", _a.RegisterAgentRequest()))
    assert "agent" in answer.violations


async def test_nobody_takes_the_place_of_the_servers_own_agents(tmp_path: Path) -> None:
    given = tokens(tmp_path)
    async with serving(tmp_path, given) as tenants:
        for agent_id in ("research_agent", "planner"):
            answer = await refused(register(tenants.a, id=agent_id))
            assert (answer.code.name, answer.reason) == ("ALREADY_EXISTS", "AGENT_ALREADY_EXISTS")
        await register(tenants.a)
    # The operator adds one of the same id later: it counts, and the registered one can still be taken back.
    own = {"poet": {"instructions": "The operator's words.", "description": "The operator's."}}
    async with serving(tmp_path, given, agents=own) as tenants:
        shown = await tenants.a.call("GetAgent", _a.GetAgentRequest(agent_id="poet"))
        assert (shown.agent.description, shown.agent.source) == ("The operator's.", _a.AGENT_SOURCE_CONFIGURATION)
        assert not shown.HasField("declaration")
        await tenants.a.create(plan=plan_for("poet"), workflow_id="w")
        await tenants.a.finished("w")
        assert tenants.model.told == ["The operator's words."]
        assert (await refused(register(tenants.a))).reason == "AGENT_ALREADY_EXISTS"
        await deregister(tenants.a)


async def test_what_is_only_checked_is_not_stored(tenants: Tenants) -> None:
    request = _a.RegisterAgentRequest(agent=declared(), validate_only=True, request_id="r")
    tried = (await tenants.a.call("RegisterAgent", request)).agent
    assert "poet" not in await ids(tenants.a)
    made = await register(tenants.a, request_id="r")
    assert made.revision == tried.revision
    request.expected_revision = "0123456789ab"
    assert (await refused(tenants.a.call("RegisterAgent", request))).reason == "STALE_REVISION"
    checked = await deregister(tenants.a, validate_only=True)
    assert checked.revision == made.revision
    assert "poet" in await ids(tenants.a)
    assert (await refused(deregister(tenants.a, "nobody", validate_only=True))).reason == "AGENT_NOT_FOUND"
    stale = deregister(tenants.a, validate_only=True, expected_revision="x")
    assert (await refused(stale)).reason == "STALE_REVISION"


async def test_a_stale_revision_is_refused_and_of_many_changes_one_wins(tenants: Tenants) -> None:
    first = await register(tenants.a, "")
    answer = await refused(register(tenants.a, "", instructions="Other."))
    assert (answer.code.name, answer.reason) == ("ABORTED", "STALE_REVISION")
    tries = await asyncio.gather(
        *(register(tenants.a, first.revision, instructions=f"Number {number}.") for number in range(6)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in tries) == 1
    assert (await refused(deregister(tenants.a, expected_revision=first.revision))).reason == "STALE_REVISION"


async def test_a_request_is_carried_out_once_whatever_has_happened_since(tmp_path: Path) -> None:
    given = tokens(tmp_path)
    async with serving(tmp_path, given, registration={"models": ["small-model"]}) as tenants:
        made = await register(tenants.a, "", "r1", model="small-model")
        assert await register(tenants.a, "", "r1", model="small-model") == made
        answer = await refused(register(tenants.a, "", "r1", model="small-model", instructions="Other."))
        assert answer.reason == "REQUEST_ID_REUSED"
        gone = await deregister(tenants.a, request_id="r2")
        assert await deregister(tenants.a, request_id="r2") == gone
        assert (await refused(deregister(tenants.a, "another", request_id="r2"))).reason == "REQUEST_ID_REUSED"
        # It is not carried out again, and another namespace's ids are its own.
        assert (await register(tenants.a, "", "r1", model="small-model")).revision == made.revision
        assert "poet" not in await ids(tenants.a)
        await register(tenants.b, "", "r1", instructions="Bob's.")
    async with serving(tmp_path, given) as tenants:
        assert (await register(tenants.a, "", "r1", model="small-model")).revision == made.revision


async def test_one_namespace_sees_nothing_of_anothers_agents(tenants: Tenants) -> None:
    await register(tenants.a)
    assert "poet" not in await ids(tenants.b)
    unknown = await refused(tenants.b.call("GetAgent", _a.GetAgentRequest(agent_id="nobody")))
    hidden = await refused(tenants.b.call("GetAgent", _a.GetAgentRequest(agent_id="poet")))
    assert hidden.message == unknown.message.replace("nobody", "poet")
    assert (await refused(deregister(tenants.b))).reason == "AGENT_NOT_FOUND"
    for agent_id in ("poet", "nobody"):
        plan = plan_for(agent_id)
        answers = [await refused(tenants.b.create(plan=plan))]
        preview = await tenants.b.call("PreviewPlan", _w.PreviewPlanRequest(plan=plan))
        texts = [*answers[0].violations.values(), *(one.description for one in preview.violations)]
        assert answers[0].reason == "PLAN_INVALID"
        assert all(text.count("poet") == (agent_id == "poet") for text in texts), texts
    # Nor is the id taken there, and each has its own.
    await register(tenants.b, instructions="Bob's words.")
    for wire in (tenants.a, tenants.b):
        await wire.create(plan=plan_for("poet"), workflow_id="same")
        await wire.finished("same")
    assert tenants.model.told == ["Rhyme about it.", "Bob's words."]


async def test_the_planner_is_offered_its_namespaces_agents_and_no_others(tenants: Tenants) -> None:
    await register(tenants.a)
    await register(tenants.b, id="surveyor", description="Surveys land.")
    for wire, there, elsewhere in ((tenants.a, "poet", "surveyor"), (tenants.b, "surveyor", "poet")):
        tenants.model.asked.clear()
        await wire.create(query="Say something about tea", workflow_id="w", auto_start=False)
        await wire.call("PreviewPlan", _w.PreviewPlanRequest(query="Say something about tea"))
        await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w"))
        await wire.finished("w")
        plannings = [asked for asked in tenants.model.asked if "- research_agent: " in asked]
        assert len(plannings) == 2
        assert all(f"- {there}: " in asked and f"- {elsewhere}: " not in asked for asked in plannings)


async def test_a_workflow_keeps_the_agent_that_it_was_created_with(tmp_path: Path) -> None:
    given = tokens(tmp_path)
    async with serving(tmp_path, given) as tenants:
        await register(tenants.a, instructions="The first words.")
        await tenants.a.create(plan=plan_for("poet", one=()), workflow_id="old", auto_start=False)
        await register(tenants.a, instructions="The second words.")
        await tenants.a.create(plan=plan_for("poet"), workflow_id="new", auto_start=False)
    async with serving(tmp_path, given) as tenants:
        await deregister(tenants.a)
        assert (await refused(tenants.a.create(plan=plan_for("poet")))).reason == "PLAN_INVALID"
        # Edits of a pinned plan may name it, too.
        task = workflow_pb2.PlanTask(id="two", title="Two", description="More.", agent_id="poet")
        edit = plan_edit_pb2.PlanEdit(add=plan_edit_pb2.AddTask(task=task))
        await tenants.a.call("EditPlan", _w.EditPlanRequest(workflow_id="old", edits=[edit]))
        for name, words in (("old", {"The first words."}), ("new", {"The second words."})):
            tenants.model.told.clear()
            await tenants.a.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=name))
            assert (await tenants.a.finished(name)).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
            assert set(tenants.model.told) == words


async def test_a_registered_agent_outlives_a_restart_and_a_name_that_is_taken_back_shows(tmp_path: Path) -> None:
    given = tokens(tmp_path)
    aside = {"registration": {"models": ["small-model"]}}
    async with serving(tmp_path, given, **aside) as tenants:
        made = await register(tenants.a, model="small-model")
        await tenants.a.create(plan=plan_for("poet"), workflow_id="old", auto_start=False)
    async with serving(tmp_path, given) as tenants:
        shown = (await tenants.a.call("GetAgent", _a.GetAgentRequest(agent_id="poet"))).agent
        assert (shown.revision, list(shown.missing)) == (made.revision, ["model small-model"])
        assert "poet" in await ids(tenants.a)
        assert (await refused(tenants.a.create(plan=plan_for("poet")))).reason == "PLAN_INVALID"
        await tenants.a.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="old"))
        assert (await tenants.a.finished("old")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    async with serving(tmp_path, given, **aside) as tenants:
        assert (await tenants.a.call("GetAgent", _a.GetAgentRequest(agent_id="poet"))).agent == made
        await tenants.a.create(plan=plan_for("poet"), workflow_id="new")
        assert (await tenants.a.finished("new")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED


async def test_pages_of_agents_hold_the_registered_ones_in_order(tenants: Tenants) -> None:
    for number in range(7):
        await register(tenants.a, id=f"poet{number}")
    request, found = _a.ListAgentsRequest(page_size=3), []
    for _ in range(5):
        page = await tenants.a.call("ListAgents", request)
        found += [one.id for one in page.agents]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert found == sorted(found)
    assert set(found) == await ids(tenants.a)
    assert {f"poet{number}" for number in range(7)} <= set(found)


async def test_a_call_that_is_given_up_leaves_no_stale_view(tenants: Tenants) -> None:
    for number in range(20):
        request = _a.RegisterAgentRequest(agent=declared(id=f"poet{number}"), request_id=f"r{number}")
        call = tenants.a.call("RegisterAgent", request)
        await asyncio.sleep(0.0005 * number)
        call.cancel()
        await ids(tenants.a)
        await tenants.a.call("RegisterAgent", request)
        assert f"poet{number}" in await ids(tenants.a)
