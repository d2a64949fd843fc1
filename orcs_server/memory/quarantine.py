"""Taking back all that a run wrote: its versions, what repeats them, copies of them in other scopes. What others have made of them is
named, for a person to look at.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from orcs_server.storage.memory import MemoryStore
from orcs_server.storage.memory_rows import Note, Place, RunFilter, Undone

STRETCH: Final = 200
"""Entries that are looked at in one go for copies, and for what was made of the run's: others are served between two of them."""


class Quarantine(NamedTuple):
    """What came of taking back all that a run wrote."""

    reverted: list[Place]
    """Put back to what they were before, or deleted where they were not there."""
    overwritten: list[Place]
    """Written by somebody else since, and left alone: look at these."""
    forgotten: list[Place]
    """Deleted because what was there before is no longer kept."""
    derived: list[Place]
    """Written by others who had read what the run wrote, and left alone: look at these, too."""
    keys: int
    """Keys that hold, or held, anything of the run: 0 where it has written nothing that is kept."""


async def take_back(store: MemoryStore, namespace: str, run: RunFilter, note: Note, keys: int) -> Quarantine:
    """Take back what a run wrote, `keys` keys in one transaction; then look through all entries for copies.

    It may be cut off and repeated: what is done is passed over.
    """
    whole = Undone([], [], [], [], None)
    after: Place | None = None
    while True:
        page = await store.undo(namespace, run, after, keys, note)
        _add(whole, page)
        if page.after is None:
            break
        after = page.after
        await asyncio.sleep(0)
    derived: list[Place] = []
    after = None
    while True:
        found = await store.traces(namespace, run, after, STRETCH, note.time_us)
        if found.copies:
            _add(whole, await store.undo_keys(namespace, run, found.copies, note))
            # What has come back may itself have been made from what the run wrote.
            found = await store.traces(namespace, run, after, STRETCH, note.time_us)
        derived += found.derived
        if found.after is None:
            counted = {*whole.reverted, *whole.overwritten, *whole.forgotten, *whole.already}
            return Quarantine(whole.reverted, whole.overwritten, whole.forgotten, derived, len(counted))
        after = found.after
        await asyncio.sleep(0)


def _add(whole: Undone, page: Undone) -> None:
    for total, more in zip(whole[:4], page[:4], strict=True):
        total.extend(more)
