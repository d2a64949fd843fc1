"""The calls about memory as it is now: entries, searches, statistics, a watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcs_client import memory_watch, requests
from orcs_client.calls import Calls, pages
from orcs_client.v1 import memory_pb2, memory_service_pb2
from orcs_client.v1.memory_service_pb2_grpc import MemoryServiceStub
from orcs_client.watching import HEARTBEAT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from orcs_client.errors import OrcsError
    from orcs_client.memory_watch import MemoryUpdate
    from orcs_client.requests import Content

_m, _s = memory_pb2, memory_service_pb2
GLOBAL = "global"


class MemoryCalls(Calls):
    """Reads and changes what agents and clients remember and share."""

    @property
    def _memory(self) -> MemoryServiceStub:
        return MemoryServiceStub(self._connection.unary)

    async def get_memory(
        self,
        key: str,
        *,
        scope: str = "",
        workflow_id: str = "",
        task_id: str = "",
        agent: str = "",
        version: int | None = None,
        as_of: datetime | Timestamp | None = None,
        as_of_cursor: str = "",
    ) -> _s.GetMemoryResponse:
        """Read an entry with its value: of a scope, now or as it was; or, without a scope, of the first of the task's, the
        workflow's, the agent's and the global scope that has the key.

        Raises `NotFound` if there is none or its time to live is over, `OutOfRange` if that past is no longer kept,
        `InvalidArgument` for more than one of `version`, `as_of` and `as_of_cursor`.
        """
        request = _s.GetMemoryRequest(scope=scope, key=key)
        if workflow_id or task_id or agent:
            request.context.CopyFrom(_m.MemoryContext(workflow_id=workflow_id, task_id=task_id, agent=agent))
        requests.check_one(version=version, as_of=as_of, as_of_cursor=as_of_cursor or None)
        if version is not None:
            request.version = version
        elif as_of is not None:
            request.as_of_time.CopyFrom(requests.timestamp("as_of", as_of))
        elif as_of_cursor:
            request.as_of_cursor = as_of_cursor
        return await self._connection.call(self._memory.GetMemory, request)

    async def put_memory(
        self,
        key: str,
        value: Content,
        *,
        scope: str = GLOBAL,
        ttl: float | None = None,
        expected_version: int | None = None,
        request_id: str | None = None,
    ) -> _s.PutMemoryResponse:
        """Store a text, bytes, or anything else as JSON, as a new version; it is gone after `ttl` seconds, if given.

        With an `expected_version` (0: the key must be absent) raises `Conflict` where it is another.
        """
        put = memory_put(key, value, scope=scope, ttl=ttl, expected_version=expected_version)
        request = _s.PutMemoryRequest(put=put, request_id=request_id or requests.new_request_id())
        return await self._connection.call(self._memory.PutMemory, request)

    async def delete_memory(
        self, key: str, *, scope: str = GLOBAL, expected_version: int | None = None, request_id: str | None = None
    ) -> _s.DeleteMemoryResponse:
        """Delete a key, if it is there; older versions stay. Raises `Conflict` as `put_memory` does."""
        delete = memory_delete(key, scope=scope, expected_version=expected_version)
        request = _s.DeleteMemoryRequest(delete=delete, request_id=request_id or requests.new_request_id())
        return await self._connection.call(self._memory.DeleteMemory, request)

    async def batch_memory(
        self,
        changes: Iterable[_m.MemoryPut | _m.MemoryDelete | _m.MemoryCheck | _m.MemoryChange],
        *,
        request_id: str | None = None,
    ) -> _s.BatchMemoryResponse:
        """Compare all that is to be compared, then carry out all changes, or none. Raises `Conflict`, whose `stale_keys` are those
        that were stale. `memory_put`, `memory_delete` and `memory_check` make changes.
        """
        request = _s.BatchMemoryRequest(
            changes=[_change(one) for one in changes], request_id=request_id or requests.new_request_id()
        )
        return await self._connection.call(self._memory.BatchMemory, request)

    async def share_memory(
        self, key: str, target_scope: str, *, scope: str = GLOBAL, request_id: str | None = None
    ) -> _s.ShareMemoryResponse:
        """Put a copy of an entry into another scope, under the same key."""
        request = _s.ShareMemoryRequest(
            scope=scope, key=key, target_scope=target_scope, request_id=request_id or requests.new_request_id()
        )
        return await self._connection.call(self._memory.ShareMemory, request)

    async def list_memory(
        self,
        scope: str = GLOBAL,
        *,
        prefix: str = "",
        as_of: datetime | Timestamp | None = None,
        as_of_cursor: str = "",
        page_size: int = 0,
    ) -> AsyncGenerator[_m.MemoryEntry, None]:
        """Yield a scope's entries, now or as they were, without their values, fetched page by page."""
        requests.check_one(as_of=as_of, as_of_cursor=as_of_cursor or None)
        request = _s.ListMemoryRequest(scope=scope, prefix=prefix, page_size=page_size)
        if as_of is not None:
            request.as_of_time.CopyFrom(requests.timestamp("as_of", as_of))
        elif as_of_cursor:
            request.as_of_cursor = as_of_cursor

        async def page(token: str) -> _s.ListMemoryResponse:
            request.page_token = token
            return await self._connection.call(self._memory.ListMemory, request)

        async for reply in pages(page):
            for entry in reply.entries:
                yield entry

    async def list_memory_scopes(self, prefix: str = "", *, page_size: int = 0) -> AsyncGenerator[_m.MemoryScope, None]:
        """Yield the scopes that hold anything and begin so, such as "workflow:", fetched page by page."""
        request = _s.ListMemoryScopesRequest(prefix=prefix, page_size=page_size)

        async def page(token: str) -> _s.ListMemoryScopesResponse:
            request.page_token = token
            return await self._connection.call(self._memory.ListMemoryScopes, request)

        async for reply in pages(page):
            for scope in reply.scopes:
                yield scope

    async def search_memory(
        self, query: str, *, scopes: Iterable[str] = (), any_word: bool = False, page_size: int = 0
    ) -> AsyncGenerator[_s.MemoryHit, None]:
        """Yield the entries that hold all words of a query, or any of them, the best first, fetched page by page."""
        request = _s.SearchMemoryRequest(query=query, scopes=tuple(scopes), any_word=any_word, page_size=page_size)

        async def page(token: str) -> _s.SearchMemoryResponse:
            request.page_token = token
            return await self._connection.call(self._memory.SearchMemory, request)

        async for reply in pages(page):
            for hit in reply.hits:
                yield hit

    async def get_memory_statistics(
        self, scope: str = "", *, page_size: int = 0, page_token: str = ""
    ) -> _s.GetMemoryStatisticsResponse:
        """Read which keys are read most and, with a scope, a page of its keys that were never read."""
        request = _s.GetMemoryStatisticsRequest(scope=scope, page_size=page_size, page_token=page_token)
        return await self._connection.call(self._memory.GetMemoryStatistics, request)

    async def get_access_rules(self, version: int = 0) -> _s.GetAccessRulesResponse:
        """Read the access rules of the namespace, the newest or those of a version."""
        request = _s.GetAccessRulesRequest(version=version)
        return await self._connection.call(self._memory.GetAccessRules, request)

    async def set_access_rules(
        self,
        rules: Iterable[_m.MemoryAccessRule],
        *,
        expected_version: int | None = None,
        request_id: str | None = None,
    ) -> _s.SetAccessRulesResponse:
        """Replace the access rules of the namespace. Raises `Conflict` where they are not at the expected version."""
        request = _s.SetAccessRulesRequest(
            rules=tuple(rules),
            expected_version=expected_version,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._connection.call(self._memory.SetAccessRules, request)

    def watch_memory(
        self,
        scope: str = "",
        *,
        prefix: str = "",
        after_cursor: str = "",
        heartbeat_interval: float = HEARTBEAT,
        reconnect_timeout: float | None = None,
        on_disconnect: Callable[[OrcsError], object] | None = None,
        on_reconnect: Callable[[], object] | None = None,
    ) -> AsyncGenerator[MemoryUpdate, None]:
        """Yield what is written after a cursor, or from now on, in order and once, without an end, over cuts as `watch` does.

        The first update comes as soon as the watch stands, and may be empty: whoever lists after it, and takes what the watch
        brings on top, misses nothing. Raises `OutOfRange` if what followed the cursor is no longer kept: watch anew, then list.
        """
        return memory_watch.watch_memory(
            self._connection,
            scope=scope,
            prefix=prefix,
            after_cursor=after_cursor,
            heartbeat_interval=heartbeat_interval,
            reconnect_timeout=reconnect_timeout,
            on_disconnect=on_disconnect,
            on_reconnect=on_reconnect,
        )


def memory_put(
    key: str,
    value: Content,
    *,
    scope: str = GLOBAL,
    ttl: float | None = None,
    expected_version: int | None = None,
) -> _m.MemoryPut:
    """Return what `put_memory` sends, to be part of a batch."""
    return _m.MemoryPut(
        scope=scope,
        key=key,
        value=requests.content_part("value", value),
        ttl=None if ttl is None else requests.seconds("ttl", ttl),
        expected_version=expected_version,
    )


def memory_delete(key: str, *, scope: str = GLOBAL, expected_version: int | None = None) -> _m.MemoryDelete:
    """Return what `delete_memory` sends, to be part of a batch."""
    return _m.MemoryDelete(scope=scope, key=key, expected_version=expected_version)


def memory_check(key: str, version: int, *, scope: str = GLOBAL) -> _m.MemoryCheck:
    """Return a condition of a batch: the key is at this version (0: it is absent)."""
    return _m.MemoryCheck(scope=scope, key=key, expected_version=version)


def _change(one: _m.MemoryPut | _m.MemoryDelete | _m.MemoryCheck | _m.MemoryChange) -> _m.MemoryChange:
    match one:
        case _m.MemoryPut():
            return _m.MemoryChange(put=one)
        case _m.MemoryDelete():
            return _m.MemoryChange(delete=one)
        case _m.MemoryCheck():
            return _m.MemoryChange(check=one)
        case _:
            return one
