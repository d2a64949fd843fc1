"""Memory as a store keeps it: versions of keys, what is known of each, and what goes in and out of a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from orcs_server.workflow.model import Digest

if TYPE_CHECKING:
    from orcs_server.storage.store import Blob

VERSIONS_KEPT = 100
"""Versions of a key that are kept, however young; older ones go with the write that makes one too many."""
ENTRIES_LIMIT = 2_000_000
"""Keys with a value that a namespace may have."""
SNAPSHOTS_LIMIT = 1000
"""Snapshots that a namespace may have."""
RULE_VERSIONS_KEPT = 100
SCAN = 1200
"""Versions that one page looks at, at most: it may hold less than was asked for, and still not be the last. More than a key can
have: those that are kept, and one for each snapshot."""


class Trust(IntEnum):
    """Where a value comes from, the least trusted first."""

    EXTERNAL = 0
    """A web page, a tool's answer, a file: whoever wrote it does not answer for it here."""
    AGENT = 1
    CLIENT = 2
    OPERATOR = 3


class Writer(Struct, frozen=True):
    """Who wrote: a client (principal), or an agent at work for it."""

    principal: str = ""
    agent: str = ""
    workflow_id: str = ""
    task_id: str = ""
    attempt: int = 0


class EntrySource(Struct, frozen=True, tag="entry"):
    """A version that the writer had read."""

    scope: str
    key: str
    version: int


class OutputSource(Struct, frozen=True, tag="output"):
    """A task's output that the writer had read."""

    workflow_id: str
    task_id: str
    """Empty: what the whole workflow came to, for one that continues it."""


class ExternalSource(Struct, frozen=True, tag="external"):
    """Something from outside that the writer had read, by a name: a tool, a host."""

    name: str


Source = EntrySource | OutputSource | ExternalSource


class RunFilter(NamedTuple):
    """What wrote: a workflow, one of its tasks, one attempt."""

    workflow_id: str
    task_id: str | None = None
    attempt: int | None = None

    def wrote(self, writer: Writer) -> bool:
        """Say whether it is this that wrote."""
        return (
            writer.workflow_id == self.workflow_id
            and self.task_id in (None, writer.task_id)
            and self.attempt in (None, writer.attempt)
        )

    def overlaps(self, other: RunFilter) -> bool:
        """Say whether there can be a writer that both mean."""
        return (
            self.workflow_id == other.workflow_id
            and (None in (self.task_id, other.task_id) or self.task_id == other.task_id)
            and (None in (self.attempt, other.attempt) or self.attempt == other.attempt)
        )


class Origin(Struct, frozen=True, omit_defaults=True):
    """What a version was made from."""

    sources: tuple[Source, ...] = ()
    left_out: int = 0
    """Sources that did not fit."""
    restored: int = 0
    """The version of the same key that this one repeats; 0 for none."""
    shared: EntrySource | None = None
    """The version of which this is a copy in another scope."""
    call: str = ""
    """The idempotency key of the tool call that wrote it; "" where none did."""
    taken_back: RunFilter | None = None
    """The run whose writing this version took back; None where it took back none."""


NO_ORIGIN = Origin()


class Note(Struct, frozen=True):
    """What is said of every version that a write makes."""

    time_us: int
    writer: Writer
    trust: Trust
    origin: Origin = NO_ORIGIN


class MemoryPut(Struct, frozen=True):
    """Add a version with this value."""

    scope: str
    key: str
    blob: Blob
    media_type: str
    expires_us: int | None = None
    expected: int | None = None
    """The version that the key must be at; 0: it must be absent (or deleted, or expired); None: anything."""


class MemoryDelete(Struct, frozen=True):
    """Add a version that says deleted, if there is anything to delete."""

    scope: str
    key: str
    expected: int | None = None


class MemoryCheck(Struct, frozen=True):
    """Only compare."""

    scope: str
    key: str
    expected: int


MemoryChange = MemoryPut | MemoryDelete | MemoryCheck


class Written(NamedTuple):
    """What a change came to."""

    version: int
    """The new one; 0 where nothing was to be deleted; that which was found for a check."""
    position: int
    """Its place in the log; 0 where nothing was written."""


class MemoryVersion(Struct, frozen=True):
    """One version of a key."""

    scope: str
    key: str
    version: int
    """1, 2, 3… within the key."""
    position: int
    """Its place among all changes of the namespace: 1, 2, 3…"""
    until: int | None
    """The position of the version that followed; None: it is the newest."""
    digest: Digest
    """Empty for a deletion."""
    media_type: str
    size: int
    deleted: bool
    trust: Trust
    time_us: int
    expires_us: int | None
    writer: Writer
    origin: Origin

    def live(self, now_us: int) -> bool:
        """Say whether it holds a value at that time."""
        return not self.deleted and (self.expires_us is None or self.expires_us > now_us)


class MemoryValue(NamedTuple):
    """A version with its value."""

    entry: MemoryVersion
    value: bytes


class Moment(NamedTuple):
    """A point in a namespace's history."""

    position: int
    time_us: int


class Listed(NamedTuple):
    """A page of keys."""

    entries: list[MemoryVersion]
    after: str | None
    """The key after which the next page begins; None at the end."""


class Changes(NamedTuple):
    """A piece of a namespace's log."""

    versions: list[MemoryVersion]
    """By position."""
    position: int
    """The place up to which the log was read: where to go on."""


class SearchQuery(NamedTuple):
    """What is searched for."""

    words: Sequence[str]
    scopes: Sequence[str] | None = None
    """Any of these; None: in all."""
    any_word: bool = False
    """Entries that hold any of the words are found, not only those that hold all."""
    may: Callable[[str, str], bool] = lambda _scope, _key: True
    """Says which entries may be shown, by scope and key."""
    offset: int = 0
    limit: int = 100


class Hit(NamedTuple):
    """An entry that a search has found."""

    id: int
    """The store's own number of the version."""
    entry: MemoryVersion
    score: float
    """The higher, the better; 0.0 where all words are too common to rank by."""


class MemorySnapshot(Struct, frozen=True):
    """A scope as of one moment. It holds no values: it keeps the versions of its moment from being let go."""

    number: int
    """1, 2, 3… within the namespace."""
    scope: str
    position: int
    time_us: int
    title: str
    principal: str


class Difference(NamedTuple):
    """A key that is not the same at two moments."""

    key: str
    before: MemoryVersion | None
    after: MemoryVersion | None


class Compared(NamedTuple):
    """A page of differences."""

    differences: list[Difference]
    after: str | None
    """The key after which the next page begins; None at the end."""


class Rewound(NamedTuple):
    """A page of what was put back."""

    changed: int
    after: str | None
    """The key after which the next page begins; None at the end."""


class Place(NamedTuple):
    """A key of a namespace."""

    scope: str
    key: str


class Undone(NamedTuple):
    """A page of what was taken back of a run."""

    reverted: list[Place]
    """Put back to what they were before, or deleted where they were not there."""
    overwritten: list[Place]
    """Written by somebody else since, and left alone: look at these."""
    forgotten: list[Place]
    """Deleted because what was there before is no longer kept."""
    already: list[Place]
    """Nothing of the run is there any more, since it was taken back before, say; left as they are."""
    after: Place | None
    """After which the next page begins; None at the end."""


class Traces(NamedTuple):
    """What a stretch of a namespace's entries has to do with a run."""

    copies: list[Place]
    """Their newest version repeats one of the run's, or is a copy of one."""
    derived: list[Place]
    """Written by others, who had read what the run wrote."""
    after: Place | None
    """After which the next stretch begins; None at the end."""


class PastPlace(NamedTuple):
    """Where the search for versions that are past has come to."""

    past_us: int = -1
    id: int = 0


class StoredRules(NamedTuple):
    """A namespace's access rules."""

    version: int
    time_us: int
    principal: str
    rules: bytes


class KeyReads(NamedTuple):
    """How often a key was read."""

    scope: str
    key: str
    reads: int
    last_us: int
