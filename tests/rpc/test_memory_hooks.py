"""The operator's authorization hook is asked about scopes, and what it does not permit shows nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from orcs_client.v1 import memory_pb2, memory_service_pb2
from orcs_server.app import Server
from orcs_server.hooks import HookSet, Origin
from orcs_server.identity import Caller
from orcs_server.memory import Actor, Rule
from orcs_server.memory.access import Permission
from orcs_server.memory.values import encode
from tests.rpc.memories import deletion, get, keys, put
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected, refused

_m, _s = memory_pb2, memory_service_pb2
SECRET = "shared:secret"


class Warden:
    """Lets ada do everything, others nothing in one scope."""

    def __init__(self, principal: str) -> None:
        self._principal = principal

    def check_permission(self, operation: str, resource_id: str) -> bool:
        return self._principal == "ada" or not (operation.startswith("memory.") and resource_id == SECRET)


def hooks(caller: Caller, *, origin: Origin) -> HookSet:
    assert origin is Origin.RPC
    return HookSet(authorization=Warden(caller.principal))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = settings_in(tmp_path, hooks=f"{__name__}:hooks")
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as running:
        yield running


def client(server: Server, name: str) -> AbstractAsyncContextManager[Wire]:
    assert server.registry is not None
    return connected(str(server.address), server.registry.create(name, "red", ("administer",)))


async def test_what_a_hook_does_not_permit_is_left_out_and_refused(server: Server) -> None:
    async with client(server, "ada") as ada, client(server, "bob") as bob:
        watch = bob.call("WatchMemory", _s.WatchMemoryRequest())
        assert (await watch.read()).bookmark
        await put(ada, "a", "secret tea", scope=SECRET)
        await get(ada, "a", scope=SECRET)
        await ada.call("CreateSnapshot", _s.CreateSnapshotRequest(scope=SECRET))
        await put(ada, "a", "open tea")
        await ada.call("CreateSnapshot", _s.CreateSnapshotRequest(scope="global"))
        seen = await watch.read()
        assert [(one.scope, one.key) for one in seen.entries] == [("global", "a")]
        watch.cancel()
        assert await _found(ada) == {SECRET, "global"}
        assert await _found(bob) == {"global"}
        assert await _found(bob, SECRET, "global") == {"global"}
        snapshots = await bob.call("ListSnapshots", _s.ListSnapshotsRequest())
        assert [one.scope for one in snapshots.snapshots] == ["global"]
        for wire, scopes in ((ada, ["global", SECRET]), (bob, ["global"])):
            listed = await wire.call("ListMemoryScopes", _s.ListMemoryScopesRequest())
            assert [one.scope for one in listed.scopes] == scopes
        statistics = await bob.call("GetMemoryStatistics", _s.GetMemoryStatisticsRequest())
        assert [one.scope for one in statistics.hot] == []
        assert await keys(bob) == ["a"]
        purge = _s.PurgeMemoryRequest(scope=SECRET, key="a")
        share = _s.ShareMemoryRequest(scope="global", key="a", target_scope=SECRET)
        batch = _s.BatchMemoryRequest(
            changes=[
                _m.MemoryChange(delete=_m.MemoryDelete(scope="global", key="a")),
                _m.MemoryChange(check=_m.MemoryCheck(scope=SECRET, key="a", expected_version=1)),
            ]
        )
        for call in (
            get(bob, "a", scope=SECRET),
            put(bob, "a", "x", scope=SECRET),
            bob.call("DeleteMemory", deletion("a", scope=SECRET)),
            bob.call("PurgeMemory", purge),
            bob.call("ShareMemory", share),
            bob.call("BatchMemory", batch),
            bob.call("ListMemory", _s.ListMemoryRequest(scope=SECRET)),
            bob.call("ListMemoryVersions", _s.ListMemoryVersionsRequest(scope=SECRET, key="a")),
            bob.call("RestoreSnapshot", _s.RestoreSnapshotRequest(scope=SECRET, snapshot=1)),
            bob.call("WatchMemory", _s.WatchMemoryRequest(scope=SECRET)).read(),
        ):
            assert (await refused(call)).code.name == "PERMISSION_DENIED"


async def test_what_a_run_wrote_is_taken_back_without_naming_what_may_not_be_read(server: Server) -> None:
    memory, agent = server.backend.memory, Actor("ada", "writer", "w1", "t1", 1)
    grant = Rule("agent:*", "*", (Permission.WRITE,))
    await memory.access.set_rules("red", Actor("ada"), [grant], 0)
    async with client(server, "ada") as ada, client(server, "bob") as bob:
        for scope in (SECRET, "workflow:w1"):
            await memory.put("red", agent, "a", encode("bad"), scope)
            await put(ada, "a", "since", scope=scope)
        taken = await bob.call("RevertMemory", _s.RevertMemoryRequest(run=_m.MemoryRun(workflow_id="w1")))
        assert taken.overwritten_count == 2
        assert [(one.scope, one.key) for one in taken.overwritten] == [("workflow:w1", "a")]


async def _found(wire: Wire, *scopes: str) -> set[str]:
    hits = await wire.call("SearchMemory", _s.SearchMemoryRequest(query="tea", scopes=scopes))
    return {hit.entry.scope for hit in hits.hits}
