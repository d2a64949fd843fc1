"""A real server process and a real receiver of OTLP in another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orcs_client.v1 import workflow_pb2
from orcs_server.telemetry.metrics import METRICS
from tests.rpc.wire import connected, plan_of
from tests.server_process import ServerProcess
from tests.telemetry.receiving import Receiver

Start = Callable[..., ServerProcess]
TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CLIENT}-01"


@pytest.fixture
def receiver_of(tmp_path: Path) -> Iterator[Callable[[str], Receiver]]:
    started: list[Receiver] = []

    def start(mode: str) -> Receiver:
        started.append(Receiver(tmp_path, mode))
        return started[-1]

    yield start
    for receiver in started:
        receiver.close()


def names_below(spans: list[dict[str, Any]], parent: str) -> set[str]:
    return {span["span"] for span in spans if span["parent"] == parent}


def one(spans: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [span for span in spans if span["span"] == name]
    return found


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_a_query_is_one_trace_from_the_clients_call_to_the_models(
    start_server: Start, receiver_of: Callable[[str], Receiver], protocol: str
) -> None:
    receiver = receiver_of("well")
    server = start_server(**receiver.settings(protocol))
    async with connected(server.address, server.token) as wire:
        wire.metadata += (("traceparent", PARENT),)
        await wire.create(workflow_id="w1", query="Compare tea and coffee")
        wire.metadata = wire.metadata[:-1]
        assert (await wire.finished("w1")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert await asyncio.to_thread(server.terminate) == 0
    spans = [span for span in receiver.spans if span["trace"] == TRACE]
    ids = {span["id"] for span in spans}
    assert {span["parent"] for span in spans} - ids == {CLIENT}
    assert {span["service"] for span in spans} == {"orcs"}
    call = one(spans, "orcs.rpc")
    assert (call["parent"], call["attributes"]["rpc.method"]) == (CLIENT, "CreateWorkflow")
    workflow = one(spans, "orcs.workflow")
    assert workflow["parent"] == call["id"]
    assert names_below(spans, workflow["id"]) == {"invoke_agent planner", "orcs.task"}
    tasks = [span for span in spans if span["span"] == "orcs.task"]
    assert len(tasks) > 1
    for task in tasks:
        (attempt,) = [span for span in spans if span["parent"] == task["id"]]
        assert attempt["span"] == f"invoke_agent {task['attributes']['orcs.agent']}"
        assert names_below(spans, attempt["id"]) == {"chat offline"}
    assert names_below(spans, one(spans, "invoke_agent planner")["id"]) == {"chat offline"}
    sent = receiver.metrics
    assert sent["orcs.workflow.duration"]["kind"] == "histogram"
    assert {"orcs.tokens", "gen_ai.client.token.usage", "orcs.storage.commit.duration", "orcs.workflows"} <= sent.keys()
    assert {name for name in sent if name.startswith(("orcs.", "gen_ai."))} <= {metric.name for metric in METRICS}


async def test_a_workflow_stays_one_trace_when_the_server_dies_in_the_midst_of_it(
    start_server: Start, receiver_of: Callable[[str], Receiver]
) -> None:
    receiver = receiver_of("well")
    server = start_server(agent_registry="tests.journal_agents:REGISTRY", **receiver.settings())
    async with connected(server.address, server.token) as wire:
        wire.metadata += (("traceparent", PARENT),)
        task = workflow_pb2.PlanTask(id="a", title="A", description="Go.", agent_id="outer")
        await wire.create(workflow_id="w1", plan=workflow_pb2.Plan(tasks=[task]))
        await asyncio.to_thread(
            receiver.until, lambda: any(span["span"] == "execute_tool ask" for span in receiver.spans)
        )
    server.kill()
    server.start()
    async with connected(server.address, server.token) as wire:
        assert (await wire.finished("w1")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert await asyncio.to_thread(server.terminate) == 0
    spans = [span for span in receiver.spans if span["trace"] == TRACE]
    task_span = one(spans, "orcs.task")
    assert task_span["parent"] == one(spans, "orcs.workflow")["id"]
    numbers = {span["attributes"].get("orcs.attempt") for span in spans if span["parent"] == task_span["id"]}
    assert "2" in numbers
    # Of the attempt that was killed only what it had ended arrived: what is below it is known by the attempt's id alone.
    tools = [span for span in spans if span["span"].startswith("execute_tool")]
    made = [(span["attributes"]["gen_ai.agent.name"], span["attributes"]["gen_ai.tool.call.id"]) for span in tools]
    assert len(made) >= 3 * 4 - 1
    inner = [span for span in spans if span["span"] == "invoke_agent inner"]
    asks = {span["id"] for span in tools if span["span"] == "execute_tool ask"}
    assert {span["parent"] for span in inner} & asks


@pytest.mark.parametrize("mode", ["hangs", "refuses", "slow", "dead"])
async def test_a_receiver_that_does_not_take_it_harms_no_run_and_no_end(
    start_server: Start, receiver_of: Callable[[str], Receiver], mode: str
) -> None:
    receiver = receiver_of("well" if mode == "dead" else mode)
    if mode == "dead":
        receiver.close()
    server = start_server(**receiver.settings(), OTEL_BSP_MAX_QUEUE_SIZE="512", metrics_listen="127.0.0.1:0")
    async with connected(server.address, server.token) as wire:
        for number in range(20):
            await wire.create(workflow_id=f"w{number}", plan=plan_of(**{f"t{each}": () for each in range(10)}))
        for number in range(20):
            assert (await wire.finished(f"w{number}")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert await asyncio.to_thread(server.terminate) == 0
    log = server.errors.read_text()
    assert log.rstrip().endswith("orcs.app: stopped")
    if mode != "slow":
        assert "the receiver of telemetry does not take it" in log
