"""The stubs of a server and its errors, as any client of the protos has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from orcs_client.v1 import workflow_pb2, workflow_service_pb2
from orcs_client.v1.agent_service_pb2_grpc import AgentServiceStub
from orcs_client.v1.audit_service_pb2_grpc import AuditServiceStub
from orcs_client.v1.control_service_pb2_grpc import ControlServiceStub
from orcs_client.v1.memory_service_pb2_grpc import MemoryServiceStub
from orcs_client.v1.system_service_pb2_grpc import SystemServiceStub
from orcs_client.v1.task_service_pb2_grpc import TaskServiceStub
from orcs_client.v1.usage_service_pb2_grpc import UsageServiceStub
from orcs_client.v1.workflow_service_pb2_grpc import WorkflowServiceStub

_w = workflow_service_pb2


@dataclass
class Refused:
    """What a failed call was answered with."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: dict[str, str] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)


class Wire:
    """Stubs over one channel, with a token."""

    def __init__(self, channel: grpc.aio.Channel, token: str | None) -> None:
        self.channel = channel
        self.metadata: tuple[tuple[str, str], ...] = () if token is None else (("authorization", f"Bearer {token}"),)
        self._workflows = WorkflowServiceStub(channel)
        self._tasks = TaskServiceStub(channel)
        self._agents = AgentServiceStub(channel)
        self._system = SystemServiceStub(channel)
        self._control = ControlServiceStub(channel)
        self._memory = MemoryServiceStub(channel)
        self._audit = AuditServiceStub(channel)
        self._usage = UsageServiceStub(channel)

    def call(self, method: str, request: Message) -> Any:
        """Start a call of any service: `call("GetTask", GetTaskRequest(...))`."""
        services = (
            self._workflows,
            self._tasks,
            self._agents,
            self._system,
            self._control,
            self._memory,
            self._audit,
            self._usage,
        )
        for stub in services:
            if hasattr(stub, method):
                return getattr(stub, method)(request, metadata=self.metadata)
        raise AssertionError(method)

    async def create(self, **fields: Any) -> Any:
        return await self.call("CreateWorkflow", _w.CreateWorkflowRequest(**fields))

    async def finished(self, workflow_id: str) -> Any:
        """Wait for a workflow's end; return it."""
        await self.watched(workflow_id=workflow_id)
        reply = await self.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id=workflow_id))
        return reply.workflow

    def watch(self, **fields: Any) -> Any:
        return self.call("WatchWorkflow", _w.WatchWorkflowRequest(**fields))

    async def watched(self, **fields: Any) -> list[Any]:
        """Watch to the end; return all replies."""
        return [reply async for reply in self.watch(**fields)]


@asynccontextmanager
async def connected(address: str, token: str | None, *options: tuple[str, Any]) -> AsyncIterator[Wire]:
    # A subchannel of its own: otherwise a channel inherits the back-off of an earlier one to the same address.
    local = ("grpc.use_local_subchannel_pool", 1)
    async with grpc.aio.insecure_channel(address, options=[local, *options]) as channel:
        yield Wire(channel, token)


async def rest_of(watch: Any) -> list[Any]:
    """Read a watch of which a part was read already to its end."""
    return [reply async for reply in _read(watch)]


async def _read(watch: Any) -> AsyncIterator[Any]:
    while (reply := await watch.read()) is not grpc.aio.EOF:
        yield reply


async def broken_off(watch: Any, replies: list[Any]) -> Refused:
    """Read a watch until it breaks, adding to the replies; return how it broke."""
    try:
        async for reply in _read(watch):
            replies.append(reply)  # noqa: PERF401 - what came before the break is kept
    except grpc.aio.AioRpcError as error:
        return explained(error)
    raise AssertionError("the watch came to its end")


async def refused(call: Awaitable[Any]) -> Refused:
    """Return how a call failed."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return explained(caught.value)


def explained(error: grpc.aio.AioRpcError) -> Refused:
    answer = Refused(error.code(), error.details() or "")
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode())
        assert status.code == error.code().value[0]
        for packed in status.details:
            answer.details.append(packed.TypeName())
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if packed.Unpack(info):
                assert info.domain == "orcs"
                answer.reason, answer.metadata = info.reason, dict(info.metadata)
            if packed.Unpack(bad):
                answer.violations = {each.field: each.description for each in bad.field_violations}
    return answer


def plan_of(**tasks: tuple[str, ...]) -> workflow_pb2.Plan:
    """Return a plan of these tasks, each with the tasks that it depends on."""
    return workflow_pb2.Plan(
        tasks=[
            workflow_pb2.PlanTask(
                id=name,
                title=f"Title of {name}",
                description=f"Do {name}.",
                agent_id="research_agent",
                dependencies=after,
            )
            for name, after in tasks.items()
        ]
    )


def sequences(replies: list[Any]) -> list[int]:
    return [event.sequence for reply in replies for event in reply.events]
