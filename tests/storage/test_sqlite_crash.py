"""What was acknowledged survives `kill -9`."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from orcs_server.storage.sqlite import SqliteStore
from orcs_server.workflow.restore import restore
from tests.storage.samples import Draft, task

ROOT = Path(__file__).parents[2]
ACKNOWLEDGED_BEFORE_THE_KILL = 200
"""Events, of all workflows together."""
COMMIT_FOR_EVER = """
import asyncio, itertools, sys
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.workflow.events import UsageRecorded
from orcs_server.workflow.model import Usage
from tests.storage.samples import Draft, task

async def one(store, draft):
    await store.commit(draft.create())
    await store.commit(draft.plan(task("t0")))
    await store.commit(draft.begin("t0"))
    for calls in itertools.count(1):
        await store.commit(draft.write(UsageRecorded(1, calls, Usage(calls), "t0"), touched=("t0",)))
        print(draft.id, draft.seq, flush=True)

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await asyncio.gather(*(one(store, Draft(f"w{number}")) for number in range(4)))

asyncio.run(main())
"""


async def test_every_acknowledged_write_is_there_after_a_kill(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}
    committing = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMIT_FOR_EVER, tmp_path / "orcs.db", stdout=PIPE, cwd=ROOT
    )
    assert committing.stdout is not None
    while line := await committing.stdout.readline():
        name, acknowledged_seq = line.decode().split()
        acknowledged[name] = int(acknowledged_seq)
        if sum(acknowledged.values()) > ACKNOWLEDGED_BEFORE_THE_KILL and committing.returncode is None:
            committing.kill()
    await committing.wait()
    assert sorted(acknowledged) == ["w0", "w1", "w2", "w3"]

    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    for workflow_id, seq in acknowledged.items():
        stored = await store.load("default", workflow_id)
        assert stored is not None
        assert stored.seq >= seq
        records = await store.events("default", workflow_id, 0, 100_000)
        assert [record.seq for record in records] == list(range(1, stored.seq + 1))
        draft = Draft(workflow_id)
        draft.create()
        draft.plan(task("t0"))
        draft.begin("t0")
        draft.write(*(record.event for record in records[draft.seq :]))
        assert restore("default", workflow_id, stored.spec, stored.progress, [*stored.tasks]) == draft.current
    await store.close()
