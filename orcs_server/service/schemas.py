"""Checks of what people give in place of a model against the JSON Schemas that hold for it."""

from __future__ import annotations

import json
from typing import Any

from orcs_server.agents.structured import value_problems
from orcs_server.errors import InvalidArgument, Violation
from orcs_server.service.requests import Content
from orcs_server.service.validation import Findings, show


def fitting_json(content: Content, schema: bytes, field: str, limit: int) -> str:
    """Return the content as compact JSON that fits the schema: JSON as it is, a text as it is if it fits, else as JSON.

    Raises InvalidArgument with every problem.
    """
    wanted: dict[str, Any] = json.loads(schema)
    problems: tuple[str, ...] = ()
    if not content.is_json:
        problems = value_problems(content.text, wanted)
        if not problems:
            return _compact(content.text)
    findings = Findings()
    value = findings.json_value(field, content.text, limit)
    if findings:
        if not content.is_json:
            raise _unfit(field, problems)
        findings.raise_any()
    problems = value_problems(value, wanted)
    if problems:
        raise _unfit(field, problems)
    return _compact(value)


def check_json_output(content: Content, schema: bytes, field: str) -> None:
    """Raise InvalidArgument unless a task's substitute output fits the task's output schema."""
    if content.data is not None or not content.is_json:
        raise _unfit(field, ("the task's output is JSON by its output schema: set the part's json",))
    problems = value_problems(json.loads(content.text), json.loads(schema))
    if problems:
        raise _unfit(field, problems)


def _compact(value: Any) -> str:
    """Return JSON that is the same for the same value, so that an answer that comes again is known."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _unfit(field: str, problems: tuple[str, ...]) -> InvalidArgument:
    violations = tuple(Violation(field, f"{show(problem[:1].upper())}{problem[1:]}.") for problem in problems)
    return InvalidArgument("FIELD_INVALID", f"{field}: it does not fit the schema: {problems[0]}.", violations)
