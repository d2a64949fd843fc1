"""What reads versions: on the event loop, each a bounded number of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from orcs_server.errors import InvalidArgument, OutOfRange
from orcs_server.storage import blobs as at_rest
from orcs_server.storage.codec import damaged
from orcs_server.storage.memory_rows import (
    SCAN,
    Changes,
    Compared,
    Difference,
    EntrySource,
    KeyReads,
    Listed,
    MemorySnapshot,
    MemoryValue,
    MemoryVersion,
    Moment,
)
from orcs_server.storage.sqlite.memory.rows import (
    WIDTH,
    decode,
    history_expired,
    prefix_range,
    query,
    version_expired,
)
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader

_KEY, _POSITION, _UNTIL, _DIGEST, _MEDIA_TYPE, _DELETED, _EXPIRES = 2, 4, 5, 6, 7, 9, 12
_key = itemgetter(_KEY)
VERSIONS_LOOKED_AT = 100_000
"""Of a scope, for the newest of them: a read of the index alone."""
Fetch = Callable[[str, Sequence[object]], list[Any]]
"""Returns all rows of a query."""


def newest(reader: Reader, namespace: str, scope: str, key: str, now_us: int) -> MemoryValue | None:
    """Return the newest version with its value, in one read."""
    row = reader.one(query("memory_newest"), (namespace, scope, key))
    entry = None if row is None else decode(row)
    if entry is None or not entry.live(now_us):
        return None
    if row[WIDTH] is None:
        raise damaged(f"blob {entry.digest} is missing")
    return MemoryValue(entry, at_rest.unpack(*row[WIDTH:]))


def version(reader: Reader, namespace: str, scope: str, key: str, number: int) -> MemoryVersion | None:
    """Return one version. Raises OutOfRange for one that is no longer kept."""
    found = kept(reader, namespace, EntrySource(scope, key, number))
    if found is None and number > 0:
        row = reader.one(query("memory_head"), (namespace, scope, key))
        if row is not None and decode(row).version > number:
            raise version_expired(scope, key, number)
    return found


def kept(reader: Reader, namespace: str, name: EntrySource) -> MemoryVersion | None:
    """Return one version, if it is kept."""
    row = reader.one(query("memory_version"), (namespace, name.scope, name.key, name.version))
    return None if row is None else decode(row)


def versions(
    reader: Reader, namespace: str, scope: str, key: str, before: int | None, limit: int
) -> list[MemoryVersion]:
    """Return a page of a key's history."""
    end = 2**62 if before is None else before
    return [decode(row) for row in reader.page(query("memory_history"), (namespace, scope, key, end, limit))]


def page(
    reader: Reader, namespace: str, scope: str, prefix: str, after: str, limit: int, now_us: int
) -> list[MemoryVersion]:
    """Return a page of keys."""
    condition, bounds = prefix_range(prefix)
    parameters = (namespace, scope, after, now_us, *bounds, limit)
    return [decode(row) for row in reader.page(query("memory_page", condition), parameters)]


def scopes(reader: Reader, namespace: str, prefix: str, after: str, limit: int) -> list[str]:
    """Return a page of scopes: one seek for each."""
    found: list[str] = []
    # No scope holds a NUL: this is the first text after one of them.
    start = max(prefix, f"{after}\0" if after else "")
    while len(found) < limit:
        row = reader.one(QUERIES["memory_scope_from"], (namespace, start))
        if row is None or not row[0].startswith(prefix):
            break
        found.append(row[0])
        start = f"{row[0]}\0"
    return found


def keys(reader: Reader, namespace: str, scope: str, after: str, limit: int, now_us: int) -> list[tuple[str, int]]:
    """Return a stretch of keys, each with its time."""
    return reader.page(QUERIES["memory_keys"], (namespace, scope, after, now_us, limit))


def newest_change(reader: Reader, namespace: str, scope: str) -> int | None:
    """Return the time of a scope's newest version."""
    newest, versions = reader.one(QUERIES["memory_scope_newest"], (namespace, scope, VERSIONS_LOOKED_AT))
    if versions == VERSIONS_LOOKED_AT:
        (late,) = reader.one(QUERIES["memory_scope_lately"], (namespace, SCAN, scope))
        newest = max(newest, late or 0)
    row = None if newest is None else reader.one(QUERIES["memory_time_of"], (newest,))
    return None if row is None else int(row[0])


def position(reader: Reader, namespace: str) -> Moment:
    """Return the end of a namespace's log."""
    row = reader.one(QUERIES["memory_space"], (namespace,))
    return Moment(0, 0) if row is None else Moment(row[1], row[2])


def moment(reader: Reader, namespace: str, time_us: int | None) -> Moment:
    """Return the last position at a time: by halves, since times do not go back within the log."""
    end = position(reader, namespace)
    if time_us is None:
        return end
    low, high = 0, end.position
    if time_us >= end.time_us:
        low = high
    while low < high:
        middle = (low + high + 1) // 2
        row = reader.one(QUERIES["memory_position_from"], (namespace, middle))
        if row is not None and row[1] <= time_us:
            low = row[0]
        else:
            high = middle - 1
    return Moment(low, time_us)


def as_of(reader: Reader, namespace: str, scope: str, key: str, at: Moment) -> MemoryVersion | None:
    """Return the version of a key that was read at a moment."""
    row = reader.one(query("memory_as_of"), (namespace, scope, key, at.position))
    if row is not None and (row[_UNTIL] is None or row[_UNTIL] > at.position):
        found = decode(row)
        return found if found.live(at.time_us) else None
    if not _whole(reader, namespace, scope, at.position):
        oldest = reader.one(QUERIES["memory_oldest_version"], (namespace, scope, key))[0]
        if row is not None or oldest != 1:
            raise history_expired(f"{key!r} in {scope}")
    return None


def page_as_of(reader: Reader, namespace: str, scope: str, prefix: str, after: str, limit: int, at: Moment) -> Listed:
    """Return a page of keys as they were at a moment."""
    refuse_gap(reader, namespace, scope, at)
    keys, following = groups(reader.page, namespace, scope, after, prefix)
    found: list[MemoryVersion] = []
    for key, rows in keys:
        row = state_at(rows, at)
        if row is not None:
            found.append(decode(row))
            if len(found) == limit and key != keys[-1][0]:
                return Listed(found, key)
    return Listed(found, following)


def compare(
    reader: Reader, namespace: str, scope: str, before: Moment, after: Moment, key: str, limit: int
) -> Compared:
    """Return a page of the keys whose values differ."""
    refuse_gap(reader, namespace, scope, before)
    refuse_gap(reader, namespace, scope, after)
    keys, following = groups(reader.page, namespace, scope, key, "")
    found: list[Difference] = []
    for name, rows in keys:
        old, new = state_at(rows, before), state_at(rows, after)
        if content(old) != content(new):
            found.append(Difference(name, old and decode(old), new and decode(new)))
            if len(found) == limit and name != keys[-1][0]:
                return Compared(found, name)
    return Compared(found, following)


def groups(
    fetch: Fetch, namespace: str, scope: str, after: str, prefix: str
) -> tuple[list[tuple[str, list[Any]]], str | None]:
    """Return a stretch of keys after one, each with all its rows by version, and the key to go on after; None at the end."""
    condition, bounds = prefix_range(prefix)
    rows = fetch(query("memory_scan", condition), (namespace, scope, after, *bounds, SCAN))
    found = [(key, list(of_key)) for key, of_key in groupby(rows, _key)]
    if len(rows) < SCAN:
        return found, None
    if len(found) > 1:
        # There may be more of the last one. No key has as many versions as this looks at.
        found.pop()
    return found, found[-1][0]


def state_at(rows: Sequence[Any], at: Moment) -> Any:
    """Return the row of a key that held its value at a moment, or None."""
    for row in rows:
        if row[_POSITION] <= at.position and (row[_UNTIL] is None or row[_UNTIL] > at.position):
            return row if _live(row, at.time_us) else None
    return None


def content(row: Any) -> tuple[str, str] | None:
    """Return what makes two rows of a key the same value."""
    return None if row is None else (row[_DIGEST], row[_MEDIA_TYPE])


def _live(row: Any, now_us: int) -> bool:
    return not row[_DELETED] and (row[_EXPIRES] is None or row[_EXPIRES] > now_us)


def refuse_gap(reader: Reader, namespace: str, scope: str, at: Moment) -> None:
    """Raise OutOfRange where not all that a scope held at a moment is kept."""
    if not _whole(reader, namespace, scope, at.position):
        raise history_expired(f"in {scope}")


def _whole(reader: Reader, namespace: str, scope: str, at: int) -> bool:
    row = reader.one(QUERIES["memory_scope"], (namespace, scope))
    if row is None or at >= row[0]:
        return True
    return reader.one(QUERIES["memory_snapshot_at"], (namespace, scope, at)) is not None


def changes(reader: Reader, namespace: str, after: int, limit: int, scope: str | None, prefix: str) -> Changes:
    """Return a piece of the log."""
    end = position(reader, namespace).position
    if after > end:
        raise InvalidArgument("CURSOR_INVALID", "The cursor lies after the end of the log: begin without one.")
    if scope is None:
        oldest = reader.one(QUERIES["memory_oldest"], (namespace,))[0]
    else:
        oldest = (reader.one(QUERIES["memory_scope"], (namespace, scope)) or (0, 0))[1]
    if after < oldest:
        raise OutOfRange(
            "CURSOR_EXPIRED",
            "The log no longer holds what followed the cursor: list the keys and begin anew.",
            str(oldest),
        )
    rows = reader.page(query("memory_changes"), (namespace, after, SCAN))
    found: list[MemoryVersion] = []
    for row in rows:
        if scope in (None, row[1]) and row[_KEY].startswith(prefix):
            found.append(decode(row))
            if len(found) == limit:
                return Changes(found, row[_POSITION])
    if len(rows) == SCAN:
        return Changes(found, rows[-1][_POSITION])
    return Changes(found, max(end, rows[-1][_POSITION] if rows else after))


def snapshots(
    reader: Reader, namespace: str, scope: str | None, before: int | None, limit: int
) -> list[MemorySnapshot]:
    """Return a page of snapshots."""
    parameters = (namespace, 2**62 if before is None else before, scope, limit)
    return [MemorySnapshot(*row) for row in reader.page(QUERIES["memory_snapshots"], parameters)]


def hot(reader: Reader, namespace: str, limit: int) -> list[KeyReads]:
    """Return the keys that were read most."""
    return [KeyReads(*row) for row in reader.page(QUERIES["hot_memory"], (namespace, limit))]


def never_read(reader: Reader, namespace: str, scope: str, after: str, limit: int, now_us: int) -> Listed:
    """Return those of a stretch of keys that were never read."""
    entries = page(reader, namespace, scope, "", after, SCAN, now_us)
    if not entries:
        return Listed([], None)
    stretch = (namespace, scope, entries[0].key, entries[-1].key)
    read = {key for (key,) in reader.page(QUERIES["read_memory_keys"], stretch)}
    unread = [entry for entry in entries if entry.key not in read]
    if len(unread) > limit:
        return Listed(unread[:limit], unread[limit - 1].key)
    return Listed(unread, entries[-1].key if len(entries) == SCAN else None)
