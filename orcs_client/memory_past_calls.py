"""The calls about memory's past: versions, snapshots, the ways back, erasing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcs_client import requests
from orcs_client.calls import Calls, pages
from orcs_client.memory_calls import GLOBAL
from orcs_client.v1 import memory_pb2, memory_service_pb2
from orcs_client.v1.memory_service_pb2_grpc import MemoryServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_m, _s = memory_pb2, memory_service_pb2
SLICES_TIMEOUT = 600.0
"""Seconds for what goes over many entries."""


class MemoryPastCalls(Calls):
    """Shows memory's past, and leads back to it."""

    @property
    def _past(self) -> MemoryServiceStub:
        return MemoryServiceStub(self._connection.unary)

    async def list_memory_versions(
        self, key: str, *, scope: str = GLOBAL, page_size: int = 0
    ) -> AsyncGenerator[_m.MemoryEntry, None]:
        """Yield a key's versions, the newest first, deletions included, without values, fetched page by page."""
        request = _s.ListMemoryVersionsRequest(scope=scope, key=key, page_size=page_size)

        async def page(token: str) -> _s.ListMemoryVersionsResponse:
            request.page_token = token
            return await self._connection.call(self._past.ListMemoryVersions, request)

        async for reply in pages(page):
            for entry in reply.versions:
                yield entry

    async def create_snapshot(
        self, scope: str = GLOBAL, *, title: str = "", request_id: str | None = None
    ) -> _s.CreateSnapshotResponse:
        """Remember a scope as it is now."""
        request = _s.CreateSnapshotRequest(scope=scope, title=title, request_id=request_id or requests.new_request_id())
        return await self._connection.call(self._past.CreateSnapshot, request)

    async def list_snapshots(self, scope: str = "", *, page_size: int = 0) -> AsyncGenerator[_m.MemorySnapshot, None]:
        """Yield the snapshots of a scope, or of all, the newest first, fetched page by page."""
        request = _s.ListSnapshotsRequest(scope=scope, page_size=page_size)

        async def page(token: str) -> _s.ListSnapshotsResponse:
            request.page_token = token
            return await self._connection.call(self._past.ListSnapshots, request)

        async for reply in pages(page):
            for snapshot in reply.snapshots:
                yield snapshot

    async def delete_snapshot(
        self, snapshot: int, *, scope: str = GLOBAL, request_id: str | None = None
    ) -> _s.DeleteSnapshotResponse:
        """Forget a snapshot."""
        request = _s.DeleteSnapshotRequest(
            scope=scope, snapshot=snapshot, request_id=request_id or requests.new_request_id()
        )
        return await self._connection.call(self._past.DeleteSnapshot, request)

    async def compare_snapshots(
        self, from_snapshot: int, to_snapshot: int = 0, *, scope: str = GLOBAL, page_size: int = 0
    ) -> AsyncGenerator[_m.MemoryDifference, None]:
        """Yield what differs between two snapshots of a scope, or, without the second, between one and now."""
        request = _s.CompareSnapshotsRequest(
            scope=scope, from_snapshot=from_snapshot, to_snapshot=to_snapshot, page_size=page_size
        )

        async def page(token: str) -> _s.CompareSnapshotsResponse:
            request.page_token = token
            return await self._connection.call(self._past.CompareSnapshots, request)

        async for reply in pages(page):
            for difference in reply.differences:
                yield difference

    async def restore_snapshot(
        self, snapshot: int, *, scope: str = GLOBAL, request_id: str | None = None
    ) -> _s.RestoreSnapshotResponse:
        """Make a scope what it was in a snapshot, by new versions."""
        request = _s.RestoreSnapshotRequest(
            scope=scope, snapshot=snapshot, request_id=request_id or requests.new_request_id()
        )
        return await self._connection.call(self._past.RestoreSnapshot, request, SLICES_TIMEOUT)

    async def revert_memory(
        self, key: str, version: int, *, scope: str = GLOBAL, request_id: str | None = None
    ) -> _s.RevertMemoryResponse:
        """Repeat a version of a key as its newest.

        Raises `NotFound` if there never was one, `OutOfRange` if it is no longer kept, `IllegalTransition` if its time to live is
        over.
        """
        name = _m.MemoryVersionName(scope=scope, key=key, version=version)
        request = _s.RevertMemoryRequest(version=name, request_id=request_id or requests.new_request_id())
        return await self._connection.call(self._past.RevertMemory, request)

    async def revert_memory_of_run(
        self, workflow_id: str, *, task_id: str = "", attempt: int = 0, request_id: str | None = None
    ) -> _s.RevertMemoryResponse:
        """Take back all that a workflow, one of its tasks or one attempt wrote, in whatever scope, by new versions.

        Copies that were shared or restored are taken back with it. Keys that somebody else has written since are left alone and
        named in the reply, as is what others have made of what the run wrote (`derived`).
        """
        run = _m.MemoryRun(workflow_id=workflow_id, task_id=task_id, attempt=attempt)
        request = _s.RevertMemoryRequest(run=run, request_id=request_id or requests.new_request_id())
        return await self._connection.call(self._past.RevertMemory, request, SLICES_TIMEOUT)

    async def purge_memory(
        self,
        scope: str = GLOBAL,
        *,
        key: str | None = None,
        prefix: str | None = None,
        request_id: str | None = None,
    ) -> _s.PurgeMemoryResponse:
        """Erase a key, or all that begin with a prefix ("": all), for good, with history and snapshots."""
        request = _s.PurgeMemoryRequest(scope=scope, request_id=request_id or requests.new_request_id())
        if key is not None:
            request.key = key
        elif prefix is not None:
            request.prefix = prefix
        return await self._connection.call(self._past.PurgeMemory, request, SLICES_TIMEOUT)
