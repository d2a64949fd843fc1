"""What is particular to memory in the SQLite file: its bounds, what is left in the file, the index."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orcs_server.errors import OutOfRange, ResourceExhausted, Unavailable
from orcs_server.storage.journal import JournalKey, MessageRead
from orcs_server.storage.memory_rows import (
    VERSIONS_KEPT,
    EntrySource,
    Origin,
    Place,
    RunFilter,
    SearchQuery,
)
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.sqlite.examination import examine
from orcs_server.storage.sqlite.memory import reading, searching, tracing, writing
from orcs_server.storage.store import Store, blob_of
from tests.storage.conformance_memory import LATER_US, NS, found
from tests.storage.memories import forget, note, putting, remember, run, text_of, texts
from tests.storage.samples import START_US, written_by


async def test_a_namespace_has_no_more_entries_than_it_may(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ENTRIES_LIMIT", 2)
    await store.memory.write(NS, [putting("a"), putting("b")], note())
    with pytest.raises(ResourceExhausted, match="2 memory entries"):
        await remember(store, NS, "c")
    await remember(store, NS, "a", "again")
    await remember(store, "other", "c")
    await forget(store, NS, "b")
    await remember(store, NS, "c")


async def test_rare_words_rank_and_common_ones_only_restrict(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "RARE", 3)
    monkeypatch.setattr(searching, "NEWEST", 4)
    for number in range(6):
        gems, place = " gem" * (number if number < 3 else 0), "workflow:w1" if number < 2 else "global"
        await remember(store, NS, f"k{number}", "common words" + gems, place)
    await remember(store, NS, "jewel", "a jewel, a gem")
    assert await found(store, "common") == ["k5", "k4", "k3", "k2"]
    assert await found(store, "common", scopes=("workflow:w1",)) == ["k1", "k0"]
    assert await found(store, "common", "gem") == ["k2", "k1"]
    assert await found(store, "common", "gem", scopes=("workflow:w1",)) == ["k1"]
    assert await found(store, "common", "gem", any_word=True) == ["k2", "k1", "jewel"]
    assert await found(store, "jewel", "gem") == ["jewel"]
    assert await found(store, "jewel", "common") == []


async def test_of_a_large_scope_the_newest_change_is_found_among_the_last_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "VERSIONS_LOOKED_AT", 2)
    monkeypatch.setattr(reading, "SCAN", 2)
    for number, key in enumerate(("c", "b", "a")):
        await remember(store, NS, key, scope="workflow:w1", time_us=START_US + number)
    await remember(store, NS, "z", scope="workflow:w1", time_us=START_US + 3)
    assert await store.memory.newest_change(NS, "workflow:w1") == START_US + 3
    for number in (4, 5):
        await remember(store, NS, "z", time_us=START_US + number)
    # No longer among the last: it is the newest of those that were looked at.
    assert await store.memory.newest_change(NS, "workflow:w1") == START_US + 2


async def test_one_stretch_looks_up_a_bounded_number_of_sources(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "LOOKUPS", 2)
    await remember(store, NS, "bad", writer=run())
    for number in range(4):
        sources = (EntrySource("global", f"none {number}", 1), EntrySource("global", "bad", 1))
        await remember(store, NS, f"k{number}", origin=Origin(sources))
    found: list[int] = []
    after: Place | None = None
    for _ in range(9):
        stretch = await store.memory.traces(NS, RunFilter("w1"), after, 100, START_US)
        found.append(len(stretch.derived))
        after = stretch.after
        if after is None:
            break
    assert found == [1, 1, 1, 1, 0]


async def test_a_copy_is_known_though_the_version_that_it_repeats_is_gone(store: Store) -> None:
    await remember(store, NS, "key", "bad", scope="shared:a", writer=run())
    await store.memory.copy(NS, EntrySource("shared:a", "key", 1), Place("global", "key"), note())
    await store.memory.revert(NS, Place("global", "key"), 1, note())
    for _ in range(VERSIONS_KEPT // 2):
        await remember(store, NS, "key", "since")
        await store.memory.revert(NS, Place("global", "key"), 2, note())
    with pytest.raises(OutOfRange):
        await store.memory.version(NS, "global", "key", 2)
    assert (await store.memory.traces(NS, RunFilter("w1"), None, 9, START_US)).copies == [Place("global", "key")]


async def test_search_is_paged_past_what_may_not_be_shown(store: SqliteStore) -> None:
    for number in range(6):
        await remember(store, NS, f"k{number}", "word")

    async def page(offset: int) -> list[str]:
        query = SearchQuery(["word"], None, may=lambda _, key: key != "k4", offset=offset, limit=2)
        return [hit.entry.key for hit in await store.memory.search(NS, query, LATER_US)]

    assert [await page(offset) for offset in (0, 2, 4, 6)] == [["k5", "k3"], ["k2", "k1"], ["k0"], []]


async def test_a_log_whose_versions_went_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "VERSIONS_KEPT", 2)
    for number in range(4):
        await remember(store, NS, "key", f"value {number}")
    await remember(store, NS, "key", scope="workflow:w1")
    assert [one.version for one in await store.memory.versions(NS, "global", "key", None, 9)] == [4, 3]
    with pytest.raises(Unavailable):
        await store.blob(NS, blob_of("value 0").digest)
    for scope in (None, "global"):
        with pytest.raises(OutOfRange, match="list the keys"):
            await store.memory.changes(NS, 1, 9, scope, "")
        assert len((await store.memory.changes(NS, 2, 9, scope, "")).versions) >= 2
    assert len((await store.memory.changes(NS, 0, 9, "workflow:w1", "")).versions) == 1


async def test_what_was_purged_is_in_no_part_of_the_file(store: SqliteStore, tmp_path: Path) -> None:
    secrets = ["Zanzibar", "quicksilver", "marzipan"]
    for number in range(50):
        await remember(store, NS, f"key{number}", f"plain words {number}")
    for secret in secrets:
        await remember(store, NS, "key", f"{secret} " * 300)
    await remember(store, NS, "key", "small secret: Zanzibar")
    await remember(store, NS, "kept", "harmless")
    await store.memory.create_snapshot(NS, "global", "", "ada", START_US)
    assert await store.memory.purge(NS, "global", "", "key", 100) == 4
    await store.memory.scrub(NS)
    content = b"".join(file.read_bytes().lower() for file in tmp_path.iterdir())  # noqa: ASYNC240
    assert b"harmless" in content
    assert [secret for secret in secrets if secret.lower().encode() in content] == []
    assert await found(store, "zanzibar") == []
    assert len(await found(store, "plain")) == 50


async def test_values_of_which_nothing_is_left_go_with_their_versions(store: SqliteStore) -> None:
    await remember(store, NS, "a", "twice")
    await remember(store, NS, "b", "twice")
    await store.memory.purge(NS, "global", "", "a", 100)
    assert await store.blob(NS, blob_of("twice").digest) == b"twice"
    await store.memory.purge(NS, "global", "", "b", 100)
    with pytest.raises(Unavailable):
        await store.blob(NS, blob_of("twice").digest)


async def test_a_purge_and_a_log_under_way_do_not_hinder_each_other(store: SqliteStore) -> None:
    for number in range(30):
        await remember(store, NS, f"key{number}")
    waiting = [store.memory.scrub(NS), store.memory.scrub("other"), remember(store, NS, "one more")]
    await asyncio.gather(*waiting)
    assert await text_of(store, NS, "one more") == "value"


async def test_a_refusal_among_writes_that_wait_together_refuses_only_itself(store: SqliteStore) -> None:
    await remember(store, NS, "key")
    writes = [store.memory.write(NS, [putting(f"k{number}")], note()) for number in range(20)]
    stale = store.memory.write(NS, [putting("key", expected=0)], note())
    outcomes = await asyncio.gather(*writes[:10], stale, *writes[10:], return_exceptions=True)
    assert [type(one).__name__ for one in outcomes] == ["list"] * 10 + ["Conflict"] + ["list"] * 10
    assert len(await texts(store, NS)) == 21


async def test_memory_of_version_4_is_read_searched_and_followed(tmp_path: Path) -> None:
    path = written_by(4, tmp_path / "old.db")
    store = SqliteStore(path)
    await store.open()
    assert set(await texts(store, NS)) == {"long", "notes"}
    plan = await store.memory.newest(NS, "workflow:w1", "plan", START_US)
    assert plan is not None
    assert (plan.value, plan.entry.version, plan.entry.writer.agent) == (
        b"second draft, about tea",
        2,
        "research_agent",
    )
    long = await store.memory.version(NS, "global", "long", 1)
    assert long is not None
    assert (long.size, long.writer.principal) == (3400, "ada")
    assert set(await found(store, "tea")) == {"plan", "notes", "long"}
    log = await store.memory.changes(NS, 0, 100, None, "")
    assert [(one.key, one.version, one.position, one.until) for one in log.versions] == [
        ("plan", 1, 1, 2), ("plan", 2, 2, None), ("notes", 1, 3, None), ("raw", 1, 4, 5), ("raw", 2, 5, None),
        ("long", 1, 6, None),
    ]  # fmt: skip
    assert await remember(store, NS, "plan", "third", "workflow:w1", time_us=START_US + 9) == (3, 7)
    assert await text_of(store, "user:1", "style", "agent:writing_agent") == "plain"
    assert await remember(store, "user:1", "style", "plainer", "agent:writing_agent") == (2, 2)
    assert (await store.memory.moment(NS)).position == 7
    # What else version 4 brought.
    messages = (await store.open_journal(JournalKey(NS, "w1", "t0", 1), 2)).messages
    assert messages == [MessageRead("", 0, 1, "m1")]
    assert [freeze.namespace for freeze in await store.freezes()] == ["frozen"]
    await store.close()
    assert examine(path).findings == []
