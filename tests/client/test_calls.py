"""Single calls: deadlines, request ids, repetitions, typed errors, pages and the calls that put several together."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

import orcs_client
from orcs_client import Event, InvalidArgument, OrcsClient, SettingsError, Violation, WatchItem, WorkflowNotCompleted
from orcs_client.v1 import event_pb2, workflow_pb2
from tests.client.scripted_server import ScriptedServer, ScriptedWorkflows, abort, log

if TYPE_CHECKING:
    from collections.abc import Callable


def failing(code: grpc.StatusCode, reason: str = "", *details: Any, message: str = "so it is") -> Callable[[Any], Any]:
    async def fail(context: Any) -> None:
        if reason:
            await abort(context, code, reason, message, *details)
        await context.abort(code, message)

    return fail


@pytest.mark.parametrize(
    ("code", "reason", "name"),
    [
        ("NOT_FOUND", "WORKFLOW_NOT_FOUND", "NotFound"),
        ("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS", "AlreadyExists"),
        ("INVALID_ARGUMENT", "FIELD_INVALID", "InvalidArgument"),
        ("FAILED_PRECONDITION", "WORKFLOW_NOT_READY", "IllegalTransition"),
        ("ABORTED", "STALE_REVISION", "Conflict"),
        ("OUT_OF_RANGE", "CURSOR_EXPIRED", "OutOfRange"),
        ("UNAUTHENTICATED", "TOKEN_MISSING", "Unauthenticated"),
        ("PERMISSION_DENIED", "PERMISSION_DENIED", "PermissionDenied"),
        ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "ResourceExhausted"),
        ("DEADLINE_EXCEEDED", "", "DeadlineExceeded"),
        ("UNIMPLEMENTED", "", "Unimplemented"),
        ("CANCELLED", "", "Unavailable"),
        ("INTERNAL", "INTERNAL", "InternalError"),
        ("UNKNOWN", "", "InternalError"),
        ("DATA_LOSS", "", "InternalError"),
    ],
)
async def test_each_status_is_an_error_of_its_own_class(code: str, reason: str, name: str) -> None:
    status = grpc.StatusCode[code]
    async with (
        ScriptedServer(ScriptedWorkflows(failures=[failing(status, reason)])) as server,
        OrcsClient(server.address) as client,
    ):
        with pytest.raises(orcs_client.OrcsError) as caught:
            await client.get_workflow("w")
    assert type(caught.value).__name__ == name
    assert (caught.value.code, caught.value.reason) == (status, reason)
    assert len(server.workflows.requests) == 1


async def test_errors_carry_every_violation_and_when_to_try_again() -> None:
    request = error_details_pb2.BadRequest()
    for index in range(2):
        request.field_violations.add(field=f"plan.tasks[{index}]", description="unknown agent")
    quota = error_details_pb2.QuotaFailure()
    quota.violations.add(subject="workflows", description="at most 3")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    failures = [
        failing(grpc.StatusCode.INVALID_ARGUMENT, "PLAN_INVALID", request),
        failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", quota, retry),
        failing(grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED"),
        failing(grpc.StatusCode.INTERNAL, "INTERNAL"),
    ]
    async with ScriptedServer(ScriptedWorkflows(failures=failures)) as server, OrcsClient(server.address) as client:
        with pytest.raises(InvalidArgument, match="so it is") as invalid:
            await client.get_workflow("w")
        with pytest.raises(orcs_client.ResourceExhausted) as exhausted:
            await client.get_workflow("w")
        with pytest.raises(orcs_client.OutOfRange) as expired:
            await client.get_workflow("w")
        with pytest.raises(orcs_client.InternalError) as internal:
            await client.get_workflow("w")
    assert invalid.value.violations == tuple(Violation(f"plan.tasks[{index}]", "unknown agent") for index in range(2))
    assert exhausted.value.violations == (Violation("workflows", "at most 3"),)
    assert exhausted.value.retry_after == 1.5
    assert expired.value.oldest_cursor == "c7"
    assert internal.value.error_id == "e1"


async def test_damaged_error_details_do_not_hide_the_status() -> None:
    async def fail(context: Any) -> None:
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone", (("grpc-status-details-bin", b"\xff\xff\xff"),))

    async with ScriptedServer(ScriptedWorkflows(failures=[fail])) as server, OrcsClient(server.address) as client:
        with pytest.raises(orcs_client.NotFound, match="gone"):
            await client.get_workflow("w")


async def test_unavailable_is_tried_again_with_the_same_request_id() -> None:
    failures = [failing(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")] * 2
    async with ScriptedServer(ScriptedWorkflows(failures=failures)) as server, OrcsClient(server.address) as client:
        await client.create_workflow("compare a and b")
        first, *others = server.workflows.requests
        assert len(others) == 2
        uuid.UUID(first.request_id)
        assert all(other == first for other in others)
        await client.create_workflow("compare a and b")
        assert server.workflows.requests[-1].request_id != first.request_id
        await client.delete_workflow("w")
        uuid.UUID(server.workflows.requests[-1].request_id)


async def test_repetitions_are_bounded() -> None:
    failures = [failing(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", message="going down")] * 50
    async with ScriptedServer(ScriptedWorkflows(failures=failures)) as server, OrcsClient(server.address) as client:
        with pytest.raises(orcs_client.Unavailable, match="going down"):
            await client.get_workflow("w")
    assert len(server.workflows.requests) == 5


async def test_every_single_call_has_a_deadline_and_no_watch_has_one() -> None:
    async with ScriptedServer(ScriptedWorkflows()) as server, OrcsClient(server.address, timeout=9) as client:
        await client.get_workflow("w")
        async for _ in client.watch("w"):
            pass
    unary, watch = server.workflows.deadlines
    assert unary is not None
    assert 0 < unary < 20
    assert watch is None


async def test_a_call_without_an_answer_ends_at_its_deadline() -> None:
    async def hang(_: Any) -> None:
        await asyncio.Event().wait()

    async with (
        ScriptedServer(ScriptedWorkflows(failures=[hang])) as server,
        OrcsClient(server.address, timeout=0.2) as client,
    ):
        with pytest.raises(orcs_client.DeadlineExceeded, match="longer timeout"):
            await client.get_workflow("w")


async def test_all_fields_of_a_new_workflow_reach_the_server() -> None:
    moment = dt.datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    async with ScriptedServer(ScriptedWorkflows()) as server, OrcsClient(server.address) as client:
        await client.create_workflow(
            "compare a and b",
            request_id="r1",
            workflow_id="mine",
            title="Title",
            labels={"team": "x"},
            context={"größe": 2**60},
            priority=-5,
            budget=workflow_pb2.Budget(tokens=7),
            deadline_time=moment,
            not_before_time=Timestamp(seconds=9),
            resource_requirements={"gpu": 1},
            output_format=workflow_pb2.OUTPUT_FORMAT_JSON,
            output_schema='{"type": "object"}',
            approval_policy=workflow_pb2.APPROVAL_POLICY_PLAN,
            failure_policy=workflow_pb2.FAILURE_POLICY_FAIL_FAST,
            execution=workflow_pb2.EXECUTION_SEQUENTIAL,
            planning_strategy=workflow_pb2.PLANNING_STRATEGY_MINIMAL,
            continue_from="earlier",
            auto_start=False,
            retry_policy=workflow_pb2.RetryPolicy(max_attempts=3),
            max_parallel_tasks=2,
            max_tasks=9,
        )
    [request] = server.workflows.requests
    unset = {field.name for field in request.DESCRIPTOR.fields} - {field.name for field, _ in request.ListFields()}
    assert unset == {"plan"}
    assert request.context.json == '{"größe": 1152921504606846976}'
    assert request.deadline_time.ToDatetime(dt.UTC) == moment
    assert request.auto_start is False


async def test_what_cannot_be_sent_is_refused_before_it_is_sent() -> None:
    async with ScriptedServer(ScriptedWorkflows()) as server, OrcsClient(server.address) as client:
        for arguments in (
            {},
            {"query": "a", "plan": workflow_pb2.Plan()},
            {"query": "a", "context": {"a": {1, 2}}},
            {"query": "a", "context": {"a": float("nan")}},
            {"query": "a", "deadline_time": dt.datetime(2030, 1, 1)},  # noqa: DTZ001 - the point of the test
        ):
            with pytest.raises(InvalidArgument) as caught:
                await client.create_workflow(**arguments)
            assert caught.value.violations
    assert server.workflows.requests == []


async def test_a_list_goes_through_all_pages() -> None:
    async with ScriptedServer(ScriptedWorkflows()) as server, OrcsClient(server.address) as client:
        listed = [workflow.id async for workflow in client.list_workflows(labels={"a": "b"}, page_size=2)]
    assert listed == ["w0-0", "w0-1", "w1-0", "w1-1", "w2-0", "w2-1"]
    assert all(request.filter.labels == {"a": "b"} for request in server.workflows.requests)


async def test_run_gives_the_output_of_a_workflow_that_completes() -> None:
    seen: list[WatchItem] = []
    async with ScriptedServer(ScriptedWorkflows()) as server, OrcsClient(server.address) as client:
        outcome = await client.run("compare", on_item=seen.append)
        assert (await client.run("compare")).output.content.text == "done"
    assert outcome.output.content.text == "done"
    assert outcome.workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert [item.sequence for item in seen if isinstance(item, Event)] == [1, 2, 3, 4, 5]


async def test_run_raises_when_the_workflow_fails() -> None:
    events = [*log(2)[:1], event_pb2.Event(sequence=2, workflow_failed=event_pb2.WorkflowFailed())]
    async with ScriptedServer(ScriptedWorkflows(events=events)) as server, OrcsClient(server.address) as client:
        with pytest.raises(WorkflowNotCompleted, match="FAILED: the model refused") as caught:
            await client.run("compare")
    assert caught.value.workflow.failure.message == "the model refused"


async def test_waiting_ends_at_its_timeout() -> None:
    async with ScriptedServer(ScriptedWorkflows(never_end=True)) as server, OrcsClient(server.address) as client:
        with pytest.raises(orcs_client.DeadlineExceeded, match="it goes on"):
            await client.wait("w", timeout=0.1)


async def test_a_closed_client_says_so() -> None:
    client = OrcsClient("127.0.0.1:1")
    await client.close()
    await client.close()
    with pytest.raises(SettingsError, match="closed"):
        await client.get_workflow("w")


@pytest.mark.skipif(
    tuple(map(int, grpc.__version__.split(".")[:2])) < (1, 85), reason="grpcio before 1.85 opens no further connections"
)
async def test_calls_beyond_a_connections_stream_limit_do_not_wait() -> None:
    workflows = ScriptedWorkflows(never_end=True)
    async with ScriptedServer(workflows, max_streams=2) as server, OrcsClient(server.address) as client:
        watches = [client.watch("w") for _ in range(6)]
        for watch in watches:
            await anext(watch)
        for watch in watches:
            await watch.aclose()


def test_importing_the_client_brings_nothing_of_the_server_nor_of_the_agents_sdk() -> None:
    code = "import sys, orcs_client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    foreign = {"orcs_server", "agents", "openai", "pydantic", "msgspec", "httpx", "typer", "rich", "grpc_status"}
    assert not foreign & {name.partition(".")[0] for name in loaded}
