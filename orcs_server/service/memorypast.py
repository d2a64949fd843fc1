"""Memory's past: versions, snapshots and what differs between them, the ways back, erasing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from orcs_server.identity import Caller
from orcs_server.memory import Memory, Permission
from orcs_server.memory.history import TITLE_LIMIT
from orcs_server.service import memorychecks as check
from orcs_server.service.authorisation import Visit
from orcs_server.service.cursors import MemoryCursors
from orcs_server.service.memory import EntryPage
from orcs_server.service.memoryaccess import MemoryAccess, Receipt, actor_of, key_after, weight
from orcs_server.service.pages import PageBinding, fitting, page_size
from orcs_server.service.validation import Findings
from orcs_server.storage.memory_rows import Difference, EntrySource, MemorySnapshot, Place, RunFilter

PLACES_SHOWN: Final = 200
"""Keys that the answer about a run names, of each kind; all are counted."""
ATTEMPT_LIMIT: Final = 2**31


class SnapshotPage(Struct, frozen=True):
    """A page of snapshots."""

    snapshots: Sequence[MemorySnapshot]
    next_page_token: str
    cursors: MemoryCursors


class DifferencePage(Struct, frozen=True):
    """A page of differences."""

    differences: Sequence[Difference]
    next_page_token: str
    cursors: MemoryCursors


class Reverted(Struct, frozen=True):
    """What was taken back; of the keys that are named the first ones."""

    version: int = 0
    reverted_count: int = 0
    overwritten_count: int = 0
    overwritten: tuple[Place, ...] = ()
    forgotten_count: int = 0
    forgotten: tuple[Place, ...] = ()
    key_count: int = 0
    derived_count: int = 0
    derived: tuple[Place, ...] = ()


class Past:
    """Shows memory's past to callers, and leads back to it."""

    def __init__(self, memory: Memory, access: MemoryAccess) -> None:
        self._history = memory.history
        self._access = access

    # What was

    async def versions(self, caller: Caller, scope: str, key: str, size: int = 0, token: str = "") -> EntryPage:
        """Return a page of a key's versions, the newest first, deletions included."""
        findings = Findings()
        check.scope(findings, scope)
        check.key(findings, key)
        findings.raise_any()
        size = page_size(size, self._access.max_page_size)
        visit = await self._access.enter(caller, "memory.read", scope)
        binding = PageBinding("ListMemoryVersions", visit.namespace, (scope, key))
        before = binding.key(token, int)
        entries = await self._history.versions(visit.namespace, actor_of(visit), key, scope, before, size)
        shown = fitting(entries, weight)
        more = len(entries) == size or shown < len(entries)
        return EntryPage(
            entries[:shown], binding.token(entries[shown - 1].version) if more else "", self._access.cursors(visit)
        )

    # Snapshots

    async def create_snapshot(
        self, caller: Caller, scope: str, title: str = "", request_id: str = ""
    ) -> Receipt[MemorySnapshot]:
        """Remember a scope as it is now."""
        findings = Findings()
        findings.request_id(request_id)
        check.scope(findings, scope)
        if len(title) > TITLE_LIMIT or not title.isprintable():
            findings.add("title", f"A title has at most {TITLE_LIMIT} printable characters.")
        findings.raise_any()
        visit = await self._access.enter(caller, "memory.write", scope)
        return await self._access.once(
            visit,
            "CreateSnapshot",
            request_id,
            (scope, title),
            MemorySnapshot,
            lambda memory: memory.history.create_snapshot(visit.namespace, actor_of(visit), scope, title),
        )

    async def snapshots(self, caller: Caller, scope: str = "", size: int = 0, token: str = "") -> SnapshotPage:
        """Return a page of snapshots, the newest first: those of a scope, or of all that the caller may read."""
        findings = Findings()
        if scope:
            check.scope(findings, scope)
        findings.raise_any()
        size = page_size(size, self._access.max_page_size)
        visit = await self._access.enter(caller, "memory.read", scope or "*")
        binding = PageBinding("ListSnapshots", visit.namespace, scope)
        before = binding.key(token, int)
        rows = await self._history.snapshots(visit.namespace, actor_of(visit), scope, before, size)
        visible = await self._access.visible(visit, [row.scope for row in rows])
        following = binding.token(rows[-1].number) if len(rows) == size else ""
        return SnapshotPage([row for row in rows if row.scope in visible], following, self._access.cursors(visit))

    async def delete_snapshot(self, caller: Caller, scope: str, number: int, request_id: str = "") -> str:
        """Forget a snapshot; return the cursor after it. Raises NotFound (SNAPSHOT_NOT_FOUND)."""
        visit = await self._enter(caller, "memory.delete", scope, number, request_id)

        async def delete(memory: Memory) -> int:
            await memory.history.delete_snapshot(visit.namespace, actor_of(visit), scope, number)
            return 1

        said = {"snapshot": number}
        receipt = await self._access.once(visit, "DeleteSnapshot", request_id, (scope, number), int, delete, said)
        return receipt.cursor

    async def compare(
        self, caller: Caller, scope: str, before: int, after: int, size: int = 0, token: str = ""
    ) -> DifferencePage:
        """Return a page of what differs between two snapshots, or, where `after` is 0, between one and now."""
        findings = Findings()
        check.scope(findings, scope)
        check.number(findings, "from_snapshot", before)
        check.number(findings, "to_snapshot", after, 0)
        findings.raise_any()
        size = page_size(size, self._access.max_page_size)
        visit = await self._access.enter(caller, "memory.read", scope)
        binding = PageBinding("CompareSnapshots", visit.namespace, (scope, before, after))
        key = key_after(binding, token)
        found, following = await self._history.compare(
            visit.namespace, actor_of(visit), scope, before, after or None, key, size
        )
        shown = fitting(found, _weight)
        if shown < len(found):
            following = found[shown - 1].key
        next_token = "" if following is None else binding.token(following)
        return DifferencePage(found[:shown], next_token, self._access.cursors(visit))

    async def restore(self, caller: Caller, scope: str, number: int, request_id: str = "") -> Receipt[int]:
        """Make a scope what it was in a snapshot; return how many keys changed. Raises NotFound (SNAPSHOT_NOT_FOUND)."""
        visit = await self._enter(caller, "memory.revert", scope, number, request_id)
        return await self._access.in_slices(
            visit,
            "RestoreSnapshot",
            request_id,
            (scope, number),
            int,
            lambda memory: memory.history.restore(visit.namespace, actor_of(visit), scope, number),
            {"snapshot": number},
            lambda changed: changed,
        )

    # Ways back

    async def revert(self, caller: Caller, version: EntrySource, request_id: str = "") -> Receipt[Reverted]:
        """Repeat a version of a key as its newest. Raises NotFound (MEMORY_NOT_FOUND), OutOfRange (HISTORY_EXPIRED)."""
        findings = Findings()
        findings.request_id(request_id)
        check.scope(findings, version.scope, "version.scope")
        check.key(findings, version.key, "version.key")
        check.number(findings, "version.version", version.version)
        findings.raise_any()
        visit = await self._access.enter(caller, "memory.revert", version.scope)
        scope, key, number = version.scope, version.key, version.version
        receipt = await self._access.once(
            visit,
            "RevertMemory",
            request_id,
            version,
            int,
            lambda memory: memory.history.revert(visit.namespace, actor_of(visit), key, scope, number),
            {"key": key, "version": number},
        )
        return Receipt(Reverted(receipt.result, 1, key_count=1), receipt.cursor, receipt.cursors)

    async def take_back(self, caller: Caller, run: RunFilter, request_id: str = "") -> Receipt[Reverted]:
        """Take back all that a run wrote, in whatever scope."""
        findings = Findings()
        findings.request_id(request_id)
        findings.workflow_id("run.workflow_id", run.workflow_id)
        if run.task_id is not None:
            findings.task_id("run.task_id", run.task_id)
        if run.attempt is not None:
            findings.between("run.attempt", run.attempt, 1, ATTEMPT_LIMIT)
            if run.task_id is None:
                findings.add("run.attempt", "It goes with run.task_id only: name the attempt's task, too.")
        findings.raise_any()
        visit = await self._access.enter(caller, "memory.revert", "*")

        async def quarantine(memory: Memory) -> Reverted:
            found = await memory.history.quarantine(visit.namespace, actor_of(visit), run)
            return Reverted(
                0,
                len(found.reverted),
                len(found.overwritten),
                await self._readable(visit, memory, found.overwritten),
                len(found.forgotten),
                await self._readable(visit, memory, found.forgotten),
                found.keys,
                len(found.derived),
                await self._readable(visit, memory, found.derived),
            )

        said = {"run": run.workflow_id, "task": run.task_id, "attempt": run.attempt}
        return await self._access.in_slices(
            visit, "RevertMemory", request_id, run, Reverted, quarantine, said, lambda reverted: reverted.reverted_count
        )

    async def _readable(self, visit: Visit, memory: Memory, places: Sequence[Place]) -> tuple[Place, ...]:
        """Return the first of these places that the caller may read."""
        view = await memory.access.view(visit.namespace, actor_of(visit))
        may = [place for place in places if view.may(Permission.READ, *place)]
        visible = await self._access.visible(visit, [place.scope for place in may])
        return tuple(place for place in may if place.scope in visible)[:PLACES_SHOWN]

    async def purge(
        self,
        caller: Caller,
        scope: str,
        prefix: str,
        key: str | None,
        request_id: str = "",
        found: Findings | None = None,
    ) -> Receipt[int]:
        """Erase a key, or all that begin so, for good; return how many versions went."""
        findings = found or Findings()
        findings.request_id(request_id)
        check.scope(findings, scope)
        if key is None:
            check.prefix(findings, prefix)
        else:
            check.key(findings, key)
        findings.raise_any()
        visit = await self._access.enter(caller, "memory.administer", scope)
        return await self._access.in_slices(
            visit,
            "PurgeMemory",
            request_id,
            (scope, prefix, key),
            int,
            lambda memory: memory.history.purge(visit.namespace, actor_of(visit), scope, prefix, key),
            {"prefix": prefix} if key is None else {"key": key},
            lambda erased: erased,
        )

    async def _enter(self, caller: Caller, operation: str, scope: str, number: int, request_id: str) -> Visit:
        """Let a caller in to do something with a snapshot."""
        findings = Findings()
        findings.request_id(request_id)
        check.scope(findings, scope)
        check.number(findings, "snapshot", number)
        findings.raise_any()
        return await self._access.enter(caller, operation, scope)


def _weight(one: Difference) -> int:
    return sum(weight(entry) for entry in (one.before, one.after) if entry is not None) + 4 * len(one.key)
