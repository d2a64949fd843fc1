"""What model calls cost: by the table of the workflow, call by call, in whole millionths."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from agents import Agent
from agents import Usage as SdkUsage
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

from orcs_client.v1 import workflow_service_pb2 as service_pb2
from orcs_server.agents.catalog import definition_of
from orcs_server.agents.definition import AgentDefinition
from orcs_server.executor.configuration import freeze, pack
from orcs_server.executor.pricing import Price, Pricing, cost_micros
from orcs_server.workflow.model import Usage
from tests.engines.support import Stage, server, task
from tests.rpc.wire import connected, plan_of
from tests.server_process import ServerProcess

PRICE = Price(input=2_000_000, output=8_000_000, cached_input=500_000)


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (PRICE, Usage(1, 1_000_000, 0, 1_000_000), 10_000_000),
        (PRICE, Usage(1, 10, 4, 3, 2), 6 * 2 + 4 // 2 + 3 * 8),
        (PRICE, Usage(1, 10, 99, 0), 5),
        (PRICE, Usage(1), 0),
        (Price(2_000_000, 8_000_000), Usage(1, 10, 4, 3), 10 * 2 + 3 * 8),
        (Price(1, 0), Usage(1, 499_999), 0),
        (Price(1, 0), Usage(1, 500_000), 1),
        (Price(10**12, 10**12), Usage(1, 10**9, 0, 10**9), 2 * 10**15),
    ],
)
def test_a_call_costs_what_its_tokens_cost(price: Price, usage: Usage, cost: int) -> None:
    assert cost_micros(price, usage) == cost


def test_a_model_without_a_price_is_free_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    pricing = Pricing()
    assert pricing.by({}) is None
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            price = pricing.by({"known": PRICE})
            assert price is not None
            assert (price("other", Usage(1, 5)), price("known", Usage(1, 5))) == (0, 10)
    assert [record.getMessage() for record in caplog.records] == [
        "the table [prices] has no model 'other': its calls count as free"
    ]


async def test_nested_agents_and_failed_calls_are_priced_by_their_own_models(tmp_path: Path) -> None:
    def spent(tokens: int) -> SdkUsage:
        return SdkUsage(requests=1, input_tokens=tokens)

    class Named(ScriptedModel):
        def __init__(self, name: str, steps: list[ModelStep]) -> None:
            super().__init__(steps)
            self.model = name

    inner = Agent(
        name="Inner", model=Named("cheap", [ModelStep(output=[assistant_message("found")], usage=spent(1_000))])
    )
    asked = function_call("ask", {"input": "look"}, call_id="ask_1")
    steps = [ModelStep(output=[asked], usage=spent(10)), ModelStep(output=[assistant_message("done")], usage=spent(20))]
    outer = Agent(name="Outer", tools=[inner.as_tool("ask", "Ask.")], model=Named("dear", steps))
    agent: AgentDefinition = definition_of("outer", outer)
    prices = {"cheap": Price(1_000_000, 0), "dear": Price(100_000_000, 0), "stage": Price(7_000_000, 1_000_000)}
    stage = Stage()
    stage.acts["b"] = [ConnectionError("no route")]
    async with server(tmp_path / "orcs.db", stage, agents=[agent]) as world:
        bounds = {"max_predecessor_bytes": 65_536, "max_output_bytes": 100_000}
        world.frozen = pack(freeze(world.catalog, planner_prompt=None, model=None, **bounds, prices=prices))
        await world.create(tasks=[task("a", agent_id="outer"), task("b")])
        ended = await world.end()
        costs = [one.progress.usage.cost_micros for one in ended.tasks]
        assert costs == [30 * 100 + 1_000, 4 * 7 + 2]
        assert ended.summary.progress.usage.cost_micros == sum(costs)


async def test_a_workflow_keeps_the_prices_with_which_it_was_created(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path, prices='{"offline": {"input": 3000000, "output": 5000000}}')
    later = ServerProcess(tmp_path, prices='{"offline": {"input": 0, "output": 0}}')
    try:
        first.start()
        async with connected(first.address, first.token) as wire:
            workflow_id = (await wire.create(plan=plan_of(a=(), b=("a",)), auto_start=False)).workflow.id
        first.kill()
        later.start()
        async with connected(later.address, later.token) as wire:
            await wire.call("StartWorkflow", service_pb2.StartWorkflowRequest(workflow_id=workflow_id))
            usage = (await wire.finished(workflow_id)).usage
            free = (await wire.finished((await wire.create(plan=plan_of(a=()))).workflow.id)).usage
    finally:
        first.kill()
        later.kill()
    assert usage.cost_micros == 3 * usage.input_tokens + 5 * usage.output_tokens > 0
    assert (free.cost_micros, free.output_tokens > 0) == (0, True)


def test_models_that_were_told_of_are_not_remembered_without_end(caplog: pytest.LogCaptureFixture) -> None:
    price = Pricing().by({"known": PRICE})
    assert price is not None
    with caplog.at_level(logging.WARNING):
        for name in (*map(str, range(1_000)), "0", "one more", "0"):
            price(name, Usage(1, 5))
    assert len(caplog.messages) == 1_002
