"""Watching what waits for people: all of it as it is now, then each that is new or has come to its end."""

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
from orcs_server.service.inbox import check_input_wish, input_filter, input_key
from orcs_server.service.openwatches import OpenWatches, Pulse, WatchCut, check_watch
from orcs_server.service.reading import summary_of
from orcs_server.service.requests import InputWish, WatchInputsWish
from orcs_server.service.validation import Findings
from orcs_server.storage.people import InputKey, StoredInput
from orcs_server.storage.store import EventRecord, Store
from orcs_server.workflow.events import InputRequested, InputResolved, WorkflowDeleted

EVENTS_AT_ONCE = 500
INPUTS_AT_ONCE = 50
"""Inputs handed over at a time: with the longest prompts and reasons a message stays below 1 MiB."""
PAUSE_S = 0.1
"""Changes within this time are handed over as one."""


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


class WatchingInbox:
    """Opens watches on what waits for people."""

    def __init__(
        self, *, engine: Engine, store: Store, authorisation: Authorisation, open_watches: OpenWatches
    ) -> None:
        self.engine = engine
        self.store = store
        self.authorisation = authorisation
        self.open_watches = open_watches

    async def open(self, identify: Callable[[], Caller], wish: WatchInputsWish) -> InputsStream:
        """Return a stream of pending inputs. Raises like `WatchingAll.open`, and NotFound for a workflow that is not there."""
        check_input_wish(wish.which)
        check_watch(wish.after_cursor, wish.heartbeat_us, snapshot=False, findings=Findings())
        resource = wish.which.workflow_id or "*"
        visit = await self.authorisation.enter(identify(), "inputs.watch", resource)
        if wish.which.workflow_id:
            await summary_of(self.store, visit.namespace, wish.which.workflow_id)
        cursors = NamespaceCursors(self.store.epoch, visit.namespace)
        position = await self.store.last_position()
        if wish.after_cursor:
            last, position = position, cursors.position(wish.after_cursor)
            if position > last:
                raise InvalidArgument(
                    "CURSOR_INVALID", "The cursor points beyond the end of the log: start again without one."
                )

        async def admit() -> None:
            await self.authorisation.enter(identify(), "inputs.watch", resource)

        return InputsStream(self, visit, wish, cursors, position, Pulse(wish.heartbeat_us, admit))


class InputsStream:
    """One watch of pending inputs."""

    def __init__(
        self,
        watching: WatchingInbox,
        visit: Visit,
        wish: WatchInputsWish,
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

    async def batches(self) -> AsyncGenerator[InputsBatch, None]:
        """Yield inputs as they come and go, without an end. Close the iterator when done. Raises what ends the stream."""
        watching = self._watching
        watch = watching.engine.watch_namespace(self._visit.namespace)
        try:
            with watching.open_watches.enter(self._visit.caller, watch.wake):
                if not self._wish.after_cursor:
                    async with aclosing(self._snapshot()) as parts:
                        async for part in parts:
                            yield part
                while True:
                    if watching.open_watches.draining:
                        raise WatchCut(self.cursors.at(self._position))
                    await self._pulse.check()
                    records = await watching.store.events_after_position(
                        self._visit.namespace, self._position, EVENTS_AT_ONCE
                    )
                    if records:
                        async with aclosing(self._changes(records)) as batches:
                            async for batch in batches:
                                yield batch
                        await asyncio.sleep(PAUSE_S)
                    elif self._pulse.silent_s <= 0:
                        yield InputsBatch(self._position, bookmark=True)
                        self._pulse.spoken()
                    else:
                        await watch.wait(self._pulse.patience_s)
        finally:
            watch.close()

    async def _snapshot(self) -> AsyncGenerator[InputsBatch, None]:
        """Yield all that wait. What changes meanwhile comes again afterwards: the place to go on from was taken before."""
        which = self._wish.which
        where = input_filter(InputWish(which.workflow_id, which.task_id, which.kinds))
        after: InputKey | None = None
        while True:
            page = await self._watching.store.list_inputs(self._visit.namespace, where, INPUTS_AT_ONCE, after)
            last = len(page) < INPUTS_AT_ONCE
            visible = await self._permitted([row.workflow_id for row in page])
            inputs = [row for row in page if row.workflow_id in visible]
            yield InputsBatch(self._position, inputs, unfinished=not last, snapshot_complete=last)
            self._pulse.spoken()
            if last:
                return
            after = input_key(page[-1])

    async def _changes(self, records: Sequence[EventRecord]) -> AsyncGenerator[InputsBatch, None]:
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
            yield InputsBatch(self._position, inputs[start : start + INPUTS_AT_ONCE], unfinished=True)
        self._position = records[-1].position
        if inputs or removed:
            yield InputsBatch(self._position, removed=removed)
            self._pulse.spoken()

    async def _read(self, keys: Sequence[tuple[str, str]]) -> list[StoredInput]:
        store, namespace = self._watching.store, self._visit.namespace
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
        return await self._watching.authorisation.permitted(self._visit, "workflows.get", ids)
