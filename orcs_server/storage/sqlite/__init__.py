"""The store in one SQLite file: one writer with group commit, readers on the event loop, and a lock against a second server."""

from orcs_server.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
