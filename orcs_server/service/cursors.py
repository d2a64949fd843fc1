"""Cursors: opaque places in the log, bound to the log's epoch and to the workflow, or the namespace, that they were given for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from functools import lru_cache
from typing import Final

from orcs_server.errors import InvalidArgument

_LAYOUT: Final = struct.Struct(">B8s8sQ")
_CHECK_BYTES = 2
_TEXT_LENGTH = 36
_WORKFLOW, _NAMESPACE, _MEMORY = 1, 2, 3


class WorkflowCursors:
    """The cursors of one workflow's log: places by seq."""

    def __init__(self, epoch: str, namespace: str, workflow_id: str) -> None:
        self._head = _head(_WORKFLOW, epoch, namespace, workflow_id)

    def at(self, seq: int) -> str:
        """Return the cursor after which events from `seq` + 1 on are sent."""
        return _write(self._head, seq)

    def seq(self, cursor: str) -> int:
        """Return the place. Raises InvalidArgument (CURSOR_INVALID, CURSOR_FOREIGN_EPOCH)."""
        return _read(cursor, self._head, "this workflow")


class NamespaceCursors:
    """The cursors of all workflows of a namespace together: places by position."""

    def __init__(self, epoch: str, namespace: str) -> None:
        self._head = _head(_NAMESPACE, epoch, namespace)

    def at(self, position: int) -> str:
        """Return the cursor after which what happened from `position` + 1 on is sent."""
        return _write(self._head, position)

    def position(self, cursor: str) -> int:
        """Return the place. Raises InvalidArgument (CURSOR_INVALID, CURSOR_FOREIGN_EPOCH)."""
        return _read(cursor, self._head, "this list of workflows")


class MemoryCursors:
    """The cursors of a namespace's memory: places by position in its own log."""

    def __init__(self, epoch: str, namespace: str) -> None:
        self._head = _head(_MEMORY, epoch, namespace)

    def at(self, position: int) -> str:
        """Return the cursor after which changes from `position` + 1 on are sent."""
        return _write(self._head, position)

    def position(self, cursor: str) -> int:
        """Return the place. Raises InvalidArgument (CURSOR_INVALID, CURSOR_FOREIGN_EPOCH)."""
        return _read(cursor, self._head, "this memory")


_Head = tuple[int, bytes, bytes]


@lru_cache(1024)
def _head(kind: int, epoch: str, *bound_to: str) -> _Head:
    binding = hashlib.sha256("\0".join(bound_to).encode()).digest()[:8]
    return kind, bytes.fromhex(epoch), binding


def _write(head: _Head, place: int) -> str:
    packed = _LAYOUT.pack(*head, place)
    return base64.urlsafe_b64encode(packed + _check(packed)).decode()


def _read(cursor: str, head: _Head, whose: str) -> int:
    try:
        # A length that is no multiple of four, or a character outside the alphabet, is no cursor either.
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    packed = raw[: _LAYOUT.size]
    if len(cursor) != _TEXT_LENGTH or raw[_LAYOUT.size :] != _check(packed):
        raise _invalid("It is no cursor: pass on, unchanged, one that this server gave out.")
    kind, epoch, binding, place = _LAYOUT.unpack(packed)
    if epoch != head[1]:
        raise InvalidArgument(
            "CURSOR_FOREIGN_EPOCH",
            "The cursor is from another log, or from before this one was restored: start again from a snapshot.",
        )
    if (kind, binding) != (head[0], head[2]):
        raise _invalid(f"The cursor was not given out for {whose}: use one of its own, or none.")
    return int(place)


def _check(packed: bytes) -> bytes:
    """Tell a cursor that was cut or mistyped from a whole one. It keeps nobody from making one up, which would gain nothing."""
    return hashlib.sha256(packed).digest()[:_CHECK_BYTES]


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument("CURSOR_INVALID", message)
