"""Watching, and how often keys are read."""

from __future__ import annotations

import asyncio

import pytest

from orcs_server.errors import InvalidArgument, OutOfRange, Unavailable
from orcs_server.memory import Actor, Memory, Rule
from orcs_server.memory.access import Permission
from orcs_server.memory.values import encode
from orcs_server.storage.sqlite import SqliteStore
from tests.memory.conftest import START_US, SetClock

NS = "default"
ADA = Actor("ada")
AGENT = Actor("ada", "research_agent", "w1", "t1", 1)


async def test_a_watch_misses_nothing_and_repeats_nothing(shared: Memory) -> None:
    """Whatever is written meanwhile, and wherever it is taken up again."""
    seen: list[tuple[str, int]] = []

    async def follow(after: int, pieces: int) -> int:
        async for changes in shared.watch(NS, ADA, "global", "k", after):
            seen.extend((one.key, one.position) for one in changes.versions)
            after, pieces = changes.position, pieces - 1
            if not pieces or len(seen) == 60:
                break
        return after

    async def write(writer: int) -> None:
        for number in range(20):
            await shared.put(NS, ADA, f"k{writer}/{number}", encode(number), "global")
            await shared.put(NS, ADA, f"x{writer}", encode(number), "global")
            await shared.put("other", ADA, f"k{writer}", encode(number), "global")

    writing = [asyncio.create_task(write(writer)) for writer in range(3)]
    cursor = 0
    while len(seen) < 60:
        cursor = await follow(cursor, 2)
    await asyncio.gather(*writing)
    assert len({key for key, _ in seen}) == 60
    assert [position for _, position in seen] == sorted(position for _, position in seen)


async def test_a_watch_without_a_cursor_begins_now(shared: Memory) -> None:
    await shared.put(NS, ADA, "old", encode(1), "global")
    watch = aiter(shared.watch(NS, ADA))
    first = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await shared.put(NS, ADA, "new", encode(1), "workflow:w9")
    assert [one.key for one in (await first).versions] == ["new"]


async def test_a_watcher_whose_right_is_taken_hears_no_more(shared: Memory) -> None:
    await shared.access.set_rules(NS, ADA, [Rule("agent:*", "shared:team", (Permission.READ,))], START_US)
    await shared.put(NS, ADA, "a", encode(1), "shared:team")
    watch = aiter(shared.watch(NS, AGENT, after=0))
    assert [one.key for one in (await anext(watch)).versions] == ["a"]
    await shared.access.set_rules(NS, ADA, [], START_US)
    await shared.put(NS, ADA, "b", encode(1), "shared:team")
    assert (await anext(watch)).versions == []


async def test_a_purge_ends_only_watches_that_have_not_seen_what_went(shared: Memory) -> None:
    await shared.put(NS, ADA, "secret", encode(1), "shared:team")
    at_head, behind = aiter(shared.watch(NS, ADA, after=1)), aiter(shared.watch(NS, ADA, after=0))
    waiting = asyncio.ensure_future(anext(at_head))
    await asyncio.sleep(0)
    await shared.history.purge(NS, ADA, "shared:team")
    assert (await waiting).versions == []
    with pytest.raises(OutOfRange, match="begin anew"):
        await anext(behind)
    await shared.put(NS, ADA, "new", encode(1), "global")
    assert [one.key for one in (await anext(at_head)).versions] == ["new"]


async def test_a_cursor_that_cannot_be_followed_is_refused(shared: Memory) -> None:
    await shared.put(NS, ADA, "a", encode(1), "global")
    await shared.history.purge(NS, ADA, "global")
    for cursor, error in ((0, OutOfRange), (9, InvalidArgument), (-1, InvalidArgument)):
        with pytest.raises(error):
            await anext(aiter(shared.watch(NS, ADA, "global", after=cursor)))


async def test_reads_are_counted_and_stored_together(shared: Memory, clock: SetClock) -> None:
    for key in ("hot", "warm", "cold"):
        await shared.put(NS, ADA, key, encode(1), "global")
    for key in ("hot", "warm", "hot", "none"):
        await shared.get(NS, ADA, key)
    assert await shared.history.hot(NS, ADA) == []
    await shared.reads.flush()
    assert [(one.key, one.reads) for one in await shared.history.hot(NS, ADA)] == [("hot", 2), ("warm", 1)]
    assert [one.key for one in (await shared.history.never_read(NS, ADA, "global")).entries] == ["cold"]
    assert await shared.history.hot("other", ADA) == []
    clock.time_us += 120_000_000
    await shared.get(NS, ADA, "hot")  # It is time: this read stores itself.
    await shared.close()
    assert (await shared.history.hot(NS, ADA))[0].reads == 3


async def test_what_could_not_be_stored_is_counted_later(shared: Memory, store: SqliteStore) -> None:
    await shared.put(NS, ADA, "key", encode(1), "global")
    await shared.get(NS, ADA, "key")
    await store.close()
    with pytest.raises(Unavailable):
        await shared.reads.flush()
    await store.open()
    await shared.reads.flush()
    assert (await shared.history.hot(NS, ADA))[0].reads == 1
