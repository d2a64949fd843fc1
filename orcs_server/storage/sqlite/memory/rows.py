"""Rows of versions, ranges of keys, and what is known of a namespace."""

from __future__ import annotations

import sqlite3
from typing import Any, Self

import msgspec

from orcs_server.errors import OutOfRange
from orcs_server.storage.codec import damaged, encode
from orcs_server.storage.memory_rows import NO_ORIGIN, MemoryVersion, Origin, Trust, Writer
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.workflow.model import Digest

Parameters = list[Any]

COLUMNS = (
    "id, scope, key, version, position, until, digest, media_type, size, deleted, trust, time_us, expires_us, "
    "principal, agent, workflow_id, task_id, attempt, origin"
)
WIDTH = COLUMNS.count(",") + 1
"""How many columns a version has."""
_LAST = 0x10FFFF
_EMPTY = encode(NO_ORIGIN)
_origin = msgspec.json.Decoder(Origin)


def query(name: str, conditions: str = "") -> str:
    """Return a statement with the columns of a version, and these conditions, in their places."""
    return QUERIES[name].replace("/*columns*/", COLUMNS).replace("/*conditions*/", conditions)


def decode(row: Any) -> MemoryVersion:
    """Return the version of a row."""
    (_, scope, key, version, position, until, digest, media_type, size, deleted, trust, time_us, expires_us) = row[:13]
    try:
        origin = NO_ORIGIN if row[18] == _EMPTY else _origin.decode(row[18])
        return MemoryVersion(
            scope,
            key,
            version,
            position,
            until,
            Digest(digest),
            media_type,
            size,
            bool(deleted),
            Trust(trust),
            time_us,
            expires_us,
            Writer(*row[13:18]),
            origin,
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise damaged("a version in memory") from error


def says_nothing(row: Any) -> bool:
    """Say whether a row says nothing of what its version was made from."""
    return bool(row[18] == _EMPTY)


def prefix_range(prefix: str) -> tuple[str, Parameters]:
    """Return the condition that keys begin with a prefix."""
    if not prefix:
        return "", []
    end = _end_of(prefix)
    if end is None:
        return "AND key >= ?", [prefix]
    return "AND key >= ? AND key < ?", [prefix, end]


def history_expired(what: str) -> OutOfRange:
    """Return the error for what is no longer kept."""
    return OutOfRange(
        "HISTORY_EXPIRED", f"What {what} was then is no longer kept: take snapshots of what you want to go back to."
    )


def version_expired(scope: str, key: str, version: int) -> OutOfRange:
    """Return the error for a version that was there and is no longer kept."""
    return OutOfRange(
        "HISTORY_EXPIRED",
        f"Version {version} of {key!r} in {scope} is no longer kept: take snapshots of what you want to go back to.",
    )


class Space:
    """What is known of a namespace, as a transaction changes it."""

    def __init__(self, number: int, position: int, time_us: int, entries: int, snapshots: int, indexed: int) -> None:
        self.number = number
        self.position = position
        self.time_us = time_us
        self.entries = entries
        self.snapshots = snapshots
        self.indexed = bool(indexed)

    @classmethod
    def of(cls, connection: sqlite3.Connection, namespace: str) -> Self:
        """Return a namespace's row, to be written with `save`. A new one is made."""
        row = connection.execute(QUERIES["memory_space"], (namespace,)).fetchone()
        if row is not None:
            return cls(*row)
        (number,) = connection.execute(QUERIES["add_memory_space"], (namespace,)).fetchone()
        return cls(number, 0, 0, 0, 0, 0)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the row."""
        row = (self.position, self.time_us, self.entries, self.snapshots, self.indexed, self.number)
        connection.execute(QUERIES["put_memory_space"], row)


def _end_of(prefix: str) -> str | None:
    """Return the first string after all that begin with the prefix; None when there is no such string."""
    stem = prefix.rstrip(chr(_LAST))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)
