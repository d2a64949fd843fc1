"""Checkpoints: what stands in the file's log is copied into the file itself, beside the commits and not within one.

A commit that carries a checkpoint takes tens of milliseconds, and in a large file, in which writes touch more pages, more than one
in a hundred did: that was the p99 of a put. So a connection of its own does it in a thread of its own, which hinders neither
readers nor the writer. Only a log that is never read to its end, because commits keep coming, is still cut by the writer:
`LOG_PAGES`.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Final

EVERY_ROWS: Final = 1500
"""Rows after whose commits a checkpoint is made: some 4,000 pages of log where they come in small transactions."""
LOG_PAGES: Final = 10_000
"""Pages of log (40 MiB) at which the writer makes a checkpoint by itself, within a commit."""

_log = logging.getLogger(__name__)


class Checkpoints:
    """Makes them, one at a time. Used from one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0
        self._running: asyncio.Task[None] | None = None
        self._alone = asyncio.Lock()

    def written(self, rows: int) -> None:
        """Note that a commit wrote so many rows; begin a checkpoint where it is time for one."""
        self._rows += rows
        if self._rows >= EVERY_ROWS and self._running is None:
            self._rows = 0
            self._running = asyncio.create_task(self._make(), name="checkpoint")

    @property
    def none_under_way(self) -> asyncio.Lock:
        """To be held while nobody else may make one: the log is emptied only by whoever is alone."""
        return self._alone

    async def finish(self) -> None:
        """Wait for the one under way."""
        if self._running is not None:
            await asyncio.wait([self._running])

    async def _make(self) -> None:
        try:
            async with self._alone:
                await asyncio.to_thread(_checkpoint, self._path)
        except sqlite3.Error as error:
            # Nothing is lost: the log has it all, and the writer meets the same fault where it is one.
            _log.warning("a checkpoint did not go through, and the log of the data file grows meanwhile: %s", error)
        finally:
            self._running = None


def _checkpoint(path: Path) -> None:
    connection = sqlite3.connect(path, timeout=0.1, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    finally:
        connection.close()
