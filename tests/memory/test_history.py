"""Memory's past, as the service and programs see it."""

from __future__ import annotations

import pytest

from orcs_server.errors import IllegalTransition, InvalidArgument, NotFound, OutOfRange
from orcs_server.memory import Actor, Memory, Permission, ReadSet, Rule, upkeep
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
    clock.time_us = START_US + 105

    async def at(moment: At) -> bytes | None:
        found = await shared.history.get(NS, ADA, "key", "global", moment)
        return None if found is None else found.value

    past = [At(version=1), At(position=1), At(time_us=START_US + 19)]
    assert [await at(one) for one in past] == [b"value 1"] * 3
    assert [await at(one) for one in (At(version=2), At(), At(position=2))] == [b"value 2"] * 3
    assert await at(At(time_us=START_US + 9)) is None
    wrong = [
        At(position=3),
        At(position=-1),
        At(time_us=START_US + 106),
        At(time_us=-1),
        At(1, 1),
        At(None, 1, START_US),
    ]
    for one in wrong:
        with pytest.raises(InvalidArgument):
            await at(one)
    with pytest.raises(NotFound, match="has no version 3"):
        await at(At(version=3))
    page = await shared.history.page(NS, ADA, "global", At(time_us=START_US + 15))
    assert [entry.version for entry in page.entries] == [1]


async def test_what_has_expired_is_absent_in_any_past_and_stays_so(shared: Memory, clock: SetClock) -> None:
    await shared.put(NS, ADA, "secret", encode("swordfish"), "global", ttl_us=100)
    await shared.put(NS, ADA, "other", encode("kept"), "global")
    snapshot = await shared.history.create_snapshot(NS, ADA, "global")
    await shared.put(NS, ADA, "other", encode("changed"), "global")
    clock.time_us += 100
    for at in (At(position=1), At(position=2), At(time_us=START_US), At()):
        assert await shared.history.get(NS, ADA, "secret", "global", at) is None
    with pytest.raises(NotFound, match=r"time to live of version 1 of 'secret' in global is over"):
        await shared.history.get(NS, ADA, "secret", "global", At(version=1))
    page = await shared.history.page(NS, ADA, "global", At(position=2))
    assert [entry.key for entry in page.entries] == ["other"]
    compared = await shared.history.compare(NS, ADA, "global", snapshot.number)
    assert [one.key for one in compared.differences] == ["other"]
    with pytest.raises(IllegalTransition, match="store a value anew") as caught:
        await shared.history.revert(NS, ADA, "secret", "global", 1)
    assert caught.value.reason == "MEMORY_EXPIRED"
    assert await shared.history.restore(NS, ADA, "global", snapshot.number) == 1
    assert await held(shared) == {"other": b"kept"}
    assert (await shared.history.compare(NS, ADA, "global", snapshot.number)).differences == []
    (version,) = await shared.history.versions(NS, ADA, "secret", "global")
    assert version.expires_us == START_US + 100, "the history says when"


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


async def test_a_quarantine_follows_copies_and_names_what_was_made_of_the_run(
    shared: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcs_server.memory.quarantine.STRETCH", 1)
    run = RunFilter("w1", "t1")
    await shared.put(NS, ADA, "fact", encode("good"), "shared:team")
    await shared.put(NS, AGENT, "fact", encode("bad"), "workflow:w1")
    await shared.share(NS, ADA, "fact", "workflow:w1", "shared:team")
    await shared.share(NS, ADA, "fact", "shared:team", "global")
    await shared.share(NS, ADA, "fact", "workflow:w1", "shared:mended")
    await shared.put(NS, ADA, "fact", encode("mended"), "shared:mended")
    other, reads = Actor("ada", "writing_agent", "w2", "t1", 1), ReadSet()
    await shared.access.set_rules(NS, ADA, [Rule("agent:writing_agent", "shared:*", (Permission.READ,))], START_US)
    await shared.get(NS, other, "fact", "shared:team", reads)
    await shared.put(NS, other, "report", encode("says: bad"), "workflow:w2", reads=reads)
    await shared.put(NS, other, "unrelated", encode("x"), "workflow:w2")
    taken = await shared.history.quarantine(NS, ADA, run)
    assert set(taken.reverted) == {("workflow:w1", "fact"), ("shared:team", "fact"), ("global", "fact")}
    assert (taken.overwritten, taken.forgotten) == ([], [])
    assert (taken.derived, taken.keys) == ([Place("workflow:w2", "report")], 3)
    assert [await held(shared, scope) for scope in ("workflow:w1", "global")] == [{}, {}]
    assert await held(shared, "shared:team") == {"fact": b"good"}
    assert await held(shared, "shared:mended") == {"fact": b"mended"}
    before = (await shared.history.moment(NS, At())).position
    again = await shared.history.quarantine(NS, ADA, run)
    assert (again.reverted, again.overwritten, again.forgotten) == ([], [], [])
    # The copies are no longer there to be found: of the keys that the run itself wrote there is one.
    assert (again.derived, again.keys) == ([Place("workflow:w2", "report")], 1)
    assert (await shared.history.moment(NS, At())).position == before
    assert (await shared.history.quarantine(NS, ADA, RunFilter("w9"))).keys == 0


async def test_scopes_are_listed_with_what_may_be_read_of_them(
    shared: Memory, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcs_server.memory.inventory.KEYS_AT_ONCE", 2)
    for number in range(5):
        clock.time_us += 10
        await shared.put(NS, ADA, f"k{number}", encode(number), "workflow:w1")
    await shared.put(NS, ADA, "brief", encode(1), "workflow:w2", ttl_us=5)
    await shared.put(NS, ADA, "gone", encode(1), "shared:team")
    clock.time_us += 10
    await shared.delete(NS, ADA, "gone", "shared:team")
    await shared.put("other", ADA, "a", encode(1), "global")
    found = await shared.history.scopes(NS, ADA)
    assert found == (
        [
            ("shared:team", 0, START_US + 60),
            ("workflow:w1", 5, START_US + 50),
            ("workflow:w2", 0, START_US + 50),
        ],
        None,
    )
    page = await shared.history.scopes(NS, ADA, "workflow:", limit=1)
    assert ([one.scope for one in page.scopes], page.after) == (["workflow:w1"], "workflow:w1")
    page = await shared.history.scopes(NS, ADA, "workflow:", "workflow:w1", 1)
    assert [one.scope for one in page.scopes] == ["workflow:w2"]
    assert (await shared.history.scopes(NS, ADA, "workflow:", "workflow:w2", 1)) == ([], None)
    assert (await shared.history.scopes(NS, ADA, "x")) == ([], None)
    # An agent is told of what it may read; of a part of a scope only what that part holds.
    rules = [
        Rule("agent:*", "shared:team", (Permission.READ,), "notes/"),
        Rule("agent:*", "workflow:w1", (Permission.READ,), "k4", allow=False),
    ]
    await shared.access.set_rules(NS, ADA, rules, START_US)
    assert (await shared.history.scopes(NS, AGENT)).scopes == [("workflow:w1", 4, START_US + 40)]
    monkeypatch.setattr("orcs_server.memory.inventory.COUNTED", 4)
    page = await shared.history.scopes(NS, ADA)
    assert ([one.entries for one in page.scopes], page.after) == ([0, 4], "workflow:w1")


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
