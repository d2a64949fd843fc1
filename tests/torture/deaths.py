"""What is stored at the moment at which a server has died: read from a copy of its files, so that the next server finds them as
they were.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from orcs_server.workflow.states import TASK_TERMINAL, WORKFLOW_TERMINAL
from tests.torture.calls import MODEL, TOOL, Call

Task = tuple[str, str]
"""Workflow and task; the planner's task is empty."""

_ENDED_TASKS = frozenset(str(status) for status in TASK_TERMINAL)
_ENDED_WORKFLOWS = frozenset(str(status) for status in WORKFLOW_TERMINAL)


class End(StrEnum):
    """How a server ended."""

    KILLED = "killed"
    ORDERLY = "orderly"
    """By one SIGTERM."""
    CUT_SHORT = "cut short"
    """By a second one."""


class Death(NamedTuple):
    """The end of a server, and what it left."""

    end: End
    line: int
    """So many lines had been noted in the file of the calls."""
    workflows: frozenset[str]
    """Those that there are."""
    settled: frozenset[Task]
    """Tasks that have ended, in whatever way: their answers are stored, if there were any."""
    running: frozenset[Task]
    finished: frozenset[Call]
    """Calls whose response or result is stored."""
    in_doubt: frozenset[Call]
    """Calls that had begun, of tools that must not run twice, without a result."""


@contextmanager
def copied(data: Path) -> Iterator[sqlite3.Connection]:
    """A copy of a dead server's files, opened. It lies beside the folder of the data."""
    with tempfile.TemporaryDirectory(dir=data.parent.parent) as folder:
        for name in (data.name, f"{data.name}-wal"):
            if (data.parent / name).exists():
                shutil.copyfile(data.parent / name, Path(folder) / name)
        with closing(sqlite3.connect(Path(folder) / data.name)) as connection:
            yield connection


def look_at(data: Path, calls: Path, end: End) -> Death:
    """Read what a dead server left."""
    lines = calls.read_bytes().count(b"\n") if calls.exists() else 0
    with copied(data) as connection:
        return _read(connection, end, lines)


def _read(connection: sqlite3.Connection, end: End, lines: int) -> Death:
    statuses = dict(connection.execute("SELECT id, status FROM workflows"))
    settled = {(workflow_id, "") for workflow_id, status in statuses.items() if status != "PLANNING"}
    running: set[Task] = set()
    for workflow_id, task_id, status in connection.execute("SELECT workflow_id, id, status FROM tasks"):
        if status in _ENDED_TASKS or statuses[workflow_id] in _ENDED_WORKFLOWS:
            settled.add((workflow_id, task_id))
        elif status == "RUNNING":
            running.add((workflow_id, task_id))
    finished = {
        Call(MODEL, workflow_id, task_id, path, str(turn))
        for workflow_id, task_id, path, turn in connection.execute(
            "SELECT workflow_id, task_id, path, turn FROM journal_model_calls"
        )
    }
    in_doubt: set[Call] = set()
    for workflow_id, task_id, path, call_id, repeatable, result in connection.execute(
        "SELECT workflow_id, task_id, path, call_id, repeatable, result FROM journal_tool_calls WHERE dropped = 0"
    ):
        call = Call(TOOL, workflow_id, task_id, path, call_id)
        if result is not None:
            finished.add(call)
        elif not repeatable and call.task not in settled:
            in_doubt.add(call)
    return Death(
        end,
        lines,
        frozenset(statuses),
        frozenset(settled),
        frozenset(running),
        frozenset(finished),
        frozenset(in_doubt),
    )
