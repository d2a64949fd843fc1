"""What the watches of a whole namespace have in common: where they begin, and how they follow its log."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Generic, NamedTuple, TypeVar

from orcs_server.engines.base import Engine
from orcs_server.errors import InvalidArgument
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Authorisation, Visit, stay
from orcs_server.service.cursors import NamespaceCursors
from orcs_server.service.openwatches import OpenWatches, Pulse, WatchCut
from orcs_server.storage.store import EventRecord, Store

EVENTS_AT_ONCE = 500
PAUSE_S = 0.1
"""Changes within this time are handed over as one."""

Batch = TypeVar("Batch")


class Place(NamedTuple):
    """Where a watch stands in the log of its namespace, and how it goes on."""

    visit: Visit
    cursors: NamespaceCursors
    position: int
    pulse: Pulse


class NamespaceWatching:
    """Opens watches on a namespace."""

    def __init__(
        self, *, engine: Engine, store: Store, authorisation: Authorisation, open_watches: OpenWatches
    ) -> None:
        self.engine = engine
        self.store = store
        self.authorisation = authorisation
        self.open_watches = open_watches

    async def place(
        self,
        identify: Callable[[], Caller],
        visit: Visit,
        operation: tuple[str, str],
        after_cursor: str,
        heartbeat_us: int | None,
    ) -> Place:
        """Return where a watch begins; its caller is asked for again from time to time, and has to be allowed the operation.

        Raises InvalidArgument (CURSOR_INVALID, CURSOR_FOREIGN_EPOCH).
        """
        cursors = NamespaceCursors(self.store.epoch, visit.namespace)
        position = await self.store.last_position()
        if after_cursor:
            last, position = position, cursors.position(after_cursor)
            if position > last:
                raise InvalidArgument(
                    "CURSOR_INVALID", "The cursor points beyond the end of the log: start again from a snapshot."
                )

        async def admit() -> None:
            stay(visit, await self.authorisation.enter(identify(), *operation))

        return Place(visit, cursors, position, Pulse(heartbeat_us, admit))


class NamespaceStream(ABC, Generic[Batch]):
    """One watch of a namespace. Whoever implements it moves `position` on."""

    def __init__(self, watching: NamespaceWatching, place: Place, *, snapshot: bool) -> None:
        self.cursors = place.cursors
        self.visit = place.visit
        self.position = place.position
        self.watching = watching
        self.pulse = place.pulse
        self._begins_with_snapshot = snapshot

    @abstractmethod
    def snapshot(self) -> AsyncGenerator[Batch, None]:
        """Yield all as it is now. What changes meanwhile comes again afterwards: `position` was taken before."""

    @abstractmethod
    def changes(self, records: Sequence[EventRecord]) -> AsyncGenerator[Batch, None]:
        """Yield what the records have changed, and move `position` behind them."""

    @abstractmethod
    def bookmark(self) -> Batch:
        """Return what only says that the watch lives, and how far it has come."""

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Yield what changes, without an end. Close the iterator when done. Raises what ends the stream."""
        watching, namespace = self.watching, self.visit.namespace
        watch = watching.engine.watch_namespace(namespace)
        try:
            with watching.open_watches.enter(self.visit.caller, watch.wake):
                if self._begins_with_snapshot:
                    async with aclosing(self.snapshot()) as parts:
                        async for part in parts:
                            yield part
                            self.pulse.spoken()
                while True:
                    if watching.open_watches.draining:
                        raise WatchCut(self.cursors.at(self.position))
                    await self.pulse.check()
                    records = await watching.store.events_after_position(namespace, self.position, EVENTS_AT_ONCE)
                    if records:
                        async with aclosing(self.changes(records)) as batches:
                            async for batch in batches:
                                yield batch
                                self.pulse.spoken()
                        await asyncio.sleep(PAUSE_S)
                    elif self.pulse.silent_s <= 0:
                        yield self.bookmark()
                        self.pulse.spoken()
                    else:
                        await watch.wait(self.pulse.patience_s)
        finally:
            watch.close()
