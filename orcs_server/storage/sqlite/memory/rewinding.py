"""Ways back: a scope to a moment, or everything that a run wrote. Always by new versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from orcs_server.storage.memory_rows import (
    ENTRIES_LIMIT,
    MemoryVersion,
    Moment,
    Note,
    Origin,
    Place,
    Rewound,
    RunFilter,
    Undone,
)
from orcs_server.storage.sqlite.memory.reading import content, groups, state_at
from orcs_server.storage.sqlite.memory.rows import decode, query
from orcs_server.storage.sqlite.memory.writing import Head, Outcome, Transaction, full


def rewind(
    connection: sqlite3.Connection, namespace: str, scope: str, to: Moment, page: tuple[str, int], note: Note
) -> Outcome:
    """Make the keys of a page, (after which key, how many), what they were at a moment."""
    after, limit = page

    def fetch(statement: str, parameters: Sequence[object]) -> list[Any]:
        return connection.execute(statement, parameters).fetchall()

    transaction = Transaction(connection, namespace, note)
    now = Moment(transaction.space.position, transaction.now_us)
    keys, following = groups(fetch, namespace, scope, after, "")
    changed = 0
    for key, rows in keys:
        wanted, present = state_at(rows, to), state_at(rows, now)
        target = None if wanted is None else decode(wanted)
        if target is not None and not target.live(transaction.now_us):
            target, wanted = None, None
        if content(wanted) == content(present):
            continue
        put_back(transaction, Place(scope, key), target)
        changed += 1
        if changed == limit and key != keys[-1][0]:
            following = key
            break
    transaction.end()
    return Outcome(Rewound(changed, following), transaction)


def undo(
    connection: sqlite3.Connection,
    namespace: str,
    run: RunFilter,
    page: tuple[Place | None, int],
    note: Note,
) -> Outcome:
    """Take back what a run wrote to the keys of a page, (after which, how many)."""
    after, limit = page
    conditions, bounds = "", []
    if run.task_id is not None:
        conditions += "AND task_id = ? "
        bounds.append(run.task_id)
    if run.attempt is not None:
        conditions += "AND attempt = ?"
        bounds.append(run.attempt)  # type: ignore[arg-type]
    parameters = (namespace, run.workflow_id, *(after or ("", "")), *bounds, limit)
    places = [Place(*row) for row in connection.execute(query("memory_of_run", conditions), parameters)]
    transaction = Transaction(connection, namespace, note)
    undone = Undone([], [], [], places[-1] if len(places) == limit else None)
    for place in places:
        _undo_key(transaction, place, run, undone)
    transaction.end()
    return Outcome(undone, transaction)


def put_back(transaction: Transaction, place: Place, target: MemoryVersion | None) -> None:
    """Repeat a version as the newest, no more trusted than it was; without one, delete the key, if it is there."""
    head, note = transaction.head(*place), transaction.note
    if target is None:
        if head.present:
            transaction.delete(place, head, note)
        return
    if not head.counted and transaction.space.entries >= ENTRIES_LIMIT:
        raise full("entries", ENTRIES_LIMIT)
    origin = Origin(target.origin.sources, target.origin.left_out, target.version, target.origin.shared)
    repeated = replace(note, trust=target.trust, origin=origin)
    value = transaction.value(target.digest)
    transaction.put(place, head, target.digest, target.media_type, value, target.expires_us, repeated)


def revert(connection: sqlite3.Connection, namespace: str, place: Place, version: int, note: Note) -> Outcome | None:
    """Repeat a version of a key, or a deletion; None when it is not kept."""
    row = connection.execute(query("memory_version"), (namespace, *place, version)).fetchone()
    if row is None:
        return None
    target = decode(row)
    transaction = Transaction(connection, namespace, note)
    put_back(transaction, place, target if target.live(transaction.now_us) else None)
    transaction.end()
    return Outcome(Head(connection, namespace, *place, transaction.now_us).number, transaction)


def _undo_key(transaction: Transaction, place: Place, run: RunFilter, undone: Undone) -> None:
    parameters = (transaction.namespace, *place)
    rows = transaction.connection.execute(query("memory_all_versions"), parameters).fetchall()
    kept = [decode(row) for row in rows]
    by_number = {entry.version: entry for entry in kept}
    if not _by(run, kept[0], by_number):
        undone.overwritten.append(place)
        return
    others = [entry for entry in kept if not _by(run, entry, by_number)]
    target = others[0] if others else None
    if target is None and kept[-1].version > 1:
        undone.forgotten.append(place)
    else:
        undone.reverted.append(place)
    put_back(transaction, place, target if target is not None and target.live(transaction.now_us) else None)


def _by(run: RunFilter, entry: MemoryVersion, by_number: dict[int, MemoryVersion]) -> bool:
    """Say whether the run wrote a version, or the one that it repeats."""
    while not run.wrote(entry.writer):
        repeated = by_number.get(entry.origin.restored)
        if repeated is None or repeated.version >= entry.version:
            return False
        entry = repeated
    return True
