"""The journals' rows: what several runs have called is stored together."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from orcs_server.errors import Conflict
from orcs_server.storage.blobs import PackedBlob
from orcs_server.storage.codec import decode_usage, encode
from orcs_server.storage.journal import (
    CutOff,
    JournalEntry,
    JournalHead,
    JournalKey,
    JournalRows,
    MessageRead,
    ModelCall,
    Spent,
    ToolCall,
)
from orcs_server.storage.sqlite.queries import QUERIES, Bulk, Row
from orcs_server.storage.sqlite.reader import Reader
from orcs_server.workflow.model import NO_USAGE, Digest

_add_blobs = Bulk("add_blobs")
_add_blob_uses = Bulk("add_blob_uses")
_put_journals = Bulk("put_journals")
_add_model_calls = Bulk("add_model_calls")
_put_tool_calls = Bulk("put_tool_calls")


def take_over(connection: sqlite3.Connection, key: JournalKey, attempt: int) -> None:
    """Make the attempt the one that writes. Raises Conflict when that is a later one already."""
    row = connection.execute(QUERIES["journal_writer"], key).fetchone()
    if row is not None and row[0] > attempt:
        raise _overtaken(key, f"attempt {row[0]} has taken over")
    connection.execute(QUERIES["take_over_journal"], (*key, attempt))


class Append:
    """Calls of one run. Those that wait together are stored together, a few statements for all of them."""

    def __init__(
        self,
        key: JournalKey,
        attempt: int,
        entries: Sequence[JournalEntry],
        blobs: Sequence[PackedBlob],
        spent: Spent,
    ) -> None:
        """`spent` is what the attempt has consumed up to these calls."""
        self.key = key
        self.attempt = attempt
        self.entries = entries
        self.blobs = blobs
        self.spent = spent
        self.weight = len(entries) + 2 * len(blobs)

    @property
    def finishes(self) -> bool:
        """Whether a call came to its end."""
        return any(
            isinstance(entry, ModelCall)
            or (isinstance(entry, ToolCall) and entry.result is not None and not entry.dropped)
            for entry in self.entries
        )

    def run(self, connection: sqlite3.Connection, _log: object) -> None:
        """Store these calls alone. Raises Conflict."""
        append_together(connection, [self])

    def settle(self, *, done: bool) -> None:
        """Nothing to tell."""


def append_together(connection: sqlite3.Connection, appends: Sequence[Append]) -> None:
    """Store the calls of several runs in their order. Raises Conflict when an attempt may not write any more."""
    if not appends:
        return
    _write_journals(connection, appends)
    _add_blobs.run(connection, [(one.key.namespace, *blob) for one in appends for blob in one.blobs])
    uses: list[Row] = [(*one.key[:2], blob.digest) for one in appends for blob in one.blobs]
    _add_blob_uses.run(connection, uses)
    model_calls: list[Row] = []
    tool_calls: list[Row] = []
    for one in appends:
        for entry in one.entries:
            match entry:
                case ModelCall():
                    model_calls.append((*one.key, entry.path, entry.turn, entry.input_hash, entry.response))
                case ToolCall():
                    call = (entry.path, entry.call_id, entry.tool, entry.repeatable, entry.result, entry.dropped)
                    tool_calls.append((*one.key, *call))
                case MessageRead():
                    message = (entry.path, entry.turn, entry.position, entry.message_id)
                    connection.execute(QUERIES["put_read_message"], (*one.key, *message))
                case CutOff():
                    _add_model_calls.run(connection, model_calls)
                    model_calls.clear()
                    for cut in ("cut_model_calls", "cut_read_messages"):
                        connection.execute(QUERIES[cut], (*one.key, entry.path, entry.turn))
    _add_model_calls.run(connection, model_calls)
    _put_tool_calls.run(connection, tool_calls)


def _write_journals(connection: sqlite3.Connection, appends: Sequence[Append]) -> None:
    """Note which attempts write, which of them have stored a finished call, and what they have consumed. Raises Conflict."""
    known: dict[JournalKey, _Head] = {}
    changed: dict[JournalKey, _Head] = {}
    for one in appends:
        key = one.key
        if key not in known:
            row = connection.execute(QUERIES["journal_head"], (key.task_id, key.run, *key[:2])).fetchone()
            if row is None:
                raise _overtaken(key, "the workflow is gone")
            known[key] = _Head(*row)
        head = known[key].followed_by(one)
        if head != known[key]:
            known[key] = changed[key] = head
    _put_journals.run(connection, [(*key, *head) for key, head in changed.items()])


class _Head(NamedTuple):
    """A run's row."""

    attempt: int
    grown_in: int
    calls: int
    usage: bytes

    def followed_by(self, one: Append) -> _Head:
        """Return the row after these calls. Raises Conflict."""
        if self.attempt > one.attempt:
            raise _overtaken(one.key, f"attempt {self.attempt} has taken over")
        calls, usage = (self.calls, self.usage) if self.attempt == one.attempt else (0, encode(NO_USAGE))
        if one.spent.calls > calls:
            calls, usage = one.spent.calls, encode(one.spent.usage)
        return _Head(one.attempt, one.attempt if one.finishes else self.grown_in, calls, usage)


def rows(reader: Reader, key: JournalKey) -> JournalRows:
    """Return what is stored of a run."""
    calls: list[Any] = reader.page(QUERIES["model_calls"], key)
    tools: list[Any] = reader.page(QUERIES["tool_calls"], key)
    messages: list[Any] = reader.page(QUERIES["read_messages"], key)
    return JournalRows(
        [ModelCall(*row) for row in calls],
        [_tool_call(*row) for row in tools],
        [MessageRead(*row) for row in messages],
    )


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
