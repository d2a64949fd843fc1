"""A workflow that continues an earlier one: its planner and its agents are told what was asked and what came of it. The only
stand-in is the model, behind HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock

from orcs_client.v1 import workflow_pb2, workflow_service_pb2
from orcs_server.app import Server
from orcs_server.identity.tokens import TokenRegistry
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected, plan_of, refused

_w = workflow_service_pb2
PLAN = '{"tasks": [{"title": "Judge", "description": "Judge it.", "agent_id": "writing_agent", "dependencies": []}]}'


@pytest.fixture
async def modelled(tmp_path: Path, llmock: LLMock) -> AsyncIterator[Wire]:
    """A client of a server whose model says what the test has it say."""
    model = {"base_url": llmock.base_url("openai"), "name": "any-model"}
    settings = settings_in(tmp_path, insecure_no_auth=True, model=model)
    async with (
        Server(settings, {"XDG_STATE_HOME": str(tmp_path), "OPENAI_API_KEY": "k"}) as server,
        connected(str(server.address), None) as client,
    ):
        yield client


def bodies(llmock: LLMock) -> list[str]:
    return [str(request.body) for request in llmock.requests]


async def test_planner_and_agents_are_told_what_came_of_it(modelled: Wire, llmock: LLMock) -> None:
    llmock.reply(PLAN.replace("Judge it.", "Look at tea."))
    llmock.reply("Tea holds caffeine.\nAnd tannin.")
    await modelled.create(workflow_id="first", query="What is in tea?", title="On tea")
    await modelled.finished("first")
    llmock.reply(PLAN)
    llmock.reply("Tea is fine.")
    created = await modelled.create(query="Is that healthy?", continue_from="first")
    assert created.workflow.continue_from == "first"
    await modelled.finished(created.workflow.id)
    planner, task = bodies(llmock)[2:]
    for told in (planner, task):
        assert "What is in tea?" in told
        assert "Tea holds caffeine." in told
    assert "> And tannin." in planner
    assert '<result task="first"' in task
    assert "Is that healthy?" in planner


async def test_what_is_continued_may_be_deleted_meanwhile(modelled: Wire, llmock: LLMock) -> None:
    llmock.reply("Tea holds caffeine.")
    await modelled.create(workflow_id="first", plan=plan_of(a=()))
    await modelled.finished("first")
    created = await modelled.create(plan=plan_of(b=()), continue_from="first", auto_start=False)
    await modelled.call("DeleteWorkflow", _w.DeleteWorkflowRequest(workflow_id="first"))
    llmock.reply("Tea is fine.")
    await modelled.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=created.workflow.id))
    await modelled.finished(created.workflow.id)
    assert "Tea holds caffeine." in bodies(llmock)[-1]


async def test_one_that_failed_can_be_continued_and_says_why_it_failed(modelled: Wire, llmock: LLMock) -> None:
    llmock.fail(400)
    ended = await _finished(modelled, workflow_id="first", plan=plan_of(a=()))
    assert ended.state == workflow_pb2.WORKFLOW_STATE_FAILED
    llmock.reply("Tea is fine.")
    again = await _finished(modelled, plan=plan_of(b=()), continue_from="first")
    assert again.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert "Not finished" in bodies(llmock)[-1]


async def _finished(client: Wire, **fields: Any) -> Any:
    created = await client.create(**fields)
    return await client.finished(created.workflow.id)


async def test_one_that_goes_on_or_is_not_there_is_refused_and_nothing_is_created(wire: Wire) -> None:
    waiting = await wire.create(plan=plan_of(a=()), auto_start=False)
    answer = await refused(wire.create(query="q", workflow_id="never1", continue_from=waiting.workflow.id))
    assert (answer.code.name, answer.reason) == ("FAILED_PRECONDITION", "OUTPUT_NOT_READY")
    answer = await refused(wire.create(query="q", workflow_id="never1", continue_from="nowhere"))
    assert (answer.code.name, answer.reason) == ("NOT_FOUND", "WORKFLOW_NOT_FOUND")
    gone = await refused(wire.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id="never1")))
    assert gone.reason == "WORKFLOW_NOT_FOUND"


async def test_another_namespaces_workflow_is_as_unknown_as_any(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    registry = TokenRegistry(settings.data)
    tokens = [registry.create("ann", name, ["operate"]) for name in ("red", "blue")]
    async with (
        Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server,
        connected(str(server.address), tokens[0]) as red,
        connected(str(server.address), tokens[1]) as blue,
    ):
        await _finished(red, workflow_id="secret", plan=plan_of(a=()))
        foreign = await refused(blue.create(query="q", continue_from="secret"))
        unknown = await refused(blue.create(query="q", continue_from="secreT"))
    assert foreign.code == unknown.code
    assert foreign.message == unknown.message.replace("secreT", "secret")
