"""How often keys are read, counted in memory and stored now and then: the sum is the same at any moment."""

from __future__ import annotations

from pathlib import Path

from orcs_server.memory import Actor, Memory
from orcs_server.memory.values import encode
from orcs_server.storage.memory_rows import Place
from orcs_server.storage.sqlite import SqliteStore

OPERATOR = Actor("olga", operator=True)


async def test_what_is_counted_and_what_is_stored_of_it_add_up(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    try:
        memory = Memory(store)
        for key in ("a", "b"):
            await memory.put("red", OPERATOR, key, encode("value"), "global")
        places = [Place("global", "a"), Place("global", "b"), Place("global", "none")]
        for expected in (1, 2, 3):
            assert memory.reads.often("red", "global", "a") == (expected == 2)
            await memory.get("red", OPERATOR, "a", "global")
            assert await memory.reads.counts("red", places) == [expected, 0, 0]
            if expected != 1:
                await memory.reads.flush()
                assert await memory.reads.counts("red", places) == [expected, 0, 0]
        assert await memory.reads.counts("blue", places) == [0, 0, 0]
    finally:
        await store.close()
