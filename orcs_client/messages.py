"""The messages and enums that programs name most, without the modules that they were generated into, and how both are
written for people and for other programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from orcs_client.errors import InvalidArgument, Violation
from orcs_client.v1.agent_service_pb2 import Agent, AgentDeclaration, AgentSource
from orcs_client.v1.audit_service_pb2 import AuditHead, AuditRecord
from orcs_client.v1.common_pb2 import Failure, Part, Usage
from orcs_client.v1.explanation_pb2 import (
    AttemptEnding,
    AttemptSummary,
    Cost,
    Explanation,
    Reason,
    ReasonCode,
    TaskExplanation,
)
from orcs_client.v1.memory_pb2 import (
    MemoryAccessRule,
    MemoryChange,
    MemoryCheck,
    MemoryDelete,
    MemoryEntry,
    MemoryPermission,
    MemorySnapshot,
    MemoryTrust,
)
from orcs_client.v1.plan_edit_pb2 import PlanChanges, PlanRevision
from orcs_client.v1.system_service_pb2 import Problem, ProblemCode
from orcs_client.v1.task_service_pb2 import RetryTaskResponse
from orcs_client.v1.usage_service_pb2 import DailyUsage, GetUsageResponse, Quota, QuotaKind
from orcs_client.v1.workflow_pb2 import (
    ApprovalPolicy,
    Budget,
    Decision,
    Execution,
    FailurePolicy,
    GraphFormat,
    InputResolution,
    MessageMode,
    OutputFormat,
    PendingInput,
    PendingInputKind,
    Plan,
    PlanningStrategy,
    PlanSource,
    PlanTask,
    StopMode,
    SubjectTask,
    Task,
    TaskCounts,
    TaskState,
    Workflow,
    WorkflowState,
    WorkflowSummary,
)
from orcs_client.v1.workflow_service_pb2 import Delta, WatchWorkflowResponse, WorkflowSnapshot
from orcs_client.watching import Event, Snapshot

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.message import Message

    from orcs_client.watching import WatchItem

__all__ = [
    "Agent",
    "AgentDeclaration",
    "AgentSource",
    "ApprovalPolicy",
    "AttemptEnding",
    "AttemptSummary",
    "AuditHead",
    "AuditRecord",
    "Budget",
    "Cost",
    "DailyUsage",
    "Decision",
    "Execution",
    "Explanation",
    "Failure",
    "FailurePolicy",
    "GetUsageResponse",
    "GraphFormat",
    "InputResolution",
    "MemoryAccessRule",
    "MemoryChange",
    "MemoryCheck",
    "MemoryDelete",
    "MemoryEntry",
    "MemoryPermission",
    "MemorySnapshot",
    "MemoryTrust",
    "MessageMode",
    "OutputFormat",
    "Part",
    "PendingInput",
    "PendingInputKind",
    "Plan",
    "PlanChanges",
    "PlanRevision",
    "PlanSource",
    "PlanTask",
    "PlanningStrategy",
    "Problem",
    "ProblemCode",
    "Quota",
    "QuotaKind",
    "Reason",
    "ReasonCode",
    "RetryTaskResponse",
    "StopMode",
    "SubjectTask",
    "Task",
    "TaskCounts",
    "TaskExplanation",
    "TaskState",
    "Usage",
    "Workflow",
    "WorkflowState",
    "WorkflowSummary",
    "message_to_dict",
    "short_name",
    "value_named",
    "watch_item_to_dict",
]

V = TypeVar("V", bound=int)


class WireEnum(Protocol[V]):
    """What all generated enums have in common."""

    DESCRIPTOR: EnumDescriptor

    def items(self) -> list[tuple[str, V]]: ...


def short_name(enum: WireEnum[V], value: V) -> str:
    """Return a value's name without its enum's prefix, such as `RUNNING`; the number where a newer server sent one that this
    client does not know.
    """
    descriptor = enum.DESCRIPTOR.values_by_number.get(value)
    return str(int(value)) if descriptor is None else descriptor.name.removeprefix(_prefix(enum))


def value_named(enum: WireEnum[V], name: str) -> V:
    """Return the value that has this short name, in capitals or not, with `-` or `_`. Raises `InvalidArgument` with all names."""
    prefix = _prefix(enum)
    wanted = name.upper().replace("-", "_")
    for known, value in enum.items():
        if value and known == f"{prefix}{wanted}":
            return value
    field = prefix.removesuffix("_").lower()
    names = ", ".join(known.removeprefix(prefix).lower() for known, value in enum.items() if value)
    description = f"{name[:80]!r} is none of {names}"
    raise InvalidArgument(
        f"{field}: {description}", reason="FIELD_INVALID", violations=(Violation(field, description),)
    )


def message_to_dict(message: Message) -> dict[str, Any]:
    """Return a message as protojson has it, with the fields named as in the protos; fields without a value are left out."""
    from google.protobuf import json_format  # most programs never need it

    fields: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return fields


def watch_item_to_dict(item: WatchItem) -> dict[str, Any]:
    """Return an item of a watch as the `WatchWorkflowResponse` that would bring it alone; its `cursor` is the one to go on after."""
    match item:
        case Snapshot():
            snapshot = WorkflowSnapshot(workflow=item.workflow, tasks=item.tasks)
            return message_to_dict(WatchWorkflowResponse(snapshot=snapshot, snapshot_complete=True, cursor=item.cursor))
        case Event():
            return message_to_dict(WatchWorkflowResponse(events=[item.message], cursor=item.cursor))
        case Delta():
            return message_to_dict(WatchWorkflowResponse(deltas=[item]))


def _prefix(enum: WireEnum[V]) -> str:
    name = enum.DESCRIPTOR.name
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name).lstrip("_") + "_"
