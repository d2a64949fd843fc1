"""Values as bytes and back. Text and bytes stay what they are; everything else must be JSON, all the way down."""

from __future__ import annotations

import json
from typing import Any, Final

from orcs_server.errors import InvalidArgument, Violation
from orcs_server.hooks.json_values import json_copy
from orcs_server.storage.store import Blob, blob_of

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
VALUE_LIMIT: Final = 1_048_576
"""Bytes of a stored value."""


def encode(value: object) -> tuple[Blob, str]:
    """Return the blob of a value and its media type.

    Raises InvalidArgument (FIELD_INVALID) for what is neither text, bytes nor JSON, and for more than 1 MiB.
    """
    try:
        data, media_type = _encoded(value)
    except ValueError as error:
        raise _invalid(f"The value cannot be stored: {error}. Store text, bytes, or plain JSON values.") from None
    if len(data) > VALUE_LIMIT:
        raise _invalid(f"The value has {len(data)} bytes, more than the {VALUE_LIMIT} allowed: store it in parts.")
    return blob_of(data), media_type


def decode(data: bytes, media_type: str) -> Any:
    """Return the value that was stored."""
    if media_type == TEXT:
        return data.decode("utf-8", "replace")
    if media_type == JSON:
        return json.loads(data)
    return data


def _encoded(value: object) -> tuple[bytes, str]:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), BYTES
    if isinstance(value, str):
        return value.encode(), TEXT
    plain = json_copy(value, 2 * VALUE_LIMIT)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode(), JSON


def _invalid(description: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", description, (Violation("value", description),))
