"""Watching all workflows of a namespace that fit a filter: each as it is now, whenever it has changed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

from msgspec import Struct

from orcs_server.identity import Caller
from orcs_server.service.authorisation import ANYTHING
from orcs_server.service.namespacewatch import NamespaceStream, NamespaceWatching, Place
from orcs_server.service.openwatches import check_watch
from orcs_server.service.reading import check_wish
from orcs_server.service.requests import WatchAllWish, WorkflowWish
from orcs_server.service.validation import Findings
from orcs_server.storage.store import EventRecord, PageKey, WorkflowFilter, WorkflowSummary

WORKFLOWS_AT_ONCE = 200
"""Workflows of a snapshot handed over at a time."""


class WorkflowsBatch(Struct, frozen=True):
    """What a watch of all workflows hands over at a time. With it, everything up to `position` has been handed over."""

    position: int
    workflows: Sequence[WorkflowSummary] = ()
    removed: Sequence[str] = ()
    in_snapshot: bool = False
    """Part of the snapshot and not its last: there is no cursor yet."""
    snapshot_complete: bool = False
    bookmark: bool = False


class WatchingAll(NamespaceWatching):
    """Opens watches on all workflows of a namespace."""

    async def open(self, identify: Callable[[], Caller], wish: WatchAllWish) -> WorkflowsStream:
        """Return a stream of workflows that change. Raises like `Watching.open`, except for NotFound and OutOfRange."""
        check_wish(wish.which)
        check_watch(wish.after_cursor, wish.heartbeat_us, snapshot=wish.snapshot, findings=Findings())
        operation = ("workflows.watch", ANYTHING)
        visit = await self.authorisation.enter(identify(), *operation)
        place = await self.place(identify, visit, operation, wish.after_cursor, wish.heartbeat_us)
        return WorkflowsStream(self, place, wish)


class WorkflowsStream(NamespaceStream[WorkflowsBatch]):
    """One watch of all workflows that fit."""

    def __init__(self, watching: WatchingAll, place: Place, wish: WatchAllWish) -> None:
        super().__init__(watching, place, snapshot=wish.snapshot)
        self._wish = wish

    def bookmark(self) -> WorkflowsBatch:
        """Return what only says how far the watch has come."""
        return WorkflowsBatch(self.position, bookmark=True)

    async def snapshot(self) -> AsyncGenerator[WorkflowsBatch, None]:
        """Yield all that fit."""
        where = WorkflowFilter(self._wish.which.statuses, self._wish.which.labels)
        after: PageKey | None = None
        while True:
            page = await self.watching.store.list_summaries(self.visit.namespace, where, WORKFLOWS_AT_ONCE, after)
            last = len(page) < WORKFLOWS_AT_ONCE
            visible = await self._permitted(page)
            yield WorkflowsBatch(self.position, visible, in_snapshot=not last, snapshot_complete=last)
            if last:
                return
            after = PageKey(page[-1].progress.created_us, page[-1].id)

    async def changes(self, records: Sequence[EventRecord]) -> AsyncGenerator[WorkflowsBatch, None]:
        """Yield what has changed, if any of it fits."""
        store, namespace = self.watching.store, self.visit.namespace
        changed = list(dict.fromkeys(record.workflow_id for record in records))
        fitting: list[WorkflowSummary] = []
        removed: list[str] = []
        permitted = await self.watching.authorisation.permitted(self.visit, "workflows.get", changed)
        for workflow_id in changed:
            if workflow_id not in permitted:
                continue
            summary = await store.get_summary(namespace, workflow_id)
            if summary is not None and _fits(summary, self._wish.which):
                fitting.append(summary)
            else:
                removed.append(workflow_id)
        self.position = records[-1].position
        if fitting or removed:
            yield WorkflowsBatch(self.position, fitting, removed)

    async def _permitted(self, summaries: Sequence[WorkflowSummary]) -> list[WorkflowSummary]:
        ids = [summary.id for summary in summaries]
        permitted = await self.watching.authorisation.permitted(self.visit, "workflows.get", ids)
        return [summary for summary in summaries if summary.id in permitted]


def _fits(summary: WorkflowSummary, which: WorkflowWish) -> bool:
    if which.statuses and summary.progress.status not in which.statuses:
        return False
    return all(label in summary.spec.labels for label in which.labels)
