"""Refusals on their way into the audit log: counted where they come in floods, lost only where nothing can be written."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from orcs_server.errors import NotFound, PermissionDenied, Unauthenticated, Unavailable
from orcs_server.hooks import HookSet
from orcs_server.identity import Caller, Clock
from orcs_server.memory import Actor, Refusal
from orcs_server.service import refusals as counting
from orcs_server.service.auditing import Auditing
from orcs_server.service.authorisation import Visit
from orcs_server.service.refusals import Refusals
from orcs_server.service.trails import Trail, on_trail
from orcs_server.storage.audit import SERVER, AuditDraft, AuditRecord
from orcs_server.storage.sqlite import SqliteStore

ADA = Caller("ada", "red", ("operate",))
REFUSED = AuditDraft(1, "workflows.pause", "PauseWorkflow", "ada", resource="w", outcome="PERMISSION_DENIED")


@pytest.fixture
def auditing(store: SqliteStore) -> Auditing:
    return Auditing(store.audit, Clock(), window_s=3_600)


async def records(store: SqliteStore, namespace: str = "red") -> list[AuditRecord]:
    return await store.audit.records(namespace, 0, 1_000)


def counted(found: Sequence[AuditRecord]) -> list[tuple[str, int]]:
    """Return principal and number of those that count."""
    return [(one.draft.principal, json.loads(one.draft.details)["repeated"]) for one in found if one.draft.details]


async def test_the_first_of_a_kind_is_written_and_the_rest_is_counted(store: SqliteStore) -> None:
    refusals = Refusals(store.audit, Clock(), 3_600)
    for number in range(10):
        await refusals.record("red", replace(REFUSED, time_us=number))
    assert len(await records(store)) == 1
    await refusals.close()
    first, count = await records(store)
    assert first.draft == replace(REFUSED, time_us=0)
    assert json.loads(count.draft.details) == {"repeated": 9, "first_us": 1, "last_us": 9}


async def test_the_same_task_of_another_workflow_is_another_refusal(store: SqliteStore) -> None:
    refusals = Refusals(store.audit, Clock(), 3_600)
    for workflow_id in ("w1", "w2"):
        await refusals.record("red", replace(REFUSED, agent="scout", workflow_id=workflow_id, task_id="t1"))
    assert [one.draft.workflow_id for one in await records(store)] == ["w1", "w2"]


async def test_a_chain_that_was_tampered_with_changes_nothing_about_a_refusal(
    store: SqliteStore, auditing: Auditing, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    denied = PermissionDenied("PERMISSION_DENIED", "no")
    await auditing.refused(Trail("PauseWorkflow"), ADA, denied)
    with closing(sqlite3.connect(tmp_path / "orcs.db")) as connection, connection:
        connection.execute("UPDATE audit_chains SET number = 0")
    await auditing.refused(Trail("ResumeWorkflow"), ADA, denied)
    assert "could not be written into the audit log" in caplog.text


async def test_principals_and_namespaces_are_counted_apart(store: SqliteStore) -> None:
    refusals = Refusals(store.audit, Clock(), 3_600)
    for _ in range(3):
        await refusals.record("red", REFUSED)
        await refusals.record("red", replace(REFUSED, principal="bob"))
        await refusals.record("blue", REFUSED)
    await refusals.close()
    assert counted(await records(store)) == [("ada", 2), ("bob", 2)]
    assert counted(await records(store, "blue")) == [("ada", 2)]


async def test_with_too_many_principals_those_of_a_namespace_are_counted_together(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "PRINCIPALS", 3)
    monkeypatch.setattr(counting, "DIFFERENT", 2)
    refusals = Refusals(store.audit, Clock(), 3_600)
    for number in range(10):
        await refusals.record("red", replace(REFUSED, principal=f"p{number}", resource=f"w{number}"))
    assert len(await records(store)) == 5
    await refusals.close()
    found = await records(store)
    assert len(found) == 6
    assert counted(found) == [("*", 5)]
    assert (found[-1].draft.resource, found[-1].draft.outcome) == ("*", "*")


async def test_a_store_that_takes_nothing_changes_nothing_about_a_refusal(
    store: SqliteStore, auditing: Auditing, caplog: pytest.LogCaptureFixture
) -> None:
    await store.close()
    await auditing.refused(Trail("PauseWorkflow"), ADA, PermissionDenied("PERMISSION_DENIED", "no"))
    assert "could not be written into the audit log" in caplog.text
    await store.open()
    assert await records(store) == []


@pytest.mark.parametrize(
    ("method", "standing", "error", "outcome"),
    [
        ("PauseWorkflow", False, Unavailable("STORAGE_UNAVAILABLE", "no"), "STORAGE_UNAVAILABLE"),
        ("PauseWorkflow", False, ValueError("a fault"), "INTERNAL"),
        ("SomethingNew", False, ValueError("a fault"), "INTERNAL"),
        ("GetWorkflow", False, Unavailable("SERVER_DRAINING", "no"), None),
        ("GetWorkflow", False, ValueError("a fault"), None),
        ("PreviewPlan", False, Unavailable("HOOK_FAILED", "no"), None),
        ("GetWorkflow", False, NotFound("WORKFLOW_NOT_FOUND", "no"), "WORKFLOW_NOT_FOUND"),
        ("WatchWorkflow", True, NotFound("WORKFLOW_NOT_FOUND", "deleted"), None),
        ("WatchWorkflow", True, PermissionDenied("PERMISSION_DENIED", "no"), "PERMISSION_DENIED"),
        ("WatchWorkflow", True, Unauthenticated("TOKEN_INVALID", "revoked"), "TOKEN_INVALID"),
    ],
)
async def test_which_failures_are_refusals(
    store: SqliteStore, auditing: Auditing, method: str, standing: bool, error: Exception, outcome: str | None
) -> None:
    trail = Trail(method)
    trail.standing = standing
    await auditing.refused(trail, ADA, error)
    assert [one.draft.outcome for one in await records(store)] == ([] if outcome is None else [outcome])


async def test_a_refusal_belongs_to_the_namespace_that_the_caller_works_in_or_to_the_server(
    store: SqliteStore, auditing: Auditing
) -> None:
    trail = Trail("PauseWorkflow", "ipv4:10.0.0.1")
    trail.namespace = "isolated"
    await auditing.refused(trail, ADA, PermissionDenied("PERMISSION_DENIED", "no"))
    await auditing.refused(trail, None, Unauthenticated("TOKEN_MISSING", "no"))
    assert [one.draft.principal for one in await records(store, "isolated")] == ["ada"]
    assert [(one.draft.principal, one.draft.peer) for one in await records(store, SERVER)] == [("", "ipv4:10.0.0.1")]
    assert await records(store) == []


async def test_agents_and_programs_are_recorded_by_themselves_and_clients_by_their_call(
    store: SqliteStore, auditing: Auditing
) -> None:
    agent = Actor("ada", "writer\ud800", "w1", "t1", 2)
    with on_trail(Trail("CreateWorkflow")):  # An agent may begin in the task of a call that has nothing to do with it.
        auditing.memory_refused(Refusal("red", agent, "write", "global", "k"))
        auditing.memory_refused(Refusal("red", Actor("ada"), "write", "global", "k"))
        auditing.denied(ADA, "workflows.pause", "w", PermissionDenied("PERMISSION_DENIED", "no"))
    auditing.memory_refused(Refusal("red", Actor("program"), "read", "global", ""))
    auditing.denied(ADA, "workflows.pause", "w", PermissionDenied("PERMISSION_DENIED", "no"))
    auditing.run_refused(ADA, "writer", "w1", "")
    await auditing.close()
    said = [one.draft for one in await records(store)]
    assert sorted(
        (one.method, one.operation, one.agent, one.workflow_id, one.task_id, one.details) for one in said
    ) == [
        ("agent", "agents.run", "writer", "w1", "", ""),
        ("agent", "memory.write", "writer?", "w1", "t1", '{"key":"k"}'),
        ("program", "memory.read", "", "", "", ""),
        ("program", "workflows.pause", "", "", "", ""),
    ]
    assert {one.outcome for one in said} == {"PERMISSION_DENIED"}


async def test_what_a_program_changes_is_told_from_calls(auditing: Auditing) -> None:
    visit = Visit(ADA, HookSet(), "workflows.pause", "w")
    assert auditing.draft(visit, "PauseWorkflow").method == "program"
    with on_trail(Trail("PauseWorkflow", "ipv4:10.0.0.1")):
        draft = auditing.draft(visit, "PauseWorkflow", "r1", {"mode": "DRAIN", "empty": ""}, resource="x" * 5_000)
    assert (draft.method, draft.peer, draft.request_id) == ("PauseWorkflow", "ipv4:10.0.0.1", "r1")
    assert (draft.principal, draft.roles, draft.operation) == ("ada", ("operate",), "workflows.pause")
    assert (draft.details, len(draft.resource)) == ('{"mode":"DRAIN"}', 600)


async def test_a_window_that_ends_writes_its_counts_by_itself(store: SqliteStore) -> None:
    refusals = Refusals(store.audit, Clock(), 0.005)
    for _ in range(10_000):
        await refusals.record("red", REFUSED)
        await asyncio.sleep(0)
        if counted(await records(store)):
            break
    else:
        raise AssertionError("no count was ever written")
    await refusals.close()
