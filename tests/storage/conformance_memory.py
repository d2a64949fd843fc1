"""What every store promises about memory: entries, batches, pages, search, the log. `conformance` says how a store joins."""

from __future__ import annotations

import asyncio

import pytest

from orcs_server.errors import Conflict, InvalidArgument, NotFound, Unavailable
from orcs_server.storage.memory_rows import (
    EntrySource,
    KeyReads,
    MemoryChange,
    MemoryCheck,
    MemoryDelete,
    Origin,
    OutputSource,
    Place,
    SearchQuery,
    Trust,
)
from orcs_server.storage.store import Store
from tests.storage.conformance_rows import Reopen
from tests.storage.memories import ADA, forget, note, putting, remember, run, text_of
from tests.storage.samples import START_US

NS = "default"
LATER_US = START_US + 1_000_000


async def found(store: Store, *words: str, scopes: tuple[str, ...] | None = None, any_word: bool = False) -> list[str]:
    hits = await store.memory.search(NS, SearchQuery(words, scopes, any_word), LATER_US)
    return [hit.entry.key for hit in hits]


class MemoryConformance:
    """Entries as they are now."""

    async def test_memory_keeps_every_version_and_who_made_it_of_what(self, store: Store, reopen: Reopen) -> None:
        origin = Origin((EntrySource("global", "other", 3), OutputSource("w1", "t0")), left_out=2)
        assert await remember(store, NS, "key", "value 1") == (1, 1)
        said = note(START_US + 2, run(), Trust.EXTERNAL, origin)
        await store.memory.write(NS, [putting("key", "value 2", expires_us=LATER_US)], said)
        store = await reopen()
        value = await store.memory.newest(NS, "global", "key", START_US)
        assert value is not None
        entry = value.entry
        assert (value.value, entry.version, entry.position, entry.until, entry.size) == (b"value 2", 2, 2, None, 7)
        assert (entry.writer, entry.trust, entry.origin) == (run(), Trust.EXTERNAL, origin)
        assert (entry.time_us, entry.expires_us, entry.media_type) == (START_US + 2, LATER_US, "text/plain")
        first = await store.memory.version(NS, "global", "key", 1)
        assert first is not None
        assert (first.until, first.writer, await store.memory.value(NS, first)) == (2, ADA, b"value 1")
        history = await store.memory.versions(NS, "global", "key", None, 10)
        assert [one.version for one in history] == [2, 1]
        assert await store.memory.versions(NS, "global", "key", 2, 10) == [first]
        assert await store.memory.version(NS, "global", "key", 3) is None

    async def test_a_memory_key_can_be_deleted_and_come_back(self, store: Store) -> None:
        assert await forget(store, NS, "key") == (0, 0)
        await remember(store, NS, "key")
        assert await forget(store, NS, "key") == (2, 2)
        assert await text_of(store, NS, "key") is None
        assert await store.memory.page(NS, "global", "", "", 10, START_US) == []
        deletion = await store.memory.version(NS, "global", "key", 2)
        assert deletion is not None
        assert deletion.deleted
        assert await store.memory.value(NS, deletion) == b""
        (written,) = await store.memory.write(NS, [putting("key", expected=0)], note())
        assert written == (3, 3)

    async def test_an_expired_entry_is_absent_and_then_deleted(self, store: Store) -> None:
        await store.memory.write(NS, [putting("brief", expires_us=LATER_US), putting("lasting")], note())
        assert await text_of(store, NS, "brief", now_us=LATER_US - 1) == "value"
        assert await text_of(store, NS, "brief", now_us=LATER_US) is None
        assert [one.key for one in await store.memory.page(NS, "global", "", "", 9, LATER_US)] == ["lasting"]
        assert await found(store, "value") == ["lasting"]
        assert await store.memory.expire(LATER_US - 1, 10) == 0
        assert await store.memory.expire(LATER_US, 10) == 1
        assert await store.memory.expire(LATER_US, 10) == 0
        changes = await store.memory.changes(NS, 2, 10, None, "")
        assert [(one.key, one.deleted) for one in changes.versions] == [("brief", True)]
        (written,) = await store.memory.write(NS, [putting("brief", expected=0)], note(LATER_US))
        assert written.version == 3

    async def test_a_key_that_has_expired_may_be_written_as_an_absent_one(self, store: Store) -> None:
        await store.memory.write(NS, [putting("brief", expires_us=LATER_US)], note())
        (written,) = await store.memory.write(NS, [putting("brief", "again", expected=0)], note(LATER_US))
        assert written.version == 2
        with pytest.raises(Conflict, match="at version 2, not absent"):
            await store.memory.write(NS, [putting("brief", expected=0)], note(LATER_US))

    async def test_of_two_that_write_the_same_version_one_is_refused(self, store: Store) -> None:
        await remember(store, NS, "key")
        outcomes = await asyncio.gather(
            *(store.memory.write(NS, [putting("key", text, expected=1)], note()) for text in ("one", "two")),
            return_exceptions=True,
        )
        assert outcomes[0] == [(2, 2)]
        assert isinstance(outcomes[1], Conflict)
        assert await text_of(store, NS, "key") == "one"
        with pytest.raises(Conflict, match="absent, not at version 4"):
            await store.memory.write(NS, [MemoryDelete("global", "new", 4)], note())

    async def test_a_batch_compares_first_and_is_all_or_nothing(self, store: Store) -> None:
        await remember(store, NS, "a")
        batch: list[MemoryChange] = [putting("a", "new"), putting("b", "new"), MemoryCheck("global", "c", 1)]
        with pytest.raises(Conflict, match="'c' in global is absent"):
            await store.memory.write(NS, batch, note())
        assert (await text_of(store, NS, "a"), await text_of(store, NS, "b")) == ("value", None)
        batch = [putting("a", "new", expected=1), putting("b", expected=0), MemoryCheck("global", "c", 0)]
        assert await store.memory.write(NS, batch, note()) == [(2, 2), (1, 3), (0, 0)]
        batch = [MemoryDelete("global", "a"), MemoryCheck("global", "b", 1), MemoryDelete("global", "c")]
        assert await store.memory.write(NS, batch, note()) == [(3, 4), (1, 0), (0, 0)]
        with pytest.raises(InvalidArgument, match="twice"):
            await store.memory.write(NS, [putting("a"), MemoryDelete("global", "a")], note())

    async def test_memory_is_listed_by_prefix_and_page(self, store: Store) -> None:
        names = ["a/1", "a/2", "a/\U0010ffff", "b", "\ud7ff", "\ue000"]
        for key in reversed(names):
            await remember(store, NS, key)
        await remember(store, NS, "a/3", scope="workflow:w1")

        async def keys(prefix: str = "", after: str = "", limit: int = 100) -> list[str]:
            return [entry.key for entry in await store.memory.page(NS, "global", prefix, after, limit, START_US)]

        assert await keys() == names
        assert await keys("a/", after="a/1", limit=1) == ["a/2"]
        assert await keys("a/\U0010ffff") == ["a/\U0010ffff"]
        assert await keys("\ud7ff") == ["\ud7ff"]

    async def test_a_copy_is_no_more_trusted_than_its_source(self, store: Store) -> None:
        await remember(store, NS, "key", "found outside", scope="workflow:w1", trust=Trust.EXTERNAL)
        source = EntrySource("workflow:w1", "key", 1)
        await store.memory.copy(NS, source, Place("global", "key"), note(trust=Trust.OPERATOR))
        value = await store.memory.newest(NS, "global", "key", START_US)
        assert value is not None
        assert (value.value, value.entry.trust, value.entry.origin.shared) == (
            b"found outside",
            Trust.EXTERNAL,
            source,
        )
        with pytest.raises(NotFound):
            await store.memory.copy(NS, EntrySource("global", "none", 1), Place("global", "key"), note())

    # Search

    async def test_texts_and_json_are_found_by_all_words_or_any(self, store: Store) -> None:
        await remember(store, NS, "tea", "Green tea, from the hills")
        await remember(store, NS, "coffee", "coffee from the hills: café, not tea, never tea")
        await store.memory.write(
            NS,
            [
                putting("json", '{"drink": ["green\\ntea", 7], "n": null}', media_type="application/json"),
                putting("bytes", b"green tea \xff", media_type="application/octet-stream"),
            ],
            note(),
        )
        assert set(await found(store, "green", "tea")) == {"tea", "json"}
        assert await found(store, "GREEN", "hills") == ["tea"]
        assert set(await found(store, "green", "coffee", any_word=True)) == {"tea", "json", "coffee"}
        assert await found(store, "cafe") == ["coffee"]
        assert await found(store, "7", "drink") == ["json"]
        assert await found(store, "null") == []
        hits = await store.memory.search(NS, SearchQuery(["hills"], None, False), LATER_US)
        assert all("hills" in text for text in await store.memory.snippets(NS, hits, ["hills"]))

    async def test_only_the_newest_versions_are_found_and_only_in_their_scopes(self, store: Store) -> None:
        await remember(store, NS, "key", "the old text")
        await remember(store, NS, "key", "the new text")
        await remember(store, NS, "other", "the new text", scope="workflow:w1")
        assert await found(store, "old") == []
        assert set(await found(store, "new")) == {"key", "other"}
        assert await found(store, "new", scopes=("workflow:w1",)) == ["other"]
        assert await found(store, "new", scopes=("workflow:w1", "global"), any_word=True) != []
        assert await found(store, "new", scopes=("workflow:w", "agent:w1")) == []
        assert await found(store, "workflow", scopes=("workflow:w1",)) == []
        await forget(store, NS, "key")
        assert await found(store, "new") == ["other"]
        assert await store.memory.search("else", SearchQuery(["new"], None, False), LATER_US) == []

    # The log

    async def test_the_log_is_read_in_pieces_by_scope_and_prefix(self, store: Store) -> None:
        for number in range(3):
            await remember(store, NS, f"a{number}")
            await remember(store, NS, f"b{number}", scope="workflow:w1")
        await remember(store, "other", "a9")
        await forget(store, NS, "a0")
        piece = await store.memory.changes(NS, 0, 2, None, "")
        assert ([one.key for one in piece.versions], piece.position) == (["a0", "b0"], 2)
        piece = await store.memory.changes(NS, piece.position, 100, None, "")
        assert ([one.position for one in piece.versions], piece.position) == ([3, 4, 5, 6, 7], 7)
        piece = await store.memory.changes(NS, 0, 100, "workflow:w1", "b1")
        assert ([one.key for one in piece.versions], piece.position) == (["b1"], 7)
        assert await store.memory.changes(NS, 7, 100, None, "") == ([], 7)
        with pytest.raises(InvalidArgument, match="after the end"):
            await store.memory.changes(NS, 8, 100, None, "")

    async def test_who_waits_is_woken_by_the_next_change(self, store: Store) -> None:
        await remember(store, NS, "a")
        await store.memory.wait(NS, 0)
        waiting = asyncio.create_task(store.memory.wait(NS, 1))
        other = asyncio.create_task(store.memory.wait("other", 0))
        await asyncio.sleep(0)
        await remember(store, NS, "b")
        await waiting
        assert not other.done()
        await store.close()
        with pytest.raises(Unavailable):
            await other

    # Rules and statistics

    async def test_rules_have_versions(self, store: Store) -> None:
        assert await store.memory.rules(NS) is None
        assert await store.memory.put_rules(NS, b"[]", "ada", START_US, 0) == 1
        with pytest.raises(Conflict):
            await store.memory.put_rules(NS, b"[1]", "ada", START_US, 0)
        assert await store.memory.put_rules(NS, b"[2]", "bob", START_US, None) == 2
        assert await store.memory.rules(NS) == (2, START_US, "bob", b"[2]")
        assert await store.memory.rules(NS, 1) == (1, START_US, "ada", b"[]")
        assert await store.memory.rules("other") is None

    async def test_reads_are_counted(self, store: Store) -> None:
        for key in ("a", "b", "c"):
            await remember(store, NS, key)
        reads = [KeyReads("global", "b", 2, 5), KeyReads("global", "a", 1, 6), KeyReads("global", "none", 9, 9)]
        await store.memory.add_reads(NS, reads)
        await store.memory.add_reads(NS, [KeyReads("global", "b", 1, 4)])
        assert await store.memory.hot(NS, 9) == [("global", "b", 3, 5), ("global", "a", 1, 6)]
        unread = await store.memory.never_read(NS, "global", "", 9, START_US)
        assert [one.key for one in unread.entries] == ["c"]
        assert await store.memory.hot("other", 9) == []
