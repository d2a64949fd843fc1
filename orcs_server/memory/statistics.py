"""How often keys are read: counted in memory, and now and then added to the store in one write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from orcs_server.errors import Unavailable
from orcs_server.identity import Clock
from orcs_server.storage.memory import MemoryStore
from orcs_server.storage.memory_rows import KeyReads, Place

FLUSH_AT: Final = 1024
"""Keys after which what was counted is stored."""
FLUSH_AFTER_US: Final = 60_000_000
"""Time after which it is, with the next read."""
PENDING_LIMIT: Final = 8 * FLUSH_AT
"""Keys counted at most while the store does not answer; reads of others are not counted then."""

_log = logging.getLogger("orcs.memory")


class ReadCounter:
    """Counts reads. What was not stored yet is lost in a crash: it is a statistic."""

    def __init__(self, store: MemoryStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._counts: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._flushed_us = clock.now_us()
        self._flushing: asyncio.Task[None] | None = None

    def count(self, namespace: str, scope: str, key: str) -> None:
        """Count one read."""
        now_us = self._clock.now_us()
        place = (namespace, scope, key)
        if place not in self._counts and len(self._counts) >= PENDING_LIMIT:
            return
        self._counts[place] = (self._counts.get(place, (0, 0))[0] + 1, now_us)
        due = len(self._counts) >= FLUSH_AT or now_us - self._flushed_us > FLUSH_AFTER_US
        if due and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.create_task(self._flush_quietly(), name="memory statistics")

    def often(self, namespace: str, scope: str, key: str) -> bool:
        """Say whether a key was read lately already, so that it is worth keeping at hand."""
        return (namespace, scope, key) in self._counts

    async def counts(self, namespace: str, places: Sequence[Place]) -> list[int]:
        """Return how often each of these keys was read, what is not stored yet included."""
        stored = await self._store.read_counts(namespace, places)
        pending = (self._counts.get((namespace, *place), (0, 0))[0] for place in places)
        return [before + since for before, since in zip(stored, pending, strict=True)]

    async def flush(self) -> None:
        """Store what was counted. Raises Unavailable; then it is counted still."""
        counts, self._counts = self._counts, {}
        self._flushed_us = self._clock.now_us()
        by_namespace: dict[str, list[KeyReads]] = {}
        for (namespace, scope, key), (reads, last_us) in counts.items():
            by_namespace.setdefault(namespace, []).append(KeyReads(scope, key, reads, last_us))
        while by_namespace:
            namespace, reads_of = next(iter(by_namespace.items()))
            try:
                await self._store.add_reads(namespace, reads_of)
            except Unavailable:
                for left, rows in by_namespace.items():
                    for row in rows:
                        self._put_back(left, row)
                raise
            del by_namespace[namespace]

    async def close(self) -> None:
        """Store what was counted, if the store takes it."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        await self._flush_quietly()

    def _put_back(self, namespace: str, row: KeyReads) -> None:
        place = (namespace, row.scope, row.key)
        reads, last_us = self._counts.get(place, (0, 0))
        if reads or len(self._counts) < PENDING_LIMIT:
            self._counts[place] = (reads + row.reads, max(last_us, row.last_us))

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except Unavailable as error:
            _log.warning("how often memory is read could not be stored yet: %s", error)
