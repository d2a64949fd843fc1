"""Every call of a model or a tool, noted in a file outside the server: one line when it begins, one when it has ended.

A line is written before the act goes on, so that the file knows of all that has happened, stored or not.
"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from orcs_server.storage.codec import decode_task_progress
from tests.torture.calls import BEGUN, MODEL, TOOL
from tests.torture.deaths import copied

FOLDER_VARIABLE = "CONTROL_FOLDER"
"""Names the folder in which calls are noted, and in which gates are."""
CALLS = "calls.txt"


class Call(NamedTuple):
    """Which call: the same one, whoever makes it and however often."""

    kind: str
    workflow_id: str
    task_id: str
    """Empty: the planner's."""
    run: int
    path: str
    """The tool call within which a nested agent works; empty: the task's own agent."""
    name: str
    """A model call's turn, a tool call's id."""


class Death(NamedTuple):
    """The end of a server, and what it left."""

    lines: int
    """So many lines had been noted."""
    stored: frozenset[Call]
    """Calls whose response or result is stored."""
    completed: frozenset[tuple[str, str, int]]
    """Workflow, task and run of what has completed: all its calls are finished."""


def folder() -> Path:
    """Return the folder that the server shares with its test."""
    return Path(os.environ[FOLDER_VARIABLE])


def note(word: str, call: Call) -> None:
    """Append a line to the file of the calls."""
    file = os.open(folder() / CALLS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{word} {json.dumps(call)}\n".encode())
    os.close(file)


def noted(where: Path) -> list[tuple[str, Call]]:
    """Return all lines up to now."""
    path = where / CALLS
    lines = path.read_text().splitlines() if path.exists() else []
    return [(word, Call(*json.loads(call))) for word, _, call in (line.partition(" ") for line in lines)]


def look_at(data: Path, lines: int) -> Death:
    """Read what a dead server left, from a copy, so that the next one finds its files as they were."""
    with copied(data) as connection:
        return _read(connection, lines)


def _read(connection: sqlite3.Connection, lines: int) -> Death:
    models = connection.execute("SELECT workflow_id, task_id, run, path, turn FROM journal_model_calls")
    tools = connection.execute(
        "SELECT workflow_id, task_id, run, path, call_id FROM journal_tool_calls WHERE result IS NOT NULL"
    )
    stored = {Call(MODEL, workflow, task, run, path, str(turn)) for workflow, task, run, path, turn in models}
    stored |= {Call(TOOL, *row) for row in tools}
    tasks = connection.execute("SELECT workflow_id, id, progress FROM tasks WHERE status = 'COMPLETED'")
    completed = {(workflow, task, decode_task_progress(body).run) for workflow, task, body in tasks}
    return Death(lines, frozenset(stored), frozenset(completed))


def repeated(lines: list[tuple[str, Call]], deaths: list[Death]) -> list[Call]:
    """Return the calls that were made again by a later server, although they were finished and stored. There must be none."""
    return [
        call
        for death in deaths
        for word, call in lines[death.lines :]
        if word == BEGUN and (call in death.stored or (call.workflow_id, call.task_id, call.run) in death.completed)
    ]
