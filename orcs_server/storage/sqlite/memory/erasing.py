"""What removes versions: purges, which leave nothing, and the retention of what is past."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from orcs_server.storage.memory_rows import NO_ORIGIN, Note, Place, Trust, Writer
from orcs_server.storage.sqlite.memory import index
from orcs_server.storage.sqlite.memory.rows import prefix_range, query
from orcs_server.storage.sqlite.memory.writing import Outcome, Transaction
from orcs_server.storage.sqlite.queries import QUERIES

SYSTEM = Writer(principal="orcs")
"""Who lets expired entries go."""


def purge(
    connection: sqlite3.Connection, namespace: str, scope: str, prefix: str, key: str | None, limit: int
) -> Outcome:
    """Erase a page of versions. Who follows the log and has not come past them has to begin anew: they are not told any more."""
    condition, bounds = prefix_range(prefix) if key is None else ("AND key = ?", [key])
    rows = connection.execute(query("doomed_memory", condition), (namespace, scope, *bounds, limit)).fetchall()
    transaction = Transaction(connection, namespace, Note(0, SYSTEM, Trust.OPERATOR, NO_ORIGIN))
    space = transaction.space
    for version_id, _, _, newest, deleted, _ in rows:
        if newest:
            index.remove(connection, space, version_id)
            space.entries -= not deleted
        connection.execute(QUERIES["remove_memory_version"], (version_id,))
    for name in {row[1] for row in rows}:
        connection.execute(QUERIES["remove_memory_reads"], (namespace, scope, name))
    if rows:
        space.position += 1
        connection.execute(QUERIES["raise_memory_scope"], (namespace, scope, 0, max(row[5] for row in rows)))
        transaction.erase({row[2] for row in rows if row[2]})
    transaction.end()
    return Outcome(len(rows), transaction)


def expire(connection: sqlite3.Connection, namespace: str, places: Sequence[Place], now_us: int) -> Outcome:
    """Delete those of the entries that have expired."""
    note = Note(now_us, SYSTEM, Trust.OPERATOR, NO_ORIGIN)
    transaction = Transaction(connection, namespace, note)
    expired = 0
    for place in places:
        head = transaction.head(*place)
        if head.counted and not head.present:
            transaction.delete(place, head, note)
            expired += 1
    transaction.end()
    return Outcome(expired, transaction)


def prune(connection: sqlite3.Connection, namespace: str, ids: Sequence[int], before_us: int) -> Outcome:
    """Let go of versions that are past and that no snapshot needs."""
    transaction = Transaction(connection, namespace, Note(0, SYSTEM, Trust.OPERATOR, NO_ORIGIN))
    for version_id in ids:
        row = connection.execute(QUERIES["remove_past_memory_version"], (version_id, before_us)).fetchone()
        if row is not None:
            transaction.forget(row[0], [row[1:]])
    transaction.end()
    return Outcome(None, transaction)
