"""What tests of control share: looking at a workflow's tasks and events, waiting until it asks, deciding."""

from __future__ import annotations

from typing import Any

from orcs_client.v1 import control_service_pb2, task_service_pb2, workflow_pb2, workflow_service_pb2
from tests.rpc.wire import Wire

_c, _t, _w = control_service_pb2, task_service_pb2, workflow_service_pb2


async def states(client: Wire, workflow_id: str) -> dict[str, str]:
    reply = await client.call("ListTasks", _t.ListTasksRequest(workflow_id=workflow_id))
    return {task.id: workflow_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_") for task in reply.tasks}


async def happened(client: Wire, workflow_id: str) -> list[str]:
    """Return the names of the events of a workflow that has ended."""
    replies = await client.watched(workflow_id=workflow_id)
    return [event.WhichOneof("body") for reply in replies for event in reply.events]


async def until_state(client: Wire, workflow_id: str, state: int) -> Any:
    """Watch until the workflow is in this state."""
    watch = client.call("WatchWorkflows", _w.WatchWorkflowsRequest(snapshot=True))
    async for reply in watch:
        for one in reply.workflows:
            if one.id == workflow_id and one.state == state:
                watch.cancel()
                return one
    raise AssertionError(workflow_id)


async def asked(client: Wire, workflow_id: str) -> Any:
    """Wait until the workflow asks for something; return it in full."""
    watch = client.call("WatchPendingInputs", _c.WatchPendingInputsRequest(workflow_id=workflow_id))
    async for reply in watch:
        for one in reply.inputs:
            if not one.resolution:
                watch.cancel()
                request = _c.GetPendingInputRequest(workflow_id=workflow_id, input_id=one.id)
                return (await client.call("GetPendingInput", request)).input
    raise AssertionError(workflow_id)


def resolve(asked: Any, decision: str, **fields: Any) -> _c.ResolveApprovalRequest:
    return _c.ResolveApprovalRequest(
        workflow_id=asked.workflow_id,
        input_id=asked.id,
        decision=workflow_pb2.Decision.Value(f"DECISION_{decision}"),
        **{"subject_sha256": asked.subject_sha256, **fields},
    )
