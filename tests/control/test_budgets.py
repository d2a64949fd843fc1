"""Budgets that are reached, over gRPC and kills: what they are for stops before its next model call, and repeats nothing."""

from __future__ import annotations

import asyncio

import pytest

from orcs_client import budget
from orcs_client.v1 import common_pb2
from orcs_client.v1 import workflow_pb2 as w
from tests.control.script import look, task
from tests.control.stage import APPROVE, EDIT, FAILED, REJECT, Stage
from tests.control.usage import COST_MICROS, PRICE, TOKENS

TURNS = ([look("one")], [look("two")], [look("three")], [look("four")])
EVERY_CALL = sorted(
    [*(f"model {turn}" for turn in range(5)), *(f"tool {name}" for name in ("one", "two", "three", "four"))]
)


pytestmark = pytest.mark.parametrize("stage", [{"prices": PRICE}], indirect=True, ids=["priced"])


@pytest.mark.parametrize("limit", [{"tokens": 2 * TOKENS}, {"cost_micros": 2 * COST_MICROS}])
@pytest.mark.parametrize("of_task", [False, True])
async def test_a_budget_stops_before_the_next_call_and_raising_it_repeats_nothing(
    stage: Stage, limit: dict[str, int], *, of_task: bool
) -> None:
    given = budget(**limit)
    if of_task:
        workflow_id = await stage.create(task("a", *TURNS, budget=given))
    else:
        workflow_id = await stage.create(task("a", *TURNS), budget=given)
    asked = await stage.input(workflow_id)
    assert (asked.kind, asked.task_id) == (w.PENDING_INPUT_KIND_BUDGET, "a" if of_task else "")
    await stage.restart()
    assert [one.id for one in await stage.inputs(workflow_id)] == [asked.id]
    assert [name for name in stage.calls("a") if name.startswith("model")] == ["model 0", "model 1"]
    await stage.decide(asked, APPROVE)  # As much again.
    second = await stage.input(workflow_id)
    assert [name for name in stage.calls("a") if name.startswith("model")] == [f"model {turn}" for turn in range(4)]
    used = (await stage.workflow(workflow_id)).usage
    assert (used.input_tokens + used.output_tokens, used.cost_micros) == (4 * TOKENS, 4 * COST_MICROS)
    await stage.restart()
    if of_task:
        await stage.decide(second, EDIT, budget=budget(tokens=1000))
    else:
        await stage.client.update_workflow(workflow_id, budget=budget(tokens=1000))
    await stage.end_of(workflow_id)
    assert sorted(stage.calls("a")) == EVERY_CALL


async def test_the_overshoot_is_one_call_of_each_agent_that_runs(stage: Stage) -> None:
    names = ("a", "b", "c")
    tasks = [task(name, [look(f"{name}1")], [look(f"{name}2")], gates={0: "g"}) for name in names]
    workflow_id = await stage.create(*tasks, task("d", needs="a"), budget=budget(tokens=TOKENS))
    await asyncio.gather(*(stage.begun(name, "model 0") for name in names))
    stage.open("g")
    asked = await stage.input(workflow_id)
    await stage.restart()
    workflow = await stage.workflow(workflow_id)
    assert workflow.usage.input_tokens + workflow.usage.output_tokens <= 3 * TOKENS
    calls = [name for task_id in names for name in stage.calls(task_id)]
    assert calls.count("model 1") == 0
    await stage.decide(asked, EDIT, budget=budget(tokens=1000))
    await stage.end_of(workflow_id)
    for name in names:
        assert [stage.calls(name, "ended").count(f"model {turn}") for turn in (1, 2)] == [1, 1]


async def test_a_refused_budget_fails_the_workflow_and_a_larger_one_reopens_it(stage: Stage) -> None:
    workflow_id = await stage.create(task("a", *TURNS), task("b", needs="a"), budget=budget(tokens=2 * TOKENS))
    asked = await stage.input(workflow_id)
    await stage.restart()
    await stage.decide(asked, REJECT, reason="No money left.")
    failed = await stage.end_of(workflow_id, FAILED)
    assert failed.failure.kind == common_pb2.FAILURE_KIND_BUDGET_EXCEEDED
    assert "No money left." in failed.failure.message
    assert [name for name in stage.calls("a") if name.startswith("model")] == ["model 0", "model 1"]
    assert stage.calls("b") == []


async def test_wall_time_counts_over_kills_and_stops_at_the_next_turn(stage: Stage) -> None:
    workflow_id = await stage.create(
        task("a", [look("one")], [look("two", "g")], [look("three")]), budget=budget(wall_time=0.5)
    )
    await stage.begun("a", "tool two")
    await stage.kill()
    await asyncio.sleep(0.5)
    await stage.start()
    stage.open("g")
    asked = await stage.input(workflow_id)
    assert asked.kind == w.PENDING_INPUT_KIND_BUDGET
    assert stage.calls("a").count("model 2") == 0
    await stage.restart()
    await stage.client.update_workflow(workflow_id, budget=budget(wall_time=600))
    await stage.end_of(workflow_id)
    assert [stage.calls("a").count(f"model {turn}") for turn in range(3)] == [1, 1, 1]
    assert stage.calls("a").count("tool three") == 1
