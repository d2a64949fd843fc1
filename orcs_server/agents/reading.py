"""What one run has read, and how that outlives its attempt: tool results and notes are stored with it, so that an attempt that
replays them is trusted no more than the one that first read them. No Agents SDK here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

from orcs_server.agents.tool_results import reads_in
from orcs_server.memory import ReadSet
from orcs_server.storage.store import Blob, blob_of

PREFIX = "memory:"
"""What the names of notes from memory begin with, in the journal."""


class MemoryNote(NamedTuple):
    """A text that is put before the model, and what was read for it."""

    text: str
    reads: ReadSet


class Feed(Protocol):
    """Gives a run what memory holds for it. Raises Unavailable when the store does not answer."""

    async def begin(self) -> MemoryNote | None:
        """Return what the model is to know before its first call."""

    async def changes(self) -> MemoryNote | None:
        """Return what others have written since that concerns the run."""


class Reading:
    """What one attempt has read, and what it may read without asking."""

    def __init__(
        self,
        reads: ReadSet | None = None,
        feed: Feed | None = None,
        sensitive: frozenset[str] = frozenset(),
        needs_approval: frozenset[str] = frozenset(),
    ) -> None:
        """`sensitive` names tools that need an approval once `reads` is untrusted, `needs_approval` those that always do, beside
        those that are declared so.
        """
        self.reads = ReadSet() if reads is None else reads
        self.feed = feed
        self.sensitive = sensitive
        self.needs_approval = needs_approval

    async def next(self, *, first: bool) -> list[MemoryNote]:
        """Return what is to be put before the model now. Raises Unavailable."""
        if self.feed is None:
            return []
        notes = [await self.feed.begin()] if first else []
        notes.append(await self.feed.changes())
        return [note for note in notes if note is not None]

    def since(self, mark: object) -> bytes | None:
        """Return all that was read, to be stored with what was read since; None if nothing was."""
        return None if self.reads.mark == mark else self.reads.dump()

    def hosted(self, kinds: Iterable[str]) -> None:
        """Note what kinds of items a model has answered with: what a tool of its server has read, nobody here knows."""
        for kind in kinds:
            if kind.endswith("_call") and kind != "function_call":
                self.reads.external(kind)

    def replay_result(self, result: bytes) -> bytes:
        """Note what an earlier attempt had read when it stored a tool's result; return the result."""
        reads = reads_in(result)
        if reads is not None:
            self.replay(reads)
        return result

    def replay(self, stored: bytes) -> None:
        """Note what an earlier attempt has read. Raises msgspec.MsgspecError for what is no read set."""
        self.reads.merge(ReadSet.load(stored))


class _Stored(Struct):
    text: str
    reads: msgspec.Raw


def pack_note(turn: int, note: MemoryNote) -> tuple[str, Blob]:
    """Return a note's name in the journal, and its text and reads as they are stored."""
    blob = blob_of(msgspec.json.encode(_Stored(note.text, msgspec.Raw(note.reads.dump()))))
    return f"{PREFIX}{turn}:{blob.digest}", blob


def digest_in(name: str) -> str:
    """Return the digest in a note's name."""
    return name.rpartition(":")[2]


def unpack_note(stored: str) -> tuple[str, bytes]:
    """Return a note's text and its reads. Raises msgspec.MsgspecError for what is no note."""
    note = msgspec.json.decode(stored, type=_Stored)
    return note.text, bytes(note.reads)
