"""Power cuts: a server's writes and fsyncs are recorded, and the files are put together as a disk may have them after any of them.

What was synced is there. Each write after a file's last fsync may be there, not there, or there up to some sector, whatever
became of those before it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from orcs_client import OrcsClient
from orcs_server.storage.sqlite import SqliteStore
from tests.torture.audits import check_audit
from tests.torture.checks import NAMESPACE, check_pages, check_workflow, read_logs
from tests.torture.load import Load, Story
from tests.torture.recording import DELETE, SYNC, TRUNCATE, Operation, read_trace
from tests.torture.servers import TortureServer

SECTOR = 512
DURABLE = (".db", "-wal", "-journal")


class Cut(NamedTuple):
    """A moment at which the power goes, and what the disk may then hold."""

    before_ns: int
    """Whatever was acknowledged earlier must be there."""
    files: dict[str, bytes]


class CutReport(NamedTuple):
    """What the cuts came to."""

    operations: int
    syncs: int
    cuts: int
    acknowledged: int
    """Commands and events that had been told to a client before a cut and were found after it, over all cuts."""


class _Disk:
    """One file: what is durable of it, and what may be."""

    def __init__(self) -> None:
        self.durable: bytearray | None = None
        self.pending: list[Operation] = []

    def take(self, operation: Operation) -> None:
        if operation.kind != SYNC:
            self.pending.append(operation)
            return
        for each in self.pending:
            self.durable = _applied(self.durable, each, len(each.body))
        self.pending.clear()

    def after_a_cut(self, chance: random.Random) -> bytes | None:
        """Return what may be there, or None for no file."""
        content = None if self.durable is None else bytearray(self.durable)
        way = chance.choice(("nothing", "all", "some", "torn"))
        for operation in self.pending:
            size = len(operation.body)
            if way == "nothing" or (way in ("some", "torn") and chance.random() < 0.5):
                continue
            if way == "torn":
                size = min(size, chance.randrange(size // SECTOR + 1) * SECTOR)
            content = _applied(content, operation, size)
        return None if content is None else bytes(content)


def _applied(content: bytearray | None, operation: Operation, size: int) -> bytearray | None:
    if operation.kind == DELETE:
        return None
    content = bytearray() if content is None else content
    end = operation.offset if operation.kind == TRUNCATE else operation.offset + size
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if operation.kind == TRUNCATE:
        del content[end:]
    else:
        content[operation.offset : end] = operation.body[:size]
    return content


def cuts(trace: Path, number: int, chance: random.Random) -> Iterator[Cut]:
    """Yield so many cuts, each after another operation of the trace."""
    operations = [each for each in read_trace(trace) if each.file.endswith(DURABLE)]
    places = set(chance.sample(range(len(operations)), min(number, len(operations))))
    disks: dict[str, _Disk] = {}
    for place, operation in enumerate(operations):
        disks.setdefault(operation.file, _Disk()).take(operation)
        if place in places:
            later = operations[place + 1 : place + 2]
            found = {name: disk.after_a_cut(chance) for name, disk in disks.items()}
            yield Cut(
                later[0].time_ns if later else operation.time_ns,
                {name: content for name, content in found.items() if content is not None},
            )


async def record(folder: Path, trace: Path, seconds: float, seed: int) -> list[Story]:
    """Run the load on a recorded server, which is killed once in between and at the end; return what clients were told."""
    server = TortureServer(folder)
    await server.fork(trace=trace)
    assert await server.news() is None
    async with OrcsClient(server.address, token=server.token) as client:
        load = Load(client, 14, seed)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(seconds / 2)
        await server.kill()
        await server.fork(trace=trace)
        assert await server.news() is None
        await asyncio.sleep(seconds / 2)
        await server.kill()
        failed = running.done()
        running.cancel()
        await asyncio.wait((running,))
        assert not failed, running.exception()
    await server.close()
    return load.stories


async def check_cut(folder: Path, cut: Cut, stories: list[Story]) -> int:
    """Open what a cut left; return how much of it had been acknowledged, all of which must be there."""
    folder.mkdir()
    for name, content in cut.files.items():
        (folder / name).write_bytes(content)
    data = folder / "orcs.db"
    store = SqliteStore(data)
    await store.open()
    try:
        check_pages(data)
        logs = await read_logs(store)
        await check_audit(store, NAMESPACE, logs)
        present = set()
        for workflow_id, log in logs.items():
            if await check_workflow(store, workflow_id, log) is not None:
                present.add(workflow_id)
        found = 0
        for story in stories:
            told = [message.sequence for time_ns, message in story.seen if time_ns < cut.before_ns]
            given = {name for name, (time_ns, _) in story.acknowledged.items() if time_ns < cut.before_ns}
            names = {type(record.event).__name__ for record in logs.get(story.id, ())}
            found += len(told) + len(given)
            if "WorkflowDeleted" in names:
                assert story.deletion_asked, story.id
                continue
            assert "delete" not in given, story.id
            assert "create" not in given or story.id in present, story.id
            assert "start" not in given or "WorkflowStarted" in names, story.id
            assert len(told) <= len(logs.get(story.id, ())), story.id
    finally:
        await store.close()
    return found


async def run_over_cuts(folder: Path, seconds: float, number: int, seed: int) -> CutReport:
    """Record a load for so long, and check so many cuts of it."""
    trace = folder / "trace"
    stories = await record(folder, trace, seconds, seed)
    operations = list(read_trace(trace))
    found = checked = 0
    for cut in cuts(trace, number, random.Random(seed)):
        found += await check_cut(folder / f"cut{checked}", cut, stories)
        checked += 1
    syncs = sum(operation.kind == SYNC for operation in operations)
    return CutReport(len(operations), syncs, checked, found)
