"""A real gRPC server with a scripted service behind it: it cuts streams, repeats events, fails and dies as told.

`python -m tests.client.scripted_server PORT EVENTS PACE` runs one in a process of its own, to be killed.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2

from orcs_client.v1 import event_pb2, system_service_pb2, workflow_pb2, workflow_service_pb2
from orcs_client.v1.system_service_pb2_grpc import SystemServiceServicer, add_SystemServiceServicer_to_server
from orcs_client.v1.workflow_service_pb2_grpc import WorkflowServiceServicer, add_WorkflowServiceServicer_to_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    Context = grpc.aio.ServicerContext[Any, Any]

CutKind = Literal["unavailable", "cancelled", "internal", "unknown", "deadline", "slow", "ok", "kill"]
CUT_KINDS: tuple[CutKind, ...] = ("unavailable", "cancelled", "internal", "unknown", "deadline", "slow", "ok", "kill")


@dataclass(frozen=True)
class Cut:
    """What befalls one stream after so many replies."""

    after: int
    kind: CutKind


def log(length: int, workflow_id: str = "w") -> list[event_pb2.Event]:
    """Return a workflow's whole log: created, then usage again and again, then completed."""
    events = []
    for sequence in range(1, length + 1):
        event = event_pb2.Event(sequence=sequence, position=sequence * 3, workflow_id=workflow_id)
        if sequence == 1:
            event.workflow_created.SetInParent()
        elif sequence == length:
            event.workflow_completed.SetInParent()
        else:
            event.usage_recorded.attempt = sequence
        events.append(event)
    return events


async def abort(context: Context, code: grpc.StatusCode, reason: str, message: str, *details: Message) -> NoReturn:
    """End a call as the real server does, with machine-readable details."""
    info = error_details_pb2.ErrorInfo(domain="orcs", reason=reason, metadata={"oldest_cursor": "c7", "error_id": "e1"})
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    for detail in (info, *details):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    await context.abort(code, message, (("grpc-status-details-bin", status.SerializeToString()),))


class NotScripted(WorkflowServiceServicer):
    """What no script has: the generated class answers UNIMPLEMENTED, and is abstract for the type checker alone."""

    if TYPE_CHECKING:
        UpdateWorkflow: Any
        EditPlan: Any
        Replan: Any
        ListPlanRevisions: Any
        ComparePlanRevisions: Any
        ExplainWorkflow: Any


@dataclass
class ScriptedWorkflows(NotScripted):
    """The script and what was asked. Each stream takes one of `cuts`, each unary call one of `failures`, if any is left."""

    events: list[event_pb2.Event] = field(default_factory=lambda: log(5))
    batches: Sequence[int] = (1,)
    overlap: int = 0
    pace: float = 0.0
    cuts: list[Cut] = field(default_factory=list)
    failures: list[Callable[[Context], Any]] = field(default_factory=list)
    snapshot: list[workflow_service_pb2.WatchWorkflowResponse] = field(default_factory=list)
    changes: list[list[workflow_service_pb2.WatchWorkflowsResponse]] = field(default_factory=list)
    never_end: bool = False
    silent: bool = False
    token: str = ""
    kill: Callable[[], None] = lambda: None
    left: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[Any] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)

    async def _arrive(self, request: Message, context: Context) -> None:
        self.requests.append(request)
        self.deadlines.append(context.time_remaining())
        metadata = dict(context.invocation_metadata() or ())
        if self.token and metadata.get("authorization") != f"Bearer {self.token}":
            await abort(context, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", "the token is unknown")
        if self.failures:
            await self.failures.pop(0)(context)

    async def CreateWorkflow(self, request: Any, context: Any) -> workflow_service_pb2.CreateWorkflowResponse:  # noqa: N802
        await self._arrive(request, context)
        workflow = workflow_pb2.Workflow(id=request.workflow_id or "w", title=request.title)
        return workflow_service_pb2.CreateWorkflowResponse(workflow=workflow, cursor="c1")

    async def PreviewPlan(self, request: Any, context: Any) -> workflow_service_pb2.PreviewPlanResponse:  # noqa: N802
        await self._arrive(request, context)
        return workflow_service_pb2.PreviewPlanResponse(plan=request.plan)

    async def StartWorkflow(self, request: Any, context: Any) -> workflow_service_pb2.StartWorkflowResponse:  # noqa: N802
        await self._arrive(request, context)
        return workflow_service_pb2.StartWorkflowResponse(cursor="c2")

    async def RenderGraph(self, request: Any, context: Any) -> workflow_service_pb2.RenderGraphResponse:  # noqa: N802
        await self._arrive(request, context)
        response = workflow_service_pb2.RenderGraphResponse()
        response.content.text = workflow_pb2.GraphFormat.Name(request.format)
        return response

    async def DeleteWorkflow(self, request: Any, context: Any) -> workflow_service_pb2.DeleteWorkflowResponse:  # noqa: N802
        await self._arrive(request, context)
        return workflow_service_pb2.DeleteWorkflowResponse(cursor="p9")

    async def GetWorkflow(self, request: Any, context: Any) -> workflow_service_pb2.GetWorkflowResponse:  # noqa: N802
        await self._arrive(request, context)
        state = workflow_pb2.WORKFLOW_STATE_RUNNING
        match self.events[-1].WhichOneof("body") if self.events else None:
            case "workflow_completed":
                state = workflow_pb2.WORKFLOW_STATE_COMPLETED
            case "workflow_failed":
                state = workflow_pb2.WORKFLOW_STATE_FAILED
        workflow = workflow_pb2.Workflow(id=request.workflow_id, state=state)
        if state == workflow_pb2.WORKFLOW_STATE_FAILED:
            workflow.failure.message = "the model refused"
        return workflow_service_pb2.GetWorkflowResponse(workflow=workflow, cursor=f"c{len(self.events)}")

    async def ListWorkflows(self, request: Any, context: Any) -> workflow_service_pb2.ListWorkflowsResponse:  # noqa: N802
        await self._arrive(request, context)
        page = int(request.page_token or "0")
        return workflow_service_pb2.ListWorkflowsResponse(
            workflows=[workflow_pb2.WorkflowSummary(id=f"w{page}-{index}") for index in range(2)],
            next_page_token=str(page + 1) if page < 2 else "",
        )

    async def GetWorkflowOutput(self, request: Any, context: Any) -> workflow_service_pb2.GetWorkflowOutputResponse:  # noqa: N802
        await self._arrive(request, context)
        response = workflow_service_pb2.GetWorkflowOutputResponse(complete=True)
        response.content.text = "done"
        return response

    async def WatchWorkflow(self, request: Any, context: Any) -> None:  # type: ignore[override] # noqa: N802
        await self._arrive(request, context)
        try:
            await self._watch(request, context)
        finally:
            self.left.set()

    async def _watch(self, request: Any, context: Context) -> None:
        if self.silent:
            self.silent = False
            await asyncio.Event().wait()
        cut = self.cuts.pop(0) if self.cuts else None
        for sent, reply in enumerate(self._replies(request)):
            if cut is not None and sent >= cut.after:
                break
            await context.write(reply)
            await asyncio.sleep(self.pace)
        if cut is not None:
            await self._cut(cut.kind, context)
        elif self.never_end:
            await asyncio.Event().wait()

    async def WatchWorkflows(self, request: Any, context: Any) -> None:  # type: ignore[override] # noqa: N802
        await self._arrive(request, context)
        for reply in self.changes.pop(0) if self.changes else []:
            await context.write(reply)
        if not self.changes:
            await asyncio.Event().wait()

    def _replies(self, request: Any) -> list[workflow_service_pb2.WatchWorkflowResponse]:
        replies = list(self.snapshot) if request.snapshot else []
        after = int((replies[-1].cursor if replies else request.after_cursor).removeprefix("c") or 0)
        rest = self.events[max(0, after - self.overlap) :]
        if request.event_types:
            rest = [each for each in rest if _number(each) in request.event_types]
        for index in range(len(rest)):
            size = self.batches[index % len(self.batches)]
            batch, rest = rest[:size], rest[size:]
            if not batch:
                break
            cursor = f"c{max(after, batch[-1].sequence)}"
            replies.append(workflow_service_pb2.WatchWorkflowResponse(events=batch, cursor=cursor))
            if index % 3 == 1:
                replies.append(workflow_service_pb2.WatchWorkflowResponse(bookmark=True, cursor=cursor))
        if not self.never_end:
            end = workflow_service_pb2.StreamEnd(state=workflow_pb2.WORKFLOW_STATE_COMPLETED)
            replies.append(workflow_service_pb2.WatchWorkflowResponse(end=end, cursor=f"c{len(self.events)}"))
        return replies

    async def _cut(self, kind: CutKind, context: Context) -> None:
        match kind:
            case "unavailable":
                await abort(context, grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", "going down")
            case "slow":
                await abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER", "too slow")
            case "cancelled":
                await context.abort(grpc.StatusCode.CANCELLED)
            case "internal":
                await context.abort(grpc.StatusCode.INTERNAL, "RST_STREAM with error code 2")
            case "unknown":
                await context.abort(grpc.StatusCode.UNKNOWN, "Stream removed")
            case "deadline":
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "a proxy's deadline")
            case "kill":
                self.kill()
                await asyncio.Event().wait()
            case "ok":
                return


class ScriptedSystem(SystemServiceServicer):
    async def GetServerInfo(self, request: Any, context: Any) -> system_service_pb2.GetServerInfoResponse:  # noqa: N802
        return system_service_pb2.GetServerInfoResponse(version="0.0.0")

    async def ListProblems(self, request: Any, context: Any) -> system_service_pb2.ListProblemsResponse:  # noqa: N802
        return system_service_pb2.ListProblemsResponse()


def _number(event: event_pb2.Event) -> int:
    name = event.WhichOneof("body")
    return 0 if name is None else event.DESCRIPTOR.fields_by_name[name].number


class ScriptedServer:
    """One port of 127.0.0.1 on which servers come and go. `async with` starts the first and stops the last."""

    def __init__(
        self, workflows: ScriptedWorkflows, credentials: grpc.ServerCredentials | None = None, max_streams: int = 100
    ) -> None:
        self.credentials = credentials
        self.max_streams = max_streams
        self.workflows = workflows
        self.port = 0
        self._server: grpc.aio.Server | None = None
        self._restarting = asyncio.Lock()
        self.restarts: list[asyncio.Task[None]] = []
        self._leaving = False
        workflows.kill = self._kill

    def _kill(self) -> None:
        # A stream that its client has given up may get here late.
        if not self._leaving:
            self.restarts.append(asyncio.get_running_loop().create_task(self.restart()))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_concurrent_streams", self.max_streams)])
        add_WorkflowServiceServicer_to_server(self.workflows, server)
        add_SystemServiceServicer_to_server(ScriptedSystem(), server)
        if self.credentials is None:
            self.port = server.add_insecure_port(self.address)
        else:
            self.port = server.add_secure_port(self.address, self.credentials)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Go away at once, with all connections."""
        if self._server is None:
            return
        await self._server.stop(None)
        # Once freed, it schedules one more shutdown in this loop, which must get to it before it closes.
        self._server = None
        await asyncio.sleep(0.001)

    async def restart(self) -> None:
        async with self._restarting:
            await self.stop()
            await self.start()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._leaving = True
        await asyncio.gather(*self.restarts)
        await self.stop()


async def _serve(port: int, events: int, pace: float) -> None:
    server = ScriptedServer(ScriptedWorkflows(events=log(events), batches=(1, 3, 2), pace=pace))
    server.port = port
    async with server:
        print(server.address, flush=True)  # noqa: T201 - it tells whoever started it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
