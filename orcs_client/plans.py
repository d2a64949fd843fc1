"""Plans of one's own: read from a protojson file, or put together in Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.duration_pb2 import Duration

from orcs_client.errors import InvalidArgument, Violation
from orcs_client.v1 import workflow_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NotRequired

    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

_LAYER = re.compile(
    r"^Failed to (?:parse (?:tasks|edits|rules) field|load JSON): "
    r"|^Failed to parse \w+ field: (?=Failed to parse |Message type )"
)
_UNKNOWN_FIELD = re.compile(
    r'Message type "orcs\.v1\.(?P<kind>\w+)" has no field named "(?P<name>.*)" at "(?P<place>[^"]*)"\.', re.DOTALL
)

_UNKNOWN_VALUE = re.compile(r"Invalid enum value (?P<value>.*) for enum type orcs\.v1\.(?P<kind>\w+)", re.DOTALL)
_NOT_SAID = {
    "description_sha256",
    "output_schema_sha256",
    "request_id",
    "workflow_id",
    "plan_revision",
    "validate_only",
}
"""Fields that have no place in a file."""

PLAN_LIMIT = 8 * 1024 * 1024
"""The largest plan in bytes; no server accepts more."""


class PlanTaskFields(TypedDict):
    """A task of a plan, each field as in `orcs.v1.PlanTask`; `timeout` is in seconds."""

    id: NotRequired[str]
    title: str
    description: NotRequired[str]
    agent_id: str
    dependencies: NotRequired[Sequence[str]]
    priority: NotRequired[int]
    timeout: NotRequired[float]
    max_attempts: NotRequired[int]
    optional: NotRequired[bool]
    output_schema: NotRequired[str]
    needs_approval: NotRequired[bool]
    budget: NotRequired[workflow_pb2.Budget]


def plan(tasks: Iterable[PlanTaskFields]) -> workflow_pb2.Plan:
    """Return a plan of these tasks. Its rules (ids, dependencies, cycles) are checked by the server: see `preview_plan`.

    Raises `InvalidArgument` for a field that a task does not have or that holds something else than it should.
    """
    made = workflow_pb2.Plan()
    for index, task in enumerate(tasks):
        fields = dict(task)
        timeout = fields.pop("timeout", None)
        try:
            message = workflow_pb2.PlanTask(**fields)  # type: ignore[arg-type] # protobuf checks them
            if timeout is not None:
                message.timeout.CopyFrom(_duration(timeout))
        except (TypeError, ValueError) as error:
            raise invalid(f"plan.tasks[{index}]", str(error)) from error
        made.tasks.append(message)
    return made


def load_plan(path: str | Path) -> workflow_pb2.Plan:
    """Return the plan in a file, as `parse_plan` reads it. Raises `InvalidArgument` also if the file cannot be read."""
    return parse_plan(read_file(path), str(path))


def read_file(path: str | Path) -> str:
    """Return the text of a file that a server might accept. Raises `InvalidArgument` if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(PLAN_LIMIT + 1)
    except OSError as error:
        raise invalid(str(path), f"the file cannot be read: {error.strerror}") from error
    if len(content) > PLAN_LIMIT:
        raise invalid(str(path), f"it is larger than {PLAN_LIMIT} bytes, more than a server accepts")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid(str(path), f"it is not UTF-8 text: byte {error.start} does not fit") from error


def parse_plan(text: str, name: str = "plan") -> workflow_pb2.Plan:
    """Return the plan that `text` holds in protojson: `{"tasks": [{"id": "a", "title": "…", "agentId": "…"}, …]}`, where
    names may also be written as in the proto (`agent_id`).

    Raises `InvalidArgument`, naming the place, for what is not JSON, an unknown or repeated field, a wrong type, and for
    a plan without tasks. `name` says in the message where the text came from.
    """
    made = read_json(text, workflow_pb2.Plan(), name, "it is no plan", '{"tasks": […]}')
    if not made.tasks:
        raise invalid(name, 'it holds no tasks: {"tasks": […]} must name at least one')
    return made


def read_json(text: str, message: M, name: str, refusal: str, example: str) -> M:
    """Fill a message from protojson and return it. Raises `InvalidArgument`, naming the place."""
    from google.protobuf import json_format  # most programs never need it

    if not text.lstrip().startswith("{"):
        raise invalid(name, f"{refusal}: it must be a JSON object like {example}")
    try:
        json_format.Parse(text, message)
    except (json_format.ParseError, RecursionError) as error:
        raise invalid(name, f"{refusal}: {_plainly(str(error), message.DESCRIPTOR.name)}") from error
    return message


def _plainly(message: str, root: str) -> str:
    """Return what protobuf says of wrong JSON, without its own layers and with the fields as the proto spells them."""
    while (unwrapped := _LAYER.sub("", message)) != message:
        message = unwrapped
    unknown = _UNKNOWN_FIELD.match(message)
    if unknown is not None:
        kind = descriptor_pool.Default().FindMessageTypeByName(f"orcs.v1.{unknown['kind']}")
        names = ", ".join(name for name in kind.fields_by_name if name not in _NOT_SAID)
        place = unknown["place"].removeprefix(f"{root}.")
        return f"{place} has no field {unknown['name']!r}; it may have {names}"
    value = _UNKNOWN_VALUE.search(message)
    if value is not None:
        enum = descriptor_pool.Default().FindEnumTypeByName(f"orcs.v1.{value['kind']}")
        names = ", ".join(name for name, one in enum.values_by_name.items() if one.number)
        return f"{value['value']!r} is none of {names}"
    return message.rstrip(".").replace(f"at {root}.", "at ")


def _duration(seconds: object) -> Duration:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
        raise ValueError(f"timeout must be a number of seconds above 0, not {seconds!r}")
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1_000_000))
    return duration


def invalid(field: str, description: str) -> InvalidArgument:
    """Return the error for a plan, or edits of one, that cannot be read."""
    return InvalidArgument(
        f"{field}: {description}", reason="PLAN_INVALID", violations=(Violation(field, description),)
    )
