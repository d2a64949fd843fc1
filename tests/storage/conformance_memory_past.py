"""What every store promises about memory's past: reads of it, snapshots, ways back, retention. `conformance` says how a store joins."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orcs_server.errors import IllegalTransition, NotFound, OutOfRange, Unavailable
from orcs_server.storage.memory_rows import (
    VERSIONS_KEPT,
    EntrySource,
    ExternalSource,
    Moment,
    Origin,
    PastPlace,
    Place,
    RunFilter,
    SearchQuery,
    Trust,
    Writer,
)
from orcs_server.storage.store import Store, blob_of
from tests.storage.memories import forget, note, putting, remember, run, text_of, texts
from tests.storage.samples import START_US

NS = "default"
AFTER_US = START_US + 1_000_000
BACK = note(AFTER_US, Writer("bob"), Trust.OPERATOR)


async def prune(store: Store, before_us: int) -> None:
    place: PastPlace | None = PastPlace()
    while place is not None:
        place = await store.memory.prune(before_us, place, 2)


class MemoryPastConformance:
    """Entries as they were."""

    async def test_keys_are_read_as_of_a_position_or_a_time(self, store: Store) -> None:
        for number in (1, 2, 3):
            await remember(store, NS, "key", f"value {number}", time_us=START_US + 10 * number)
            await remember(store, NS, f"only {number}", time_us=START_US + 10 * number + 1)
        await forget(store, NS, "key", time_us=START_US + 40)

        async def at(time_us: int) -> str | None:
            moment = await store.memory.moment(NS, time_us)
            entry = await store.memory.as_of(NS, "global", "key", moment)
            return None if entry is None else (await store.memory.value(NS, entry)).decode()

        times = [START_US + time for time in (9, 10, 15, 20, 29, 30, 39, 40, 99)]
        expected = [None, "value 1", "value 1", "value 2", "value 2", "value 3", "value 3", None, None]
        assert [await at(time_us) for time_us in times] == expected
        assert await store.memory.moment(NS) == (7, START_US + 40)
        assert await store.memory.time_of(NS, 3) == START_US + 20
        moment = await store.memory.moment(NS, START_US + 25)
        listed = await store.memory.page_as_of(NS, "global", "", "", 10, moment)
        assert ([(one.key, one.version) for one in listed.entries], listed.after) == (
            [("key", 2), ("only 1", 1), ("only 2", 1)],
            None,
        )
        page = await store.memory.page_as_of(NS, "global", "", "", 2, moment)
        assert ([one.key for one in page.entries], page.after) == (["key", "only 1"], "only 1")

    async def test_an_entry_that_had_expired_was_absent_then(self, store: Store) -> None:
        await store.memory.write(NS, [putting("brief", expires_us=START_US + 5)], note())
        for time_us, there in ((START_US + 4, True), (START_US + 5, False)):
            entry = await store.memory.as_of(NS, "global", "brief", Moment(1, time_us))
            assert (entry is not None) is there

    async def test_times_in_the_log_do_not_go_back(self, store: Store) -> None:
        await remember(store, NS, "a", time_us=START_US + 10)
        await remember(store, NS, "b", time_us=START_US)
        entry = await store.memory.version(NS, "global", "b", 1)
        assert entry is not None
        assert entry.time_us == START_US + 10

    async def test_a_snapshot_is_listed_compared_and_restored_by_new_versions(self, store: Store) -> None:
        await remember(store, NS, "kept", "same")
        await remember(store, NS, "changed", "before", trust=Trust.EXTERNAL)
        await remember(store, NS, "deleted", "before")
        await remember(store, NS, "key", "elsewhere", scope="workflow:w1")
        snapshot = await store.memory.create_snapshot(NS, "global", "good", "ada", START_US)
        assert (snapshot.number, snapshot.position, snapshot.title) == (1, 4, "good")
        await remember(store, NS, "changed", "after", trust=Trust.OPERATOR)
        await forget(store, NS, "deleted")
        await remember(store, NS, "new")
        moments = [Moment(snapshot.position, snapshot.time_us), await store.memory.moment(NS)]
        compared = await store.memory.compare(NS, "global", moments[0], moments[1], "", 10)
        assert [(one.key, one.before and one.before.version, one.after and one.after.version) for one in
                compared.differences] == [("changed", 1, 2), ("deleted", 1, None), ("new", None, 1)]  # fmt: skip
        page = await store.memory.compare(NS, "global", moments[0], moments[1], "", 1)
        assert ([one.key for one in page.differences], page.after) == (["changed"], "changed")
        rewound, after = 0, ""
        for _ in range(9):
            piece = await store.memory.rewind(NS, "global", moments[0], after, 1, BACK)
            rewound += piece.changed
            if piece.after is None:
                break
            after = piece.after
        assert rewound == 3
        assert await texts(store, NS) == {"kept": "same", "changed": "before", "deleted": "before"}
        restored = await store.memory.version(NS, "global", "changed", 3)
        assert restored is not None
        # Whoever restores does not vouch for what comes back.
        assert (restored.trust, restored.origin.restored, restored.writer.principal) == (Trust.EXTERNAL, 1, "bob")
        assert await text_of(store, NS, "key", "workflow:w1") == "elsewhere"
        again = await store.memory.rewind(NS, "global", moments[0], "", 10, BACK)
        assert again == (0, None)

    async def test_snapshots_are_numbered_in_each_namespace_and_can_be_forgotten(self, store: Store) -> None:
        for scope in ("global", "workflow:w1", "global"):
            await store.memory.create_snapshot(NS, scope, "", "ada", START_US)
        other = await store.memory.create_snapshot("other", "global", "", "ada", START_US)
        assert other.number == 1
        assert [one.number for one in await store.memory.snapshots(NS, None, None, 9)] == [3, 2, 1]
        assert [one.number for one in await store.memory.snapshots(NS, "global", 3, 9)] == [1]
        assert await store.memory.delete_snapshot(NS, 3)
        assert not await store.memory.delete_snapshot(NS, 3)
        assert not await store.memory.delete_snapshot("other", 2)
        # Numbers are not given twice.
        assert (await store.memory.create_snapshot(NS, "global", "", "ada", START_US)).number == 4

    async def test_a_key_is_reverted_to_a_version(self, store: Store) -> None:
        origin = Origin((EntrySource("global", "x", 1),))
        await remember(store, NS, "key", "first", trust=Trust.AGENT, origin=origin)
        await remember(store, NS, "key", "second")
        await forget(store, NS, "key")
        assert await store.memory.revert(NS, Place("global", "key"), 1, BACK) == 4
        value = await store.memory.newest(NS, "global", "key", AFTER_US)
        assert value is not None
        assert (value.value, value.entry.trust) == (b"first", Trust.AGENT)
        assert value.entry.origin == replace(origin, restored=1)
        assert await store.memory.revert(NS, Place("global", "key"), 3, BACK) == 5
        assert await text_of(store, NS, "key") is None
        for number in (0, 9):
            with pytest.raises(NotFound, match=f"no version {number}"):
                await store.memory.revert(NS, Place("global", "key"), number, BACK)

    async def test_a_version_that_is_no_longer_kept_is_told_from_one_that_never_was(self, store: Store) -> None:
        for number in range(1, VERSIONS_KEPT + 6):
            await remember(store, NS, "key", f"value {number}")
        for number in (1, 5):
            with pytest.raises(OutOfRange, match=f"Version {number} of 'key' in global is no longer kept"):
                await store.memory.version(NS, "global", "key", number)
            with pytest.raises(OutOfRange, match="no longer kept") as caught:
                await store.memory.revert(NS, Place("global", "key"), number, BACK)
            assert caught.value.reason == "HISTORY_EXPIRED"
        assert await store.memory.version(NS, "global", "key", 6) is not None
        assert await store.memory.version(NS, "global", "key", VERSIONS_KEPT + 6) is None
        # Of what was purged nothing is known, not even that it was there.
        await store.memory.purge(NS, "global", "", "key", 999)
        assert await store.memory.version(NS, "global", "key", 1) is None

    async def test_a_value_whose_time_is_over_is_not_brought_back(self, store: Store) -> None:
        await store.memory.write(NS, [putting("key", "brief", expires_us=START_US + 5)], note())
        await remember(store, NS, "key", "next")
        with pytest.raises(IllegalTransition) as caught:
            await store.memory.revert(NS, Place("global", "key"), 1, BACK)
        assert caught.value.reason == "MEMORY_EXPIRED"
        assert await text_of(store, NS, "key") == "next"
        assert await store.memory.moment(NS) == (2, START_US)

    async def test_all_that_a_run_wrote_is_taken_back(self, store: Store) -> None:
        await remember(store, NS, "changed", "good")
        await remember(store, NS, "deleted", "good")
        await remember(store, NS, "untouched", "good", writer=run(attempt=1, task="t2"))
        await remember(store, NS, "changed", "bad", writer=run())
        await remember(store, NS, "changed", "worse", writer=run(attempt=2))
        await forget(store, NS, "deleted", writer=run())
        await remember(store, NS, "new", "bad", scope="workflow:w1", writer=run())
        await remember(store, NS, "corrected", "bad", writer=run())
        await remember(store, NS, "corrected", "good")
        await remember(store, "other", "changed", "theirs", writer=run())
        undone = await store.memory.undo(NS, RunFilter("w1", "t1"), None, 100, BACK)
        assert set(undone.reverted) == {("global", "changed"), ("global", "deleted"), ("workflow:w1", "new")}
        assert (undone.overwritten, undone.forgotten, undone.after) == ([("global", "corrected")], [], None)
        assert await texts(store, NS) == dict.fromkeys(("changed", "deleted", "untouched", "corrected"), "good")
        assert await texts(store, NS, "workflow:w1") == {}
        assert await texts(store, "other") == {"changed": "theirs"}

    async def test_one_attempt_is_taken_back_a_page_at_a_time(self, store: Store) -> None:
        for number in range(3):
            await remember(store, NS, f"k{number}", "first", writer=run())
            await remember(store, NS, f"k{number}", "second", writer=run(attempt=2))
        page = await store.memory.undo(NS, RunFilter("w1", "t1", 2), None, 2, BACK)
        assert (len(page.reverted), page.after) == (2, Place("global", "k1"))
        page = await store.memory.undo(NS, RunFilter("w1", "t1", 2), page.after, 2, BACK)
        assert (len(page.reverted), page.after) == (1, None)
        assert set((await texts(store, NS)).values()) == {"first"}

    async def test_what_was_restored_of_a_run_is_taken_back_with_it(self, store: Store) -> None:
        await remember(store, NS, "key", "good")
        await remember(store, NS, "key", "bad", writer=run())
        await remember(store, NS, "key", "better")
        await store.memory.revert(NS, Place("global", "key"), 2, BACK)
        assert await text_of(store, NS, "key") == "bad"
        await store.memory.undo(NS, RunFilter("w1"), None, 9, BACK)
        assert await text_of(store, NS, "key") == "better"

    async def test_a_quarantine_knows_its_own_versions_again(self, store: Store) -> None:
        await remember(store, NS, "changed", "good")
        await remember(store, NS, "changed", "bad", writer=run())
        await remember(store, NS, "new", "bad", writer=run())
        await remember(store, NS, "corrected", "bad", writer=run())
        await remember(store, NS, "corrected", "good")
        first = await store.memory.undo(NS, RunFilter("w1", "t1"), None, 9, BACK)
        assert set(first.reverted) == {("global", "changed"), ("global", "new")}
        moment = await store.memory.moment(NS)
        for wider in (RunFilter("w1", "t1"), RunFilter("w1"), RunFilter("w1", "t1", 1)):
            again = await store.memory.undo(NS, wider, None, 9, BACK)
            assert (again.reverted, again.overwritten) == ([], [Place("global", "corrected")])
            assert set(again.already) == {("global", "changed"), ("global", "new")}
        assert await store.memory.moment(NS) == moment
        # Whoever writes after it is somebody else; and whoever brings the run's version back brings back the run's.
        await remember(store, NS, "new", "mine")
        await store.memory.revert(NS, Place("global", "changed"), 2, BACK)
        last = await store.memory.undo(NS, RunFilter("w1"), None, 9, BACK)
        assert (last.reverted, last.already) == ([Place("global", "changed")], [])
        assert set(last.overwritten) == {("global", "corrected"), ("global", "new")}
        assert await texts(store, NS) == {"changed": "good", "corrected": "good", "new": "mine"}

    async def test_what_of_a_run_has_expired_was_written_by_nobody_since(self, store: Store) -> None:
        await remember(store, NS, "replaced", "good")
        for key in ("replaced", "new"):
            brief = putting(key, "bad", expires_us=START_US + 5)
            await store.memory.write(NS, [brief], note(writer=run()))
        await remember(store, NS, "deleted", "bad", writer=run())
        await forget(store, NS, "deleted", writer=run())
        assert await store.memory.expire(START_US + 5, 9) == 2
        undone = await store.memory.undo(NS, RunFilter("w1"), None, 9, BACK)
        assert (undone.reverted, undone.overwritten) == ([Place("global", "replaced")], [])
        # Of these nothing was there any more.
        assert set(undone.already) == {("global", "deleted"), ("global", "new")}
        assert await texts(store, NS) == {"replaced": "good"}
        again = await store.memory.undo(NS, RunFilter("w1"), None, 9, BACK)
        assert (again.reverted, again.overwritten, len(again.already)) == ([], [], 3)

    async def test_one_quarantine_does_not_bring_back_what_another_one_took(self, store: Store) -> None:
        await remember(store, NS, "key", "good")
        await remember(store, NS, "key", "bad", writer=run(task="t1"))
        await remember(store, NS, "key", "worse", writer=run(task="t2"))
        await store.memory.undo(NS, RunFilter("w1", "t2"), None, 9, BACK)
        assert await text_of(store, NS, "key") == "bad"
        await store.memory.undo(NS, RunFilter("w1", "t1"), None, 9, BACK)
        assert await text_of(store, NS, "key") == "good"

    async def test_copies_of_a_run_and_what_was_made_of_it_are_found(self, store: Store) -> None:
        async def copy(source: EntrySource, scope: str) -> None:
            await store.memory.copy(NS, source, Place(scope, source.key), note())

        await remember(store, NS, "key", "bad", writer=run())
        await copy(EntrySource("global", "key", 1), "shared:a")
        await copy(EntrySource("shared:a", "key", 1), "shared:b")
        await copy(EntrySource("global", "key", 1), "shared:c")
        await remember(store, NS, "key", "good", scope="shared:c")
        for number, scope in enumerate(("global", "shared:b", "shared:c")):
            version = 2 if scope == "shared:c" else 1
            origin = Origin((ExternalSource("web"), EntrySource(scope, "key", version)))
            await remember(store, NS, f"made {number}", origin=origin, writer=run(workflow="w2"))
        await remember(store, NS, "early", origin=Origin((EntrySource("global", "late", 1),)))
        await remember(store, NS, "late", writer=run())
        found, after = [], None
        for _ in range(20):
            stretch = await store.memory.traces(NS, RunFilter("w1"), after, 2, AFTER_US)
            found.append((stretch.copies, stretch.derived))
            after = stretch.after
            if after is None:
                break
        copies = [place for one, _ in found for place in one]
        assert copies == [("shared:a", "key"), ("shared:b", "key")]
        assert [place for _, one in found for place in one] == [("global", "made 0"), ("global", "made 1")]
        undone = await store.memory.undo_keys(NS, RunFilter("w1"), [Place("shared:b", "key")], BACK)
        assert undone.reverted == [Place("shared:b", "key")]
        assert await texts(store, NS, "shared:b") == {}
        assert await texts(store, NS, "shared:a") == {"key": "bad"}
        assert (await store.memory.traces("other", RunFilter("w1"), None, 9, AFTER_US)) == ([], [], None)

    async def test_a_copy_is_taken_back_only_if_nobody_wrote_since(self, store: Store) -> None:
        await remember(store, NS, "key", "bad", writer=run())
        await remember(store, NS, "key", "before", scope="shared:a")
        await store.memory.copy(NS, EntrySource("global", "key", 1), Place("shared:a", "key"), note())
        await remember(store, NS, "key", "since", scope="shared:a")
        undone = await store.memory.undo_keys(NS, RunFilter("w1"), [Place("shared:a", "key")], BACK)
        assert (undone.reverted, undone.overwritten) == ([], [Place("shared:a", "key")])
        await store.memory.copy(NS, EntrySource("global", "key", 1), Place("shared:a", "key"), note())
        await store.memory.undo_keys(NS, RunFilter("w1"), [Place("shared:a", "key")], BACK)
        assert await texts(store, NS, "shared:a") == {"key": "since"}

    async def test_scopes_are_found_with_their_keys_and_newest_change(self, store: Store) -> None:
        await remember(store, NS, "a", scope="workflow:w1", time_us=START_US + 1)
        await remember(store, NS, "b", scope="workflow:w1", time_us=START_US + 2)
        await store.memory.write(NS, [putting("c", scope="workflow:w1", expires_us=START_US + 9)], note(START_US + 3))
        await remember(store, NS, "a", scope="workflow:w10", time_us=START_US + 4)
        await forget(store, NS, "a", scope="workflow:w10", time_us=START_US + 5)
        await remember(store, NS, "a", scope="global", time_us=START_US + 6)
        await remember(store, "other", "a", scope="agent:x")

        async def scopes(prefix: str = "", after: str = "", limit: int = 9) -> list[str]:
            return await store.memory.scopes(NS, prefix, after, limit)

        assert await scopes() == ["global", "workflow:w1", "workflow:w10"]
        assert await scopes(after="global", limit=1) == ["workflow:w1"]
        assert await scopes("workflow:w1", "workflow:w1") == ["workflow:w10"]
        assert await scopes("workflow:w1", "agent:z") == ["workflow:w1", "workflow:w10"]
        assert await scopes("w", "x") == []
        keys = await store.memory.keys(NS, "workflow:w1", "", 9, START_US + 9)
        assert [tuple(one) for one in keys] == [("a", START_US + 1), ("b", START_US + 2)]
        assert len(await store.memory.keys(NS, "workflow:w1", "a", 9, START_US + 8)) == 2
        assert await store.memory.keys(NS, "workflow:w10", "", 9, START_US) == []
        assert await store.memory.newest_change(NS, "workflow:w1") == START_US + 3
        assert await store.memory.newest_change(NS, "workflow:w10") == START_US + 5
        assert await store.memory.newest_change(NS, "agent:x") is None

    async def test_versions_that_are_long_past_go_unless_a_snapshot_needs_them(self, store: Store) -> None:
        for number in (1, 2, 3):
            await remember(store, NS, "key", f"value {number}", time_us=START_US + number)
            if number == 2:
                await store.memory.create_snapshot(NS, "global", "", "ada", START_US + 2)
        await remember(store, NS, "gone", time_us=START_US + 3)
        await forget(store, NS, "gone", time_us=START_US + 4)
        await prune(store, START_US + 3)
        versions = await store.memory.versions(NS, "global", "key", None, 9)
        assert [one.version for one in versions] == [3, 2]
        await prune(store, AFTER_US)
        await prune(store, AFTER_US)
        assert [one.version for one in await store.memory.versions(NS, "global", "key", None, 9)] == [3, 2]
        assert await store.memory.versions(NS, "global", "gone", None, 9) == []
        with pytest.raises(Unavailable):
            await store.blob(NS, blob_of("value 1").digest)
        with pytest.raises(OutOfRange, match="no longer kept"):
            await store.memory.as_of(NS, "global", "key", Moment(1, START_US + 1))
        with pytest.raises(OutOfRange, match="no longer kept"):
            await store.memory.page_as_of(NS, "global", "", "", 9, Moment(1, START_US + 1))
        snapshot = Moment(2, START_US + 2)
        assert [one.version for one in (await store.memory.page_as_of(NS, "global", "", "", 9, snapshot)).entries] == [
            2
        ]
        assert await store.memory.rewind(NS, "global", snapshot, "", 9, BACK) == (1, None)
        assert await text_of(store, NS, "key") == "value 2"

    async def test_a_purge_leaves_nothing_and_ends_old_cursors(self, store: Store) -> None:
        for key in ("a", "a:b", "b"):
            await remember(store, NS, key, f"secret of {key}")
            await remember(store, NS, key, f"later secret of {key}")
        await remember(store, NS, "a", "theirs", scope="workflow:w1")
        await remember(store, "other", "a", "secret of a")
        snapshot = await store.memory.create_snapshot(NS, "global", "", "ada", START_US)
        assert await store.memory.purge(NS, "global", "", "a", 9) == 2
        await store.memory.scrub(NS)
        assert set(await texts(store, NS)) == {"a:b", "b"}
        assert await store.memory.versions(NS, "global", "a", None, 9) == []
        with pytest.raises(Unavailable):
            await store.blob(NS, blob_of("secret of a").digest)
        assert await store.blob("other", blob_of("secret of a").digest) == b"secret of a"
        moment = Moment(snapshot.position, snapshot.time_us)
        assert [one.key for one in (await store.memory.page_as_of(NS, "global", "", "", 9, moment)).entries] == [
            "a:b",
            "b",
        ]
        # Whoever has seen what went goes on; whoever has not, of this scope or of all, begins anew.
        for scope in ("global", None):
            with pytest.raises(OutOfRange, match="begin anew"):
                await store.memory.changes(NS, 1, 9, scope, "")
            assert [one.key for one in (await store.memory.changes(NS, 2, 9, scope, "")).versions][:2] == ["a:b", "a:b"]
        assert (await store.memory.changes(NS, 7, 9, None, "")).position == 8
        assert (await store.memory.changes(NS, 0, 9, "workflow:w1", "")).position == 8
        assert await store.memory.search(NS, SearchQuery(["a"], ("global",), False), AFTER_US) != []
        for expected in (1, 1, 1, 1, 0):
            assert await store.memory.purge(NS, "global", "", None, 1) == expected
        assert await texts(store, NS) == {}
        assert await store.memory.search(NS, SearchQuery(["secret"], ("global",), False), AFTER_US) == []
        assert await remember(store, NS, "a") == (1, 13)
