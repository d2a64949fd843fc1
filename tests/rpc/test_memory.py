"""Memory over the wire: entries as they are now, changes that are made once, searches, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orcs_client.v1 import common_pb2, memory_pb2, memory_service_pb2
from orcs_server.app import Server
from tests.rpc.memories import deletion, entry_of, get, keys, put, text_of
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected, refused

_m, _s = memory_pb2, memory_service_pb2


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(settings_in(tmp_path), {"XDG_STATE_HOME": str(tmp_path)}) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Wire]:
    assert server.registry is not None
    token = server.registry.create("ada", "red", ("operate",))
    async with connected(str(server.address), token) as wire:
        yield wire


async def test_a_value_comes_back_as_what_it_is(client: Wire) -> None:
    parts = {
        "text": common_pb2.Part(text="Grüße"),
        "json": common_pb2.Part(json='{"a": 9007199254740993}'),
        "bytes": common_pb2.Part(data=b"\xff\x00"),
        "markdown": common_pb2.Part(media_type="text/markdown", text="# A"),
    }
    for key, part in parts.items():
        stored = await client.call(
            "PutMemory", _s.PutMemoryRequest(put=_m.MemoryPut(scope="global", key=key, value=part))
        )
        assert stored.version == 1
        found = await entry_of(client, key)
        kind = str(part.WhichOneof("content"))
        assert found.value.WhichOneof("content") == kind
        assert getattr(found.value, kind) == getattr(part, kind)
        assert (found.trust, found.writer.principal, found.writer.agent) == (_m.MEMORY_TRUST_CLIENT, "ada", "")
        assert found.reference.size_bytes == len(getattr(part, kind).encode() if kind != "data" else part.data)
        assert found.cursor == stored.cursor
    assert await keys(client) == ["bytes", "json", "markdown", "text"]


async def test_who_administers_the_server_writes_as_its_operator(server: Server) -> None:
    assert server.registry is not None
    token = server.registry.create("root", "red", ("administer",))
    async with connected(str(server.address), token) as wire:
        await put(wire, "a", "x")
        assert (await entry_of(wire, "a")).trust == _m.MEMORY_TRUST_OPERATOR


async def test_a_key_is_looked_for_in_the_narrowest_scope_first(client: Wire) -> None:
    context = _m.MemoryContext(workflow_id="w1", task_id="t1", agent="research_agent")
    for scope in ("global", "agent:research_agent", "workflow:w1", "task:w1/t1"):
        await put(client, "a", scope, scope=scope)
        found = await client.call("GetMemory", _s.GetMemoryRequest(key="a", context=context))
        assert found.entry.scope == scope
    without = await client.call("GetMemory", _s.GetMemoryRequest(key="a"))
    assert without.entry.scope == "global"


async def test_a_write_says_which_version_it_expects(client: Wire) -> None:
    await put(client, "a", "1", expected_version=0)
    stale = await refused(put(client, "a", "2", expected_version=0))
    assert (stale.code.name, stale.reason) == ("ABORTED", "MEMORY_VERSION_STALE")
    assert (await put(client, "a", "2", expected_version=1)).version == 2
    stale = await refused(client.call("DeleteMemory", deletion("a", expected_version=1)))
    assert stale.reason == "MEMORY_VERSION_STALE"
    assert (await client.call("DeleteMemory", deletion("a", expected_version=2))).version == 3
    gone = await refused(get(client, "a"))
    assert (gone.code.name, gone.reason) == ("NOT_FOUND", "MEMORY_NOT_FOUND")
    again = await client.call("DeleteMemory", deletion("a"))
    assert again.version == 0


async def test_a_batch_does_everything_or_nothing(client: Wire) -> None:
    await put(client, "a", "1")
    changes = [
        _m.MemoryChange(put=_m.MemoryPut(scope="global", key="b", value=common_pb2.Part(text="2"))),
        _m.MemoryChange(delete=_m.MemoryDelete(scope="global", key="a")),
        _m.MemoryChange(check=_m.MemoryCheck(scope="workflow:w1", key="c", expected_version=4)),
    ]
    stale = await refused(client.call("BatchMemory", _s.BatchMemoryRequest(changes=changes)))
    assert stale.reason == "MEMORY_VERSION_STALE"
    assert await keys(client) == ["a"]
    changes[2].check.expected_version = 0
    done = await client.call("BatchMemory", _s.BatchMemoryRequest(changes=changes))
    assert list(done.versions) == [1, 2, 0]
    assert await keys(client) == ["b"]
    bad = [
        _m.MemoryChange(put=_m.MemoryPut(scope="nowhere", key="", value=common_pb2.Part(json="{"))),
        _m.MemoryChange(),
    ]
    wrong = await refused(client.call("BatchMemory", _s.BatchMemoryRequest(changes=bad)))
    assert set(wrong.violations) == {"changes[0].put.scope", "changes[0].put.key", "changes[0].put.value", "changes[1]"}


async def test_a_request_id_is_carried_out_once(client: Wire) -> None:
    first = await put(client, "a", "1", request_id="r1")
    await put(client, "a", "2")
    assert await put(client, "a", "1", request_id="r1") == first
    assert await text_of(client, "a") == "2"
    other = await refused(put(client, "a", "3", request_id="r1"))
    assert (other.code.name, other.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
    # What would be refused by now is still answered as it was.
    compared = await put(client, "b", "1", request_id="r2", expected_version=0)
    assert await put(client, "b", "1", request_id="r2", expected_version=0) == compared
    removed = await client.call("DeleteMemory", deletion("b", request_id="r3"))
    assert await client.call("DeleteMemory", deletion("b", request_id="r3")) == removed
    # One that was refused is none: with another request it may go through.
    assert (await refused(put(client, "b", "1", request_id="r4", expected_version=7))).reason == "MEMORY_VERSION_STALE"
    assert (await put(client, "b", "1", request_id="r4")).version == 3


async def test_a_page_token_leads_through_one_list_only(client: Wire) -> None:
    for number in range(5):
        await put(client, f"k{number}", "tea and coffee")
    page = await client.call("ListMemory", _s.ListMemoryRequest(scope="global", page_size=2))
    assert [entry.key for entry in page.entries] == ["k0", "k1"]
    following = _s.ListMemoryRequest(scope="global", page_size=2, page_token=page.next_page_token)
    assert [entry.key for entry in (await client.call("ListMemory", following)).entries] == ["k2", "k3"]
    following.prefix = "k"
    assert (await refused(client.call("ListMemory", following))).reason == "PAGE_TOKEN_INVALID"
    found: list[str] = []
    token = ""
    while True:
        hits = await client.call("SearchMemory", _s.SearchMemoryRequest(query="tea", page_size=2, page_token=token))
        found += [hit.entry.key for hit in hits.hits]
        token = hits.next_page_token
        if not token:
            break
    assert sorted(found) == [f"k{number}" for number in range(5)]
    assert hits.hits[0].snippet == "tea and coffee"


async def test_a_copy_in_another_scope_names_where_it_came_from(client: Wire) -> None:
    await put(client, "a", "1", scope="workflow:w1")
    shared = await client.call(
        "ShareMemory", _s.ShareMemoryRequest(scope="workflow:w1", key="a", target_scope="shared:team", request_id="r")
    )
    found = await entry_of(client, "a", scope="shared:team")
    assert found.version == shared.version == 1
    assert (found.origin.shared_from.scope, found.origin.shared_from.version) == ("workflow:w1", 1)
    missing = await refused(
        client.call("ShareMemory", _s.ShareMemoryRequest(scope="workflow:w1", key="b", target_scope="shared:team"))
    )
    assert missing.reason == "MEMORY_NOT_FOUND"


async def test_reading_needs_less_than_writing_and_that_less_than_purging(server: Server, client: Wire) -> None:
    assert server.registry is not None
    await put(client, "a", "1")
    viewer = server.registry.create("vera", "red", ("view",))
    async with connected(str(server.address), viewer) as wire:
        assert await text_of(wire, "a") == "1"
        assert (await refused(put(wire, "a", "2"))).code.name == "PERMISSION_DENIED"
        assert (await refused(wire.call("DeleteMemory", deletion("a")))).code.name == "PERMISSION_DENIED"
    purge = _s.PurgeMemoryRequest(scope="global", key="a")
    assert (await refused(client.call("PurgeMemory", purge))).code.name == "PERMISSION_DENIED"
    rules = _s.SetAccessRulesRequest()
    assert (await refused(client.call("SetAccessRules", rules))).code.name == "PERMISSION_DENIED"
    other = server.registry.create("bob", "blue", ("administer",))
    async with connected(str(server.address), other) as wire:
        assert (await refused(get(wire, "a"))).reason == "MEMORY_NOT_FOUND"
        assert await keys(wire) == []


async def test_what_a_rule_forbids_is_left_out_and_refused(server: Server, client: Wire) -> None:
    assert server.registry is not None
    await put(client, "a", "tea")
    await put(client, "secret:b", "tea")
    token = server.registry.create("root", "red", ("administer",))
    rule = _m.MemoryAccessRule(
        subject="client:ada",
        scope="global",
        prefix="secret:",
        permissions=[_m.MEMORY_PERMISSION_READ, _m.MEMORY_PERMISSION_WRITE],
        deny=True,
    )
    async with connected(str(server.address), token) as wire:
        stored = await wire.call("SetAccessRules", _s.SetAccessRulesRequest(rules=[rule], request_id="r"))
        assert await wire.call("SetAccessRules", _s.SetAccessRulesRequest(rules=[rule], request_id="r")) == stored
        stale = _s.SetAccessRulesRequest(rules=[], expected_version=0)
        assert (await refused(wire.call("SetAccessRules", stale))).reason == "MEMORY_VERSION_STALE"
        shown = await wire.call("GetAccessRules", _s.GetAccessRulesRequest())
        assert (shown.version, list(shown.rules)) == (1, [rule])
        assert await keys(wire) == ["a", "secret:b"]
    assert await keys(client) == ["a"]
    hits = await client.call("SearchMemory", _s.SearchMemoryRequest(query="tea"))
    assert [hit.entry.key for hit in hits.hits] == ["a"]
    for call in (get(client, "secret:b"), put(client, "secret:c", "x"), get(client, "secret:nothing")):
        told = await refused(call)
        assert (told.code.name, told.reason) == ("PERMISSION_DENIED", "PERMISSION_DENIED")


async def test_what_is_read_and_what_is_not_is_counted(client: Wire) -> None:
    for key in ("a", "b", "c"):
        await put(client, key, "x")
    for key in ("a", "b", "b"):
        await get(client, key)
    found = await client.call("GetMemoryStatistics", _s.GetMemoryStatisticsRequest(scope="global"))
    counted: list[tuple[str, Any]] = [(one.key, one.read_count) for one in found.hot]
    assert counted == [("b", 2), ("a", 1)]
    assert [one.key for one in found.never_read] == ["c"]


async def test_a_search_gives_twenty_hits_unless_it_says_otherwise(client: Wire) -> None:
    for number in range(23):
        await put(client, f"k{number}", "tea")
    page = await client.call("SearchMemory", _s.SearchMemoryRequest(query="tea"))
    assert len(page.hits) == 20
    rest = _s.SearchMemoryRequest(query="tea", page_token=page.next_page_token)
    assert len((await client.call("SearchMemory", rest)).hits) == 3
    assert len((await client.call("SearchMemory", _s.SearchMemoryRequest(query="tea", page_size=100))).hits) == 23
