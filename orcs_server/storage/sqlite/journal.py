"""The journals' rows: upserted one call at a time, and together with the end of an attempt."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from orcs_server.errors import Conflict
from orcs_server.storage.blobs import PackedBlob
from orcs_server.storage.codec import decode_usage, encode
from orcs_server.storage.journal import (
    CutOff,
    JournalEntry,
    JournalHead,
    JournalKey,
    JournalRows,
    ModelCall,
    Spent,
    ToolCall,
)
from orcs_server.storage.sqlite.batch import add_blobs, add_model_calls, use_blobs
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader
from orcs_server.workflow.model import Digest


def take_over(connection: sqlite3.Connection, key: JournalKey, attempt: int) -> None:
    """Make the attempt the one that writes. Raises Conflict when that is a later one already."""
    row = connection.execute(QUERIES["journal_writer"], key).fetchone()
    if row is not None and row[0] > attempt:
        raise _overtaken(key, f"attempt {row[0]} has taken over")
    connection.execute(QUERIES["take_over_journal"], (*key, attempt))


def append(
    connection: sqlite3.Connection,
    key: JournalKey,
    attempt: int,
    entries: Sequence[JournalEntry],
    blobs: Sequence[PackedBlob],
    spent: Spent,
) -> None:
    """Store entries in their order, and what their attempt has consumed up to them."""
    if connection.execute(QUERIES["workflow_seq"], key[:2]).fetchone() is None:
        raise _overtaken(key, "the workflow is gone")
    take_over(connection, key, attempt)
    add_blobs(connection, key.namespace, blobs)
    use_blobs(connection, key.namespace, key.workflow_id, [blob.digest for blob in blobs])
    finished = False
    for entry in entries:
        match entry:
            case ModelCall():
                add_model_calls(connection, [(*key, entry.path, entry.turn, entry.input_hash, entry.response)])
                finished = True
            case ToolCall():
                call = (entry.path, entry.call_id, entry.tool, entry.repeatable, entry.result, entry.dropped)
                connection.execute(QUERIES["put_tool_call"], (*key, *call))
                finished = finished or (entry.result is not None and not entry.dropped)
            case CutOff():
                connection.execute(QUERIES["cut_model_calls"], (*key, entry.path, entry.turn))
    if finished or spent.calls:
        grown_in = attempt if finished else 0
        connection.execute(QUERIES["grow_journal"], (grown_in, spent.calls, encode(spent.usage), *key))


def rows(reader: Reader, key: JournalKey) -> JournalRows:
    """Return what is stored of a run."""
    calls: list[Any] = reader.page(QUERIES["model_calls"], key)
    tools: list[Any] = reader.page(QUERIES["tool_calls"], key)
    return JournalRows([ModelCall(*row) for row in calls], [_tool_call(*row) for row in tools])


def heads(reader: Reader, namespace: str, workflow_id: str) -> dict[str, JournalHead]:
    """Return how far the journals of a workflow have come, by task id."""
    found: dict[str, JournalHead] = {}
    for task_id, attempt, calls, usage, grown in reader.page(QUERIES["journal_heads"], (namespace, workflow_id)):
        before = found.get(task_id)
        grown_in = grown if before is None else max(grown, before.grown_in)
        found[task_id] = JournalHead(attempt, Spent(calls, decode_usage(usage)), grown_in)
    return found


def _tool_call(path: str, call_id: str, tool: str, repeatable: int, result: str | None, dropped: int) -> ToolCall:
    digest = None if result is None else Digest(result)
    return ToolCall(path, call_id, tool, bool(repeatable), digest, bool(dropped))


def _overtaken(key: JournalKey, why: str) -> Conflict:
    return Conflict("STALE_WRITE", f"The attempt of task {key.task_id!r} may not go on: {why}.")
