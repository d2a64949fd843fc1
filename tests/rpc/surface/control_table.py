"""The same for the requests by which people control workflows."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from orcs_client.v1 import common_pb2, plan_edit_pb2, workflow_pb2
from tests.rpc.surface.expected import (
    NO_COST,
    NO_CURSORS,
    NO_DURATION,
    NO_LINE,
    NO_SCHEMA,
    NO_TOKENS,
    NO_WALL_TIME,
    Expectations,
    Expected,
    accepted,
    enum,
    heartbeat,
    page_size,
    page_token,
    refused,
    request_id,
    task,
    workflow_id,
    wrong,
)

_TEXT: Final = common_pb2.Part(text="Hello.")
_EDIT: Final = plan_edit_pb2.PlanEdit(change=plan_edit_pb2.ChangeTask(task_id="a", title="Other"))
CONTROL_BASE: Final[dict[str, dict[str, Any]]] = {
    "PauseWorkflow": {"workflow_id": "ready1"},
    "ResumeWorkflow": {"workflow_id": "ready1"},
    "CancelWorkflow": {"workflow_id": "ready2"},
    "FreezeNamespace": {},
    "ThawNamespace": {},
    "SendMessage": {"workflow_id": "ready3", "text": _TEXT},
    "ListPendingInputs": {},
    "GetPendingInput": {"workflow_id": "gated", "input_id": "i1"},
    "WatchPendingInputs": {},
    "AnswerInput": {"workflow_id": "gated", "input_id": "i1", "answer": _TEXT},
    "ResolveApproval": {
        "workflow_id": "gated0",
        "input_id": "i1",
        "decision": workflow_pb2.DECISION_APPROVE,
        "subject_sha256": "@shown",
    },
    "RetryTask": {"workflow_id": "done1", "task_id": "a"},
    "SkipTask": {"workflow_id": "ready4", "task_id": "b"},
    "CancelTask": {"workflow_id": "ready5", "task_id": "a"},
    "UpdateTask": {"workflow_id": "ready3", "task_id": "a", "priority": 3},
    "UpdateWorkflow": {"workflow_id": "ready3", "priority": 3},
    "EditPlan": {"workflow_id": "ready3", "edits": [_EDIT]},
    "Replan": {"workflow_id": "planned", "instructions": "More of it."},
    "ListPlanRevisions": {"workflow_id": "ready"},
    "ComparePlanRevisions": {"workflow_id": "ready"},
}
REFUSED: Final = {"AnswerInput": ("FAILED_PRECONDITION", "ILLEGAL_TRANSITION")}
"""Of these there is nothing in these worlds that would be accepted: nobody asks a question there."""

_NO_TASK: Final = (
    *(wrong(task_id=text) for text in ("", "../a", "A", "a\x00b", "é", "t" * 64)),
    refused("NOT_FOUND", "TASK_NOT_FOUND", task_id="none"),
)
_REASON: Final = (wrong(reason="r" * 1025), wrong(reason="é" * 513))
_COMMAND: Final[Expectations] = {"request_id": request_id(), "workflow_id": workflow_id()}
_OF_TASK: Final[Expectations] = {**_COMMAND, "task_id": _NO_TASK}
_STALE: Final = refused("ABORTED", "STALE_REVISION", plan_revision=77)
_NO_INPUT: Final = (
    *(wrong(input_id=text) for text in ("", "a\x00b", "i" * 33)),
    *(refused("NOT_FOUND", "INPUT_NOT_FOUND", input_id=text) for text in ("i99", "../i1")),
)
_KINDS: Final = tuple(wrong("kinds[0]", kinds=[number]) for number in (0, 99, -1))
_DURATIONS: Final = tuple(Duration(**parts) for parts in NO_DURATION)
_TOO_LONG: Final = Duration(seconds=30 * 86_400 + 1)


def _part(field: str, **more: Any) -> Expectations:
    """What is expected of a part that must hold a text; `more` goes with it."""

    def bad(**content: Any) -> Expected:
        return wrong(field, **{field: common_pb2.Part(**content)}, **more)

    return {
        f"{field}.media_type": (bad(media_type="text/plain"),),
        f"{field}.text": (bad(text="x" * 300_000),),
        f"{field}.data": (bad(data=b"bytes"),),
        f"{field}.uri": (bad(uri="file:///etc/passwd"),),
        f"{field}.json": (bad(json='"' + "x" * 300_000 + '"'),),
    }


def _edits(at: str, *edits: plan_edit_pb2.PlanEdit) -> Expected:
    return Expected({"edits": edits}, "INVALID_ARGUMENT", "PLAN_INVALID", (at,))


def _adding(field: str, *values: Any, at: str = "") -> tuple[Expected, ...]:
    where = f"edits[0].add.task.{at or field}"
    return tuple(
        _edits(where, plan_edit_pb2.PlanEdit(add=plan_edit_pb2.AddTask(task=task(**{"id": "new", field: value}))))
        for value in values
    )


def _changing(field: str, *values: Any, at: str = "") -> tuple[Expected, ...]:
    where = f"edits[0].change.{at or field}"
    return tuple(
        _edits(where, plan_edit_pb2.PlanEdit(change=plan_edit_pb2.ChangeTask(**{"task_id": "a", field: value})))
        for value in values
    )


def _fine(**edit: Any) -> tuple[Expected, ...]:
    return (accepted(edits=[plan_edit_pb2.PlanEdit(**edit)], validate_only=True),)


def _limits(path: str, make: Any) -> Expectations:
    return {
        f"{path}.budget.tokens": make("budget", *NO_TOKENS, at="budget.tokens"),
        f"{path}.budget.cost_micros": make("budget", *NO_COST, at="budget.cost_micros"),
        f"{path}.budget.wall_time": make("budget", *NO_WALL_TIME, at="budget.wall_time"),
    }


def _edit_fields() -> Expectations:
    edit, within = plan_edit_pb2, "edits[]"
    a_to_b = edit.SetDependencies(task_id="a", dependencies=["b"])
    new = task(id="new", description_sha256="\x00", output_schema_sha256="../x")
    return {
        within: (
            wrong("edits", edits=[]),
            wrong("edits", edits=[_EDIT] * 1001),
            _edits("edits[0]", edit.PlanEdit()),
            _edits("edits", edit.PlanEdit(set_dependencies=a_to_b)),
        ),
        f"{within}.add.task.id": _adding("id", "", "a", "Not Good", "a\x00", "i" * 64),
        f"{within}.add.task.title": _adding("title", "", " ", *NO_LINE),
        f"{within}.add.task.description": _adding("description", "", " \n", "d" * 65_537),
        f"{within}.add.task.agent_id": _adding("agent_id", "", "nobody"),
        f"{within}.add.task.dependencies[]": _adding("dependencies", ["new"], ["z"], at="dependencies[0]"),
        f"{within}.add.task.priority": _adding("priority", -1001, 1001),
        f"{within}.add.task.timeout": _adding("timeout", *_DURATIONS, Duration(), _TOO_LONG),
        f"{within}.add.task.max_attempts": _adding("max_attempts", 0, -1, 101),
        f"{within}.add.task.optional": _fine(add=edit.AddTask(task=task(id="new", optional=True))),
        f"{within}.add.task.output_schema": _adding("output_schema", *NO_SCHEMA),
        f"{within}.add.task.description_sha256": _fine(add=edit.AddTask(task=new)),
        f"{within}.add.task.output_schema_sha256": _fine(add=edit.AddTask(task=new)),
        f"{within}.add.task.needs_approval": _fine(add=edit.AddTask(task=task(id="new", needs_approval=True))),
        **_limits(f"{within}.add.task", _adding),
        f"{within}.change.task_id": _changing("task_id", "", "none", "A"),
        f"{within}.change.title": _changing("title", "", " ", *NO_LINE),
        f"{within}.change.description": _changing("description", "", " \n", "d" * 65_537),
        f"{within}.change.agent_id": _changing("agent_id", "", "nobody"),
        f"{within}.change.priority": _changing("priority", -1001, 1001),
        f"{within}.change.timeout": _changing("timeout", *_DURATIONS, _TOO_LONG),
        f"{within}.change.max_attempts": _changing("max_attempts", -1, 101),
        f"{within}.change.optional": _fine(change=edit.ChangeTask(task_id="a", optional=True)),
        f"{within}.change.output_schema": _changing("output_schema", *NO_SCHEMA),
        f"{within}.change.needs_approval": _fine(change=edit.ChangeTask(task_id="a", needs_approval=True)),
        **_limits(f"{within}.change", _changing),
        f"{within}.remove.task_id": tuple(
            _edits("edits[0].remove.task_id", edit.PlanEdit(remove=edit.RemoveTask(task_id=name)))
            for name in ("", "none", "a")
        ),
        f"{within}.set_dependencies.task_id": (
            _edits(
                "edits[0].set_dependencies.task_id",
                edit.PlanEdit(set_dependencies=edit.SetDependencies(task_id="none")),
            ),
        ),
        f"{within}.set_dependencies.dependencies[]": tuple(
            _edits(
                "edits[0].set_dependencies.dependencies[0]",
                edit.PlanEdit(set_dependencies=edit.SetDependencies(task_id="b", dependencies=[name])),
            )
            for name in ("", "none", "b")
        ),
    }


def _resolving(**fields: Any) -> dict[str, Any]:
    return {"workflow_id": "gated", "decision": workflow_pb2.DECISION_EDIT, **fields}


CONTROL: Final[dict[str, Expectations]] = {
    "PauseWorkflow": {
        "request_id": request_id(),
        "workflow_id": (
            *workflow_id(),
            refused("FAILED_PRECONDITION", "WORKFLOW_TERMINAL", workflow_id="done"),
        ),
        "mode": enum("mode"),
        "reason": _REASON,
    },
    "ResumeWorkflow": _COMMAND,
    "CancelWorkflow": {**_COMMAND, "mode": enum("mode"), "reason": _REASON},
    "FreezeNamespace": {"request_id": request_id(), "mode": enum("mode"), "reason": _REASON},
    "ThawNamespace": {"request_id": request_id()},
    "SendMessage": {
        **_COMMAND,
        "task_id": (
            *(wrong(task_id=text) for text in ("../a", "A", "a\x00b", "t" * 64)),
            refused("NOT_FOUND", "TASK_NOT_FOUND", task_id="none"),
        ),
        "mode": enum("mode"),
        **_part("text"),
    },
    "ListPendingInputs": {
        "workflow_id": workflow_id(may_be_empty=True),
        "task_id": (wrong(task_id="a"), wrong("task_id", task_id="A", workflow_id="ready")),
        "kinds[]": _KINDS,
        "include_resolved": (accepted(include_resolved=True),),
        "page_size": page_size(),
        "page_token": page_token("inputs"),
    },
    "GetPendingInput": {"workflow_id": workflow_id(), "input_id": _NO_INPUT},
    "WatchPendingInputs": {
        "workflow_id": workflow_id(may_be_empty=True),
        "kinds[]": _KINDS,
        "after_cursor": (
            *(refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor=text) for text in NO_CURSORS),
            refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor="@cursor ready"),
            refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor="@cursor beyond"),
        ),
        "heartbeat_interval": heartbeat(),
    },
    "AnswerInput": {
        **_COMMAND,
        "input_id": _NO_INPUT,
        **_part("answer"),
        "share": (refused("FAILED_PRECONDITION", "ILLEGAL_TRANSITION", share=True),),
    },
    "ResolveApproval": {
        **_COMMAND,
        "input_id": _NO_INPUT,
        "decision": enum("decision", zero=False),
        "subject_sha256": (
            wrong(subject_sha256="x"),
            refused("ABORTED", "STALE_APPROVAL", subject_sha256="0" * 64, workflow_id="gated"),
            refused("ABORTED", "STALE_APPROVAL", subject_sha256="", workflow_id="gated"),
        ),
        "reason": _REASON,
        **_part("content", **_resolving()),
        "budget.tokens": tuple(wrong("budget.tokens", budget=value, **_resolving()) for value in NO_TOKENS),
        "budget.cost_micros": tuple(wrong("budget.cost_micros", budget=value, **_resolving()) for value in NO_COST),
        "budget.wall_time": tuple(wrong("budget.wall_time", budget=value, **_resolving()) for value in NO_WALL_TIME),
    },
    "RetryTask": {
        **_OF_TASK,
        "description": (wrong(description=""), wrong(description=" \n"), wrong(description="d" * 65_537)),
        "include_dependants": (accepted(include_dependants=True, validate_only=True),),
        "validate_only": (accepted(validate_only=True),),
    },
    "SkipTask": {
        **_OF_TASK,
        "reason": _REASON,
        "substitute.media_type": (
            wrong("substitute.media_type", substitute=common_pb2.Part(text="a", media_type="a\nb")),
        ),
        "substitute.text": (wrong(substitute=common_pb2.Part(text="x" * (1024 * 1024 + 1))),),
        "substitute.data": (wrong(substitute=common_pb2.Part(data=b"x" * (1024 * 1024 + 1))),),
        "substitute.uri": (wrong(substitute=common_pb2.Part(uri="file:///etc/passwd")),),
        "substitute.json": (wrong(substitute=common_pb2.Part(json="{")), wrong(substitute=common_pb2.Part(json=""))),
    },
    "CancelTask": {**_OF_TASK, "reason": _REASON},
    "UpdateTask": {
        **_OF_TASK,
        "priority": (wrong(priority=1001), wrong(priority=-1001), wrong("", priority=None)),
        "description": (wrong(description=""), wrong(description="d" * 65_537)),
        "timeout": tuple(wrong(timeout=value) for value in _DURATIONS),
        "plan_revision": (_STALE,),
    },
    "UpdateWorkflow": {
        **_COMMAND,
        "budget.tokens": tuple(wrong("budget.tokens", budget=value) for value in NO_TOKENS),
        "budget.cost_micros": tuple(wrong("budget.cost_micros", budget=value) for value in NO_COST),
        "budget.wall_time": tuple(wrong("budget.wall_time", budget=value) for value in NO_WALL_TIME),
        "labels.labels{}": (wrong("labels.labels[a b]", labels=workflow_pb2.Labels(labels={"a b": "v"})),),
        "priority": (wrong(priority=1001), wrong(priority=-1001), wrong("", priority=None)),
    },
    "EditPlan": {
        **_COMMAND,
        **_edit_fields(),
        "plan_revision": (_STALE,),
        "validate_only": (accepted(validate_only=True),),
    },
    "Replan": {
        **_COMMAND,
        "instructions": (wrong(instructions=""), wrong(instructions=" "), wrong(instructions="x" * 262_145)),
        "plan_revision": (_STALE,),
    },
    "ListPlanRevisions": {
        "workflow_id": workflow_id(),
        "page_size": page_size(),
        "page_token": page_token("revisions"),
    },
    "ComparePlanRevisions": {
        "workflow_id": workflow_id(),
        "from_revision": (
            wrong(from_revision=-1),
            wrong("from_revision", from_revision=2, to_revision=1),
            refused("NOT_FOUND", "REVISION_NOT_FOUND", from_revision=99),
        ),
        "to_revision": (wrong(to_revision=-1), refused("NOT_FOUND", "REVISION_NOT_FOUND", to_revision=99)),
    },
}
