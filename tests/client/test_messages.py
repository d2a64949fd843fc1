"""Enums by their short names, and messages as the JSON that other programs read."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from orcs_client import Delta, Event, InvalidArgument, OrcsClient, Snapshot, Unimplemented
from orcs_client.messages import (
    OutputFormat,
    PlanningStrategy,
    WorkflowState,
    short_name,
    value_named,
    watch_item_to_dict,
)
from orcs_client.v1 import workflow_pb2, workflow_service_pb2
from tests.client.scripted_server import ScriptedServer, ScriptedWorkflows, log


def test_enum_values_have_short_names() -> None:
    assert value_named(PlanningStrategy, "breadth-first") == PlanningStrategy.PLANNING_STRATEGY_BREADTH_FIRST
    assert short_name(WorkflowState, WorkflowState.WORKFLOW_STATE_RUNNING) == "RUNNING"
    of_a_newer_server: Any = 77
    assert short_name(WorkflowState, of_a_newer_server) == "77"
    for wrong in ("pdf", "unspecified"):
        with pytest.raises(InvalidArgument, match="is none of text, markdown, json, html"):
            value_named(OutputFormat, wrong)


def test_an_item_of_a_watch_reads_back_as_the_reply_that_brought_it() -> None:
    (event,) = log(1)
    workflow = workflow_pb2.Workflow(id="w", state=workflow_pb2.WORKFLOW_STATE_RUNNING)
    snapshot = Snapshot(workflow, (workflow_pb2.Task(id="t1"),), "c1")
    delta = Delta(task_id="t1", attempt=1, offset=4, text="more")
    replies = [
        json_format.ParseDict(watch_item_to_dict(item), workflow_service_pb2.WatchWorkflowResponse())
        for item in (snapshot, Event(event, "c2"), delta)
    ]
    assert (replies[0].snapshot.workflow, replies[0].snapshot_complete) == (workflow, True)
    assert [reply.cursor for reply in replies] == ["c1", "c2", ""]
    assert list(replies[1].events) == [event]
    assert list(replies[2].deltas) == [delta]
    assert "workflow_id" in watch_item_to_dict(Event(event, "c2"))["events"][0]


async def test_a_server_that_does_not_know_health_says_so() -> None:
    async with ScriptedServer(ScriptedWorkflows()) as server, OrcsClient(server.address) as client:
        with pytest.raises(Unimplemented):
            await client.receives_work()
