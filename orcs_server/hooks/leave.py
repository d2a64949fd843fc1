"""What an agent at work may do: asked of the authorization hook that was made for "agent X for principal Y"."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from orcs_server.errors import PermissionDenied
from orcs_server.hooks.guarded import GuardedHooks
from orcs_server.hooks.nulls import ALLOW_ALL, HookSet
from orcs_server.hooks.protocols import Origin
from orcs_server.identity import Caller

RUN_OPERATION = "agents.run"
"""Asked before an agent works for a caller; the resource is the agent's id."""
TOOL_OPERATION = "tools.call"
"""Asked before an agent's tool is called; the resource is the tool's name."""

AGENT_OPERATIONS = (
    RUN_OPERATION,
    TOOL_OPERATION,
    "memory.read",
    "memory.write",
    "memory.delete",
    "memory.share",
    "memory.revert",
)
"""All that is asked for agents; docs/hooks.md says when."""


class AgentLeave:
    """Asks, for one attempt of one agent, before each thing that it does. Fails closed."""

    def __init__(self, guarded: GuardedHooks, hooks: HookSet, agent_id: str) -> None:
        self._guarded = guarded
        self._hooks = hooks
        self._agent_id = agent_id

    async def require(self, operation: str, resource_id: str) -> None:
        """Return if the agent may do this. Raises PermissionDenied if not, and also if the hook fails."""
        if not await self._guarded.permitted(self._hooks, operation, (resource_id,)):
            raise PermissionDenied(
                "PERMISSION_DENIED", f"the agent {self._agent_id} may not {operation} {resource_id} here."
            )

    async def permitted(self, operation: str, resource_ids: Sequence[str]) -> frozenset[str]:
        """Return those that the agent may use. Raises PermissionDenied if the hook fails."""
        named = list(dict.fromkeys(resource_ids))
        return frozenset(await self._guarded.permitted(self._hooks, operation, named) if named else ())


async def agent_leave(guarded: GuardedHooks, caller: Caller, agent_id: str, origin: Origin) -> AgentLeave | None:
    """Return the leave with which an agent works for a caller; None where nobody needs to be asked.

    Raises PermissionDenied where the agent may not run for the caller, Unavailable where the factory fails.
    """
    if guarded.silent:
        return None
    hooks = await guarded.hooks_for(replace(caller, agent=agent_id), origin)
    if hooks.authorization is ALLOW_ALL:
        return None
    leave = AgentLeave(guarded, hooks, agent_id)
    await leave.require(RUN_OPERATION, agent_id)
    return leave
