"""Memory's past: what was, snapshots of it, and the ways back. Always by new versions; only a purge takes anything away."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple, Self

from orcs_server.errors import NotFound
from orcs_server.identity import Clock
from orcs_server.memory.access import AccessControl, Actor, Permission
from orcs_server.memory.flow import ReadSet
from orcs_server.memory.inventory import ScopePage, scopes_of
from orcs_server.memory.quarantine import Quarantine, take_back
from orcs_server.memory.scopes import check_key, check_prefix, check_scope, invalid
from orcs_server.storage.memory import MemoryStore
from orcs_server.storage.memory_rows import (
    Compared,
    Difference,
    KeyReads,
    Listed,
    MemorySnapshot,
    MemoryValue,
    MemoryVersion,
    Moment,
    Note,
    Place,
    RunFilter,
)
from orcs_server.storage.once import twin

SLICE: Final = 200
"""Keys that one transaction of a restore, a quarantine or a purge changes: others write between two of them."""
PAGE_LIMIT: Final = 500
TITLE_LIMIT: Final = 200


class At(NamedTuple):
    """Which past: a version of the key, a position of the log, or a time. One of them."""

    version: int | None = None
    position: int | None = None
    time_us: int | None = None


class History:
    """The past of entries, for whoever may see or change it."""

    def __init__(self, store: MemoryStore, clock: Clock, access: AccessControl) -> None:
        self._store = store
        self._clock = clock
        self._access = access

    def bound(self, store: MemoryStore, access: AccessControl) -> Self:
        """Return this for another face of the same store."""
        bound = twin(self)
        bound._store, bound._access = store, access  # noqa: SLF001 - its own kind
        return bound

    # What was

    async def get(
        self, namespace: str, actor: Actor, key: str, scope: str, at: At, reads: ReadSet | None = None
    ) -> MemoryValue | None:
        """Return a key as it was, or None where it was absent then. A value whose time to live is over is absent in any past.

        Raises OutOfRange (HISTORY_EXPIRED) where that is no longer kept, NotFound (MEMORY_NOT_FOUND) for a version that never
        was or has expired, InvalidArgument for a time that is yet to come, or for more than one past.
        """
        check_key(key)
        check_scope(scope)
        if sum(one is not None for one in at) > 1:
            raise invalid("at", "Name a version, a position or a time: only one of them.")
        (await self._access.view(namespace, actor)).require(Permission.READ, scope, key)
        if at.version is not None:
            entry = await self._store.version(namespace, scope, key, at.version)
            if entry is None:
                raise NotFound("MEMORY_NOT_FOUND", f"{key!r} has no version {at.version} in {scope}.")
            if self._over(entry):
                text = f"The time to live of version {at.version} of {key!r} in {scope} is over: it reads as absent."
                raise NotFound("MEMORY_NOT_FOUND", text)
        else:
            entry = await self._store.as_of(namespace, scope, key, await self.moment(namespace, at))
        if entry is None or self._over(entry):
            return None
        if reads is not None:
            reads.entry(entry)
        return MemoryValue(entry, await self._store.value(namespace, entry))

    async def page(
        self,
        namespace: str,
        actor: Actor,
        scope: str,
        at: At,
        prefix: str = "",
        after: str = "",
        limit: int = PAGE_LIMIT,
    ) -> Listed:
        """Return a page of a scope's keys as they were, but for what has expired. It may hold fewer than `limit`, not being the last."""
        check_scope(scope)
        check_prefix(prefix)
        view = await self._access.view(namespace, actor)
        view.require_some(Permission.READ, scope, prefix)
        moment = await self.moment(namespace, at)
        found = await self._store.page_as_of(namespace, scope, prefix, after, min(max(limit, 1), PAGE_LIMIT), moment)
        shown = [one for one in found.entries if view.may(Permission.READ, scope, one.key) and not self._over(one)]
        return Listed(shown, found.after)

    async def versions(
        self, namespace: str, actor: Actor, key: str, scope: str, before: int | None = None, limit: int = PAGE_LIMIT
    ) -> list[MemoryVersion]:
        """Return up to `limit` versions of a key before one, the newest first, deletions included."""
        check_key(key)
        check_scope(scope)
        (await self._access.view(namespace, actor)).require(Permission.READ, scope, key)
        return await self._store.versions(namespace, scope, key, before, min(max(limit, 1), PAGE_LIMIT))

    async def moment(self, namespace: str, at: At) -> Moment:
        """Return the moment that is meant. Raises InvalidArgument (FIELD_INVALID) for one that is yet to come."""
        end = await self._store.moment(namespace)
        if at.position is not None:
            if not 0 <= at.position <= end.position:
                raise invalid("position", "The position lies beyond the log.")
            if at.position == end.position:
                return Moment(end.position, self._clock.now_us())
            return Moment(at.position, await self._store.time_of(namespace, at.position))
        if at.time_us is None:
            return Moment(end.position, self._clock.now_us())
        if not 0 <= at.time_us <= self._clock.now_us():
            raise invalid("as_of", "The time is yet to come: use one of the past.")
        return await self._store.moment(namespace, at.time_us)

    # Snapshots

    async def create_snapshot(self, namespace: str, actor: Actor, scope: str, title: str = "") -> MemorySnapshot:
        """Remember a scope as it is now: at once, however much it holds, since no value is copied."""
        check_scope(scope)
        if len(title) > TITLE_LIMIT or not title.isprintable():
            raise invalid("title", f"A title has at most {TITLE_LIMIT} printable characters.")
        (await self._access.view(namespace, actor)).require_all((Permission.READ,), scope)
        return await self._store.create_snapshot(namespace, scope, title, _name(actor), self._clock.now_us())

    async def snapshots(
        self, namespace: str, actor: Actor, scope: str = "", before: int | None = None, limit: int = PAGE_LIMIT
    ) -> list[MemorySnapshot]:
        """Return up to `limit` snapshots before a number, the newest first: those of a scope, or of all that one may read."""
        view = await self._access.view(namespace, actor)
        if scope:
            check_scope(scope)
            view.require_some(Permission.READ, scope)
        limit = min(max(limit, 1), PAGE_LIMIT)
        found: list[MemorySnapshot] = []
        while page := await self._store.snapshots(namespace, scope or None, before, limit):
            found += [one for one in page if view.may_some(Permission.READ, one.scope)]
            before = page[-1].number
            if len(page) < limit or len(found) >= limit:
                break
        return found[:limit]

    async def delete_snapshot(self, namespace: str, actor: Actor, scope: str, number: int) -> None:
        """Forget a snapshot. Raises NotFound (SNAPSHOT_NOT_FOUND)."""
        await self._snapshot(namespace, scope, number)
        (await self._access.view(namespace, actor)).require_all((Permission.READ, Permission.DELETE), scope)
        await self._store.delete_snapshot(namespace, number)

    async def compare(
        self,
        namespace: str,
        actor: Actor,
        scope: str,
        before: int,
        after: int | None = None,
        key: str = "",
        limit: int = PAGE_LIMIT,
    ) -> Compared:
        """Return a page of what differs between two snapshots of a scope, or between one and now, after a key.

        What has expired since is absent in both, as it is for `restore`.
        """
        view = await self._access.view(namespace, actor)
        first = await self._snapshot(namespace, scope, before)
        view.require_some(Permission.READ, scope)
        second = Moment((await self._store.moment(namespace)).position, self._clock.now_us())
        if after is not None:
            later = await self._snapshot(namespace, scope, after)
            second = Moment(later.position, later.time_us)
        moment = Moment(first.position, first.time_us)
        page = await self._store.compare(namespace, scope, moment, second, key, min(max(limit, 1), PAGE_LIMIT))
        seen = [self._without_expired(one) for one in page.differences if view.may(Permission.READ, scope, one.key)]
        return Compared([one for one in seen if one.before is not None or one.after is not None], page.after)

    async def restore(self, namespace: str, actor: Actor, scope: str, number: int) -> int:
        """Make a scope what it was in a snapshot, by new versions; return how many keys changed.

        What was there then and has expired since stays absent. It goes on in slices, each of them whole. One that was cut off is begun again: what is as it was is passed over. Raises
        NotFound (SNAPSHOT_NOT_FOUND), also for a snapshot of another scope.
        """
        view = await self._access.view(namespace, actor)
        snapshot = await self._snapshot(namespace, scope, number)
        view.require_all((Permission.READ, Permission.WRITE, Permission.DELETE), scope)
        moment, changed, after = Moment(snapshot.position, snapshot.time_us), 0, ""
        while True:
            page = await self._store.rewind(namespace, scope, moment, after, SLICE, self._note(actor))
            changed += page.changed
            if page.after is None:
                return changed
            after = page.after
            await asyncio.sleep(0)

    # Ways back

    async def revert(self, namespace: str, actor: Actor, key: str, scope: str, version: int) -> int:
        """Repeat a version of a key as the newest, no more trusted than it was; return the number of the newest version.

        Raises NotFound (MEMORY_NOT_FOUND) where there never was one, OutOfRange (HISTORY_EXPIRED) where it is no longer kept,
        IllegalTransition (MEMORY_EXPIRED) where its time to live is over.
        """
        check_key(key)
        check_scope(scope)
        view = await self._access.view(namespace, actor)
        for permission in (Permission.READ, Permission.WRITE, Permission.DELETE):
            view.require(permission, scope, key)
        return await self._store.revert(namespace, Place(scope, key), version, self._note(actor))

    async def quarantine(self, namespace: str, actor: Actor, run: RunFilter) -> Quarantine:
        """Take back all that a workflow, a task or an attempt wrote, in whatever scope, by new versions. Agents may not.

        Copies of its versions, shared or restored, are taken back, too. What others have made of them is named. It goes on in
        slices, each of them whole, and may be repeated.
        """
        (await self._access.view(namespace, actor)).require_client("take back what a run wrote")
        if not run.workflow_id:
            raise invalid("workflow_id", "Say which workflow's writes are to be taken back.")
        return await take_back(self._store, namespace, run, self._note(actor), SLICE)

    async def purge(self, namespace: str, actor: Actor, scope: str, prefix: str = "", key: str | None = None) -> int:
        """Erase a key, or all that begin so, for good: values, versions, index, what snapshots hold of them; return how many
        versions went. Agents may not.

        What a workflow has made of it (outputs, its journal) goes with that workflow; backups are not reached.
        """
        check_scope(scope)
        check_prefix(prefix)
        if key is not None:
            check_key(key)
        view = await self._access.view(namespace, actor)
        view.require_client("purge", scope)
        view.require_all((Permission.DELETE,), scope)
        erased, page = 0, SLICE
        while page == SLICE:
            page = await self._store.purge(namespace, scope, prefix, key, SLICE)
            erased += page
        await self._store.scrub(namespace)
        return erased

    # Statistics

    async def scopes(
        self, namespace: str, actor: Actor, prefix: str = "", after: str = "", limit: int = PAGE_LIMIT
    ) -> ScopePage:
        """Return a page of the scopes that hold anything that one may read. It may hold fewer than `limit`, not being the last."""
        check_prefix(prefix)
        check_prefix(after, "after")
        view = await self._access.view(namespace, actor)
        return await scopes_of(self._store, view, namespace, prefix, after, limit, self._clock.now_us())

    async def hot(self, namespace: str, actor: Actor, limit: int = 20) -> list[KeyReads]:
        """Return the keys that were read most, of those that one may read."""
        view = await self._access.view(namespace, actor)
        found = await self._store.hot(namespace, PAGE_LIMIT)
        return [one for one in found if view.may(Permission.READ, one.scope, one.key)][:limit]

    async def never_read(self, namespace: str, actor: Actor, scope: str, after: str = "", limit: int = 100) -> Listed:
        """Return a page of a scope's keys that were never read."""
        check_scope(scope)
        view = await self._access.view(namespace, actor)
        view.require_some(Permission.READ, scope)
        found = await self._store.never_read(
            namespace, scope, after, min(max(limit, 1), PAGE_LIMIT), self._clock.now_us()
        )
        return Listed([one for one in found.entries if view.may(Permission.READ, scope, one.key)], found.after)

    async def _snapshot(self, namespace: str, scope: str, number: int) -> MemorySnapshot:
        check_scope(scope)
        found = await self._store.snapshots(namespace, scope, number + 1, 1) if 0 < number < 2**62 else []
        if not found or found[0].number != number:
            raise NotFound("SNAPSHOT_NOT_FOUND", f"There is no snapshot {number} of {scope}.")
        return found[0]

    def _over(self, entry: MemoryVersion) -> bool:
        """Say whether a value's time to live is over."""
        return not entry.deleted and not entry.live(self._clock.now_us())

    def _without_expired(self, one: Difference) -> Difference:
        before, after = (None if entry is None or self._over(entry) else entry for entry in (one.before, one.after))
        return Difference(one.key, before, after)

    def _note(self, actor: Actor) -> Note:
        return Note(self._clock.now_us(), actor.writer, actor.trust)


def _name(actor: Actor) -> str:
    return f"agent:{actor.agent}" if actor.agent else actor.principal
