"""What is wrong with a data file, found by reading all of it as of one moment, whether or not a server is using it."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from orcs_server.storage import blobs as at_rest
from orcs_server.storage.codec import (
    Unreadable,
    decode_event,
    decode_input,
    decode_message,
    decode_task_progress,
    decode_task_spec,
    decode_usage,
    decode_workflow_progress,
    decode_workflow_spec,
)
from orcs_server.storage.rows import is_live, state_blobs
from orcs_server.storage.sqlite.audit_file import misfits
from orcs_server.storage.sqlite.copies import AUDIT_SINCE, connect_reader
from orcs_server.storage.sqlite.migrate import MIGRATIONS, read_version
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.store import ROOM_WANTED
from orcs_server.workflow.due import next_wake_us, suspects, waits_for_people
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.people import PendingInput, PersonMessage
from orcs_server.workflow.restore import restore
from orcs_server.workflow.state import WorkflowState

MOST_OF_A_KIND = 100
"""Findings that are reported of each check; the others are counted."""

USAGE_SINCE = 3
"""The version of the schema from which on journals hold what their attempts consumed."""

PEOPLE_SINCE = 4
"""The version from which on there is what waits for people."""
MEMORY_SINCE = 5
"""The version from which on memory's rows are where they are now."""

USAGE_DAYS_SINCE = 8
"""The version from which on it is noted what namespaces hold."""

Obstacles = Callable[[WorkflowState, bytes | None], Sequence[str]]
"""Says of a live workflow and its configuration's bytes why a server could not continue it."""


class Finding(Struct, frozen=True):
    """One thing that is wrong."""

    check: str
    """pages, rows, holdings, blobs, log, replay, columns, continue, audit, disk or poisoned."""
    message: str
    namespace: str = ""
    workflow_id: str = ""


class Examination(Struct):
    """What was looked at, and what was found."""

    path: str
    version: int
    """Of the file's schema."""
    newest_version: int
    """That this program knows; a server brings the file up to it."""
    epoch: str = ""
    workflows: int = 0
    live: int = 0
    """Workflows that a server looks after when it starts."""
    events: int = 0
    blobs: int = 0
    unused_blobs: int = 0
    """To which nothing refers: no fault; a server erases them by and by."""
    unused_bytes: int = 0
    findings: list[Finding] = []
    omitted: dict[str, int] = {}
    """How many more findings of a check there are than are reported."""
    warnings: list[Finding] = []
    """What is no fault of the file, but wants looking after: a disk that is full, tasks that may be what ends the server."""

    @property
    def healthy(self) -> bool:
        return not self.findings

    @property
    def well(self) -> bool:
        """Nothing is wrong, and nothing wants looking after."""
        return not self.findings and not self.warnings


def examine(path: Path, obstacles: Obstacles = lambda _state, _configuration: ()) -> Examination:
    """Read a whole data file and return what is wrong with it. Nothing is changed.

    Raises StartupError for a file that cannot be opened, is none of ours, or is newer than this program.
    """
    with closing(connect_reader(path)) as connection:
        report = Examination(str(path), read_version(connection), len(MIGRATIONS))
        examiner = _Examiner(connection, obstacles)
        for check, look in (
            ("pages", examiner.pages),
            ("rows", lambda: examiner.census(report)),
            ("rows", examiner.rows),
            ("holdings", examiner.holdings),
            ("blobs", examiner.blobs),
            ("log", examiner.workflows),
            ("audit", examiner.audit),
        ):
            try:
                examiner.note(look())
            except sqlite3.Error as error:
                examiner.note([Finding(check, f"the file is damaged, so this could not be looked at ({error})")])
        report.findings, report.omitted = examiner.findings, dict(+examiner.omitted)
        report.warnings = [*_room(path), *examiner.suspects[:MOST_OF_A_KIND]]
    return report


def _room(path: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(path.absolute().parent).free
    if free < ROOM_WANTED:
        yield Finding("disk", f"the disk is full or nearly so: {free:,} bytes are free")


def _suspects(state: WorkflowState) -> Iterator[Finding]:
    """Return the tasks of a live workflow that were lost together with the server time and again."""
    for task_id, losses in suspects(state):
        what = f"task {task_id}" if task_id else "planning"
        text = f"{what} was lost with the server {losses} times in a row: it may be what ends the server"
        yield Finding("poisoned", text, state.namespace, state.id)


class _Examiner:
    """Looks at one file over one connection, and gathers what it finds."""

    def __init__(self, connection: sqlite3.Connection, obstacles: Obstacles) -> None:
        self._connection = connection
        self._obstacles = obstacles
        self._noted: Counter[str] = Counter()
        self.omitted: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.suspects: list[Finding] = []
        self._has_usage = read_version(connection) >= USAGE_SINCE
        self._has_people = read_version(connection) >= PEOPLE_SINCE
        self._memory = "memory_versions" if read_version(connection) >= MEMORY_SINCE else "memory_entries"
        connection.execute("BEGIN")

    def note(self, found: Iterator[Finding] | Sequence[Finding]) -> None:
        """Keep findings, but only so many of a check."""
        for finding in found:
            self._noted[finding.check] += 1
            if self._noted[finding.check] > MOST_OF_A_KIND:
                self.omitted[finding.check] += 1
            else:
                self.findings.append(finding)

    def pages(self) -> Iterator[Finding]:
        """Ask SQLite whether every page and every index is as it wrote them."""
        for (line,) in self._connection.execute(f"PRAGMA integrity_check({MOST_OF_A_KIND})"):
            if line != "ok":
                yield Finding("pages", line)

    def census(self, report: Examination) -> Sequence[Finding]:
        """Count what there is."""
        report.epoch = self._one("epoch")[0]
        report.workflows, report.live, report.events, report.blobs = self._one("census")
        report.unused_blobs, report.unused_bytes = self._one("count_unused_blobs")
        return ()

    def rows(self) -> Iterator[Finding]:
        """Find rows that belong to no workflow."""
        for kind, namespace, workflow_id, count in self._connection.execute(QUERIES["rows_without_workflow"]):
            yield Finding("rows", f"{count} {kind} of a workflow that is not there", namespace, workflow_id)

    def holdings(self) -> Iterator[Finding]:
        """Find namespaces whose quotas are measured by something else than what they hold."""
        if read_version(self._connection) < USAGE_DAYS_SINCE:
            return
        for namespace, noted, size, workflows, live in self._connection.execute(QUERIES["wrong_holdings"]):
            if noted != size:
                said = f"it is noted that the namespace holds {noted} bytes, and it holds {size}"
                yield Finding("holdings", said, namespace)
            if workflows != live:
                said = f"it is noted that {workflows} workflows of the namespace have not ended, and {live} have not"
                yield Finding("holdings", said, namespace)

    def blobs(self) -> Iterator[Finding]:
        """Find texts that something refers to and that are missing, and texts that are not what was stored."""
        for namespace, whose, digest in self._connection.execute(self._query("missing_blobs")):
            yield Finding("blobs", f"blob {digest} of {whose} is missing", namespace)
        for namespace, digest, codec, key_id, packed in self._connection.execute(QUERIES["all_blobs"]):
            if key_id:
                continue  # Only who holds the key can tell.
            try:
                content = at_rest.unpack(codec, key_id, packed)
            except Unreadable as error:
                yield Finding("blobs", f"blob {digest} cannot be read: {error.what}", namespace)
                continue
            if hashlib.sha256(content).hexdigest() != digest:
                yield Finding("blobs", f"blob {digest} is not what was stored: its digest differs", namespace)

    def workflows(self) -> Iterator[Finding]:
        """Look at each workflow: its log, its rows, and whether a server could go on with it."""
        for namespace, workflow_id in self._connection.execute(QUERIES["all_workflows"]).fetchall():
            try:
                for check, message in self._workflow(namespace, workflow_id):
                    yield Finding(check, message, namespace, workflow_id)
            except sqlite3.Error as error:
                yield Finding("pages", f"the workflow lies on damaged pages ({error})", namespace, workflow_id)

    def audit(self) -> Iterator[Finding]:
        """Go along the chains of the audit log."""
        if read_version(self._connection) < AUDIT_SINCE:
            return
        for namespace, misfit in misfits(self._connection):
            text = f"record {misfit.number} of the audit log does not fit: {misfit.reason}"
            yield Finding("audit", text, namespace)

    def _workflow(self, namespace: str, workflow_id: str) -> Iterator[tuple[str, str]]:
        seq, status, live, idle, wake, progress, spec = self._one("workflow_columns", namespace, workflow_id)
        rows = self._connection.execute(QUERIES["all_events"], (namespace, workflow_id)).fetchall()
        yield from _sequence(seq, rows)
        try:
            tasks = self._connection.execute(QUERIES["all_tasks"], (namespace, workflow_id)).fetchall()
            state = restore(
                namespace,
                workflow_id,
                decode_workflow_spec(spec),
                decode_workflow_progress(progress),
                [(ordinal, decode_task_spec(told), decode_task_progress(moved)) for ordinal, told, moved in tasks],
                *self._people(namespace, workflow_id),
            )
            if self._has_usage:
                for *_, usage, _ in self._connection.execute(QUERIES["journal_heads"], (namespace, workflow_id)):
                    decode_usage(usage)
        except Unreadable as error:
            yield "continue" if live else "rows", f"its rows cannot be read: {error.what}"
            return
        yield from _replay(state, rows)
        self.suspects += _suspects(state)
        if (status, bool(live), wake) != (state.progress.status, is_live(state), next_wake_us(state)):
            yield "columns", "its row's columns do not say what its progress says: queries and restarts pass it by"
        elif bool(idle) and not waits_for_people(state):
            yield "columns", "its row says that nothing is due although something is: a restart passes it by"
        noted = {digest for (digest,) in self._connection.execute(QUERIES["all_blob_uses"], (namespace, workflow_id))}
        unnoted = state_blobs(state) - noted
        if unnoted:
            yield "blobs", f"it refers to {len(unnoted)} blobs that nothing keeps for it, such as {min(unnoted)}"
        if live:
            for obstacle in self._obstacles(state, self._configuration(state)):
                yield "continue", f"a server could not continue it: {obstacle}"

    def _people(self, namespace: str, workflow_id: str) -> tuple[list[PendingInput], list[PersonMessage]]:
        if not self._has_people:
            return [], []
        identity = (namespace, workflow_id)
        inputs = [decode_input(body) for (body,) in self._connection.execute(QUERIES["all_inputs"], identity)]
        return inputs, [decode_message(body) for (body,) in self._connection.execute(QUERIES["all_mail"], identity)]

    def _configuration(self, state: WorkflowState) -> bytes | None:
        digest = state.spec.configuration
        if digest is None:
            return None
        row = self._connection.execute(QUERIES["get_blob"], (state.namespace, digest)).fetchone()
        try:
            return None if row is None else at_rest.unpack(*row)
        except Unreadable:
            return None  # Found among the blobs.

    def _one(self, query: str, *parameters: object) -> Any:
        return self._connection.execute(self._query(query), parameters).fetchone()

    def _query(self, name: str) -> str:
        return QUERIES[name].replace("memory_versions", self._memory)


def _sequence(last: int, rows: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Check that the events are numbered 1, 2, 3… up to the row's seq, and stored in that order."""
    expected, position = 1, 0
    for row in rows:
        if row[0] != expected:
            yield "log", f"its log has a hole: event {expected} is missing, the next one is {row[0]}"
            return
        if row[1] <= position:
            yield "log", f"event {row[0]} lies before event {row[0] - 1} among the events of all workflows"
            return
        expected, position = row[0] + 1, row[1]
    if expected != last + 1:
        yield "log", f"its log ends with event {expected - 1}, its row says {last}"


def _replay(state: WorkflowState, rows: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Check that the events, one after the other, come to what the rows say."""
    folded: WorkflowState | None = None
    for seq, _position, time_us, type_name, version, body in rows:
        try:
            folded = evolve(folded, decode_event(type_name, version, body), time_us)
        except Unreadable as error:
            yield "log", f"event {seq} cannot be read: {error.what}"
            return
        except Exception as error:  # noqa: BLE001 - whatever such a log does to the core is the finding
            yield "replay", f"event {seq} ({type_name}) cannot follow those before it ({error!r})"
            return
    if folded is not None and _as_stored(folded, state) != state:
        yield "replay", f"its {len(rows)} events come to another state than its rows say"


def _as_stored(folded: WorkflowState, rows: WorkflowState) -> WorkflowState:
    """Return the fold of the events without what rows of earlier versions do not say: fingerprints, and times that are counted."""
    progress, known = folded.progress, rows.progress
    if known.running_since_us is None and not known.ran_us:
        progress = replace(progress, running_since_us=None, ran_us=0)
    tasks = folded.tasks
    for name, row in rows.tasks.items():
        task = tasks.get(name)
        if task is not None and row.progress.attempt and not row.progress.fingerprint:
            tasks = tasks.set(name, replace(task, progress=replace(task.progress, fingerprint="", ran_us=0)))
    return replace(folded, progress=progress, tasks=tasks)
