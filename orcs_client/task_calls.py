"""The calls about single tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcs_client import requests
from orcs_client.calls import Calls, pages
from orcs_client.v1 import common_pb2, task_service_pb2, workflow_pb2
from orcs_client.v1.task_service_pb2_grpc import TaskServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from orcs_client.requests import Content

_t = task_service_pb2


class TaskCalls(Calls):
    """Reads and controls tasks."""

    @property
    def _tasks(self) -> TaskServiceStub:
        return TaskServiceStub(self._connection.unary)

    async def get_task(self, workflow_id: str, task_id: str, *, full: bool = False) -> _t.GetTaskResponse:
        """Read a task; with `full` also its description and output."""
        view = common_pb2.VIEW_FULL if full else common_pb2.VIEW_BASIC
        request = _t.GetTaskRequest(workflow_id=workflow_id, task_id=task_id, view=view)
        return await self._connection.call(self._tasks.GetTask, request)

    async def list_tasks(
        self,
        workflow_id: str,
        *,
        states: Iterable[workflow_pb2.TaskState.ValueType] = (),
        agent_id: str = "",
        page_size: int = 0,
    ) -> AsyncGenerator[workflow_pb2.Task, None]:
        """Yield a workflow's tasks in the order in which they came into the plan, fetched page by page."""
        request = _t.ListTasksRequest(
            workflow_id=workflow_id, states=tuple(states), agent_id=agent_id, page_size=page_size
        )

        async def page(token: str) -> _t.ListTasksResponse:
            request.page_token = token
            return await self._connection.call(self._tasks.ListTasks, request)

        async for reply in pages(page):
            for task in reply.tasks:
                yield task

    async def retry_task(
        self,
        workflow_id: str,
        task_id: str,
        *,
        description: str | None = None,
        include_dependants: bool = False,
        validate_only: bool = False,
        request_id: str | None = None,
    ) -> _t.RetryTaskResponse:
        """Carry a task out again that has ended, or waits for its retry, with another description if one is given.

        With `include_dependants` what rests on its output is carried out again, too, where that changes. With `validate_only`
        nothing is done: the reply says what would run again, and what that has used so far.
        """
        request = _t.RetryTaskRequest(
            workflow_id=workflow_id,
            task_id=task_id,
            description=description,
            include_dependants=include_dependants,
            validate_only=validate_only,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._tasks.RetryTask, request)

    async def skip_task(
        self,
        workflow_id: str,
        task_id: str,
        *,
        reason: str = "",
        substitute: Content | None = None,
        request_id: str | None = None,
    ) -> _t.SkipTaskResponse:
        """Go on without a task, or with a substitute for its output: a text, bytes, or anything else as JSON."""
        request = _t.SkipTaskRequest(
            workflow_id=workflow_id,
            task_id=task_id,
            reason=reason,
            substitute=None if substitute is None else requests.content_part("substitute", substitute),
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._tasks.SkipTask, request)

    async def cancel_task(
        self, workflow_id: str, task_id: str, *, reason: str = "", request_id: str | None = None
    ) -> _t.CancelTaskResponse:
        """End one task; what depends on it is skipped."""
        request = _t.CancelTaskRequest(
            workflow_id=workflow_id,
            task_id=task_id,
            reason=reason,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._tasks.CancelTask, request)

    async def update_task(
        self,
        workflow_id: str,
        task_id: str,
        *,
        priority: int | None = None,
        description: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the task's, not the call's
        plan_revision: int | None = None,
        request_id: str | None = None,
    ) -> _t.UpdateTaskResponse:
        """Change a task before it begins. `timeout` is in seconds, 0 for the server's default; with `plan_revision` the call
        raises `Conflict` if the plan has a newer one.
        """
        request = _t.UpdateTaskRequest(
            workflow_id=workflow_id,
            task_id=task_id,
            priority=priority,
            description=description,
            timeout=None if timeout is None else requests.seconds("timeout", timeout),
            plan_revision=plan_revision,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._tasks.UpdateTask, request)
