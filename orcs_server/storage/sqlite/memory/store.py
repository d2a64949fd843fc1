"""The SQLite store's face of memory: writes in groups by the one writer, reads on the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Self

from orcs_server.errors import NotFound, Unavailable
from orcs_server.identity.quotas import NO_QUOTAS, Quotas
from orcs_server.storage import blobs as at_rest
from orcs_server.storage.memory_rows import (
    Changes,
    Compared,
    EntrySource,
    Hit,
    KeyReads,
    Listed,
    MemoryChange,
    MemoryPut,
    MemorySnapshot,
    MemoryValue,
    MemoryVersion,
    Moment,
    Note,
    PastPlace,
    Place,
    Rewound,
    RunFilter,
    SearchQuery,
    StoredRules,
    Traces,
    Undone,
    Written,
)
from orcs_server.storage.once import Once, twin
from orcs_server.storage.sqlite.batch import HEAVY, Change
from orcs_server.storage.sqlite.memory import (
    erasing,
    index,
    reading,
    remembering,
    rewinding,
    searching,
    tracing,
    writing,
)
from orcs_server.storage.sqlite.memory.fresh import NOTHING, Fresh, Name
from orcs_server.storage.sqlite.memory.writing import Outcome
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader
from orcs_server.storage.sqlite.usage import growth_refused
from orcs_server.storage.sqlite.writer import Refused, Writer
from orcs_server.storage.store import Blob
from orcs_server.workflow.model import Digest

MERGE_STEPS = 10_000
"""Steps of merging an index, at most: each writes 200 pages."""
ROWS_TO_A_VERSION = 12
"""What a version weighs: its row, the indexes, its words. So a whole slice of a restore is not written on the event loop."""

RULES: Name = ("rules",)
NO_ENTRY: Sequence[Name] = ()
"""What a change touches that is of no entry's newest version."""

Pack = Callable[[Sequence[Blob]], Any]
Work = Callable[[sqlite3.Connection], Any]


class SqliteMemory:
    """A `MemoryStore` within a data file that is open."""

    def __init__(
        self,
        writer: Callable[[], Writer],
        reader: Callable[[], Reader],
        cache: at_rest.BlobCache,
        pack: Pack,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        """`writer` and `reader` give what is open, or raise Unavailable."""
        self._writer = writer
        self._reader = reader
        self._cache = cache
        self._pack = pack
        self._quotas = quotas
        self._fresh = Fresh()
        self._bells: dict[str, asyncio.Event] = {}
        self._once: Once | None = None

    def release(self) -> None:
        """Wake all who wait: the file is being closed."""
        for namespace in tuple(self._bells):
            self._ring(namespace)

    # Requests

    def bound(self, once: Once) -> Self:
        bound = twin(self)
        bound._once = once  # noqa: SLF001 - its own kind
        return bound

    async def remember(self, namespace: str, answer: object) -> None:
        await self._change(namespace, lambda _: answer, 1, NO_ENTRY)

    # Writing

    async def write(self, namespace: str, changes: Sequence[MemoryChange], note: Note) -> list[Written]:
        blobs = [change.blob for change in changes if isinstance(change, MemoryPut)]
        packed = {one.digest: one for one in await self._pack(blobs)}
        weight = ROWS_TO_A_VERSION * len(changes)

        def write(connection: sqlite3.Connection) -> Outcome | Refused:
            if packed:
                refusal = growth_refused(connection, namespace, self._quotas.of(namespace), note.time_us)
                if refusal is not None:
                    return Refused(refusal)  # raised, it would have everybody's batch rolled back
            return writing.write(connection, namespace, changes, packed, note)

        touched = [(change.scope, change.key) for change in changes]
        return await self._change(namespace, write, weight, touched)  # type: ignore[no-any-return]

    async def copy(self, namespace: str, source: EntrySource, target: Place, note: Note) -> Written:
        return await self._change(namespace, lambda at: writing.copy(at, namespace, source, target, note))  # type: ignore[no-any-return]

    async def revert(self, namespace: str, place: Place, version: int, note: Note) -> int:
        return await self._change(namespace, lambda at: rewinding.revert(at, namespace, place, version, note))  # type: ignore[no-any-return]

    # Reading

    async def newest(
        self, namespace: str, scope: str, key: str, now_us: int, *, often: bool = False
    ) -> MemoryValue | None:
        reader, name = self._reader(), (scope, key)
        kept = self._fresh.get(namespace, name)
        if isinstance(kept, MemoryValue) and kept.entry.live(now_us):
            return kept
        found = reading.newest(reader, namespace, scope, key, now_us)
        if often and found is not None:
            self._fresh.keep(namespace, name, found, len(found.value))
        return found

    async def version(self, namespace: str, scope: str, key: str, version: int) -> MemoryVersion | None:
        return reading.version(self._reader(), namespace, scope, key, version)

    async def as_of(self, namespace: str, scope: str, key: str, moment: Moment) -> MemoryVersion | None:
        return reading.as_of(self._reader(), namespace, scope, key, moment)

    async def versions(
        self, namespace: str, scope: str, key: str, before: int | None, limit: int
    ) -> list[MemoryVersion]:
        return reading.versions(self._reader(), namespace, scope, key, before, limit)

    async def value(self, namespace: str, entry: MemoryVersion) -> bytes:
        if entry.deleted:
            return b""
        content = self._cache.get(namespace, entry.digest)
        if content is None:
            row = self._reader().one(QUERIES["get_blob"], (namespace, entry.digest))
            if row is None:
                raise NotFound("MEMORY_NOT_FOUND", f"Version {entry.version} of {entry.key!r} is no longer kept.")
            content = at_rest.unpack(*row)
        return content

    async def page(
        self, namespace: str, scope: str, prefix: str, after: str, limit: int, now_us: int
    ) -> list[MemoryVersion]:
        return reading.page(self._reader(), namespace, scope, prefix, after, limit, now_us)

    async def page_as_of(
        self, namespace: str, scope: str, prefix: str, after: str, limit: int, moment: Moment
    ) -> Listed:
        return reading.page_as_of(self._reader(), namespace, scope, prefix, after, limit, moment)

    async def scopes(self, namespace: str, prefix: str, after: str, limit: int) -> list[str]:
        return reading.scopes(self._reader(), namespace, prefix, after, limit)

    async def keys(self, namespace: str, scope: str, after: str, limit: int, now_us: int) -> list[tuple[str, int]]:
        return reading.keys(self._reader(), namespace, scope, after, limit, now_us)

    async def newest_change(self, namespace: str, scope: str) -> int | None:
        return reading.newest_change(self._reader(), namespace, scope)

    async def moment(self, namespace: str, time_us: int | None = None) -> Moment:
        return reading.moment(self._reader(), namespace, time_us)

    async def time_of(self, namespace: str, position: int) -> int:
        row = self._reader().one(QUERIES["memory_time_at"], (namespace, position))
        return 0 if row is None else int(row[0])

    # Search

    async def search(self, namespace: str, query: SearchQuery, now_us: int) -> list[Hit]:
        return searching.search(self._reader(), namespace, query, now_us)

    async def snippets(self, namespace: str, hits: Sequence[Hit], words: Sequence[str]) -> list[str]:
        return searching.snippets(self._reader(), namespace, hits, words)

    # Watching

    async def changes(self, namespace: str, after: int, limit: int, scope: str | None, prefix: str) -> Changes:
        return reading.changes(self._reader(), namespace, after, limit, scope, prefix)

    async def wait(self, namespace: str, after: int) -> None:
        while reading.position(self._reader(), namespace).position <= after:
            await self._bells.setdefault(namespace, asyncio.Event()).wait()

    # Snapshots and ways back

    async def create_snapshot(
        self, namespace: str, scope: str, title: str, principal: str, time_us: int
    ) -> MemorySnapshot:
        def create(connection: sqlite3.Connection) -> MemorySnapshot | Refused:
            return writing.create_snapshot(connection, namespace, scope, title, principal, time_us)

        return await self._change(namespace, create, touched=NO_ENTRY)  # type: ignore[no-any-return]

    async def snapshots(
        self, namespace: str, scope: str | None, before: int | None, limit: int
    ) -> list[MemorySnapshot]:
        return reading.snapshots(self._reader(), namespace, scope, before, limit)

    async def delete_snapshot(self, namespace: str, number: int) -> bool:
        query, parameters = QUERIES["remove_memory_snapshot"], (namespace, number)
        removed: int = await self._change(
            namespace, lambda at: at.execute(query, parameters).rowcount, touched=NO_ENTRY
        )
        return removed > 0

    async def compare(
        self, namespace: str, scope: str, before: Moment, after: Moment, key: str, limit: int
    ) -> Compared:
        return reading.compare(self._reader(), namespace, scope, before, after, key, limit)

    async def rewind(self, namespace: str, scope: str, to: Moment, after: str, limit: int, note: Note) -> Rewound:
        def rewind(connection: sqlite3.Connection) -> Outcome:
            return rewinding.rewind(connection, namespace, scope, to, (after, limit), note)

        reading.refuse_gap(self._reader(), namespace, scope, to)
        return await self._change(namespace, rewind, limit * ROWS_TO_A_VERSION)  # type: ignore[no-any-return]

    async def undo(self, namespace: str, run: RunFilter, after: Place | None, limit: int, note: Note) -> Undone:
        def undo(connection: sqlite3.Connection) -> Outcome:
            return rewinding.undo(connection, namespace, run, (after, limit), note)

        return await self._change(namespace, undo, limit * ROWS_TO_A_VERSION)  # type: ignore[no-any-return]

    async def undo_keys(self, namespace: str, run: RunFilter, places: Sequence[Place], note: Note) -> Undone:
        def undo(connection: sqlite3.Connection) -> Outcome:
            return rewinding.undo_keys(connection, namespace, run, places, note)

        return await self._change(namespace, undo, len(places) * ROWS_TO_A_VERSION)  # type: ignore[no-any-return]

    async def traces(self, namespace: str, run: RunFilter, after: Place | None, limit: int, now_us: int) -> Traces:
        return tracing.traces(self._reader(), namespace, run, after, limit, now_us)

    # Erasing

    async def purge(self, namespace: str, scope: str, prefix: str, key: str | None, limit: int) -> int:
        def purge(connection: sqlite3.Connection) -> Outcome:
            return erasing.purge(connection, namespace, scope, prefix, key, limit)

        return await self._change(namespace, purge, limit * ROWS_TO_A_VERSION)  # type: ignore[no-any-return]

    async def scrub(self, namespace: str) -> None:
        row = self._reader().one(QUERIES["memory_space"], (namespace,))
        if row is not None and row[5]:
            number: int = row[0]
            begin, more = True, True
            for _ in range(MERGE_STEPS):
                if not more:
                    break
                more = await self._change(namespace, _merging(number, begin=begin), HEAVY, NO_ENTRY)
                begin = False
        await self._writer().empty_log()

    async def expire(self, now_us: int, limit: int) -> int:
        found: dict[str, list[Place]] = {}
        for namespace, scope, key in self._reader().page(QUERIES["expired_memory"], (now_us, limit)):
            found.setdefault(namespace, []).append(Place(scope, key))
        expired = 0
        for namespace, places in found.items():
            expired += await self._change(
                namespace, _expiring(namespace, places, now_us), ROWS_TO_A_VERSION * len(places)
            )
        return expired

    async def prune(self, before_us: int, after: PastPlace, limit: int) -> PastPlace | None:
        rows = self._reader().page(QUERIES["past_memory_versions"], (*after, before_us, limit))
        found: dict[str, list[int]] = {}
        for version_id, _, namespace in rows:
            found.setdefault(namespace, []).append(version_id)
        for namespace, ids in found.items():
            await self._change(namespace, _pruning(namespace, ids, before_us), ROWS_TO_A_VERSION * len(ids))
        return PastPlace(rows[-1][1], rows[-1][0]) if len(rows) == limit else None

    # Rules and statistics

    async def rules(self, namespace: str, version: int | None = None) -> StoredRules | None:
        reader = self._reader()
        if version is not None:
            row = reader.one(QUERIES["memory_rules_version"], (namespace, version))
            return None if row is None else StoredRules(*row)
        kept = self._fresh.get(namespace, RULES)
        if kept is None:
            row = reader.one(QUERIES["memory_rules"], (namespace,))
            kept = NOTHING if row is None else StoredRules(*row)
            self._fresh.keep(namespace, RULES, kept, 0 if row is None else len(row[3]))
        return kept if isinstance(kept, StoredRules) else None

    async def put_rules(self, namespace: str, rules: bytes, principal: str, time_us: int, expected: int | None) -> int:
        def put(connection: sqlite3.Connection) -> int | Refused:
            return writing.put_rules(connection, namespace, rules, (time_us, principal), expected)

        return await self._change(namespace, put, touched=(RULES,))  # type: ignore[no-any-return]

    async def add_reads(self, namespace: str, reads: Sequence[KeyReads]) -> None:
        await self._change(namespace, lambda at: writing.add_reads(at, namespace, reads), len(reads), NO_ENTRY)

    async def read_counts(self, namespace: str, places: Sequence[Place]) -> list[int]:
        reader, query = self._reader(), QUERIES["count_memory_reads"]
        return [int((reader.one(query, (namespace, *place)) or (0,))[0]) for place in places]

    async def hot(self, namespace: str, limit: int) -> list[KeyReads]:
        return reading.hot(self._reader(), namespace, limit)

    async def never_read(self, namespace: str, scope: str, after: str, limit: int, now_us: int) -> Listed:
        return reading.never_read(self._reader(), namespace, scope, after, limit, now_us)

    async def _change(
        self,
        namespace: str,
        work: Work,
        weight: int = ROWS_TO_A_VERSION,
        touched: Sequence[Name] | None = None,
    ) -> Any:
        """Carry out a change, let go of what it erased, wake those who wait, and return its result.

        `touched` are the entries of which it may change the newest version; without it, all of the namespace.
        """
        once = self._once
        if once is not None:
            work = remembering.once(work, namespace, once)
        writer, change = self._writer(), self._fresh.change(namespace, touched)

        def settled(result: Any) -> None:
            # Also where the caller has gone: those who watch must hear of it, and what was erased must not stay in memory.
            change.over()
            came_of_it = result.outcome if isinstance(result, remembering.Remembered) else result
            if isinstance(came_of_it, Outcome):
                for digest in came_of_it.erased:
                    self._cache.forget(namespace, Digest(digest))
                self._ring(namespace)

        try:
            outcome: Any = await writer.submit(Change(work, weight, settled), namespace)
        except Unavailable:
            change.over()  # It may not even have been taken.
            raise
        if once is not None:
            outcome, once.position = outcome
        return outcome.result if isinstance(outcome, Outcome) else outcome

    def _ring(self, namespace: str) -> None:
        bell = self._bells.pop(namespace, None)
        if bell is not None:
            bell.set()


def _merging(number: int, *, begin: bool) -> Work:
    return lambda connection: index.merge(connection, number, begin=begin)


def _expiring(namespace: str, places: list[Place], now_us: int) -> Work:
    return lambda connection: erasing.expire(connection, namespace, places, now_us)


def _pruning(namespace: str, ids: list[int], before_us: int) -> Work:
    return lambda connection: erasing.prune(connection, namespace, ids, before_us)
