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

EVERY_PAGES: Final = 4000
"""Pages of log (16 MiB) after which a checkpoint is made, as far as can be foretold: more often would copy the same pages again and
again, and wait for the disk each time.
"""
FEWEST_ROWS: Final = 1000
MOST_ROWS: Final = 16_000
"""Rows after which one is made whatever is foretold. Small transactions write some three pages for each row, large ones half a page."""
LOG_PAGES: Final = 10_000
"""Pages of log (40 MiB) at which the writer makes a checkpoint by itself, within a commit."""

_log = logging.getLogger(__name__)


class Checkpoints:
    """Makes them, one at a time. Used from one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._rows = 0
        self._due = FEWEST_ROWS
        self._log_pages = 0
        """Of the log, at the last checkpoint."""
        self._running: asyncio.Task[None] | None = None
        self._alone = asyncio.Lock()

    def written(self, rows: int) -> None:
        """Note that a commit wrote so many rows; begin a checkpoint where it is time for one."""
        self._rows += rows
        if self._rows >= self._due and self._running is None:
            rows, self._rows = self._rows, 0
            self._running = asyncio.create_task(self._make(rows), name="checkpoint")

    @property
    def none_under_way(self) -> asyncio.Lock:
        """To be held while nobody else may make one: the log is emptied only by whoever is alone."""
        return self._alone

    async def finish(self) -> None:
        """Wait for the one under way, and let go of the file."""
        if self._running is not None:
            await asyncio.wait([self._running])
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _make(self, rows: int) -> None:
        try:
            async with self._alone:
                if self._connection is None:
                    self._connection = _connect(self._path)
                pages = await asyncio.to_thread(_checkpoint, self._connection)
        except sqlite3.Error as error:
            # Nothing is lost: the log has it all, and the writer meets the same fault where it is one.
            _log.warning("a checkpoint did not go through, and the log of the data file grows meanwhile: %s", error)
        else:
            # A log that was read to its end is begun anew.
            grown = pages - self._log_pages if pages > self._log_pages else pages
            self._log_pages = pages
            self._due = min(max(EVERY_PAGES * rows // max(grown, 1), FEWEST_ROWS), MOST_ROWS)
        finally:
            self._running = None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0.1, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _checkpoint(connection: sqlite3.Connection) -> int:
    """Copy what can be copied; return how many pages the log has."""
    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)
