"""`MemorySystem`: memory for programs that embed ORCS. It owns the data file, which holds their workflows too."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from orcs_server.config import Settings
from orcs_server.errors import InvalidArgument
from orcs_server.hooks.protocols import IsolationHook
from orcs_server.identity import NAMESPACE
from orcs_server.memory.access import AgentContext
from orcs_server.memory.memory import Memory
from orcs_server.memory.scopes import GLOBAL, check_scope, workflow_scope
from orcs_server.memory.shared_store import SharedStore, borrow, give_back
from orcs_server.storage.store import Store

DEFAULT_NAMESPACE: Final = "default"
DEFAULT_FILE: Final = "embedded.db"
"""Beside the server's own data file, so that a server can run at the same time."""
WRITER: Final = "program"


class MemorySystem:
    """Values under keys within scopes: `global`, `workflow:ID`, `task:WORKFLOW_ID/TASK_ID`, `agent:NAME`.

    Several of them may share one `path` in a process (in one event loop); another process, a server say, may not have the
    file open meanwhile. The `isolation_provider`'s prefix is the namespace: its users see nothing of each other. Without one
    the namespace is `default`. The file is opened by the first use and closed by `close`, at the end of an `async with`, or,
    if both were forgotten, together with the event loop.
    """

    def __init__(self, path: Path | str | None = None, isolation_provider: IsolationHook | None = None) -> None:
        """Use this data file; without one, `embedded.db` in the data folder of the user. Nothing is opened yet."""
        self._path = (Settings.load().data.with_name(DEFAULT_FILE) if path is None else Path(path)).resolve()
        self._isolation = isolation_provider
        self._shared: SharedStore | None = None
        self._memory: Memory | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None

    async def __aenter__(self) -> Self:
        await self.shared()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the data file. May be repeated; the next use opens it again."""
        if self._shared is not None and self._loop is asyncio.get_running_loop():
            self._shared = self._memory = None
            await give_back(self._path)

    async def namespace(self) -> str:
        """Return the namespace that the isolation provider gives now. Raises InvalidArgument for a prefix that is none."""
        if self._isolation is None:
            return DEFAULT_NAMESPACE
        prefix: object = self._isolation.get_isolation_prefix()
        if inspect.isawaitable(prefix):
            prefix = await prefix
        if not isinstance(prefix, str) or not NAMESPACE.fullmatch(prefix):
            raise InvalidArgument(
                "FIELD_INVALID",
                f"The isolation provider's prefix {ascii(prefix)[:100]} is no namespace: use 1 to 128 letters, digits and "
                "._:-, a letter or digit first.",
            )
        return prefix

    async def store(self, key: str, value: object, scope: str = GLOBAL) -> int:
        """Store text, bytes or a JSON value of at most 1 MiB; return the version's number: 1, 2, 3… within the key.

        Raises InvalidArgument for a key, a scope or a value that is none, Unavailable when the storage does not answer.
        """
        memory, namespace = await self._place()
        return await memory.put(namespace, key, value, scope, writer=WRITER)

    async def retrieve(self, key: str, scope: str = GLOBAL, default: object = None) -> Any:
        """Return the newest value of a key, or the default where there is none."""
        memory, namespace = await self._place()
        return await memory.get(namespace, key, scope, default)

    async def delete(self, key: str, scope: str = GLOBAL) -> bool:
        """Delete a key; return whether there was one."""
        memory, namespace = await self._place()
        return await memory.delete(namespace, key, scope, writer=WRITER)

    async def keys(self, scope: str = GLOBAL, prefix: str = "") -> list[str]:
        """Return all keys of a scope that begin so."""
        memory, namespace = await self._place()
        return await memory.keys(namespace, scope, prefix)

    def create_agent_context(self, agent_id: str, workflow_id: str, task_id: str = "") -> AgentContext:
        """Return what this agent may see of the memory while it works for the workflow."""
        check_scope(f"agent:{agent_id}")
        check_scope(workflow_scope(workflow_id))
        return AgentContext(self._place, agent_id, workflow_id, task_id)

    async def shared(self) -> SharedStore:
        """Return the data file, open. Raises StartupError where it cannot be opened."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._opening is None:
            self._loop, self._opening, self._shared, self._memory = loop, asyncio.Lock(), None, None
        async with self._opening:
            if self._shared is None:
                self._shared = await borrow(self._path)
                self._memory = None
            return self._shared

    async def _place(self) -> tuple[Memory, str]:
        store: Store = (await self.shared()).store
        if self._memory is None:
            self._memory = Memory(store)
        return self._memory, await self.namespace()
