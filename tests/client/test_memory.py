"""The client's calls of memory against the real server, and its watch over cuts."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orcs_client import (
    BlockingOrcsClient,
    Conflict,
    InvalidArgument,
    NotFound,
    OrcsClient,
    StaleKey,
    Unavailable,
    load_access_rules,
    memory_check,
    memory_delete,
    memory_put,
    parse_access_rules,
)
from orcs_client.messages import MemoryAccessRule, MemoryChange, MemoryPermission, MemoryTrust, value_named
from tests.client.cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server_process import ServerProcess

KEYS = 40


async def test_values_are_stored_read_searched_and_taken_back(orcs_server_process: ServerProcess) -> None:
    server = orcs_server_process
    async with OrcsClient(server.address, token=server.token) as client:
        before = datetime.now(UTC)
        first = await client.put_memory("tea", "green tea", scope="shared:client", ttl=3600)
        await client.put_memory("numbers", {"a": [1, 2]}, scope="shared:client")
        await client.put_memory("bytes", b"\xff", scope="shared:client")
        with pytest.raises(Conflict) as stale:
            await client.put_memory("tea", "black tea", scope="shared:client", expected_version=0)
        assert stale.value.reason == "MEMORY_VERSION_STALE"
        assert stale.value.stale_keys == (StaleKey("shared:client", "tea", 1),)
        for call in (
            client.get_memory("tea", scope="shared:client", version=1, as_of=before),
            client.get_memory("tea", scope="shared:client", version=1, as_of_cursor=first.cursor),
            anext(client.list_memory("shared:client", as_of=before, as_of_cursor=first.cursor)),
        ):
            with pytest.raises(InvalidArgument, match=r"give only one of (version|as_of) and as_of") as both:
                await call
            assert len(both.value.violations) == 2
        scopes = [(one.scope, one.entry_count) async for one in client.list_memory_scopes("shared:client", page_size=1)]
        assert scopes == [("shared:client", 3)]
        found = (await client.get_memory("tea", scope="shared:client")).entry
        assert (found.value.text, found.trust) == ("green tea", value_named(MemoryTrust, "operator"))
        assert found.expire_time.ToDatetime(UTC) - before > timedelta(minutes=59)
        made = (await client.create_snapshot("shared:client", title="Before")).snapshot
        change = memory_put("tea", "black tea", scope="shared:client", expected_version=1)
        check = memory_check("numbers", 1, scope="shared:client")
        none = memory_delete("nothing", scope="shared:client")
        assert list((await client.batch_memory([change, check, MemoryChange(delete=none)])).versions) == [2, 1, 0]
        assert [hit.entry.key async for hit in client.search_memory("black", scopes=["shared:client"])] == ["tea"]
        keys = [entry.key async for entry in client.list_memory("shared:client", page_size=2)]
        assert keys == ["bytes", "numbers", "tea"]
        past = client.list_memory("shared:client", as_of_cursor=first.cursor)
        assert [entry.key async for entry in past] == ["tea"]
        differing = client.compare_snapshots(made.snapshot, scope="shared:client")
        assert [one.key async for one in differing] == ["tea"]
        assert (await client.restore_snapshot(made.snapshot, scope="shared:client")).changed_count == 1
        versions = [
            entry.version async for entry in client.list_memory_versions("tea", scope="shared:client", page_size=2)
        ]
        assert versions == [3, 2, 1]
        assert (await client.revert_memory("tea", 2, scope="shared:client")).version == 4
        assert (await client.get_memory("tea", scope="shared:client", version=4)).entry.value.text == "black tea"
        await client.share_memory("tea", "shared:other", scope="shared:client")
        await client.delete_memory("tea", scope="shared:client")
        with pytest.raises(NotFound):
            await client.get_memory("tea", scope="shared:client")
        assert (await client.get_memory("tea", scope="shared:other")).entry.origin.shared_from.version == 4
        assert (await client.revert_memory_of_run("no-such-run")).reverted_count == 0
        assert (await client.purge_memory("shared:client", prefix="")).erased_count == 7
        await client.delete_snapshot(made.snapshot, scope="shared:client")
        assert made.snapshot not in {one.snapshot async for one in client.list_snapshots("shared:client")}
        with pytest.raises(InvalidArgument):
            await client.put_memory("tea", "half \ud800")


async def test_a_watch_of_memory_yields_each_change_once_over_cuts_and_a_kill(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = await asyncio.to_thread(start_server)
    port = int(server.address.rpartition(":")[2])
    lost: list[object] = []
    told: list[str] = []
    async with (
        CuttingProxy(port) as proxy,
        OrcsClient(server.address, token=server.token) as writer,
        OrcsClient(proxy.address, token=server.token) as client,
    ):
        await client.get_server_info()
        proxy.budgets = [900, 1500, 2500, 4000]
        async with aclosing(client.watch_memory("shared:w", on_disconnect=lost.append)) as updates:
            begun = await anext(updates)
            assert begun.cursor
            assert not begun.entries
            for number in range(KEYS):
                if number == KEYS // 2:
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.start)
                await writer.put_memory(f"k{number}", "x", scope="shared:w")
            while len(told) < KEYS:
                told += [entry.key for entry in (await anext(updates)).entries]
        again: list[str] = []
        async with aclosing(client.watch_memory("shared:w", after_cursor=begun.cursor)) as updates:
            while len(again) < KEYS:
                again += [entry.key for entry in (await anext(updates)).entries]
    assert lost
    assert told == again == [f"k{number}" for number in range(KEYS)]


def test_memory_is_used_without_an_event_loop(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    with BlockingOrcsClient(server.address, token=server.token) as client:
        begun = client.put_memory("a", ["x", None])
        rule = MemoryAccessRule(
            subject="agent:research_agent", scope="shared:team", permissions=[value_named(MemoryPermission, "read")]
        )
        assert client.set_access_rules([rule], expected_version=0).version == 1
        assert list(client.get_access_rules().rules) == [rule]
        client.get_memory("a")
        assert [(one.key, one.read_count) for one in client.get_memory_statistics().hot] == [("a", 1)]
        client.put_memory("b", "y")
        for update in client.watch_memory(after_cursor=begun.cursor):
            assert [entry.key for entry in update.entries] == ["b"]
            break


async def test_a_call_waits_for_a_server_that_had_answered(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    async with OrcsClient(server.address, token=server.token, timeout=60) as client:
        await client.put_memory("tea", "green")
        server.kill()
        waiting = asyncio.create_task(client.put_memory("tea", "black"))
        # gRPC's own five tries are over by then.
        await asyncio.sleep(4)
        assert not waiting.done()
        server.start()
        assert (await waiting).version == 2
        server.kill()
    # One that never answered may be a wrong address.
    async with OrcsClient(server.address, token=server.token, timeout=60) as stranger:
        with pytest.raises(Unavailable):
            await stranger.put_memory("tea", "white")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", 'write {"rules": []} if there shall be none'),
        ('{"rules": [{"permissions": ["read"]}]}', "'read' is none of MEMORY_PERMISSION_READ, "),
        ('{"rules": [{"scop": "global"}]}', "rules[0] has no field 'scop'; it may have subject, scope"),
    ],
)
def test_wrong_access_rules_say_what_is_right(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        parse_access_rules(text)
    assert said in str(wrong.value)
    assert parse_access_rules('{"rules": []}') == ()


def test_the_example_of_access_rules_is_one() -> None:
    rules = load_access_rules(Path(__file__).parents[2] / "examples" / "rules.json")
    assert [rule.deny for rule in rules] == [False, True]
