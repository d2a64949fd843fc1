"""A planned task as a message, texts by their digests."""

from __future__ import annotations

from orcs_client.v1 import workflow_pb2
from orcs_server.rpc.conversion.times import optional_duration
from orcs_server.rpc.conversion.workflows import budget
from orcs_server.workflow.model import TaskSpec


def plan_task(spec: TaskSpec) -> workflow_pb2.PlanTask:
    """Return a planned task as events have it: texts by their digests."""
    return workflow_pb2.PlanTask(
        id=spec.id,
        title=spec.title,
        agent_id=spec.agent_id,
        dependencies=spec.dependencies,
        priority=spec.priority,
        timeout=optional_duration(spec.timeout_us),
        max_attempts=spec.max_attempts,
        optional=spec.optional,
        description_sha256=spec.description,
        output_schema_sha256=spec.output_schema or "",
        needs_approval=spec.needs_approval,
        budget=budget(spec.budget),
    )
