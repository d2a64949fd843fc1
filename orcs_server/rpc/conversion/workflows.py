"""From the domain's workflows, tasks and usage to messages."""

from __future__ import annotations

from orcs_client.v1 import common_pb2, workflow_pb2
from orcs_server.rpc.conversion import enums
from orcs_server.rpc.conversion.times import duration, optional_duration, optional_timestamp, timestamp
from orcs_server.service.reading import TaskTexts, WorkflowTexts
from orcs_server.storage.store import StoredTask, WorkflowSummary
from orcs_server.workflow.model import (
    Budget,
    Failure,
    Output,
    RetryPolicy,
    Usage,
    WorkflowProgress,
    WorkflowSpec,
)
from orcs_server.workflow.states import TaskStatus

_COUNT_FIELDS = tuple(status.name.lower() for status in TaskStatus)


def usage(value: Usage) -> common_pb2.Usage:
    return common_pb2.Usage(
        requests=value.requests,
        input_tokens=value.input_tokens,
        cached_input_tokens=value.cached_input_tokens,
        output_tokens=value.output_tokens,
        reasoning_tokens=value.reasoning_tokens,
        cost_micros=value.cost_micros,
    )


def failure(value: Failure) -> common_pb2.Failure:
    return common_pb2.Failure(
        kind=enums.FAILURE_KIND.to_wire(value.kind),
        message=value.message,
        retryable=value.retryable,
        retry_after=optional_duration(value.retry_after_us),
    )


def optional_failure(value: Failure | None) -> common_pb2.Failure | None:
    return None if value is None else failure(value)


def output_reference(value: Output) -> common_pb2.OutputReference:
    return common_pb2.OutputReference(sha256=value.digest, media_type=value.media_type, size_bytes=value.size)


def optional_output(value: Output | None) -> common_pb2.OutputReference | None:
    return None if value is None else output_reference(value)


def task_counts(progress: WorkflowProgress) -> workflow_pb2.TaskCounts:
    return workflow_pb2.TaskCounts(total=progress.task_count, **dict(zip(_COUNT_FIELDS, progress.counts, strict=True)))


def budget(value: Budget) -> workflow_pb2.Budget | None:
    """Return the budget; None where it sets no limit."""
    if value == Budget():
        return None
    return workflow_pb2.Budget(
        tokens=value.tokens, cost_micros=value.cost_micros, wall_time=optional_duration(value.wall_time_us)
    )


def retry_policy(value: RetryPolicy) -> workflow_pb2.RetryPolicy:
    return workflow_pb2.RetryPolicy(
        max_attempts=value.max_attempts,
        initial_backoff=duration(value.initial_backoff_us),
        max_backoff=duration(value.max_backoff_us),
        multiplier=value.multiplier,
    )


def content_part(media_type: str, content: bytes) -> common_pb2.Part:
    """Return stored bytes as what their media type says; as data where they are not what it says."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return common_pb2.Part(media_type=media_type, data=content)
    if media_type == "application/json":
        return common_pb2.Part(media_type=media_type, json=text)
    return common_pb2.Part(media_type=media_type, text=text)


def workflow(summary: WorkflowSummary, texts: WorkflowTexts | None = None) -> workflow_pb2.Workflow:
    """Return a workflow in the basic view, or with its texts."""
    creator = "" if summary.caller is None else summary.caller.principal
    message = workflow_of(summary.id, summary.spec, summary.progress, creator, summary.updated_us)
    if texts is not None:
        if texts.query is not None:
            message.query.CopyFrom(common_pb2.Part(media_type="text/plain", text=texts.query))
        if texts.context is not None:
            message.context.CopyFrom(common_pb2.Part(media_type="application/json", json=texts.context))
        message.resource_requirements = texts.resource_requirements or ""
        message.output_schema = texts.output_schema or ""
    return message


def workflow_of(
    workflow_id: str, spec: WorkflowSpec, progress: WorkflowProgress, creator: str, updated_us: int
) -> workflow_pb2.Workflow:
    """Return a workflow in the basic view from its parts."""
    return workflow_pb2.Workflow(
        id=workflow_id,
        title=spec.title,
        state=enums.WORKFLOW_STATE.to_wire(progress.status),
        failure=optional_failure(progress.failure),
        plan_revision=progress.plan_revision,
        task_counts=task_counts(progress),
        usage=usage(progress.usage),
        create_time=timestamp(progress.created_us),
        update_time=timestamp(updated_us),
        start_time=optional_timestamp(progress.started_us),
        end_time=optional_timestamp(progress.finished_us),
        creator=creator,
        labels=dict(spec.labels),
        priority=spec.priority,
        budget=budget(spec.budget),
        deadline_time=optional_timestamp(spec.deadline_us),
        not_before_time=optional_timestamp(spec.not_before_us),
        auto_start=spec.auto_start,
        execution=enums.EXECUTION.to_wire(spec.execution),
        failure_policy=enums.FAILURE_POLICY.to_wire(spec.failure_policy),
        planning_strategy=enums.PLANNING_STRATEGY.to_wire(spec.planning),
        approval_policy=enums.APPROVAL_POLICY.to_wire(spec.approval_policy),
        retry_policy=retry_policy(spec.retry),
        max_parallel_tasks=spec.max_parallel_tasks,
        max_tasks=spec.max_tasks,
        output_format=enums.OUTPUT_FORMAT.to_wire(spec.output_format),
        continue_from=spec.continue_from or "",
        planning=None if spec.query is None else _planning(progress),
        query_sha256=spec.query or "",
        pending_input_count=progress.waiting,
        paused=progress.paused,
        frozen=progress.frozen,
        stop_mode=enums.STOP_MODE.optional(progress.stop),
        run_time=optional_duration(progress.ran_us or None),
        running_since_time=optional_timestamp(progress.running_since_us),
        max_proposed_tasks=spec.max_proposed_tasks,
        approval_timeout=optional_duration(spec.approval_expires_us),
    )


def _planning(progress: WorkflowProgress) -> workflow_pb2.Planning:
    planning = progress.planning
    return workflow_pb2.Planning(
        attempt=planning.attempt,
        problems=planning.problems,
        retry_time=optional_timestamp(planning.retry_at_us),
        usage=usage(planning.usage),
        replanning=planning.replanning,
    )


def workflow_summary(summary: WorkflowSummary) -> workflow_pb2.WorkflowSummary:
    spec, progress = summary.spec, summary.progress
    return workflow_pb2.WorkflowSummary(
        id=summary.id,
        title=spec.title,
        state=enums.WORKFLOW_STATE.to_wire(progress.status),
        failure=optional_failure(progress.failure),
        plan_revision=progress.plan_revision,
        task_counts=task_counts(progress),
        usage=usage(progress.usage),
        create_time=timestamp(progress.created_us),
        update_time=timestamp(summary.updated_us),
        start_time=optional_timestamp(progress.started_us),
        end_time=optional_timestamp(progress.finished_us),
        creator="" if summary.caller is None else summary.caller.principal,
        labels=dict(spec.labels),
        priority=spec.priority,
        pending_input_count=progress.waiting,
        paused=progress.paused,
        frozen=progress.frozen,
    )


class TaskMessages:
    """Tasks of one workflow as messages; the workflow says which revisions of agents it is pinned to."""

    def __init__(self, workflow_id: str, spec: WorkflowSpec) -> None:
        self._workflow_id = workflow_id
        self._revisions = dict(spec.agents)

    def task(self, stored: StoredTask, texts: TaskTexts | None = None) -> workflow_pb2.Task:
        """Return a task in the basic view, or with its texts."""
        spec, progress = stored.spec, stored.progress
        message = workflow_pb2.Task(
            id=spec.id,
            workflow_id=self._workflow_id,
            title=spec.title,
            state=enums.TASK_STATE.to_wire(progress.status),
            ordinal=stored.ordinal,
            agent_id=spec.agent_id,
            agent_revision=self._revisions.get(spec.agent_id, ""),
            dependencies=spec.dependencies,
            priority=spec.priority,
            optional=spec.optional,
            timeout=optional_duration(spec.timeout_us),
            max_attempts=spec.max_attempts,
            attempt=progress.attempt,
            run=progress.run,
            failed_attempts=progress.failures,
            lost_attempts=progress.losses,
            failure=optional_failure(progress.failure),
            usage=usage(progress.usage),
            start_time=optional_timestamp(progress.started_us),
            attempt_start_time=optional_timestamp(progress.attempt_started_us),
            retry_time=optional_timestamp(progress.retry_at_us),
            end_time=optional_timestamp(progress.finished_us),
            description_sha256=spec.description,
            output_reference=optional_output(progress.output),
            stale=progress.stale,
            needs_approval=spec.needs_approval,
            budget=budget(spec.budget),
            waived=progress.waived,
            depth=spec.depth,
            run_time=optional_duration(progress.ran_us or None),
        )
        if texts is not None:
            if texts.description is not None:
                message.description.CopyFrom(common_pb2.Part(media_type="text/plain", text=texts.description))
            if texts.output is not None and progress.output is not None:
                message.output.CopyFrom(content_part(progress.output.media_type, texts.output))
            message.output_schema = texts.output_schema or ""
        return message
