"""What must be true of a data file, whatever happened to the servers on it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.store import EventRecord
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.model import FailureKind
from orcs_server.workflow.restore import restore
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import WORKFLOW_TERMINAL, WorkflowStatus
from tests.torture.load import MUST_COMPLETE, Story

NAMESPACE = "default"


async def read_logs(store: SqliteStore) -> dict[str, list[EventRecord]]:
    """Return the log of each workflow, read by position, which must grow."""
    logs: dict[str, list[EventRecord]] = {}
    position = 0
    while records := await store.events_after_position(NAMESPACE, position, 5_000):
        for record in records:
            assert record.position > position
            position = record.position
            logs.setdefault(record.workflow_id, []).append(record)
    return logs


async def check_workflow(store: SqliteStore, workflow_id: str, log: list[EventRecord]) -> WorkflowState | None:
    """Sequences without hole or repeat, and rows that are what the events add up to. None for a tombstone."""
    stored = await store.load(NAMESPACE, workflow_id)
    if stored is None:
        assert [type(record.event).__name__ for record in log] == ["WorkflowDeleted"], workflow_id
        return None
    assert [record.seq for record in log] == list(range(1, stored.seq + 1)), workflow_id
    folded: WorkflowState | None = None
    for record in log:
        folded = evolve(folded, record.event, record.time_us)
    rows = [(task.ordinal, task.spec, task.progress) for task in stored.tasks]
    restored = restore(NAMESPACE, workflow_id, stored.spec, stored.progress, rows)
    assert restored == folded, workflow_id
    assert folded is not None
    for task in folded.tasks.values():
        await store.blob(NAMESPACE, task.spec.description)
        if task.progress.output is not None:
            await store.blob(NAMESPACE, task.progress.output.digest)
    return folded


def check_pages(data: Path) -> None:
    """SQLite's own check finds nothing."""
    connection = sqlite3.connect(data)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


class Ledger:
    """What a finished run comes to."""

    def __init__(self) -> None:
        self.workflows = 0
        self.events = 0
        self.histories = 0
        self.lost_attempts = 0
        self.given_up = 0
        self.calls = 0
        self.finished_calls = 0
        self.finished_again = 0


async def check_everything(data: Path, calls: Path, stories: Iterable[Story]) -> Ledger:
    """Check the file of a server that has stopped, once every client saw the end of its workflow."""
    ledger = Ledger()
    check_pages(data)
    noted = Counter(calls.read_text().splitlines())
    ledger.calls = sum(times for line, times in noted.items() if line.startswith("begun "))
    ledger.finished_calls = noted.total() - ledger.calls
    store = SqliteStore(data)
    await store.open()
    try:
        assert await store.live() == []
        logs = await read_logs(store)
        for story in stories:
            log = logs[story.id]
            state = await check_workflow(store, story.id, log)
            _check_watch(story, log, deleted=state is None)
            _check_end(story, state, ledger)
            _check_calls(story, noted, ledger)
            ledger.workflows += 1
            ledger.events += len(story.seen)
            ledger.histories += 1
    finally:
        await store.close()
    return ledger


def _check_watch(story: Story, log: list[EventRecord], *, deleted: bool) -> None:
    seen = [message for _, message in story.seen]
    assert [message.sequence for message in seen] == list(range(1, len(seen) + 1)), story.id
    if deleted:
        assert story.deletion_asked, story.id
        whole = story.log_before_deletion or []
        assert seen == whole[: len(seen)], story.id
        assert {message.WhichOneof("body") for message in whole[len(seen) :]} <= {"resources_returned"}, story.id
        assert log[0].seq > len(whole), story.id
        return
    assert "delete" not in story.acknowledged, story.id
    names = [(message.WhichOneof("body") or "").replace("_", "") for message in seen]
    stored = [type(record.event).__name__.lower() for record in log[: len(seen)]]
    assert names == stored, story.id
    # After its end only what gives resources back may follow.
    assert {type(record.event).__name__ for record in log[len(seen) :]} <= {"ResourcesReturned"}, story.id


def _check_end(story: Story, state: WorkflowState | None, ledger: Ledger) -> None:
    assert story.ended, story.id
    ledger.lost_attempts += sum(message.WhichOneof("body") == "attempt_lost" for _, message in story.seen)
    if state is None:
        return
    assert state.status in WORKFLOW_TERMINAL, story.id
    assert state.settled, story.id
    if story.kind in MUST_COMPLETE and state.status is not WorkflowStatus.COMPLETED:
        kinds = [task.progress.failure.kind for task in state.tasks.values() if task.progress.failure is not None]
        failures = [*kinds, *([state.progress.failure.kind] if state.progress.failure is not None else [])]
        assert FailureKind.LOST in failures, (story.id, story.kind, failures)
        ledger.given_up += 1


def _check_calls(story: Story, noted: Counter[str], ledger: Ledger) -> None:
    """No model was called but for an attempt that the log has, and none that completed was not called."""
    begun, completed = Counter[str](), set[str]()
    for _, message in story.seen:
        name = message.WhichOneof("body")
        if name == "attempt_started":
            begun[message.attempt_started.task_id] += 1
        elif name == "task_completed":
            completed.add(message.task_completed.task_id)
    if "query" in story.options:
        return  # its tasks are the offline planner's, without a label
    for task_id, attempts in begun.items():
        label = f"{story.id}/{task_id}"
        assert noted[f"begun {label}"] <= attempts, label
        if task_id in completed:
            assert noted[f"ended {label}"] >= 1, label
            ledger.finished_again += noted[f"ended {label}"] - 1
