"""From request messages of control to what the service takes. What a message cannot mean goes into findings."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from orcs_client.v1 import (
    common_pb2,
    control_service_pb2,
    plan_edit_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_server.rpc.conversion import enums
from orcs_server.rpc.conversion.requests import budget, heartbeat_us, new_task
from orcs_server.rpc.conversion.times import duration_us
from orcs_server.service.requests import (
    Content,
    InputWish,
    MessageWish,
    PlanChange,
    Resolving,
    RetryTaskWish,
    TaskChange,
    WatchInputsWish,
)
from orcs_server.service.validation import Findings
from orcs_server.workflow.edits import RemoveTask, SetDependencies
from orcs_server.workflow.model import StopMode
from orcs_server.workflow.people import Decision, MessageMode

_c = control_service_pb2


def content(part: common_pb2.Part, field: str, findings: Findings) -> Content:
    """Return what a part holds; a URI is nothing that the server would fetch."""
    match part.WhichOneof("content"):
        case "text":
            return Content(part.text, part.media_type == "application/json", media_type=part.media_type)
        case "json":
            return Content(part.json, is_json=True, media_type=part.media_type)
        case "data":
            return Content(data=part.data, media_type=part.media_type)
        case "uri":
            findings.add(field, "The server fetches nothing from elsewhere: send the content itself.")
        case _:
            findings.add(field, "It is empty: set the part's text, json or data.")
    return Content()


def stop_mode(number: int) -> StopMode:
    """Read how what runs comes to its stop. Raises InvalidArgument."""
    findings = Findings()
    mode = enums.STOP_MODE.from_wire(number, "mode", findings)
    findings.raise_any()
    return mode or StopMode.AFTER_TURN


def cancel_mode(number: int) -> StopMode:
    """Read how a cancelled workflow comes to its end. Raises InvalidArgument."""
    if number == _c.CANCEL_MODE_IMMEDIATE:
        return StopMode.IMMEDIATE
    if number not in (_c.CANCEL_MODE_UNSPECIFIED, _c.CANCEL_MODE_GRACEFUL):
        findings = Findings()
        findings.add("mode", f"{number} is not one of CANCEL_MODE_GRACEFUL, CANCEL_MODE_IMMEDIATE.")
        findings.raise_any()
    return StopMode.AFTER_TURN


def message_wish(message: _c.SendMessageRequest, findings: Findings) -> MessageWish:
    text = content(message.text, "text", findings)
    mode = enums.MESSAGE_MODE.from_wire(message.mode, "mode", findings) or MessageMode.QUEUE
    return MessageWish(text, mode, message.task_id)


def input_wish(message: _c.ListPendingInputsRequest) -> InputWish:
    """Read a filter. Raises InvalidArgument."""
    findings = Findings()
    kinds = enums.INPUT_KIND.all_from_wire(message.kinds, "kinds", findings)
    findings.raise_any()
    return InputWish(message.workflow_id, message.task_id, kinds, message.include_resolved)


def watch_inputs_wish(message: _c.WatchPendingInputsRequest) -> WatchInputsWish:
    """Read what to watch. Raises InvalidArgument."""
    findings = Findings()
    kinds = enums.INPUT_KIND.all_from_wire(message.kinds, "kinds", findings)
    heartbeat = heartbeat_us(message, findings)
    findings.raise_any()
    return WatchInputsWish(InputWish(message.workflow_id, "", kinds), message.after_cursor, heartbeat)


def resolving(message: _c.ResolveApprovalRequest, findings: Findings) -> Resolving:
    decision = enums.DECISION.from_wire(message.decision, "decision", findings)
    edit = message.WhichOneof("edit")
    return Resolving(
        message.input_id,
        decision or Decision.REJECT,
        message.subject_sha256.lower(),
        message.reason,
        content(message.content, "content", findings) if edit == "content" else None,
        budget(message.budget, "budget", findings) if edit == "budget" else None,
    )


def retry_wish(message: task_service_pb2.RetryTaskRequest) -> RetryTaskWish:
    description = message.description if message.HasField("description") else None
    return RetryTaskWish(message.task_id, description, message.include_dependants)


def task_update(message: task_service_pb2.UpdateTaskRequest, findings: Findings) -> TaskChange:
    return TaskChange(
        message.task_id,
        description=message.description if message.HasField("description") else UNSET,
        priority=message.priority if message.HasField("priority") else UNSET,
        timeout_us=_timeout(message, "", findings),
    )


def plan_changes(message: workflow_service_pb2.EditPlanRequest, findings: Findings) -> tuple[PlanChange, ...]:
    found = (_edit(edit, f"edits[{at}]", findings) for at, edit in enumerate(message.edits))
    return tuple(edit for edit in found if edit is not None)


def labels(message: workflow_pb2.Labels) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(message.labels.items()))


def _edit(message: plan_edit_pb2.PlanEdit, at: str, findings: Findings) -> PlanChange | None:
    match message.WhichOneof("edit"):
        case "add":
            return new_task(message.add.task, f"{at}.add.task", findings)
        case "change":
            return _change(message.change, f"{at}.change", findings)
        case "remove":
            return RemoveTask(message.remove.task_id)
        case "set_dependencies":
            return SetDependencies(message.set_dependencies.task_id, tuple(message.set_dependencies.dependencies))
        case _:
            findings.add(at, "It is empty: set add, change, remove or set_dependencies.")
            return None


def _change(message: plan_edit_pb2.ChangeTask, at: str, findings: Findings) -> TaskChange:
    has = message.HasField
    return TaskChange(
        message.task_id,
        title=message.title if has("title") else UNSET,
        description=message.description if has("description") else UNSET,
        agent_id=message.agent_id if has("agent_id") else UNSET,
        priority=message.priority if has("priority") else UNSET,
        timeout_us=_timeout(message, f"{at}.", findings),
        max_attempts=(message.max_attempts or None) if has("max_attempts") else UNSET,
        optional=message.optional if has("optional") else UNSET,
        output_schema=message.output_schema if has("output_schema") else UNSET,
        needs_approval=message.needs_approval if has("needs_approval") else UNSET,
        budget=budget(message.budget, f"{at}.budget", findings) if has("budget") else UNSET,
    )


def _timeout(
    message: plan_edit_pb2.ChangeTask | task_service_pb2.UpdateTaskRequest, at: str, findings: Findings
) -> int | UnsetType | None:
    if not message.HasField("timeout"):
        return UNSET
    return duration_us(message.timeout, f"{at}timeout", findings) or None
