"""What comes from a run: its own versions, what repeats them, copies in other scopes, and what others have made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orcs_server.storage.memory_rows import EntrySource, MemoryVersion, Place, RunFilter, Traces
from orcs_server.storage.sqlite.memory import reading
from orcs_server.storage.sqlite.memory.rows import decode, query, says_nothing
from orcs_server.storage.sqlite.reader import Reader

LOOKUPS: Final = 500
"""Versions that one stretch looks up, at most, beyond those of the entry at which it ends."""

LookUp = Callable[[EntrySource], MemoryVersion | None]
"""Returns a version, if it is kept."""


def of_run(run: RunFilter, entry: MemoryVersion, look_up: LookUp) -> bool:
    """Say whether the run wrote a version, or the one that it repeats or is a copy of; as far back as they are kept."""
    while not run.wrote(entry.writer):
        origin, before = entry.origin, entry.position
        found = look_up(EntrySource(entry.scope, entry.key, origin.restored)) if origin.restored else None
        if found is None and origin.shared is not None:
            found = look_up(origin.shared)
        # After a purge a number may be that of a later version.
        if found is None or found.position >= before:
            return False
        entry = found
    return True


def made_of_run(run: RunFilter, entry: MemoryVersion, look_up: LookUp) -> bool:
    """Say whether a version's writer had read what the run wrote."""
    for source in entry.origin.sources:
        found = look_up(source) if isinstance(source, EntrySource) else None
        if found is not None and found.position < entry.position and of_run(run, found, look_up):
            return True
    return False


def traces(reader: Reader, namespace: str, run: RunFilter, after: Place | None, limit: int, now_us: int) -> Traces:
    """Look at a stretch of the namespace's entries for those that come from a run and were written by others."""
    known: dict[EntrySource, MemoryVersion | None] = {}

    def look_up(source: EntrySource) -> MemoryVersion | None:
        if source not in known:
            known[source] = reading.kept(reader, namespace, source)
        return known[source]

    rows = reader.page(query("memory_with_origin"), (namespace, *(after or ("", "")), limit))
    copies: list[Place] = []
    derived: list[Place] = []
    for entry in (decode(row) for row in rows if not says_nothing(row)):
        place = Place(entry.scope, entry.key)
        if run.wrote(entry.writer) or not entry.live(now_us):
            continue
        if of_run(run, entry, look_up):
            copies.append(place)
        elif made_of_run(run, entry, look_up):
            derived.append(place)
        if len(known) >= LOOKUPS:
            return Traces(copies, derived, place)
    return Traces(copies, derived, Place(rows[-1][1], rows[-1][2]) if len(rows) == limit else None)
