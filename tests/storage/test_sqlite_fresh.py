"""What is kept in memory of entries and rules is never anything but what the file holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from orcs_server.errors import Conflict, Unavailable
from orcs_server.storage.memory_rows import EntrySource, MemoryDelete, Moment, Place, RunFilter
from orcs_server.storage.sqlite import SqliteStore, writer
from orcs_server.storage.sqlite.memory.fresh import LARGEST, OVERHEAD, Fresh
from tests.storage.memories import note, putting, remember, run, text_of
from tests.storage.samples import START_US

NS = "red"
Change = Callable[[SqliteStore], Awaitable[object]]


async def often(store: SqliteStore, key: str = "a", now_us: int = START_US) -> str | None:
    found = await store.memory.newest(NS, "global", key, now_us, often=True)
    return None if found is None else found.value.decode()


def kept(store: SqliteStore) -> list[object]:
    return list(store._memory._fresh._kept.get(NS, {}))


CHANGES: dict[str, tuple[Change, str | None]] = {
    "put": (lambda store: remember(store, NS, "a", "new"), "new"),
    "delete": (lambda store: store.memory.write(NS, [MemoryDelete("global", "a")], note()), None),
    "revert": (lambda store: store.memory.revert(NS, Place("global", "a"), 1, note()), "first"),
    "restore": (lambda store: store.memory.rewind(NS, "global", Moment(1, START_US), "", 10, note()), "first"),
    "quarantine": (lambda store: store.memory.undo(NS, RunFilter("w1"), None, 10, note()), "first"),
    "purge": (lambda store: store.memory.purge(NS, "global", "", "a", 10), None),
    "purge of a prefix": (lambda store: store.memory.purge(NS, "global", "", None, 10), None),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_after_a_change_nobody_reads_what_was_there_before(store: SqliteStore, name: str) -> None:
    change, expected = CHANGES[name]
    await remember(store, NS, "a", "first")
    await remember(store, NS, "a", "second", writer=run())
    assert await often(store) == "second"
    assert kept(store)
    await change(store)
    assert not kept(store)
    assert await often(store) == expected
    assert await text_of(store, NS, "a") == expected


async def test_a_copy_is_read_where_another_value_was_kept(store: SqliteStore) -> None:
    await remember(store, NS, "a", "mine")
    await remember(store, NS, "a", "theirs", "shared:team")
    assert await often(store) == "mine"
    source = (await store.memory.newest(NS, "shared:team", "a", START_US)).entry  # type: ignore[union-attr]
    await store.memory.copy(NS, EntrySource("shared:team", "a", source.version), Place("global", "a"), note())
    assert await often(store) == "theirs"


async def test_what_has_expired_is_not_read_though_it_is_kept(store: SqliteStore) -> None:
    await store.memory.write(NS, [putting("a", expires_us=START_US + 10)], note())
    assert await often(store) == "value"
    assert await often(store, now_us=START_US + 10) is None


async def test_a_change_that_was_refused_leaves_what_is_there(store: SqliteStore) -> None:
    await remember(store, NS, "a", "first")
    assert await often(store) == "first"
    with pytest.raises(Conflict):
        await store.memory.write(NS, [putting("a", "second", expected=7)], note())
    assert await often(store) == "first"
    assert kept(store)


async def test_what_is_read_while_it_is_being_changed_is_not_kept(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remember(store, NS, "a", "first")
    begin, seen = writer.begin_batch, []

    def reading(*arguments: object) -> list[object]:
        outcomes = begin(*arguments)  # type: ignore[arg-type]
        # Between the statements and the commit others still read the old value: rightly, but it must not stay.
        task = asyncio.get_running_loop().create_task(often(store))
        seen.append(task)
        return outcomes

    monkeypatch.setattr(writer, "begin_batch", reading)
    await remember(store, NS, "a", "second")
    monkeypatch.undo()
    assert await seen[0] in ("first", "second")
    assert await often(store) == "second"


async def test_a_write_whose_caller_went_is_read_all_the_same(store: SqliteStore) -> None:
    await remember(store, NS, "a", "first")
    assert await often(store) == "first"
    waiting = asyncio.create_task(store.memory.wait(NS, (await store.memory.moment(NS)).position))
    gone = asyncio.create_task(remember(store, NS, "a", "second"))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(10):
        await waiting  # whoever watches hears of it
    await remember(store, NS, "b")  # goes to the disk after it
    assert await often(store) == "second"
    assert not store._memory._fresh._changing


async def test_a_write_that_cannot_even_be_taken_lets_its_key_be_kept_again(store: SqliteStore) -> None:
    await remember(store, NS, "a", "first")
    store._writer._closing = True
    with pytest.raises(Unavailable):
        await remember(store, NS, "a", "second")
    store._writer._closing = False
    assert await often(store) == "first"
    assert kept(store)


async def test_rules_are_kept_until_they_change(store: SqliteStore) -> None:
    assert await store.memory.rules(NS) is None
    await store.memory.put_rules(NS, b"[]", "ada", START_US, None)
    for version in (1, 2):
        for _ in range(2):
            stored = await store.memory.rules(NS)
            assert stored is not None
            assert stored.version == version
        await store.memory.put_rules(NS, b"[]", "ada", START_US, version)
    old = await store.memory.rules(NS, 1)
    assert old is not None
    assert old.version == 1


def test_nobody_keeps_more_than_a_share_and_nothing_large() -> None:
    fresh = Fresh(8 * (OVERHEAD + 1000))
    for number in range(10):
        fresh.keep("red", (str(number),), number, 1000)
        assert fresh.get("red", ("0",)) == 0
    # What was used last stays, and half of the room is left for others.
    assert [number for number in range(10) if fresh.get("red", (str(number),)) is not None] == [0, 7, 8, 9]
    for number in range(10):
        fresh.keep("blue", (str(number),), number, 1000)
    assert fresh.get("blue", ("9",)) == 9
    assert fresh.get("red", ("9",)) == 9
    fresh.keep("green", ("large",), 1, LARGEST)
    assert fresh.get("green", ("large",)) is None
    change = fresh.change("red", None)
    assert fresh.get("red", ("9",)) is None
    fresh.keep("red", ("9",), 9, 1000)
    assert fresh.get("red", ("9",)) is None
    change.over()
    change.over()
    fresh.keep("red", ("9",), 9, 1000)
    assert fresh.get("red", ("9",)) == 9
