"""What workflows, tasks and agents remember: values under keys, within scopes, apart by namespace, versioned by the store."""

from __future__ import annotations

from orcs_server.memory.access import AgentContext
from orcs_server.memory.memory import Memory
from orcs_server.memory.scopes import GLOBAL, task_scope, workflow_scope
from orcs_server.memory.system import MemorySystem

__all__ = ["GLOBAL", "AgentContext", "Memory", "MemorySystem", "task_scope", "workflow_scope"]
