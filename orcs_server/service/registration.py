"""Registering agents for a namespace, and taking them back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import msgspec

from orcs_server.agents.definition import AGENT_ID, PLANNER_ID
from orcs_server.errors import AlreadyExists, Violation
from orcs_server.identity import Caller, Clock
from orcs_server.service.auditing import Auditing
from orcs_server.service.authorisation import ANYTHING, Authorisation, Visit
from orcs_server.service.commands import reused
from orcs_server.service.declarations import Declaration, check_agent_id, check_declaration, definition_of
from orcs_server.service.namespaceagents import NamespaceAgents, RegisteredAgent
from orcs_server.service.requests import command_hash
from orcs_server.service.validation import Findings
from orcs_server.storage.agents import Registered, StoredAgent, full, no_agent, stale
from orcs_server.storage.codec import damaged
from orcs_server.storage.once import Once
from orcs_server.storage.store import DuplicateRequest, RequestKey, RequestRecord, Store

REGISTER: Final = "RegisterAgent"
DEREGISTER: Final = "DeregisterAgent"
REVISION_LIMIT: Final = 64


class Registration:
    """Changes which agents a namespace has of its own. Workflows that exist keep theirs."""

    def __init__(
        self,
        *,
        agents: NamespaceAgents,
        store: Store,
        authorisation: Authorisation,
        auditing: Auditing,
        clock: Clock,
    ) -> None:
        self._agents = agents
        self._store = store
        self._authorisation = authorisation
        self._auditing = auditing
        self._clock = clock
        self._under_way: set[asyncio.Task[Registered]] = set()

    async def register(
        self,
        caller: Caller,
        declared: Declaration,
        expected: str | None = None,
        request_id: str = "",
        found: Sequence[Violation] = (),
        *,
        only_check: bool = False,
    ) -> RegisteredAgent:
        """Register an agent, or replace one; with `only_check` nothing is stored.

        Raises InvalidArgument with every violation, AlreadyExists (AGENT_ALREADY_EXISTS), Conflict (STALE_REVISION),
        ResourceExhausted.
        """
        visit = await self._enter(caller, "agents.register", declared.id)
        findings = Findings(found)
        findings.request_id(request_id)
        _check_expected(findings, expected)
        once = self._once(visit, REGISTER, request_id, (declared, expected)) if not findings else None
        known = None if once is None or only_check else await self._known(once)
        if once is not None and known is not None:
            return self._registered(declared, _answer(known, once))
        check_declaration(findings, declared, self._agents.nameable)
        findings.raise_any()
        if declared.id == PLANNER_ID or self._agents.has(declared.id):
            raise AlreadyExists(
                "AGENT_ALREADY_EXISTS", f"The server has an agent {declared.id!r} for everybody: choose another id."
            )
        definition = definition_of(declared)
        if once is not None:
            facts = {
                "revision": definition.revision,
                "tools": declared.tools,
                "mcp": declared.mcp,
                "model": declared.model,
            }
            once.audit = self._auditing.draft(visit, REGISTER, request_id, facts)
        now_us = self._clock.now_us()
        row = StoredAgent(declared.id, definition.revision, now_us, visit.caller.principal, declared.pack())
        if only_check or once is None:
            await self._try(visit.namespace, row, expected)
            return self._registered(declared, Registered(definition.revision, now_us))
        done = await self._carry_out(visit, once, self._store.agents.register(visit.namespace, row, expected, once))
        return self._registered(declared, done)

    async def deregister(
        self,
        caller: Caller,
        agent_id: str,
        expected: str | None = None,
        request_id: str = "",
        *,
        only_check: bool = False,
    ) -> str:
        """Take an agent back, and return the revision that it had; with `only_check` it stays.

        Raises NotFound (AGENT_NOT_FOUND), Conflict (STALE_REVISION).
        """
        visit = await self._enter(caller, "agents.deregister", agent_id)
        findings = Findings()
        findings.request_id(request_id)
        check_agent_id(findings, "agent_id", agent_id)
        _check_expected(findings, expected)
        findings.raise_any()
        if only_check:
            return await self._try_removal(visit.namespace, agent_id, expected)
        once = self._once(visit, DEREGISTER, request_id, (agent_id, expected))
        known = await self._known(once)
        if known is not None:
            return _answer(known, once).revision
        once.audit = self._auditing.draft(visit, DEREGISTER, request_id)
        done = await self._carry_out(
            visit, once, self._store.agents.deregister(visit.namespace, agent_id, expected, once)
        )
        return done.revision

    async def _enter(self, caller: Caller, operation: str, agent_id: str) -> Visit:
        named = AGENT_ID.fullmatch(agent_id) is not None
        return await self._authorisation.enter(caller, operation, agent_id if named else ANYTHING)

    def _once(self, visit: Visit, method: str, request_id: str, said: object) -> Once:
        now_us = self._clock.now_us()
        if not request_id:
            return Once(None, "", now_us)
        key = RequestKey(visit.namespace, visit.caller.principal, method, request_id)
        return Once(key, command_hash((method, said)), now_us)

    async def _known(self, once: Once) -> RequestRecord | None:
        return None if once.request is None else await self._store.find_request(once.request)

    async def _carry_out(self, visit: Visit, once: Once, change: Coroutine[Any, Any, Registered]) -> Registered:
        # It goes through even when the caller has gone; only once it has, is what was read before out of date.
        task = asyncio.create_task(change)
        self._under_way.add(task)
        task.add_done_callback(lambda done: self._done(visit.namespace, done))
        try:
            return await asyncio.shield(task)
        except DuplicateRequest as error:
            return _answer(error.record, once)

    def _done(self, namespace: str, task: asyncio.Task[Registered]) -> None:
        self._under_way.discard(task)
        self._agents.changed(namespace)
        if not task.cancelled():
            task.exception()  # Whoever still waits is told; nobody else needs to be.

    async def _try(self, namespace: str, agent: StoredAgent, expected: str | None) -> None:
        """Raise what registering the agent would raise now."""
        rows = {row.id: row for row in await self._store.agents.registered(namespace)}
        there = rows.pop(agent.id, None)
        others = sum(len(row.declaration) for row in rows.values())
        refusal = stale(agent.id, "" if there is None else there.revision, expected) or full(
            len(rows), others, len(agent.declaration)
        )
        if refusal is not None:
            raise refusal

    async def _try_removal(self, namespace: str, agent_id: str, expected: str | None) -> str:
        """Return the revision that an agent has. Raises what taking it back would raise now."""
        rows = await self._store.agents.registered(namespace)
        revision = next((row.revision for row in rows if row.id == agent_id), None)
        refusal = no_agent(agent_id) if revision is None else stale(agent_id, revision, expected)
        if revision is None or refusal is not None:
            raise refusal or no_agent(agent_id)
        return revision

    def _registered(self, declared: Declaration, done: Registered) -> RegisteredAgent:
        return RegisteredAgent(declared, done.time_us, self._agents.nameable.missing(declared))


def _answer(record: RequestRecord, once: Once) -> Registered:
    """Return what a request was answered with. Raises InvalidArgument (REQUEST_ID_REUSED)."""
    if record.command_hash != once.command_hash:
        raise reused(record.key.method, record.key.request_id)
    try:
        return msgspec.json.decode(record.answer, type=Registered)
    except msgspec.MsgspecError as error:
        raise damaged("the answer of a request") from error


def _check_expected(findings: Findings, expected: str | None) -> None:
    if expected is not None:
        findings.line("expected_revision", expected, REVISION_LIMIT)
