"""Entries of memory for the tests of a store."""

from __future__ import annotations

from typing import Any

from orcs_server.storage.memory_rows import (
    NO_ORIGIN,
    MemoryDelete,
    MemoryPut,
    MemoryVersion,
    Note,
    Origin,
    Trust,
    Writer,
    Written,
)
from orcs_server.storage.store import Store, blob_of
from tests.storage.samples import START_US

ADA = Writer("ada")
TEXT = "text/plain"


def note(
    time_us: int = START_US, writer: Writer = ADA, trust: Trust = Trust.CLIENT, origin: Origin = NO_ORIGIN
) -> Note:
    return Note(time_us, writer, trust, origin)


def run(attempt: int = 1, task: str = "t1", workflow: str = "w1") -> Writer:
    """An agent that writes."""
    return Writer("ada", "research_agent", workflow, task, attempt)


def putting(
    key: str, text: str | bytes = "value", scope: str = "global", media_type: str = TEXT, **more: Any
) -> MemoryPut:
    return MemoryPut(scope, key, blob_of(text), media_type, **more)


async def remember(
    store: Store, namespace: str, key: str, text: str | bytes = "value", scope: str = "global", **said: Any
) -> Written:
    """Store one entry."""
    (written,) = await store.memory.write(namespace, [putting(key, text, scope)], note(**said))
    return written


async def forget(store: Store, namespace: str, key: str, scope: str = "global", **said: Any) -> Written:
    """Delete one entry."""
    (written,) = await store.memory.write(namespace, [MemoryDelete(scope, key)], note(**said))
    return written


async def text_of(store: Store, namespace: str, key: str, scope: str = "global", now_us: int = START_US) -> str | None:
    """Return what a key holds."""
    found = await store.memory.newest(namespace, scope, key, now_us)
    return None if found is None else found.value.decode()


async def texts(store: Store, namespace: str, scope: str = "global", now_us: int = START_US) -> dict[str, str | None]:
    """Return all that a scope holds."""
    entries: list[MemoryVersion] = await store.memory.page(namespace, scope, "", "", 1000, now_us)
    return {entry.key: await text_of(store, namespace, entry.key, scope, now_us) for entry in entries}
