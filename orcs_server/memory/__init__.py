"""What workflows, tasks and agents remember: values under keys, within scopes, apart by namespace, with their history.

docs/memory.md says what is promised. `Memory` is what the service calls, `MemorySystem` what programs use that embed ORCS,
`AgentContext` what agents see.
"""

from __future__ import annotations

from orcs_server.memory.access import AccessControl, Actor, Permission, Refusal, Rule
from orcs_server.memory.changes import Check, Delete, Put
from orcs_server.memory.context import AgentContext
from orcs_server.memory.flow import ReadSet
from orcs_server.memory.memory import Memory
from orcs_server.memory.scopes import GLOBAL, agent_scope, shared_scope, task_scope, workflow_scope
from orcs_server.memory.system import MemorySystem
from orcs_server.memory.values import Value

__all__ = [
    "GLOBAL",
    "AccessControl",
    "Actor",
    "AgentContext",
    "Check",
    "Delete",
    "Memory",
    "MemorySystem",
    "Permission",
    "Put",
    "ReadSet",
    "Refusal",
    "Rule",
    "Value",
    "agent_scope",
    "shared_scope",
    "task_scope",
    "workflow_scope",
]
