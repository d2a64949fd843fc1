"""Opening a data file: what is created, what is migrated, and what is refused, with a sentence that says what to do."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path

import pytest

from orcs_server.errors import StartupError, Unavailable
from orcs_server.storage.audit import AuditChain, AuditDraft
from orcs_server.storage.journal import JournalHead, JournalKey, ModelCall, Spent
from orcs_server.storage.sqlite import SqliteStore, migrate
from orcs_server.storage.sqlite.examination import examine
from orcs_server.storage.store import blob_of
from orcs_server.workflow.decide import take
from orcs_server.workflow.messages import PauseWorkflow
from orcs_server.workflow.model import StopMode, Usage
from orcs_server.workflow.restore import restore
from tests.storage.samples import START_US, Draft, written_by

ROOT = Path(__file__).parents[2]

HOLD = """
import sys
import threading
from pathlib import Path
from orcs_server.storage.sqlite.lock import FileLock
FileLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


async def refusal(path: Path) -> str:
    with pytest.raises(StartupError) as caught:
        await SqliteStore(path).open()
    return str(caught.value)


async def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    await store.commit(Draft().create())
    for name in ("orcs.db", "orcs.db-wal", "orcs.db.lock"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    await store.close()


async def test_a_second_store_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "orcs.db"), SqliteStore(tmp_path / "orcs.db")
    await first.open()
    assert f"process id {os.getpid()}" in await refusal(tmp_path / "orcs.db")
    await first.close()
    await second.open()
    await second.close()


async def test_a_second_server_is_told_who_holds_the_file_until_that_one_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLD, path, stdin=PIPE, stdout=PIPE, cwd=ROOT)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    assert f"process id {holder.pid}" in await refusal(path)
    holder.kill()
    await holder.communicate()
    store = SqliteStore(path)
    await store.open()
    await store.close()


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    assert "check that its directory exists" in await refusal(tmp_path / "missing" / "orcs.db")


async def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "orcs.db").mkdir()
    assert "cannot be opened for writing" in await refusal(tmp_path / "orcs.db")


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes, not a database\n" * 400)
    assert "not an ORCS data file" in await refusal(path)
    assert path.read_bytes() == b"my notes, not a database\n" * 400


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    assert "another program" in await refusal(path)
    assert path.read_bytes() == before


async def test_a_newer_file_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    message = await refusal(path)
    assert "version 99" in message
    assert f"up to {len(migrate.MIGRATIONS)}" in message
    assert "install a newer orcs" in message


async def test_a_file_damaged_at_its_root_is_refused_at_start(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    await _filled(path)
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * 3996 + content[4096:])
    assert "restore it from a backup" in await refusal(path)


async def test_damage_found_in_use_is_a_clear_error_and_leaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    await _filled(path)
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'workflows'").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    store = SqliteStore(path)
    await store.open()
    for reading in (store.get_summary("default", "w1"), store.load("default", "w1")):
        with pytest.raises(Unavailable, match="damaged; ask the operator"):
            await reading
    with pytest.raises(Unavailable, match="damaged; ask the operator"):
        await store.commit(Draft("w2").create())
    await store.close()


async def test_a_full_disk_is_a_clear_error_and_passes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    draft, lost = Draft("w1"), Draft("w2", title="x" * 200_000)
    await store._writer.transact(_limit_pages, 60)
    with pytest.raises(Unavailable, match="full"):
        await store.commit(lost.create())
    await store._writer.transact(_limit_pages, 1_000_000)
    await store.check()
    await store.commit(draft.create())
    assert await store.last_position() == 1
    await store.close()


async def test_a_file_that_another_program_locks_is_a_clear_error_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    store = SqliteStore(path)
    await store.open()
    draft = Draft("w1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="does not answer"):
            await store.commit(Draft("w1").create())
    await store.commit(draft.create())
    assert await store.last_position() == 1
    await store.close()


def _limit_pages(connection: sqlite3.Connection, pages: int) -> None:
    connection.execute(f"PRAGMA max_page_count = {pages}")


async def test_a_file_written_by_version_1_is_read(tmp_path: Path) -> None:
    path = written_by(1, tmp_path / "orcs.db")
    store = SqliteStore(path)
    await store.open()
    assert store.epoch == "0123456789abcdef"
    stored = await store.load("default", "w1")
    assert stored is not None
    state = restore("default", "w1", stored.spec, stored.progress, [*stored.tasks])
    assert [type(record.event).__name__ for record in await store.events("default", "w1", 0, 100)][
        -1
    ] == "TaskCompleted"
    output = state.tasks["t0"].progress.output
    assert output is not None
    assert await store.blob("default", output.digest) == b"# Result"
    await store.commit(Draft("w2").create())
    assert await store.last_position() == stored.seq + 1
    key, response = JournalKey("default", "w1", "t1", 1), blob_of("response")
    assert await store.journal_heads("default", "w1") == {}
    await store.append_journal(key, 1, [ModelCall("", 0, "hash", response.digest)], [response])
    assert len((await store.open_journal(key, 2)).model_calls) == 1
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrate.MIGRATIONS),)


async def test_a_file_written_by_version_2_is_read(tmp_path: Path) -> None:
    path = written_by(2, tmp_path / "orcs.db")
    store = SqliteStore(path)
    await store.open()
    stored = await store.load("default", "w1")
    assert stored is not None
    state = restore("default", "w1", stored.spec, stored.progress, [*stored.tasks])
    assert [name for _, name in state.running] == ["t1"]
    assert await store.journal_heads("default", "w1") == {"t1": JournalHead(1, Spent(), 1)}
    rows = await store.open_journal(JournalKey("default", "w1", "t1", 1), 2)
    assert [call.turn for call in rows.model_calls] == [0, 1]
    assert [call.result is not None for call in rows.tool_calls] == [True]
    key, response, spent = JournalKey("default", "w1", "t1", 1), blob_of("response"), Spent(1, Usage(1, 7, 0, 3))
    await store.append_journal(key, 2, [ModelCall("", 2, "hash", response.digest)], [response], spent)
    assert await store.journal_heads("default", "w1") == {"t1": JournalHead(2, spent, 2)}
    await store.close()
    assert examine(path).findings == []


async def test_a_file_written_by_version_3_is_read(tmp_path: Path) -> None:
    path = written_by(3, tmp_path / "orcs.db")
    store = SqliteStore(path)
    await store.open()
    live = {row.workflow_id: row for row in await store.live()}
    assert {name: row.idle for name, row in live.items()} == {"w1": False, "w2": True, "w3": False}
    stored = await store.load("default", "w1")
    assert stored is not None
    state = restore("default", "w1", stored.spec, stored.progress, stored.tasks, stored.inputs, stored.mail)
    assert [name for _, name in state.running] == ["t1"]
    # What version 3 did not know of people can be said of its workflows from now on.
    at_us = (await store.events("default", "w1", stored.seq - 1, 1))[0].time_us
    _, events = take(state, PauseWorkflow(StopMode.AFTER_TURN), at_us + 1)
    assert [type(event).__name__ for event in events] == ["WorkflowPausing"]
    await store.close()
    assert examine(path).findings == []


async def test_a_file_written_by_version_6_is_read(tmp_path: Path) -> None:
    path = written_by(6, tmp_path / "orcs.db")
    assert examine(path).findings == []
    store = SqliteStore(path)
    await store.open()
    stored = await store.load("default", "w1")
    assert stored is not None
    found = await store.memory.newest("default", "global", "tea", START_US + 1)
    assert found is not None
    assert found.value == b"green tea"
    # What came before is in no audit log: the chain begins now.
    assert await store.audit.chain("default") == AuditChain()
    await store.audit.append("default", [AuditDraft(START_US, "workflows.pause", "PauseWorkflow")])
    assert (await store.audit.chain("default")).number == 1
    await store.close()
    assert examine(path).findings == []


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "orcs.db", isolation_level=None)) as connection:
        scripts = ("CREATE TABLE one (x);", "CREATE TABLE two (x);\nCREATE TABLE one (x)")
        with pytest.raises(sqlite3.OperationalError):
            migrate.migrate(connection, scripts)
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("one",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        migrate.migrate(connection, (scripts[0], "CREATE TABLE two (x);"))
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


async def _filled(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.commit(Draft("w1").create())
    await store.close()


async def test_a_file_that_becomes_read_only_takes_writes_again_when_it_may(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    await store._writer.transact(lambda connection: connection.execute("PRAGMA query_only = ON"))
    draft, lost = Draft("w1"), Draft("w2")
    for attempt in (store.commit(lost.create()), store.check()):
        with pytest.raises(Unavailable, match="cannot be written any more"):
            await attempt
    await store._writer.transact(lambda connection: connection.execute("PRAGMA query_only = OFF"))
    await store.check()
    await store.commit(draft.create())
    assert [row.workflow_id for row in await store.live()] == ["w1"]
    await store.close()


async def test_while_the_disk_is_stuck_new_writes_are_refused_and_those_under_way_are_stored_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    monkeypatch.setattr("orcs_server.storage.sqlite.writer.STALLED_AFTER_S", 0.0)
    freed = threading.Event()
    stuck = asyncio.create_task(store._writer.transact(lambda _connection: freed.wait(30)))
    await asyncio.sleep(0)
    under_way = asyncio.create_task(store.commit(Draft("w1").create()))
    await asyncio.sleep(0.01)
    refused = store.commit(Draft("w2").create())
    for attempt in (refused, store.check()):
        with pytest.raises(Unavailable, match="takes very long"):
            await attempt
    assert not under_way.done()
    freed.set()
    await asyncio.gather(stuck, under_way)
    await store.check()
    assert [row.workflow_id for row in await store.live()] == ["w1"]
    await store.close()


async def test_a_read_that_meets_damage_makes_the_store_unwell_until_it_can_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    await _filled(path)
    sound = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()
    path.write_bytes(sound[: (root - 1) * size] + b"\xa5" * size + sound[root * size :])
    store = SqliteStore(path)
    await store.open()
    await store.check()
    for attempt in (store.events("default", "w1", 0, 10), store.check()):
        with pytest.raises(Unavailable, match="damaged"):
            await attempt
    path.write_bytes(sound)
    await store.check()
    assert len(await store.events("default", "w1", 0, 10)) == 1
    await store.close()


async def test_what_namespaces_held_in_a_file_of_version_6_is_counted(tmp_path: Path) -> None:
    path = written_by(6, tmp_path / "orcs.db")
    store = SqliteStore(path)
    await store.open()
    assert [(await store.holdings(name)).workflows for name in ("default", "none")] == [1, 0]
    assert (await store.holdings("default")).bytes > 1_000
    # The ledger begins with this version: of what was consumed before, only the sum is known.
    assert await store.usage_days("default", 0, 10**6) == []
    await store.commit(Draft("new").create())
    assert (await store.holdings("default")).workflows == 2
    await store.close()
    assert examine(path).findings == []
