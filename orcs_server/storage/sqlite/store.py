"""The store in one SQLite file: WAL, a durable group commit, readers that see what is committed."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orcs_server.identity.quotas import NO_QUOTAS, Quotas, day_of
from orcs_server.storage import blobs as at_rest
from orcs_server.storage.agents import AgentStore
from orcs_server.storage.audit import AuditDraft, AuditStore
from orcs_server.storage.codec import (
    damaged,
    decode_input,
    decode_message,
)
from orcs_server.storage.journal import (
    NOTHING_SPENT,
    JournalEntry,
    JournalHead,
    JournalKey,
    JournalRows,
    Spent,
)
from orcs_server.storage.memory import MemoryStore
from orcs_server.storage.people import Freeze, InputFilter, InputKey, StoredInput
from orcs_server.storage.sqlite import batch, journal, people, retention, usage
from orcs_server.storage.sqlite.agents import SqliteAgents
from orcs_server.storage.sqlite.audit import SqliteAudit
from orcs_server.storage.sqlite.decoding import any_of, conditions_of, event_of, live_of, summary_of, task_of
from orcs_server.storage.sqlite.faults import probe_room, startup_error
from orcs_server.storage.sqlite.lock import FileLock
from orcs_server.storage.sqlite.memory.store import SqliteMemory
from orcs_server.storage.sqlite.migrate import create_file
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader
from orcs_server.storage.sqlite.writer import Writer, closed, stuck
from orcs_server.storage.store import (
    Blob,
    EventRecord,
    Fault,
    FinishedWorkflow,
    LiveWorkflow,
    PageKey,
    RequestKey,
    RequestRecord,
    Snapshot,
    StoredTask,
    StoredWorkflow,
    WorkflowFilter,
    WorkflowSummary,
    Write,
)
from orcs_server.storage.usage import Holdings, UsageCounts, UsageDay
from orcs_server.workflow.model import Digest, Usage
from orcs_server.workflow.people import PendingInput
from orcs_server.workflow.states import TaskStatus

PACK_ON_LOOP = 64 * 1024
"""Bytes up to which a blob is compressed on the event loop, which is quicker than a thread for it."""


class SqliteStore:
    """A `Store` in a file of this machine, for one server at a time."""

    def __init__(self, path: Path | str, quotas: Quotas = NO_QUOTAS) -> None:
        self._quotas = quotas
        self._path = Path(path).absolute()
        self._lock = FileLock(self._path)
        self._cache = at_rest.BlobCache()
        self._open_writer: Writer | None = None
        self.on_batch: Callable[[int, float], None] | None = None
        """Is told of each transaction that became durable: its writes, and the seconds that it took. Set it before `open`."""
        self._open_reader: Reader | None = None
        self._memory = SqliteMemory(lambda: self._writer, lambda: self._reader, self._cache, _pack, quotas)
        self._audit = SqliteAudit(self._submit, lambda: self._reader)
        self._agents = SqliteAgents(lambda: self._writer, lambda: self._reader)

    @property
    def epoch(self) -> str:
        return self._writer.epoch

    @property
    def memory(self) -> MemoryStore:
        return self._memory

    @property
    def audit(self) -> AuditStore:
        return self._audit

    @property
    def agents(self) -> AgentStore:
        return self._agents

    @property
    def _writer(self) -> Writer:
        if self._open_writer is None:
            raise closed()
        return self._open_writer

    @property
    def _reader(self) -> Reader:
        if self._open_reader is None:
            raise closed()
        return self._open_reader

    async def open(self) -> None:
        self._lock.acquire()
        try:
            create_file(self._path)
            writer = Writer(self._path)
            try:
                await writer.start()
                self._open_reader = Reader(self._path)
            except BaseException:
                await writer.finish()
                raise
            writer.on_batch = self.on_batch
            self._open_writer = writer
        except sqlite3.Error as error:
            self._lock.release()
            raise startup_error(self._path, error) from error
        except BaseException:
            self._lock.release()
            raise

    async def close(self) -> None:
        writer, self._open_writer = self._open_writer, None
        reader, self._open_reader = self._open_reader, None
        self._memory.release()
        try:
            if reader is not None:
                await reader.close()
        finally:
            if writer is not None:
                await writer.finish()
            self._lock.release()

    async def check(self) -> None:
        self._reader.check()
        if self._writer.damaged:
            raise damaged("the data file has damaged pages")
        if self._writer.stalled:
            raise stuck()
        if self._writer.faulty:
            await asyncio.to_thread(probe_room, self._path)
            await self._writer.submit(batch.Change(lambda connection: connection.execute(QUERIES["probe"]).rowcount))
            self._writer.faulty = False
            self._writer.fault = None

    @property
    def fault(self) -> Fault | None:
        """What keeps the storage from taking writes now; None if nothing is known to."""
        writer = self._open_writer
        if writer is None:
            return None
        if writer.damaged:
            return Fault(full=False, text="The data file is damaged: restore it from a backup.")
        return Fault(full=False, text=stuck().message) if writer.stalled else writer.fault

    @property
    def failures(self) -> int:
        """Transactions that did not go through."""
        return 0 if self._open_writer is None else self._open_writer.failures

    async def free_bytes(self) -> int:
        """Return what is free on the disk of the data file."""
        return (await asyncio.to_thread(shutil.disk_usage, self._path.parent)).free

    # Workflows

    async def commit(self, write: Write) -> None:
        packed = await _pack(write.blobs) if write.blobs else ()
        quota = None if write.base_seq else self._quotas.of(write.namespace)
        limited = quota is not None and quota.limits_creation
        await self._writer.submit(batch.Commit(write, packed, quota if limited else None), write.namespace)
        self._remember(write.namespace, write.blobs)

    async def delete(self, write: Write) -> None:
        for digest in await self._writer.submit(batch.Erasure(write), write.namespace):
            self._cache.forget(write.namespace, digest)

    async def load(self, namespace: str, workflow_id: str) -> StoredWorkflow | None:
        snapshot = await self.snapshot(namespace, workflow_id)
        if snapshot is None:
            return None
        summary = snapshot.summary
        return StoredWorkflow(
            summary.spec,
            summary.progress,
            summary.seq,
            summary.caller,
            snapshot.tasks,
            snapshot.inputs,
            snapshot.mail,
        )

    async def live(self) -> list[LiveWorkflow]:
        async with self._reader.transaction() as read:
            return await read.all(QUERIES["live_workflows"], (), live_of)

    async def finished_before(
        self, before_us: int, limit: int, after: FinishedWorkflow | None = None
    ) -> list[FinishedWorkflow]:
        return retention.finished(self._reader, before_us, limit, after)

    async def get_summary(self, namespace: str, workflow_id: str) -> WorkflowSummary | None:
        row = self._reader.one(QUERIES["get_workflow"], (namespace, workflow_id))
        return None if row is None else summary_of(namespace, row)

    async def list_summaries(
        self, namespace: str, where: WorkflowFilter, page_size: int, after: PageKey | None = None
    ) -> list[WorkflowSummary]:
        conditions, parameters = conditions_of(namespace, where, after)
        query = QUERIES["list_workflows"].replace("/*conditions*/", conditions)
        rows = self._reader.page(query, (namespace, *parameters, page_size))
        return [summary_of(namespace, row) for row in rows]

    async def snapshot(self, namespace: str, workflow_id: str) -> Snapshot | None:
        async with self._reader.transaction(namespace) as read:
            row = read.one(QUERIES["get_workflow"], (namespace, workflow_id))
            if row is None:
                return None
            summary = summary_of(namespace, row)
            identity = (namespace, workflow_id)
            tasks = await read.all(QUERIES["all_tasks"], identity, task_of)
            inputs = await read.all(QUERIES["all_inputs"], identity, decode_input)
            return Snapshot(summary, tasks, inputs, await read.all(QUERIES["all_mail"], identity, decode_message))

    async def get_task(self, namespace: str, workflow_id: str, task_id: str) -> StoredTask | None:
        row = self._reader.one(QUERIES["get_task"], (namespace, workflow_id, task_id))
        return None if row is None else task_of(*row)

    async def list_tasks(
        self,
        namespace: str,
        workflow_id: str,
        after_ordinal: int = -1,
        limit: int = 100,
        statuses: Sequence[TaskStatus] = (),
    ) -> list[StoredTask]:
        query = QUERIES["list_tasks"].replace("/*conditions*/", any_of("status", statuses))
        rows = self._reader.page(query, (namespace, workflow_id, after_ordinal, *statuses, limit))
        return [task_of(*row) for row in rows]

    # People

    async def list_inputs(
        self, namespace: str, where: InputFilter, page_size: int, after: InputKey | None = None
    ) -> list[StoredInput]:
        return people.inputs(self._reader, namespace, where, page_size, after)

    async def get_input(self, namespace: str, workflow_id: str, input_id: str) -> PendingInput | None:
        return people.one_input(self._reader, namespace, workflow_id, input_id)

    async def freezes(self) -> list[Freeze]:
        return people.freezes(self._reader)

    async def put_freeze(
        self, freeze: Freeze, request: RequestRecord | None = None, audit: AuditDraft | None = None
    ) -> None:
        await self._writer.submit(people.put_freeze(freeze, request, audit), freeze.namespace)

    async def end_freeze(self, namespace: str) -> None:
        await self._writer.submit(people.end_freeze(namespace), namespace)

    # Usage

    async def usage_days(self, namespace: str, first_day: int, last_day: int) -> list[UsageDay]:
        return usage.days(self._reader, namespace, first_day, last_day)

    async def usage_of_all(self, day: int) -> dict[str, UsageDay]:
        return usage.of_all(self._reader, day)

    async def add_usage(self, namespace: str, time_us: int, consumed: Usage) -> None:
        day = UsageDay(day_of(time_us), UsageCounts(consumed))
        await self._writer.submit(batch.Change(lambda connection: usage.add(connection, namespace, day)), namespace)

    async def holdings(self, namespace: str) -> Holdings:
        return usage.holdings(self._reader, namespace)

    async def prune_usage(self, before_day: int, limit: int) -> int:
        pruned: int = await self._writer.submit(retention.forget_usage(before_day, limit))
        return pruned

    # Events

    async def events(self, namespace: str, workflow_id: str, after_seq: int, limit: int) -> list[EventRecord]:
        return [
            event_of(*row) for row in self._reader.page(QUERIES["events"], (namespace, workflow_id, after_seq, limit))
        ]

    async def events_after_position(self, namespace: str, position: int, limit: int) -> list[EventRecord]:
        rows = self._reader.page(QUERIES["events_after_position"], (position, namespace, limit))
        return [event_of(*row) for row in rows]

    async def last_position(self) -> int:
        position: int = self._reader.one(QUERIES["last_position"])[0]
        return position

    async def oldest_seq(self, namespace: str, workflow_id: str) -> int | None:
        seq: int | None = self._reader.one(QUERIES["oldest_seq"], (namespace, workflow_id))[0]
        return seq

    # Blobs

    async def blob(self, namespace: str, digest: Digest) -> bytes:
        content = self._cache.get(namespace, digest)
        if content is None:
            row = self._reader.one(QUERIES["get_blob"], (namespace, digest))
            if row is None:
                raise damaged(f"blob {digest} is missing")
            content = at_rest.unpack(*row)
            self._cache.put(namespace, digest, content)
        return content

    async def put_blobs(self, namespace: str, blobs: Sequence[Blob]) -> None:
        packed = await _pack(blobs)
        await self._writer.submit(
            batch.Change(lambda connection: batch.add_blobs(connection, namespace, packed), len(packed)), namespace
        )
        self._remember(namespace, blobs)

    async def prune_blobs(self, after: tuple[str, str], limit: int) -> tuple[str, str] | None:
        place, unused = retention.unused_blobs(self._reader, after, limit)
        if unused:
            for namespace, digest in await self._writer.submit(retention.erase_blobs(unused)):
                self._cache.forget(namespace, digest)
        return place

    async def _submit(self, namespace: str, weight: int, change: Callable[[sqlite3.Connection], Any]) -> Any:
        return await self._writer.submit(batch.Change(change, weight), namespace)

    def _remember(self, namespace: str, blobs: Sequence[Blob]) -> None:
        for blob in blobs:
            self._cache.put(namespace, blob.digest, blob.data)

    # Journals

    async def open_journal(self, key: JournalKey, attempt: int) -> JournalRows:
        def take_over(connection: sqlite3.Connection) -> None:
            journal.take_over(connection, key, attempt)

        await self._writer.submit(batch.Change(take_over), key.namespace)
        return journal.rows(self._reader, key)

    async def append_journal(
        self,
        key: JournalKey,
        attempt: int,
        entries: Sequence[JournalEntry],
        blobs: Sequence[Blob] = (),
        spent: Spent = NOTHING_SPENT,
    ) -> None:
        await self._writer.submit(journal.Append(key, attempt, entries, await _pack(blobs), spent), key.namespace)
        self._remember(key.namespace, blobs)

    async def journal_heads(self, namespace: str, workflow_id: str) -> dict[str, JournalHead]:
        return journal.heads(self._reader, namespace, workflow_id)

    # Requests

    async def find_request(self, key: RequestKey) -> RequestRecord | None:
        row = self._reader.one(QUERIES["find_request"], key)
        return None if row is None else RequestRecord(key, *row)

    async def prune_requests(self, before_us: int, limit: int) -> int:
        pruned: int = await self._writer.submit(retention.forget_requests(before_us, limit))
        return pruned


async def _pack(blobs: Sequence[Blob]) -> Sequence[at_rest.PackedBlob]:
    return [
        at_rest.pack(blob.digest, blob.data)
        if len(blob.data) <= PACK_ON_LOOP
        else await asyncio.to_thread(at_rest.pack, blob.digest, blob.data)
        for blob in blobs
    ]
