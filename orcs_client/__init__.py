"""The Python client of ORCS: the generated messages and stubs in `orcs_client.v1`, and a typed client over them."""

import os

# gRPC's core writes its own log to standard error, many lines for each failed handshake. Errors say it in a sentence; whoever wants
# the log sets the variable. It is read when gRPC is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from orcs_client.blocking import BlockingOrcsClient
from orcs_client.client import OrcsClient, Outcome
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
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Violation,
    WorkflowNotCompleted,
)
from orcs_client.plans import PlanTaskFields, load_plan, parse_plan, plan
from orcs_client.requests import WorkflowOptions
from orcs_client.v1.workflow_service_pb2 import Delta
from orcs_client.watching import Event, Snapshot, WatchItem, WorkflowsUpdate

__all__ = [
    "AlreadyExists",
    "BlockingOrcsClient",
    "Conflict",
    "DeadlineExceeded",
    "Delta",
    "Event",
    "GapError",
    "IllegalTransition",
    "InternalError",
    "InvalidArgument",
    "NotFound",
    "OrcsClient",
    "OrcsError",
    "OutOfRange",
    "Outcome",
    "PermissionDenied",
    "PlanTaskFields",
    "ResourceExhausted",
    "SettingsError",
    "Snapshot",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Violation",
    "WatchItem",
    "WorkflowNotCompleted",
    "WorkflowOptions",
    "WorkflowsUpdate",
    "load_plan",
    "parse_plan",
    "plan",
]
