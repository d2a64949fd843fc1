"""Memory's past over the wire: versions, snapshots, ways back, purges; and what a server that is killed has kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orcs_client.v1 import memory_pb2, memory_service_pb2
from orcs_server.app import Server
from orcs_server.memory import Actor
from orcs_server.memory.values import encode
from tests.rpc.memories import deletion, entry_of, get, keys, put, putting, text_of
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected, refused
from tests.server_process import ServerProcess

_m, _s = memory_pb2, memory_service_pb2


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = settings_in(tmp_path, insecure_no_auth=True)
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Wire]:
    async with connected(str(server.address), None) as wire:
        yield wire


async def test_a_key_is_read_as_it_was(client: Wire) -> None:
    first = await put(client, "a", "1")
    await put(client, "a", "2")
    await client.call("DeleteMemory", deletion("a"))
    listed = await client.call("ListMemoryVersions", _s.ListMemoryVersionsRequest(scope="global", key="a", page_size=2))
    assert [(one.version, one.deleted) for one in listed.versions] == [(3, True), (2, False)]
    rest = _s.ListMemoryVersionsRequest(scope="global", key="a", page_size=2, page_token=listed.next_page_token)
    (oldest,) = (await client.call("ListMemoryVersions", rest)).versions
    assert oldest.version == 1
    assert await text_of(client, "a", version=1) == "1"
    assert await text_of(client, "a", as_of_cursor=first.cursor) == "1"
    assert await text_of(client, "a", as_of_time=listed.versions[1].create_time) == "2"
    assert await keys(client, as_of_cursor=first.cursor) == ["a"]
    assert await keys(client) == []
    assert (await refused(get(client, "a", version=9))).reason == "MEMORY_NOT_FOUND"


async def test_a_snapshot_is_compared_restored_and_forgotten(client: Wire) -> None:
    await put(client, "a", "1")
    await put(client, "b", "1")
    made = await client.call("CreateSnapshot", _s.CreateSnapshotRequest(scope="global", title="Before", request_id="r"))
    again = await client.call(
        "CreateSnapshot", _s.CreateSnapshotRequest(scope="global", title="Before", request_id="r")
    )
    assert again == made
    assert (made.snapshot.snapshot, made.snapshot.title, made.snapshot.cursor) == (1, "Before", made.cursor)
    await put(client, "a", "2")
    await put(client, "c", "1")
    await client.call("DeleteMemory", deletion("b"))
    compare = _s.CompareSnapshotsRequest(scope="global", from_snapshot=1, page_size=2)
    page = await client.call("CompareSnapshots", compare)
    compare.page_token = page.next_page_token
    differences = [*page.differences, *(await client.call("CompareSnapshots", compare)).differences]
    assert [(one.key, one.HasField("before"), one.HasField("after")) for one in differences] == [
        ("a", True, True),
        ("b", True, False),
        ("c", False, True),
    ]
    restore = _s.RestoreSnapshotRequest(scope="global", snapshot=1, request_id="r")
    restored = await client.call("RestoreSnapshot", restore)
    assert restored.changed_count == 3
    await put(client, "d", "1")
    # Repeated, it is not done again: what was written since stays.
    assert await client.call("RestoreSnapshot", restore) == restored
    assert await keys(client) == ["a", "b", "d"]
    assert (await entry_of(client, "a")).origin.restored_version == 1
    listed = await client.call("ListSnapshots", _s.ListSnapshotsRequest())
    assert list(listed.snapshots) == [made.snapshot]
    other = _s.RestoreSnapshotRequest(scope="workflow:w1", snapshot=1)
    assert (await refused(client.call("RestoreSnapshot", other))).reason == "SNAPSHOT_NOT_FOUND"
    forget = _s.DeleteSnapshotRequest(scope="global", snapshot=1, request_id="r")
    forgotten = await client.call("DeleteSnapshot", forget)
    assert await client.call("DeleteSnapshot", forget) == forgotten
    forget.request_id = ""
    assert (await refused(client.call("DeleteSnapshot", forget))).reason == "SNAPSHOT_NOT_FOUND"


async def test_a_key_goes_back_to_one_of_its_versions(client: Wire) -> None:
    await put(client, "a", "1")
    await put(client, "a", "2")
    name = _m.MemoryVersionName(scope="global", key="a", version=1)
    revert = _s.RevertMemoryRequest(version=name, request_id="r")
    reverted = await client.call("RevertMemory", revert)
    assert (reverted.version, reverted.reverted_count) == (3, 1)
    assert await client.call("RevertMemory", revert) == reverted
    assert await text_of(client, "a") == "1"
    name.version = 9
    missing = await refused(client.call("RevertMemory", _s.RevertMemoryRequest(version=name)))
    assert missing.reason == "MEMORY_NOT_FOUND"


async def test_all_that_a_run_wrote_is_taken_back(server: Server, client: Wire) -> None:
    memory = server.backend.memory
    agent = Actor("ada", "research_agent", "w1", "t1", 2)
    await put(client, "a", "good", scope="workflow:w1")
    for key in ("a", "b", "c"):
        await memory.put("default", agent, key, encode("bad"), "workflow:w1")
    written = await entry_of(client, "a", scope="workflow:w1")
    assert (written.trust, written.writer.agent, written.writer.attempt) == (_m.MEMORY_TRUST_AGENT, "research_agent", 2)
    await put(client, "c", "mine", scope="workflow:w1")
    run = _m.MemoryRun(workflow_id="w1", task_id="t1", attempt=2)
    revert = _s.RevertMemoryRequest(run=run, request_id="r")
    taken = await client.call("RevertMemory", revert)
    assert (taken.reverted_count, taken.overwritten_count, taken.forgotten_count) == (2, 1, 0)
    assert [(one.scope, one.key) for one in taken.overwritten] == [("workflow:w1", "c")]
    assert await client.call("RevertMemory", revert) == taken
    assert await keys(client, "workflow:w1") == ["a", "c"]
    assert await text_of(client, "a", scope="workflow:w1") == "good"


async def test_what_is_purged_is_gone_with_its_history(client: Wire) -> None:
    begun = await put(client, "a:1", "tea")
    await put(client, "a:1", "more tea")
    await put(client, "a:2", "tea")
    await put(client, "b", "tea")
    purge = _s.PurgeMemoryRequest(scope="global", prefix="a:", request_id="r")
    purged = await client.call("PurgeMemory", purge)
    assert purged.erased_count == 3
    assert await client.call("PurgeMemory", purge) == purged
    listed = await client.call("ListMemoryVersions", _s.ListMemoryVersionsRequest(scope="global", key="a:1"))
    assert not listed.versions
    hits = await client.call("SearchMemory", _s.SearchMemoryRequest(query="tea"))
    assert [hit.entry.key for hit in hits.hits] == ["b"]
    watch = client.call("WatchMemory", _s.WatchMemoryRequest(scope="global", after_cursor=begun.cursor))
    expired = await refused(_first(watch))
    assert (expired.code.name, expired.reason) == ("OUT_OF_RANGE", "CURSOR_EXPIRED")
    # The cursor that comes with it is one from which a watch can begin.
    watch = client.call("WatchMemory", _s.WatchMemoryRequest(after_cursor=expired.metadata["oldest_cursor"]))
    assert (await _first(watch)).cursor
    watch.cancel()
    unclear = await refused(client.call("PurgeMemory", _s.PurgeMemoryRequest(scope="global")))
    assert set(unclear.violations) == {""}


async def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    process = ServerProcess(tmp_path).start()
    try:
        async with connected(process.address, process.token) as wire:
            stored = await put(wire, "a", "1", request_id="r1")
            snapshot = await wire.call("CreateSnapshot", _s.CreateSnapshotRequest(scope="global", request_id="r2"))
            # Some are cut off by the death of the server: stored or not, but whole.
            under_way = [
                asyncio.ensure_future(_quietly(put(wire, f"k{n}", "x", request_id=f"k{n}"))) for n in range(64)
            ]
            acknowledged: dict[int, Any] = {}
            for number, one in enumerate(under_way[:16]):
                acknowledged[number] = await one
            process.kill()
            acknowledged |= {number: await one for number, one in enumerate(under_way)}
        process.start()
        async with connected(process.address, process.token) as wire:
            assert await text_of(wire, "a") == "1"
            assert await put(wire, "a", "1", request_id="r1") == stored
            assert (
                await refused(wire.call("PutMemory", putting("a", "2", request_id="r1")))
            ).reason == "REQUEST_ID_REUSED"
            anew = await wire.call("CreateSnapshot", _s.CreateSnapshotRequest(scope="global", request_id="r2"))
            assert anew == snapshot
            for number, answer in acknowledged.items():
                repeated = await put(wire, f"k{number}", "x", request_id=f"k{number}")
                assert repeated.version == 1
                if answer is not None:
                    assert repeated == answer
            replies = wire.call("WatchMemory", _s.WatchMemoryRequest(after_cursor=stored.cursor))
            told: list[str] = []
            async for reply in replies:
                told += [entry.key for entry in reply.entries]
                if len(told) >= 64:
                    break
            replies.cancel()
            assert sorted(told) == sorted(f"k{number}" for number in range(64))
    finally:
        process.kill()


async def _quietly(call: Any) -> Any:
    try:
        return await call
    except Exception:  # noqa: BLE001 - the server was killed
        return None


async def _first(watch: Any) -> Any:
    async for reply in watch:
        return reply
    raise AssertionError("the watch came to its end")
