"""Watching memory over the wire: no gap, only what was asked for and may be read, bookmarks, and how a watch ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from orcs_client.v1 import memory_pb2, memory_service_pb2
from orcs_server.app import Server
from tests.rpc.memories import deletion, put
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, broken_off, connected, refused

_m, _s = memory_pb2, memory_service_pb2


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(settings_in(tmp_path), {"XDG_STATE_HOME": str(tmp_path)}) as running:
        yield running


def token(server: Server, name: str, namespace: str, *roles: str) -> str:
    assert server.registry is not None
    return server.registry.create(name, namespace, roles)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Wire]:
    async with connected(str(server.address), token(server, "ada", "red", "operate")) as wire:
        yield wire


class Watch:
    """A watch that is read on."""

    def __init__(self, client: Wire, **fields: Any) -> None:
        self._call = client.call("WatchMemory", _s.WatchMemoryRequest(**fields))
        self.cursor = ""

    async def next(self) -> Any:
        reply = await self._call.read()
        self.cursor = reply.cursor
        return reply

    async def changes(self, count: int) -> list[tuple[str, int, bool]]:
        """Read until so many changes have come; return key, version, and whether it was deleted, of each."""
        found: list[tuple[str, int, bool]] = []
        while len(found) < count:
            found += [(entry.key, entry.version, entry.deleted) for entry in (await self.next()).entries]
        return found

    def end(self) -> None:
        self._call.cancel()


async def test_what_is_written_is_told_in_order_and_without_values(client: Wire) -> None:
    watch = Watch(client)
    first = await watch.next()
    assert (first.bookmark, len(first.entries)) == (True, 0)
    await put(client, "a", "1")
    await put(client, "b", "1")
    await client.call("DeleteMemory", deletion("a"))
    assert await watch.changes(3) == [("a", 1, False), ("b", 1, False), ("a", 2, True)]
    watch.end()
    anew = Watch(client, after_cursor=first.cursor)
    reply = await anew.next()
    assert [entry.key for entry in reply.entries] == ["a", "b", "a"]
    assert not any(entry.HasField("value") for entry in reply.entries)
    assert [entry.cursor for entry in reply.entries][-1] == reply.cursor == watch.cursor
    anew.end()


async def test_a_watch_goes_on_after_any_cursor_while_others_write(client: Wire) -> None:
    first = await put(client, "begin", "1")
    writing = asyncio.ensure_future(_write(client, 200))
    told: list[str] = []
    cursor = first.cursor
    while len(told) < 200:
        watch = Watch(client, after_cursor=cursor)
        told += [key for key, _, _ in await watch.changes(1)]
        cursor = watch.cursor
        watch.end()
    await writing
    assert told == [f"k{number}" for number in range(200)]


async def _write(client: Wire, count: int) -> None:
    for number in range(count):
        await put(client, f"k{number}", "x")


async def test_only_what_was_asked_for_comes(client: Wire) -> None:
    watch = Watch(client, scope="workflow:w1", prefix="a:")
    await watch.next()
    await put(client, "a:1", "1")
    await put(client, "b", "1", scope="workflow:w1")
    await put(client, "a:2", "1", scope="workflow:w1")
    assert await watch.changes(1) == [("a:2", 1, False)]
    watch.end()


async def test_a_rule_counts_for_a_watch_that_is_open(server: Server, client: Wire) -> None:
    watch = Watch(client)
    await watch.next()
    deny = _m.MemoryAccessRule(
        subject="client:ada", scope="global", prefix="secret", permissions=[_m.MEMORY_PERMISSION_READ], deny=True
    )
    async with connected(str(server.address), token(server, "root", "red", "administer")) as root:
        await put(root, "secret1", "1")
        assert await watch.changes(1) == [("secret1", 1, False)]
        await root.call("SetAccessRules", _s.SetAccessRulesRequest(rules=[deny]))
        await put(root, "secret2", "1")
        await put(root, "open", "1")
    assert await watch.changes(1) == [("open", 1, False)]
    watch.end()


async def test_a_silent_watch_says_how_far_it_has_come(client: Wire) -> None:
    watch = Watch(client, scope="workflow:w1", heartbeat_interval=Duration(seconds=1))
    await watch.next()
    stored = await put(client, "a", "1")
    while watch.cursor != stored.cursor:
        assert (await watch.next()).bookmark
    watch.end()


async def test_cursors_of_other_logs_are_refused(server: Server, client: Wire) -> None:
    mine = await put(client, "a", "1")
    async with connected(str(server.address), token(server, "bob", "blue", "operate")) as other:
        theirs = await refused(Watch(other, after_cursor=mine.cursor).next())
        assert (theirs.code.name, theirs.reason) == ("INVALID_ARGUMENT", "CURSOR_INVALID")
    for cursor in ("x", mine.cursor[:-1]):
        assert (await refused(Watch(client, after_cursor=cursor).next())).reason == "CURSOR_INVALID"


async def test_a_server_that_goes_down_says_where_to_go_on(server: Server, client: Wire) -> None:
    call = client.call("WatchMemory", _s.WatchMemoryRequest())
    replies = [await call.read()]
    stored = await put(client, "a", "1")
    replies.append(await call.read())
    stopping = asyncio.ensure_future(server.stop())
    ended = await broken_off(call, replies)
    assert (ended.code.name, ended.reason) == ("UNAVAILABLE", "SERVER_DRAINING")
    assert ended.metadata["cursor"] == stored.cursor
    await stopping
