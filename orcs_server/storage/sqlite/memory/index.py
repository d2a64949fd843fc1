"""The text index: one for each namespace, since ranks tell how often a word occurs in all that an index holds."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

from orcs_server.storage import blobs as at_rest
from orcs_server.storage.memory_text import indexed_text
from orcs_server.storage.sqlite.memory.rows import Space
from orcs_server.storage.sqlite.queries import QUERIES

MERGE_PAGES = 200
"""Pages that one step of merging writes."""


def statement(name: str, number: int) -> str:
    """Return a statement on the index of the namespace with this number."""
    return QUERIES[name].replace("/*index*/", f"memory_text_{number:d}")


def scope_word(scope: str) -> str:
    """Return the one word by which the index knows a scope: letters and digits, whatever the scope is called."""
    return f"x{hashlib.blake2b(scope.encode(), digest_size=16).hexdigest()}"


def add(
    connection: sqlite3.Connection, space: Space, version_id: int, scope: str, key: str, media_type: str, value: bytes
) -> None:
    """Make a version findable, if it is text or JSON."""
    text = indexed_text(media_type, value)
    if text is None:
        return
    if not space.indexed:
        connection.execute(statement("make_memory_index", space.number))
        space.indexed = True
    connection.execute(statement("index_memory", space.number), (version_id, scope_word(scope), key, text))


def remove(connection: sqlite3.Connection, space: Space, version_id: int) -> None:
    """Take a version out."""
    if space.indexed:
        connection.execute(statement("unindex_memory", space.number), (version_id,))


def merge(connection: sqlite3.Connection, number: int, *, begin: bool) -> bool:
    """Do a step of merging all parts into one; say whether there is more to do."""
    before = connection.total_changes
    connection.execute(statement("merge_memory_index", number), (-MERGE_PAGES if begin else MERGE_PAGES,))
    return connection.total_changes - before >= 2


def complete_migration(connection: sqlite3.Connection) -> None:
    """Index what a file from before there was an index holds, and measure it: both need the values unpacked."""
    rows = connection.execute(QUERIES["migrated_memory"]).fetchall()
    for namespace, version_id, scope, key, media_type, newest, codec, key_id, packed in rows:
        value = at_rest.unpack(codec, key_id, packed)
        connection.execute(QUERIES["measure_memory"], (len(value), version_id))
        if newest:
            space = Space.of(connection, namespace)
            add(connection, space, version_id, scope, key, media_type, value)
            space.save(connection)


def all_of(words: Sequence[str], scopes: Sequence[str] | None = None) -> str:
    """Return the expression for entries of some scopes that hold every word."""
    return _within(scopes) + " AND ".join(f"{{key body}} : {_quoted(word)}" for word in words)


def any_of(words: Sequence[str], scopes: Sequence[str] | None = None) -> str:
    """Return the expression for entries of some scopes that hold any word."""
    return _within(scopes) + "(" + " OR ".join(f"{{key body}} : {_quoted(word)}" for word in words) + ")"


def _within(scopes: Sequence[str] | None) -> str:
    if scopes is None:
        return ""
    return "(" + " OR ".join(f"{{scope}} : {_quoted(scope_word(scope))}" for scope in scopes) + ") AND "


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
