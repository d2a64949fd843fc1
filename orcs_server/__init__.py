"""ORCS: a durable agent orchestrator behind gRPC.

The names for programs that embed it are loaded when they are used (PEP 562), so that the command line starts without the
Agents SDK. See `orcs_server.embed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orcs_server.agents.idempotence import idempotent
    from orcs_server.agents.memory_tools import memory_delete, memory_get, memory_list, memory_put, memory_search
    from orcs_server.agents.people_tools import ask_user, propose_tasks
    from orcs_server.agents.sensitivity import sensitive, trusted
    from orcs_server.embed import (
        MemorySystem,
        ORCSRunHooks,
        PlannerAgent,
        PlanningFailed,
        Task,
        TaskStatus,
        Workflow,
        WorkflowController,
        WorkflowOrchestrator,
        WorkflowStatus,
        create_planner_agent,
    )

__all__ = [
    "MemorySystem",
    "ORCSRunHooks",
    "PlannerAgent",
    "PlanningFailed",
    "Task",
    "TaskStatus",
    "Workflow",
    "WorkflowController",
    "WorkflowOrchestrator",
    "WorkflowStatus",
    "ask_user",
    "create_planner_agent",
    "idempotent",
    "memory_delete",
    "memory_get",
    "memory_list",
    "memory_put",
    "memory_search",
    "propose_tasks",
    "sensitive",
    "trusted",
]
_MEMORY_TOOLS = frozenset({"memory_delete", "memory_get", "memory_list", "memory_put", "memory_search"})


def __getattr__(name: str) -> Any:
    if name == "idempotent":
        from orcs_server.agents.idempotence import idempotent

        return idempotent
    if name in ("sensitive", "trusted"):
        from orcs_server.agents import sensitivity

        return getattr(sensitivity, name)
    if name in _MEMORY_TOOLS:
        from orcs_server.agents import memory_tools

        return getattr(memory_tools, name)
    if name in ("ask_user", "propose_tasks"):
        from orcs_server.agents import people_tools

        return getattr(people_tools, name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from orcs_server import embed

    return getattr(embed, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
