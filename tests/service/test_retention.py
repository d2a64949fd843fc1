"""What the server lets go of by itself, and that nobody has to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from orcs_server.app import Backend
from orcs_server.config import Settings
from orcs_server.service.retention import Retention
from orcs_server.storage.audit import PRUNE, SERVER, AuditDraft, ChainWalk
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.store import EventRecord, blob_of
from orcs_server.workflow.events import WorkflowCreated, WorkflowDeleted
from orcs_server.workflow.model import Usage
from tests.storage.samples import START_US, Draft

DAY_US = 24 * 3_600_000_000


async def ended(path: Path, *names: str, created_us: int = START_US) -> None:
    store = SqliteStore(path)
    await store.open()
    for name in names:
        draft = Draft(name, created_us=created_us)
        await store.commit(draft.create(draft.request(f"r-{name}")))
        await store.commit(draft.fail())
    await store.close()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Backend]:
    """A server without its wire that has not begun to let go of anything."""
    backend = Backend(Settings.load({"data": path, "offline_pace": 0}, environ={"HOME": str(path.parent)}), {})
    await backend.open()
    await backend.engine.start()
    try:
        yield backend
    finally:
        await backend.engine.stop(0)
        await backend.close(0)


def retention_of(backend: Backend, kept_us: int | None) -> Retention:
    return Retention(engine=backend.engine, store=backend.store, clock=backend.clock, finished_kept_us=kept_us)


async def log_of(backend: Backend) -> list[EventRecord]:
    found: list[EventRecord] = []
    while page := await backend.store.events_after_position("default", found[-1].position if found else 0, 1_000):
        found += page
    return found


async def test_workflows_that_ended_long_ago_are_deleted_and_leave_a_tombstone_and_no_texts(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    await ended(path, "old", "older")
    async with opened(path) as backend:
        now_us = backend.clock.now_us()
        new = Draft("new", created_us=now_us)
        await backend.store.commit(new.create())
        await backend.store.commit(new.fail())
        live = Draft("live")
        await backend.store.commit(live.create())
        await backend.store.put_blobs("default", [blob_of("nobody's")])
        await retention_of(backend, DAY_US).go_over()
        deleted = [record for record in await log_of(backend) if isinstance(record.event, WorkflowDeleted)]
        assert sorted((record.workflow_id, record.actor) for record in deleted) == [("old", "orcs"), ("older", "orcs")]
        for name, kept in (("old", False), ("older", False), ("new", True), ("live", True)):
            assert (await backend.store.get_summary("default", name) is not None) is kept
        assert await backend.store.find_request(Draft("old").request("r-old").key) is None
    store = SqliteStore(path)
    await store.open()
    assert await store.prune_blobs(("", ""), 100) is None
    assert await store.blob("default", new.query.digest)
    await store.close()


async def test_unless_an_age_is_set_workflows_are_kept(tmp_path: Path) -> None:
    await ended(tmp_path / "orcs.db", "old")
    async with opened(tmp_path / "orcs.db") as backend:
        await retention_of(backend, None).go_over()
        assert await backend.store.get_summary("default", "old") is not None


async def test_a_server_lets_go_by_itself_of_what_the_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    await ended(path, "old")
    settings = Settings.load({"data": path, "retention": {"finished": 60}}, environ={"HOME": str(tmp_path)})
    backend = Backend(settings, {})
    await backend.open()
    watch = backend.engine.watch_namespace("default")
    await backend.start()
    try:
        while await backend.store.get_summary("default", "old") is not None:
            assert await watch.wait(30)
    finally:
        watch.close()
        await backend.close(0)


async def test_writes_go_through_between_the_deletions(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    await ended(path, *(f"old{number}" for number in range(40)))
    async with opened(path) as backend:
        going_over = asyncio.create_task(retention_of(backend, DAY_US).go_over())
        number = 0
        while not going_over.done():
            await backend.store.commit(Draft(f"new{number}").create())
            number += 1
        await going_over
        kinds = [type(record.event) for record in await log_of(backend)]
    assert kinds.count(WorkflowDeleted) == 40
    first = kinds.index(WorkflowDeleted)
    last = len(kinds) - 1 - kinds[::-1].index(WorkflowDeleted)
    assert WorkflowCreated in kinds[first:last]


async def test_old_records_of_the_audit_log_are_removed_in_every_namespace_and_the_removal_is_recorded(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "orcs.db") as backend:
        audit, now_us = backend.store.audit, backend.clock.now_us()
        old = [
            AuditDraft(now_us - DAY_US - 1_000 + number, "workflows.pause", "PauseWorkflow") for number in range(600)
        ]
        new = AuditDraft(now_us, "workflows.pause", "PauseWorkflow")
        for namespace in ("red", SERVER):
            await audit.append(namespace, [*old, new])
        retention = Retention(
            engine=backend.engine, store=backend.store, clock=backend.clock, finished_kept_us=None, audit_kept_us=DAY_US
        )
        await retention.go_over()
        await retention.go_over()
        for namespace in ("red", SERVER):
            kept = await audit.records(namespace, 0, 1_000)
            assert [(one.number, one.draft.operation, one.draft.method) for one in kept] == [
                (601, "workflows.pause", "PauseWorkflow"),
                (602, PRUNE, "retention"),
                (603, PRUNE, "retention"),
            ]
            walk = ChainWalk(namespace, await audit.chain(namespace))
            assert (walk.take(kept) or walk.end()) is None


async def test_what_retention_deletes_is_recorded_and_without_the_setting_no_record_goes(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    await ended(path, "old")
    async with opened(path) as backend:
        await backend.store.audit.append("default", [AuditDraft(1, "workflows.pause", "PauseWorkflow")])
        await retention_of(backend, 1).go_over()
        records = await backend.store.audit.records("default", 0, 10)
        assert [
            (one.draft.operation, one.draft.method, one.draft.principal, one.draft.resource) for one in records
        ] == [
            ("workflows.pause", "PauseWorkflow", "", ""),
            ("workflows.delete", "retention", "orcs", "old"),
        ]


async def test_days_of_usage_are_kept_for_400_days(tmp_path: Path) -> None:
    async with opened(tmp_path / "orcs.db") as backend:
        now_us = backend.clock.now_us()
        today = now_us // DAY_US
        for days in (0, 399, 400, 1_000):
            await backend.store.add_usage("default", now_us - days * DAY_US, Usage(1))
        await retention_of(backend, None).go_over()
        assert [today - day.day for day in await backend.store.usage_days("default", 0, today)] == [0, 399]
