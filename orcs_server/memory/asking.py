"""Memory for an agent at work: before each access the operator's authorization hook is asked, as for a client's call, with the
scope as the resource. The access rules hold beside it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final

from orcs_server.errors import PermissionDenied
from orcs_server.hooks.leave import AgentLeave
from orcs_server.memory.access import AccessControl, Actor, Permission
from orcs_server.memory.flow import ReadSet
from orcs_server.memory.history import History
from orcs_server.memory.inventory import ScopePage
from orcs_server.memory.memory import Change, Check, Delete, Found, Memory, Put
from orcs_server.storage.memory_rows import Changes, KeyReads, Listed, MemorySnapshot, MemoryValue, Written

READ: Final = "memory.read"
WRITE: Final = "memory.write"
ANY_SCOPE: Final = "*"
_OPERATIONS: Final = {Put: WRITE, Delete: "memory.delete", Check: READ}
_PERMISSIONS: Final = {
    READ: Permission.READ,
    WRITE: Permission.WRITE,
    "memory.delete": Permission.DELETE,
    "memory.share": Permission.SHARE,
}


class _Asking:
    """Asks, and has refusals told like those of the access rules."""

    def __init__(self, leave: AgentLeave, access: AccessControl) -> None:
        self.leave = leave
        self._access = access

    async def require(self, namespace: str, actor: Actor, operation: str, scope: str) -> None:
        try:
            await self.leave.require(operation, scope)
        except PermissionDenied:
            view = await self._access.view(namespace, actor)
            view.refuse(_PERMISSIONS.get(operation, operation), scope, "")
            raise

    async def permitted(self, scopes: Sequence[str]) -> frozenset[str]:
        return await self.leave.permitted(READ, scopes)


def _asked(operation: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a method of the history ask for its `scope` before it does anything."""

    def asking(method: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(method)

        @wraps(method)
        async def asked(self: AskingHistory, *arguments: Any, **named: Any) -> Any:
            given = signature.bind(self, *arguments, **named).arguments
            await self.asking.require(given["namespace"], given["actor"], operation, given.get("scope") or ANY_SCOPE)
            return await method(self, *arguments, **named)

        return asked

    return asking


class AskingHistory(History):
    """What was, for an agent at work."""

    asking: _Asking

    get = _asked(READ)(History.get)
    page = _asked(READ)(History.page)
    versions = _asked(READ)(History.versions)
    create_snapshot = _asked(WRITE)(History.create_snapshot)
    delete_snapshot = _asked("memory.delete")(History.delete_snapshot)
    compare = _asked(READ)(History.compare)
    restore = _asked("memory.revert")(History.restore)
    revert = _asked("memory.revert")(History.revert)
    never_read = _asked(READ)(History.never_read)

    async def snapshots(
        self, namespace: str, actor: Actor, scope: str = "", before: int | None = None, limit: int = 500
    ) -> list[MemorySnapshot]:
        """Return those of scopes that the agent may read."""
        if scope:
            await self.asking.require(namespace, actor, READ, scope)
        found = await super().snapshots(namespace, actor, scope, before, limit)
        visible = await self.asking.permitted([one.scope for one in found])
        return [one for one in found if one.scope in visible]

    async def scopes(
        self, namespace: str, actor: Actor, prefix: str = "", after: str = "", limit: int = 500
    ) -> ScopePage:
        """Return those that the agent may read."""
        page = await super().scopes(namespace, actor, prefix, after, limit)
        visible = await self.asking.permitted([one.scope for one in page.scopes])
        return page._replace(scopes=[one for one in page.scopes if one.scope in visible])

    async def hot(self, namespace: str, actor: Actor, limit: int = 20) -> list[KeyReads]:
        """Return those of scopes that the agent may read."""
        found = await super().hot(namespace, actor, limit)
        visible = await self.asking.permitted([one.scope for one in found])
        return [one for one in found if one.scope in visible]


class AskingMemory(Memory):
    """The same memory, which asks before it answers. What the hook does not permit is refused, or left out where it was not named."""

    def __init__(self, memory: Memory, leave: AgentLeave) -> None:
        # Another face of the same memory, as `bound` is: nothing is opened, counted or closed twice.
        self.__dict__.update(vars(memory))
        self._asking = _Asking(leave, memory.access)
        history = AskingHistory.__new__(AskingHistory)
        history.__dict__.update(vars(memory.history))
        history.asking = self._asking
        self.history = history

    async def visible(self, scopes: Sequence[str]) -> Sequence[str]:
        """Return those of the scopes that the hook lets the agent read."""
        permitted = await self._asking.permitted(scopes)
        return [scope for scope in scopes if scope in permitted]

    async def get(
        self,
        namespace: str,
        actor: Actor,
        key: str,
        scope: str = "",
        reads: ReadSet | None = None,
        *,
        among: Sequence[str] | None = None,
    ) -> MemoryValue | None:
        """Return a value from a scope that the agent may read; without one, from the first such scope that has it."""
        if scope:
            await self._asking.require(namespace, actor, READ, scope)
        else:
            among = await self.visible(actor.scopes if among is None else among)
        return await super().get(namespace, actor, key, scope, reads, among=among)

    async def page(
        self,
        namespace: str,
        actor: Actor,
        scope: str,
        prefix: str = "",
        after: str = "",
        limit: int = 500,
        reads: ReadSet | None = None,
    ) -> Listed:
        """Return a page of a scope that the agent may read."""
        await self._asking.require(namespace, actor, READ, scope)
        return await super().page(namespace, actor, scope, prefix, after, limit, reads)

    async def search(
        self,
        namespace: str,
        actor: Actor,
        query: str,
        scopes: Sequence[str] = (),
        *,
        any_word: bool = False,
        offset: int = 0,
        limit: int = 20,
        reads: ReadSet | None = None,
    ) -> list[Found]:
        """Return the best of what the agent may read. Of scopes that are named, all must be permitted."""
        for scope in scopes:
            await self._asking.require(namespace, actor, READ, scope)
        named = tuple(scopes)
        if not named:
            readable = (await self.access.view(namespace, actor)).readable()
            if readable is not None:
                named = tuple(await self.visible(readable))
                if not named:
                    return []
        found = await super().search(
            namespace, actor, query, named, any_word=any_word, offset=offset, limit=limit, reads=None
        )
        if not named:
            visible = await self._asking.permitted([hit.entry.scope for hit in found])
            found = [hit for hit in found if hit.entry.scope in visible]
        if reads is not None:
            for hit in found:
                reads.entry(hit.entry)
        return found

    async def batch(
        self, namespace: str, actor: Actor, changes: Sequence[Change], reads: ReadSet | None = None, call: str = ""
    ) -> list[Written]:
        """Carry out changes, all of which the agent may make."""
        wanted: dict[tuple[str, str], None] = {}
        for change in changes:
            wanted[_OPERATIONS[type(change)], change.scope] = None
            if change.expected is not None:
                # Whether it is the expected version tells what is there.
                wanted[READ, change.scope] = None
        for operation, scope in wanted:
            await self._asking.require(namespace, actor, operation, scope)
        return await super().batch(namespace, actor, changes, reads, call)

    async def share(
        self, namespace: str, actor: Actor, key: str, scope: str, target: str, reads: ReadSet | None = None
    ) -> Written:
        """Copy an entry that the agent may share to where it may write."""
        for operation, one in ((READ, scope), ("memory.share", scope), (WRITE, target)):
            await self._asking.require(namespace, actor, operation, one)
        return await super().share(namespace, actor, key, scope, target, reads)

    async def changes(
        self, namespace: str, actor: Actor, after: int, scope: str = "", prefix: str = "", limit: int = 500
    ) -> Changes:
        """Return a piece of the log, as far as the agent may read it."""
        if scope:
            await self._asking.require(namespace, actor, READ, scope)
        piece = await super().changes(namespace, actor, after, scope, prefix, limit)
        visible = await self._asking.permitted([one.scope for one in piece.versions])
        return Changes([one for one in piece.versions if one.scope in visible], piece.position)
