"""The call that says why things are as they are."""

from __future__ import annotations

from orcs_client.calls import Calls
from orcs_client.v1 import workflow_service_pb2
from orcs_client.v1.workflow_service_pb2_grpc import WorkflowServiceStub

_w = workflow_service_pb2


class ExplainCalls(Calls):
    """Explains workflows."""

    async def explain_workflow(
        self, workflow_id: str, task_id: str = "", *, page_size: int = 0, page_token: str = ""
    ) -> _w.ExplainWorkflowResponse:
        """Read why a workflow and a page of its tasks, or one of them, stand where they stand, and what they have cost.

        The server answers from what is stored, without a model. `page_token` is the `next_page_token` of the page before.
        """
        request = _w.ExplainWorkflowRequest(
            workflow_id=workflow_id, task_id=task_id, page_size=page_size, page_token=page_token
        )
        return await self._connection.call(WorkflowServiceStub(self._connection.unary).ExplainWorkflow, request)
