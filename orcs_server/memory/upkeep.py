"""What memory lets go of by itself: expired entries, and versions that are long past and that no snapshot needs."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from orcs_server.storage.memory import MemoryStore
from orcs_server.storage.memory_rows import PastPlace

PAST_KEPT_US: Final = 30 * 86_400_000_000
"""How long a version is kept after another one has followed, or after its key was deleted."""
SLICE: Final = 200
"""Versions that are looked at, or changed, at once."""
SHARE: Final = 0.2
"""Of the writer's time, at most: after each slice there is a pause in proportion to it."""
LONGEST_PAUSE_S: Final = 5.0


async def go_over(store: MemoryStore, now_us: int, past_kept_us: int = PAST_KEPT_US) -> None:
    """Delete what has expired and let go of what is long past. Raises Unavailable when the store does not answer."""
    expired = SLICE
    while expired == SLICE:
        begun = perf_counter()
        expired = await store.expire(now_us, SLICE)
        await _pause(begun)
    place: PastPlace | None = PastPlace()
    while place is not None:
        begun = perf_counter()
        place = await store.prune(now_us - past_kept_us, place, SLICE)
        await _pause(begun)


async def _pause(begun: float) -> None:
    await asyncio.sleep(min((perf_counter() - begun) * (1 / SHARE - 1), LONGEST_PAUSE_S))
