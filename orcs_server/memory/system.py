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
from orcs_server.memory.access import Actor
from orcs_server.memory.context import AgentContext, check_names
from orcs_server.memory.memory import Memory
from orcs_server.memory.scopes import GLOBAL
from orcs_server.memory.shared_store import SharedStore, borrow, give_back
from orcs_server.memory.values import Value, decode, encode
from orcs_server.storage.store import Store

DEFAULT_NAMESPACE: Final = "default"
DEFAULT_FILE: Final = "embedded.db"
"""Beside the server's own data file, so that a server can run at the same time."""
PROGRAM: Final = Actor("program")
"""Who stores what the program stores."""


class MemorySystem:
    """Values under keys within scopes: `global`, `workflow:ID`, `task:WORKFLOW_ID/TASK_ID`, `agent:NAME`, `shared:NAME`.

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
            memory, self._shared, self._memory = self._memory, None, None
            if memory is not None:
                await memory.close()
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

    async def store(
        self,
        key: str,
        value: object,
        scope: str = GLOBAL,
        *,
        ttl_s: float | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Store text, bytes or a JSON value of at most 1 MiB; return the version's number: 1, 2, 3… within the key.

        After `ttl_s` seconds, if given, it is gone. With an `expected_version` (0: there is none yet) Conflict
        (MEMORY_VERSION_STALE) is raised where it is another. Raises InvalidArgument for a key, a scope or a value that is none,
        Unavailable when the storage does not answer.
        """
        memory, namespace = await self.place()
        ttl_us = None if ttl_s is None else round(ttl_s * 1_000_000)
        written = await memory.put(
            namespace, PROGRAM, key, encode(value), scope, ttl_us=ttl_us, expected=expected_version
        )
        return written.version

    async def retrieve(self, key: str, scope: str = GLOBAL, default: object = None) -> Any:
        """Return the newest value of a key, or the default where there is none."""
        memory, namespace = await self.place()
        found = await memory.get(namespace, PROGRAM, key, scope)
        return default if found is None else decode(Value(found.entry.media_type, found.value))

    async def delete(self, key: str, scope: str = GLOBAL) -> bool:
        """Delete a key; return whether there was one."""
        memory, namespace = await self.place()
        return (await memory.delete(namespace, PROGRAM, key, scope)).version > 0

    async def keys(self, scope: str = GLOBAL, prefix: str = "") -> list[str]:
        """Return all keys of a scope that begin so, in the order of their UTF-8 bytes."""
        memory, namespace = await self.place()
        return await memory.keys(namespace, PROGRAM, scope, prefix)

    async def search(self, query: str, scope: str = "", *, limit: int = 20) -> list[tuple[str, str, str]]:
        """Return (scope, key, the part around the words) of the best of the texts that hold all words of a query."""
        memory, namespace = await self.place()
        scopes = (scope,) if scope else ()
        found = await memory.search(namespace, PROGRAM, query, scopes, limit=limit)
        return [(one.entry.scope, one.entry.key, one.snippet) for one in found]

    def create_agent_context(self, agent_id: str, workflow_id: str, task_id: str = "") -> AgentContext:
        """Return what this agent may see of the memory while it works for the workflow."""
        check_names(agent_id, workflow_id, task_id)
        return AgentContext(self.place, agent_id, workflow_id, task_id)

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

    async def place(self) -> tuple[Memory, str]:
        """Return memory with all that it can do (history, snapshots, rules, watching), and the namespace to name to it."""
        store: Store = (await self.shared()).store
        if self._memory is None:
            self._memory = Memory(store)
        return self._memory, await self.namespace()
