"""`orcs.v1.MemoryService`: each method reads its request, calls the service and writes its reply."""

from __future__ import annotations

from orcs_client.v1 import memory_service_pb2
from orcs_server.identity import Caller
from orcs_server.rpc.calls import StreamCall
from orcs_server.rpc.conversion import memory, memoryrequests
from orcs_server.service.memoryservices import MemoryServices
from orcs_server.service.validation import Findings

_s = memory_service_pb2


class MemoryServicer:
    """`orcs.v1.MemoryService`."""

    def __init__(self, services: MemoryServices) -> None:
        self._entries = services.entries
        self._past = services.past
        self._rules = services.rules
        self._watching = services.watching

    # Entries

    async def get_memory(self, request: _s.GetMemoryRequest, caller: Caller) -> _s.GetMemoryResponse:
        findings = Findings()
        past = memoryrequests.past(request, findings)
        context = memoryrequests.lookup(request.context)
        found = await self._entries.get(caller, request.scope, request.key, context, past, findings)
        return _s.GetMemoryResponse(entry=memory.entry(found.entry, found.cursors, found.value))

    async def put_memory(self, request: _s.PutMemoryRequest, caller: Caller) -> _s.PutMemoryResponse:
        findings = Findings()
        wish = memoryrequests.put(request.put, "put", findings)
        changed = await self._entries.change(caller, "PutMemory", [wish], request.request_id, findings)
        return _s.PutMemoryResponse(version=changed.versions[0], cursor=changed.cursor)

    async def delete_memory(self, request: _s.DeleteMemoryRequest, caller: Caller) -> _s.DeleteMemoryResponse:
        wish = memoryrequests.delete(request.delete, "delete")
        changed = await self._entries.change(caller, "DeleteMemory", [wish], request.request_id)
        return _s.DeleteMemoryResponse(version=changed.versions[0], cursor=changed.cursor)

    async def batch_memory(self, request: _s.BatchMemoryRequest, caller: Caller) -> _s.BatchMemoryResponse:
        findings = Findings()
        wishes = memoryrequests.changes(request, findings)
        changed = await self._entries.change(caller, "BatchMemory", wishes, request.request_id, findings, batch=True)
        return _s.BatchMemoryResponse(versions=changed.versions, cursor=changed.cursor)

    async def share_memory(self, request: _s.ShareMemoryRequest, caller: Caller) -> _s.ShareMemoryResponse:
        shared = await self._entries.share(caller, request.scope, request.key, request.target_scope, request.request_id)
        return _s.ShareMemoryResponse(version=shared.versions[0], cursor=shared.cursor)

    async def list_memory(self, request: _s.ListMemoryRequest, caller: Caller) -> _s.ListMemoryResponse:
        findings = Findings()
        past = memoryrequests.past(request, findings)
        page = await self._entries.page(
            caller, request.scope, request.prefix, past, request.page_size, request.page_token, findings
        )
        return _s.ListMemoryResponse(
            entries=[memory.entry(one, page.cursors) for one in page.entries],
            next_page_token=page.next_page_token,
            cursor=page.cursor,
        )

    async def search_memory(self, request: _s.SearchMemoryRequest, caller: Caller) -> _s.SearchMemoryResponse:
        page = await self._entries.search(
            caller,
            request.query,
            request.scopes,
            any_word=request.any_word,
            size=request.page_size,
            token=request.page_token,
        )
        return _s.SearchMemoryResponse(
            hits=[memory.hit(one, page.cursors) for one in page.hits], next_page_token=page.next_page_token
        )

    async def list_memory_scopes(
        self, request: _s.ListMemoryScopesRequest, caller: Caller
    ) -> _s.ListMemoryScopesResponse:
        page = await self._rules.scopes(caller, request.prefix, request.page_size, request.page_token)
        return _s.ListMemoryScopesResponse(
            scopes=[memory.scope(one) for one in page.scopes], next_page_token=page.next_page_token
        )

    # The past

    async def list_memory_versions(
        self, request: _s.ListMemoryVersionsRequest, caller: Caller
    ) -> _s.ListMemoryVersionsResponse:
        page = await self._past.versions(caller, request.scope, request.key, request.page_size, request.page_token)
        return _s.ListMemoryVersionsResponse(
            versions=[memory.entry(one, page.cursors) for one in page.entries], next_page_token=page.next_page_token
        )

    async def create_snapshot(self, request: _s.CreateSnapshotRequest, caller: Caller) -> _s.CreateSnapshotResponse:
        made = await self._past.create_snapshot(caller, request.scope, request.title, request.request_id)
        return _s.CreateSnapshotResponse(snapshot=memory.snapshot(made.result, made.cursors), cursor=made.cursor)

    async def list_snapshots(self, request: _s.ListSnapshotsRequest, caller: Caller) -> _s.ListSnapshotsResponse:
        page = await self._past.snapshots(caller, request.scope, request.page_size, request.page_token)
        return _s.ListSnapshotsResponse(
            snapshots=[memory.snapshot(one, page.cursors) for one in page.snapshots],
            next_page_token=page.next_page_token,
        )

    async def delete_snapshot(self, request: _s.DeleteSnapshotRequest, caller: Caller) -> _s.DeleteSnapshotResponse:
        cursor = await self._past.delete_snapshot(caller, request.scope, request.snapshot, request.request_id)
        return _s.DeleteSnapshotResponse(cursor=cursor)

    async def compare_snapshots(
        self, request: _s.CompareSnapshotsRequest, caller: Caller
    ) -> _s.CompareSnapshotsResponse:
        page = await self._past.compare(
            caller,
            request.scope,
            request.from_snapshot,
            request.to_snapshot,
            request.page_size,
            request.page_token,
        )
        return _s.CompareSnapshotsResponse(
            differences=[memory.difference(one, page.cursors) for one in page.differences],
            next_page_token=page.next_page_token,
        )

    async def restore_snapshot(self, request: _s.RestoreSnapshotRequest, caller: Caller) -> _s.RestoreSnapshotResponse:
        restored = await self._past.restore(caller, request.scope, request.snapshot, request.request_id)
        return _s.RestoreSnapshotResponse(changed_count=restored.result, cursor=restored.cursor)

    async def revert_memory(self, request: _s.RevertMemoryRequest, caller: Caller) -> _s.RevertMemoryResponse:
        match request.WhichOneof("what"):
            case "version":
                name = memoryrequests.version_name(request.version)
                return memory.reverted(await self._past.revert(caller, name, request.request_id))
            case "run":
                run = memoryrequests.run(request.run)
                return memory.reverted(await self._past.take_back(caller, run, request.request_id))
            case _:
                findings = Findings()
                findings.add("", "Say what is taken back: set version or run.")
                findings.raise_any()
                raise AssertionError

    async def purge_memory(self, request: _s.PurgeMemoryRequest, caller: Caller) -> _s.PurgeMemoryResponse:
        findings = Findings()
        which = request.WhichOneof("which")
        if which is None:
            findings.add("", "Say which keys: set key, or prefix, which may be empty for all.")
        key = request.key if which == "key" else None
        purged = await self._past.purge(caller, request.scope, request.prefix, key, request.request_id, findings)
        return _s.PurgeMemoryResponse(erased_count=purged.result, cursor=purged.cursor)

    # Rules, statistics

    async def get_access_rules(self, request: _s.GetAccessRulesRequest, caller: Caller) -> _s.GetAccessRulesResponse:
        found = await self._rules.rules(caller, request.version)
        return _s.GetAccessRulesResponse(version=found.version, rules=[memory.rule(one) for one in found.rules])

    async def set_access_rules(self, request: _s.SetAccessRulesRequest, caller: Caller) -> _s.SetAccessRulesResponse:
        findings = Findings()
        rules = memoryrequests.rules(request, findings)
        expected = request.expected_version if request.HasField("expected_version") else None
        stored = await self._rules.set_rules(caller, rules, expected, request.request_id, findings)
        return _s.SetAccessRulesResponse(version=stored.result, cursor=stored.cursor)

    async def get_memory_statistics(
        self, request: _s.GetMemoryStatisticsRequest, caller: Caller
    ) -> _s.GetMemoryStatisticsResponse:
        found = await self._rules.statistics(caller, request.scope, request.page_size, request.page_token)
        return _s.GetMemoryStatisticsResponse(
            hot=[memory.reads(one) for one in found.hot],
            never_read=[memory.entry(one, found.cursors) for one in found.never_read],
            next_page_token=found.next_page_token,
        )

    async def watch_memory(self, request: _s.WatchMemoryRequest, call: StreamCall) -> None:
        findings = Findings()
        wish = memoryrequests.watch(request, findings)
        stream = await self._watching.open(call.identify, wish, findings)
        await call.follow(stream.batches(), lambda batch: memory.memory_messages(batch, stream.cursors))
