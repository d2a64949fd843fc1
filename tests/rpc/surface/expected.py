"""How what is expected of a field is written down."""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration

from orcs_client.v1 import workflow_pb2


class Expected(NamedTuple):
    """A request with these fields gets this answer."""

    fields: dict[str, Any]
    code: str
    reason: str
    at: tuple[str, ...] = ()
    """The fields that the violations name, all of them."""
    listed: bool = False
    """The violations are in the reply and not in an error."""


def wrong(*at: str, **fields: Any) -> Expected:
    """These fields are refused; the violations name `at`, or else the single field that was given."""
    return Expected(fields, "INVALID_ARGUMENT", "FIELD_INVALID", at or tuple(fields))


def refused(code: str, reason: str, **fields: Any) -> Expected:
    """These fields are refused for a reason without violations."""
    return Expected(fields, code, reason)


def accepted(**fields: Any) -> Expected:
    """No value of this field is bad; this one gets through, too."""
    return Expected(fields, "OK", "")


Expectations = dict[str, tuple[Expected, ...]]
"""Path of a field -> what bad values of it are answered with; where no value is bad, that one is accepted."""

BAD_WORKFLOW_IDS = ("../etc", "a/b", ".hidden", "a\x00b", "a\nb", "a b", "\u202ea", "é", "i" * 129, "w" * 300_000)
NO_TIME = ({"seconds": 2**62}, {"seconds": -(2**62)}, {"seconds": 1, "nanos": -1}, {"seconds": 1, "nanos": 2**31 - 1})
NO_DURATION = ({"seconds": -1}, {"nanos": -1}, {"seconds": 2**62}, {"seconds": 1, "nanos": 1_000_000_000})
_NO_LIMIT = (0, -1, -(2**63))
NO_TOKENS = tuple(workflow_pb2.Budget(tokens=number) for number in _NO_LIMIT)
NO_COST = tuple(workflow_pb2.Budget(cost_micros=number) for number in _NO_LIMIT)
NO_WALL_TIME = tuple(workflow_pb2.Budget(wall_time=Duration(**parts)) for parts in (*NO_DURATION, {}))
NO_LINE = ("a\x00b", "a\nb", "\x1b[2J", "a\u2028b", "a\u202eb", "t" * 201)
NO_OBJECT = (
    *(
        "{",
        "[1]",
        '"a"',
        "3",
        "null",
        "\x00",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"a": "' + "é" * 140_000 + '"}',
    ),
    '{"a": ' + "[" * 500 + "]" * 500 + "}",
    '{"a":' * 20_000 + "1" + "}" * 20_000,
)
NO_SCHEMA = (
    "{",
    "[]",
    '{"type": 3}',
    '{"type": "object", "properties": {"a": {"$ref": "http://x/y"}}}',
    '{"a": "' + "x" * 65_536 + '"}',
)
NO_PAGE_TOKENS = (
    "x",
    "@page tasks",
    "@page workflows",
    "@page agents",
    "@page forged workflows 1",
    "\x00",
    "é",
    "A" * 300_000,
)
NO_CURSORS = ("x", "@cursor cut", "\x00", "é", "A" * 36, "A" * 300_000)


def workflow_id(*, may_be_empty: bool = False) -> tuple[Expected, ...]:
    """What is expected of the id of a workflow that must be there."""
    bad = tuple(wrong(workflow_id=text) for text in BAD_WORKFLOW_IDS)
    missing = tuple(refused("NOT_FOUND", "WORKFLOW_NOT_FOUND", workflow_id=text) for text in ("none", "elsewhere"))
    return (*bad, *missing, *(() if may_be_empty else (wrong(workflow_id=""),)))


def request_id() -> tuple[Expected, ...]:
    return tuple(wrong(request_id=text) for text in ("a b", "a\x00b", "é", "\u202e", "i" * 129, "i" * 300_000))


def page_size() -> tuple[Expected, ...]:
    return wrong(page_size=-1), wrong(page_size=-(2**31)), accepted(page_size=2**31 - 1)


def page_token(own: str) -> tuple[Expected, ...]:
    """What is expected of page tokens of other lists than `own`, and of what is none."""
    others = (token for token in NO_PAGE_TOKENS if token != f"@page {own}")
    return tuple(refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", page_token=token) for token in others)


def enum(field: str, *, zero: bool = True) -> tuple[Expected, ...]:
    """What is expected of numbers that an enum does not have; 0 is one of them unless `zero`."""
    numbers = (99, -1, 2**31 - 1, -(2**31), *(() if zero else (0,)))
    return tuple(wrong(**{field: number}) for number in numbers)


def heartbeat() -> tuple[Expected, ...]:
    outside = (Duration(), Duration(nanos=999_999_999), Duration(seconds=301))
    return (
        *(wrong(heartbeat_interval=Duration(**parts)) for parts in NO_DURATION),
        *(wrong(heartbeat_interval=value) for value in outside),
    )


def task(**fields: Any) -> workflow_pb2.PlanTask:
    """Return a task in which nothing is wrong but these fields."""
    sound = {"id": "a", "title": "A title", "description": "Do it.", "agent_id": "research_agent"}
    return workflow_pb2.PlanTask(**{**sound, **fields})


def plan(at: str, *tasks: workflow_pb2.PlanTask, listed: bool) -> Expected:
    """A plan of these tasks is refused, or listed as bad in the reply; the violations name `at`."""
    fields = {"plan": workflow_pb2.Plan(tasks=tasks)}
    if listed:
        return Expected(fields, "OK", "", (at,), listed=True)
    return Expected(fields, "INVALID_ARGUMENT", "PLAN_INVALID", (at,))


def plan_fields(*, listed: bool) -> Expectations:
    """What is expected of the fields of a plan."""

    def bad(field: str, *values: Any, at: str = "") -> tuple[Expected, ...]:
        where = f"plan.tasks[0].{at or field}"
        return tuple(plan(where, task(**{field: value}), listed=listed) for value in values)

    def fine(field: str, value: Any) -> tuple[Expected, ...]:
        return (accepted(plan=workflow_pb2.Plan(tasks=[task(**{field: value})])),)

    circle = (task(id="a", dependencies=["b"]), task(id="b", dependencies=["a"]))
    within = "plan.tasks[]"
    return {
        within: (
            plan("plan.tasks", listed=listed),
            plan("plan.tasks", *[task()] * 10_001, listed=listed),
            plan("plan.tasks", *circle, listed=listed),
        ),
        f"{within}.id": (
            *bad("id", "Not Good", "../a", "a\x00", "é", "1a", "i" * 64),
            plan("plan.tasks[1].id", task(), task(), listed=listed),
        ),
        f"{within}.title": bad("title", "", " ", *NO_LINE),
        f"{within}.description": bad("description", "", " \n", "d" * 65_537),
        f"{within}.agent_id": bad("agent_id", "", "nobody", "a\x00b", "x" * 70_000),
        f"{within}.dependencies[]": (
            *bad("dependencies", ["a"], ["z"], [""], ["\x1b[2J"], at="dependencies[0]"),
            plan("plan.tasks[1].dependencies[1]", task(), task(id="b", dependencies=["a", "a"]), listed=listed),
        ),
        f"{within}.priority": bad("priority", -1001, 1001, 2**31 - 1, -(2**31)),
        f"{within}.timeout": (
            *bad("timeout", *(Duration(**parts) for parts in NO_DURATION)),
            *bad("timeout", Duration(), Duration(seconds=30 * 86_400 + 1)),
        ),
        f"{within}.max_attempts": bad("max_attempts", 0, -1, 101, 2**31 - 1),
        f"{within}.optional": fine("optional", True),
        f"{within}.output_schema": bad("output_schema", *NO_SCHEMA),
        f"{within}.description_sha256": fine("description_sha256", "\x00"),
        f"{within}.output_schema_sha256": fine("output_schema_sha256", "../x"),
        f"{within}.needs_approval": fine("needs_approval", True),
        f"{within}.budget.tokens": bad("budget", *NO_TOKENS, at="budget.tokens"),
        f"{within}.budget.cost_micros": bad("budget", *NO_COST, at="budget.cost_micros"),
        f"{within}.budget.wall_time": bad("budget", *NO_WALL_TIME, at="budget.wall_time"),
    }
