"""What a transaction of the writer does: all writes of a batch together, a few steps to a table, or, when one of them cannot
go through, one after the other, each in a savepoint, so that only the offender fails.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from orcs_server.errors import AlreadyExists, Conflict
from orcs_server.identity.quotas import NamespaceQuota
from orcs_server.storage.blobs import PackedBlob
from orcs_server.storage.codec import SCHEMA_VERSION, damaged, encode
from orcs_server.storage.rows import (
    changes_specs,
    changes_workflow_spec,
    is_live,
    new_mail,
    touched_inputs,
    touched_tasks,
    turns_workflow,
    used_blobs,
)
from orcs_server.storage.sqlite import audit, usage
from orcs_server.storage.sqlite.journal import Append, append_together
from orcs_server.storage.sqlite.queries import QUERIES, Bulk, Row
from orcs_server.storage.store import DuplicateRequest, RequestKey, RequestRecord, Write
from orcs_server.workflow.due import next_wake_us, waits_for_people
from orcs_server.workflow.model import Digest

_count_known_ids = Bulk("count_known_ids")
_add_workflows = Bulk("add_workflows")
_move_workflows = Bulk("move_workflows")
_turn_workflows = Bulk("turn_workflows")
_add_labels = Bulk("add_labels")
_put_tasks = Bulk("put_tasks")
_move_tasks = Bulk("move_tasks")
_add_events = Bulk("add_events")
_add_blobs = Bulk("add_blobs")
_add_blob_uses = Bulk("add_blob_uses")
_add_requests = Bulk("add_requests")
_put_inputs = Bulk("put_inputs")
_add_mail = Bulk("add_mail")


_REMOVALS = (
    "remove_blob_uses",
    "remove_journals",
    "remove_model_calls",
    "remove_tool_calls",
    "remove_read_messages",
    "remove_inputs",
    "remove_mail",
    "remove_tasks",
    "remove_labels",
    "remove_workflow",
)
"""What takes everything but the blobs and the last event of a workflow away."""

HEAVY = 1_000_000
"""The weight of what may write or remove any number of rows."""


class Offence(Exception):
    """One of several writes cannot go through; which one, and why, comes out when each runs alone."""


class LogEnd:
    """The last position given. Whoever rolls back puts it back too."""

    def __init__(self, position: int) -> None:
        self.position = position


class Operation(Protocol):
    """Something to be done in a transaction."""

    weight: int
    """How many rows it writes, roughly."""

    def run(self, connection: sqlite3.Connection, log: LogEnd, /) -> Any:
        """Do it. Raises what is wrong with it; the caller rolls back."""

    def settle(self, *, done: bool) -> None:
        """Called after the transaction, before anybody is told: whether it was done."""


class Commit:
    """A write. Neighbouring commits of different workflows are carried out together."""

    def __init__(self, write: Write, blobs: Sequence[PackedBlob], quota: NamespaceQuota | None = None) -> None:
        """`quota` is what has to be kept to, by a write that creates a workflow."""
        self.write = write
        self.blobs = blobs
        self.quota = quota
        self.first_position = 0
        tasks = len(write.state.tasks) if write.touched is None else len(write.touched)
        self.weight = len(write.events) + 2 * (tasks + len(blobs))

    def run(self, connection: sqlite3.Connection, log: LogEnd) -> None:
        """Carry out this write alone."""
        refuse(connection, self.write)
        try:
            store_together(connection, log, [self])
        except Offence as error:
            raise damaged(f"workflow {self.write.workflow_id}, whose tasks are not all there") from error

    def settle(self, *, done: bool) -> None:
        """Tell the records where they lie."""
        if done:
            number_records(self.write, self.first_position)


class Change:
    """Any other change, as a function."""

    def __init__(
        self, apply: Callable[[sqlite3.Connection], Any], weight: int = 1, settled: Callable[[Any], None] | None = None
    ) -> None:
        """`settled` is called with the result once the change is durable, or with None if it was refused, even where nobody waits for
        it any more.
        """
        self._apply = apply
        self._settled = settled
        self._result: Any = None
        self.weight = weight

    def run(self, connection: sqlite3.Connection, _log: LogEnd) -> Any:
        """Return the function's result."""
        self._result = self._apply(connection)
        return self._result

    def settle(self, *, done: bool) -> None:
        """Tell that it is over."""
        if self._settled is not None:
            self._settled(self._result if done else None)


class Erasure:
    """A write that ends with WorkflowDeleted: of the workflow only that event stays."""

    def __init__(self, write: Write) -> None:
        self.write = write
        self.first_position = 0
        self.weight = HEAVY

    def run(self, connection: sqlite3.Connection, log: LogEnd) -> list[Digest]:
        """Erase the workflow; return the digests of the blobs that went with it."""
        write = self.write
        identity = (write.namespace, write.workflow_id)
        refuse(connection, write)
        self.first_position = log.position + 1
        _add_events.run(connection, event_rows(log, write))
        usage.count_writes(connection, [write])
        store_requests(connection, [write])
        store_audit(connection, [write])
        connection.execute(QUERIES["remove_events_before"], (*identity, write.events[-1].seq))
        named = {"namespace": write.namespace, "workflow_id": write.workflow_id}
        erased = connection.execute(QUERIES["remove_unshared_blobs"], named).fetchall()
        for statement in _REMOVALS:
            connection.execute(QUERIES[statement], identity)
        return [Digest(digest) for (digest,) in erased]

    def settle(self, *, done: bool) -> None:
        """Tell the records where they lie, or lay."""
        if done:
            number_records(self.write, self.first_position)


def number_records(write: Write, first_position: int) -> None:
    """Set the positions of a write's records."""
    for position, record in enumerate(write.events, start=first_position):
        record.position = position


def refuse(connection: sqlite3.Connection, write: Write) -> None:
    """Raise DuplicateRequest, AlreadyExists or Conflict when the write cannot go through."""
    if write.request is not None:
        known = find_request(connection, write.request.key)
        if known is not None:
            raise DuplicateRequest(known)
    row = connection.execute(QUERIES["workflow_seq"], (write.namespace, write.workflow_id)).fetchone()
    if write.base_seq == 0:
        if row is not None or _count_known_ids.count(connection, [(write.namespace, write.workflow_id)]):
            raise AlreadyExists(
                "WORKFLOW_ALREADY_EXISTS",
                f"The workflow id {write.workflow_id!r} is taken, or was before a deletion: choose another one.",
            )
    elif row is None or row[0] != write.base_seq:
        raise Conflict(
            "STALE_WRITE", f"Workflow {write.workflow_id!r} has changed meanwhile: read it again and repeat."
        )


def find_request(connection: sqlite3.Connection, key: RequestKey) -> RequestRecord | None:
    """Return what the request led to, if it is known."""
    row = connection.execute(QUERIES["find_request"], key).fetchone()
    return None if row is None else RequestRecord(key, *row)


def run_together(connection: sqlite3.Connection, log: LogEnd, operations: Sequence[Operation]) -> list[Any]:
    """Carry out a batch, neighbouring writes of different workflows as one, and neighbouring calls of runs as one. Raises when
    any of them cannot go through. Writes and calls touch different tables: they may change places.
    """
    results: list[Any] = []
    commits: dict[tuple[str, str], Commit] = {}
    appends: list[Append] = []

    def store_commits() -> None:
        store_together(connection, log, list(commits.values()))
        commits.clear()

    def store_appends() -> None:
        append_together(connection, appends)
        appends.clear()

    for operation in operations:
        if isinstance(operation, Commit):
            key = (operation.write.namespace, operation.write.workflow_id)
            if key in commits:
                store_commits()
            commits[key] = operation
            results.append(None)
        elif isinstance(operation, Append):
            appends.append(operation)
            results.append(None)
        else:
            store_commits()
            store_appends()
            results.append(operation.run(connection, log))
    store_commits()
    store_appends()
    return results


def store_together(connection: sqlite3.Connection, log: LogEnd, commits: Sequence[Commit]) -> None:
    """Store writes of different workflows, grouped by table. Raises Offence, or QuotaExceeded, when one cannot go through."""
    creations = [(commit.quota, commit.write) for commit in commits if commit.quota is not None]
    if creations:
        usage.refuse_creations(connection, creations)
    usage.count_writes(connection, [commit.write for commit in commits])
    _store_workflows(connection, [commit.write for commit in commits])
    _store_tasks(connection, [commit.write for commit in commits])
    _store_people(connection, [commit.write for commit in commits])
    blobs: list[Row] = [(commit.write.namespace, *blob) for commit in commits for blob in commit.blobs]
    _add_blobs.run(connection, blobs)
    store_requests(connection, [commit.write for commit in commits])
    events: list[Row] = []
    for commit in commits:
        commit.first_position = log.position + 1
        events += event_rows(log, commit.write)
    _add_events.run(connection, events)
    store_audit(connection, [commit.write for commit in commits])


def store_audit(connection: sqlite3.Connection, writes: Sequence[Write]) -> None:
    """Write down in the audit log who wanted these writes."""
    drafts = [(write.namespace, draft) for write in writes for draft in write.audit]
    if drafts:
        audit.append(connection, drafts)


def event_rows(log: LogEnd, write: Write) -> list[Row]:
    """Number the write's events and return their rows."""
    if write.events[-1].seq != write.base_seq + len(write.events):
        raise ValueError(f"events of {write.workflow_id!r} are not numbered on from seq {write.base_seq}")
    rows: list[Row] = []
    position = log.position
    for record in write.events:
        position += 1
        name = type(record.event).__name__
        rows.append(
            (
                position, record.namespace, record.workflow_id, record.seq, name, SCHEMA_VERSION[name],
                record.time_us, record.actor, record.cause, encode(record.event),
            )
        )  # fmt: skip
    log.position = position
    return rows


def add_blobs(connection: sqlite3.Connection, namespace: str, blobs: Sequence[PackedBlob]) -> None:
    """Store blobs to which nothing refers yet."""
    _add_blobs.run(connection, [(namespace, *blob) for blob in blobs])


def add_request(connection: sqlite3.Connection, request: RequestRecord) -> None:
    """Remember a request that is about no single workflow. Raises DuplicateRequest when it is known already."""
    known = find_request(connection, request.key)
    if known is not None:
        raise DuplicateRequest(known)
    put_request(connection, request)


def put_request(connection: sqlite3.Connection, request: RequestRecord) -> None:
    """Remember a request that `find_request` did not find in this transaction."""
    _add_requests.run(connection, [_request_row(request)])


def _request_row(request: RequestRecord) -> Row:
    return (*request.key, request.command_hash, request.workflow_id, request.seq, request.created_us, request.answer)


def store_requests(connection: sqlite3.Connection, writes: Sequence[Write]) -> None:
    """Remember the requests behind the writes. Raises Offence when one is known already."""
    requests = [_request_row(write.request) for write in writes if write.request is not None]
    if requests and _add_requests.run(connection, requests) != len(requests):
        raise Offence


def _store_workflows(connection: sqlite3.Connection, writes: Sequence[Write]) -> None:
    created: list[Row] = []
    moved: list[Row] = []
    turned: list[Row] = []
    labels: list[Row] = []
    for write in writes:
        state, last = write.state, write.events[-1]
        identity = (write.namespace, write.workflow_id)
        now = (last.seq, last.time_us, encode(state.progress), next_wake_us(state), waits_for_people(state))
        if not write.base_seq:
            caller = None if write.caller is None else encode(write.caller)
            begun = (state.spec.title, state.progress.created_us, encode(state.spec), caller)
            created.append((*identity, *now, state.progress.status, is_live(state), *begun))
            labels += [(*identity, key, value) for key, value in state.spec.labels]
        elif turns_workflow(write):
            turned.append((*identity, write.base_seq, *now, state.progress.status, is_live(state)))
        else:
            moved.append((*identity, write.base_seq, *now))
    if created:
        if _count_known_ids.count(connection, [row[:2] for row in created]):
            raise Offence
        if _add_workflows.run(connection, created) != len(created):
            raise Offence
        _add_labels.run(connection, labels)
    if _move_workflows.run(connection, moved) + _turn_workflows.run(connection, turned) != len(moved) + len(turned):
        raise Offence


def _store_people(connection: sqlite3.Connection, writes: Sequence[Write]) -> None:
    asked: list[Row] = []
    said: list[Row] = []
    for write in writes:
        identity = (write.namespace, write.workflow_id)
        asked += [
            (*identity, one.ordinal, one.open, one.need.kind, one.task_id, one.created_us, encode(one))
            for one in touched_inputs(write)
        ]
        said += [(*identity, one.ordinal, encode(one)) for one in new_mail(write)]
        if changes_workflow_spec(write):
            connection.execute(QUERIES["respecify_workflow"], (encode(write.state.spec), *identity))
            connection.execute(QUERIES["remove_labels"], identity)
            _add_labels.run(connection, [(*identity, key, value) for key, value in write.state.spec.labels])
    _put_inputs.run(connection, asked)
    _add_mail.run(connection, said)


def _store_tasks(connection: sqlite3.Connection, writes: Sequence[Write]) -> None:
    put: list[Row] = []
    moved: list[Row] = []
    uses: list[Row] = []
    for write in writes:
        identity = (write.namespace, write.workflow_id)
        changed, removed = touched_tasks(write)
        with_specs = changes_specs(write)
        uses += [(*identity, digest) for digest in used_blobs(write, changed, with_specs)]
        if write.touched is None and write.base_seq:
            connection.execute(QUERIES["remove_tasks"], identity)
        for task_id in removed:
            connection.execute(QUERIES["remove_task"], (*identity, task_id))
        for task in changed:
            now = (task.progress.status, encode(task.progress))
            if with_specs:
                spec = task.spec
                put.append((*identity, task.ordinal, spec.id, now[0], spec.agent_id, now[1], encode(spec)))
            else:
                moved.append((*identity, task.ordinal, *now))
    _put_tasks.run(connection, put)
    if _move_tasks.run(connection, moved) != len(moved):
        raise Offence
    _add_blob_uses.run(connection, uses)
