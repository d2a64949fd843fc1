"""Registered agents in the SQLite store: written by the one writer, read on the event loop."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from orcs_server.storage.agents import Registered, StoredAgent, full, no_agent, stale
from orcs_server.storage.once import Once
from orcs_server.storage.sqlite.batch import Change
from orcs_server.storage.sqlite.memory.remembering import Work, once
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader
from orcs_server.storage.sqlite.writer import Refused, Writer

ROWS = 2
"""An agent and the answer to its request."""


class SqliteAgents:
    """An `AgentStore` within a data file that is open."""

    def __init__(self, writer: Callable[[], Writer], reader: Callable[[], Reader]) -> None:
        """`writer` and `reader` give what is open, or raise Unavailable."""
        self._writer = writer
        self._reader = reader

    async def registered(self, namespace: str) -> list[StoredAgent]:
        return [StoredAgent(*row) for row in self._reader().page(QUERIES["registered_agents"], (namespace,))]

    async def register(self, namespace: str, agent: StoredAgent, expected: str | None, once: Once) -> Registered:
        return await self._change(namespace, _registering(namespace, agent, expected), once)

    async def deregister(self, namespace: str, agent_id: str, expected: str | None, once: Once) -> Registered:
        return await self._change(namespace, _deregistering(namespace, agent_id, expected), once)

    async def _change(self, namespace: str, work: Work, request: Once) -> Registered:
        remembered = await self._writer().submit(Change(once(work, namespace, request), ROWS), namespace)
        done: Registered = remembered.outcome
        return done


def _registering(namespace: str, agent: StoredAgent, expected: str | None) -> Work:
    def register(connection: sqlite3.Connection) -> Registered | Refused:
        there = _read(connection, namespace, agent.id)
        refusal = stale(agent.id, "" if there is None else there.revision, expected)
        if refusal is not None:
            return Refused(refusal)
        if there is not None and (there.revision, there.declaration) == (agent.revision, agent.declaration):
            return Registered(there.revision, there.time_us)
        count, size = connection.execute(QUERIES["registered_agents_size"], (namespace, agent.id)).fetchone()
        no_room = full(count, size, len(agent.declaration))
        if no_room is not None:
            return Refused(no_room)
        row = (namespace, agent.id, agent.revision, agent.time_us, agent.principal, agent.declaration)
        connection.execute(QUERIES["put_registered_agent"], row)
        return Registered(agent.revision, agent.time_us)

    return register


def _deregistering(namespace: str, agent_id: str, expected: str | None) -> Work:
    def deregister(connection: sqlite3.Connection) -> Registered | Refused:
        there = _read(connection, namespace, agent_id)
        if there is None:
            return Refused(no_agent(agent_id))
        refusal = stale(agent_id, there.revision, expected)
        if refusal is not None:
            return Refused(refusal)
        connection.execute(QUERIES["remove_registered_agent"], (namespace, agent_id))
        return Registered(there.revision, there.time_us)

    return deregister


def _read(connection: sqlite3.Connection, namespace: str, agent_id: str) -> StoredAgent | None:
    row = connection.execute(QUERIES["registered_agent"], (namespace, agent_id)).fetchone()
    return None if row is None else StoredAgent(*row)
