"""A model's responses, as the journal stores them."""

from __future__ import annotations

import json

from openai.types.responses import Response

_KEPT_OF_RESPONSE = {"id", "created_at", "model", "object", "status", "output", "usage"}
"""The rest repeats the request: settings, instructions and tools."""
_LEFT_OUT = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}

_UNJOURNALED = frozenset(
    {"computer_call", "local_shell_call", "shell_call", "apply_patch_call", "custom_tool_call", "mcp_approval_request"}
)
"""Calls that the Agents SDK carries out on this machine out of the journal's sight."""
_ACTED_ON = _UNJOURNALED | {"function_call"}


def pack_response(response: Response) -> bytes:
    """Return a response for storing."""
    return response.model_dump_json(include=_KEPT_OF_RESPONSE, exclude_unset=True).encode("utf-8", "replace")


def unpack_response(stored: bytes) -> Response:
    """Return a stored response. Raises ValueError when this version of the program cannot make sense of it."""
    return Response.model_validate({**_LEFT_OUT, **json.loads(stored)})


def unseen_kind(response: Response) -> str | None:
    """Return the kind of a call in a response that the journal cannot see; None if there is none."""
    return next((item.type for item in response.output if item.type in _UNJOURNALED), None)


def is_acted_on(response: Response) -> bool:
    """Whether a response asks for something to be done, and so does not end a run."""
    return any(item.type in _ACTED_ON for item in response.output)
