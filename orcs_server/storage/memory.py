"""What a store promises about memory. `memory_rows` holds the types that go in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orcs_server.storage.memory_rows import (
    Changes,
    Compared,
    EntrySource,
    Hit,
    KeyReads,
    Listed,
    MemoryChange,
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
from orcs_server.storage.once import Once


class MemoryStore(Protocol):
    """Keeps memory. The namespace is the first argument of everything; no reply depends on another namespace."""

    # Requests

    def bound(self, once: Once) -> MemoryStore:
        """Return this store for the one change of a request: its answer is stored with the change, as JSON of what comes back.

        Raises DuplicateRequest, and changes nothing, where the request was carried out before. Sets `once.position`.
        """
        ...

    async def remember(self, namespace: str, answer: object) -> None:
        """Of a store that is bound: only store the answer, of what took more than one change."""
        ...

    # Writing

    async def write(self, namespace: str, changes: Sequence[MemoryChange], note: Note) -> list[Written]:
        """Carry out all changes, each of another key, or none; return what each came to.

        Raises Conflict (MEMORY_VERSION_STALE) naming every key whose version is not the expected one, and
        ResourceExhausted (QUOTA_EXCEEDED) where there would be more than ENTRIES_LIMIT keys, or where values are put and the
        namespace holds as many bytes as it may.
        """
        ...

    async def copy(self, namespace: str, source: EntrySource, target: Place, note: Note) -> Written:
        """Put a version's value under another key, no more trusted than it was. Raises NotFound (MEMORY_NOT_FOUND)."""
        ...

    async def revert(self, namespace: str, place: Place, version: int, note: Note) -> int:
        """Repeat a version of a key as a new one, no more trusted than it was, and return the key's newest version.

        A deletion is repeated by deleting. Raises NotFound (MEMORY_NOT_FOUND) where there never was one, OutOfRange
        (HISTORY_EXPIRED) where it is no longer kept, IllegalTransition (MEMORY_EXPIRED) where its time to live is over.
        """
        ...

    # Reading

    async def newest(
        self, namespace: str, scope: str, key: str, now_us: int, *, often: bool = False
    ) -> MemoryValue | None:
        """Return the newest version with its value, unless it is deleted or expired. What is read `often` may be kept at hand."""
        ...

    async def version(self, namespace: str, scope: str, key: str, version: int) -> MemoryVersion | None:
        """Return that version, be it a deletion or expired; None where there never was one.

        Raises OutOfRange (HISTORY_EXPIRED) for one that was there and is no longer kept.
        """
        ...

    async def as_of(self, namespace: str, scope: str, key: str, moment: Moment) -> MemoryVersion | None:
        """Return the version that was read then. Raises OutOfRange (HISTORY_EXPIRED) where it is no longer kept."""
        ...

    async def versions(
        self, namespace: str, scope: str, key: str, before: int | None, limit: int
    ) -> list[MemoryVersion]:
        """Return up to `limit` versions of a key before one, the newest first."""
        ...

    async def value(self, namespace: str, entry: MemoryVersion) -> bytes:
        """Return a version's value; nothing for a deletion."""
        ...

    async def page(
        self, namespace: str, scope: str, prefix: str, after: str, limit: int, now_us: int
    ) -> list[MemoryVersion]:
        """Return up to `limit` keys with that prefix after `after` that have a value, by the bytes of their UTF-8."""
        ...

    async def page_as_of(
        self, namespace: str, scope: str, prefix: str, after: str, limit: int, moment: Moment
    ) -> Listed:
        """Return what `page` would have returned then. Raises OutOfRange (HISTORY_EXPIRED)."""
        ...

    async def scopes(self, namespace: str, prefix: str, after: str, limit: int) -> list[str]:
        """Return up to `limit` scopes with that prefix after one that hold anything, be it only history."""
        ...

    async def keys(self, namespace: str, scope: str, after: str, limit: int, now_us: int) -> list[tuple[str, int]]:
        """Return up to `limit` keys of a scope after one that have a value, each with the time of its newest version."""
        ...

    async def newest_change(self, namespace: str, scope: str) -> int | None:
        """Return the time of a scope's newest version, a deletion too; None where it holds nothing.

        Of a scope with more versions than a store looks at in one go, and none of them new, it may be that of an older one.
        """
        ...

    async def moment(self, namespace: str, time_us: int | None = None) -> Moment:
        """Return the last position at that time; without one, now."""
        ...

    async def time_of(self, namespace: str, position: int) -> int:
        """Return the time of the last change up to a position; 0 when there is none."""
        ...

    # Search

    async def search(self, namespace: str, query: SearchQuery, now_us: int) -> list[Hit]:
        """Return a page of the newest text and JSON values that hold the words, best first: of a bounded number of hits."""
        ...

    async def snippets(self, namespace: str, hits: Sequence[Hit], words: Sequence[str]) -> list[str]:
        """Return for each hit the part of its text around the words."""
        ...

    # Watching

    async def changes(self, namespace: str, after: int, limit: int, scope: str | None, prefix: str) -> Changes:
        """Return changes after a position, without a gap. Raises OutOfRange (CURSOR_EXPIRED) where the log has one."""
        ...

    async def wait(self, namespace: str, after: int) -> None:
        """Return once there may be changes after a position."""
        ...

    # Snapshots and ways back

    async def create_snapshot(
        self, namespace: str, scope: str, title: str, principal: str, time_us: int
    ) -> MemorySnapshot:
        """Remember a scope as it is now. Raises ResourceExhausted (QUOTA_EXCEEDED)."""
        ...

    async def snapshots(
        self, namespace: str, scope: str | None, before: int | None, limit: int
    ) -> list[MemorySnapshot]:
        """Return up to `limit` snapshots before a number, the newest first."""
        ...

    async def delete_snapshot(self, namespace: str, number: int) -> bool:
        """Forget a snapshot, and say whether there was one; what only it kept goes with its time."""
        ...

    async def compare(
        self, namespace: str, scope: str, before: Moment, after: Moment, key: str, limit: int
    ) -> Compared:
        """Return up to `limit` keys after `key` that differ between two moments; for snapshots, or whole history."""
        ...

    async def rewind(self, namespace: str, scope: str, to: Moment, after: str, limit: int, note: Note) -> Rewound:
        """Make the keys of a page what they were then, by new versions, in one transaction."""
        ...

    async def undo(self, namespace: str, run: RunFilter, after: Place | None, limit: int, note: Note) -> Undone:
        """Take back, by new versions, what a run wrote to a page of keys, in one transaction."""
        ...

    async def undo_keys(self, namespace: str, run: RunFilter, places: Sequence[Place], note: Note) -> Undone:
        """Take back, by new versions, what a run wrote to these keys, or copies there of what it wrote, in one transaction."""
        ...

    async def traces(self, namespace: str, run: RunFilter, after: Place | None, limit: int, now_us: int) -> Traces:
        """Look at up to `limit` entries for copies of what a run wrote, and for what others have made of it."""
        ...

    # Erasing

    async def purge(self, namespace: str, scope: str, prefix: str, key: str | None, limit: int) -> int:
        """Erase up to `limit` versions of the keys with that prefix, or of one key, values and index included.

        Returns how many; fewer than `limit` means that nothing is left of them.
        """
        ...

    async def scrub(self, namespace: str) -> None:
        """Make sure that what was purged is not left in the index's older parts or in the log of the file."""
        ...

    async def expire(self, now_us: int, limit: int) -> int:
        """Delete up to `limit` expired entries of all namespaces; return how many."""
        ...

    async def prune(self, before_us: int, after: PastPlace, limit: int) -> PastPlace | None:
        """Look at up to `limit` versions that were past before that time and let go of those that no snapshot needs.

        Returns where to go on, None at the end.
        """
        ...

    # Rules and statistics

    async def rules(self, namespace: str, version: int | None = None) -> StoredRules | None:
        """Return the access rules: the newest, or those of a version."""
        ...

    async def put_rules(self, namespace: str, rules: bytes, principal: str, time_us: int, expected: int | None) -> int:
        """Store new rules and return their version. Raises Conflict (MEMORY_VERSION_STALE)."""
        ...

    async def add_reads(self, namespace: str, reads: Sequence[KeyReads]) -> None:
        """Add to what is known of how often keys are read."""
        ...

    async def read_counts(self, namespace: str, places: Sequence[Place]) -> list[int]:
        """Return how often each of these keys was read."""
        ...

    async def hot(self, namespace: str, limit: int) -> list[KeyReads]:
        """Return the keys that were read most."""
        ...

    async def never_read(self, namespace: str, scope: str, after: str, limit: int, now_us: int) -> Listed:
        """Return keys of a scope that have a value and were never read: a page."""
        ...
