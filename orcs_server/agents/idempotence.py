"""The operator's word that a tool may run twice. No Agents SDK here."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

_DECLARED = "orcs_idempotent"


def idempotent(tool: T) -> T:
    """Declare that a tool which was cut off may run again with the same arguments and the same idempotency key.

    Goes above or below `@function_tool`, or around any `FunctionTool`. Without it a task fails when its server stops while the
    tool runs, since nobody knows whether the tool has acted.
    """
    setattr(tool, _DECLARED, True)
    return tool


def is_idempotent(tool: object) -> bool:
    """Whether a tool, or the function that it was made of, was declared idempotent."""
    return bool(getattr(tool, _DECLARED, False) or getattr(getattr(tool, "__wrapped__", None), _DECLARED, False))
