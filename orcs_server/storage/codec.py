"""How events and rows look at rest: JSON by msgspec, for every store alike. An event whose shape changes gets a new schema
version and an upcaster here, so that what was once written can always be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

import msgspec

from orcs_server.errors import Unavailable
from orcs_server.identity import Caller
from orcs_server.workflow.events import Event
from orcs_server.workflow.model import TaskProgress, TaskSpec, Usage, WorkflowProgress, WorkflowSpec
from orcs_server.workflow.people import PendingInput, PersonMessage


class Unreadable(Unavailable):
    """Something stored is damaged, or from a program that knows more; `what` says which thing."""

    def __init__(self, what: str) -> None:
        super().__init__(
            "STORAGE_UNAVAILABLE",
            f"The storage holds something unreadable ({what}); ask the operator to restore the data from a backup.",
        )
        self.what = what


Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the JSON object of one schema version into that of the next."""

T = TypeVar("T")

EVENT_TYPES: tuple[type, ...] = get_args(Event)
SCHEMA_VERSION: dict[str, int] = {event_type.__name__: 1 for event_type in EVENT_TYPES}
"""The schema version in which each type of event is written today."""
UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""(event type, schema version) -> what brings it to the next version. `type` may be changed too, for a rename."""

encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
"""JSON of an event, a spec, a progress, a usage or a caller."""

_event: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_workflow_spec = msgspec.json.Decoder(WorkflowSpec)
_workflow_progress = msgspec.json.Decoder(WorkflowProgress)
_task_spec = msgspec.json.Decoder(TaskSpec)
_task_progress = msgspec.json.Decoder(TaskProgress)
_usage = msgspec.json.Decoder(Usage)
_caller = msgspec.json.Decoder(Caller)
_input = msgspec.json.Decoder(PendingInput)
_message = msgspec.json.Decoder(PersonMessage)


def decode_event(
    type_name: str, version: int, body: bytes, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS
) -> Event:
    """Return the event of a stored body, whatever version it was written in. Raises Unavailable when it is damaged."""
    if version == SCHEMA_VERSION.get(type_name):
        return _decode(_event, body, type_name)
    return _upcast(type_name, version, body, upcasters)


def _upcast(type_name: str, version: int, body: bytes, upcasters: Mapping[tuple[str, int], Upcaster]) -> Event:
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
        while version != SCHEMA_VERSION.get(type_name):
            fields = upcasters[type_name, version](fields)
            type_name, version = fields["type"], version + 1
        event: Event = msgspec.convert(fields, Event)
    except KeyError as error:
        raise damaged(f"event {type_name} of schema version {version}, which this program does not know") from error
    except msgspec.MsgspecError as error:
        raise damaged(f"event {type_name}") from error
    return event


def decode_workflow_spec(body: bytes) -> WorkflowSpec:
    """Return a workflow's spec. Raises Unavailable when it is damaged, as all of these do."""
    return _decode(_workflow_spec, body, "workflow spec")


def decode_usage(body: bytes) -> Usage:
    """Return what an attempt consumed."""
    return _decode(_usage, body, "usage in a journal")


def decode_workflow_progress(body: bytes) -> WorkflowProgress:
    """Return a workflow's progress."""
    return _decode(_workflow_progress, body, "workflow progress")


def decode_task_spec(body: bytes) -> TaskSpec:
    """Return a task's spec."""
    return _decode(_task_spec, body, "task spec")


def decode_task_progress(body: bytes) -> TaskProgress:
    """Return a task's progress."""
    return _decode(_task_progress, body, "task progress")


def decode_caller(body: bytes) -> Caller:
    """Return a stored caller."""
    return _decode(_caller, body, "caller")


def decode_input(body: bytes) -> PendingInput:
    """Return something that was asked of people."""
    return _decode(_input, body, "pending input")


def decode_message(body: bytes) -> PersonMessage:
    """Return a message of a person."""
    return _decode(_message, body, "message")


def damaged(what: str) -> Unreadable:
    """Return the error for something stored that cannot be read."""
    return Unreadable(what)


def _decode(decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise damaged(what) from error
