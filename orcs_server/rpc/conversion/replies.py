"""From what the service returns to reply messages."""

from __future__ import annotations

from collections.abc import Iterable

from orcs_client.v1 import (
    common_pb2,
    system_service_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_server.outputs.compose import Rendered
from orcs_server.rpc.conversion import enums, workflows
from orcs_server.rpc.conversion.times import optional_duration, timestamp
from orcs_server.service.pages import REPLY_BYTES, fitting
from orcs_server.service.preview import PreviewedPlan
from orcs_server.service.problems import Problem
from orcs_server.service.reading import TaskView, WorkflowView
from orcs_server.service.requests import NewTask
from orcs_server.service.results import WorkflowOutput
from orcs_server.service.system import ServerInfo
from orcs_server.service.tasks import Rerun, RetryPreview, TaskChanged
from orcs_server.storage.store import StoredTask

API_VERSION = "v1"
RERUN_WEIGHT = 2 * 1024
"""Bytes of a task that would run again in a reply, not less than it takes."""


def workflow_view(view: WorkflowView, *, full: bool) -> workflow_service_pb2.GetWorkflowResponse:
    messages = workflows.TaskMessages(view.workflow.id, view.workflow.spec)
    return workflow_service_pb2.GetWorkflowResponse(
        workflow=workflows.workflow(view.workflow, view.texts if full else None),
        tasks=[messages.task(task) for task in view.tasks],
        next_page_token=view.next_page_token,
        cursor=view.cursor,
    )


def task_view(view: TaskView, *, full: bool) -> task_service_pb2.GetTaskResponse:
    messages = workflows.TaskMessages(view.workflow.id, view.workflow.spec)
    return task_service_pb2.GetTaskResponse(
        task=messages.task(view.task, view.texts if full else None), cursor=view.cursor
    )


def retried_task(changed: TaskChanged) -> task_service_pb2.RetryTaskResponse:
    return task_service_pb2.RetryTaskResponse(
        workflow=workflows.workflow(changed.workflow), task=_task_of(changed), cursor=changed.cursor
    )


def retry_preview(preview: RetryPreview) -> task_service_pb2.RetryTaskResponse:
    shown = preview.reruns[: fitting(preview.reruns, lambda _: RERUN_WEIGHT)]
    return task_service_pb2.RetryTaskResponse(
        workflow=workflows.workflow(preview.workflow),
        task=_task_of(preview),
        reruns=[_rerun(rerun) for rerun in shown],
        usage=workflows.usage(preview.usage),
        rerun_count=sum(not rerun.stale_only for rerun in preview.reruns),
    )


def skipped_task(changed: TaskChanged) -> task_service_pb2.SkipTaskResponse:
    return task_service_pb2.SkipTaskResponse(
        workflow=workflows.workflow(changed.workflow), task=_task_of(changed), cursor=changed.cursor
    )


def cancelled_task(changed: TaskChanged) -> task_service_pb2.CancelTaskResponse:
    return task_service_pb2.CancelTaskResponse(
        workflow=workflows.workflow(changed.workflow), task=_task_of(changed), cursor=changed.cursor
    )


def updated_task(changed: TaskChanged) -> task_service_pb2.UpdateTaskResponse:
    return task_service_pb2.UpdateTaskResponse(
        workflow=workflows.workflow(changed.workflow), task=_task_of(changed), cursor=changed.cursor
    )


def _task_of(view: TaskChanged | RetryPreview) -> workflow_pb2.Task:
    return workflows.TaskMessages(view.workflow.id, view.workflow.spec).task(view.task)


def _rerun(rerun: Rerun) -> task_service_pb2.TaskRerun:
    return task_service_pb2.TaskRerun(
        task_id=rerun.task_id,
        title=rerun.title,
        cause_task_id=rerun.cause,
        reason=rerun.reason,
        keeps_output=rerun.keeps_output,
        stale_only=rerun.stale_only,
        usage=workflows.usage(rerun.usage),
    )


def previewed_plan(plan: PreviewedPlan) -> workflow_service_pb2.PreviewPlanResponse:
    message = workflow_service_pb2.PreviewPlanResponse(
        plan=workflow_pb2.Plan(tasks=[_planned(task) for task in plan.tasks]),
        violations=[
            common_pb2.Violation(field=violation.field, description=violation.description)
            for violation in plan.violations
        ],
        usage=workflows.usage(plan.usage),
    )
    if message.plan.ByteSize() > REPLY_BYTES:
        message.ClearField("plan")
        message.plan_omitted = True
    return message


def _planned(task: NewTask) -> workflow_pb2.PlanTask:
    return workflow_pb2.PlanTask(
        id=task.id,
        title=task.title,
        description=task.description,
        agent_id=task.agent_id,
        dependencies=task.dependencies,
        priority=task.priority,
        timeout=optional_duration(task.timeout_us),
        max_attempts=task.max_attempts,
        optional=task.optional,
        output_schema=task.output_schema,
        needs_approval=task.needs_approval,
        budget=workflows.budget(task.budget),
    )


def document(rendered: Rendered) -> common_pb2.Part:
    return workflows.content_part(rendered.media_type, rendered.content)


def workflow_output(output: WorkflowOutput) -> workflow_service_pb2.GetWorkflowOutputResponse:
    return workflow_service_pb2.GetWorkflowOutputResponse(
        content=document(output.content),
        complete=output.complete,
        truncated=output.truncated,
        task_outputs=[_task_output(task, final=task.spec.id in output.final) for task in output.tasks],
    )


def _task_output(task: StoredTask, *, final: bool) -> workflow_service_pb2.TaskOutput:
    return workflow_service_pb2.TaskOutput(
        task_id=task.spec.id,
        title=task.spec.title,
        state=enums.TASK_STATE.to_wire(task.progress.status),
        output=workflows.optional_output(task.progress.output),
        final=final,
    )


def problems(found: Iterable[Problem]) -> system_service_pb2.ListProblemsResponse:
    return system_service_pb2.ListProblemsResponse(
        problems=[
            system_service_pb2.Problem(
                code=system_service_pb2.ProblemCode.Value(f"PROBLEM_CODE_{one.code}"),
                subject=one.subject,
                text=one.text,
                since_time=None if one.since_us is None else timestamp(one.since_us),
            )
            for one in found
        ]
    )


def server_info(info: ServerInfo) -> system_service_pb2.GetServerInfoResponse:
    return system_service_pb2.GetServerInfoResponse(
        version=info.version,
        api_version=API_VERSION,
        log_epoch=info.log_epoch,
        start_time=timestamp(info.started_us),
        model=system_service_pb2.ModelInfo(
            offline=info.model.provider == "offline",
            provider=info.model.provider,
            default_model=info.model.name,
            base_url=info.model.shown_base_url,
        ),
        limits=system_service_pb2.Limits(
            max_tasks=info.limits.max_tasks,
            max_query_bytes=info.limits.max_query_bytes,
            max_title_characters=info.max_title_characters,
            max_page_size=info.limits.max_page_size,
            default_page_size=info.default_page_size,
            max_description_bytes=info.limits.max_description_bytes,
            max_context_bytes=info.limits.max_context_bytes,
            max_schema_bytes=info.max_schema_bytes,
        ),
        features=info.features,
        caller=system_service_pb2.CallerInfo(
            principal=info.caller.principal, namespace=info.caller.namespace, roles=info.caller.roles
        ),
    )
