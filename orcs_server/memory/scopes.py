"""Scopes: whom a value is for. They part the keys of one namespace; namespaces themselves are never part of a scope."""

from __future__ import annotations

import re
from typing import Final

from orcs_server.errors import InvalidArgument, Violation
from orcs_server.identity import TASK_ID, WORKFLOW_ID

GLOBAL: Final = "global"
KEY_LIMIT: Final = 512
"""Bytes of a key in UTF-8."""
SHARED_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
FORMS: Final = "global, workflow:ID, task:WORKFLOW_ID/TASK_ID, agent:NAME or shared:NAME"


def workflow_scope(workflow_id: str) -> str:
    """Return the scope of a workflow."""
    return f"workflow:{workflow_id}"


def task_scope(workflow_id: str, task_id: str) -> str:
    """Return the scope of a task. Task ids are unique within their workflow only, so it names both."""
    return f"task:{workflow_id}/{task_id}"


def agent_scope(agent: str) -> str:
    """Return the scope of an agent, whatever it works for."""
    return f"agent:{agent}"


def shared_scope(name: str) -> str:
    """Return a scope of one's own making, for whoever is granted it."""
    return f"shared:{name}"


def is_scope(scope: str) -> bool:
    """Say whether it is a scope: `global`, `workflow:ID`, `task:WORKFLOW_ID/TASK_ID`, `agent:NAME` or `shared:NAME`.

    No part of an id can be taken for another: none of them may hold `:` or `/`.
    """
    kind, _, name = scope.partition(":")
    match kind:
        case "workflow":
            return WORKFLOW_ID.fullmatch(name) is not None
        case "task":
            workflow_id, _, task_id = name.partition("/")
            return WORKFLOW_ID.fullmatch(workflow_id) is not None and TASK_ID.fullmatch(task_id) is not None
        case "agent":
            # Agents are named like tasks: a letter, then letters, digits, _ and -.
            return TASK_ID.fullmatch(name) is not None
        case "shared":
            return SHARED_NAME.fullmatch(name) is not None
        case _:
            return scope == GLOBAL


def check_scope(scope: str, field: str = "scope") -> None:
    """Raise InvalidArgument (FIELD_INVALID) for what is no scope."""
    if not is_scope(scope):
        raise invalid(field, f"{short(scope)} is no scope: use {FORMS}.")


def check_key(key: str, field: str = "key") -> None:
    """Raise InvalidArgument (FIELD_INVALID) for a key that is empty, longer than 512 bytes or not printable."""
    if not key:
        raise invalid(field, f"A key is missing: use 1 to {KEY_LIMIT} bytes of printable characters.")
    check_prefix(key, field)


def check_prefix(prefix: str, field: str = "prefix") -> None:
    """Raise InvalidArgument (FIELD_INVALID) for what no key can begin with; nothing at all is the beginning of every key."""
    try:
        size = len(prefix.encode())
    except UnicodeEncodeError:
        raise invalid(field, f"{short(prefix)} holds half a character (a lone surrogate): use valid Unicode.") from None
    if size > KEY_LIMIT:
        raise invalid(field, f"{short(prefix)} has {size} bytes, and a key may have {KEY_LIMIT}: use a shorter one.")
    if not prefix.isprintable():
        raise invalid(field, f"{short(prefix)} holds control or invisible characters: use printable characters.")


def invalid(field: str, description: str) -> InvalidArgument:
    """Return the error for a field that is wrong in itself."""
    return InvalidArgument("FIELD_INVALID", description, (Violation(field, description),))


def short(text: str) -> str:
    """Return a text as it may stand in an error: escaped, and not too long."""
    return ascii(text if len(text) <= 80 else f"{text[:80]}…")
