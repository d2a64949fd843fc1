"""A model's responses, as the journal stores them."""

from __future__ import annotations

import json

from openai.types.responses import Response

_KEPT_OF_RESPONSE = {"id", "created_at", "model", "object", "status", "output", "usage"}
"""The rest repeats the request: settings, instructions and tools."""
_LEFT_OUT = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}


def pack_response(response: Response) -> bytes:
    """Return a response for storing."""
    return response.model_dump_json(include=_KEPT_OF_RESPONSE, exclude_unset=True).encode("utf-8", "replace")


def unpack_response(stored: bytes) -> Response:
    """Return a stored response. Raises ValueError when this version of the program cannot make sense of it."""
    return Response.model_validate({**_LEFT_OUT, **json.loads(stored)})
