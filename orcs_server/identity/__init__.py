"""Who acts, in which namespace, and how ids, times and tokens are made."""

from __future__ import annotations

from orcs_server.identity.caller import ROLES, Caller
from orcs_server.identity.clock import Clock
from orcs_server.identity.ids import LABEL_KEY, NAMESPACE, TASK_ID, WORKFLOW_ID, new_workflow_id

__all__ = [
    "LABEL_KEY",
    "NAMESPACE",
    "ROLES",
    "TASK_ID",
    "WORKFLOW_ID",
    "Caller",
    "Clock",
    "new_workflow_id",
]
