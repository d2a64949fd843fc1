"""Watching all workflows of a namespace that fit a filter: each as it is now, whenever it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from msgspec import Struct

from orcs_server.engines.base import Engine
from orcs_server.errors import InvalidArgument
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.service.cursors import NamespaceCursors
from orcs_server.service.openwatches import OpenWatches, Pulse, WatchCut, check_watch
from orcs_server.service.reading import check_wish
from orcs_server.service.requests import WatchAllWish, WorkflowWish
from orcs_server.service.validation import Findings
from orcs_server.storage.store import PageKey, Store, WorkflowFilter, WorkflowSummary

EVENTS_AT_ONCE = 500
WORKFLOWS_AT_ONCE = 200
"""Workflows of a snapshot handed over at a time."""
PAUSE_S = 0.1
"""Changes within this time are handed over as one."""


class WorkflowsBatch(Struct, frozen=True):
    """What a watch of all workflows hands over at a time. With it, everything up to `position` has been handed over."""

    position: int
    workflows: Sequence[WorkflowSummary] = ()
    removed: Sequence[str] = ()
    in_snapshot: bool = False
    """Part of the snapshot and not its last: there is no cursor yet."""
    snapshot_complete: bool = False
    bookmark: bool = False


class WatchingAll:
    """Opens watches on all workflows of a namespace."""

    def __init__(
        self, *, engine: Engine, store: Store, authorisation: Authorisation, open_watches: OpenWatches
    ) -> None:
        self.engine = engine
        self.store = store
        self.authorisation = authorisation
        self.open_watches = open_watches

    async def open(self, identify: Callable[[], Caller], wish: WatchAllWish) -> WorkflowsStream:
        """Return a stream of workflows that change. Raises like `Watching.open`, except for NotFound and OutOfRange."""
        check_wish(wish.which)
        check_watch(wish.after_cursor, wish.heartbeat_us, snapshot=wish.snapshot, findings=Findings())
        visit = await self.authorisation.enter(identify(), "workflows.watch")
        cursors = NamespaceCursors(self.store.epoch, visit.namespace)
        position = await self.store.last_position()
        if wish.after_cursor:
            last, position = position, cursors.position(wish.after_cursor)
            if position > last:
                raise InvalidArgument(
                    "CURSOR_INVALID", "The cursor points beyond the end of the log: start again from a snapshot."
                )

        async def admit() -> None:
            await self.authorisation.enter(identify(), "workflows.watch")

        return WorkflowsStream(self, visit, wish, cursors, position, Pulse(wish.heartbeat_us, admit))


class WorkflowsStream:
    """One watch of all workflows that fit."""

    def __init__(
        self,
        watching: WatchingAll,
        visit: Visit,
        wish: WatchAllWish,
        cursors: NamespaceCursors,
        position: int,
        pulse: Pulse,
    ) -> None:
        self.cursors = cursors
        self._watching = watching
        self._visit = visit
        self._wish = wish
        self._position = position
        self._pulse = pulse

    async def batches(self) -> AsyncGenerator[WorkflowsBatch, None]:
        """Yield workflows as they change, without an end. Close the iterator when done. Raises what ends the stream."""
        watching = self._watching
        watch = watching.engine.watch_namespace(self._visit.namespace)
        try:
            with watching.open_watches.enter(self._visit.caller, watch.wake):
                if self._wish.snapshot:
                    async with aclosing(self._snapshot()) as parts:
                        async for part in parts:
                            yield part
                while True:
                    if watching.open_watches.draining:
                        raise WatchCut(self.cursors.at(self._position))
                    await self._pulse.check()
                    batch = await self._changes()
                    if batch is not None and (batch.workflows or batch.removed):
                        yield batch
                        self._pulse.spoken()
                    if batch is not None:
                        await asyncio.sleep(PAUSE_S)
                    elif self._pulse.silent_s <= 0:
                        yield WorkflowsBatch(self._position, bookmark=True)
                        self._pulse.spoken()
                    else:
                        await watch.wait(self._pulse.patience_s)
        finally:
            watch.close()

    async def _snapshot(self) -> AsyncGenerator[WorkflowsBatch, None]:
        """Yield all that fit. What changes meanwhile comes again afterwards: the place to go on from was taken before."""
        where = WorkflowFilter(self._wish.which.statuses, self._wish.which.labels)
        after: PageKey | None = None
        while True:
            page = await self._watching.store.list_summaries(self._visit.namespace, where, WORKFLOWS_AT_ONCE, after)
            last = len(page) < WORKFLOWS_AT_ONCE
            visible = await self._permitted(page)
            yield WorkflowsBatch(self._position, visible, in_snapshot=not last, snapshot_complete=last)
            if last:
                return
            after = PageKey(page[-1].progress.created_us, page[-1].id)

    async def _changes(self) -> WorkflowsBatch | None:
        """Return what has changed since; None if nothing has."""
        store, namespace = self._watching.store, self._visit.namespace
        records = await store.events_after_position(namespace, self._position, EVENTS_AT_ONCE)
        if not records:
            return None
        self._position = records[-1].position
        changed = list(dict.fromkeys(record.workflow_id for record in records))
        fitting: list[WorkflowSummary] = []
        removed: list[str] = []
        permitted = await self._watching.authorisation.permitted(self._visit, "workflows.get", changed)
        for workflow_id in changed:
            if workflow_id not in permitted:
                continue
            summary = await store.get_summary(namespace, workflow_id)
            if summary is not None and _fits(summary, self._wish.which):
                fitting.append(summary)
            else:
                removed.append(workflow_id)
        return WorkflowsBatch(self._position, fitting, removed)

    async def _permitted(self, summaries: Sequence[WorkflowSummary]) -> list[WorkflowSummary]:
        ids = [summary.id for summary in summaries]
        permitted = await self._watching.authorisation.permitted(self._visit, "workflows.get", ids)
        return [summary for summary in summaries if summary.id in permitted]


def _fits(summary: WorkflowSummary, which: WorkflowWish) -> bool:
    if which.statuses and summary.progress.status not in which.statuses:
        return False
    return all(label in summary.spec.labels for label in which.labels)
