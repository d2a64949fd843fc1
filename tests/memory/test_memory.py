"""Memory for programs and agents, over real data files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orcs_server.errors import Conflict, InvalidArgument, PermissionDenied, StartupError
from orcs_server.memory import Memory, MemorySystem
from orcs_server.storage.sqlite import SqliteStore


class Isolated:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def get_isolation_prefix(self) -> str:
        return self.prefix


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[MemorySystem]:
    async with MemorySystem(tmp_path / "orcs.db") as memory:
        yield memory


@pytest.mark.parametrize(
    "value", ["", "text äöü", b"\x00\xff", None, True, 2**53 + 1, 1.5, [1, "a"], {"a": {"b": [None]}}]
)
async def test_a_value_comes_back_as_it_was_stored(memory: MemorySystem, value: object) -> None:
    await memory.store("key", value)
    assert await memory.retrieve("key", default="nothing") == value
    assert type(await memory.retrieve("key", default="nothing")) is type(value)


async def test_values_outlive_the_program(tmp_path: Path) -> None:
    for expected in (None, {"n": 1}):
        async with MemorySystem(tmp_path / "new" / "folder" / "orcs.db") as memory:
            assert await memory.retrieve("key", "workflow:w1") == expected
            await memory.store("key", {"n": 1}, "workflow:w1")


async def test_scopes_do_not_see_each_other(memory: MemorySystem) -> None:
    scopes = ["global", "workflow:w1", "workflow:w2", "task:w1/t1", "agent:research_agent"]
    for scope in scopes:
        await memory.store("key", scope, scope)
    assert [await memory.retrieve("key", scope) for scope in scopes] == scopes


async def test_deleted_keys_are_gone_and_keys_are_listed_by_prefix(memory: MemorySystem) -> None:
    for key in ("b", "a/2", "a/1", "c"):
        assert await memory.store(key, key) == 1
    assert await memory.store("b", "again") == 2
    assert await memory.delete("c")
    assert not await memory.delete("c")
    assert await memory.retrieve("c", default=0) == 0
    assert await memory.keys() == ["a/1", "a/2", "b"]
    assert await memory.keys(prefix="a/") == ["a/1", "a/2"]


async def test_all_keys_are_listed_however_many_there_are(
    memory: MemorySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcs_server.memory.memory.KEYS_AT_ONCE", 2)
    for number in range(5):
        await memory.store(f"k{number}", number)
    assert len(await memory.keys()) == 5


async def test_users_of_one_file_see_nothing_of_each_other(tmp_path: Path) -> None:
    """Not even where a prefix and a key run into each other."""
    path = tmp_path / "orcs.db"
    first, second = (MemorySystem(path, isolation_provider=Isolated(name)) for name in ("user:1", "user:1:a"))
    async with first, second:
        await asyncio.gather(first.store("a:key", 1), second.store("key", 2))
        assert await first.keys() == ["a:key"]
        assert await second.keys() == ["key"]
        await first.close()
        assert await second.retrieve("key") == 2  # The file stays open for the other one.


@pytest.mark.parametrize("prefix", ["", "a b", "../x", "x" * 200, None])
async def test_a_prefix_that_is_no_namespace_is_refused(tmp_path: Path, prefix: str) -> None:
    async with MemorySystem(tmp_path / "orcs.db", isolation_provider=Isolated(prefix)) as memory:
        with pytest.raises(InvalidArgument, match="no namespace"):
            await memory.store("key", 1)


@pytest.mark.parametrize("scope", ["", "workflow:", "task:t1", "agent:No One", "everything", "global:", "workflow:a/b"])
async def test_a_scope_that_is_none_is_refused_with_advice(memory: MemorySystem, scope: str) -> None:
    with pytest.raises(InvalidArgument, match="use global, workflow:ID"):
        await memory.retrieve("key", scope)


@pytest.mark.parametrize("key", ["", "x" * 513, "a\nb", "\x1b[31m", "\ud800"])
async def test_a_key_that_is_none_is_refused(memory: MemorySystem, key: str) -> None:
    with pytest.raises(InvalidArgument, match="printable characters"):
        await memory.store(key, 1)


@pytest.mark.parametrize("value", [object(), {1: 2}, float("nan"), {"a": {1, 2}}, "\ud800", "x" * 1_048_577])
async def test_a_value_that_cannot_be_stored_is_refused(memory: MemorySystem, value: object) -> None:
    with pytest.raises(InvalidArgument):
        await memory.store("key", value)
    assert await memory.keys() == []


async def test_an_expected_version_that_is_stale_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    memory = Memory(store)
    assert await memory.put("default", "key", 1, writer="ada", expected_version=0) == 1
    with pytest.raises(Conflict):
        await memory.put("default", "key", 2, writer="bob", expected_version=0)
    assert await memory.get("default", "key") == 1
    entry = await store.get_memory("default", "global", "key")
    assert entry is not None
    assert entry.writer == "ada"
    await store.close()


async def test_an_agent_reaches_its_own_scopes_only(memory: MemorySystem) -> None:
    context = memory.create_agent_context("research_agent", "w1", "t1")
    for scope in ("global", "workflow:w1", "task:w1/t1", "task:w1/t2", "agent:research_agent"):
        await context.store("key", scope, scope)
        assert await context.retrieve("key", scope) == scope
        assert await context.keys(scope) == ["key"]
        assert await context.delete("key", scope)
    for scope in ("workflow:w10", "workflow:w2", "task:w2/t1", "agent:writing_agent"):
        with pytest.raises(PermissionDenied):
            await context.retrieve("key", scope)


def test_a_memory_that_nobody_closed_is_closed_with_its_event_loop(tmp_path: Path) -> None:
    memory = MemorySystem(tmp_path / "orcs.db")
    asyncio.run(memory.store("key", 1))
    assert asyncio.run(memory.retrieve("key")) == 1


async def test_a_file_that_another_program_has_open_is_refused(tmp_path: Path) -> None:
    server = SqliteStore(tmp_path / "orcs.db")
    await server.open()
    with pytest.raises(StartupError, match="in use"):
        await MemorySystem(tmp_path / "orcs.db").store("key", 1)
    await server.close()
    async with MemorySystem(tmp_path / "orcs.db") as memory:
        await memory.store("key", 1)


async def test_without_a_path_the_file_lies_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    async with MemorySystem() as memory:
        await memory.store("key", 1)
    assert (tmp_path / "orcs" / "embedded.db").exists()
