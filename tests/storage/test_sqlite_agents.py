"""Registered agents in a data file that an earlier version wrote."""

from __future__ import annotations

from pathlib import Path

from orcs_server.storage.once import Once
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.sqlite.examination import examine
from tests.storage.conformance_agents import poet
from tests.storage.samples import START_US, written_by


async def test_a_file_written_by_version_6_is_read_and_takes_agents(tmp_path: Path) -> None:
    path = written_by(6, tmp_path / "old.db")
    store = SqliteStore(path)
    await store.open()
    snapshot = await store.snapshot("default", "w1")
    assert snapshot is not None
    assert [task.spec.id for task in snapshot.tasks] == ["t0", "t1", "t2"]
    assert await store.agents.registered("default") == []
    await store.agents.register("default", poet(), "", Once(None, "", START_US))
    await store.close()
    assert examine(path).findings == []
    await store.open()
    assert await store.agents.registered("default") == [poet()]
    await store.close()
