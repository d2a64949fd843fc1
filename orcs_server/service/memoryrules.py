"""Who may do what with a namespace's memory, and how it is used."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from orcs_server.errors import NotFound, OutOfRange
from orcs_server.identity import Caller
from orcs_server.memory import Memory, Rule
from orcs_server.memory.access import RuleSet, rules_digest
from orcs_server.memory.inventory import ScopeContent
from orcs_server.service import memorychecks as check
from orcs_server.service.cursors import MemoryCursors
from orcs_server.service.memoryaccess import MemoryAccess, Receipt, actor_of, key_after, weight
from orcs_server.service.pages import PageBinding, fitting, page_size
from orcs_server.service.validation import Findings
from orcs_server.storage.memory_rows import KeyReads, MemoryVersion


class Statistics(Struct, frozen=True):
    """What is read most, and a page of what was never read."""

    hot: Sequence[KeyReads]
    never_read: Sequence[MemoryVersion]
    next_page_token: str
    cursors: MemoryCursors


class ScopesPage(Struct, frozen=True):
    """A page of scopes."""

    scopes: Sequence[ScopeContent]
    next_page_token: str


class Rules:
    """Shows and sets access rules, and shows statistics."""

    def __init__(self, memory: Memory, access: MemoryAccess) -> None:
        self._memory = memory
        self._access = access

    async def rules(self, caller: Caller, version: int = 0) -> RuleSet:
        """Return the rules: the newest, or those of a version.

        Raises NotFound (MEMORY_NOT_FOUND) for one that never was, OutOfRange (HISTORY_EXPIRED) for one that is no longer kept.
        """
        findings = Findings()
        check.number(findings, "version", version, 0)
        findings.raise_any()
        visit = await self._access.enter(caller, "memory.read")
        newest = await self._memory.access.rules(visit.namespace)
        if version in (0, newest.version):
            return newest
        if version > newest.version:
            raise NotFound("MEMORY_NOT_FOUND", f"There is no version {version} of the access rules.")
        found = await self._memory.access.rules(visit.namespace, version)
        if not found.version:
            raise OutOfRange("HISTORY_EXPIRED", f"Version {version} of the access rules is no longer kept.")
        return found

    async def set_rules(
        self,
        caller: Caller,
        rules: Sequence[Rule],
        expected: int | None = None,
        request_id: str = "",
        found: Findings | None = None,
    ) -> Receipt[int]:
        """Replace the rules; return their version. Raises Conflict (MEMORY_VERSION_STALE)."""
        findings = found or Findings()
        findings.request_id(request_id)
        check.number(findings, "expected_version", expected, 0)
        if not findings.within("rules"):
            check.rules(findings, rules)
        findings.raise_any()
        visit = await self._access.enter(caller, "memory.administer")
        return await self._access.once(
            visit,
            "SetAccessRules",
            request_id,
            (list(rules), expected),
            int,
            lambda memory: memory.access.set_rules(
                visit.namespace, actor_of(visit), rules, self._access.now_us(), expected
            ),
            {"rules": len(rules), "expected_version": expected, "rules_sha256": rules_digest(rules)},
        )

    async def scopes(self, caller: Caller, prefix: str = "", size: int = 0, token: str = "") -> ScopesPage:
        """Return a page of the scopes that hold anything that the caller may read."""
        findings = Findings()
        check.prefix(findings, prefix)
        findings.raise_any()
        size = page_size(size, self._access.max_page_size)
        visit = await self._access.enter(caller, "memory.read")
        binding = PageBinding("ListMemoryScopes", visit.namespace, prefix)
        after = key_after(binding, token)
        found, following = await self._memory.history.scopes(visit.namespace, actor_of(visit), prefix, after, size)
        visible = await self._access.visible(visit, [one.scope for one in found])
        shown = [one for one in found if one.scope in visible]
        return ScopesPage(shown, "" if following is None else binding.token(following))

    async def statistics(self, caller: Caller, scope: str = "", size: int = 0, token: str = "") -> Statistics:
        """Return the keys that are read most and, with a scope, a page of its keys that were never read."""
        findings = Findings()
        if scope:
            check.scope(findings, scope)
        findings.raise_any()
        size = page_size(size, self._access.max_page_size)
        visit = await self._access.enter(caller, "memory.read", scope or "*")
        namespace, actor, cursors = visit.namespace, actor_of(visit), self._access.cursors(visit)
        binding = PageBinding("GetMemoryStatistics", namespace, scope)
        after = key_after(binding, token)
        # When it is stored by itself depends on everybody's reads: nobody shall see that here.
        await self._memory.reads.flush()
        hot = [] if token else await self._memory.history.hot(namespace, actor, size)
        visible = await self._access.visible(visit, [one.scope for one in hot])
        hot = [one for one in hot if one.scope in visible]
        if not scope:
            return Statistics(hot, (), "", cursors)
        unread, following = await self._memory.history.never_read(namespace, actor, scope, after, size)
        shown = fitting(unread, weight)
        if shown < len(unread):
            following = unread[shown - 1].key
        return Statistics(hot, unread[:shown], "" if following is None else binding.token(following), cursors)
