"""The Python client of ORCS: the generated messages and stubs in `orcs_client.v1`, and a typed client over them."""

import os

# gRPC's core writes its own log to standard error, many lines for each failed handshake. Errors say it in a sentence; whoever wants
# the log sets the variable. It is read when gRPC is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from orcs_client.access_rules import load_access_rules, parse_access_rules
from orcs_client.agent_calls import load_agent, parse_agent
from orcs_client.blocking import BlockingOrcsClient
from orcs_client.client import OrcsClient, Outcome
from orcs_client.edits import (
    PlanEdit,
    TaskChanges,
    add_task,
    change_task,
    load_edits,
    parse_edits,
    remove_task,
    set_dependencies,
)
from orcs_client.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    GapError,
    IllegalTransition,
    InternalError,
    InvalidArgument,
    NotFound,
    OrcsError,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    SettingsError,
    StaleKey,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Violation,
    WorkflowNotCompleted,
)
from orcs_client.inbox import InputsUpdate
from orcs_client.memory_calls import memory_check, memory_delete, memory_put
from orcs_client.memory_watch import MemoryUpdate
from orcs_client.plans import PlanTaskFields, load_plan, parse_plan, plan
from orcs_client.requests import Content, WorkflowOptions, budget
from orcs_client.v1.workflow_service_pb2 import Delta
from orcs_client.watching import Event, Snapshot, WatchItem, WorkflowsUpdate

__all__ = [
    "AlreadyExists",
    "BlockingOrcsClient",
    "Conflict",
    "Content",
    "DeadlineExceeded",
    "Delta",
    "Event",
    "GapError",
    "IllegalTransition",
    "InputsUpdate",
    "InternalError",
    "InvalidArgument",
    "MemoryUpdate",
    "NotFound",
    "OrcsClient",
    "OrcsError",
    "OutOfRange",
    "Outcome",
    "PermissionDenied",
    "PlanEdit",
    "PlanTaskFields",
    "ResourceExhausted",
    "SettingsError",
    "Snapshot",
    "StaleKey",
    "TaskChanges",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Violation",
    "WatchItem",
    "WorkflowNotCompleted",
    "WorkflowOptions",
    "WorkflowsUpdate",
    "add_task",
    "budget",
    "change_task",
    "load_access_rules",
    "load_agent",
    "load_edits",
    "load_plan",
    "memory_check",
    "memory_delete",
    "memory_put",
    "parse_access_rules",
    "parse_agent",
    "parse_edits",
    "parse_plan",
    "plan",
    "remove_task",
    "set_dependencies",
]
