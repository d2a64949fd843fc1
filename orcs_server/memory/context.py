"""Memory as one agent sees it, at work for one workflow, in Python's own values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from orcs_server.memory.access import Actor
from orcs_server.memory.flow import ReadSet
from orcs_server.memory.memory import Found, Memory
from orcs_server.memory.scopes import agent_scope, check_scope, task_scope, workflow_scope
from orcs_server.memory.values import Value, decode, encode
from orcs_server.storage.memory_rows import MemoryValue

Where = Callable[[], Awaitable[tuple[Memory, str]]]
"""Gives the memory and the namespace to work in."""


class AgentContext:
    """What an agent may reach: it reads its task's scope, its workflow's, its own and `global`, and writes the first two.

    Everything else raises PermissionDenied, unless the access rules grant it. Hand it to a run of the Agents SDK as its
    context, or as `RunContext.memory`. `reads` is what it has read so far: it decides how far what it writes is trusted.
    """

    def __init__(
        self,
        where: Where,
        agent_id: str,
        workflow_id: str,
        task_id: str = "",
        *,
        attempt: int = 0,
        principal: str = "",
        reads: ReadSet | None = None,
    ) -> None:
        self.agent_id = agent_id
        self.workflow_id = workflow_id
        self.task_id = task_id
        self.actor = Actor(principal, agent_id, workflow_id, task_id, attempt)
        self.reads = ReadSet() if reads is None else reads
        self._where = where

    async def store(self, key: str, value: object, scope: str = "", *, expected_version: int | None = None) -> int:
        """Store a value and return its version: in the workflow's scope, which its other tasks read, if none is named.

        With an `expected_version` (0: there is none yet) Conflict (MEMORY_VERSION_STALE) is raised where it is another.
        """
        memory, namespace = await self._where()
        written = await memory.put(
            namespace, self.actor, key, encode(value), scope or self._own, expected=expected_version, reads=self.reads
        )
        return written.version

    async def retrieve(self, key: str, scope: str = "", default: object = None) -> Any:
        """Return a value, or the default where there is none.

        Without a scope it is looked for in those of the task, the workflow, the agent and in `global`, in this order.
        """
        found = await self.entry(key, scope)
        return default if found is None else decode(Value(found.entry.media_type, found.value))

    async def entry(self, key: str, scope: str = "") -> MemoryValue | None:
        """Return a value with all that is known of it."""
        memory, namespace = await self._where()
        return await memory.get(namespace, self.actor, key, scope, self.reads)

    async def delete(self, key: str, scope: str = "") -> bool:
        """Delete a key, in the workflow's scope if none is named; return whether there was one."""
        memory, namespace = await self._where()
        written = await memory.delete(namespace, self.actor, key, scope or self._own, reads=self.reads)
        return written.version > 0

    async def keys(self, scope: str = "", prefix: str = "") -> list[str]:
        """Return the keys of a scope that begin so, of the workflow's if none is named."""
        memory, namespace = await self._where()
        return await memory.keys(namespace, self.actor, scope or self._own, prefix, self.reads)

    async def search(self, query: str, *, limit: int = 10) -> list[Found]:
        """Return the best of the entries that hold any of these words, among all that the agent may read."""
        memory, namespace = await self._where()
        return await memory.search(namespace, self.actor, query, any_word=True, limit=limit, reads=self.reads)

    async def place(self) -> tuple[Memory, str]:
        """Return the memory and the namespace to work in."""
        return await self._where()

    @property
    def _own(self) -> str:
        return workflow_scope(self.workflow_id)


def check_names(agent_id: str, workflow_id: str, task_id: str) -> None:
    """Raise InvalidArgument (FIELD_INVALID) for names that no agent, workflow or task can have."""
    check_scope(agent_scope(agent_id), "agent_id")
    check_scope(workflow_scope(workflow_id), "workflow_id")
    if task_id:
        check_scope(task_scope(workflow_id, task_id), "task_id")
