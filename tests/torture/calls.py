"""Every call of a model or a tool, noted in a file outside the server: one line when it begins, one when it has ended.

A line is written before the act goes on, so that the file knows of all that has happened, stored or not.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

CALLS_VARIABLE = "TORTURE_CALLS"
"""Names the file of the calls."""
BEGUN, ENDED = "begun", "ended"
MODEL, TOOL = "model", "tool"


class Call(NamedTuple):
    """Which call: the same one, whoever makes it and however often."""

    kind: str
    workflow_id: str
    task_id: str
    """Empty: the planner's."""
    path: str
    """The tool call within which a nested agent works; empty: the task's own agent."""
    name: str
    """A model call's turn, a tool call's id."""

    @property
    def task(self) -> tuple[str, str]:
        """The task that it is made for."""
        return self.workflow_id, self.task_id


def note(word: str, call: Call) -> None:
    """Append a line to the file of the calls; the system keeps lines of several processes apart."""
    path = os.environ.get(CALLS_VARIABLE)
    if path:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, f"{word} {json.dumps(call)}\n".encode())
        os.close(file)


def read_line(line: str) -> tuple[str, Call]:
    """Return the word and the call of a line."""
    word, _, call = line.partition(" ")
    return word, Call(*json.loads(call))
