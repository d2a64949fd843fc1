"""WatchWorkflows: all workflows of a namespace, each as it is now whenever it has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.duration_pb2 import Duration

from orcs_client.v1 import workflow_pb2, workflow_service_pb2
from tests.rpc.wire import Wire, plan_of

_w = workflow_service_pb2
READY, COMPLETED = workflow_pb2.WORKFLOW_STATE_READY, workflow_pb2.WORKFLOW_STATE_COMPLETED


async def until(watch: Any, done: Callable[[Any], bool]) -> Any:
    """Read until a reply fits."""
    while True:
        reply = await watch.read()
        if done(reply):
            return reply


def states(reply: Any) -> dict[str, Any]:
    return {workflow.id: workflow.state for workflow in reply.workflows}


async def test_changes_follow_the_snapshot_and_go_on_after_a_cursor(client: Wire) -> None:
    await client.create(plan=plan_of(a=()), workflow_id="w1", auto_start=False)
    watch = client.call("WatchWorkflows", _w.WatchWorkflowsRequest(snapshot=True))
    snapshot = await watch.read()
    assert snapshot.snapshot_complete
    assert states(snapshot) == {"w1": READY}
    await client.create(plan=plan_of(a=()), workflow_id="w2")
    seen = await until(watch, lambda reply: states(reply).get("w2") == COMPLETED)
    watch.cancel()
    await client.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w1"))
    await client.finished("w1")
    resumed = client.call("WatchWorkflows", _w.WatchWorkflowsRequest(after_cursor=seen.cursor))
    assert states(await resumed.read()) == {"w1": COMPLETED}
    from_snapshot = client.call("WatchWorkflows", _w.WatchWorkflowsRequest(after_cursor=snapshot.cursor))
    assert states(await from_snapshot.read()) == {"w1": COMPLETED, "w2": COMPLETED}


async def test_what_no_longer_fits_or_was_deleted_is_taken_away(client: Wire) -> None:
    request = _w.WatchWorkflowsRequest(snapshot=True)
    request.filter.states.append(READY)
    request.filter.labels["team"] = "a"
    watch = client.call("WatchWorkflows", request)
    assert (await watch.read()).snapshot_complete
    await client.create(plan=plan_of(a=()), workflow_id="other", auto_start=False)
    await client.create(plan=plan_of(a=()), workflow_id="ours", labels={"team": "a"}, auto_start=False)
    assert states(await until(watch, lambda reply: bool(reply.workflows))) == {"ours": READY}
    await client.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="ours"))
    await until(watch, lambda reply: "ours" in reply.removed_workflow_ids)
    everything = client.call("WatchWorkflows", _w.WatchWorkflowsRequest(snapshot=True))
    await everything.read()
    await client.finished("ours")
    deleted = await client.call("DeleteWorkflow", _w.DeleteWorkflowRequest(workflow_id="ours"))
    reply = await until(everything, lambda reply: "ours" in reply.removed_workflow_ids)
    assert reply.cursor == deleted.cursor


async def test_a_silent_watch_sends_bookmarks(client: Wire) -> None:
    watch = client.call("WatchWorkflows", _w.WatchWorkflowsRequest(heartbeat_interval=Duration(seconds=1)))
    bookmark = await watch.read()
    assert bookmark.bookmark
    assert bookmark.cursor
