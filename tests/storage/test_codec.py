"""Events are read in whatever version they were written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from orcs_server.errors import Unavailable
from orcs_server.storage import codec
from orcs_server.workflow.events import TaskReady, WorkflowStarted


def test_every_event_type_has_a_schema_version() -> None:
    assert set(codec.SCHEMA_VERSION) == {event_type.__name__ for event_type in codec.EVENT_TYPES}


def test_an_old_event_is_brought_up_version_by_version() -> None:
    def rename(fields: dict[str, Any]) -> dict[str, Any]:
        return {"type": "TaskRipe", "task": fields["name"]}

    def rename_again(fields: dict[str, Any]) -> dict[str, Any]:
        return {"type": "TaskReady", "task_id": fields["task"]}

    body = msgspec.json.encode({"type": "TaskRipe", "name": "t0"})
    upcasters = {("TaskRipe", -1): rename, ("TaskRipe", 0): rename_again}
    assert codec.decode_event("TaskRipe", -1, body, upcasters) == TaskReady("t0")


def test_an_event_of_the_present_version_needs_no_upcaster() -> None:
    assert codec.decode_event("WorkflowStarted", 1, codec.encode(WorkflowStarted())) == WorkflowStarted()


@pytest.mark.parametrize(
    ("type_name", "version", "body"),
    [
        ("TaskReady", 1, b'{"type":"TaskReady"}'),
        ("TaskReady", 1, b"\xff"),
        ("TaskReady", 7, b'{"type":"TaskReady","task_id":"t0"}'),
        ("Unheard", 1, b"{}"),
        ("TaskReady", 0, b"[]"),
    ],
)
def test_an_unreadable_event_is_an_error_that_says_what_to_do(type_name: str, version: int, body: bytes) -> None:
    with pytest.raises(Unavailable, match="restore the data from a backup"):
        codec.decode_event(type_name, version, body)


def test_an_upcaster_that_gives_nonsense_is_an_error() -> None:
    with pytest.raises(Unavailable):
        codec.decode_event("TaskReady", 0, b"{}", {("TaskReady", 0): lambda _: {"type": "TaskReady"}})
