"""Scopes: whom a value is for. They part the keys of one namespace; namespaces themselves are never part of a scope."""

from __future__ import annotations

from typing import Final

from orcs_server.errors import InvalidArgument, Violation
from orcs_server.identity import TASK_ID, WORKFLOW_ID

GLOBAL: Final = "global"
KEY_LIMIT: Final = 512
"""Characters of a key."""


def workflow_scope(workflow_id: str) -> str:
    """Return the scope of a workflow."""
    return f"workflow:{workflow_id}"


def task_scope(workflow_id: str, task_id: str) -> str:
    """Return the scope of a task. Task ids are unique within their workflow only, so it names both."""
    return f"task:{workflow_id}/{task_id}"


def check_scope(scope: str) -> None:
    """Raise InvalidArgument (FIELD_INVALID) unless it is `global`, `workflow:ID`, `task:WORKFLOW/ID` or `agent:NAME`."""
    kind, _, name = scope.partition(":")
    match kind:
        case "workflow":
            known = WORKFLOW_ID.fullmatch(name) is not None
        case "task":
            workflow_id, _, task_id = name.partition("/")
            known = WORKFLOW_ID.fullmatch(workflow_id) is not None and TASK_ID.fullmatch(task_id) is not None
        case "agent":
            # Agents are named like tasks: a letter, then letters, digits, _ and -.
            known = TASK_ID.fullmatch(name) is not None
        case _:
            known = scope == GLOBAL
    if not known:
        raise _invalid(
            "scope", f"{_short(scope)} is no scope: use global, workflow:ID, task:WORKFLOW_ID/TASK_ID or agent:NAME."
        )


def check_key(key: str) -> None:
    """Raise InvalidArgument (FIELD_INVALID) for a key that is empty, longer than 512 characters or not printable."""
    if not key or len(key) > KEY_LIMIT or not key.isprintable():
        raise _invalid("key", f"{_short(key)} is no key: use 1 to {KEY_LIMIT} printable characters.")


def _invalid(field: str, description: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", description, (Violation(field, description),))


def _short(text: str) -> str:
    return ascii(text if len(text) <= 80 else f"{text[:80]}…")
