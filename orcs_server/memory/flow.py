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

NAMES_KEPT: Final = 5
"""Names of what came from outside, for people."""
NAME_LIMIT: Final = 60
SOURCES_KEPT: Final = 64
"""Sources that are named with what an attempt writes; more are counted."""


class _Stored(Struct, omit_defaults=True):
    trust: Trust
    sources: tuple[Source, ...]
    left_out: int
    outside: tuple[str, ...] = ()


class ReadSet:
    """What one attempt has read. The runner holds it and stores it (`dump`) with the attempt's journal, since an attempt
    that goes on after a restart replays what it read and must not become more trusted by that.
    """

    def __init__(self) -> None:
        self.trust = Trust.OPERATOR
        """That of the least trusted that was read."""
        self._sources: dict[Source, None] = {}
        self._left_out = 0
        self._outside: dict[str, None] = {}

    @property
    def untrusted(self) -> bool:
        """Whether anything from outside has been read: then a sensitive tool needs an approval."""
        return self.trust <= Trust.EXTERNAL

    def entry(self, entry: MemoryVersion) -> None:
        """Note that an entry's value was read."""
        self._note(EntrySource(entry.scope, entry.key, entry.version), entry.trust)

    def glimpse(self, entry: MemoryVersion) -> None:
        """Note that an entry's key was seen in a list: that, too, is text that its writer chose."""
        self._take(entry.trust, EntrySource(entry.scope, entry.key, entry.version))

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
        self._left_out = max(self._left_out, other._left_out + max(len(new) - room, 0))
        for name in other._outside:
            self._name(name)

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

    @property
    def outside(self) -> tuple[str, ...]:
        """The first few things from outside that were read, as people may be told of them."""
        return tuple(self._outside)

    def dump(self) -> bytes:
        """Return the read set for storage."""
        return msgspec.json.encode(_Stored(self.trust, tuple(self._sources), self._left_out, self.outside))

    @classmethod
    def load(cls, stored: bytes) -> ReadSet:
        """Return the read set that was stored. Raises msgspec.MsgspecError for what is none."""
        kept = msgspec.json.decode(stored, type=_Stored)
        reads = cls()
        reads.trust, reads._left_out = kept.trust, kept.left_out
        reads._sources = dict.fromkeys(kept.sources)
        reads._outside = dict.fromkeys(kept.outside)
        return reads

    def _take(self, trust: Trust, source: Source) -> None:
        self.trust = min(self.trust, trust)
        if trust <= Trust.EXTERNAL:
            self._name(_named(source)[:NAME_LIMIT])

    def _name(self, name: str) -> None:
        if len(self._outside) < NAMES_KEPT:
            self._outside[name] = None

    def _note(self, source: Source, trust: Trust) -> None:
        self._take(trust, source)
        if source in self._sources:
            return
        if len(self._sources) < SOURCES_KEPT:
            self._sources[source] = None
        else:
            self._left_out += 1


def _named(source: Source) -> str:
    match source:
        case EntrySource():
            return f"{source.scope} {source.key}"
        case OutputSource():
            return f"the output of {source.task_id or source.workflow_id}"
        case ExternalSource():
            return source.name
