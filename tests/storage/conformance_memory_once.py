"""What every store promises about changes of memory that belong to a request. `conformance` says how a store joins."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from orcs_server.errors import Conflict
from orcs_server.storage.memory_rows import MemorySnapshot, Written
from orcs_server.storage.once import Once
from orcs_server.storage.store import DuplicateRequest, RequestKey, Store
from tests.storage.memories import note, putting, remember, text_of
from tests.storage.samples import START_US

NS = "default"
KEY = RequestKey(NS, "ada", "PutMemory", "r1")


class MemoryOnceConformance:
    """Changes with request ids."""

    async def test_a_change_is_carried_out_once_and_its_answer_kept(self, store: Store) -> None:
        await remember(store, NS, "other")
        once = Once(KEY, "hash", START_US)
        (written,) = await store.memory.bound(once).write(NS, [putting("a", "1")], note())
        assert (written, once.position) == (Written(1, 2), 2)
        await remember(store, NS, "a", "2")
        again = Once(KEY, "hash", START_US + 1)
        with pytest.raises(DuplicateRequest) as caught:
            await store.memory.bound(again).write(NS, [putting("a", "1")], note())
        record = caught.value.record
        assert record == await store.find_request(KEY)
        assert (record.command_hash, record.seq, record.created_us) == ("hash", 2, START_US)
        assert msgspec.json.decode(record.answer, type=list[Written]) == [written]
        assert await text_of(store, NS, "a") == "2"

    async def test_two_at_the_same_time_are_one(self, store: Store) -> None:
        async def put() -> bool:
            try:
                await store.memory.bound(Once(KEY, "hash", START_US)).write(NS, [putting("a")], note())
            except DuplicateRequest:
                return False
            return True

        assert sorted(await asyncio.gather(*(put() for _ in range(8)))) == [False] * 7 + [True]
        assert [entry.version for entry in await store.memory.versions(NS, "global", "a", None, 10)] == [1]

    async def test_what_was_refused_is_not_kept(self, store: Store) -> None:
        bound = store.memory.bound(Once(KEY, "hash", START_US))
        with pytest.raises(Conflict):
            await bound.write(NS, [putting("a", expected=7)], note())
        assert await store.find_request(KEY) is None
        await bound.write(NS, [putting("a")], note())
        assert await store.find_request(KEY) is not None

    async def test_a_change_that_comes_to_nothing_says_where_the_log_stands(self, store: Store) -> None:
        await remember(store, NS, "a")
        once = Once(None, "", START_US)
        made = await store.memory.bound(once).create_snapshot(NS, "global", "", "ada", START_US)
        assert once.position == made.position == 1
        elsewhere = Once(None, "", START_US)
        await store.memory.bound(elsewhere).put_rules("elsewhere", b"[]", "ada", START_US, None)
        assert elsewhere.position == 0

    async def test_the_answer_to_many_changes_is_stored_after_them(self, store: Store) -> None:
        once = Once(KEY, "hash", START_US)
        await remember(store, NS, "a")
        await store.memory.bound(once).remember(NS, 3)
        found = await store.find_request(KEY)
        assert found is not None
        assert (found.answer, found.seq, once.position) == (b"3", 1, 1)
        with pytest.raises(DuplicateRequest):
            await store.memory.bound(Once(KEY, "hash", START_US)).remember(NS, 4)
        assert await store.prune_requests(START_US + 1, 10) == 1
        assert await store.find_request(KEY) is None

    async def test_the_answer_of_any_kind_can_be_read_again(self, store: Store) -> None:
        key = KEY._replace(method="CreateSnapshot")
        made = await store.memory.bound(Once(key, "hash", START_US)).create_snapshot(NS, "global", "é", "ada", START_US)
        found = await store.find_request(key)
        assert found is not None
        assert msgspec.json.decode(found.answer, type=MemorySnapshot) == made
