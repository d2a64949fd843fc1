"""Ways back: a scope to a moment, or everything that a run wrote. Always by new versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from orcs_server.errors import IllegalTransition, NotFound
from orcs_server.storage.memory_rows import (
    ENTRIES_LIMIT,
    EntrySource,
    MemoryVersion,
    Moment,
    Note,
    Origin,
    Place,
    Rewound,
    RunFilter,
    Undone,
)
from orcs_server.storage.sqlite.memory.erasing import SYSTEM
from orcs_server.storage.sqlite.memory.reading import content, groups, state_at
from orcs_server.storage.sqlite.memory.rows import decode, query, version_expired
from orcs_server.storage.sqlite.memory.tracing import of_run
from orcs_server.storage.sqlite.memory.writing import Head, Outcome, Transaction, full
from orcs_server.storage.sqlite.writer import Refused


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
    undone = Undone([], [], [], [], places[-1] if len(places) == limit else None)
    for place in places:
        _undo_key(transaction, place, run, undone)
    transaction.end()
    return Outcome(undone, transaction)


def undo_keys(
    connection: sqlite3.Connection, namespace: str, run: RunFilter, places: Sequence[Place], note: Note
) -> Outcome:
    """Take back what a run wrote to these keys, or copies there of what it wrote."""
    transaction = Transaction(connection, namespace, note)
    undone = Undone([], [], [], [], None)
    for place in places:
        _undo_key(transaction, place, run, undone)
    transaction.end()
    return Outcome(undone, transaction)


def put_back(
    transaction: Transaction, place: Place, target: MemoryVersion | None, taken_back: RunFilter | None = None
) -> None:
    """Repeat a version as the newest, no more trusted than it was; without one, delete the key, if it is there."""
    head, note = transaction.head(*place), transaction.note
    if target is None:
        if head.present:
            transaction.delete(place, head, replace(note, origin=Origin(taken_back=taken_back)))
        return
    if not head.counted and transaction.space.entries >= ENTRIES_LIMIT:
        raise full("entries", ENTRIES_LIMIT)
    before = target.origin
    origin = Origin(before.sources, before.left_out, target.version, before.shared, taken_back=taken_back)
    repeated = replace(note, trust=target.trust, origin=origin)
    value = transaction.value(target.digest)
    transaction.put(place, head, target.digest, target.media_type, value, target.expires_us, repeated)


def revert(connection: sqlite3.Connection, namespace: str, place: Place, version: int, note: Note) -> Outcome | Refused:
    """Repeat a version of a key, or a deletion."""
    transaction = Transaction(connection, namespace, note)
    row = connection.execute(query("memory_version"), (namespace, *place, version)).fetchone()
    if row is None:
        if 0 < version < transaction.head(*place).number:
            return Refused(version_expired(place.scope, place.key, version))
        text = f"{place.key!r} has no version {version} in {place.scope}."
        return Refused(NotFound("MEMORY_NOT_FOUND", text))
    target = decode(row)
    if not target.deleted and not target.live(transaction.now_us):
        text = f"The time to live of version {version} of {place.key!r} in {place.scope} is over, so it stays absent"
        return Refused(
            IllegalTransition("MEMORY_EXPIRED", f"{text}: store a value anew, or revert to another version.")
        )
    put_back(transaction, place, None if target.deleted else target)
    transaction.end()
    return Outcome(Head(connection, namespace, *place, transaction.now_us).number, transaction)


def _undo_key(transaction: Transaction, place: Place, run: RunFilter, undone: Undone) -> None:
    parameters = (transaction.namespace, *place)
    rows = transaction.connection.execute(query("memory_all_versions"), parameters).fetchall()
    kept = [decode(row) for row in rows]
    by_number = {entry.version: entry for entry in kept}

    def look_up(source: EntrySource) -> MemoryVersion | None:
        if source.scope == place.scope and source.key == place.key:
            return by_number.get(source.version)
        name = (transaction.namespace, source.scope, source.key, source.version)
        row = transaction.connection.execute(query("memory_version"), name).fetchone()
        return None if row is None else decode(row)

    # That an entry expired is nobody's writing.
    while len(kept) > 1 and _is_expiry(kept[0], kept[1]):
        del kept[0]
    newest = kept[0]
    if not of_run(run, newest, look_up):
        taken_back = newest.origin.taken_back
        before = taken_back is not None and taken_back.overlaps(run)
        (undone.already if before else undone.overwritten).append(place)
        return
    # What another quarantine has taken back does not come back by this one.
    gone = [(entry.position, entry.origin.taken_back) for entry in kept if entry.origin.taken_back is not None]
    target = None
    for entry in kept:
        runs = [run, *(one for position, one in gone if position > entry.position)]
        if not any(of_run(one, entry, look_up) for one in runs):
            target = entry
            break
    back = target if target is not None and target.live(transaction.now_us) else None
    if target is None and kept[-1].version > 1:
        undone.forgotten.append(place)
    elif back is None and not transaction.head(*place).present:
        undone.already.append(place)
    else:
        undone.reverted.append(place)
    put_back(transaction, place, back, run)


def _is_expiry(entry: MemoryVersion, before: MemoryVersion) -> bool:
    """Say whether a version only says that the one before it has expired."""
    return entry.deleted and entry.writer == SYSTEM and not before.deleted and not before.live(entry.time_us)
