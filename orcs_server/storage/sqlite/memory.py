"""The versions of memory keys: every put and every deletion adds one, nothing is overwritten."""

from __future__ import annotations

import sqlite3
from typing import Any

from orcs_server.errors import Conflict
from orcs_server.storage.blobs import PackedBlob
from orcs_server.storage.sqlite.batch import add_blobs
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader
from orcs_server.storage.store import MemoryEntry

Key = tuple[str, str, str]
"""Namespace, scope, key."""

_LAST = 0x10FFFF


def put(
    connection: sqlite3.Connection,
    key: Key,
    blob: PackedBlob,
    media_type: str,
    note: tuple[int, str],
    expected: int | None,
) -> int:
    """Add a version with this value, noted with (time, writer), and return its number. Raises Conflict."""
    version, _ = _newest(connection, key, expected)
    add_blobs(connection, key[0], [blob])
    connection.execute(QUERIES["add_memory"], (*key, version + 1, blob.digest, media_type, False, *note))
    return version + 1


def delete(connection: sqlite3.Connection, key: Key, note: tuple[int, str], expected: int | None) -> int | None:
    """Add a version that says deleted and return its number, or None when there is nothing to delete. Raises Conflict."""
    version, absent = _newest(connection, key, expected)
    if absent:
        return None
    connection.execute(QUERIES["add_memory"], (*key, version + 1, "", "", True, *note))
    return version + 1


def get(reader: Reader, key: Key, version: int | None) -> MemoryEntry | None:
    """Return one version; without a number the newest, unless that is a deletion."""
    if version is not None:
        row = reader.one(QUERIES["get_memory"], (*key, version))
        return None if row is None else _entry(key, row)
    row = reader.one(QUERIES["newest_memory"], key)
    return None if row is None or row[3] else _entry(key, row)


def page(reader: Reader, namespace: str, scope: str, prefix: str, after: str, limit: int) -> list[MemoryEntry]:
    """Return the newest versions of a range of keys."""
    conditions, bounds = "AND key >= ?", [prefix]
    end = _end_of(prefix)
    if end is not None:
        conditions += " AND key < ?"
        bounds.append(end)
    query = QUERIES["list_memory"].replace("/*conditions*/", conditions)
    rows: list[Any] = reader.page(query, (namespace, scope, after, *bounds, limit))
    return [_entry((namespace, scope, row[0]), row[1:]) for row in rows]


def _newest(connection: sqlite3.Connection, key: Key, expected: int | None) -> tuple[int, bool]:
    row = connection.execute(QUERIES["newest_memory"], key).fetchone()
    version, absent = (0, True) if row is None else (row[0], bool(row[3]))
    if expected is not None and expected != (0 if absent else version):
        raise Conflict(
            "MEMORY_VERSION_STALE",
            f"Memory key {key[2]!r} is {'absent' if absent else f'at version {version}'}, not at version {expected}: "
            "read it again and repeat.",
        )
    return version, absent


def _entry(key: Key, row: Any) -> MemoryEntry:
    version, digest, media_type, deleted, time_us, writer = row
    return MemoryEntry(*key, version, digest, media_type, bool(deleted), time_us, writer)


def _end_of(prefix: str) -> str | None:
    """Return the first string after all that begin with the prefix; None when there is no such string."""
    stem = prefix.rstrip(chr(_LAST))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)
