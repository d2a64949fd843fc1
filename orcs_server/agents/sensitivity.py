"""The operator's word on what tools do with trust: `sensitive` ones act on the world, `trusted` ones return no text from outside.
No Agents SDK here.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

_SENSITIVE = "orcs_sensitive"
_TRUSTED = "orcs_trusted"


def sensitive(tool: T) -> T:
    """Declare that a tool needs a person's approval once its attempt has read anything from outside.

    Goes above or below `@function_tool`, or around any `FunctionTool`. Tools of MCP servers are named in `sensitive` of
    `[mcp.NAME]` or `[agents.NAME]` instead.
    """
    setattr(tool, _SENSITIVE, True)
    return tool


def trusted(tool: T) -> T:
    """Declare that what a tool returns holds no text that somebody outside could have written.

    Goes where `sensitive` goes. What any other tool returns counts as read from outside.
    """
    setattr(tool, _TRUSTED, True)
    return tool


def is_sensitive(tool: object) -> bool:
    """Whether a tool, or the function that it was made of, was declared sensitive."""
    return _says(tool, _SENSITIVE)


def is_trusted(tool: object) -> bool:
    """Whether a tool, or the function that it was made of, was declared trusted."""
    return _says(tool, _TRUSTED)


def _says(tool: object, name: str) -> bool:
    return bool(getattr(tool, name, False) or getattr(getattr(tool, "__wrapped__", None), name, False))
