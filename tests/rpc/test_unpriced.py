"""Limits of cost where nothing has a price: refused wherever they could be set, for they would never stop anything."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from orcs_client.v1 import control_service_pb2, plan_edit_pb2, workflow_pb2, workflow_service_pb2
from tests.rpc.wire import Wire, plan_of, refused

COST = workflow_pb2.Budget(cost_micros=1, tokens=5)
DEAR = workflow_pb2.PlanTask(id="c", title="C", description="Do it.", agent_id="writing_agent", budget=COST)
_c, _w, _p = control_service_pb2, workflow_service_pb2, plan_edit_pb2


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("CreateWorkflow", _w.CreateWorkflowRequest(query="Do it.", budget=COST), "budget"),
        ("CreateWorkflow", _w.CreateWorkflowRequest(plan=workflow_pb2.Plan(tasks=[DEAR])), "plan.tasks[0].budget"),
        ("UpdateWorkflow", _w.UpdateWorkflowRequest(workflow_id="w", budget=COST), "budget"),
        (
            "EditPlan",
            _w.EditPlanRequest(workflow_id="w", edits=[_p.PlanEdit(add=_p.AddTask(task=DEAR))]),
            "edits[0].add.task.budget",
        ),
        (
            "EditPlan",
            _w.EditPlanRequest(workflow_id="w", edits=[_p.PlanEdit(change=_p.ChangeTask(task_id="a", budget=COST))]),
            "edits[0].change.budget",
        ),
        (
            "ResolveApproval",
            _c.ResolveApprovalRequest(workflow_id="w", input_id="i1", decision=workflow_pb2.DECISION_EDIT, budget=COST),
            "budget",
        ),
    ],
)
async def test_a_limit_of_cost_without_prices_is_refused(
    client: Wire, method: str, request_: Message, field: str
) -> None:
    await client.create(plan=plan_of(a=(), b=("a",)), workflow_id="w", auto_start=False)
    error = await refused(client.call(method, request_))
    assert error.code.name == "INVALID_ARGUMENT"
    assert list(error.violations) == [f"{field}.cost_micros"]
    assert "No prices are configured" in error.violations[f"{field}.cost_micros"]
