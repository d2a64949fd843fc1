"""Watching what waits for people: all of it as it is now, then each that is new or has come to its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

from msgspec import Struct

from orcs_server.identity import Caller
from orcs_server.service.authorisation import ANYTHING
from orcs_server.service.inbox import check_input_wish, input_filter, input_key
from orcs_server.service.namespacewatch import NamespaceStream, NamespaceWatching, Place
from orcs_server.service.openwatches import check_watch
from orcs_server.service.reading import summary_of
from orcs_server.service.requests import InputWish, WatchInputsWish
from orcs_server.service.validation import Findings
from orcs_server.storage.people import InputKey, StoredInput
from orcs_server.storage.store import EventRecord
from orcs_server.workflow.events import InputRequested, InputResolved, WorkflowDeleted

INPUTS_AT_ONCE = 50
"""Inputs handed over at a time: with the longest prompts and reasons a message stays below 1 MiB."""


class InputsBatch(Struct, frozen=True):
    """What a watch of pending inputs hands over at a time. With it, everything up to `position` has been handed over."""

    position: int
    inputs: Sequence[StoredInput] = ()
    removed: Sequence[str] = ()
    """Workflows that were deleted."""
    unfinished: bool = False
    """More of the same moment follows: there is no cursor yet."""
    snapshot_complete: bool = False
    bookmark: bool = False


class WatchingInbox(NamespaceWatching):
    """Opens watches on what waits for people."""

    async def open(self, identify: Callable[[], Caller], wish: WatchInputsWish) -> InputsStream:
        """Return a stream of pending inputs. Raises like `WatchingAll.open`, and NotFound for a workflow that is not there."""
        check_input_wish(wish.which)
        check_watch(wish.after_cursor, wish.heartbeat_us, snapshot=False, findings=Findings())
        operation = ("inputs.watch", wish.which.workflow_id or ANYTHING)
        visit = await self.authorisation.enter(identify(), *operation)
        if wish.which.workflow_id:
            await summary_of(self.store, visit.namespace, wish.which.workflow_id)
        place = await self.place(identify, visit, operation, wish.after_cursor, wish.heartbeat_us)
        return InputsStream(self, place, wish)


class InputsStream(NamespaceStream[InputsBatch]):
    """One watch of pending inputs."""

    def __init__(self, watching: WatchingInbox, place: Place, wish: WatchInputsWish) -> None:
        super().__init__(watching, place, snapshot=not wish.after_cursor)
        self._wish = wish

    def bookmark(self) -> InputsBatch:
        """Return what only says how far the watch has come."""
        return InputsBatch(self.position, bookmark=True)

    async def snapshot(self) -> AsyncGenerator[InputsBatch, None]:
        """Yield all that wait."""
        which = self._wish.which
        where = input_filter(InputWish(which.workflow_id, which.task_id, which.kinds))
        after: InputKey | None = None
        while True:
            page = await self.watching.store.list_inputs(self.visit.namespace, where, INPUTS_AT_ONCE, after)
            last = len(page) < INPUTS_AT_ONCE
            visible = await self._permitted([row.workflow_id for row in page])
            inputs = [row for row in page if row.workflow_id in visible]
            yield InputsBatch(self.position, inputs, unfinished=not last, snapshot_complete=last)
            if last:
                return
            after = input_key(page[-1])

    async def changes(self, records: Sequence[EventRecord]) -> AsyncGenerator[InputsBatch, None]:
        """Yield what the records have changed, in their order, the last batch with the place behind them all."""
        names: dict[tuple[str, str], None] = {}
        deleted: dict[str, None] = {}
        for record in records:
            match record.event:
                case InputRequested(input=asked):
                    names[record.workflow_id, asked.id] = None
                case InputResolved(input_id=input_id):
                    names[record.workflow_id, input_id] = None
                case WorkflowDeleted():
                    deleted[record.workflow_id] = None
                case _:
                    pass
        wanted = self._wish.which.workflow_id
        visible = await self._permitted([*(name for name, _ in names), *deleted])
        fits = [key for key in names if key[0] in visible and wanted in ("", key[0])]
        removed = [name for name in deleted if name in visible and wanted in ("", name)]
        inputs = await self._read(fits)
        for start in range(0, len(inputs), INPUTS_AT_ONCE):
            yield InputsBatch(self.position, inputs[start : start + INPUTS_AT_ONCE], unfinished=True)
        self.position = records[-1].position
        if inputs or removed:
            yield InputsBatch(self.position, removed=removed)

    async def _read(self, keys: Sequence[tuple[str, str]]) -> list[StoredInput]:
        store, namespace = self.watching.store, self.visit.namespace
        titles: dict[str, str | None] = {}
        found: list[StoredInput] = []
        for workflow_id, input_id in keys:
            if workflow_id not in titles:
                summary = await store.get_summary(namespace, workflow_id)
                titles[workflow_id] = None if summary is None else summary.spec.title
            title = titles[workflow_id]
            asked = None if title is None else await store.get_input(namespace, workflow_id, input_id)
            if title is None or asked is None:
                continue  # Deleted meanwhile: that comes as an event of its own.
            if not self._wish.which.kinds or asked.need.kind in self._wish.which.kinds:
                found.append(StoredInput(workflow_id, title, asked))
        return found

    async def _permitted(self, workflow_ids: Sequence[str]) -> frozenset[str]:
        ids = list(dict.fromkeys(workflow_ids))
        if not ids:
            return frozenset()
        return await self.watching.authorisation.permitted(self.visit, "inputs.get", ids)
