"""Memory as it is now: reading, searching and changing entries, sharing them between scopes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from orcs_server.errors import NotFound
from orcs_server.identity import Caller
from orcs_server.memory import Actor, Delete, Memory, Put
from orcs_server.memory.history import At
from orcs_server.memory.memory import QUERY_LIMIT, SEARCH_LIMIT, Found
from orcs_server.memory.recording import change_facts
from orcs_server.service import memorychecks as check
from orcs_server.service.authorisation import Visit
from orcs_server.service.cursors import MemoryCursors
from orcs_server.service.memoryaccess import MemoryAccess, actor_of, key_after, weight
from orcs_server.service.memoryrequests import MemoryChangeWish, MemoryLookup, MemoryPast
from orcs_server.service.pages import PageBinding, fitting, no_token, page_size
from orcs_server.service.validation import Findings, show
from orcs_server.storage.memory_rows import MemoryValue, MemoryVersion, Written
from orcs_server.storage.memory_text import words_of

HITS_DEFAULT: Final = 20
"""Hits on a page where nobody says how many: each one's snippet is made anew."""
HITS_LIMIT: Final = 10_000
"""Hits of a search that can be paged through."""


class Entry(Struct, frozen=True):
    """A version with its value."""

    entry: MemoryVersion
    value: bytes
    cursors: MemoryCursors


class EntryPage(Struct, frozen=True):
    """A page of entries."""

    entries: Sequence[MemoryVersion]
    next_page_token: str
    cursors: MemoryCursors
    cursor: str = ""


class HitPage(Struct, frozen=True):
    """A page of what a search has found."""

    hits: Sequence[Found]
    next_page_token: str
    cursors: MemoryCursors


class Changed(Struct, frozen=True):
    """What a change came to."""

    versions: Sequence[int]
    cursor: str


class Entries:
    """Reads and changes entries for callers, in their namespace."""

    def __init__(self, memory: Memory, access: MemoryAccess) -> None:
        self._memory = memory
        self._access = access

    # Reading

    async def get(
        self,
        caller: Caller,
        scope: str,
        key: str,
        context: MemoryLookup,
        past: MemoryPast,
        found: Findings | None = None,
    ) -> Entry:
        """Return an entry with its value. Raises NotFound (MEMORY_NOT_FOUND), OutOfRange (HISTORY_EXPIRED)."""
        findings = found or Findings()
        check.key(findings, key)
        if scope:
            check.scope(findings, scope)
        if scope and context != MemoryLookup():
            findings.add("context", "It goes with an empty scope only: leave one of the two out.")
        if not scope and past.given:
            findings.add("scope", "Of the past there is no looking up: name the scope.")
        check.past(findings, past, self._access.now_us())
        check.lookup(findings, context)
        findings.raise_any()
        visit = await self._access.enter(caller, "memory.read", scope or "*")
        value = await (self._one(visit, scope, key, past) if scope else self._look_up(visit, key, context))
        if value is None:
            where = f" in {scope}" if scope else ""
            raise NotFound("MEMORY_NOT_FOUND", f"There is no entry {show(key)}{where}.")
        return Entry(value.entry, value.value, self._access.cursors(visit))

    async def _one(self, visit: Visit, scope: str, key: str, past: MemoryPast) -> MemoryValue | None:
        actor = actor_of(visit)
        if not past.given:
            return await self._memory.get(visit.namespace, actor, key, scope)
        position = None if past.cursor is None else await self._access.position(visit, past.cursor)
        at = At(past.version, position, past.time_us)
        return await self._memory.history.get(visit.namespace, actor, key, scope, at)

    async def _look_up(self, visit: Visit, key: str, context: MemoryLookup) -> MemoryValue | None:
        scopes = Actor("", context.agent, context.workflow_id, context.task_id).scopes
        visible = await self._access.visible(visit, scopes)
        among = [scope for scope in scopes if scope in visible]
        return await self._memory.get(visit.namespace, actor_of(visit), key, among=among)

    async def page(
        self,
        caller: Caller,
        scope: str,
        prefix: str,
        past: MemoryPast,
        size: int = 0,
        token: str = "",
        found: Findings | None = None,
    ) -> EntryPage:
        """Return a page of a scope's entries without their values, by the bytes of their keys."""
        findings = found or Findings()
        check.scope(findings, scope)
        check.prefix(findings, prefix)
        check.past(findings, past, self._access.now_us())
        findings.raise_any()
        size = page_size(size, self._access.max_page_size)
        visit = await self._access.enter(caller, "memory.read", scope)
        namespace, actor = visit.namespace, actor_of(visit)
        binding = PageBinding("ListMemory", namespace, (scope, prefix, past))
        after = key_after(binding, token)
        cursor = await self._access.now(visit)
        entries: Sequence[MemoryVersion]
        if past.given:
            position = None if past.cursor is None else await self._access.position(visit, past.cursor)
            at = At(None, position, past.time_us)
            entries, following = await self._memory.history.page(namespace, actor, scope, at, prefix, after, size)
        else:
            entries, following = await self._memory.page(namespace, actor, scope, prefix, after, size)
        shown = fitting(entries, weight)
        if shown < len(entries):
            following = entries[shown - 1].key
        return EntryPage(
            entries[:shown], "" if following is None else binding.token(following), self._access.cursors(visit), cursor
        )

    async def search(
        self, caller: Caller, query: str, scopes: Sequence[str], *, any_word: bool, size: int = 0, token: str = ""
    ) -> HitPage:
        """Return a page of the entries that hold the words, the best first."""
        findings = Findings()
        if len(query) > QUERY_LIMIT:
            findings.add("query", f"It has {len(query)} characters, {QUERY_LIMIT} are allowed: shorten it.")
        elif not words_of(query):
            findings.add("query", "It holds no word: use letters or digits.")
        check.scopes(findings, scopes)
        findings.raise_any()
        size = min(page_size(size or HITS_DEFAULT, self._access.max_page_size), SEARCH_LIMIT)
        visit = await self._access.enter(caller, "memory.read", scopes[0] if len(scopes) == 1 else "*")
        binding = PageBinding("SearchMemory", visit.namespace, (query, tuple(scopes), any_word))
        offset = binding.key(token, int) or 0
        if not 0 <= offset <= HITS_LIMIT:
            raise no_token()
        cursors = self._access.cursors(visit)
        allowed = await self._access.visible(visit, scopes)
        named = tuple(scope for scope in scopes if scope in allowed)
        if scopes and not named:
            return HitPage((), "", cursors)
        hits = await self._memory.search(
            visit.namespace, actor_of(visit), query, named, any_word=any_word, offset=offset, limit=size
        )
        shown = fitting(hits, lambda hit: weight(hit.entry) + 4 * len(hit.snippet))
        more = len(hits) == size or shown < len(hits)
        following = binding.token(offset + shown) if more and offset + shown <= HITS_LIMIT else ""
        visible = await self._access.visible(visit, [hit.entry.scope for hit in hits[:shown]])
        return HitPage([hit for hit in hits[:shown] if hit.entry.scope in visible], following, cursors)

    # Changing

    async def change(
        self,
        caller: Caller,
        method: str,
        wishes: Sequence[MemoryChangeWish],
        request_id: str = "",
        found: Findings | None = None,
        *,
        batch: bool = False,
    ) -> Changed:
        """Carry out all changes, or none. Raises Conflict (MEMORY_VERSION_STALE) where a key is not at its expected version."""
        findings = found or Findings()
        findings.request_id(request_id)
        if batch:
            check.changes(findings, wishes)
        else:
            check.change(findings, wishes[0])
        findings.raise_any()
        scopes = list(dict.fromkeys(wish.change.scope for wish in wishes))
        deletes = any(isinstance(wish.change, Delete) for wish in wishes)
        writes = any(isinstance(wish.change, Put) for wish in wishes)
        visit = await self._access.enter_scopes(caller, _operations(writes=writes, deletes=deletes), scopes)
        changes = [wish.change for wish in wishes]
        receipt = await self._access.once(
            visit,
            method,
            request_id,
            _said(wishes) if request_id else (),
            list[Written],
            lambda memory: memory.batch(visit.namespace, actor_of(visit), changes),
            change_facts(changes),
        )
        return Changed([one.version for one in receipt.result], receipt.cursor)

    async def share(self, caller: Caller, scope: str, key: str, target: str, request_id: str = "") -> Changed:
        """Put a copy of an entry into another scope. Raises NotFound (MEMORY_NOT_FOUND)."""
        findings = Findings()
        findings.request_id(request_id)
        check.scope(findings, scope)
        check.key(findings, key)
        check.scope(findings, target, "target_scope")
        if scope == target:
            findings.add("target_scope", "An entry cannot be shared with its own scope: name another one.")
        findings.raise_any()
        visit = await self._access.enter(caller, "memory.share", scope)
        await self._access.enter(caller, "memory.write", target)
        receipt = await self._access.once(
            visit,
            "ShareMemory",
            request_id,
            (scope, key, target),
            Written,
            lambda memory: memory.share(visit.namespace, actor_of(visit), key, scope, target),
            {"key": key, "target": target},
        )
        return Changed([receipt.result.version], receipt.cursor)


def _operations(*, writes: bool, deletes: bool) -> tuple[str, ...]:
    """Return what changes are, for roles and hooks; only comparing is reading."""
    named = (("memory.write", writes), ("memory.delete", deletes), ("memory.read", not writes and not deletes))
    return tuple(name for name, wanted in named if wanted)


def _said(wishes: Sequence[MemoryChangeWish]) -> list[object]:
    """Return what tells one set of changes from another, with hashes for values."""
    said: list[object] = []
    for wish in wishes:
        change = wish.change
        common = (type(change).__name__, change.scope, change.key, change.expected)
        if isinstance(change, Put):
            digest = hashlib.sha256(change.value.data).hexdigest()
            said.append((*common, change.value.media_type, digest, change.ttl_us))
        else:
            said.append(common)
    return said
