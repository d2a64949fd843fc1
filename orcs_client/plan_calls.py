"""The calls that change a workflow and its plan, and that tell what the plan was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcs_client import requests
from orcs_client.calls import Calls, pages
from orcs_client.v1 import plan_edit_pb2, workflow_pb2, workflow_service_pb2
from orcs_client.v1.workflow_service_pb2_grpc import WorkflowServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

_w = workflow_service_pb2


class PlanCalls(Calls):
    """Changes workflows and their plans."""

    @property
    def _workflows(self) -> WorkflowServiceStub:
        return WorkflowServiceStub(self._connection.unary)

    async def update_workflow(
        self,
        workflow_id: str,
        *,
        budget: workflow_pb2.Budget | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        request_id: str | None = None,
    ) -> _w.UpdateWorkflowResponse:
        """Change what is given: the limits on what it may use (see `budget`), all of its labels, its priority."""
        request = _w.UpdateWorkflowRequest(
            workflow_id=workflow_id,
            budget=budget,
            labels=None if labels is None else workflow_pb2.Labels(labels=labels),
            priority=priority,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._workflows.UpdateWorkflow, request)

    async def edit_plan(
        self,
        workflow_id: str,
        edits: Iterable[plan_edit_pb2.PlanEdit],
        *,
        plan_revision: int | None = None,
        validate_only: bool = False,
        request_id: str | None = None,
    ) -> _w.EditPlanResponse:
        """Change a plan, all of it or nothing; see `add_task`, `change_task`, `remove_task`, `set_dependencies`.

        With `plan_revision` the call raises `Conflict` if the plan has a newer one. With `validate_only` nothing is stored: the
        reply says what would come of the edits, or every rule that they break.
        """
        request = _w.EditPlanRequest(
            workflow_id=workflow_id,
            edits=tuple(edits),
            plan_revision=plan_revision,
            validate_only=validate_only,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._workflows.EditPlan, request)

    async def replan(
        self,
        workflow_id: str,
        instructions: str,
        *,
        plan_revision: int | None = None,
        request_id: str | None = None,
    ) -> _w.ReplanResponse:
        """Have the planner plan anew what has not begun, by these instructions."""
        request = _w.ReplanRequest(
            workflow_id=workflow_id,
            instructions=instructions,
            plan_revision=plan_revision,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._workflows.Replan, request)

    async def list_plan_revisions(
        self, workflow_id: str, *, page_size: int = 0
    ) -> AsyncGenerator[plan_edit_pb2.PlanRevision, None]:
        """Yield the revisions of a workflow's plan, the first one first, fetched page by page."""
        request = _w.ListPlanRevisionsRequest(workflow_id=workflow_id, page_size=page_size)

        async def page(token: str) -> _w.ListPlanRevisionsResponse:
            request.page_token = token
            return await self._connection.call(self._workflows.ListPlanRevisions, request)

        async for reply in pages(page):
            for revision in reply.revisions:
                yield revision

    async def compare_plan_revisions(
        self, workflow_id: str, *, from_revision: int = 0, to_revision: int = 0
    ) -> _w.ComparePlanRevisionsResponse:
        """Read what lies between two revisions of a plan; by default between the current one and the one before."""
        request = _w.ComparePlanRevisionsRequest(
            workflow_id=workflow_id, from_revision=from_revision, to_revision=to_revision
        )
        return await self._connection.call(self._workflows.ComparePlanRevisions, request)
