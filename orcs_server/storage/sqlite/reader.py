"""The connections that read. They run on the event loop, in slices: a row fetched in a thread gives up the interpreter lock
and gets it back only when a busy loop lets go of it (up to 5 ms a row), while a point read on the loop takes some 20 µs.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from orcs_server.identity.fairness import Turns
from orcs_server.storage.sqlite.faults import unavailable
from orcs_server.storage.sqlite.queries import QUERIES

T = TypeVar("T")

SLICE = 256
"""Rows decoded before other tasks of the loop get their turn."""


class Reader:
    """Reads a data file, unhindered by the writer. All methods raise Unavailable when the file is at fault."""

    def __init__(self, path: Path) -> None:
        self._brief = _connect(path)
        self._long = _connect(path)
        self._long_in_use = _InTurn()
        self._failed: tuple[str, Sequence[object]] | None = None
        """The last read that the file was at fault for."""

    def one(self, query: str, parameters: Sequence[object] = ()) -> Any:
        """Return the first row, or None."""
        try:
            return self._brief.execute(query, parameters).fetchone()
        except sqlite3.Error as error:
            self._failed = query, parameters
            raise unavailable(error) from error

    def page(self, query: str, parameters: Sequence[object]) -> list[Any]:
        """Return all rows; for queries with a limit."""
        try:
            return self._brief.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            self._failed = query, parameters
            raise unavailable(error) from error

    def check(self) -> None:
        """Return when the file can be read; after a read that could not be done, when that one can be done again."""
        if self._failed is not None:
            # A damaged page would be looked up in memory again.
            self._brief.execute("PRAGMA shrink_memory")
            self.page(*self._failed)
            self._failed = None
        self.one(QUERIES["epoch"])

    @asynccontextmanager
    async def transaction(self, namespace: str = "") -> AsyncIterator[LongRead]:
        """Read any number of rows as of one moment. Those who wait for it get it in turn among their namespaces."""
        async with self._long_in_use.by(namespace):
            read = LongRead(self._long)
            try:
                self._long.execute("BEGIN")
                try:
                    yield read
                finally:
                    self._long.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._failed = read.last
                raise unavailable(error) from error

    async def close(self) -> None:
        """Wait for the long read under way and let go of the file."""
        async with self._long_in_use.by(""):
            self._long.close()
        self._brief.close()


class _InTurn:
    """A lock that namespaces get in turn."""

    def __init__(self) -> None:
        self._waiting: Turns[asyncio.Future[None]] = Turns()
        self._locked = False

    @asynccontextmanager
    async def by(self, namespace: str) -> AsyncIterator[None]:
        if self._locked:
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.put(namespace, mine)
            try:
                await asyncio.shield(mine)
            except asyncio.CancelledError:
                self._waiting.drop(namespace, mine)
                if mine.done():
                    self._pass_on()
                raise
        self._locked = True
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        following = self._waiting.take()
        self._locked = following is not None
        if following is not None:
            following.set_result(None)


class LongRead:
    """A read transaction that is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.last: tuple[str, Sequence[object]] | None = None
        """What was read last."""

    def one(self, query: str, parameters: Sequence[object]) -> Any:
        """Return the first row, or None."""
        self.last = query, parameters
        return self._connection.execute(query, parameters).fetchone()

    async def all(self, query: str, parameters: Sequence[object], decode: Callable[..., T]) -> list[T]:
        """Return every row, decoded, letting other tasks have their turn now and then."""
        self.last = query, parameters
        decoded: list[T] = []
        cursor = self._connection.execute(query, parameters)
        try:
            while rows := cursor.fetchmany(SLICE):
                decoded += [decode(*row) for row in rows]
                if len(rows) < SLICE:
                    break
                await asyncio.sleep(0)
        finally:
            cursor.close()
        return decoded


def _connect(path: Path) -> sqlite3.Connection:
    # The writer never blocks readers under WAL; the short timeout is for other programs that touch the file.
    connection = sqlite3.connect(path, timeout=0.1, isolation_level=None, cached_statements=64)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -2048")
    except BaseException:
        connection.close()
        raise
    return connection
