"""ORCS: a durable agent orchestrator behind gRPC.

The names for programs that embed it are loaded when they are used (PEP 562), so that the command line starts without the
Agents SDK. See `orcs_server.embed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orcs_server.agents.idempotence import idempotent
    from orcs_server.agents.people_tools import ask_user, propose_tasks
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
    "propose_tasks",
]


def __getattr__(name: str) -> Any:
    if name == "idempotent":
        from orcs_server.agents.idempotence import idempotent

        return idempotent
    if name in ("ask_user", "propose_tasks"):
        from orcs_server.agents import people_tools

        return getattr(people_tools, name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from orcs_server import embed

    return getattr(embed, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
