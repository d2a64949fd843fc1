"""WatchWorkflow: every event once and in order, from any place on, until the workflow's end."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from orcs_client.v1 import (
    common_pb2,
    event_pb2,
    system_service_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_server.app import Server
from orcs_server.service.cursors import WorkflowCursors
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, broken_off, connected, plan_of, rest_of, sequences

_w = workflow_service_pb2
SECOND = Duration(seconds=1)
MIB = 1024 * 1024


def fan(width: int) -> workflow_pb2.Plan:
    names = [f"b{number}" for number in range(width)]
    return plan_of(a=(), **dict.fromkeys(names, ("a",)), z=tuple(names))


async def test_a_watch_tells_the_whole_story_and_ends(wire: Wire) -> None:
    created = await wire.create(plan=fan(8))
    replies = await wire.watched(workflow_id=created.workflow.id)
    assert sequences(replies) == list(range(1, len(sequences(replies)) + 1))
    bodies = [event.WhichOneof("body") for reply in replies for event in reply.events]
    assert bodies[:3] == ["workflow_created", "plan_adopted", "workflow_started"]
    assert bodies[-1] == "workflow_completed"
    assert bodies.count("task_completed") == 10
    assert replies[-1].end.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert not any(reply.HasField("end") for reply in replies[:-1])
    first = replies[0].events[0]
    assert first.actor == created.workflow.creator
    assert first.workflow_created.workflow.title == created.workflow.title


async def test_a_watch_goes_on_after_any_cursor_without_a_gap_or_a_repeat(wire: Wire) -> None:
    created = await wire.create(plan=fan(3))
    replies = await wire.watched(workflow_id=created.workflow.id)
    everything = sequences(replies)
    info = await wire.call("GetServerInfo", system_service_pb2.GetServerInfoRequest())
    cursors = WorkflowCursors(info.log_epoch, info.caller.namespace, created.workflow.id)
    for seq in everything:
        resumed = await wire.watched(workflow_id=created.workflow.id, after_cursor=cursors.at(seq))
        assert sequences(resumed) == everything[seq:]
        assert resumed[-1].HasField("end")
    assert replies[-1].cursor == cursors.at(everything[-1])


async def test_a_snapshot_is_followed_by_what_happens_after_it(wire: Wire) -> None:
    created = await wire.create(plan=fan(2), auto_start=False)
    watch = wire.watch(workflow_id=created.workflow.id, snapshot=True)
    snapshot = await watch.read()
    assert snapshot.snapshot_complete
    assert snapshot.snapshot.workflow.state == workflow_pb2.WORKFLOW_STATE_READY
    assert [task.id for task in snapshot.snapshot.tasks] == ["a", "b0", "b1", "z"]
    await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=created.workflow.id))
    followed = await rest_of(watch)
    assert followed[0].events[0].WhichOneof("body") == "workflow_started"
    assert sequences(followed) == sequences(
        await wire.watched(workflow_id=created.workflow.id, after_cursor=snapshot.cursor)
    )
    again = await wire.watched(workflow_id=created.workflow.id, snapshot=True)
    assert again[-1].end.state == workflow_pb2.WORKFLOW_STATE_COMPLETED


async def test_a_large_snapshot_comes_in_parts_of_less_than_a_mebibyte(wire: Wire) -> None:
    layers = [[f"x{layer}-{number}" for number in range(500)] for layer in range(4)]
    plan = plan_of(**{name: tuple(layers[n - 1]) if n else () for n, layer in enumerate(layers) for name in layer})
    created = await wire.create(plan=plan, auto_start=False)
    assert created.workflow.task_counts.total == 2000
    watch = wire.watch(workflow_id=created.workflow.id, snapshot=True)
    parts: list[Any] = []
    while not parts or not parts[-1].snapshot_complete:
        parts.append(await watch.read())
    assert len(parts) > 4
    assert all(part.ByteSize() < MIB for part in parts)
    assert not any(part.cursor for part in parts[:-1])
    assert [task.id for part in parts for task in part.snapshot.tasks] == [name for layer in layers for name in layer]
    events = await wire.watch(workflow_id=created.workflow.id).read()
    adopted = events.events[1].plan_adopted
    assert adopted.tasks_omitted
    assert adopted.task_count == 2000
    assert not adopted.tasks
    page = await wire.call(
        "ListTasks", task_service_pb2.ListTasksRequest(workflow_id=created.workflow.id, page_size=500)
    )
    assert page.ByteSize() < MIB
    assert page.next_page_token


async def test_a_filter_hides_events_and_the_cursor_moves_on(wire: Wire) -> None:
    created = await wire.create(plan=fan(2), auto_start=False)
    types = [event_pb2.EVENT_TYPE_TASK_COMPLETED]
    watch = wire.watch(workflow_id=created.workflow.id, event_types=types, heartbeat_interval=SECOND)
    bookmark = await watch.read()
    assert bookmark.bookmark
    assert not bookmark.events
    await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=created.workflow.id))
    filtered = await rest_of(watch)
    assert [event.task_completed.task_id for reply in filtered for event in reply.events] == ["a", "b0", "b1", "z"]
    everything = await wire.watched(workflow_id=created.workflow.id)
    assert filtered[-1].cursor == everything[-1].cursor
    after = await wire.watched(workflow_id=created.workflow.id, after_cursor=bookmark.cursor)
    assert after[0].events[0].WhichOneof("body") == "workflow_started"


async def test_twenty_watchers_see_the_same(wire: Wire) -> None:
    created = await wire.create(plan=fan(20), auto_start=False)
    watches = [asyncio.create_task(wire.watched(workflow_id=created.workflow.id)) for _ in range(20)]
    await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=created.workflow.id))
    seen = [[event for reply in replies for event in reply.events] for replies in await asyncio.gather(*watches)]
    assert [event.sequence for event in seen[0]] == list(range(1, len(seen[0]) + 1))
    assert all(events == seen[0] for events in seen)


async def test_a_cursor_of_another_log_workflow_or_future_is_refused(wire: Wire) -> None:
    created = await wire.create(plan=fan(1), auto_start=False)
    other = await wire.create(plan=fan(1), auto_start=False)
    info = await wire.call("GetServerInfo", system_service_pb2.GetServerInfoRequest())
    namespace, own = info.caller.namespace, created.workflow.id
    wrong = {
        other.cursor: "CURSOR_INVALID",
        created.cursor[:-1]: "CURSOR_INVALID",
        created.cursor[:-1] + ("A" if created.cursor[-1] != "A" else "B"): "CURSOR_INVALID",
        "é": "CURSOR_INVALID",
        WorkflowCursors(info.log_epoch, namespace, own).at(10_000): "CURSOR_INVALID",
        WorkflowCursors(info.log_epoch, namespace, own).at(2**63): "CURSOR_INVALID",
        WorkflowCursors("0" * 16, namespace, own).at(1): "CURSOR_FOREIGN_EPOCH",
    }
    for cursor, reason in wrong.items():
        answer = await broken_off(wire.watch(workflow_id=own, after_cursor=cursor), [])
        assert (answer.code.name, answer.reason) == ("INVALID_ARGUMENT", reason), cursor


# On servers of the test's own


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path)}


@pytest.fixture
async def paced(tmp_path: Path, environ: dict[str, str]) -> AsyncIterator[Wire]:
    """A client of a server whose model takes its time."""
    settings = settings_in(tmp_path, insecure_no_auth=True, offline_pace=0.4)
    async with Server(settings, environ) as server, connected(str(server.address), None) as client:
        yield client


class Texts:
    """Puts deltas together as the protos say."""

    def __init__(self) -> None:
        self.by_attempt: dict[tuple[str, int], str] = {}

    def add(self, delta: Any) -> None:
        known = self.by_attempt.get((delta.task_id, delta.attempt), "")
        assert delta.offset <= len(known)
        self.by_attempt[delta.task_id, delta.attempt] = known[: delta.offset] + delta.text


async def test_deltas_add_up_to_the_output_for_early_and_late_watchers_alike(paced: Wire) -> None:
    created = await paced.create(plan=plan_of(a=(), b=()))
    early, late = Texts(), Texts()
    watch = paced.watch(workflow_id=created.workflow.id, include_deltas=True)
    while not early.by_attempt:
        for delta in (await watch.read()).deltas:
            early.add(delta)
    for reply in await paced.watched(workflow_id=created.workflow.id, include_deltas=True):
        for delta in reply.deltas:
            late.add(delta)
    for reply in await rest_of(watch):
        for delta in reply.deltas:
            early.add(delta)
    for name in ("a", "b"):
        request = task_service_pb2.GetTaskRequest(
            workflow_id=created.workflow.id, task_id=name, view=common_pb2.VIEW_FULL
        )
        output = (await paced.call("GetTask", request)).task.output.text
        assert early.by_attempt[name, 1] == late.by_attempt[name, 1] == output


async def test_a_reader_that_takes_nothing_is_told_so_and_can_go_on(tmp_path: Path, environ: dict[str, str]) -> None:
    settings = settings_in(tmp_path, insecure_no_auth=True)
    small_window = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
    running = Server(settings, environ, slow_after_s=1)
    async with running as server, connected(str(server.address), None, *small_window) as client:
        created = await client.create(plan=fan(600))
        await client.finished(created.workflow.id)
        stalled = client.watch(workflow_id=created.workflow.id)
        await stalled.initial_metadata()
        open_watches = server.backend.services.open_watches
        for count in (1, 0):
            while len(open_watches._wakes) != count:  # noqa: ASYNC110 - the server tells nobody of it
                await asyncio.sleep(0.01)
        replies: list[Any] = []
        answer = await broken_off(stalled, replies)
        assert (answer.code.name, answer.reason) == ("RESOURCE_EXHAUSTED", "SLOW_CONSUMER")
        first = len(replies)
        async with asyncio.timeout(60):
            while not replies[-1].HasField("end"):
                # On a busy machine this reader may be too slow, too, and more than once.
                again = client.watch(workflow_id=created.workflow.id, after_cursor=replies[-1].cursor)
                with contextlib.suppress(grpc.aio.AioRpcError):
                    async for reply in again:
                        replies.append(reply)  # noqa: PERF401 - what came before a break is kept
        seen = sequences(replies)
        assert seen == list(range(1, len(seen) + 1))
        assert sequences(replies[first:])


async def test_a_cursor_older_than_the_log_has_expired_and_the_oldest_one_is_told(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    settings = settings_in(tmp_path, insecure_no_auth=True)
    async with Server(settings, environ) as server, connected(str(server.address), None) as client:
        created = await client.create(plan=fan(2), auto_start=False)
        await client.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id=created.workflow.id))
        await client.finished(created.workflow.id)
        cursors = WorkflowCursors(server.backend.store.epoch, "default", created.workflow.id)
        with sqlite3.connect(settings.data, isolation_level=None) as connection:
            connection.execute("DELETE FROM events WHERE seq <= 5")
        connection.close()
        answer = await broken_off(client.watch(workflow_id=created.workflow.id, after_cursor=cursors.at(2)), [])
        assert (answer.code.name, answer.reason) == ("OUT_OF_RANGE", "CURSOR_EXPIRED")
        oldest = answer.metadata["oldest_cursor"]
        assert sequences(await client.watched(workflow_id=created.workflow.id, after_cursor=oldest))[0] == 6


async def test_a_caller_has_so_many_watches_and_no_more(tmp_path: Path, environ: dict[str, str]) -> None:
    settings = settings_in(tmp_path, insecure_no_auth=True, limits={"max_watches_per_caller": 2})
    async with Server(settings, environ) as server, connected(str(server.address), None) as client:
        created = await client.create(plan=fan(1), auto_start=False)
        watches = [client.watch(workflow_id=created.workflow.id) for _ in range(2)]
        for watch in watches:
            await watch.read()
        answer = await broken_off(client.watch(workflow_id=created.workflow.id), [])
        assert (answer.code.name, answer.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        assert {"google.rpc.QuotaFailure", "google.rpc.RetryInfo"} <= set(answer.details)
        watches[0].cancel()
        while True:
            again = client.watch(workflow_id=created.workflow.id)
            try:
                assert (await again.read()).events
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)
