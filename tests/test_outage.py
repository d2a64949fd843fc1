"""A whole server and a model server that is down, or misbehaves: nothing is lost, paid twice or asked too often."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Fail, Match
from llmock.testing import LLMockServer

from orcs_client.v1 import workflow_pb2
from orcs_server.agents import runner
from orcs_server.agents.breaker import BreakerRules
from orcs_server.app import Server
from tests import outage_agents
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected, plan_of

OUTAGE_S = 2.0
QUICK_RETRY = {"initial_backoff": 0.01, "max_backoff": 0.02}


@pytest.fixture(autouse=True)
def quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a server that is down asked again sooner, though not so soon that a busy machine blurs how the pauses grow."""
    monkeypatch.setattr(runner, "BreakerRules", functools.partial(BreakerRules, first_pause_us=400_000))


@asynccontextmanager
async def server_of(
    llmock: LLMock, folder: Path, model: dict[str, Any] | None = None, **flags: Any
) -> AsyncIterator[Wire]:
    """Run a server whose models llmock has, and connect to it."""
    flags = {"retry": QUICK_RETRY, **flags}
    table = {"base_url": llmock.base_url(), "name": "test-model", **(model or {})}
    settings = settings_in(folder, insecure_no_auth=True, model=table, **flags)
    async with Server(settings, environ={"HOME": str(folder)}) as server, connected(str(server.address), None) as wire:
        yield wire


def one_task(agent_id: str) -> workflow_pb2.Plan:
    return workflow_pb2.Plan(tasks=[workflow_pb2.PlanTask(id="a", title="A", description="Go.", agent_id=agent_id)])


async def log_of(wire: Wire, workflow_id: str) -> list[Any]:
    return [event for reply in await wire.watched(workflow_id=workflow_id) for event in reply.events]


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.02)


async def test_tasks_sit_an_outage_out_and_the_server_is_asked_by_one_call_at_a_time(
    llmock: LLMock, llmock_server: LLMockServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slots, tasks = 4, 20
    llmock.outage()
    async with server_of(llmock, tmp_path, limits={"slots": slots}) as wire:
        with caplog.at_level(logging.INFO, "orcs.models"):
            created = await wire.create(plan=plan_of(**{f"t{number}": () for number in range(tasks)}))
            # Without a breaker, all budgets are spent within a tenth of this.
            await asyncio.sleep(OUTAGE_S)
            asked = len(llmock.requests)
            llmock_server.state.scenarios.clear()
            workflow = await wire.finished(created.workflow.id)
        log = await log_of(wire, created.workflow.id)
    assert workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert slots < asked < tasks, "the calls under way and a few tries; without a breaker there are three for each task"
    failed = [event.attempt_failed for event in log if event.WhichOneof("body") == "attempt_failed"]
    assert len(failed) > slots
    assert all("has been down since" in one.failure.message for one in failed[2:])
    assert len(failed) < 2 * tasks, "what waits in its queue is no event"
    down, up = [record.getMessage() for record in caplog.records if record.name == "orcs.models"]
    assert "is down" in down
    assert "answers again" in up
    llmock.assert_resilient()


async def test_planning_sits_an_outage_out_too(llmock: LLMock, tmp_path: Path) -> None:
    llmock.fail(503, times=4)
    llmock.reply(
        '{"tasks": [{"title": "One", "description": "Do it.", "agent_id": "research_agent", "dependencies": []}]}'
    )
    async with server_of(llmock, tmp_path) as wire:
        workflow = await wire.finished((await wire.create(query="Go.")).workflow.id)
    assert workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert len(llmock.requests) == 6


async def test_an_outage_in_the_middle_of_a_run_repeats_nothing(llmock: LLMock, tmp_path: Path) -> None:
    outage_agents.RUNS.clear()
    llmock.call_tool("look_up", {"city": "Bern"})
    llmock.call_tool("look_up", {"city": "Biel"})
    outage_agents.THEN["Biel"] = lambda: llmock.fail(503, times=4)
    llmock.reply("Six bridges.")
    async with server_of(llmock, tmp_path, agent_registry="tests.outage_agents:REGISTRY") as wire:
        created = await wire.create(plan=one_task("looker"))
        workflow = await wire.finished(created.workflow.id)
        log = await log_of(wire, created.workflow.id)
    assert workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert outage_agents.RUNS == ["Bern", "Biel"]
    assert len(llmock.requests) == 2 + 4 + 1
    assert Counter(event.WhichOneof("body") for event in log)["attempt_failed"] >= 4


async def test_an_outage_within_a_nested_agent_is_not_taken_for_its_answer(llmock: LLMock, tmp_path: Path) -> None:
    llmock.call_tool("ask", {"input": "How many?"})
    llmock.add(Fail(503, times=1, match=Match(tools=False)))
    llmock.reply("Seven bridges.")
    llmock.reply("It is done.")
    async with server_of(llmock, tmp_path, agent_registry="tests.outage_agents:REGISTRY") as wire:
        workflow = await wire.finished((await wire.create(plan=one_task("outer"))).workflow.id)
    assert workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    bodies = [str(request.body) for request in llmock.requests]
    assert ["You are the inner agent" in body for body in bodies] == [False, True, True, False]
    assert "Seven bridges." in bodies[3]


async def test_patience_that_is_used_up_fails_the_task(llmock: LLMock, tmp_path: Path) -> None:
    llmock.outage()
    async with server_of(llmock, tmp_path, {"patience": 0.001}) as wire:
        workflow = await wire.finished((await wire.create(plan=one_task("research_agent"))).workflow.id)
    assert workflow.state == workflow_pb2.WORKFLOW_STATE_FAILED
    assert "lasted too long" in workflow.failure.message


async def test_without_patience_each_failed_call_costs_an_attempt(llmock: LLMock, tmp_path: Path) -> None:
    llmock.outage()
    async with server_of(llmock, tmp_path, {"patience": 0}) as wire:
        workflow = await wire.finished((await wire.create(plan=one_task("research_agent"))).workflow.id)
    assert workflow.state == workflow_pb2.WORKFLOW_STATE_FAILED
    assert len(llmock.requests) == 3


async def test_the_servers_own_health_is_not_that_of_its_model_server(llmock: LLMock, tmp_path: Path) -> None:
    llmock.outage()
    async with server_of(llmock, tmp_path) as wire:
        await wire.create(plan=one_task("research_agent"))
        await until(lambda: len(llmock.requests) >= 4)
        answer = await health_pb2_grpc.HealthStub(wire.channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_strict_verdict_over_every_fault_that_a_retry_can_mend(llmock: LLMock, tmp_path: Path) -> None:
    faults: list[Callable[[], object]] = [
        lambda: llmock.rate_limit(retry_after=0.3),
        lambda: llmock.fail(503, retry_after=0.2),
        lambda: llmock.fail(500),
        lambda: llmock.fail(408),
        lambda: llmock.fail(409),
        lambda: llmock.truncate(after_chunks=2),
        lambda: llmock.disconnect(after_chunks=2),
        lambda: llmock.corrupt(after_chunks=2),
        lambda: llmock.stall(after_chunks=3, seconds=20),
    ]
    async with server_of(llmock, tmp_path, {"stall_timeout": 0.3}) as wire:
        for number, fault in enumerate(faults):
            fault()
            created = await wire.create(plan=plan_of(**{f"task{number}": ()}))
            assert (await wire.finished(created.workflow.id)).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert len(llmock.requests) == 2 * len(faults)
    llmock.assert_resilient(strict=True)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_the_strict_verdict_over_what_no_retry_can_mend(llmock: LLMock, tmp_path: Path, status: int) -> None:
    llmock.fail(status)
    async with server_of(llmock, tmp_path) as wire:
        workflow = await wire.finished((await wire.create(plan=one_task("research_agent"))).workflow.id)
    assert workflow.state == workflow_pb2.WORKFLOW_STATE_FAILED
    assert len(llmock.requests) == 1
    llmock.assert_resilient(strict=True)
