"""What must be true of a data file, whatever happened to the servers on it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from orcs_client.v1 import common_pb2, workflow_pb2
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.store import EventRecord
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.model import FailureKind
from orcs_server.workflow.restore import restore
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import WORKFLOW_TERMINAL, WorkflowStatus
from tests.torture.audits import check_audit
from tests.torture.calls import ENDED, MODEL, read_line
from tests.torture.deaths import Death, Task
from tests.torture.load import MEETING_WORKFLOW, MUST_COMPLETE, Story
from tests.torture.repeats import Repeats, judge

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
    restored = restore(NAMESPACE, workflow_id, stored.spec, stored.progress, rows, stored.inputs, stored.mail)
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

    def __init__(self, repeats: Repeats) -> None:
        self.repeats = repeats
        self.workflows = 0
        self.events = 0
        self.histories = 0
        self.audited = 0
        """Requests whose changes and whose records in the audit log are both there."""
        self.lost_attempts = 0
        self.given_up = 0
        self.asked_in_doubt = 0

    def calls(self, kind: str, word: str) -> int:
        """How many calls of models or tools began or ended."""
        counted = self.repeats.ended if word == ENDED else self.repeats.begun
        return sum(times for call, times in counted.items() if call.kind == kind)


async def check_everything(data: Path, calls: Path, stories: Sequence[Story], deaths: Sequence[Death]) -> Ledger:
    """Check the file of a server that has stopped, once every client saw the end of its workflow."""
    check_pages(data)
    lines = [read_line(line) for line in calls.read_text().splitlines()]
    repeats = judge(lines, deaths, _timed_out(stories))
    again = repeats.although_stored
    assert not again, f"{len(again)} calls repeated although stored, such as {again[:5]}"
    assert not repeats.wrong, "\n".join(repeats.wrong[:20])
    ledger = Ledger(repeats)
    store = SqliteStore(data)
    await store.open()
    try:
        assert await store.live() == []
        logs = await read_logs(store)
        ledger.audited = await check_audit(store, NAMESPACE, logs)
        for story in stories:
            log = logs[story.id]
            state = await check_workflow(store, story.id, log)
            _check_watch(story, log, deleted=state is None)
            _check_end(story, state, ledger)
            _check_doubts(story, ledger)
            ledger.workflows += 1
            ledger.events += len(story.seen)
            ledger.histories += 1
    finally:
        await store.close()
    _check_calls(stories, repeats)
    return ledger


def _timed_out(stories: Iterable[Story]) -> set[Task]:
    return {
        (story.id, message.attempt_timed_out.task_id)
        for story in stories
        for _, message in story.seen
        if message.WhichOneof("body") == "attempt_timed_out"
    }


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


def _check_doubts(story: Story, ledger: Ledger) -> None:
    """People are asked about a call that was cut off, of a tool that must not run twice, and about nothing else."""
    doubtful = {call.task_id for call in ledger.repeats.in_doubt if call.workflow_id == story.id}
    requested = [message.input_requested.input for _, message in story.seen if message.HasField("input_requested")]
    asked = {each.task_id for each in requested if each.kind == workflow_pb2.PENDING_INPUT_KIND_UNSAFE_RERUN}
    failed = [message.task_failed for _, message in story.seen if message.HasField("task_failed")]
    lost = {each.task_id for each in failed if each.failure.kind == common_pb2.FAILURE_KIND_LOST}
    assert asked <= doubtful <= asked | lost, (story.id, asked, doubtful)
    ledger.asked_in_doubt += len(asked)


def _check_calls(stories: Sequence[Story], repeats: Repeats) -> None:
    """No call was made but by an attempt that the log has, and no task completed without its model's answer."""
    attempts, completed, planned = Counter[Task](), set[Task](), set[Task]()
    for story in stories:
        for _, message in story.seen:
            name = message.WhichOneof("body")
            if name == "attempt_started":
                attempts[story.id, message.attempt_started.task_id] += 1
            elif name == "planning_started":
                attempts[story.id, ""] += 1
            elif name == "task_completed":
                completed.add((story.id, message.task_completed.task_id))
            elif name == "plan_adopted" and "query" in story.options:
                planned.add((story.id, ""))
    for call, times in repeats.begun.items():
        assert call.workflow_id == MEETING_WORKFLOW or times <= attempts[call.task], (call, times)
    answered = {call.task for call in repeats.ended if call.kind == MODEL}
    assert completed | planned <= answered
