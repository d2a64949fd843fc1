"""Watching one workflow: the stored events first and live ones after them, each once and in order, from any place on.

A watch has no queue. It has a place in the log, and reads on from there whenever whoever it feeds has taken what it gave, so a
slow reader costs no memory. What ends it other than the workflow's end carries the cursor to go on from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

from msgspec import Struct

from orcs_server.engines.base import Engine
from orcs_server.engines.feed import DeltaChunk, WorkflowWatch
from orcs_server.errors import InvalidArgument, OutOfRange
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Authorisation, stay
from orcs_server.service.cursors import WorkflowCursors
from orcs_server.service.openwatches import OpenWatches, Pulse, WatchCut, check_watch
from orcs_server.service.reading import no_workflow, summary_of
from orcs_server.service.requests import WatchWish
from orcs_server.service.validation import Findings
from orcs_server.storage.store import EventRecord, Snapshot, Store, StoredTask, WorkflowSummary
from orcs_server.workflow.events import WorkflowDeleted
from orcs_server.workflow.states import WORKFLOW_MOVES, WORKFLOW_TERMINAL, WorkflowStatus

EVENTS_AT_ONCE = 500
"""Events read from the store at a time."""
TASKS_AT_ONCE = 500
"""Tasks of a snapshot handed over at a time."""

_STATUS_AFTER = {event: next(iter(moves.values()))[0] for event, moves in WORKFLOW_MOVES.items()}
"""Event name -> a status that a workflow may have after it: what matters is whether it has ended."""


class StreamEnd(Struct, frozen=True):
    """The workflow has ended, or was deleted, and everything has been handed over."""

    status: WorkflowStatus
    deleted: bool = False


class SnapshotPart(Struct, frozen=True):
    """The next tasks of a snapshot; the first part brings the workflow."""

    workflow: WorkflowSummary
    tasks: Sequence[StoredTask]
    first: bool
    last: bool


class WatchBatch(Struct, frozen=True):
    """What a watch hands over at a time. With it, everything up to `seq` has been handed over."""

    seq: int
    records: Sequence[EventRecord] = ()
    deltas: Sequence[DeltaChunk] = ()
    snapshot: SnapshotPart | None = None
    bookmark: bool = False
    end: StreamEnd | None = None


class Watching:
    """Opens watches on single workflows."""

    def __init__(
        self, *, engine: Engine, store: Store, authorisation: Authorisation, open_watches: OpenWatches
    ) -> None:
        self.engine = engine
        self.store = store
        self.open_watches = open_watches
        self._authorisation = authorisation

    async def open(self, identify: Callable[[], Caller], wish: WatchWish) -> WorkflowStream:
        """Return a stream of what happens to a workflow.

        `identify` returns the caller, or raises when it is no longer welcome; it is asked again every few seconds. Raises
        NotFound, InvalidArgument (FIELD_INVALID, CURSOR_…), OutOfRange (CURSOR_EXPIRED), PermissionDenied, Unauthenticated.
        """
        findings = Findings()
        findings.workflow_id("workflow_id", wish.workflow_id)
        check_watch(wish.after_cursor, wish.heartbeat_us, snapshot=wish.snapshot, findings=findings)
        visit = await self._authorisation.enter(identify(), "workflows.watch", wish.workflow_id)
        summary = await summary_of(self.store, visit.namespace, wish.workflow_id)
        cursors = WorkflowCursors(self.store.epoch, visit.namespace, wish.workflow_id)
        seq = await self._start(summary, cursors, wish.after_cursor)

        async def admit() -> None:
            stay(visit, await self._authorisation.enter(identify(), "workflows.watch", wish.workflow_id))

        return WorkflowStream(self, visit.caller, wish, cursors, summary, seq, Pulse(wish.heartbeat_us, admit))

    async def _start(self, summary: WorkflowSummary, cursors: WorkflowCursors, after_cursor: str) -> int:
        """Return the seq after which the stream begins."""
        oldest = await self.store.oldest_seq(summary.namespace, summary.id) or summary.seq + 1
        if not after_cursor:
            return oldest - 1
        seq = cursors.seq(after_cursor)
        if seq > summary.seq:
            raise InvalidArgument(
                "CURSOR_INVALID", "The cursor points beyond the end of the log: start again from a snapshot."
            )
        if seq < oldest - 1:
            raise _expired(cursors, oldest)
        return seq


class WorkflowStream:
    """One watch of one workflow."""

    def __init__(
        self,
        watching: Watching,
        caller: Caller,
        wish: WatchWish,
        cursors: WorkflowCursors,
        summary: WorkflowSummary,
        seq: int,
        pulse: Pulse,
    ) -> None:
        self.cursors = cursors
        self._watching = watching
        self._caller = caller
        self._wish = wish
        self._namespace = summary.namespace
        self._status = summary.progress.status
        self._status_seq = summary.seq
        """Of the event after which the status was this: a stream that has not come so far has not come to its end."""
        self._deleted = False
        self._seq = seq
        self._pulse = pulse

    async def batches(self) -> AsyncGenerator[WatchBatch, None]:
        """Yield everything from the beginning of the stream to the workflow's end, as it comes. Close the iterator when done.

        Raises what ends the stream before the workflow's end: `WatchCut`, OutOfRange (CURSOR_EXPIRED), ResourceExhausted (too
        many watches), Unavailable, and PermissionDenied or Unauthenticated for a caller that is no longer welcome.
        """
        watching, wish = self._watching, self._wish
        # Opened before anything is read, so that nothing can happen unseen in between.
        watch = watching.engine.watch(self._namespace, wish.workflow_id, deltas=wish.deltas)
        try:
            with watching.open_watches.enter(self._caller, watch.wake):
                if wish.snapshot:
                    for part in _parts(await self._snapshot()):
                        yield WatchBatch(self._seq, snapshot=part)
                while True:
                    batch = await self._next(watch)
                    if batch is not None:
                        yield batch
                        self._pulse.spoken()
                        if batch.end is not None:
                            return
        finally:
            watch.close()

    async def _snapshot(self) -> Snapshot:
        snapshot = await self._watching.store.snapshot(self._namespace, self._wish.workflow_id)
        if snapshot is None:
            raise no_workflow(self._wish.workflow_id)
        self._seq, self._status = snapshot.summary.seq, snapshot.summary.progress.status
        return snapshot

    async def _next(self, watch: WorkflowWatch) -> WatchBatch | None:
        """Return what is to be handed over next; None if it turns out that there is nothing yet."""
        if self._watching.open_watches.draining:
            raise WatchCut(self.cursors.at(self._seq))
        await self._pulse.check()
        records: Sequence[EventRecord] | None = watch.after(self._seq)
        # What the row tells of is stored, though it may not have been handed on in memory yet.
        if records is None or (not records and self._seq < self._status_seq):
            store = self._watching.store
            records = await store.events(self._namespace, self._wish.workflow_id, self._seq, EVENTS_AT_ONCE)
        records = self._advance(records)
        deltas = watch.take_deltas() if self._wish.deltas else ()
        end = None if watch.more else self._end(watch, at_rest=not records)
        visible = self._visible(records)
        if visible or deltas or end is not None:
            return WatchBatch(self._seq, visible, deltas, end=end)
        if records:
            # A long stretch of the log that the filter hides is read without holding up everybody else.
            await asyncio.sleep(0)
        elif self._pulse.silent_s <= 0:
            return WatchBatch(self._seq, bookmark=True)
        else:
            await watch.wait(self._pulse.patience_s)
        return None

    def _advance(self, records: Sequence[EventRecord]) -> Sequence[EventRecord]:
        """Move on to the last record and return those that may be handed over."""
        if not records:
            return records
        self._deleted = isinstance(records[-1].event, WorkflowDeleted)
        hole = records[0].seq != self._seq + 1
        if hole and not self._deleted:
            raise _expired(self.cursors, records[0].seq)
        for record in records:
            self._status = _STATUS_AFTER.get(type(record.event).__name__, self._status)
        self._seq = records[-1].seq
        # Of a deleted workflow only the last event is left. The end of the stream says so without leaving a gap in it.
        return () if hole else records

    def _visible(self, records: Sequence[EventRecord]) -> Sequence[EventRecord]:
        wanted = self._wish.event_types
        return [record for record in records if type(record.event).__name__ in wanted] if wanted else records

    def _end(self, watch: WorkflowWatch, *, at_rest: bool) -> StreamEnd | None:
        """Return the end if the workflow has ended and nothing more is stored."""
        if self._deleted:
            return StreamEnd(self._status, deleted=True)
        if self._seq < self._status_seq:
            return None
        if self._status in WORKFLOW_TERMINAL and (at_rest or watch.after(self._seq) == []):
            return StreamEnd(self._status)
        return None


def _parts(snapshot: Snapshot) -> Iterator[SnapshotPart]:
    tasks = snapshot.tasks
    for start in range(0, max(len(tasks), 1), TASKS_AT_ONCE):
        end = start + TASKS_AT_ONCE
        yield SnapshotPart(snapshot.summary, tasks[start:end], first=start == 0, last=end >= len(tasks))


def _expired(cursors: WorkflowCursors, oldest: int) -> OutOfRange:
    return OutOfRange(
        "CURSOR_EXPIRED",
        "The log no longer reaches back to the cursor: start again from a snapshot, or from the oldest cursor.",
        cursors.at(oldest - 1),
    )
