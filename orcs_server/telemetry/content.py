"""Prompts, answers, arguments and results in spans: only where the standard variable asks for them, and then bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
TEXT_LIMIT: Final = 8_192
"""Characters of one text."""
MESSAGES_LIMIT: Final = 32
"""Messages of one call, the latest ones."""
_ASKS = frozenset({"true", "1", "span_only", "span_and_event"})

Message = tuple[str, Sequence[Mapping[str, Any]]]
"""Its role and its parts, as the GenAI conventions have them: `{"type": "text", "content": …}`, `tool_call`, `tool_call_response`."""


def asked_for(environ: Mapping[str, str]) -> bool:
    """Whether content goes into spans. Events are not made here: EVENT_ONLY asks for nothing."""
    return environ.get(CAPTURE, "").strip().lower() in _ASKS


def bounded(text: Any) -> str:
    """Return a text, or anything's, of at most so many characters."""
    whole = text if isinstance(text, str) else str(text)
    # Halves of surrogate pairs cannot be sent.
    return whole[:TEXT_LIMIT].encode("utf-8", "replace").decode("utf-8")


def as_json(messages: Sequence[Message]) -> str:
    """Return the latest messages as the conventions write them, each text bounded."""
    latest = messages[-MESSAGES_LIMIT:]
    return json.dumps(
        [
            {"role": role, "parts": [{name: bounded(value) for name, value in part.items()} for part in parts]}
            for role, parts in latest
        ]
    )
