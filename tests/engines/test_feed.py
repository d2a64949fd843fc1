"""What watchers are fed from: events from memory or from the store, and the texts of running attempts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orcs_server.engines import feed as feed_module
from orcs_server.engines.feed import TAIL_KEPT, DeltaChunk, Feeds, WorkflowFeed, WorkflowWatch
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow.model import Digest, Output
from tests.engines.support import Gate, Stage, server, task

OUTPUT = Output(Digest("0" * 64), "text/plain", 0)


def record(seq: int, event: e.Event | None = None) -> EventRecord:
    return EventRecord("default", "w1", seq, seq, "orcs", "", event or e.TaskReady(f"t{seq}"))


def seqs(records: list[EventRecord] | None) -> list[int] | None:
    return None if records is None else [one.seq for one in records]


@pytest.fixture
def feeds() -> Feeds:
    return Feeds()


@pytest.fixture
def feed(feeds: Feeds) -> WorkflowFeed:
    return feeds.activate("default", "w1")


@pytest.fixture
def watch(feeds: Feeds, feed: WorkflowFeed) -> WorkflowWatch:
    return feeds.watch("default", "w1", deltas=True)


async def test_a_watcher_that_keeps_up_is_fed_from_memory(feed: WorkflowFeed, watch: WorkflowWatch) -> None:
    feed.publish([record(1), record(2)])
    assert seqs(watch.after(0)) == [1, 2]
    assert seqs(watch.after(2)) == []
    feed.publish([record(3)])
    assert await watch.wait(1)
    assert seqs(watch.after(2)) == [3]
    assert not await watch.wait(0)


async def test_a_watcher_that_is_late_is_sent_to_the_store(feed: WorkflowFeed, watch: WorkflowWatch) -> None:
    assert watch.after(0) is None
    for seq in range(1, 3 * TAIL_KEPT):
        feed.publish([record(seq)])
    assert watch.after(5) is None
    assert seqs(watch.after(3 * TAIL_KEPT - 3)) == [3 * TAIL_KEPT - 2, 3 * TAIL_KEPT - 1]


async def test_a_gap_is_never_bridged(feed: WorkflowFeed, watch: WorkflowWatch) -> None:
    feed.publish([record(1), record(2)])
    feed.publish([record(5), record(6)])
    assert watch.after(2) is None
    assert seqs(watch.after(4)) == [5, 6]


async def test_texts_come_with_their_offsets_to_early_and_late_watchers(feeds: Feeds, feed: WorkflowFeed) -> None:
    early = feeds.watch("default", "w1", deltas=True)
    feed.add_text("a", 1, "one ")
    feed.add_text("a", 1, "two ")
    assert early.take_deltas() == [DeltaChunk("a", 1, 0, "one two ")]
    feed.add_text("a", 1, "three")
    late = feeds.watch("default", "w1", deltas=True)
    assert early.take_deltas() == [DeltaChunk("a", 1, 8, "three")]
    assert late.take_deltas() == [DeltaChunk("a", 1, 0, "one two three")]
    assert early.take_deltas() == []


async def test_deltas_wake_those_who_want_them_and_are_merged(feeds: Feeds, feed: WorkflowFeed) -> None:
    wants, does_not = (feeds.watch("default", "w1", deltas=deltas) for deltas in (True, False))
    for watch in (wants, does_not):
        watch.after(0)
    for _ in range(100):
        feed.add_text("a", 1, "x")
    assert await wants.wait(1)
    assert len(wants.take_deltas()) == 1
    assert not await does_not.wait(0)


async def test_the_rest_of_a_text_that_ended_is_not_lost(feed: WorkflowFeed, watch: WorkflowWatch) -> None:
    feed.add_text("a", 1, "begun ")
    watch.take_deltas()
    feed.add_text("a", 1, "and done")
    feed.publish([record(1, e.AttemptSucceeded("a", 1, OUTPUT))])
    feed.add_text("a", 2, "again")
    assert watch.take_deltas() == [DeltaChunk("a", 1, 6, "and done"), DeltaChunk("a", 2, 0, "again")]


async def test_an_older_attempt_does_not_speak_over_a_newer_one(feed: WorkflowFeed, watch: WorkflowWatch) -> None:
    feed.add_text("a", 2, "new")
    feed.add_text("a", 1, "old")
    assert watch.take_deltas() == [DeltaChunk("a", 2, 0, "new")]


async def test_a_watcher_that_never_reads_does_not_fill_memory(
    feed: WorkflowFeed, watch: WorkflowWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "DELTA_TEXT_LIMIT", 100)
    for number in range(1, 50):
        feed.add_text("a", number, "x" * 200)
        feed.publish([record(number, e.AttemptSucceeded("a", number, OUTPUT))])
    assert sum(len(chunk.text) for chunk in watch.take_deltas()) <= 100


async def test_a_feed_lives_while_its_workflow_is_active_or_watched(feeds: Feeds) -> None:
    feed = feeds.activate("default", "w1")
    watch = feeds.watch("default", "w1", deltas=False)
    feed.publish([record(1)])
    feeds.deactivate("default", "w1")
    assert feeds.activate("default", "w1") is feed
    watch.close()
    assert feeds.activate("default", "w1") is feed
    feeds.deactivate("default", "w1")
    assert feeds.activate("default", "w1") is not feed


async def test_a_namespace_watch_wakes_for_its_own_namespace_only(feeds: Feeds) -> None:
    watch = feeds.watch_namespace("one")
    assert await watch.wait(0)  # The first time it looks in any case.
    feeds.wake_namespace("two")
    assert not await watch.wait(0)
    feeds.wake_namespace("one")
    assert await watch.wait(0)
    watch.close()
    feeds.wake_all()


async def test_watchers_of_a_run_see_its_text_and_feeds_are_forgotten(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate("in two parts", deltas=("in two ", "parts"))
    stage.acts["a"] = [gate]
    async with server(tmp_path / "orcs.db", stage) as world:
        watch = world.engine.watch("default", "w1", deltas=True)
        await world.create(tasks=[task("a")])
        await gate.reached.wait()
        chunks = watch.take_deltas()
        gate.opened.set()
        await world.end()
        chunks += watch.take_deltas()
        assert "".join(chunk.text for chunk in chunks) == "in two parts"
        watch.close()
        await world.at_rest()
        await asyncio.sleep(0)
        assert world.engine.feeds._workflows == {}
