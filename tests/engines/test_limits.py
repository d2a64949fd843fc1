"""What one namespace may use of the engine, of its memory and of the watches, while others want it too."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from orcs_server.engines import feed as feed_module
from orcs_server.engines.feed import Feeds
from orcs_server.engines.local.engine import EngineLimits
from orcs_server.errors import ResourceExhausted
from orcs_server.identity import Caller
from orcs_server.service import openwatches
from orcs_server.service.openwatches import OpenWatches
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow.model import Digest, Output
from tests.engines.support import Gate, Stage, outcome, server, task

OUTPUT = Output(Digest("0" * 64), "text/plain", 0)


async def test_a_namespace_may_have_so_many_workflows_under_way_and_leaves_room_for_others(tmp_path: Path) -> None:
    stage, gate = Stage(), Gate()
    stage.acts["a"] = [gate, gate, gate]
    limits = EngineLimits(slots=8, active_workflows=4)
    async with server(tmp_path / "orcs.db", stage, limits=limits) as world:
        for name in ("w1", "w2"):
            await world.create(name, [task("a")], namespace="red")
        with pytest.raises(ResourceExhausted) as caught:
            await world.create("w3", [task("a")], namespace="red")
        assert (caught.value.reason, bool(caught.value.retry_after_us)) == ("QUOTA_EXCEEDED", True)
        assert await world.store.get_summary("red", "w3") is None
        await world.create("w1", [task("a")], namespace="blue")
        gate.opened.set()
        for namespace, name in (("red", "w1"), ("red", "w2"), ("blue", "w1")):
            await world.end(name, namespace)
        await world.at_rest()
        await world.create("w3", [task("b")], namespace="red")
        await world.end("w3", "red")


async def test_workflows_that_exist_are_taken_up_whatever_the_limit_is(tmp_path: Path) -> None:
    stage = Stage()
    stage.acts["a"] = [Gate() for _ in range(3)]
    async with server(tmp_path / "orcs.db", stage, stop=False) as world:
        for name in ("w1", "w2", "w3"):
            await world.create(name, [task("a")])
    async with server(tmp_path / "orcs.db", limits=EngineLimits(slots=8, active_workflows=1)) as world:
        for name in ("w1", "w2", "w3"):
            await world.end(name)


async def test_commands_of_one_namespace_leave_room_for_those_of_another(tmp_path: Path) -> None:
    limits = EngineLimits(slots=8, pending_commands=4)
    async with server(tmp_path / "orcs.db", limits=limits) as world:
        flood = [outcome(world.create(f"w{n}", [task("a")], namespace="red", auto_start=False)) for n in range(6)]
        answers = await asyncio.gather(*flood, outcome(world.create("w0", [task("a")], namespace="blue")))
        refused = [answer for answer in answers if isinstance(answer, ResourceExhausted)]
        assert len(refused) == 4
        assert all(answer.reason == "QUOTA_EXCEEDED" and answer.retry_after_us for answer in refused)
        assert answers[-1] not in refused
        await world.end("w0", "blue")


def test_watches_of_one_namespace_leave_room_for_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openwatches, "WATCHES", 4)
    watches = OpenWatches(100)

    def enter(namespace: str, principal: str) -> None:
        held.enter_context(watches.enter(Caller(principal, namespace), lambda: None))

    with ExitStack() as held:
        for principal in ("ann", "bob"):
            enter("red", principal)
        with pytest.raises(ResourceExhausted, match="2 watches open in this namespace"):
            enter("red", "eve")
        enter("blue", "eve")
    with ExitStack() as held:
        for principal in ("ann", "eve"):
            enter("red", principal)


async def test_a_watcher_is_given_long_texts_in_pieces_and_misses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "DELTAS_AT_ONCE", 10)
    feeds = Feeds()
    feed = feeds.activate("default", "w1")
    watch = feeds.watch("default", "w1", deltas=True)
    texts = {"a": "abcdefghijklmnopqrstuvwxyz", "b": "0123456789"}
    for name, text in texts.items():
        feed.add_text(name, 1, text)
    feed.publish([_end_of("a")])
    seen = {"a": "", "b": ""}
    watch.more = True
    while watch.more:
        chunks = watch.take_deltas()
        assert 0 < sum(len(chunk.text) for chunk in chunks) <= 10
        for chunk in chunks:
            assert chunk.offset == len(seen[chunk.task_id])
            seen[chunk.task_id] += chunk.text
    assert seen == texts
    assert (watch.take_deltas(), feeds.rest) == ([], 0)


async def test_what_all_watchers_leave_unread_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "REST_LIMIT", 50)
    feeds = Feeds()
    feed = feeds.activate("default", "w1")
    watches = [feeds.watch("default", "w1", deltas=True) for _ in range(10)]
    feed.add_text("a", 1, "x" * 20)
    feed.publish([_end_of("a")])
    assert feeds.rest == 40
    for watch in watches:
        watch.close()
    assert feeds.rest == 0


def _end_of(task_id: str) -> EventRecord:
    event = e.AttemptSucceeded(task_id, 1, OUTPUT)
    return EventRecord("default", "w1", 1, 0, "orcs", "", event)
