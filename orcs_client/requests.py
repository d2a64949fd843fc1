"""How what Python programs say becomes the messages that a server reads."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias, TypedDict

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from orcs_client.errors import InvalidArgument, Violation
from orcs_client.v1 import common_pb2, workflow_pb2, workflow_service_pb2


class WorkflowOptions(TypedDict, total=False):
    """What can be said of a new workflow beside its query or plan; each as in `orcs.v1.CreateWorkflowRequest`."""

    request_id: str
    workflow_id: str
    title: str
    labels: Mapping[str, str]
    context: Mapping[str, Any] | common_pb2.Part
    priority: int
    budget: workflow_pb2.Budget
    deadline_time: datetime | Timestamp
    not_before_time: datetime | Timestamp
    resource_requirements: Mapping[str, Any] | str
    output_format: workflow_pb2.OutputFormat.ValueType
    output_schema: Mapping[str, Any] | str
    approval_policy: workflow_pb2.ApprovalPolicy.ValueType
    failure_policy: workflow_pb2.FailurePolicy.ValueType
    execution: workflow_pb2.Execution.ValueType
    planning_strategy: workflow_pb2.PlanningStrategy.ValueType
    continue_from: str
    auto_start: bool
    retry_policy: workflow_pb2.RetryPolicy
    max_parallel_tasks: int
    max_tasks: int


def creation(
    query: str | None, plan: workflow_pb2.Plan | None, options: WorkflowOptions
) -> workflow_service_pb2.CreateWorkflowRequest:
    """Return the request to create a workflow; it always has a request id, so it may be sent again.

    Raises `InvalidArgument` unless there is either a query or a plan, and for what cannot be written into a message.
    """
    check_source(query, plan)
    fields: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    fields["request_id"] = options.get("request_id") or new_request_id()
    if "context" in fields:
        fields["context"] = context_part(fields["context"])
    for name in ("resource_requirements", "output_schema"):
        if name in fields:
            fields[name] = _json(name, fields[name])
    for name in ("deadline_time", "not_before_time"):
        if name in fields:
            fields[name] = timestamp(name, fields[name])
    if query is not None:
        fields["query"] = query
    try:
        return workflow_service_pb2.CreateWorkflowRequest(plan=plan, **fields)
    except UnicodeEncodeError as error:
        raise _invalid(
            _where(error.object, fields), f"{error.object[:80]!r} is not Unicode text: write it in UTF-8"
        ) from None


def _where(text: str, fields: Mapping[str, Any]) -> str:
    """Return the name of the field that holds a text, whole or as a label."""
    for name, value in fields.items():
        if value == text or (name == "labels" and text in {*value, *value.values()}):
            return name
    return "request"


def check_source(query: str | None, plan: workflow_pb2.Plan | None) -> None:
    """Raise `InvalidArgument` unless exactly one is given; a message would silently keep only one of them."""
    if (query is None) == (plan is None):
        raise _invalid("source", "give either a query or a plan")


def new_request_id() -> str:
    """Return an id that no other request has."""
    return str(uuid.uuid4())


def context_part(context: Mapping[str, Any] | common_pb2.Part | None) -> common_pb2.Part | None:
    """Return the context as a message. Raises `InvalidArgument` if it is no JSON object."""
    if context is None or isinstance(context, common_pb2.Part):
        return context
    return common_pb2.Part(json=_json("context", context))


Content: TypeAlias = "str | bytes | common_pb2.Part | Mapping[str, Any] | list[Any] | float | bool | None"
"""A text, bytes, a message as it is, or anything else that can be written as JSON."""


def content_part(name: str, content: Content) -> common_pb2.Part:
    """Return content as a message. Raises `InvalidArgument` if it cannot be written as JSON."""
    match content:
        case common_pb2.Part():
            return content
        case bytes():
            return common_pb2.Part(data=content)
        case str():
            _check_text(name, content)
            return common_pb2.Part(text=content)
        case _:
            return common_pb2.Part(json=_json(name, content))


def budget(
    *, tokens: int | None = None, cost_micros: int | None = None, wall_time: float | None = None
) -> workflow_pb2.Budget:
    """Return limits on what a workflow or a task may use; `wall_time` is in seconds, what is left out is not limited."""
    limit = None if wall_time is None else seconds("wall_time", wall_time)
    return workflow_pb2.Budget(tokens=tokens, cost_micros=cost_micros, wall_time=limit)


def seconds(name: str, value: float) -> Duration:
    """Return a length of time as a message. Raises `InvalidArgument` for one below 0, or too long."""
    if not 0 <= value < 1e9:
        raise _invalid(name, f"it must be a number of seconds from 0 on, not {value!r}")
    duration = Duration()
    duration.FromMicroseconds(round(value * 1_000_000))
    return duration


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _invalid(
            name, f"character {error.start} is half of a surrogate pair, which is not Unicode text"
        ) from None


def _json(name: str, value: object) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(name, f"it cannot be written as JSON: {error}") from error
    _check_text(name, text)
    return text


def timestamp(name: str, value: datetime | Timestamp) -> Timestamp:
    """Return a time as a message. Raises `InvalidArgument` for one without a time zone."""
    if isinstance(value, Timestamp):
        return value
    if value.tzinfo is None:
        raise _invalid(name, "it has no time zone: use for instance datetime.now(timezone.utc)")
    message = Timestamp()
    message.FromDatetime(value)
    return message


def check_one(**named: object) -> None:
    """Raise `InvalidArgument` naming all that are given if more than one is; a message would silently keep only one of them."""
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        violations = tuple(Violation(name, f"give only one of {' and '.join(given)}") for name in given)
        raise InvalidArgument(f"give only one of {' and '.join(given)}", reason="FIELD_INVALID", violations=violations)


def _invalid(field: str, description: str) -> InvalidArgument:
    return InvalidArgument(
        f"{field}: {description}", reason="FIELD_INVALID", violations=(Violation(field, description),)
    )
