"""From plans, their changes and their revisions to messages. Texts go by their digests."""

from __future__ import annotations

from orcs_client.v1 import common_pb2, plan_edit_pb2, workflow_service_pb2
from orcs_server.rpc.conversion import enums
from orcs_server.rpc.conversion.plantasks import plan_task
from orcs_server.rpc.conversion.times import timestamp
from orcs_server.rpc.conversion.workflows import workflow
from orcs_server.service.amending import EditedPlan
from orcs_server.service.pages import REPLY_BYTES
from orcs_server.service.revisions import PlanDifference, PlanRevision
from orcs_server.workflow.model import TaskSpec


def plan_changes(
    added: tuple[TaskSpec, ...],
    changed: tuple[TaskSpec, ...],
    removed: tuple[str, ...],
    changed_from: tuple[TaskSpec, ...] = (),
) -> plan_edit_pb2.PlanChanges:
    """Return changes as a message; without the tasks where they would be too long for a reply."""
    message = plan_edit_pb2.PlanChanges(
        added=[plan_task(spec) for spec in added],
        changed=[plan_task(spec) for spec in changed],
        removed_task_ids=removed,
        changed_from=[plan_task(spec) for spec in changed_from],
    )
    if message.ByteSize() > REPLY_BYTES:
        return plan_edit_pb2.PlanChanges(tasks_omitted=True)
    return message


def violations(edited: EditedPlan) -> list[common_pb2.Violation]:
    return [common_pb2.Violation(field=one.field, description=one.description) for one in edited.violations]


def edited_plan(edited: EditedPlan, *, stored: bool) -> workflow_service_pb2.EditPlanResponse:
    return workflow_service_pb2.EditPlanResponse(
        workflow=workflow(edited.workflow),
        cursor=edited.cursor,
        plan_revision=edited.revision,
        changes=None if stored else plan_changes(edited.added, edited.changed, edited.removed),
        violations=violations(edited),
        needs_approval=edited.needs_approval,
    )


def plan_revision(revision: PlanRevision) -> plan_edit_pb2.PlanRevision:
    return plan_edit_pb2.PlanRevision(
        revision=revision.revision,
        source=enums.PLAN_SOURCE.to_wire(revision.source),
        proposer_task_id=revision.proposer,
        actor=revision.actor,
        create_time=timestamp(revision.time_us),
        task_count=revision.task_count,
        added_count=revision.added,
        changed_count=revision.changed,
        removed_count=revision.removed,
    )


def plan_difference(difference: PlanDifference) -> workflow_service_pb2.ComparePlanRevisionsResponse:
    return workflow_service_pb2.ComparePlanRevisionsResponse(
        from_revision=difference.from_revision,
        to_revision=difference.to_revision,
        changes=plan_changes(difference.added, difference.changed, difference.removed, difference.changed_from),
    )
