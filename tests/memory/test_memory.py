"""Memory for programs and agents, over real data files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orcs_server.errors import Conflict, InvalidArgument, PermissionDenied, StartupError
from orcs_server.memory import MemorySystem
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
    scopes = ["global", "workflow:w1", "workflow:w2", "task:w1/t1", "agent:research_agent", "shared:team.a"]
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
    monkeypatch.setattr("orcs_server.memory.memory.PAGE_LIMIT", 2)
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


@pytest.mark.parametrize(
    "scope",
    [
        "workflow:",
        "task:t1",
        "task:w1/t1/t2",
        "agent:No One",
        "everything",
        "global:",
        "workflow:a/b",
        "shared:a b",
        "shared:",
    ],
)
async def test_a_scope_that_is_none_is_refused_with_advice(memory: MemorySystem, scope: str) -> None:
    with pytest.raises(InvalidArgument, match="use global, workflow:ID"):
        await memory.retrieve("key", scope)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "missing"),
        ("x" * 513, "513 bytes"),
        ("ä" * 257, "514 bytes"),
        ("a\nb", "control"),
        ("\x1b[31m", "control"),
        ("a\u202eb", "invisible"),
        ("a\0b", "control"),
        ("\ud800", "surrogate"),
    ],
)
async def test_a_key_that_is_none_is_refused_and_the_reason_said(memory: MemorySystem, key: str, why: str) -> None:
    for use in (memory.store(key, 1), memory.retrieve(key), memory.delete(key)):
        with pytest.raises(InvalidArgument, match=why) as caught:
            await use
        assert caught.value.violations[0].field == "key"
    assert await memory.store("ä" * 256, 1) == 1


@pytest.mark.parametrize("value", [object(), {1: 2}, float("nan"), {"a": {1, 2}}, "\ud800", "x" * 1_048_577])
async def test_a_value_that_cannot_be_stored_is_refused(memory: MemorySystem, value: object) -> None:
    with pytest.raises(InvalidArgument):
        await memory.store("key", value)
    assert await memory.keys() == []


async def test_an_expected_version_that_is_stale_is_refused(memory: MemorySystem) -> None:
    assert await memory.store("key", 1, expected_version=0) == 1
    with pytest.raises(Conflict, match="read again"):
        await memory.store("key", 2, expected_version=0)
    assert await memory.store("key", 2, expected_version=1) == 2
    assert await memory.retrieve("key") == 2


async def test_a_value_is_gone_after_its_time(memory: MemorySystem) -> None:
    await memory.store("brief", 1, ttl_s=0.001)
    await memory.store("lasting", 1, ttl_s=3600)
    await asyncio.sleep(0.01)
    assert (await memory.retrieve("brief"), await memory.retrieve("lasting")) == (None, 1)
    for wrong in (0, -1, 1e12):
        with pytest.raises(InvalidArgument, match="time to live"):
            await memory.store("key", 1, ttl_s=wrong)


async def test_texts_are_searched_for_words_whatever_else_a_query_holds(memory: MemorySystem) -> None:
    await memory.store("note", "Tea grows in the hills", "workflow:w1")
    await memory.store("plan", {"drink": "tea"})
    assert {key for _, key, _ in await memory.search("tea")} == {"note", "plan"}
    assert await memory.search("tea hills") == [("workflow:w1", "note", "Tea grows in the hills")]
    assert await memory.search("tea", "workflow:w2") == []
    for query in (
        'tea"',
        "tea*",
        "NEAR(tea)",
        "tea -x:",
        "{key} : tea",
        "tea' OR '1",
        "^tea",
        "tea\0hills",
        "tea\ud800",
    ):
        assert isinstance(await memory.search(query), list)
    assert await memory.search('"tea" (hills)') == await memory.search("tea hills")
    assert await memory.search("AND tea") == []
    for query in ("", " \t", '"*"', "\u2603"):
        with pytest.raises(InvalidArgument, match="no word"):
            await memory.search(query)
    with pytest.raises(InvalidArgument, match="shorten"):
        await memory.search("x" * 5000)


async def test_an_agent_reaches_its_own_scopes_only(memory: MemorySystem) -> None:
    context = memory.create_agent_context("research_agent", "w1", "t1")
    for scope in ("workflow:w1", "task:w1/t1"):
        await context.store("key", scope, scope)
        assert await context.retrieve("key", scope) == scope
        assert await context.keys(scope) == ["key"]
        assert await context.delete("key", scope)
    for scope in ("global", "agent:research_agent"):
        await memory.store("key", scope, scope)
        assert await context.retrieve("key", scope) == scope
        for use in (context.store("key", 1, scope), context.delete("key", scope)):
            with pytest.raises(PermissionDenied, match="may not"):
                await use
    for scope in ("workflow:w10", "workflow:w2", "task:w1/t2", "task:w2/t1", "agent:writing_agent", "shared:team"):
        for way in (context.retrieve("key", scope), context.keys(scope), context.store("key", 1, scope)):
            with pytest.raises(PermissionDenied):
                await way


async def test_an_agent_looks_in_its_task_its_workflow_its_own_scope_and_then_globally(memory: MemorySystem) -> None:
    context = memory.create_agent_context("research_agent", "w1", "t1")
    scopes = ["global", "agent:research_agent", "workflow:w1", "task:w1/t1"]
    for scope in scopes:
        await memory.store("key", scope, scope)
        assert await context.retrieve("key") == scope
    while scopes:
        await memory.delete("key", scopes.pop())
        assert await context.retrieve("key") == (scopes[-1] if scopes else None)


async def test_what_an_agent_stores_without_a_scope_its_siblings_read(memory: MemorySystem) -> None:
    first, second = (memory.create_agent_context("research_agent", "w1", task) for task in ("t1", "t2"))
    assert await first.store("found", {"n": 1}) == 1
    assert await second.retrieve("found") == {"n": 1}
    with pytest.raises(Conflict):
        await second.store("found", 2, expected_version=0)
    assert [hit.entry.key for hit in await second.search("found something about n")] == ["found"]


@pytest.mark.parametrize("names", [("No One", "w1", ""), ("agent", "w/1", ""), ("agent", "w1", "../t")])
def test_an_agent_with_an_odd_name_gets_no_context(tmp_path: Path, names: tuple[str, str, str]) -> None:
    with pytest.raises(InvalidArgument, match="no scope"):
        MemorySystem(tmp_path / "orcs.db").create_agent_context(*names)


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
