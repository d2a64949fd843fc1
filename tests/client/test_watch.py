"""A watch yields every event once and in order, whatever breaks in between."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcs_client import (
    Event,
    GapError,
    InternalError,
    InvalidArgument,
    NotFound,
    OrcsClient,
    SettingsError,
    Snapshot,
    Unauthenticated,
    Unavailable,
    watching,
)
from orcs_client.v1 import event_pb2, workflow_pb2, workflow_service_pb2
from tests.client.cutting_proxy import CuttingProxy
from tests.client.scripted_server import CUT_KINDS, Cut, ScriptedServer, ScriptedWorkflows, abort, log

CUTS = st.lists(st.builds(Cut, after=st.integers(0, 8), kind=st.sampled_from(CUT_KINDS)), max_size=5)
BATCHES = st.lists(st.integers(1, 6), min_size=1, max_size=4)


async def watched(client: OrcsClient, **options: object) -> list[int]:
    return [item.sequence async for item in client.watch("w", **options) if isinstance(item, Event)]  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 30), batches=BATCHES, overlap=st.integers(0, 4), cuts=CUTS)
def test_what_is_watched_equals_the_log_whatever_the_server_does(
    length: int, batches: list[int], overlap: int, cuts: list[Cut]
) -> None:
    async def scenario() -> None:
        workflows = ScriptedWorkflows(events=log(length), batches=batches, overlap=overlap, cuts=list(cuts))
        async with ScriptedServer(workflows) as server, OrcsClient(server.address) as client:
            await client.get_server_info()
            items = [item async for item in client.watch("w")]
        assert [item.message for item in items if isinstance(item, Event)] == log(length)

    asyncio.run(scenario())


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 200), batches=BATCHES, budgets=st.lists(st.integers(0, 6000), max_size=4))
def test_what_is_watched_equals_the_log_wherever_the_connection_is_cut(
    length: int, batches: list[int], budgets: list[int]
) -> None:
    async def scenario() -> None:
        async with (
            ScriptedServer(ScriptedWorkflows(events=log(length), batches=batches)) as server,
            CuttingProxy(server.port) as proxy,
            OrcsClient(proxy.address) as client,
        ):
            await client.get_server_info()
            proxy.budgets = list(budgets)
            assert await watched(client) == list(range(1, length + 1))

    asyncio.run(scenario())


@settings(max_examples=30, deadline=None)
@given(
    length=st.integers(1, 20),
    batches=BATCHES,
    stops=st.lists(st.integers(1, 20), max_size=4),
    kinds=st.sets(st.sampled_from(["first", "usage", "last"])),
)
def test_every_cursor_resumes_exactly_after_its_event_also_in_the_middle_of_a_batch(
    length: int, batches: list[int], stops: list[int], kinds: set[str]
) -> None:
    numbers = {
        "first": event_pb2.EVENT_TYPE_WORKFLOW_CREATED,
        "usage": event_pb2.EVENT_TYPE_USAGE_RECORDED,
        "last": event_pb2.EVENT_TYPE_WORKFLOW_COMPLETED,
    }
    types = [numbers[kind] for kind in kinds]

    async def scenario() -> None:
        async with ScriptedServer(ScriptedWorkflows(events=log(length), batches=batches)) as server:
            seen: list[int] = []
            cursor = ""
            for stop in [*stops, None]:
                async with (
                    OrcsClient(server.address) as client,
                    aclosing(client.watch("w", after_cursor=cursor, event_types=types)) as items,
                ):
                    count = 0
                    async for item in items:
                        assert isinstance(item, Event)
                        seen.append(item.sequence)
                        cursor = item.cursor
                        count += 1
                        if count == stop:
                            break
            expected = [each for each in log(length) if not types or Event(each, "").type in types]
            assert seen == [each.sequence for each in expected]

    asyncio.run(scenario())


async def test_a_gap_is_an_error_after_the_events_before_it() -> None:
    events = log(6)
    del events[3]
    async with (
        ScriptedServer(ScriptedWorkflows(events=events, batches=(6,))) as server,
        OrcsClient(server.address) as client,
    ):
        items = client.watch("w")
        assert [(await anext(items)).sequence for _ in range(3)] == [1, 2, 3]  # type: ignore[union-attr]
        with pytest.raises(GapError, match="from event 3 to 5"):
            await anext(items)


async def test_a_log_that_does_not_begin_with_its_first_event_is_a_gap() -> None:
    async with (
        ScriptedServer(ScriptedWorkflows(events=log(3)[1:])) as server,
        OrcsClient(server.address) as client,
    ):
        with pytest.raises(GapError, match="from event 0 to 2"):
            await watched(client)


async def test_a_stream_that_falls_silent_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SILENT_BEATS", 0.3)
    async with (
        ScriptedServer(ScriptedWorkflows(silent=True)) as server,
        OrcsClient(server.address) as client,
    ):
        await client.get_server_info()
        assert await watched(client, heartbeat_interval=1) == [1, 2, 3, 4, 5]
    assert len(server.workflows.requests) == 2


async def test_a_snapshot_that_was_cut_off_comes_whole_and_once_and_events_go_on_from_it() -> None:
    def part(task: str, cursor: str = "") -> workflow_service_pb2.WatchWorkflowResponse:
        snapshot = workflow_service_pb2.WorkflowSnapshot(tasks=[workflow_pb2.Task(id=task)])
        if task == "t1":
            snapshot.workflow.id = "w"
        return workflow_service_pb2.WatchWorkflowResponse(
            snapshot=snapshot, cursor=cursor, snapshot_complete=bool(cursor)
        )

    workflows = ScriptedWorkflows(
        snapshot=[part("t1"), part("t2"), part("t3", "c2")],
        cuts=[Cut(2, "unavailable"), Cut(3, "ok"), Cut(1, "internal")],
    )
    async with ScriptedServer(workflows) as server, OrcsClient(server.address) as client:
        first, *rest = [item async for item in client.watch("w", snapshot=True)]
    assert isinstance(first, Snapshot)
    assert (first.workflow.id, [task.id for task in first.tasks], first.cursor) == ("w", ["t1", "t2", "t3"], "c2")
    assert [item.sequence for item in rest if isinstance(item, Event)] == [3, 4, 5]
    assert [(request.snapshot, request.after_cursor) for request in workflows.requests] == [
        (True, ""),
        (True, ""),
        (False, "c2"),
        (False, "c3"),
    ]


async def test_an_event_of_a_newer_server_is_yielded_without_a_body() -> None:
    events = log(3)
    events[1].ClearField("usage_recorded")
    async with ScriptedServer(ScriptedWorkflows(events=events)) as server, OrcsClient(server.address) as client:
        items = [item async for item in client.watch("w")]
    unknown = items[1]
    assert isinstance(unknown, Event)
    assert (unknown.type, unknown.body) == (event_pb2.EVENT_TYPE_UNSPECIFIED, None)


async def test_an_error_that_another_attempt_would_not_change_ends_the_watch() -> None:
    async def refuse(context: object) -> None:
        await abort(context, grpc.StatusCode.NOT_FOUND, "WORKFLOW_NOT_FOUND", "no such workflow")  # type: ignore[arg-type]

    async with (
        ScriptedServer(ScriptedWorkflows(failures=[refuse])) as server,
        OrcsClient(server.address) as client,
    ):
        with pytest.raises(NotFound, match="no such workflow"):
            await watched(client)
    assert len(server.workflows.requests) == 1


async def test_cuts_that_nobody_explains_end_a_watch_only_where_it_gets_no_further() -> None:
    workflows = ScriptedWorkflows(events=log(12), cuts=[Cut(1, "unknown")] * 10)
    async with ScriptedServer(workflows) as server, OrcsClient(server.address) as client:
        assert await watched(client) == list(range(1, 13))
        workflows.cuts = [Cut(0, "unknown")] * 50
        with pytest.raises(InternalError, match="Stream removed"):
            await watched(client)


async def test_a_stream_that_the_server_cancels_goes_on_after_its_cursor() -> None:
    """It looks like the caller's own cancellation, and is none."""
    told: list[grpc.StatusCode | None] = []
    workflows = ScriptedWorkflows(events=log(6), cuts=[Cut(2, "cancelled"), Cut(0, "cancelled"), Cut(3, "cancelled")])
    async with ScriptedServer(workflows) as server, OrcsClient(server.address) as client:
        assert await watched(client, on_disconnect=lambda cut: told.append(cut.code)) == [1, 2, 3, 4, 5, 6]
    # The third reply of the third stream is a bookmark.
    assert [request.after_cursor for request in workflows.requests] == ["", "c2", "c2", "c4"]
    assert set(told) == {grpc.StatusCode.CANCELLED}


async def test_a_server_that_never_answered_is_given_up() -> None:
    async with OrcsClient("127.0.0.1:1") as client:
        with pytest.raises(Unavailable, match="orcs serve"):
            await watched(client)


async def test_a_server_that_went_away_is_given_up_after_the_reconnect_timeout() -> None:
    async with ScriptedServer(ScriptedWorkflows(never_end=True)) as server, OrcsClient(server.address) as client:
        items = client.watch("w", reconnect_timeout=0.5)
        assert [(await anext(items)).sequence for _ in range(5)] == [1, 2, 3, 4, 5]  # type: ignore[union-attr]
        await server.stop()
        with pytest.raises(Unavailable):
            await anext(items)


async def test_a_watch_tells_when_its_server_is_lost_and_when_it_is_back() -> None:
    told: list[object] = []
    workflows = ScriptedWorkflows(cuts=[Cut(2, "kill"), Cut(0, "unavailable"), Cut(1, "ok")])
    async with ScriptedServer(workflows) as server, OrcsClient(server.address) as client:
        lost_and_back: dict[str, object] = {
            "on_disconnect": lambda error: told.append(type(error)),
            "on_reconnect": lambda: told.append("back"),
        }
        async for item in client.watch("w", **lost_and_back):  # type: ignore[arg-type]
            assert isinstance(item, Event)
            told.append(item.sequence)
    assert told == [1, 2, Unavailable, "back", 3, Unavailable, "back", 4, 5]


async def test_a_server_that_never_answered_is_not_told_as_lost() -> None:
    told: list[Exception] = []
    async with OrcsClient("127.0.0.1:1") as client:
        with pytest.raises(Unavailable):
            await watched(client, on_disconnect=told.append)
    assert told == []


async def test_a_refused_token_ends_a_watch() -> None:
    async with (
        ScriptedServer(ScriptedWorkflows(token="right")) as server,
        OrcsClient(server.address, token="wrong") as client,
    ):
        with pytest.raises(Unauthenticated):
            await watched(client)


async def test_closing_the_client_ends_its_watches_with_an_error_and_not_as_a_cancellation() -> None:
    async with ScriptedServer(ScriptedWorkflows(never_end=True)) as server:
        client = OrcsClient(server.address)
        seen = asyncio.Event()

        async def watch() -> None:
            async for item in client.watch("w"):
                assert isinstance(item, Event)
                if item.sequence == 5:
                    seen.set()

        task = asyncio.create_task(watch())
        await seen.wait()
        await client.close()
        with pytest.raises(SettingsError, match="closed"):
            await task


async def test_cancelling_a_watch_leaves_no_stream_behind() -> None:
    async with ScriptedServer(ScriptedWorkflows(never_end=True)) as server, OrcsClient(server.address) as client:
        begun = asyncio.Event()

        async def watch() -> None:
            async for _ in client.watch("w"):
                begun.set()

        task = asyncio.create_task(watch())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.workflows.left.wait()


async def test_a_snapshot_after_a_cursor_and_a_heartbeat_out_of_bounds_are_refused() -> None:
    async with OrcsClient("127.0.0.1:1") as client:
        with pytest.raises(SettingsError, match="not both"):
            await watched(client, snapshot=True, after_cursor="c1")
        with pytest.raises(SettingsError, match="from 1 to 300"):
            await watched(client, heartbeat_interval=0.5)


async def test_watching_workflows_shows_a_whole_snapshot_and_goes_on_over_cuts() -> None:
    def reply(*ids: str, **fields: object) -> workflow_service_pb2.WatchWorkflowsResponse:
        workflows = [workflow_pb2.WorkflowSummary(id=each) for each in ids]
        return workflow_service_pb2.WatchWorkflowsResponse(workflows=workflows, **fields)  # type: ignore[arg-type]

    workflows = ScriptedWorkflows(
        changes=[
            [reply("gone")],
            [reply("a"), reply("b", snapshot_complete=True, cursor="p1")],
            [reply(bookmark=True, cursor="p2")],
            [reply("c", removed_workflow_ids=["a"], cursor="p3")],
        ]
    )
    async with (
        ScriptedServer(workflows) as server,
        OrcsClient(server.address) as client,
        aclosing(client.watch_workflows(snapshot=True)) as updates,
    ):
        first, second = [await anext(updates), await anext(updates)]
    assert ([each.id for each in first.workflows], first.snapshot, first.cursor) == (["a", "b"], True, "p1")
    assert ([each.id for each in second.workflows], second.removed_workflow_ids) == (["c"], ("a",))
    assert [(request.snapshot, request.after_cursor) for request in workflows.requests] == [
        (True, ""),
        (True, ""),
        (False, "p1"),
        (False, "p2"),
    ]


async def test_a_foreign_cursor_is_the_servers_to_refuse() -> None:
    async def refuse(context: object) -> None:
        await abort(context, grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_INVALID", "a foreign cursor")  # type: ignore[arg-type]

    async with (
        ScriptedServer(ScriptedWorkflows(failures=[refuse])) as server,
        OrcsClient(server.address) as client,
    ):
        with pytest.raises(InvalidArgument) as caught:
            await watched(client, after_cursor="nonsense")
    assert caught.value.reason == "CURSOR_INVALID"
