"""Memory's past, as the service and programs see it."""

from __future__ import annotations

import pytest

from orcs_server.errors import InvalidArgument, NotFound, OutOfRange
from orcs_server.memory import Actor, Memory, upkeep
from orcs_server.memory.history import At
from orcs_server.memory.values import encode
from orcs_server.storage.memory_rows import Place, RunFilter
from orcs_server.storage.sqlite import SqliteStore
from tests.memory.conftest import START_US, SetClock

NS = "default"
ADA = Actor("ada")
AGENT = Actor("ada", "research_agent", "w1", "t1", 1)


async def held(memory: Memory, scope: str = "global") -> dict[str, bytes]:
    found = {}
    for entry in (await memory.page(NS, ADA, scope)).entries:
        value = await memory.get(NS, ADA, entry.key, scope)
        assert value is not None
        found[entry.key] = value.value
    return found


async def test_a_key_is_read_by_version_position_and_time(shared: Memory, clock: SetClock) -> None:
    for number in (1, 2):
        clock.time_us = START_US + number * 10
        await shared.put(NS, ADA, "key", encode(f"value {number}"), "global", ttl_us=100)
    clock.time_us = START_US + 1000

    async def at(moment: At) -> bytes | None:
        found = await shared.history.get(NS, ADA, "key", "global", moment)
        return None if found is None else found.value

    assert [await at(At(version=1)), await at(At(position=1)), await at(At(time_us=START_US + 19))] == [b"value 1"] * 3
    assert await at(At(version=2)) == b"value 2"  # Expired, but asked for by its number.
    assert [await at(At()), await at(At(position=2)), await at(At(time_us=START_US + 9))] == [None] * 3
    assert await at(At(time_us=START_US + 119)) == b"value 2"
    assert await at(At(time_us=START_US + 120)) is None
    for wrong in (At(position=3), At(position=-1), At(time_us=START_US + 1001), At(time_us=-1)):
        with pytest.raises(InvalidArgument):
            await at(wrong)
    with pytest.raises(NotFound):
        await at(At(version=3))
    page = await shared.history.page(NS, ADA, "global", At(time_us=START_US + 15))
    assert [entry.version for entry in page.entries] == [1]


async def test_a_snapshot_is_restored_in_its_own_scope_only(shared: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orcs_server.memory.history.SLICE", 2)
    for number in range(5):
        await shared.put(NS, ADA, f"k{number}", encode(f"old {number}"), "global")
    snapshot = await shared.history.create_snapshot(NS, ADA, "global", "before the run")
    before = await held(shared)
    for number in range(4):
        await shared.put(NS, AGENT, f"k{number}", encode("new"), "workflow:w1")
        await shared.put(NS, ADA, f"k{number}", encode("new"), "global")
    await shared.delete(NS, ADA, "k4", "global")
    for scope, number in (("workflow:w1", snapshot.number), ("global", 2), ("global", 0), ("global", 2**70)):
        for use in (
            shared.history.restore(NS, ADA, scope, number),
            shared.history.compare(NS, ADA, scope, number),
            shared.history.delete_snapshot(NS, ADA, scope, number),
        ):
            with pytest.raises(NotFound, match="no snapshot"):
                await use
    with pytest.raises(NotFound):
        await shared.history.restore("other", ADA, "global", snapshot.number)
    compared = await shared.history.compare(NS, ADA, "global", snapshot.number)
    assert [one.key for one in compared.differences] == [f"k{number}" for number in range(5)]
    assert await shared.history.restore(NS, ADA, "global", snapshot.number) == 5
    assert await held(shared) == before
    assert set((await held(shared, "workflow:w1")).values()) == {b"new"}
    assert await shared.history.restore(NS, ADA, "global", snapshot.number) == 0
    later = await shared.history.create_snapshot(NS, ADA, "global")
    assert (await shared.history.compare(NS, ADA, "global", snapshot.number, later.number)).differences == []
    assert [one.number for one in await shared.history.snapshots(NS, ADA)] == [2, 1]
    await shared.history.delete_snapshot(NS, ADA, "global", snapshot.number)
    assert [one.title for one in await shared.history.snapshots(NS, ADA, "global")] == [""]


async def test_an_agent_may_restore_its_workflows_scope(shared: Memory) -> None:
    await shared.put(NS, AGENT, "key", encode("good"), "workflow:w1")
    snapshot = await shared.history.create_snapshot(NS, AGENT, "workflow:w1")
    await shared.put(NS, AGENT, "key", encode("bad"), "workflow:w1")
    await shared.history.create_snapshot(NS, ADA, "global")
    assert [one.scope for one in await shared.history.snapshots(NS, AGENT)] == ["global", "workflow:w1"]
    assert await shared.history.restore(NS, AGENT, "workflow:w1", snapshot.number) == 1
    assert await held(shared, "workflow:w1") == {"key": b"good"}


async def test_a_run_is_quarantined_in_slices(shared: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orcs_server.memory.history.SLICE", 2)
    for number in range(5):
        await shared.put(NS, ADA, f"k{number}", encode("good"), "workflow:w1")
        await shared.put(NS, AGENT, f"k{number}", encode("bad"), "workflow:w1")
    await shared.put(NS, ADA, "k4", encode("better"), "workflow:w1")
    taken = await shared.history.quarantine(NS, ADA, RunFilter("w1", "t1", 1))
    assert len(taken.reverted) == 4
    assert (taken.overwritten, taken.forgotten) == ([Place("workflow:w1", "k4")], [])
    assert await held(shared, "workflow:w1") == {**{f"k{n}": b"good" for n in range(4)}, "k4": b"better"}
    versions = await shared.history.versions(NS, ADA, "k0", "workflow:w1")
    assert [one.writer.principal for one in versions] == ["ada", "ada", "ada"]
    assert versions[0].origin.restored == 1
    with pytest.raises(InvalidArgument):
        await shared.history.quarantine(NS, ADA, RunFilter(""))


async def test_a_purge_takes_a_prefix_or_a_key_and_nothing_beside_it(
    shared: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcs_server.memory.history.SLICE", 2)
    for key in ("a", "a:b", "ab", "b"):
        for value in (1, 2, 3):
            await shared.put(NS, ADA, key, encode(f"{key} {value}"), "global")
    assert await shared.history.purge(NS, ADA, "global", key="a") == 3
    assert set(await held(shared)) == {"a:b", "ab", "b"}
    assert await shared.history.purge(NS, ADA, "global", prefix="a:") == 3
    assert set(await held(shared)) == {"ab", "b"}
    assert await shared.history.purge(NS, ADA, "global") == 6
    assert await shared.history.purge(NS, ADA, "global") == 0
    assert await shared.search(NS, ADA, "3") == []


async def test_what_is_old_is_let_go_of(
    shared: Memory, store: SqliteStore, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcs_server.memory.upkeep.SLICE", 2)
    for number in range(5):
        await shared.put(NS, ADA, f"brief{number}", encode(1), "global", ttl_us=10)
        await shared.put(NS, ADA, "key", encode(number), "global")
    clock.time_us += 100
    await upkeep.go_over(store.memory, clock.now_us(), past_kept_us=1000)
    assert set(await held(shared)) == {"key"}
    assert len(await shared.history.versions(NS, ADA, "brief0", "global")) == 2
    clock.time_us += 10_000
    await upkeep.go_over(store.memory, clock.now_us(), past_kept_us=1000)
    # A deletion goes once nothing stands behind it any more.
    await upkeep.go_over(store.memory, clock.now_us(), past_kept_us=1000)
    assert await shared.history.versions(NS, ADA, "brief0", "global") == []
    assert [one.version for one in await shared.history.versions(NS, ADA, "key", "global")] == [5]
    with pytest.raises(OutOfRange):
        await shared.history.get(NS, ADA, "key", "global", At(position=2))
    assert await store.memory.newest(NS, "global", "key", clock.now_us()) is not None
