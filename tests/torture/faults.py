"""Fault points: the process kills itself at a commit that it has not been killed at before. Only the zygote's children do."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Sequence
from typing import Any

from orcs_server.storage.journal import CutOff, ModelCall, ToolCall
from orcs_server.storage.sqlite import writer
from orcs_server.storage.sqlite.batch import Commit, Erasure, LogEnd, Operation
from orcs_server.storage.sqlite.journal import Append
from orcs_server.workflow.events import WorkflowDeleted

POINTS = ("before", "inside", "after")
"""Of a commit: nothing is written yet; all statements ran and the transaction is open; it is durable and nobody was told."""


ONCE_START = "ONCE-START"
"""A call begins of a tool that must not run twice."""
JOURNALED = ("MODEL-CALL", "TOOL-START", ONCE_START, "TOOL-RESULT")
"""What takes the place of a state in a commit of the call journal."""


def situations(point: str, operations: Sequence[Operation]) -> set[str]:
    """Return `point status event` for each event of the batch, with the workflow's status after it; for the journal likewise."""
    found: set[str] = set()
    for operation in operations:
        if isinstance(operation, Commit | Erasure):
            write = operation.write
            gone = isinstance(write.events[-1].event, WorkflowDeleted)
            status = "DELETED" if gone else str(write.state.status)
            found.update(f"{point} {status} {type(record.event).__name__}" for record in write.events)
        elif isinstance(operation, Append):
            entries = (entry for entry in operation.entries if not isinstance(entry, CutOff))
            found.update(f"{point} {_journaled(entry)}" for entry in entries)
    return found


def _journaled(entry: ModelCall | ToolCall) -> str:
    if isinstance(entry, ModelCall):
        return f"{JOURNALED[0]} {'nested' if entry.path else 'own'}"
    if entry.result is not None:
        return f"{JOURNALED[3]} {entry.tool}"
    return f"{JOURNALED[1 if entry.repeatable else 2]} {entry.tool}"


class KillOnNew:
    """Kills this process at the first situation outside `known`, and says before on standard output which one it was.

    In `known`, a situation without its event stands for all events.
    """

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self._batch: Sequence[Operation] = ()

    def install(self) -> None:
        """Put the fault points around the writer's two steps."""
        begin, end = writer.begin_batch, writer.end_batch

        def begin_batch(connection: sqlite3.Connection, log: LogEnd, operations: Sequence[Operation]) -> list[Any]:
            self._batch = operations
            self._pass("before")
            return begin(connection, log, operations)

        def end_batch(connection: sqlite3.Connection) -> None:
            self._pass("inside")
            end(connection)
            self._pass("after")

        writer.begin_batch, writer.end_batch = begin_batch, end_batch

    def _pass(self, point: str) -> None:
        here = situations(point, self._batch)
        if any(one not in self._known and one.rpartition(" ")[0] not in self._known for one in here):
            line = json.dumps({"killed_at": sorted(here)})
            os.write(1, f"{line}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
