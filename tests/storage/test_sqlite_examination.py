"""Each way in which a real file can be wrong is found, named, and told from a healthy one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from orcs_server.errors import StartupError
from orcs_server.storage.journal import JournalKey, Spent, ToolCall
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.sqlite.examination import MOST_OF_A_KIND, examine
from orcs_server.storage.store import blob_of
from orcs_server.workflow.model import Usage
from orcs_server.workflow.state import WorkflowState
from tests.storage.memories import remember
from tests.storage.samples import Draft, task, written_by
from tests.storage.test_sqlite_copies import damage


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A healthy file: a live workflow, a failed one, a deleted one, and a memory entry."""
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    live, failed, deleted = Draft("live"), Draft("failed"), Draft("deleted", "other")
    await store.commit(live.create())
    await store.commit(live.plan(task("t0"), task("t1", "t0")))
    await store.commit(live.begin("t0"))
    tool = ToolCall("", "call", "look", repeatable=True)
    await store.append_journal(JournalKey("default", "live", "t0", 1), 1, [tool], (), Spent(1, Usage(1, 9)))
    await store.commit(live.complete("t0", "a result"))
    for draft in (failed, deleted):
        await store.commit(draft.create())
        await store.commit(draft.fail())
    await store.delete(deleted.erase())
    await remember(store, "default", "key", "kept in memory")
    await store.close()
    return tmp_path / "orcs.db"


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
        connection.commit()


def found(path: Path) -> list[tuple[str, str, str]]:
    return [(each.check, each.workflow_id, each.message) for each in examine(path).findings]


def test_a_healthy_file_has_no_findings_and_is_left_as_it_was(path: Path) -> None:
    before = path.read_bytes()
    report = examine(path)
    assert report.findings == []
    assert report.healthy
    assert (report.workflows, report.live, report.unused_blobs) == (2, 1, 0)
    assert path.read_bytes() == before


async def test_a_file_in_use_is_examined_as_of_one_moment(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.commit(Draft("new").create())
    report = examine(path)
    assert (report.findings, report.live) == ([], 2)
    await store.commit(Draft("newer").create())
    await store.close()


@pytest.mark.parametrize(
    ("statement", "check", "words"),
    [
        ("DELETE FROM events WHERE workflow_id = 'live' AND seq = 3", "log", "event 3 is missing"),
        ("DELETE FROM events WHERE workflow_id = 'live' AND seq = 8", "log", "ends with event 7"),
        (
            "UPDATE events SET type = 'FromTheFuture' WHERE workflow_id = 'live' AND seq = 2",
            "log",
            "FromTheFuture of schema version 1, which this program does not know",
        ),
        (
            "UPDATE events SET schema_version = 9 WHERE workflow_id = 'live' AND seq = 2",
            "log",
            "schema version 9, which this program does not know",
        ),
        ("UPDATE events SET body = '{' WHERE workflow_id = 'live' AND seq = 2", "log", "event 2 cannot be read"),
        (
            """UPDATE events SET type = 'WorkflowStarted', body = '{"type":"WorkflowStarted"}' WHERE position = 1""",
            "replay",
            "event 1 (WorkflowStarted) cannot follow",
        ),
        (
            "UPDATE tasks SET progress = (SELECT progress FROM tasks WHERE id = 't1') WHERE id = 't0'",
            "replay",
            "come to another state than its rows say",
        ),
        ("UPDATE workflows SET live = 0 WHERE id = 'live'", "columns", "pass it by"),
        ("UPDATE workflows SET idle = 1 WHERE id = 'live'", "columns", "a restart passes it by"),
        ("UPDATE workflows SET progress = 'x' WHERE id = 'live'", "continue", "its rows cannot be read"),
        ("UPDATE tasks SET spec = 'x' WHERE id = 't0'", "continue", "task spec"),
        ("UPDATE journals SET usage = 'x' WHERE workflow_id = 'live'", "continue", "usage in a journal"),
        ("DELETE FROM blob_uses WHERE workflow_id = 'live'", "blobs", "that nothing keeps for it"),
    ],
)
async def test_what_is_wrong_with_a_workflow_is_found(path: Path, statement: str, check: str, words: str) -> None:
    change(path, statement)
    findings = found(path)
    assert any(each[:2] == (check, "live") and words in each[2] for each in findings), findings
    assert {workflow for _, workflow, _ in findings} <= {"live", ""}


async def test_blobs_that_are_missing_or_not_what_was_stored_are_found(path: Path) -> None:
    result, remembered, query = blob_of("a result"), blob_of("kept in memory"), blob_of("query of failed")
    change(
        path,
        f"DELETE FROM blobs WHERE sha256 = '{result.digest}'",
        f"DELETE FROM blobs WHERE sha256 = '{remembered.digest}'",
        f"UPDATE blobs SET bytes = 'other' WHERE sha256 = '{query.digest}'",
    )
    findings = found(path)
    assert sorted(message for check, _, message in findings if check == "blobs") == sorted(
        (
            f"blob {result.digest} of workflow live is missing",
            f"blob {remembered.digest} of memory global/key is missing",
            f"blob {query.digest} is not what was stored: its digest differs",
        )
    )
    # What was removed behind the server's back is not counted any more; what was changed still is as it was.
    assert [(check, message.partition(" holds ")[0]) for check, _, message in findings if check != "blobs"] == [
        ("holdings", "it is noted that the namespace")
    ]


async def test_what_quotas_are_measured_by_is_compared_with_what_is_there(path: Path) -> None:
    change(path, "UPDATE holdings SET bytes = bytes + 7, workflows = 5 WHERE namespace = 'default'")
    change(path, "INSERT INTO holdings VALUES ('nobody', 3, 0)")
    with closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute(
            "SELECT (SELECT sum(length(bytes)) FROM blobs WHERE namespace = 'default')"
            " + (SELECT sum(length(body)) FROM events WHERE namespace = 'default')"
        ).fetchone()
    assert [each.namespace for each in examine(path).findings] == ["default", "default", "nobody"]
    assert found(path) == [
        ("holdings", "", f"it is noted that the namespace holds {size + 7} bytes, and it holds {size}"),
        ("holdings", "", "it is noted that 5 workflows of the namespace have not ended, and 1 have not"),
        ("holdings", "", "it is noted that the namespace holds 3 bytes, and it holds 0"),
    ]


async def test_rows_whose_workflow_is_gone_are_found_and_tombstones_are_none_of_them(path: Path) -> None:
    change(path, "DELETE FROM workflows WHERE id = 'live'")
    assert sorted(found(path)) == [
        ("rows", "live", "2 tasks of a workflow that is not there"),
        ("rows", "live", "4 notes of blobs of a workflow that is not there"),
        ("rows", "live", "8 events of a workflow that is not there"),
    ]


async def test_blobs_to_which_nothing_refers_are_counted_and_no_fault(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.put_blobs("default", [blob_of("put ahead, and then the server was killed")])
    await store.close()
    report = examine(path)
    assert (report.findings, report.unused_blobs, report.unused_bytes) == ([], 1, 41)


async def test_live_workflows_that_the_caller_sees_an_obstacle_for_are_found_with_the_reason(path: Path) -> None:
    seen: list[tuple[str, bytes | None]] = []

    def obstacles(state: WorkflowState, configuration: bytes | None) -> Sequence[str]:
        seen.append((state.id, configuration))
        return ("its agent is gone",)

    (finding,) = examine(path, obstacles).findings
    assert (finding.check, finding.workflow_id) == ("continue", "live")
    assert "its agent is gone" in finding.message
    assert seen == [("live", None)]


async def test_a_damaged_page_is_found_and_does_not_end_the_examination(path: Path) -> None:
    damage(path)
    checks = {check for check, _, _ in found(path)}
    assert "pages" in checks


async def test_findings_of_a_kind_are_reported_up_to_a_number_and_then_counted(tmp_path: Path) -> None:
    path = tmp_path / "orcs.db"
    store = SqliteStore(path)
    await store.open()
    for number in range(MOST_OF_A_KIND + 7):
        await store.commit(Draft(f"w{number}").create())
    await store.close()
    change(path, "UPDATE workflows SET live = 0")
    report = examine(path)
    assert (len(report.findings), report.omitted) == (MOST_OF_A_KIND, {"columns": 7})


async def test_a_file_of_an_older_version_is_examined_as_it_is(tmp_path: Path) -> None:
    report = examine(written_by(2, tmp_path / "old.db"))
    assert (report.findings, report.version) == ([], 2)


async def test_a_newer_file_is_refused_with_its_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StartupError, match="version 99"):
        examine(path)
