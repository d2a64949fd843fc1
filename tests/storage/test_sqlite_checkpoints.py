"""Checkpoints beside the commits: the file takes in what its log holds while it is written, and a purge still empties the log."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from orcs_server.storage.sqlite import SqliteStore, checkpoints
from tests.storage.memories import remember, text_of

NS = "red"


def entries_without_log(path: Path, tmp_path: Path) -> int:
    """Count the entries that stand in the file itself."""
    alone = tmp_path / "alone.db"
    alone.write_bytes(path.read_bytes())
    connection = sqlite3.connect(alone)
    try:
        (count,) = connection.execute("SELECT count(*) FROM memory_versions").fetchone()
        return int(count)
    except sqlite3.OperationalError:
        return 0  # not even the tables are there
    finally:
        connection.close()


async def test_what_is_written_gets_into_the_file_without_a_commit_that_carries_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "FEWEST_ROWS", 200)
    monkeypatch.setattr(checkpoints, "EVERY_PAGES", 200)
    path = tmp_path / "orcs.db"
    store = SqliteStore(path)
    await store.open()
    try:
        for number in range(100):
            await remember(store, NS, f"k{number}")
        await store._writer._checkpoints.finish()
        assert entries_without_log(path, tmp_path) >= 50
    finally:
        await store.close()


async def test_a_purge_waits_for_a_checkpoint_under_way_and_leaves_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "FEWEST_ROWS", 1)
    begun, go_on = threading.Event(), threading.Event()
    make = checkpoints._checkpoint

    def slowly(connection: sqlite3.Connection) -> int:
        begun.set()
        assert go_on.wait(60)
        return make(connection)

    monkeypatch.setattr(checkpoints, "_checkpoint", slowly)
    path = tmp_path / "orcs.db"
    store = SqliteStore(path)
    await store.open()
    try:
        await remember(store, NS, "secret", "a word that is to go")
        assert await asyncio.to_thread(begun.wait, 60)
        await store.memory.purge(NS, "global", "", "secret", 10)
        scrubbed = asyncio.create_task(store.memory.scrub(NS))
        await asyncio.sleep(0.05)
        assert not scrubbed.done()
        go_on.set()
        await scrubbed
        assert path.with_name("orcs.db-wal").stat().st_size == 0
        assert b"a word that is to go" not in path.read_bytes()
    finally:
        go_on.set()
        await store.close()


async def test_a_checkpoint_that_fails_is_told_and_harms_no_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoints, "FEWEST_ROWS", 1)

    def broken(_: sqlite3.Connection) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(checkpoints, "_checkpoint", broken)
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    try:
        await remember(store, NS, "a", "one")
        await store._writer._checkpoints.finish()
        await remember(store, NS, "b", "two")
        assert await text_of(store, NS, "b") == "two"
    finally:
        await store.close()
    assert "a checkpoint did not go through" in caplog.text
