"""ExplainWorkflow over real gRPC: of what has ended, of what waits, and of what is stuck for a reason outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock

from orcs_client.v1 import (
    common_pb2,
    control_service_pb2,
    explanation_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_client.v1.control_service_pb2_grpc import ControlServiceStub
from orcs_server.app import Server
from orcs_server.hooks import HookSet, Origin
from orcs_server.identity import Caller
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected, plan_of, refused

_w = workflow_service_pb2


class _Stuck:
    """A resources hook that never answers."""

    async def allocate_resources(self, _workflow_id: str, _requirements: dict[str, Any], /) -> bool:
        await asyncio.Event().wait()
        return True

    async def release_resources(self, _workflow_id: str, /) -> None: ...


def stuck(_caller: Caller, /, origin: Origin) -> HookSet:
    return HookSet(resources=_Stuck())


async def explained(wire: Wire, workflow_id: str, task_id: str = "", **fields: Any) -> Any:
    request = _w.ExplainWorkflowRequest(workflow_id=workflow_id, task_id=task_id, **fields)
    return await wire.call("ExplainWorkflow", request)


def codes(reasons: Any) -> set[str]:
    return {explanation_pb2.ReasonCode.Name(reason.code).removeprefix("REASON_CODE_") for reason in reasons}


async def until(wire: Wire, workflow_id: str, reached: Callable[[Any], bool]) -> Any:
    """Ask until the explanation says so; return it."""
    async with asyncio.timeout(60):
        while not reached(reply := await explained(wire, workflow_id)):  # noqa: ASYNC110 - it is asked anew
            await asyncio.sleep(0.02)
    return reply


async def test_what_has_completed_is_explained_with_its_attempts_and_costs(wire: Wire) -> None:
    created = await wire.create(query="Compare tea and coffee, then write a report")
    ended = await wire.finished(created.workflow.id)
    reply = await explained(wire, created.workflow.id)
    told = reply.explanation
    assert (told.state, codes(told.why)) == (workflow_pb2.WORKFLOW_STATE_COMPLETED, {"COMPLETED"})
    assert codes(told.past) == {"CREATED", "PLAN_ADOPTED", "STARTED", "COMPLETED"}
    assert told.cost.usage == ended.usage
    assert told.cost.planning.requests == 1
    assert told.cost.tasks.requests == len(reply.tasks) == ended.task_counts.total
    assert told.cost.elapsed_time.ToMicroseconds() >= told.cost.wall_time.ToMicroseconds() > 0
    (planner,) = told.planner_attempts
    assert planner.ending == explanation_pb2.ATTEMPT_ENDING_SUCCEEDED
    for task in reply.tasks:
        (attempt,) = task.attempts
        assert (codes(task.why), attempt.ending) == ({"COMPLETED"}, explanation_pb2.ATTEMPT_ENDING_SUCCEEDED)
        assert (attempt.usage, attempt.calls) == (task.usage, 1)
        assert attempt.end_time.ToMicroseconds() >= attempt.start_time.ToMicroseconds()


async def test_what_waits_says_for_what_and_the_same_question_gets_the_same_answer(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=(), b=("a",)), auto_start=False)
    reply = await explained(wire, created.workflow.id)
    assert codes(reply.explanation.why) == {"NOT_STARTED"}
    assert [codes(task.why) for task in reply.tasks] == [{"NOT_STARTED"}, {"DEPENDENCIES", "NOT_STARTED"}]
    again = await explained(wire, created.workflow.id)
    for one in (reply, again):
        one.explanation.cost.ClearField("elapsed_time")
    assert reply == again


async def test_tasks_come_page_by_page_or_alone(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=(), b=("a",), c=()), auto_start=False)
    first = await explained(wire, created.workflow.id, page_size=2)
    rest = await explained(wire, created.workflow.id, page_size=2, page_token=first.next_page_token)
    assert [task.task_id for task in (*first.tasks, *rest.tasks)] == ["a", "b", "c"]
    assert not rest.next_page_token
    alone = await explained(wire, created.workflow.id, "b")
    assert [task.task_id for task in alone.tasks] == ["b"]
    assert alone.tasks[0].why[0].task_ids == ["a"]
    answer = await refused(explained(wire, created.workflow.id, "nobody"))
    assert (answer.code.name, answer.reason) == ("NOT_FOUND", "TASK_NOT_FOUND")
    answer = await refused(explained(wire, created.workflow.id, "b", page_token=first.next_page_token))
    assert answer.reason == "PAGE_TOKEN_INVALID"


async def test_a_dead_model_endpoint_is_named(llmock: LLMock, tmp_path: Path) -> None:
    llmock.outage()
    table = {"base_url": llmock.base_url(), "name": "test-model"}
    settings = settings_in(tmp_path, insecure_no_auth=True, model=table)
    async with (
        Server(settings, environ={"HOME": str(tmp_path)}) as server,
        connected(str(server.address), None) as wire,
    ):
        created = await wire.create(plan=plan_of(a=()))
        reply = await until(wire, created.workflow.id, lambda reply: "MODEL_OUTAGE" in codes(reply.explanation.why))
    (task,) = reply.tasks
    assert codes(task.why) == {"MODEL_OUTAGE"}
    assert task.failed_attempts < task.max_attempts, "an outage uses none of them up"
    assert task.why[0].failure.kind in (common_pb2.FAILURE_KIND_CONNECTION, common_pb2.FAILURE_KIND_SERVER_ERROR)
    assert task.why[0].HasField("time")


async def test_a_pause_is_told_with_who_asked_for_it_and_why(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=()), auto_start=False)
    request = control_service_pb2.PauseWorkflowRequest(workflow_id=created.workflow.id, reason="the price is wrong")
    await ControlServiceStub(wire.channel).PauseWorkflow(request, metadata=wire.metadata)
    reply = await explained(wire, created.workflow.id)
    paused = next(reason for reason in reply.explanation.why if reason.code == explanation_pb2.REASON_CODE_PAUSED)
    assert paused.actor == created.workflow.creator
    assert paused.text == f"It is paused by {paused.actor}: the price is wrong."
    assert "PAUSED" in codes(reply.tasks[0].why)


async def test_a_budget_that_is_used_up_is_named_with_what_was_spent(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=(), b=("a",)), budget=workflow_pb2.Budget(tokens=1))
    reply = await until(wire, created.workflow.id, lambda reply: "BUDGET" in codes(reply.explanation.why))
    told = reply.explanation
    assert told.cost.budget.tokens == 1
    assert told.cost.usage.input_tokens + told.cost.usage.output_tokens >= 1
    budget = next(reason for reason in told.why if reason.code == explanation_pb2.REASON_CODE_BUDGET)
    assert budget.input_id == "i1"


async def test_a_task_that_is_carried_out_again_says_for_whom_and_what_was_reused(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=(), b=("a",)))
    await wire.finished(created.workflow.id)
    retry = task_service_pb2.RetryTaskRequest(workflow_id=created.workflow.id, task_id="a", include_dependants=True)
    await wire.call("RetryTask", retry)
    # The offline model writes the same again.
    await wire.finished(created.workflow.id)
    first, second = (await explained(wire, created.workflow.id)).tasks
    assert codes(first.past) == {"REOPENED"}
    assert first.past[0].actor == created.workflow.creator
    assert [attempt.run for attempt in first.attempts] == [1, 2]
    assert codes(second.why) == {"OUTPUT_REUSED"}
    assert codes(second.past) == {"REOPENED_BY_DEPENDENCY", "OUTPUT_REUSED"}
    assert len(second.attempts) == 1


async def test_a_resources_hook_that_is_stuck_is_named(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, insecure_no_auth=True, hooks=f"{__name__}:stuck")
    async with (
        Server(settings, environ={"HOME": str(tmp_path)}) as server,
        connected(str(server.address), None) as wire,
    ):
        created = await wire.create(plan=plan_of(a=()), resource_requirements='{"gpus": 1}')
        reply = await explained(wire, created.workflow.id)
    assert codes(reply.explanation.why) == codes(reply.tasks[0].why) == {"RESOURCES"}
    assert reply.explanation.why[0].HasField("time")


@pytest.mark.parametrize("workflow_id", ["none", "elsewhere"])
async def test_of_what_is_not_there_nothing_is_explained(wire: Wire, workflow_id: str) -> None:
    answer = await refused(explained(wire, workflow_id))
    assert (answer.code.name, answer.reason) == ("NOT_FOUND", "WORKFLOW_NOT_FOUND")
