"""The same request id is the same request: carried out once, answered alike, and never taken for another command."""

from __future__ import annotations

import asyncio

from google.protobuf.timestamp_pb2 import Timestamp

from orcs_client.v1 import workflow_service_pb2
from tests.rpc.wire import Wire, plan_of, refused

_w = workflow_service_pb2


async def test_a_repeated_creation_returns_the_first_workflow(wire: Wire) -> None:
    first = await wire.create(query="q", request_id="create-1")
    again = await wire.create(query="q", request_id="create-1")
    assert (again.workflow.id, again.cursor) == (first.workflow.id, first.cursor)


async def test_creations_at_the_same_moment_make_one_workflow(wire: Wire) -> None:
    replies = await asyncio.gather(*(wire.create(plan=plan_of(a=()), request_id="create-2") for _ in range(8)))
    assert len({(reply.workflow.id, reply.cursor) for reply in replies}) == 1


async def test_a_creation_is_repeated_although_its_deadline_has_passed_meanwhile(wire: Wire) -> None:
    deadline = Timestamp()
    deadline.GetCurrentTime()
    deadline.FromMicroseconds(deadline.ToMicroseconds() + 300_000)
    first = await wire.create(query="q", deadline_time=deadline, request_id="create-3")
    await asyncio.sleep(0.4)
    again = await wire.create(query="q", deadline_time=deadline, request_id="create-3")
    assert again.workflow.id == first.workflow.id


async def test_a_request_id_is_refused_for_another_command(wire: Wire) -> None:
    await wire.create(query="q", request_id="create-4")
    answer = await refused(wire.create(query="another", request_id="create-4"))
    assert (answer.code.name, answer.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")


async def test_commands_to_a_workflow_are_repeated_with_the_first_answer(wire: Wire) -> None:
    created = await wire.create(plan=plan_of(a=()), auto_start=False)
    start = _w.StartWorkflowRequest(workflow_id=created.workflow.id, request_id="start-1")
    first = await wire.call("StartWorkflow", start)
    await wire.finished(created.workflow.id)
    again = await wire.call("StartWorkflow", start)
    assert again.cursor == first.cursor
    delete = _w.DeleteWorkflowRequest(workflow_id=created.workflow.id, request_id="delete-1")
    deleted = await wire.call("DeleteWorkflow", delete)
    assert await wire.call("DeleteWorkflow", delete) == deleted


async def test_a_call_that_its_client_gives_up_is_carried_out_once(wire: Wire) -> None:
    for pause in (0.0, 0.002, 0.01):
        request_id = f"given-up-{pause}"
        call = wire.call("CreateWorkflow", _w.CreateWorkflowRequest(plan=plan_of(a=()), request_id=request_id))
        await asyncio.sleep(pause)
        call.cancel()
        reply = await wire.create(plan=plan_of(a=()), request_id=request_id)
        assert (await wire.create(plan=plan_of(a=()), request_id=request_id)).workflow.id == reply.workflow.id
