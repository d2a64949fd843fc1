"""The one connection that writes. While a batch is committed in the connection's own thread, the next one gathers.

Only the commit, which waits for the disk, and heavy batches run in the thread; the statements of a light batch run on the
event loop. Each statement in a thread gives up the interpreter lock several times and has to get it back from a loop that may
be busy: a batch of 32 writes, 2 ms of work, then took 6 ms to 3 s. The commit needs it back too: a server sets
`sys.setswitchinterval` to 50 µs, since with Python's 5 ms a busy loop starves it (15 to 7,000 commits/s instead of 8,000).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from pathlib import Path
from time import monotonic, time_ns
from typing import Any, NamedTuple

import aiosqlite

from orcs_server.errors import Unavailable
from orcs_server.identity.fairness import Turns
from orcs_server.storage.sqlite.batch import LogEnd, Operation, run_together
from orcs_server.storage.sqlite.checkpoints import Checkpoints
from orcs_server.storage.sqlite.faults import is_damage, is_fault, is_full, unavailable
from orcs_server.storage.sqlite.migrate import connect_writer
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.store import Fault

_log = logging.getLogger(__name__)

BATCH_LIMIT = 128
"""Operations in one transaction."""
BATCH_WEIGHT = 16_384
"""Rows in one transaction, unless a single operation has more: at most some 100 ms of work that all who wait have to sit out."""
WEIGHT_ON_LOOP = 2048
"""Rows that a batch may write on the event loop: at most some 10 ms of work."""
STALLED_AFTER_S = 10.0
"""A commit that has been under way for so long: the disk is stuck, and whoever brings more is told so at once."""


def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start the writer's work: in a context of its own, since it is for everybody and not for whoever comes first."""
    return asyncio.create_task(work, name="storage writer", context=Context())


class Refused:
    """The outcome of an operation that did not go through."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Waiting(NamedTuple):
    """An operation, and who waits for its outcome."""

    operation: Operation
    future: asyncio.Future[Any]


class Writer(aiosqlite.Connection):
    """Commits operations in groups: one transaction and one wait for the disk for all that wait.

    What waits has no limit here: it is one write of each workflow and of each running attempt, and those have limits. Namespaces
    take turns, so that what one of them piles up delays another one's write by a transaction.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(lambda: connect_writer(path), iter_chunk_size=64)
        self._pending: Turns[_Waiting] = Turns()
        self._drain: asyncio.Task[None] | None = None
        self._closing = False
        self._checkpoints = Checkpoints(path)
        self.log = LogEnd(0)
        self.epoch = ""
        self.faulty = False
        """True from when a batch meets a fault of the file or the disk until whoever probes it sets it back."""
        self.damaged = False
        """True once a batch has met a damaged page: mending that takes a restore, and with it a restart."""
        self.failures = 0
        """Transactions that did not go through."""
        self.fault: Fault | None = None
        """What was wrong with the last one, while the writer is faulty."""
        self.on_batch: Callable[[int, float], None] | None = None
        """Is told of each transaction that became durable: its writes, and the seconds that it took."""
        self._began = 0.0
        self._log_emptied: asyncio.Future[None] | None = None
        """Somebody waits for the file's log to be emptied."""

    @property
    def stalled(self) -> bool:
        """True while a commit waits for the disk and has done so for long."""
        return self._drain is not None and monotonic() - self._began > STALLED_AFTER_S

    async def start(self) -> None:
        """Open the file, migrated if need be. Raises StartupError."""
        try:
            await self
        except BaseException:
            # The thread reports to the loop that it ends: it must have done so before the loop is closed.
            await asyncio.to_thread(self._thread.join)
            raise
        self.epoch, self.log.position = await self.transact(_read_start)

    async def transact(self, function: Any, *arguments: Any) -> Any:
        """Return what the function returns, called with the connection in the connection's own thread."""
        return await self._execute(lambda: function(self._conn, *arguments))  # type: ignore[no-untyped-call]

    async def submit(self, operation: Operation, namespace: str = "") -> Any:
        """Return the operation's result once it is durable; raise what was wrong with it.

        The operation goes through even when the caller is cancelled meanwhile. Without a namespace it is the server's own.
        """
        if self.stalled:
            raise stuck()
        if self._closing:
            raise closed()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending.put(namespace, _Waiting(operation, future))
        if self._drain is None:
            self._began = monotonic()
            self._drain = _start(self._commit_all())
        return await future

    async def empty_log(self) -> None:
        """Write everything into the file itself and empty its log, which still holds what was removed.

        A reader that is in the midst of a long read keeps some of it there until the log is emptied another time.
        """
        if self._closing:
            raise closed()
        if self._log_emptied is None:
            self._log_emptied = asyncio.get_running_loop().create_future()
            if self._drain is None:
                self._began = monotonic()
                self._drain = _start(self._commit_all())
        await asyncio.shield(self._log_emptied)

    async def finish(self) -> None:
        """Commit what waits, take no more, and close the file."""
        self._closing = True
        if self._drain is not None:
            await asyncio.wait([self._drain])
        await self._checkpoints.finish()
        await self.close()

    async def _commit_all(self) -> None:
        while self._pending or self._log_emptied is not None:
            self._began = monotonic()
            await self._empty_log()
            batch = self._gather()
            if not batch:
                continue
            outcomes = await self._commit([operation for operation, _ in batch])
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if future.done():
                    continue  # Whoever waited for it was cancelled.
                if isinstance(outcome, Refused):
                    future.set_exception(outcome.error)
                else:
                    future.set_result(outcome)
        self._drain = None

    async def _empty_log(self) -> None:
        """Between two batches: within one, the log cannot be emptied."""
        emptied, self._log_emptied = self._log_emptied, None
        if emptied is None:
            return
        try:
            async with self._checkpoints.none_under_way:
                await self.transact(_empty_log)
        except Exception as error:  # noqa: BLE001  # whatever it was, the writer goes on
            _log.error("the log of the data file was not emptied", exc_info=error)
            emptied.set_exception(unavailable(error))
        else:
            emptied.set_result(None)

    def _gather(self) -> list[_Waiting]:
        """Return what goes into the next transaction."""
        batch: list[_Waiting] = []
        weight = 0
        while len(batch) < BATCH_LIMIT and weight < BATCH_WEIGHT and (waiting := self._pending.take()) is not None:
            batch.append(waiting)
            weight += waiting.operation.weight
        return batch

    async def _commit(self, operations: Sequence[Operation]) -> list[Any]:
        """Carry out a batch in one transaction; return each operation's result, or a Refused.

        A fault of the database (disk, damage) fails them all; anything else only the operation that it comes from.
        """
        start = self.log.position
        began = monotonic()
        try:
            weight = sum(operation.weight for operation in operations)
            if weight <= WEIGHT_ON_LOOP:
                outcomes = begin_batch(self._conn, self.log, operations)
            else:
                outcomes = await self.transact(begin_batch, self.log, operations)
            await self.transact(end_batch)
            self._checkpoints.written(weight)
        except Exception as error:  # noqa: BLE001  # whatever it was, the callers must not wait for ever
            self.log.position = start
            self.faulty = True
            self.failures += 1
            if self.fault is None:
                self.fault = Fault(is_full(error), unavailable(error).message, time_ns() // 1_000)
            self.damaged = self.damaged or is_damage(error)
            _log.error("a batch of %d writes did not go through", len(operations), exc_info=error)
            outcomes = [Refused(unavailable(error)) for _ in operations]
        for operation, outcome in zip(operations, outcomes, strict=True):
            operation.settle(done=not isinstance(outcome, Refused))
        if self.on_batch is not None:
            self.on_batch(len(operations), monotonic() - began)
        return outcomes


def closed() -> Unavailable:
    """Return the error for calls to a store that is not open."""
    return Unavailable("STORAGE_UNAVAILABLE", "The storage is closed; try again when the server is up.")


def stuck() -> Unavailable:
    """Return the error for writes that come while the disk does not take any."""
    return Unavailable("STORAGE_UNAVAILABLE", "The disk of the data file takes very long; try again later.")


def begin_batch(connection: sqlite3.Connection, log: LogEnd, operations: Sequence[Operation]) -> list[Any]:
    """Open a transaction and carry the batch out in it; return each operation's result, or a Refused.

    Faults of the database are raised, and the transaction is rolled back.
    """
    start = log.position
    connection.execute("BEGIN IMMEDIATE")
    try:
        try:
            return run_together(connection, log, operations)
        except Exception as error:
            if is_fault(error):
                raise
            connection.execute("ROLLBACK")
            log.position = start
            connection.execute("BEGIN IMMEDIATE")
            return _run_apart(connection, log, operations)
    except BaseException:
        _roll_back(connection)
        raise


def end_batch(connection: sqlite3.Connection) -> None:
    """Make the open transaction durable. Faults are raised, and the transaction is rolled back."""
    try:
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    # Some faults have rolled back by themselves.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _run_apart(connection: sqlite3.Connection, log: LogEnd, operations: Sequence[Operation]) -> list[Any]:
    outcomes: list[Any] = []
    for operation in operations:
        position = log.position
        connection.execute("SAVEPOINT alone")
        try:
            outcomes.append(operation.run(connection, log))
        except Exception as error:
            if is_fault(error):
                raise
            connection.execute("ROLLBACK TO alone")
            log.position = position
            outcomes.append(Refused(error))
        connection.execute("RELEASE alone")
    return outcomes


def _empty_log(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _read_start(connection: sqlite3.Connection) -> tuple[str, int]:
    (epoch,) = connection.execute(QUERIES["epoch"]).fetchone()
    (position,) = connection.execute(QUERIES["last_position"]).fetchone()
    return epoch, position
