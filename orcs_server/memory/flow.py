"""Where information flows: what an attempt has read decides how far what it writes may be trusted."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from orcs_server.storage.memory_rows import (
    EntrySource,
    ExternalSource,
    MemoryVersion,
    Origin,
    OutputSource,
    Source,
    Trust,
)

SOURCES_KEPT: Final = 64
"""Sources that are named with what an attempt writes; more are counted."""


class _Stored(Struct, omit_defaults=True):
    trust: Trust
    sources: tuple[Source, ...]
    left_out: int


class ReadSet:
    """What one attempt has read. The runner holds it and stores it (`dump`) with the attempt's journal, since an attempt
    that goes on after a restart replays what it read and must not become more trusted by that.
    """

    def __init__(self) -> None:
        self.trust = Trust.OPERATOR
        """That of the least trusted that was read."""
        self._sources: dict[Source, None] = {}
        self._left_out = 0

    @property
    def untrusted(self) -> bool:
        """Whether anything from outside has been read: then a sensitive tool needs an approval."""
        return self.trust <= Trust.EXTERNAL

    def entry(self, entry: MemoryVersion) -> None:
        """Note that an entry's value was read."""
        self._note(EntrySource(entry.scope, entry.key, entry.version), entry.trust)

    def glimpse(self, entry: MemoryVersion) -> None:
        """Note that an entry's key was seen in a list: that, too, is text that its writer chose."""
        self.trust = min(self.trust, entry.trust)

    def output(self, workflow_id: str, task_id: str, trust: Trust) -> None:
        """Note that the output of a task was read, which is as trusted as that task's own read set says."""
        self._note(OutputSource(workflow_id, task_id), trust)

    def external(self, name: str) -> None:
        """Note that something from outside was read: a tool's answer, a web page."""
        self._note(ExternalSource(name[:200]), Trust.EXTERNAL)

    def label(self, writer: Trust) -> Trust:
        """Return how far something is to be trusted that this writer makes of what was read."""
        return min(writer, self.trust)

    def origin(self, call: str = "") -> Origin:
        """Return what was read, as it is kept with what is written; `call` names the tool call that writes."""
        return Origin(tuple(self._sources), self._left_out, call=call)

    def merge(self, other: ReadSet) -> None:
        """Note everything that another read set holds. Doing it again changes nothing."""
        self.trust = min(self.trust, other.trust)
        new = [source for source in other._sources if source not in self._sources]
        room = max(SOURCES_KEPT - len(self._sources), 0)
        self._sources.update(dict.fromkeys(new[:room]))
        self._left_out = max(self._left_out, other._left_out, len(new) - room)

    @property
    def versions(self) -> dict[tuple[str, str], int]:
        """The latest version that was read of each entry, by scope and key, as far as it is kept."""
        found: dict[tuple[str, str], int] = {}
        for source in self._sources:
            if isinstance(source, EntrySource):
                place = (source.scope, source.key)
                found[place] = max(found.get(place, 0), source.version)
        return found

    @property
    def mark(self) -> tuple[Trust, int, int]:
        """What changes with everything new that is noted."""
        return self.trust, len(self._sources), self._left_out

    def outside(self, limit: int = 5) -> list[str]:
        """Return, for people, the first of the sources, the latest first."""
        return [_named(source) for source in list(reversed(self._sources))[:limit]]

    def dump(self) -> bytes:
        """Return the read set for storage."""
        return msgspec.json.encode(_Stored(self.trust, tuple(self._sources), self._left_out))

    @classmethod
    def load(cls, stored: bytes) -> ReadSet:
        """Return the read set that was stored. Raises msgspec.MsgspecError for what is none."""
        kept = msgspec.json.decode(stored, type=_Stored)
        reads = cls()
        reads.trust, reads._left_out = kept.trust, kept.left_out
        reads._sources = dict.fromkeys(kept.sources)
        return reads

    def _note(self, source: Source, trust: Trust) -> None:
        self.trust = min(self.trust, trust)
        if source in self._sources:
            return
        if len(self._sources) < SOURCES_KEPT:
            self._sources[source] = None
        else:
            self._left_out += 1


def _named(source: Source) -> str:
    match source:
        case EntrySource():
            return f"{source.scope} {source.key}"[:60]
        case OutputSource():
            return f"the output of {source.task_id}"
        case ExternalSource():
            return source.name[:60]
