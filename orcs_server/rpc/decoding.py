"""From the bytes of a request to its message, within the handlers: gRPC itself answers bytes that are no message with UNKNOWN,
and logs a traceback for each, whoever sent them.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from orcs_server.errors import InvalidArgument, Violation

M = TypeVar("M", bound=Message)


def decoded(kind: type[M], wire: bytes) -> M:
    """Return the message. Raises InvalidArgument (FIELD_INVALID, about the whole) for bytes that are none of its kind."""
    try:
        return kind.FromString(wire)
    except DecodeError:
        name = kind.DESCRIPTOR.full_name
        said = (
            f"The bytes are no {name}: they are cut off or damaged, nested too deeply, or hold text that is not UTF-8."
        )
        raise InvalidArgument("FIELD_INVALID", said, (Violation("", said),)) from None
