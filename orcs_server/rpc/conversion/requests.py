"""From request messages to what the service takes. What a message cannot mean goes into findings, so that the answer lists it
together with what the service finds.
"""

from __future__ import annotations

from orcs_client.v1 import (
    common_pb2,
    control_service_pb2,
    memory_service_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_server.rpc.conversion import enums
from orcs_server.rpc.conversion.events import EVENT_FIELDS
from orcs_server.rpc.conversion.times import duration_us, time_us
from orcs_server.service.requests import (
    NewTask,
    NewWorkflow,
    PlanDraft,
    RetryWish,
    TaskWish,
    WatchAllWish,
    WatchWish,
    WorkflowWish,
)
from orcs_server.service.validation import Findings
from orcs_server.workflow.model import ApprovalPolicy, Budget, Execution, FailurePolicy, OutputFormat


def new_workflow(message: workflow_service_pb2.CreateWorkflowRequest, findings: Findings) -> NewWorkflow:
    source = message.WhichOneof("source")
    return NewWorkflow(
        workflow_id=message.workflow_id,
        title=message.title,
        query=message.query if source == "query" else None,
        plan=_plan(message.plan, findings) if source == "plan" else None,
        labels=tuple(sorted(message.labels.items())),
        context=_context(message, findings),
        priority=message.priority,
        budget=budget(message.budget, "budget", findings),
        deadline_us=_time(message, "deadline_time", findings),
        not_before_us=_time(message, "not_before_time", findings),
        resource_requirements=message.resource_requirements,
        output_format=output_format(message.output_format, "output_format", findings) or OutputFormat.MARKDOWN,
        output_schema=message.output_schema,
        approval_policy=enums.APPROVAL_POLICY.from_wire(message.approval_policy, "approval_policy", findings)
        or ApprovalPolicy.NONE,
        failure_policy=enums.FAILURE_POLICY.from_wire(message.failure_policy, "failure_policy", findings)
        or FailurePolicy.ISOLATE,
        execution=enums.EXECUTION.from_wire(message.execution, "execution", findings) or Execution.PARALLEL,
        planning=enums.PLANNING_STRATEGY.from_wire(message.planning_strategy, "planning_strategy", findings)
        if message.planning_strategy
        else None,
        continue_from=message.continue_from,
        auto_start=message.auto_start if message.HasField("auto_start") else True,
        retry=_retry(message.retry_policy, findings),
        max_parallel_tasks=message.max_parallel_tasks,
        max_tasks=message.max_tasks if message.HasField("max_tasks") else None,
    )


def plan_draft(message: workflow_service_pb2.PreviewPlanRequest, findings: Findings) -> PlanDraft:
    source = message.WhichOneof("source")
    return PlanDraft(
        query=message.query if source == "query" else None,
        plan=_plan(message.plan, findings) if source == "plan" else None,
        context=_context(message, findings),
        planning=enums.PLANNING_STRATEGY.from_wire(message.planning_strategy, "planning_strategy", findings)
        if message.planning_strategy
        else None,
        max_tasks=message.max_tasks if message.HasField("max_tasks") else None,
    )


def workflow_wish(message: workflow_pb2.WorkflowFilter) -> WorkflowWish:
    """Read a filter. Raises InvalidArgument."""
    findings = Findings()
    wish = _workflow_wish(message, findings)
    findings.raise_any()
    return wish


def task_wish(message: task_service_pb2.ListTasksRequest) -> TaskWish:
    """Read a filter. Raises InvalidArgument."""
    findings = Findings()
    wish = TaskWish(enums.TASK_STATE.all_from_wire(message.states, "states", findings), message.agent_id)
    findings.raise_any()
    return wish


def watch_wish(message: workflow_service_pb2.WatchWorkflowRequest) -> WatchWish:
    """Read what to watch. Raises InvalidArgument."""
    findings = Findings()
    names = set()
    for index, number in enumerate(message.event_types):
        if number in EVENT_FIELDS:
            names.add(EVENT_FIELDS[number][1])
        else:
            findings.add(
                f"event_types[{index}]", f"{number} is no event type: name one, or leave the list empty for all."
            )
    heartbeat = heartbeat_us(message, findings)
    findings.raise_any()
    return WatchWish(
        message.workflow_id,
        message.after_cursor,
        message.snapshot,
        frozenset(names),
        message.include_deltas,
        heartbeat,
    )


def watch_all_wish(message: workflow_service_pb2.WatchWorkflowsRequest) -> WatchAllWish:
    """Read what to watch. Raises InvalidArgument."""
    findings = Findings()
    which = _workflow_wish(message.filter, findings)
    heartbeat = heartbeat_us(message, findings)
    findings.raise_any()
    return WatchAllWish(which, message.after_cursor, message.snapshot, heartbeat)


def full_view(number: int) -> bool:
    """Return whether the full view is asked for. Raises InvalidArgument."""
    if number not in (common_pb2.VIEW_UNSPECIFIED, common_pb2.VIEW_BASIC, common_pb2.VIEW_FULL):
        findings = Findings()
        findings.add("view", f"{number} is not one of VIEW_BASIC, VIEW_FULL.")
        findings.raise_any()
    return number == common_pb2.VIEW_FULL


def output_format(number: int, field: str, findings: Findings) -> OutputFormat | None:
    """Return the format; None where none is named, or where it is none."""
    return enums.OUTPUT_FORMAT.from_wire(number, field, findings) if number else None


def _workflow_wish(message: workflow_pb2.WorkflowFilter, findings: Findings) -> WorkflowWish:
    return WorkflowWish(
        enums.WORKFLOW_STATE.all_from_wire(message.states, "filter.states", findings),
        tuple(sorted(message.labels.items())),
    )


def _plan(message: workflow_pb2.Plan, findings: Findings) -> tuple[NewTask, ...]:
    return tuple(new_task(task, f"plan.tasks[{index}]", findings) for index, task in enumerate(message.tasks))


def new_task(message: workflow_pb2.PlanTask, at: str, findings: Findings) -> NewTask:
    """Return a task of a client's; what is wrong with it is said under `at`."""
    return NewTask(
        title=message.title,
        description=message.description,
        agent_id=message.agent_id,
        id=message.id,
        dependencies=tuple(message.dependencies),
        priority=message.priority,
        timeout_us=duration_us(message.timeout, f"{at}.timeout", findings) if message.HasField("timeout") else None,
        max_attempts=message.max_attempts if message.HasField("max_attempts") else None,
        optional=message.optional,
        output_schema=message.output_schema,
        needs_approval=message.needs_approval,
        budget=budget(message.budget, f"{at}.budget", findings),
    )


def _context(
    message: workflow_service_pb2.CreateWorkflowRequest | workflow_service_pb2.PreviewPlanRequest, findings: Findings
) -> str:
    if not message.HasField("context"):
        return ""
    part = message.context
    content = part.WhichOneof("content")
    if content == "json":
        return part.json
    if content == "text" and part.media_type == "application/json":
        return part.text
    findings.add("context", "It must be a JSON object: set the part's json.")
    return ""


def budget(message: workflow_pb2.Budget, field: str, findings: Findings) -> Budget:
    """Return limits; what is wrong with them is said under `field`."""
    return Budget(
        tokens=message.tokens if message.HasField("tokens") else None,
        cost_micros=message.cost_micros if message.HasField("cost_micros") else None,
        wall_time_us=duration_us(message.wall_time, f"{field}.wall_time", findings)
        if message.HasField("wall_time")
        else None,
    )


def _retry(message: workflow_pb2.RetryPolicy, findings: Findings) -> RetryWish:
    return RetryWish(
        message.max_attempts if message.HasField("max_attempts") else None,
        duration_us(message.initial_backoff, "retry_policy.initial_backoff", findings)
        if message.HasField("initial_backoff")
        else None,
        duration_us(message.max_backoff, "retry_policy.max_backoff", findings)
        if message.HasField("max_backoff")
        else None,
        message.multiplier if message.HasField("multiplier") else None,
    )


def _time(message: workflow_service_pb2.CreateWorkflowRequest, field: str, findings: Findings) -> int | None:
    return time_us(getattr(message, field), field, findings) if message.HasField(field) else None  # type: ignore[arg-type]


def heartbeat_us(
    message: workflow_service_pb2.WatchWorkflowRequest
    | workflow_service_pb2.WatchWorkflowsRequest
    | control_service_pb2.WatchPendingInputsRequest
    | memory_service_pb2.WatchMemoryRequest,
    findings: Findings,
) -> int | None:
    """Return the interval; None where none is asked for."""
    if not message.HasField("heartbeat_interval"):
        return None
    return duration_us(message.heartbeat_interval, "heartbeat_interval", findings)
