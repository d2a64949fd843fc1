"""What adds versions: changes that compare first, copies, snapshots, rules, counts of reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from orcs_server.errors import Conflict, InvalidArgument, NotFound, OrcsError, ResourceExhausted, StaleKey
from orcs_server.storage import blobs as at_rest
from orcs_server.storage.blobs import PackedBlob
from orcs_server.storage.codec import damaged, encode
from orcs_server.storage.memory_rows import (
    ENTRIES_LIMIT,
    RULE_VERSIONS_KEPT,
    SNAPSHOTS_LIMIT,
    VERSIONS_KEPT,
    EntrySource,
    KeyReads,
    MemoryChange,
    MemoryDelete,
    MemoryPut,
    MemorySnapshot,
    MemoryVersion,
    Note,
    Place,
    Written,
)
from orcs_server.storage.sqlite.batch import add_blobs
from orcs_server.storage.sqlite.memory import index
from orcs_server.storage.sqlite.memory.rows import Space, decode, query
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.writer import Refused
from orcs_server.workflow.model import Digest

NO_DIGEST = Digest("")
STALE_SAID = 8
"""Keys that the sentence of a conflict names; the error itself holds all."""


class Head:
    """The last version of a key, and whether there is a value."""

    def __init__(self, connection: sqlite3.Connection, namespace: str, scope: str, key: str, now_us: int) -> None:
        row = connection.execute(query("memory_head"), (namespace, scope, key)).fetchone()
        self.id: int | None = None
        self.entry: MemoryVersion | None = None
        if row is not None:
            self.id, self.entry = row[0], decode(row)
        entry = self.entry
        self.number = 0 if entry is None else entry.version
        self.current = entry is not None and entry.until is None
        self.counted = entry is not None and self.current and not entry.deleted
        """It counts as one of the namespace's entries, expired or not."""
        self.present = entry is not None and self.current and entry.live(now_us)


class Transaction:
    """Versions of one namespace that are added in one transaction. Nothing is written before `begin` has let it through."""

    def __init__(self, connection: sqlite3.Connection, namespace: str, note: Note) -> None:
        self.connection = connection
        self.namespace = namespace
        self.space = Space.of(connection, namespace)
        self.note = note
        self.now_us = max(note.time_us, self.space.time_us)
        self.erased: list[Digest] = []
        """Values that went."""

    def head(self, scope: str, key: str) -> Head:
        """Return the last version of a key."""
        return Head(self.connection, self.namespace, scope, key, self.now_us)

    def put(
        self,
        place: Place,
        head: Head,
        digest: Digest,
        media_type: str,
        value: bytes,
        expires_us: int | None,
        note: Note,
    ) -> Written:
        """Add a version with a value whose blob is stored already."""
        version_id, written = self._add(place, head, (digest, media_type, len(value), False), expires_us, note)
        self.space.entries += not head.counted
        index.add(self.connection, self.space, version_id, *place, media_type, value)
        return written

    def delete(self, place: Place, head: Head, note: Note) -> Written:
        """Add a version that says deleted."""
        _, written = self._add(place, head, (NO_DIGEST, "", 0, True), None, note)
        self.space.entries -= head.counted
        return written

    def value(self, digest: Digest) -> bytes:
        """Return a stored value."""
        row = self.connection.execute(QUERIES["get_blob"], (self.namespace, digest)).fetchone()
        if row is None:
            raise damaged(f"blob {digest} is missing")
        return at_rest.unpack(*row)

    def forget(self, scope: str, rows: Sequence[Any]) -> None:
        """Note that versions are gone, (position, until, digest) of each, and erase their values where nothing needs them."""
        if not rows:
            return
        horizon, oldest = max(row[1] for row in rows), max(row[0] for row in rows)
        self.connection.execute(QUERIES["raise_memory_scope"], (self.namespace, scope, horizon, oldest))
        self.erase({row[2] for row in rows if row[2]})

    def erase(self, digests: set[str]) -> None:
        """Erase those of the values to which nothing refers."""
        for digest in sorted(digests):
            if self.connection.execute(QUERIES["remove_unused_blob"], (self.namespace, digest)).rowcount:
                self.erased.append(Digest(digest))

    def end(self) -> None:
        """Write down how far the namespace has come."""
        self.space.time_us = self.now_us
        self.space.save(self.connection)

    def _add(
        self, place: Place, head: Head, content: tuple[Digest, str, int, bool], expires_us: int | None, note: Note
    ) -> tuple[int, Written]:
        connection, writer = self.connection, note.writer
        self.space.position += 1
        written = Written(head.number + 1, self.space.position)
        if head.id is not None and head.current:
            connection.execute(QUERIES["end_memory_version"], (written.position, self.now_us, head.id))
            index.remove(connection, self.space, head.id)
        past_us = self.now_us if content[3] else None
        added = (self.namespace, *place, *written, past_us, *content, note.trust, self.now_us, expires_us)
        written_by = (writer.principal, writer.agent, writer.workflow_id, writer.task_id, writer.attempt)
        cursor = connection.execute(QUERIES["add_memory_version"], (*added, *written_by, encode(note.origin)))
        version_id = cursor.lastrowid or 0
        if written.version > VERSIONS_KEPT:
            old = (self.namespace, *place, written.version - VERSIONS_KEPT)
            self.forget(place.scope, connection.execute(QUERIES["remove_old_memory_versions"], old).fetchall())
        return version_id, written


class Outcome:
    """What a transaction that has ended came to, with the values that went by it, and the place in the log after it."""

    def __init__(self, result: Any, transaction: Transaction) -> None:
        self.result = result
        self.erased = transaction.erased
        self.position = transaction.space.position


def write(
    connection: sqlite3.Connection,
    namespace: str,
    changes: Sequence[MemoryChange],
    packed: Mapping[Digest, PackedBlob],
    note: Note,
) -> Outcome | Refused:
    """Carry out all changes, or none: a refusal is returned, not raised, since nothing has to be rolled back for it."""
    transaction = Transaction(connection, namespace, note)
    heads = [transaction.head(change.scope, change.key) for change in changes]
    refusal = _refusal(transaction.space, changes, heads)
    if refusal is not None:
        return Refused(refusal)
    add_blobs(connection, namespace, list(packed.values()))
    results: list[Written] = []
    for change, head in zip(changes, heads, strict=True):
        place = Place(change.scope, change.key)
        if isinstance(change, MemoryPut):
            blob = change.blob
            results.append(
                transaction.put(place, head, blob.digest, change.media_type, blob.data, change.expires_us, note)
            )
        elif isinstance(change, MemoryDelete) and head.present:
            results.append(transaction.delete(place, head, note))
        else:
            results.append(Written(0 if isinstance(change, MemoryDelete) or not head.present else head.number, 0))
    transaction.end()
    return Outcome(results, transaction)


def _refusal(space: Space, changes: Sequence[MemoryChange], heads: Sequence[Head]) -> OrcsError | None:
    places = [(change.scope, change.key) for change in changes]
    if len(set(places)) < len(places):
        return InvalidArgument("FIELD_INVALID", "The changes name a key twice: make each change one of another key.")
    stale = [
        (change, StaleKey(change.scope, change.key, head.number if head.present else 0))
        for change, head in zip(changes, heads, strict=True)
        if change.expected is not None and change.expected != (head.number if head.present else 0)
    ]
    if stale:
        said = "; ".join(_difference(change.expected or 0, one) for change, one in stale[:STALE_SAID])
        return Conflict("MEMORY_VERSION_STALE", f"{said}: read again and repeat.", tuple(one for _, one in stale))
    more = sum(isinstance(change, MemoryPut) and not head.counted for change, head in zip(changes, heads, strict=True))
    if more and space.entries + more > ENTRIES_LIMIT:
        return full("entries", ENTRIES_LIMIT)
    return None


def _difference(expected: int, found: StaleKey) -> str:
    is_at, expected_at = (f"at version {number}" if number else "absent" for number in (found.version, expected))
    return f"{found.key!r} in {found.scope} is {is_at}, not {expected_at}"


def full(what: str, limit: int) -> ResourceExhausted:
    """Return the error for one thing too many."""
    return ResourceExhausted(
        "QUOTA_EXCEEDED", f"The namespace has {limit} memory {what}, as many as it may: delete some."
    )


def copy(
    connection: sqlite3.Connection, namespace: str, source: EntrySource, target: Place, note: Note
) -> Outcome | Refused:
    """Put a version's value under another key."""
    row = connection.execute(query("memory_version"), (namespace, source.scope, source.key, source.version)).fetchone()
    found = None if row is None else decode(row)
    if found is None or not found.live(note.time_us):
        return Refused(
            NotFound("MEMORY_NOT_FOUND", f"{source.key!r} has no version {source.version} in {source.scope}.")
        )
    transaction = Transaction(connection, namespace, note)
    head = transaction.head(*target)
    if not head.counted and transaction.space.entries >= ENTRIES_LIMIT:
        return Refused(full("entries", ENTRIES_LIMIT))
    note = replace(note, trust=min(note.trust, found.trust), origin=replace(note.origin, shared=source))
    value = transaction.value(found.digest)
    written = transaction.put(target, head, found.digest, found.media_type, value, found.expires_us, note)
    transaction.end()
    return Outcome(written, transaction)


def create_snapshot(
    connection: sqlite3.Connection, namespace: str, scope: str, title: str, principal: str, time_us: int
) -> MemorySnapshot | Refused:
    """Remember a scope as it is now."""
    if connection.execute(QUERIES["count_memory_snapshots"], (namespace,)).fetchone()[0] >= SNAPSHOTS_LIMIT:
        return Refused(full("snapshots", SNAPSHOTS_LIMIT))
    space = Space.of(connection, namespace)
    space.snapshots += 1
    space.time_us = max(space.time_us, time_us)
    space.save(connection)
    snapshot = MemorySnapshot(space.snapshots, scope, space.position, space.time_us, title, principal)
    row = (namespace, snapshot.number, scope, snapshot.position, snapshot.time_us, title, principal)
    connection.execute(QUERIES["add_memory_snapshot"], row)
    return snapshot


def put_rules(
    connection: sqlite3.Connection, namespace: str, rules: bytes, note: tuple[int, str], expected: int | None
) -> int | Refused:
    """Store new access rules."""
    row = connection.execute(QUERIES["memory_rules"], (namespace,)).fetchone()
    version: int = 0 if row is None else row[0]
    if expected is not None and expected != version:
        return Refused(
            Conflict("MEMORY_VERSION_STALE", f"The access rules are at version {version}, not {expected}: read again.")
        )
    connection.execute(QUERIES["add_memory_rules"], (namespace, version + 1, *note, rules))
    connection.execute(QUERIES["remove_old_memory_rules"], (namespace, version + 1 - RULE_VERSIONS_KEPT))
    return version + 1


def add_reads(connection: sqlite3.Connection, namespace: str, reads: Sequence[KeyReads]) -> None:
    """Count reads."""
    for one in reads:
        connection.execute(QUERIES["add_memory_reads"], (namespace, *one))
