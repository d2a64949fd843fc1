"""What callers ask of memory, as plain values: read from any wire, checked nowhere yet. An empty text means not given."""

from __future__ import annotations

from msgspec import Struct

from orcs_server.memory.changes import Change


class MemoryLookup(Struct, frozen=True):
    """For whom a key is looked up where no scope is named."""

    workflow_id: str = ""
    task_id: str = ""
    agent: str = ""


class MemoryPast(Struct, frozen=True):
    """Which past; at most one is given."""

    version: int | None = None
    time_us: int | None = None
    cursor: str | None = None

    @property
    def given(self) -> bool:
        """Whether any is."""
        return not (self.version is None and self.time_us is None and self.cursor is None)


class MemoryChangeWish(Struct, frozen=True):
    """A change, and where in its request it stands: `put`, `changes[3].delete`."""

    at: str
    change: Change


class MemoryWatchWish(Struct, frozen=True):
    """What to watch, and from where."""

    scope: str = ""
    prefix: str = ""
    after_cursor: str = ""
    heartbeat_us: int | None = None
