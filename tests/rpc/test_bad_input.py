"""Whatever is wrong with a request, the answer says so: the code, the reason, and every violation at its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from orcs_client.v1 import common_pb2, task_service_pb2, workflow_pb2, workflow_service_pb2
from tests.rpc.wire import Wire, plan_of, refused

_w = workflow_service_pb2

LATER = Timestamp(seconds=4_000_000_000)
DEEP = "[" * 500 + "]" * 500

FIELDS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "no source": ({}, {"query"}),
    "a blank query": ({"query": " \n"}, {"query"}),
    "a query that is too long": ({"query": "é" * 140_000}, {"query"}),
    "a bad id": ({"query": "q", "workflow_id": "../etc"}, {"workflow_id"}),
    "a long title": ({"query": "q", "title": "t" * 201}, {"title"}),
    "control characters in a title": ({"query": "q", "title": "a\x1b[2Jb"}, {"title"}),
    "a title that runs backwards": ({"query": "q", "title": "a\u202eb"}, {"title"}),
    "a bad label": ({"query": "q", "labels": {"": "x", "ok": "a\nb"}}, {"labels[]", "labels[ok]"}),
    "a label that is too long": ({"query": "q", "labels": {"k" * 64: "v" * 256}}, {f"labels[{'k' * 64}]"}),
    "too many labels": ({"query": "q", "labels": {f"k{n}": "" for n in range(65)}}, {"labels"}),
    "a priority out of range": ({"query": "q", "priority": 1001}, {"priority"}),
    "a deadline that has passed": ({"query": "q", "deadline_time": Timestamp(seconds=1)}, {"deadline_time"}),
    "a deadline before the start": (
        {"query": "q", "deadline_time": LATER, "not_before_time": LATER},
        {"not_before_time"},
    ),
    "a time that is none": ({"query": "q", "deadline_time": Timestamp(seconds=2**50)}, {"deadline_time"}),
    "a context that is no JSON": ({"query": "q", "context": common_pb2.Part(json="{")}, {"context"}),
    "a context that is no object": ({"query": "q", "context": common_pb2.Part(json="[1]")}, {"context"}),
    "a context of another kind": ({"query": "q", "context": common_pb2.Part(data=b"x")}, {"context"}),
    "a context too deep": ({"query": "q", "context": common_pb2.Part(json=f'{{"a": {DEEP}}}')}, {"context"}),
    "a number too large": ({"query": "q", "context": common_pb2.Part(json='{"a": 1e999}')}, {"context"}),
    "half a character": ({"query": "q", "context": common_pb2.Part(json='{"a": "\\ud800"}')}, {"context"}),
    "requirements that are no object": ({"query": "q", "resource_requirements": "3"}, {"resource_requirements"}),
    "a schema without JSON": (
        {"query": "q", "output_schema": '{"type": "object"}'},
        {"output_schema"},
    ),
    "a schema that reaches out": (
        {
            "query": "q",
            "output_format": workflow_pb2.OUTPUT_FORMAT_JSON,
            "output_schema": '{"type": "object", "properties": {"a": {"$ref": "http://x/y"}}}',
        },
        {"output_schema"},
    ),
    "a retry policy out of range": (
        {
            "query": "q",
            "retry_policy": workflow_pb2.RetryPolicy(
                max_attempts=0, initial_backoff=Duration(seconds=100), max_backoff=Duration(seconds=1), multiplier=0.5
            ),
        },
        {"retry_policy.max_attempts", "retry_policy.max_backoff", "retry_policy.multiplier"},
    ),
    "a negative duration": (
        {"query": "q", "retry_policy": workflow_pb2.RetryPolicy(initial_backoff=Duration(seconds=-1))},
        {"retry_policy.initial_backoff"},
    ),
    "an unknown enum value": ({"query": "q", "execution": 99, "output_format": 77}, {"execution", "output_format"}),
    "limits beyond the server's": (
        {"query": "q", "max_tasks": 10_001, "max_parallel_tasks": 65},
        {"max_tasks", "max_parallel_tasks"},
    ),
    "an origin that is no id": ({"query": "q", "continue_from": "../w1"}, {"continue_from"}),
    "a request id with spaces": ({"query": "q", "request_id": "a b"}, {"request_id"}),
    "everything at once": (
        {"workflow_id": "/", "title": "\n", "priority": -2000, "execution": 9, "continue_from": "/"},
        {"workflow_id", "title", "priority", "execution", "continue_from", "query"},
    ),
}


@pytest.mark.parametrize(("fields", "wrong"), FIELDS.values(), ids=FIELDS)
async def test_a_bad_field_is_refused_with_every_violation(wire: Wire, fields: dict[str, Any], wrong: set[str]) -> None:
    answer = await refused(wire.create(**fields))
    assert (answer.code.name, answer.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert set(answer.violations) == wrong
    assert all(answer.violations.values())


def _task(**fields: Any) -> workflow_pb2.Plan:
    plan = plan_of(a=())
    plan.tasks[0].MergeFrom(workflow_pb2.PlanTask(**fields))
    return plan


PLANS: dict[str, tuple[workflow_pb2.Plan, set[str]]] = {
    "an empty plan": (workflow_pb2.Plan(), {"plan.tasks"}),
    "a circle": (plan_of(a=("c",), b=("a",), c=("b",)), {"plan.tasks"}),
    "a task on itself": (plan_of(a=("a",)), {"plan.tasks[0].dependencies[0]"}),
    "an unknown dependency": (plan_of(a=("z",)), {"plan.tasks[0].dependencies[0]"}),
    "a repeated dependency": (plan_of(a=(), b=("a", "a")), {"plan.tasks[1].dependencies[1]"}),
    "an unknown agent": (_task(agent_id="nobody"), {"plan.tasks[0].agent_id"}),
    "a repeated id": (
        workflow_pb2.Plan(tasks=[*plan_of(a=()).tasks, *plan_of(a=()).tasks]),
        {"plan.tasks[1].id"},
    ),
    "a bad id": (_task(id="Not Good"), {"plan.tasks[0].id"}),
    "control characters": (_task(title="a\x00b"), {"plan.tasks[0].title"}),
    "a description too long": (_task(description="d" * 70_000), {"plan.tasks[0].description"}),
    "a schema that is none": (_task(output_schema='{"type": 3}'), {"plan.tasks[0].output_schema"}),
    "a timeout of nothing": (_task(timeout=Duration()), {"plan.tasks[0].timeout"}),
    "too many attempts": (_task(max_attempts=101), {"plan.tasks[0].max_attempts"}),
    "a priority out of range": (_task(priority=-1001), {"plan.tasks[0].priority"}),
    "too many tasks": (workflow_pb2.Plan(tasks=[workflow_pb2.PlanTask()] * 10_001), {"plan.tasks"}),
}


@pytest.mark.parametrize(("plan", "wrong"), PLANS.values(), ids=PLANS)
async def test_a_bad_plan_is_refused_with_every_violation(wire: Wire, plan: workflow_pb2.Plan, wrong: set[str]) -> None:
    answer = await refused(wire.create(plan=plan))
    assert (answer.code.name, answer.reason) == ("INVALID_ARGUMENT", "PLAN_INVALID")
    assert set(answer.violations) == wrong


async def test_more_violations_than_a_status_holds_are_counted(wire: Wire) -> None:
    plan = workflow_pb2.Plan(tasks=[workflow_pb2.PlanTask(id="!" * 70, title="x" * 300)] * 500)
    answer = await refused(wire.create(plan=plan))
    assert (answer.code.name, answer.reason) == ("INVALID_ARGUMENT", "PLAN_INVALID")
    assert "more violations are not listed" in answer.violations[""]
    assert len(answer.violations) > 10


async def test_a_message_over_the_limit_is_refused_by_its_size(wire: Wire) -> None:
    answer = await refused(wire.create(query="x" * (9 * 1024 * 1024)))
    assert answer.code.name == "RESOURCE_EXHAUSTED"
    assert "larger than max" in answer.message


def _unknown(number: int) -> Any:
    """Return a number that the enum does not have, or does not take here."""
    return number


def _bad_calls() -> dict[str, tuple[str, Any, str, str]]:
    get, tasks = _w.GetWorkflowRequest, task_service_pb2.ListTasksRequest
    listed = _w.ListWorkflowsRequest
    watch, watch_all = _w.WatchWorkflowRequest, _w.WatchWorkflowsRequest
    return {
        "no workflow": ("GetWorkflow", get(workflow_id="none"), "NOT_FOUND", "WORKFLOW_NOT_FOUND"),
        "an empty id": ("GetWorkflow", get(), "INVALID_ARGUMENT", "FIELD_INVALID"),
        "an unknown view": ("GetWorkflow", get(workflow_id="w", view=_unknown(9)), "INVALID_ARGUMENT", "FIELD_INVALID"),
        "a negative page": ("ListWorkflows", listed(page_size=-1), "INVALID_ARGUMENT", "FIELD_INVALID"),
        "a page token that is none": (
            "ListWorkflows",
            listed(page_token="x"),
            "INVALID_ARGUMENT",
            "PAGE_TOKEN_INVALID",
        ),
        "an unknown state": (
            "ListWorkflows",
            listed(filter=workflow_pb2.WorkflowFilter(states=[_unknown(0)])),
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
        ),
        "tasks of no workflow": ("ListTasks", tasks(workflow_id="none"), "NOT_FOUND", "WORKFLOW_NOT_FOUND"),
        "output of no workflow": (
            "GetWorkflowOutput",
            _w.GetWorkflowOutputRequest(workflow_id="none"),
            "NOT_FOUND",
            "WORKFLOW_NOT_FOUND",
        ),
        "graph of no workflow": (
            "RenderGraph",
            _w.RenderGraphRequest(workflow_id="none"),
            "NOT_FOUND",
            "WORKFLOW_NOT_FOUND",
        ),
        "start of no workflow": (
            "StartWorkflow",
            _w.StartWorkflowRequest(workflow_id="none"),
            "NOT_FOUND",
            "WORKFLOW_NOT_FOUND",
        ),
        "deletion of no workflow": (
            "DeleteWorkflow",
            _w.DeleteWorkflowRequest(workflow_id="none"),
            "NOT_FOUND",
            "WORKFLOW_NOT_FOUND",
        ),
        "a watch of no workflow": ("WatchWorkflow", watch(workflow_id="none"), "NOT_FOUND", "WORKFLOW_NOT_FOUND"),
        "a heartbeat too quick": (
            "WatchWorkflow",
            watch(workflow_id="w", heartbeat_interval=Duration(nanos=1000)),
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
        ),
        "an unknown event type": (
            "WatchWorkflow",
            watch(workflow_id="w", event_types=[_unknown(0)]),
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
        ),
        "a snapshot after a cursor": (
            "WatchWorkflow",
            watch(workflow_id="w", snapshot=True, after_cursor="x"),
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
        ),
        "a cursor that is none": ("WatchWorkflows", watch_all(after_cursor="x"), "INVALID_ARGUMENT", "CURSOR_INVALID"),
    }


BAD_CALLS = _bad_calls()


@pytest.mark.parametrize(("method", "request_", "code", "reason"), BAD_CALLS.values(), ids=BAD_CALLS)
async def test_a_bad_call_is_refused_with_its_reason(
    wire: Wire, method: str, request_: Any, code: str, reason: str
) -> None:
    call = wire.call(method, request_)
    answer = await refused(_read(call) if method.startswith("Watch") else call)
    assert (answer.code.name, answer.reason) == (code, reason)
    assert answer.message


async def _read(call: Any) -> None:
    async for _ in call:
        pass


async def test_a_task_that_is_not_there_is_not_found(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=()), auto_start=False)
    request = task_service_pb2.GetTaskRequest(workflow_id=created.workflow.id, task_id="b")
    answer = await refused(wire.call("GetTask", request))
    assert (answer.code.name, answer.reason) == ("NOT_FOUND", "TASK_NOT_FOUND")


async def test_a_page_token_holds_for_its_own_list_only(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=(), b=()), auto_start=False)
    other = await wire.create(plan=plan_of(a=(), b=()), auto_start=False)
    request = task_service_pb2.ListTasksRequest(workflow_id=created.workflow.id, page_size=1)
    token = (await wire.call("ListTasks", request)).next_page_token
    changes: list[Callable[[task_service_pb2.ListTasksRequest], None]] = [
        lambda changed: setattr(changed, "workflow_id", other.workflow.id),
        lambda changed: setattr(changed, "agent_id", "data_agent"),
        lambda changed: changed.states.append(workflow_pb2.TASK_STATE_PENDING),
    ]
    for change in changes:
        changed = task_service_pb2.ListTasksRequest(workflow_id=created.workflow.id, page_token=token)
        change(changed)
        assert (await refused(wire.call("ListTasks", changed))).reason == "PAGE_TOKEN_INVALID"
    again = _w.ListWorkflowsRequest(page_token=token)
    assert (await refused(wire.call("ListWorkflows", again))).reason == "PAGE_TOKEN_INVALID"
