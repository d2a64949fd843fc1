"""Memory over a store that is open: entries that are read and written, by whoever may, in the namespace that a call names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from orcs_server.errors import InvalidArgument, NotFound
from orcs_server.identity import Clock
from orcs_server.memory.access import AccessControl, Actor, OnRefusal, Permission, View
from orcs_server.memory.changes import Change, Check, Delete, Put, checked
from orcs_server.memory.flow import ReadSet
from orcs_server.memory.history import History
from orcs_server.memory.recording import change_facts, operation_of, recorded
from orcs_server.memory.scopes import check_key, check_prefix, check_scope, invalid
from orcs_server.memory.statistics import ReadCounter
from orcs_server.memory.values import Value
from orcs_server.storage.memory import MemoryStore
from orcs_server.storage.memory_rows import (
    VERSIONS_KEPT,
    Changes,
    EntrySource,
    Listed,
    MemoryValue,
    MemoryVersion,
    Note,
    Place,
    SearchQuery,
    Written,
)
from orcs_server.storage.memory_text import words_of
from orcs_server.storage.once import Once, twin
from orcs_server.storage.store import Store

PAGE_LIMIT: Final = 500
SEARCH_LIMIT: Final = 100
"""Hits on a page."""
QUERY_LIMIT: Final = 4096
"""Characters of a search."""


class Found(NamedTuple):
    """What a search has found."""

    entry: MemoryVersion
    score: float
    snippet: str


class Memory:
    """Entries of all namespaces. Every call says for whom it is: what that one may not do raises PermissionDenied.

    Keys, scopes and values that are none raise InvalidArgument (FIELD_INVALID); a store that does not answer, Unavailable. With
    `reads`, an attempt's read set, what is read is noted there, and what is written is no more trusted than it.
    """

    def __init__(self, store: Store, clock: Clock | None = None, on_refusal: OnRefusal | None = None) -> None:
        self._store: MemoryStore = store.memory
        self.clock = clock or Clock()
        self.access = AccessControl(self._store, on_refusal)
        self.reads = ReadCounter(self._store, self.clock)
        self.history = History(self._store, self.clock, self.access)
        self._recorded = False
        """Whoever calls says itself what the audit log says."""

    def bound(self, once: Once) -> Self:
        """Return this for the one change of a request: carried out once, however often it is asked for under its id.

        Raises DuplicateRequest where it was. For what takes more than one change see `remember`.
        """
        bound = twin(self)
        bound._store = self._store.bound(once)  # noqa: SLF001 - its own kind
        bound._recorded = True  # noqa: SLF001
        bound.access = self.access.bound(bound._store)  # noqa: SLF001
        bound.history = self.history.bound(bound._store, bound.access)  # noqa: SLF001
        return bound

    async def remember(self, namespace: str, once: Once, answer: object) -> None:
        """Store the answer of what took more than one change, once that is done. Raises DuplicateRequest."""
        await self._store.bound(once).remember(namespace, answer)

    async def visible(self, scopes: Sequence[str]) -> Sequence[str]:
        """Return those of the scopes in which whoever has this memory is let to read at all: here all of them."""
        return scopes

    # Reading

    async def get(
        self,
        namespace: str,
        actor: Actor,
        key: str,
        scope: str = "",
        reads: ReadSet | None = None,
        *,
        among: Sequence[str] | None = None,
    ) -> MemoryValue | None:
        """Return the newest version of a key with its value, or None where there is none.

        Without a scope it is looked for `among` these, in this order; by default in those of the actor's task, workflow and agent
        and in `global`.
        """
        check_key(key)
        if scope:
            check_scope(scope)
        view = await self.access.view(namespace, actor)
        if scope:
            view.require(Permission.READ, scope, key)
        now_us = self.clock.now_us()
        for one in (scope,) if scope else actor.scopes if among is None else among:
            if not view.may(Permission.READ, one, key):
                continue
            often = self.reads.often(namespace, one, key)
            found = await self._store.newest(namespace, one, key, now_us, often=often)
            if found is not None:
                self.reads.count(namespace, one, key)
                if reads is not None:
                    reads.entry(found.entry)
                return found
        return None

    async def page(
        self,
        namespace: str,
        actor: Actor,
        scope: str,
        prefix: str = "",
        after: str = "",
        limit: int = PAGE_LIMIT,
        reads: ReadSet | None = None,
    ) -> Listed:
        """Return up to `limit` keys of a scope that begin so, in the order of their UTF-8 bytes, without their values."""
        check_scope(scope)
        check_prefix(prefix)
        check_prefix(after, "after")
        limit = min(max(limit, 1), PAGE_LIMIT)
        view = await self.access.view(namespace, actor)
        view.require_some(Permission.READ, scope, prefix)
        found = await self._store.page(namespace, scope, prefix, after, limit, self.clock.now_us())
        seen = [entry for entry in found if view.may(Permission.READ, scope, entry.key)]
        if reads is not None:
            for entry in seen:
                reads.glimpse(entry)
        return Listed(seen, found[-1].key if len(found) == limit else None)

    async def keys(
        self, namespace: str, actor: Actor, scope: str, prefix: str = "", reads: ReadSet | None = None
    ) -> list[str]:
        """Return all keys of a scope that begin so, in the order of their UTF-8 bytes."""
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await self.page(namespace, actor, scope, prefix, after, reads=reads)
            found += [entry.key for entry in page.entries]
            after = page.after
        return found

    async def search(
        self,
        namespace: str,
        actor: Actor,
        query: str,
        scopes: Sequence[str] = (),
        *,
        any_word: bool = False,
        offset: int = 0,
        limit: int = 20,
        reads: ReadSet | None = None,
    ) -> list[Found]:
        """Return the best of the entries that hold all words of a query, or any of them, with the part around the words.

        Without scopes, all that the actor may read are searched. A query is words, nothing in it is an operator.
        """
        if len(query) > QUERY_LIMIT:
            raise invalid("query", f"The query has {len(query)} characters, and {QUERY_LIMIT} are allowed: shorten it.")
        words = words_of(query)
        if not words:
            raise invalid("query", "The query holds no word: use letters or digits.")
        for scope in scopes:
            check_scope(scope, "scopes")
        view = await self.access.view(namespace, actor)
        for scope in scopes:
            view.require_some(Permission.READ, scope)
        # An agent's few scopes are searched by name, so that what it may not read takes no room among the hits.
        wanted = tuple(dict.fromkeys(scopes)) or view.readable()
        sought = SearchQuery(
            words,
            wanted,
            any_word,
            lambda scope, key: view.may(Permission.READ, scope, key),
            max(offset, 0),
            min(max(limit, 1), SEARCH_LIMIT),
        )
        shown = await self._store.search(namespace, sought, self.clock.now_us())
        snippets = await self._store.snippets(namespace, shown, words)
        if reads is not None:
            for hit in shown:
                reads.entry(hit.entry)
        return [Found(hit.entry, hit.score, snippet) for hit, snippet in zip(shown, snippets, strict=True)]

    async def put(
        self,
        namespace: str,
        actor: Actor,
        key: str,
        value: Value,
        scope: str,
        *,
        ttl_us: int | None = None,
        expected: int | None = None,
        reads: ReadSet | None = None,
        call: str = "",
    ) -> Written:
        """Store a value as a new version. Raises Conflict (MEMORY_VERSION_STALE) where the version is not the expected one."""
        (written,) = await self.batch(namespace, actor, [Put(scope, key, value, ttl_us, expected)], reads, call)
        return written

    async def delete(
        self,
        namespace: str,
        actor: Actor,
        key: str,
        scope: str,
        *,
        expected: int | None = None,
        reads: ReadSet | None = None,
        call: str = "",
    ) -> Written:
        """Delete a key; older versions stay. The version that comes back is 0 where there was nothing to delete."""
        (written,) = await self.batch(namespace, actor, [Delete(scope, key, expected)], reads, call)
        return written

    async def batch(
        self, namespace: str, actor: Actor, changes: Sequence[Change], reads: ReadSet | None = None, call: str = ""
    ) -> list[Written]:
        """Compare all that is to be compared, then carry out all changes, or nothing at all; each is of another key.

        `call` is the idempotency key of a tool call, by which `written_by` finds what it wrote.
        """
        now_us = self.clock.now_us()
        stored = checked(changes, now_us)
        view = await self.access.view(namespace, actor)
        for change in changes:
            view.require(_PERMISSIONS[type(change)], change.scope, change.key)
            if change.expected is not None:
                # Whether it is the expected version tells what is there.
                view.require(Permission.READ, change.scope, change.key)
        store = self._recording(actor, now_us, operation_of(changes), changes[0].scope, change_facts(changes))
        return await store.write(namespace, stored, _note(actor, now_us, reads, call))

    async def written_by(self, namespace: str, call: str, key: str, scope: str) -> MemoryVersion | None:
        """Return the version of a key that a tool call has written, among those that are kept; None where it wrote none.

        A call that was cut off asks this before it writes again. It tells of nobody else's writes, so nobody needs leave for it.
        """
        check_key(key)
        check_scope(scope)
        known = await self._store.versions(namespace, scope, key, None, VERSIONS_KEPT)
        return next((one for one in known if one.origin.call == call), None)

    async def share(
        self, namespace: str, actor: Actor, key: str, scope: str, target: str, reads: ReadSet | None = None
    ) -> Written:
        """Put a copy of a key's newest version into another scope, under the same key, no more trusted than it was.

        Raises NotFound (MEMORY_NOT_FOUND) where there is none.
        """
        check_key(key)
        check_scope(scope)
        check_scope(target, "target")
        if scope == target:
            raise invalid("target", "An entry cannot be shared with its own scope: name another one.")
        view = await self.access.view(namespace, actor)
        view.require(Permission.READ, scope, key)
        view.require(Permission.SHARE, scope, key)
        view.require(Permission.WRITE, target, key)
        now_us = self.clock.now_us()
        found = await self._store.newest(namespace, scope, key, now_us)
        if found is None:
            raise NotFound("MEMORY_NOT_FOUND", f"There is no entry {key!r} in {scope}.")
        source = EntrySource(scope, key, found.entry.version)
        store = self._recording(actor, now_us, "memory.share", scope, {"key": key, "target": target})
        return await store.copy(namespace, source, Place(target, key), _note(actor, now_us, reads))

    async def watch(
        self, namespace: str, actor: Actor, scope: str = "", prefix: str = "", after: int | None = None
    ) -> AsyncIterator[Changes]:
        """Give the changes of a scope, or of all, after a position, as they come, without a gap; without one, from now on.

        There is no queue: whoever takes them reads on from where it was. A piece without changes tells only how far the log was
        read. Raises OutOfRange (CURSOR_EXPIRED) where the log no longer holds what followed, InvalidArgument (CURSOR_INVALID).
        """
        position = (await self._store.moment(namespace)).position if after is None else after
        while True:
            piece = await self.changes(namespace, actor, position, scope, prefix)
            if piece.position > position:
                position = piece.position
                yield piece
            else:
                await self.news(namespace, position)

    async def changes(
        self, namespace: str, actor: Actor, after: int, scope: str = "", prefix: str = "", limit: int = PAGE_LIMIT
    ) -> Changes:
        """Return a piece of the log after a position; one that reaches no further says that there is nothing new."""
        if scope:
            check_scope(scope)
        check_prefix(prefix)
        if after < 0:
            raise InvalidArgument("CURSOR_INVALID", "A position in the log is not negative: begin without one.")
        # The rules are asked anew each time: who may not read any more hears nothing more.
        view = await self.access.view(namespace, actor)
        if scope:
            view.require_some(Permission.READ, scope, prefix)
        piece = await self._store.changes(namespace, after, limit, scope or None, prefix)
        return Changes([one for one in piece.versions if view.may(Permission.READ, one.scope, one.key)], piece.position)

    async def news(self, namespace: str, after: int) -> None:
        """Return once there may be changes after a position."""
        await self._store.wait(namespace, after)

    def _recording(
        self, actor: Actor, now_us: int, operation: str, scope: str, facts: Mapping[str, Any]
    ) -> MemoryStore:
        """Return the store for a change, which the audit log tells of."""
        if self._recorded:
            return self._store
        return recorded(self._store, actor, now_us, operation, scope, facts)

    async def close(self) -> None:
        """Store what is only in memory: how often keys were read."""
        await self.reads.close()


_PERMISSIONS: Final = {Put: Permission.WRITE, Delete: Permission.DELETE, Check: Permission.READ}


def _note(actor: Actor, now_us: int, reads: ReadSet | None, call: str = "") -> Note:
    if reads is None:
        return Note(now_us, actor.writer, actor.trust)
    return Note(now_us, actor.writer, reads.label(actor.trust), reads.origin(call))


__all__ = ["Change", "Check", "Delete", "Found", "Memory", "Put", "View"]
