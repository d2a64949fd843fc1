"""Backups and restores of real files: whole, private, never over something else, and never half done."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path

import pytest

from orcs_server.errors import StartupError
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.sqlite.copies import back_up, restore_copy
from orcs_server.storage.sqlite.examination import examine
from tests.storage.samples import Draft, task, written_by
from tests.storage.test_sqlite_crash import COMMIT_FOR_EVER

ROOT = Path(__file__).parents[2]


async def fill(path: Path, *names: str) -> str:
    """Store workflows; return the log's epoch."""
    store = SqliteStore(path)
    await store.open()
    for name in names:
        draft = Draft(name)
        await store.commit(draft.create())
        await store.commit(draft.plan(task("t0")))
    epoch = store.epoch
    await store.close()
    return epoch


async def workflows_in(path: Path) -> list[str]:
    store = SqliteStore(path)
    await store.open()
    found = [row.workflow_id for row in await store.live()]
    await store.close()
    return found


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_backup_of_a_file_that_a_process_writes_to_is_whole_and_holds_all_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    path = tmp_path / "orcs.db"
    writing = await asyncio.create_subprocess_exec(sys.executable, "-c", COMMIT_FOR_EVER, path, stdout=PIPE, cwd=ROOT)
    assert writing.stdout is not None
    acknowledged: dict[str, int] = {}
    for number in range(3):
        while len(acknowledged) < 4 or min(acknowledged.values()) < 10 * (number + 1):
            name, seq = (await writing.stdout.readline()).decode().split()
            acknowledged[name] = int(seq)
        copied = await asyncio.to_thread(back_up, path, tmp_path / f"copy{number}.db")
        assert copied.position >= sum(acknowledged.values())
    writing.kill()
    await writing.communicate()
    for number in range(3):
        copy = tmp_path / f"copy{number}.db"
        assert copy.stat().st_mode & 0o777 == 0o600
        assert examine(copy).findings == []
    assert [name for name in names_in(tmp_path) if name.startswith("copy")] == ["copy0.db", "copy1.db", "copy2.db"]


async def test_a_backup_replaces_nothing(tmp_path: Path) -> None:
    await fill(tmp_path / "orcs.db", "w1")
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "elsewhere")
    for name in ("notes", "nowhere", "orcs.db"):
        with pytest.raises(StartupError, match="exists already"):
            back_up(tmp_path / "orcs.db", tmp_path / name)
    assert (tmp_path / "notes").read_text() == "mine"


def test_what_is_no_data_file_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="There is no data file"):
        back_up(tmp_path / "missing.db", tmp_path / "copy.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(StartupError, match="is empty"):
        back_up(tmp_path / "empty.db", tmp_path / "copy.db")
    (tmp_path / "notes").write_bytes(b"notes" * 1000)
    with pytest.raises(StartupError, match="not an ORCS data file"):
        back_up(tmp_path / "notes", tmp_path / "copy.db")
    assert names_in(tmp_path) == ["empty.db", "notes"]


async def test_a_backup_for_which_there_is_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    await fill(tmp_path / "orcs.db", *(f"w{number}" for number in range(50)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (48 * 1024, hard))
    try:
        with pytest.raises(StartupError, match=r"copy\.db .*check the file, its directory and the disk"):
            back_up(tmp_path / "orcs.db", tmp_path / "copy.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert all(name.startswith("orcs.db") for name in names_in(tmp_path))


async def test_a_damaged_file_is_not_passed_off_as_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    await fill(path, *(f"w{number}" for number in range(50)))
    damage(path)
    with pytest.raises(StartupError, match=r"damaged.*not copied"):
        back_up(path, tmp_path / "copy.db")
    assert "copy.db" not in names_in(tmp_path)


async def test_a_restore_brings_back_the_copy_under_a_new_epoch_and_keeps_what_was_there(tmp_path: Path) -> None:
    path, copy = tmp_path / "orcs.db", tmp_path / "copy.db"
    epoch = await fill(path, "w1")
    back_up(path, copy)
    await fill(path, "w2")
    restored = restore_copy(copy, path)
    assert restored.aside is not None
    assert await workflows_in(path) == ["w1"]
    assert await workflows_in(restored.aside) == ["w1", "w2"]
    epochs = {examine(each).epoch for each in (path, copy, restored.aside)}
    assert restored.copied.epoch in epochs - {epoch}
    assert len(epochs) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    again = restore_copy(copy, path)
    assert again.copied.epoch not in epochs
    assert again.aside not in {None, restored.aside}


async def test_a_restore_keeps_what_only_the_log_of_a_killed_server_held(tmp_path: Path) -> None:
    path, copy = tmp_path / "orcs.db", tmp_path / "copy.db"
    await fill(tmp_path / "other.db", "w1")
    back_up(tmp_path / "other.db", copy)
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", COMMIT_FOR_EVER, path, stdout=PIPE, cwd=ROOT)
    assert killed.stdout is not None
    for _ in range(20):
        await killed.stdout.readline()
    killed.kill()
    await killed.communicate()
    assert path.with_name("orcs.db-wal").stat().st_size
    aside = restore_copy(copy, path).aside
    assert aside is not None
    assert sorted(await workflows_in(aside)) == ["w0", "w1", "w2", "w3"]
    assert await workflows_in(path) == ["w1"]


async def test_a_restore_takes_the_place_of_a_file_that_is_beyond_reading(tmp_path: Path) -> None:
    path, copy = tmp_path / "orcs.db", tmp_path / "copy.db"
    await fill(path, "w1")
    back_up(path, copy)
    path.write_bytes(b"\0garbage" * 2000)
    path.with_name("orcs.db-wal").write_bytes(b"its log")
    aside = restore_copy(copy, path).aside
    assert aside is not None
    assert aside.read_bytes() == b"\0garbage" * 2000
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"its log"
    assert await workflows_in(path) == ["w1"]


async def test_a_restore_is_refused_while_a_server_uses_the_file_and_changes_nothing(tmp_path: Path) -> None:
    path, copy = tmp_path / "orcs.db", tmp_path / "copy.db"
    await fill(path, "w1")
    back_up(path, copy)
    store = SqliteStore(path)
    await store.open()
    before = names_in(tmp_path)
    with pytest.raises(StartupError, match=f"process id {os.getpid()}"):
        restore_copy(copy, path)
    assert names_in(tmp_path) == before
    await store.commit(Draft("w2").create())
    await store.close()


async def test_a_copy_that_is_damaged_newer_or_the_file_itself_is_not_restored(tmp_path: Path) -> None:
    path, copy = tmp_path / "orcs.db", tmp_path / "copy.db"
    await fill(path, *(f"w{number}" for number in range(50)))
    back_up(path, copy)
    damage(copy)
    with pytest.raises(StartupError, match=r"copy\.db is damaged"):
        restore_copy(copy, path)
    with pytest.raises(StartupError, match="the data file itself"):
        restore_copy(path, path)
    newer = tmp_path / "newer.db"
    back_up(path, newer)
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StartupError, match="has version 99"):
        restore_copy(newer, path)
    assert len(await workflows_in(path)) == 50
    assert names_in(tmp_path) == ["copy.db", "newer.db", "orcs.db", "orcs.db.lock"]


async def test_a_copy_of_an_older_version_is_brought_up_to_date_by_the_server(tmp_path: Path) -> None:
    old = written_by(1, tmp_path / "old.db")
    assert restore_copy(old, tmp_path / "orcs.db").aside is None
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    assert store.epoch != "0123456789abcdef"
    assert await store.load("default", "w1") is not None
    await store.close()


def damage(path: Path) -> None:
    """Overwrite the page at which the events begin."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()
    with path.open("rb+") as file:
        file.seek((root - 1) * size)
        file.write(b"\xa5" * size)
