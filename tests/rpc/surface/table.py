"""For each field of each request: bad values, and the answer that each must get; where no value is bad, one that gets through.

A field that is not here fails `test_table.py`.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from orcs_client.v1 import common_pb2, workflow_pb2
from tests.rpc.surface.agent_table import AGENTS, AGENTS_BASE
from tests.rpc.surface.audit_table import AUDIT, AUDIT_BASE
from tests.rpc.surface.control_table import CONTROL, CONTROL_BASE
from tests.rpc.surface.expected import (
    BAD_WORKFLOW_IDS,
    NO_COST,
    NO_CURSORS,
    NO_DURATION,
    NO_LINE,
    NO_OBJECT,
    NO_SCHEMA,
    NO_TIME,
    NO_TOKENS,
    NO_WALL_TIME,
    Expectations,
    Expected,
    accepted,
    enum,
    heartbeat,
    page_size,
    page_token,
    plan_fields,
    refused,
    request_id,
    workflow_id,
    wrong,
)
from tests.rpc.surface.memory_table import MEMORY, MEMORY_BASE
from tests.rpc.surface.world import LATER

QUERY: Final = {"query": "Compare two databases"}
BASE: Final[dict[str, dict[str, Any]]] = {
    "CreateWorkflow": {**QUERY, "auto_start": False},
    "PreviewPlan": QUERY,
    "GetTask": {"workflow_id": "ready", "task_id": "a"},
    **{name: {} for name in ("GetServerInfo", "GetUsage", "ListProblems", "ListWorkflows", "WatchWorkflows")},
    **{
        name: {"workflow_id": "ready"}
        for name in ("ListTasks", "GetWorkflow", "RenderGraph", "ExplainWorkflow", "WatchWorkflow")
    },
    "GetWorkflowOutput": {"workflow_id": "done"},
    "StartWorkflow": {"workflow_id": "ready0"},
    "DeleteWorkflow": {"workflow_id": "done0"},
    **CONTROL_BASE,
    **MEMORY_BASE,
    **AUDIT_BASE,
    **AGENTS_BASE,
}
"""A request of each kind in which nothing is wrong. The fields of an expectation take the place of its own."""


def _context(part: common_pb2.Part) -> Expected:
    return wrong("context", context=part)


def _contexts() -> Expectations:
    part = common_pb2.Part
    return {
        "context.media_type": (_context(part(media_type="text/plain", text="{}")),),
        "context.text": (
            _context(part(text="{}")),
            _context(part(text="{", media_type="application/json")),
            _context(part(text="\x00", media_type="application/json")),
        ),
        "context.data": (_context(part(data=b"\xff")), _context(part(data=b"{}", media_type="application/json"))),
        "context.uri": (_context(part(uri="file:///etc/passwd")), _context(part(uri="http://127.0.0.1/"))),
        "context.json": tuple(_context(part(json=text)) for text in NO_OBJECT),
    }


def _sources() -> Expectations:
    empty = tuple(wrong(query=text) for text in ("", " ", "\n\t", "é" * 131_073, "x" * (5 * 1024 * 1024)))
    neither = wrong("query", query=None)
    return {"query": (*empty, neither)}


def _filters() -> Expectations:
    def labelled(**labels: str) -> Expected:
        return wrong("filter.labels", filter=workflow_pb2.WorkflowFilter(labels=labels))

    def state(number: Any) -> Expected:
        return wrong("filter.states[0]", filter=workflow_pb2.WorkflowFilter(states=[number]))

    return {
        "filter.states[]": tuple(state(number) for number in (0, 99, -1, 2**31 - 1)),
        "filter.labels{}": (
            labelled(k="v" * 256),
            labelled(**{"k" * 256: "v"}),
            labelled(**{f"k{number}": "" for number in range(65)}),
        ),
    }


def _retry(field: str, *values: Any) -> tuple[Expected, ...]:
    at = f"retry_policy.{field}"
    return tuple(wrong(at, retry_policy=workflow_pb2.RetryPolicy(**{field: value})) for value in values)


_DURATIONS = tuple(Duration(**parts) for parts in NO_DURATION)
_TOO_LONG = Duration(seconds=30 * 86_400 + 1)
_JSON = workflow_pb2.OUTPUT_FORMAT_JSON

CREATE: Final[Expectations] = {
    "request_id": request_id(),
    "workflow_id": (
        *(wrong(workflow_id=text) for text in BAD_WORKFLOW_IDS),
        refused("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS", workflow_id="done"),
    ),
    "title": tuple(wrong(title=text) for text in NO_LINE),
    **_sources(),
    **plan_fields(listed=False),
    "labels{}": (
        wrong("labels[]", labels={"": "v"}),
        wrong("labels[a b]", labels={"a b": "v"}),
        wrong("labels[ok]", labels={"ok": "a\x00b"}),
        wrong("labels[ok]", labels={"ok": "v" * 256}),
        wrong("labels[" + "k" * 64 + "]", labels={"k" * 64: "v"}),
        wrong("labels", labels={f"k{number}": "" for number in range(65)}),
    ),
    **_contexts(),
    "priority": tuple(wrong(priority=number) for number in (-1001, 1001, 2**31 - 1, -(2**31))),
    "budget.tokens": tuple(wrong("budget.tokens", budget=value) for value in NO_TOKENS),
    "budget.cost_micros": tuple(wrong("budget.cost_micros", budget=value) for value in NO_COST),
    "budget.wall_time": tuple(wrong("budget.wall_time", budget=value) for value in NO_WALL_TIME),
    "deadline_time": (
        *(wrong(deadline_time=Timestamp(**parts)) for parts in NO_TIME),
        *(wrong(deadline_time=Timestamp(seconds=number)) for number in (-62_135_596_800, 0, 1)),
    ),
    "not_before_time": (
        *(wrong(not_before_time=Timestamp(**parts)) for parts in NO_TIME),
        wrong("not_before_time", not_before_time=LATER, deadline_time=LATER),
    ),
    "resource_requirements": tuple(wrong(resource_requirements=text) for text in NO_OBJECT),
    "output_format": enum("output_format"),
    "output_schema": (
        *(wrong("output_schema", output_schema=text, output_format=_JSON) for text in NO_SCHEMA),
        wrong(output_schema='{"type": "object"}'),
    ),
    "approval_policy": enum("approval_policy"),
    "failure_policy": enum("failure_policy"),
    "execution": enum("execution"),
    "planning_strategy": enum("planning_strategy"),
    "continue_from": (
        *(wrong(continue_from=text) for text in ("../x", "\x00", "x" * 129)),
        *(refused("NOT_FOUND", "WORKFLOW_NOT_FOUND", continue_from=text) for text in ("none", "elsewhere")),
        refused("FAILED_PRECONDITION", "OUTPUT_NOT_READY", continue_from="ready"),
        accepted(continue_from="done"),
    ),
    "auto_start": (accepted(auto_start=False),),
    "retry_policy.max_attempts": _retry("max_attempts", 0, -1, 101, 2**31 - 1),
    "retry_policy.initial_backoff": _retry("initial_backoff", *_DURATIONS, Duration()),
    "retry_policy.max_backoff": _retry("max_backoff", *_DURATIONS, Duration(), Duration(nanos=1_000_000), _TOO_LONG),
    "retry_policy.multiplier": _retry("multiplier", 0.999, 10.001, -1.0, float("nan"), float("inf"), 1e308),
    "max_parallel_tasks": tuple(wrong(max_parallel_tasks=number) for number in (-1, 65, 2**31 - 1, -(2**31))),
    "max_tasks": tuple(wrong(max_tasks=number) for number in (0, -1, 10_001, 2**31 - 1)),
}

TABLE: Final[dict[str, Expectations]] = {
    "CreateWorkflow": CREATE,
    "PreviewPlan": {
        **_sources(),
        **plan_fields(listed=True),
        **_contexts(),
        "planning_strategy": enum("planning_strategy"),
        "max_tasks": CREATE["max_tasks"],
    },
    "StartWorkflow": {
        "request_id": request_id(),
        "workflow_id": (
            *workflow_id(),
            refused("FAILED_PRECONDITION", "WORKFLOW_TERMINAL", workflow_id="done"),
        ),
    },
    "DeleteWorkflow": {
        "request_id": request_id(),
        "workflow_id": (
            *workflow_id(),
            refused("FAILED_PRECONDITION", "WORKFLOW_NOT_TERMINAL", workflow_id="ready"),
            refused("FAILED_PRECONDITION", "WORKFLOW_NOT_TERMINAL", workflow_id="later"),
        ),
    },
    "GetWorkflow": {"workflow_id": workflow_id(), "view": enum("view"), "page_size": page_size()},
    "ListWorkflows": {**_filters(), "page_size": page_size(), "page_token": page_token("workflows")},
    "GetWorkflowOutput": {
        "workflow_id": (
            *workflow_id(),
            refused("FAILED_PRECONDITION", "OUTPUT_NOT_READY", workflow_id="ready"),
        ),
        "format": enum("format"),
    },
    "RenderGraph": {"workflow_id": workflow_id(), "format": enum("format")},
    "ExplainWorkflow": {
        "workflow_id": workflow_id(),
        "task_id": (
            *(wrong(task_id=text) for text in ("../a", "A", "a\x00b", "é", "t" * 64, "t" * 300_000)),
            *(refused("NOT_FOUND", "TASK_NOT_FOUND", task_id=text) for text in ("c", "t1")),
        ),
        "page_size": page_size(),
        "page_token": page_token("explained"),
    },
    "WatchWorkflow": {
        "workflow_id": workflow_id(),
        "after_cursor": (
            *(refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor=text) for text in NO_CURSORS),
            *(
                refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor=f"@cursor {name}")
                for name in ("done", "elsewhere")
            ),
            refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor="@cursor"),
            refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor="@cursor beyond ready"),
            refused("INVALID_ARGUMENT", "CURSOR_FOREIGN_EPOCH", after_cursor="@cursor of another log ready"),
        ),
        "snapshot": (wrong("after_cursor", snapshot=True, after_cursor="@cursor ready"),),
        "event_types[]": tuple(wrong("event_types[0]", event_types=[number]) for number in (0, 15, 99, -1, 2**31 - 1)),
        "include_deltas": (accepted(include_deltas=True),),
        "heartbeat_interval": heartbeat(),
    },
    "WatchWorkflows": {
        **_filters(),
        "after_cursor": (
            *(refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor=text) for text in NO_CURSORS),
            refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor="@cursor ready"),
            refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor="@cursor of another namespace"),
            refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor="@cursor beyond"),
        ),
        "snapshot": (wrong("after_cursor", snapshot=True, after_cursor="@cursor"),),
        "heartbeat_interval": heartbeat(),
    },
    "GetTask": {
        "workflow_id": workflow_id(),
        "task_id": (
            *(wrong(task_id=text) for text in ("", "../a", "A", "a\x00b", "é", "t" * 64, "t" * 300_000)),
            *(refused("NOT_FOUND", "TASK_NOT_FOUND", task_id=text) for text in ("c", "t1")),
        ),
        "view": enum("view"),
    },
    "ListTasks": {
        "workflow_id": workflow_id(),
        "states[]": tuple(wrong("states[0]", states=[number]) for number in (0, 99, -1, 2**31 - 1)),
        # Of an agent that is not there, there are no tasks.
        "agent_id": (accepted(agent_id="nobody"), accepted(agent_id="\x00")),
        "page_size": page_size(),
        "page_token": page_token("tasks"),
    },
    "GetServerInfo": {},
    "GetUsage": {
        "days": (
            *(wrong(days=number) for number in (-1, 401, 2**31 - 1, -(2**31))),
            *(accepted(days=number) for number in (0, 1, 400)),
        )
    },
    "ListProblems": {},
    **CONTROL,
    **MEMORY,
    **AUDIT,
    **AGENTS,
}
