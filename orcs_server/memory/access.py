"""Memory as one agent sees it, at work for one workflow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from orcs_server.errors import PermissionDenied
from orcs_server.memory.memory import Memory
from orcs_server.memory.scopes import GLOBAL, workflow_scope

Place = Callable[[], Awaitable[tuple[Memory, str]]]
"""Gives the memory and the namespace to work in."""


class AgentContext:
    """What an agent may reach: the global scope, its workflow's, those of that workflow's tasks, and its own.

    Everything else raises PermissionDenied. Hand it to a run of the Agents SDK as its context, or as `RunContext.memory`.
    """

    def __init__(self, place: Place, agent_id: str, workflow_id: str, task_id: str = "") -> None:
        self.agent_id = agent_id
        self.workflow_id = workflow_id
        self.task_id = task_id
        self._place = place

    async def store(self, key: str, value: object, scope: str = GLOBAL) -> int:
        """Store a value and return its version."""
        memory, namespace = await self._enter(scope)
        return await memory.put(namespace, key, value, scope, writer=f"agent:{self.agent_id}")

    async def retrieve(self, key: str, scope: str = GLOBAL, default: object = None) -> Any:
        """Return a value, or the default where there is none."""
        memory, namespace = await self._enter(scope)
        return await memory.get(namespace, key, scope, default)

    async def delete(self, key: str, scope: str = GLOBAL) -> bool:
        """Delete a key; return whether there was one."""
        memory, namespace = await self._enter(scope)
        return await memory.delete(namespace, key, scope, writer=f"agent:{self.agent_id}")

    async def keys(self, scope: str = GLOBAL, prefix: str = "") -> list[str]:
        """Return the keys of a scope that begin so."""
        memory, namespace = await self._enter(scope)
        return await memory.keys(namespace, scope, prefix)

    async def _enter(self, scope: str) -> tuple[Memory, str]:
        own = (GLOBAL, workflow_scope(self.workflow_id), f"agent:{self.agent_id}")
        if scope not in own and not scope.startswith(f"task:{self.workflow_id}/"):
            raise PermissionDenied(
                "PERMISSION_DENIED",
                f"The agent {self.agent_id} may not use the scope {ascii(scope)[:100]}: use global, {own[1]}, {own[2]}, or the "
                "scope of a task of its workflow.",
            )
        return await self._place()
