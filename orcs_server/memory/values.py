"""Typed values: bytes with a media type, and Python's own values as such."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from orcs_server.hooks.json_values import json_copy
from orcs_server.memory.scopes import invalid, short
from orcs_server.storage.memory_text import is_json, is_text

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
VALUE_LIMIT: Final = 1_048_576
"""Bytes of a value."""
_TOKEN = r"[A-Za-z0-9!#$&^_.+-]{1,64}"  # noqa: S105 - a word of a media type
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:; ?{_TOKEN}=(?:{_TOKEN}|\"[ -!#-~]{{0,64}}\"))?")


class Value(NamedTuple):
    """What a key holds."""

    media_type: str
    data: bytes


def check_value(value: Value) -> None:
    """Raise InvalidArgument (FIELD_INVALID) for a value that is not what its media type says, or has more than 1 MiB."""
    media_type, data = value
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise invalid("media_type", f"{short(media_type)} is no media type: use one such as {TEXT} or {JSON}.")
    if len(data) > VALUE_LIMIT:
        raise _invalid(f"The value has {len(data)} bytes, more than the {VALUE_LIMIT} allowed: store it in parts.")
    if is_json(media_type):
        try:
            json.loads(data, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise _invalid(f"The value is not JSON, as its media type {media_type} says.") from None
    elif is_text(media_type):
        try:
            data.decode()
        except UnicodeDecodeError:
            raise _invalid(f"The value is not text in UTF-8, as its media type {media_type} says.") from None


def encode(value: object) -> Value:
    """Return a Python value as it is stored: text and bytes stay what they are, all else must be JSON all the way down.

    Raises InvalidArgument (FIELD_INVALID) for what is neither text, bytes nor JSON, and for more than 1 MiB.
    """
    try:
        encoded = _encoded(value)
    except ValueError as error:
        raise _invalid(f"The value cannot be stored: {error}. Store text, bytes, or plain JSON values.") from None
    if len(encoded.data) > VALUE_LIMIT:
        raise _invalid(
            f"The value has {len(encoded.data)} bytes, more than the {VALUE_LIMIT} allowed: store it in parts."
        )
    return encoded


def decode(value: Value) -> Any:
    """Return the Python value that was stored; bytes for what is neither text nor JSON."""
    media_type, data = value
    if is_text(media_type):
        return data.decode("utf-8", "replace")
    if is_json(media_type):
        return json.loads(data)
    return data


def _encoded(value: object) -> Value:
    if isinstance(value, bytes | bytearray | memoryview):
        return Value(BYTES, bytes(value))
    if isinstance(value, str):
        return Value(TEXT, value.encode())
    plain = json_copy(value, 2 * VALUE_LIMIT)
    return Value(JSON, json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode())


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _invalid(description: str) -> Exception:
    return invalid("value", description)
