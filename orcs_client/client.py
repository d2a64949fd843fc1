"""The asynchronous client: every call of a server as one typed method, and two that put several together."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orcs_client import health, requests, watching
from orcs_client.agent_calls import AgentCalls
from orcs_client.audit_calls import AuditCalls
from orcs_client.calls import pages
from orcs_client.connection import DEFAULT_TIMEOUT, Connection
from orcs_client.control_calls import ControlCalls
from orcs_client.errors import DeadlineExceeded, WorkflowNotCompleted
from orcs_client.explain_calls import ExplainCalls
from orcs_client.memory_calls import MemoryCalls
from orcs_client.memory_past_calls import MemoryPastCalls
from orcs_client.plan_calls import PlanCalls
from orcs_client.task_calls import TaskCalls
from orcs_client.usage_calls import UsageCalls
from orcs_client.v1 import (
    common_pb2,
    event_pb2,
    system_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_client.v1.system_service_pb2_grpc import SystemServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self, Unpack

    from orcs_client.errors import OrcsError
    from orcs_client.watching import WatchItem, WorkflowsUpdate

PREVIEW_TIMEOUT = 300.0
"""Seconds that a planner may take to make a plan for `preview_plan`."""

_ENDINGS = (
    event_pb2.EVENT_TYPE_WORKFLOW_COMPLETED,
    event_pb2.EVENT_TYPE_WORKFLOW_FAILED,
    event_pb2.EVENT_TYPE_WORKFLOW_CANCELLED,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `run` gives: the workflow as it ended, and its output."""

    workflow: workflow_pb2.Workflow
    output: workflow_service_pb2.GetWorkflowOutputResponse


class OrcsClient(
    AgentCalls,
    AuditCalls,
    ControlCalls,
    ExplainCalls,
    MemoryCalls,
    MemoryPastCalls,
    PlanCalls,
    TaskCalls,
    UsageCalls,
):
    """A client of one server, for asyncio. All of its calls must come from one event loop; `BlockingOrcsClient` needs none.

    `target` is HOST:PORT, or https://HOST:PORT for TLS checked against public authorities; without it, ORCS_SERVER or the
    default 127.0.0.1:50750 counts. `tls_root_certificates` (a PEM file or its bytes; else the file that
    ORCS_TLS_ROOT_CERTIFICATES names) means TLS checked against these. The token is `token` ("": none), that in
    `token_file`, ORCS_TOKEN, that in the file that ORCS_TOKEN_FILE names, or the one of a server that runs on this machine for
    the same user. Over an unencrypted connection it goes to this machine only, unless `allow_insecure_token` or
    ORCS_ALLOW_INSECURE_TOKEN says otherwise. `timeout` is the time for a single call in seconds, repetitions
    included; watches have none.

    Every method raises an `OrcsError`; a call is repeated only while the server is UNAVAILABLE, a few times, and every
    mutation carries a request id so that the server carries it out once. Unary methods return the response message of their call.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        token: str | None = None,
        token_file: str | Path | None = None,
        tls_root_certificates: str | Path | bytes | None = None,
        allow_insecure_token: bool = False,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._connection = Connection(
            target,
            token=token,
            token_file=token_file,
            tls_root_certificates=tls_root_certificates,
            allow_insecure_token=allow_insecure_token,
            timeout=timeout,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Break off what is under way and close the connection. Safe to call again."""
        await self._connection.close()

    @property
    def address(self) -> str:
        """HOST:PORT of the server."""
        return self._connection.address

    async def create_workflow(
        self,
        query: str | None = None,
        *,
        plan: workflow_pb2.Plan | None = None,
        **options: Unpack[requests.WorkflowOptions],
    ) -> workflow_service_pb2.CreateWorkflowResponse:
        """Store a workflow made from a query or a plan; it is planned and, unless auto_start is False, carried out by itself."""
        request = requests.creation(query, plan, options)
        return await self._connection.call(self._workflows.CreateWorkflow, request)

    async def preview_plan(
        self,
        query: str | None = None,
        *,
        plan: workflow_pb2.Plan | None = None,
        context: Mapping[str, Any] | common_pb2.Part | None = None,
        planning_strategy: workflow_pb2.PlanningStrategy.ValueType = workflow_pb2.PLANNING_STRATEGY_UNSPECIFIED,
        max_tasks: int | None = None,
        timeout: float = PREVIEW_TIMEOUT,  # noqa: ASYNC109 - it travels with the call, as its deadline
    ) -> workflow_service_pb2.PreviewPlanResponse:
        """Have a query planned, or a plan checked, without storing anything. A query costs tokens."""
        requests.check_source(query, plan)
        request = workflow_service_pb2.PreviewPlanRequest(
            plan=plan,
            context=requests.context_part(context),
            planning_strategy=planning_strategy,
            max_tasks=max_tasks,
        )
        if query is not None:
            request.query = query
        return await self._connection.call(self._workflows.PreviewPlan, request, timeout)

    async def start_workflow(
        self, workflow_id: str, *, request_id: str | None = None
    ) -> workflow_service_pb2.StartWorkflowResponse:
        """Start a workflow that is READY."""
        request = workflow_service_pb2.StartWorkflowRequest(
            workflow_id=workflow_id, request_id=request_id or requests.new_request_id()
        )
        return await self._connection.call(self._workflows.StartWorkflow, request)

    async def get_workflow(
        self, workflow_id: str, *, full: bool = False, page_size: int = 0
    ) -> workflow_service_pb2.GetWorkflowResponse:
        """Read a workflow; with `full` also its texts and the first page of its tasks."""
        request = workflow_service_pb2.GetWorkflowRequest(
            workflow_id=workflow_id, view=_view(full), page_size=page_size
        )
        return await self._connection.call(self._workflows.GetWorkflow, request)

    async def list_workflows(
        self,
        *,
        states: Iterable[workflow_pb2.WorkflowState.ValueType] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int = 0,
    ) -> AsyncGenerator[workflow_pb2.WorkflowSummary, None]:
        """Yield the workflows in one of these states and with all of these labels, newest first, fetched page by page."""
        request = workflow_service_pb2.ListWorkflowsRequest(filter=_filter(states, labels), page_size=page_size)

        async def page(token: str) -> workflow_service_pb2.ListWorkflowsResponse:
            request.page_token = token
            return await self._connection.call(self._workflows.ListWorkflows, request)

        async for reply in pages(page):
            for workflow in reply.workflows:
                yield workflow

    async def get_output(
        self,
        workflow_id: str,
        *,
        output_format: workflow_pb2.OutputFormat.ValueType = workflow_pb2.OUTPUT_FORMAT_UNSPECIFIED,
    ) -> workflow_service_pb2.GetWorkflowOutputResponse:
        """Read what a workflow has produced so far, by default in the form that it was created with."""
        request = workflow_service_pb2.GetWorkflowOutputRequest(workflow_id=workflow_id, format=output_format)
        return await self._connection.call(self._workflows.GetWorkflowOutput, request)

    async def render_graph(
        self,
        workflow_id: str,
        *,
        graph_format: workflow_pb2.GraphFormat.ValueType = workflow_pb2.GRAPH_FORMAT_MERMAID,
    ) -> workflow_service_pb2.RenderGraphResponse:
        """Have the tasks, their states and what they depend on drawn."""
        request = workflow_service_pb2.RenderGraphRequest(workflow_id=workflow_id, format=graph_format)
        return await self._connection.call(self._workflows.RenderGraph, request)

    async def delete_workflow(
        self, workflow_id: str, *, request_id: str | None = None
    ) -> workflow_service_pb2.DeleteWorkflowResponse:
        """Delete a workflow that has ended, with its events and outputs."""
        request = workflow_service_pb2.DeleteWorkflowRequest(
            workflow_id=workflow_id, request_id=request_id or requests.new_request_id()
        )
        return await self._connection.call(self._workflows.DeleteWorkflow, request)

    def watch(
        self,
        workflow_id: str,
        *,
        after_cursor: str = "",
        snapshot: bool = False,
        deltas: bool = False,
        event_types: Iterable[event_pb2.EventType.ValueType] = (),
        heartbeat_interval: float = watching.HEARTBEAT,
        reconnect_timeout: float | None = None,
        on_disconnect: Callable[[OrcsError], object] | None = None,
        on_reconnect: Callable[[], object] | None = None,
    ) -> AsyncGenerator[WatchItem, None]:
        """Yield each event of a workflow once and in order, whatever breaks in between, and end when the workflow has.

        It starts with the first event, after `after_cursor` (that of an `Event` or `Snapshot` of an earlier watch), or, with
        `snapshot`, with one `Snapshot`. `event_types` lets only these through (empty: all). With `deltas`, `Delta` items bring
        the text that agents are writing; after a cut that text comes again from its beginning. Close the generator
        (`contextlib.aclosing`) if you leave it early.

        A stream that breaks is opened again after the last event, with growing delays, also when the server was restarted or
        nothing came for three times `heartbeat_interval` (seconds, 1 to 300); once the server was away for `reconnect_timeout`
        seconds it gives up (None: never). `on_disconnect` is called with the error that cut the watch off, and `on_reconnect` once
        it goes on, both in the client's thread. Raises `Unavailable` if the server never answered at all, `GapError` if events are
        missing, and what another attempt would not change, such as `NotFound` and `OutOfRange`.
        """
        return watching.watch_workflow(
            self._connection,
            workflow_id,
            after_cursor=after_cursor,
            snapshot=snapshot,
            deltas=deltas,
            event_types=event_types,
            heartbeat_interval=heartbeat_interval,
            reconnect_timeout=reconnect_timeout,
            on_disconnect=on_disconnect,
            on_reconnect=on_reconnect,
        )

    def watch_workflows(
        self,
        *,
        states: Iterable[workflow_pb2.WorkflowState.ValueType] = (),
        labels: Mapping[str, str] | None = None,
        after_cursor: str = "",
        snapshot: bool = False,
        heartbeat_interval: float = watching.HEARTBEAT,
        reconnect_timeout: float | None = None,
        on_disconnect: Callable[[OrcsError], object] | None = None,
        on_reconnect: Callable[[], object] | None = None,
    ) -> AsyncGenerator[WorkflowsUpdate, None]:
        """Yield workflows as they change, without an end; with `snapshot`, all that fit at first. It goes on over cuts as
        `watch` does; changes in between come as one.
        """
        return watching.watch_workflows(
            self._connection,
            _filter(states, labels),
            after_cursor=after_cursor,
            snapshot=snapshot,
            heartbeat_interval=heartbeat_interval,
            reconnect_timeout=reconnect_timeout,
            on_disconnect=on_disconnect,
            on_reconnect=on_reconnect,
        )

    async def wait(
        self,
        workflow_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the blocking twin has no other way to give up
    ) -> workflow_pb2.Workflow:
        """Return the workflow once it has ended. Raises `DeadlineExceeded` after `timeout` seconds (None: never)."""
        try:
            async with asyncio.timeout(timeout), aclosing(self.watch(workflow_id, event_types=_ENDINGS)) as ending:
                async for _ in ending:
                    pass
        except TimeoutError:
            raise DeadlineExceeded(f"{workflow_id} has not ended within {timeout:g} seconds; it goes on") from None
        return (await self.get_workflow(workflow_id)).workflow

    async def run(
        self,
        query: str | None = None,
        *,
        plan: workflow_pb2.Plan | None = None,
        on_item: Callable[[WatchItem], object] | None = None,
        deltas: bool = False,
        **options: Unpack[requests.WorkflowOptions],
    ) -> Outcome:
        """Create a workflow, follow it to its end and return its output; `on_item` is called with each item of its watch.

        Raises `WorkflowNotCompleted` if it fails or is cancelled. If this call itself is cancelled, the workflow goes on.
        """
        workflow_id = (await self.create_workflow(query, plan=plan, **options)).workflow.id
        if on_item is None:
            workflow = await self.wait(workflow_id)
        else:
            async with aclosing(self.watch(workflow_id, deltas=deltas)) as items:
                async for item in items:
                    on_item(item)
            workflow = (await self.get_workflow(workflow_id)).workflow
        if workflow.state != workflow_pb2.WORKFLOW_STATE_COMPLETED:
            state = workflow_pb2.WorkflowState.Name(workflow.state).removeprefix("WORKFLOW_STATE_")
            why = f": {workflow.failure.message}" if workflow.failure.message else ""
            raise WorkflowNotCompleted(f"workflow {workflow_id} ended as {state}{why}", workflow)
        return Outcome(workflow, await self.get_output(workflow_id))

    async def get_server_info(self) -> system_service_pb2.GetServerInfoResponse:
        """Read the server's version, limits and model, and who the caller is to it."""
        stub = SystemServiceStub(self._connection.unary)
        return await self._connection.call(stub.GetServerInfo, system_service_pb2.GetServerInfoRequest())

    async def list_problems(self) -> list[system_service_pb2.Problem]:
        """List what is wrong with the running server; it needs the role `administer`."""
        stub = SystemServiceStub(self._connection.unary)
        reply = await self._connection.call(stub.ListProblems, system_service_pb2.ListProblemsRequest())
        return list(reply.problems)

    async def receives_work(self) -> bool:
        """Ask whether the server takes work. It needs no token; a server that cannot be reached raises `Unavailable`."""
        return await health.receives_work(self._connection)


def _view(full: bool) -> common_pb2.View.ValueType:
    return common_pb2.VIEW_FULL if full else common_pb2.VIEW_BASIC


def _filter(
    states: Iterable[workflow_pb2.WorkflowState.ValueType], labels: Mapping[str, str] | None
) -> workflow_pb2.WorkflowFilter:
    return workflow_pb2.WorkflowFilter(states=tuple(states), labels=labels)
