"""Watching memory: what was written after a place in its log, as it comes, without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from msgspec import Struct

from orcs_server.errors import OutOfRange
from orcs_server.identity import Caller
from orcs_server.memory import Memory
from orcs_server.service import memorychecks as check
from orcs_server.service.authorisation import Visit, stay
from orcs_server.service.cursors import MemoryCursors
from orcs_server.service.memoryaccess import MemoryAccess, actor_of
from orcs_server.service.memoryrequests import MemoryWatchWish
from orcs_server.service.openwatches import OpenWatches, Pulse, WatchCut, check_watch
from orcs_server.service.validation import Findings
from orcs_server.storage.memory_rows import MemoryVersion

ENTRIES_AT_ONCE = 100


class MemoryBatch(Struct, frozen=True):
    """What a watch hands over at a time. With it, everything up to `position` has been handed over."""

    position: int
    entries: Sequence[MemoryVersion] = ()
    bookmark: bool = False


class WatchingMemory:
    """Opens watches on memory."""

    def __init__(self, memory: Memory, access: MemoryAccess, open_watches: OpenWatches) -> None:
        self.memory = memory
        self.access = access
        self.open_watches = open_watches

    async def open(
        self, identify: Callable[[], Caller], wish: MemoryWatchWish, found: Findings | None = None
    ) -> MemoryStream:
        """Return a stream of changes. Raises InvalidArgument (CURSOR_…), OutOfRange (CURSOR_EXPIRED), PermissionDenied."""
        findings = found or Findings()
        if wish.scope:
            check.scope(findings, wish.scope)
        check.prefix(findings, wish.prefix)
        check_watch(wish.after_cursor, wish.heartbeat_us, snapshot=False, findings=findings)
        resource = wish.scope or "*"
        visit = await self.access.enter(identify(), "memory.watch", resource)
        if wish.after_cursor:
            position = await self.access.position(visit, wish.after_cursor)
        else:
            position = await self.access.end(visit)

        async def admit() -> None:
            stay(visit, await self.access.enter(identify(), "memory.watch", resource))

        stream = MemoryStream(self, visit, wish, position, Pulse(wish.heartbeat_us, admit))
        await stream.look()
        return stream


class MemoryStream:
    """One watch of memory."""

    def __init__(
        self, watching: WatchingMemory, visit: Visit, wish: MemoryWatchWish, position: int, pulse: Pulse
    ) -> None:
        self.cursors: MemoryCursors = watching.access.cursors(visit)
        self._watching = watching
        self._visit = visit
        self._wish = wish
        self._position = position
        self._pulse = pulse
        self._begun = False

    async def look(self) -> MemoryBatch:
        """Return what is new, as far as one batch goes. Raises OutOfRange, PermissionDenied where it cannot be told."""
        wish, visit, watching = self._wish, self._visit, self._watching
        try:
            piece = await watching.memory.changes(
                visit.namespace, actor_of(visit), self._position, wish.scope, wish.prefix, ENTRIES_AT_ONCE
            )
        except OutOfRange as error:
            oldest = self.cursors.at(int(error.oldest)) if error.oldest.isdigit() else ""
            raise OutOfRange(error.reason, error.message, oldest) from error
        visible = await watching.access.visible(visit, [entry.scope for entry in piece.versions])
        return MemoryBatch(piece.position, [entry for entry in piece.versions if entry.scope in visible])

    async def batches(self) -> AsyncGenerator[MemoryBatch, None]:
        """Yield changes as they come, without an end. Close the iterator when done. Raises what ends the stream."""
        open_watches, woken = self._watching.open_watches, asyncio.Event()
        with open_watches.enter(self._visit.caller, woken.set):
            while True:
                if open_watches.draining:
                    raise WatchCut(self.cursors.at(self._position))
                await self._pulse.check()
                batch = await self.look()
                moved, self._position = batch.position > self._position, batch.position
                if batch.entries:
                    yield batch
                    self._begin()
                elif not moved and (not self._begun or self._pulse.silent_s <= 0):
                    yield MemoryBatch(self._position, bookmark=True)
                    self._begin()
                elif not moved:
                    await self._wait(woken)

    def _begin(self) -> None:
        self._begun = True
        self._pulse.spoken()

    async def _wait(self, woken: asyncio.Event) -> None:
        """Return when there may be news, when the server goes down, or when it is time to look up again."""
        news = self._watching.memory.news(self._visit.namespace, self._position)
        waiting = [asyncio.ensure_future(one) for one in (news, woken.wait())]
        try:
            done, _ = await asyncio.wait(waiting, timeout=self._pulse.patience_s, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
