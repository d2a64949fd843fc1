"""Which scopes a namespace has, and how much each holds, of what somebody may read."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from orcs_server.memory.access import Permission, View
from orcs_server.storage.memory import MemoryStore

COUNTED: Final = 100_000
"""Entries that are counted, of a scope and for a page: a page that has come to as many ends."""
KEYS_AT_ONCE: Final = 2_000
"""Entries that are counted in one go: others are served between two of them."""
SCOPES_AT_ONCE: Final = 500
"""Scopes that one page looks at."""


class ScopeContent(NamedTuple):
    """What is known of a scope."""

    scope: str
    entries: int
    """Keys that have a value; `COUNTED`: as many, or more."""
    changed_us: int | None
    """When its newest version was written, as far as that may be known."""


class ScopePage(NamedTuple):
    """A page of scopes."""

    scopes: list[ScopeContent]
    after: str | None
    """The scope after which the next page begins; None at the end."""


async def scopes_of(
    store: MemoryStore, view: View, namespace: str, prefix: str, after: str, limit: int, now_us: int
) -> ScopePage:
    """Return scopes that begin so and hold anything, be it only history, by the bytes of their names."""
    limit = min(max(limit, 1), SCOPES_AT_ONCE)
    named = await store.scopes(namespace, prefix, after, limit)
    found: list[ScopeContent] = []
    counted = 0
    for scope in named:
        if not view.may_some(Permission.READ, scope):
            continue
        entries, changed_us = await _content(store, view, namespace, scope, now_us)
        if view.may_all(Permission.READ, scope):
            changed_us = await store.newest_change(namespace, scope)
        elif not entries:
            # It may be that nothing is there that one may read: then one is not told that there is anything.
            continue
        found.append(ScopeContent(scope, entries, changed_us))
        counted += entries
        if counted >= COUNTED and scope != named[-1]:
            return ScopePage(found, scope)
        await asyncio.sleep(0)
    return ScopePage(found, named[-1] if len(named) == limit else None)


async def _content(store: MemoryStore, view: View, namespace: str, scope: str, now_us: int) -> tuple[int, int | None]:
    """Return how many entries of a scope may be read, and when the newest of them was written."""
    entries, changed_us, after = 0, None, ""
    for _ in range(COUNTED // KEYS_AT_ONCE):
        page = await store.keys(namespace, scope, after, KEYS_AT_ONCE, now_us)
        times = [time_us for key, time_us in page if view.may(Permission.READ, scope, key)]
        entries += len(times)
        changed_us = max([*times, changed_us or 0]) or None
        if len(page) < KEYS_AT_ONCE:
            break
        after = page[-1][0]
        await asyncio.sleep(0)
    return entries, changed_us
