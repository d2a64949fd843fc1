"""Over the wire: what comes of quarantines, of versions that have expired or are no longer kept, which scopes there are, conflicts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from orcs_client.v1 import common_pb2, memory_pb2, memory_service_pb2
from orcs_server.app import Server
from orcs_server.memory import Actor, Memory, ReadSet
from orcs_server.memory.values import encode
from orcs_server.storage.memory_rows import VERSIONS_KEPT
from tests.memory.conftest import SetClock
from tests.rpc.memories import deletion, entry_of, get, keys, put, text_of
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected, refused

_m, _s = memory_pb2, memory_service_pb2
AGENT = Actor("ada", "research_agent", "w1", "t1", 1)


@pytest.fixture
def clock() -> SetClock:
    clock = SetClock()
    clock.time_us = time.time_ns() // 1000  # The server deletes what has expired by a clock of its own.
    return clock


@pytest.fixture
async def server(tmp_path: Path, clock: SetClock) -> AsyncIterator[Server]:
    running = Server(settings_in(tmp_path, insecure_no_auth=True), {"XDG_STATE_HOME": str(tmp_path)})
    running.backend.memory = Memory(running.backend.store, clock)
    async with running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Wire]:
    async with connected(str(server.address), None) as wire:
        yield wire


def _run(workflow: str, **more: object) -> memory_service_pb2.RevertMemoryRequest:
    return _s.RevertMemoryRequest(run=_m.MemoryRun(workflow_id=workflow, **more))  # type: ignore[arg-type]


async def test_a_quarantine_takes_copies_back_and_names_what_was_made_of_the_run(server: Server, client: Wire) -> None:
    memory, reads = server.backend.memory, ReadSet()
    await memory.put("default", AGENT, "fact", encode("bad"), "workflow:w1")
    await client.call("ShareMemory", _s.ShareMemoryRequest(scope="workflow:w1", key="fact", target_scope="workflow:w2"))
    other = Actor("ada", "writing_agent", "w2", "t1", 1)
    await memory.get("default", other, "fact", "workflow:w2", reads)
    await memory.put("default", other, "report", encode("says: bad"), "workflow:w2", reads=reads)
    taken = await client.call("RevertMemory", _run("w1"))
    assert (taken.reverted_count, taken.overwritten_count, taken.key_count) == (2, 0, 2)
    assert (taken.derived_count, [(one.scope, one.key) for one in taken.derived]) == (1, [("workflow:w2", "report")])
    assert await keys(client, "workflow:w2") == ["report"]
    again = await client.call("RevertMemory", _run("w1", task_id="t1"))
    assert (again.reverted_count, again.overwritten_count, again.forgotten_count, again.key_count) == (0, 0, 0, 1)
    assert again.derived_count == 1


async def test_a_run_that_has_written_nothing_is_told_from_one_that_was_taken_back(client: Wire) -> None:
    nothing = await client.call("RevertMemory", _run("w9", task_id="t1", attempt=3))
    assert (nothing.key_count, nothing.reverted_count) == (0, 0)
    for wrong, field in ((_run("no id"), "workflow_id"), (_run("w1", task_id="No"), "task_id")):
        told = await refused(client.call("RevertMemory", wrong))
        assert (told.code.name, set(told.violations)) == ("INVALID_ARGUMENT", {f"run.{field}"})


async def test_what_has_expired_is_absent_however_it_is_asked_for(client: Wire, clock: SetClock) -> None:
    stored = await put(client, "secret", "swordfish", ttl=Duration(seconds=3600))
    written = await entry_of(client, "secret")
    await client.call("CreateSnapshot", _s.CreateSnapshotRequest(scope="global"))
    clock.time_us += 3_600_000_000
    pasts: tuple[dict[str, Any], ...] = (
        {},
        {"version": 1},
        {"as_of_cursor": stored.cursor},
        {"as_of_time": written.create_time},
    )
    for past in pasts:
        told = await refused(get(client, "secret", **past))
        assert (told.code.name, told.reason) == ("NOT_FOUND", "MEMORY_NOT_FOUND"), past
    assert await keys(client, as_of_cursor=stored.cursor) == []
    name = _m.MemoryVersionName(scope="global", key="secret", version=1)
    told = await refused(client.call("RevertMemory", _s.RevertMemoryRequest(version=name)))
    assert (told.code.name, told.reason) == ("FAILED_PRECONDITION", "MEMORY_EXPIRED")
    restored = await client.call("RestoreSnapshot", _s.RestoreSnapshotRequest(scope="global", snapshot=1))
    assert restored.changed_count == 0
    (version,) = (
        await client.call("ListMemoryVersions", _s.ListMemoryVersionsRequest(scope="global", key="secret"))
    ).versions
    assert version.expire_time == written.expire_time


async def test_a_version_that_is_no_longer_kept_has_expired_and_one_that_never_was_is_not_found(client: Wire) -> None:
    for number in range(VERSIONS_KEPT + 5):
        await put(client, "a", str(number))
    for version in (1, 5):
        told = await refused(get(client, "a", version=version))
        assert (told.code.name, told.reason) == ("OUT_OF_RANGE", "HISTORY_EXPIRED")
        name = _m.MemoryVersionName(scope="global", key="a", version=version)
        told = await refused(client.call("RevertMemory", _s.RevertMemoryRequest(version=name)))
        assert (told.code.name, told.reason) == ("OUT_OF_RANGE", "HISTORY_EXPIRED")
    assert await text_of(client, "a", version=6) == "5"
    assert (await refused(get(client, "a", version=999))).reason == "MEMORY_NOT_FOUND"


async def test_scopes_are_listed_page_by_page(client: Wire) -> None:
    for scope in ("workflow:w1", "task:w1/t1", "shared:team"):
        await put(client, "a", "1", scope=scope)
        await put(client, "b", "1", scope=scope)
    last = await entry_of(client, "b", scope="shared:team")
    await client.call("DeleteMemory", deletion("a", scope="workflow:w1"))
    request = _s.ListMemoryScopesRequest(page_size=2)
    page = await client.call("ListMemoryScopes", request)
    assert [(one.scope, one.entry_count) for one in page.scopes] == [("shared:team", 2), ("task:w1/t1", 2)]
    assert page.scopes[0].change_time == last.create_time
    request.page_token = page.next_page_token
    page = await client.call("ListMemoryScopes", request)
    assert [(one.scope, one.entry_count) for one in page.scopes] == [("workflow:w1", 1)]
    assert not page.next_page_token
    request.prefix = "w"
    assert (await refused(client.call("ListMemoryScopes", request))).reason == "PAGE_TOKEN_INVALID"
    found = await client.call("ListMemoryScopes", _s.ListMemoryScopesRequest(prefix="task:w1/"))
    assert [one.scope for one in found.scopes] == ["task:w1/t1"]
    # What is purged is gone from the list, too; what is only deleted still takes room.
    await client.call("PurgeMemory", _s.PurgeMemoryRequest(scope="shared:team", prefix=""))
    found = await client.call("ListMemoryScopes", _s.ListMemoryScopesRequest())
    assert [one.scope for one in found.scopes] == ["task:w1/t1", "workflow:w1"]


async def test_a_watch_of_all_outlives_a_purge(client: Wire) -> None:
    await put(client, "a", "1", scope="shared:team")
    watch = client.call("WatchMemory", _s.WatchMemoryRequest())
    assert (await watch.read()).bookmark
    await client.call("PurgeMemory", _s.PurgeMemoryRequest(scope="shared:team", prefix=""))
    await put(client, "b", "1")
    async with asyncio.timeout(30):
        told: list[str] = []
        while not told:
            told = [entry.key for entry in (await watch.read()).entries]
    assert told == ["b"]
    watch.cancel()


async def test_a_conflict_names_the_stale_keys_with_their_versions_for_programs(client: Wire) -> None:
    await put(client, "a", "1")
    await put(client, "a", "2")
    value = common_pb2.Part(text="x")
    puts = [
        _m.MemoryPut(scope="global", key="a", value=value, expected_version=1),
        _m.MemoryPut(scope="shared:team", key='"ä"', value=value, expected_version=7),
        _m.MemoryPut(scope="global", key="fine", value=value, expected_version=0),
    ]
    stale = await refused(
        client.call("BatchMemory", _s.BatchMemoryRequest(changes=[_m.MemoryChange(put=one) for one in puts]))
    )
    assert (stale.code.name, stale.reason, stale.metadata["stale_count"]) == ("ABORTED", "MEMORY_VERSION_STALE", "2")
    assert json.loads(stale.metadata["stale_keys"]) == [
        {"scope": "global", "key": "a", "version": 2},
        {"scope": "shared:team", "key": '"ä"', "version": 0},
    ]
    many = [
        _m.MemoryChange(check=_m.MemoryCheck(scope="global", key=f"{n:03}" + "ü" * 250, expected_version=1))
        for n in range(100)
    ]
    stale = await refused(client.call("BatchMemory", _s.BatchMemoryRequest(changes=many)))
    named = json.loads(stale.metadata["stale_keys"])
    assert stale.metadata["stale_count"] == "100"
    assert 3 <= len(named) < 100, "as many as there is room for"


async def test_what_is_wrong_is_said_in_whole_sentences(client: Wire) -> None:
    wrong = await refused(put(client, "a", "1", expected_version=2**62))
    assert wrong.violations["put.expected_version"] == f"It is {2**62}; it must be less than {2**62}."
    wrong = await refused(put(client, "a", "1", expected_version=-1))
    assert wrong.violations["put.expected_version"] == "It is -1; it must be 0 or more."
    share = _s.ShareMemoryRequest(scope="shared:team", key="nokey", target_scope="global")
    missing = await refused(client.call("ShareMemory", share))
    assert (missing.reason, missing.message) == ("MEMORY_NOT_FOUND", "There is no entry 'nokey' in shared:team.")


async def test_a_refusal_of_a_client_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with Server(settings_in(tmp_path), {"XDG_STATE_HOME": str(tmp_path)}) as server:
        assert server.registry is not None
        token = server.registry.create("ada", "red", ("administer",))
        async with connected(str(server.address), token) as wire:
            rule = _m.MemoryAccessRule(subject="*", scope="global", permissions=[_m.MEMORY_PERMISSION_WRITE], deny=True)
            await wire.call("SetAccessRules", _s.SetAccessRulesRequest(rules=[rule]))
            caplog.clear()
            await refused(put(wire, "a", "1"))
    said = [one for one in caplog.records if "refused" in one.getMessage() or "may not" in one.getMessage()]
    assert [one.name for one in said] == ["orcs.memory"]
