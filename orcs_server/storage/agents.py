"""What a store promises about agents that are registered for a namespace, and the types that go in and out of it."""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

from orcs_server.errors import Conflict, NotFound, ResourceExhausted
from orcs_server.storage.once import Once

AGENTS_LIMIT: Final = 100
"""Registered agents of a namespace."""
AGENT_BYTES_LIMIT: Final = 512 * 1024
"""Of all declarations of a namespace together: every workflow has a copy of them."""


class StoredAgent(Struct, frozen=True):
    """An agent as it is registered."""

    id: str
    revision: str
    time_us: int
    """When it was registered as it is."""
    principal: str
    """By whom."""
    declaration: bytes
    """What it was declared as; opaque to the store."""


class Registered(Struct, frozen=True):
    """What a registration came to."""

    revision: str
    time_us: int


def stale(agent_id: str, revision: str, expected: str | None) -> Conflict | None:
    """Return the error for an agent whose revision, "" for none, is not the expected one; None where it is."""
    if expected is None or expected == revision:
        return None
    now = f"at revision {revision}" if revision else "not registered"
    return Conflict("STALE_REVISION", f"The agent {agent_id!r} is {now}: read it again and repeat.")


def no_agent(agent_id: str) -> NotFound:
    """Return the error for an agent that is not registered."""
    return NotFound("AGENT_NOT_FOUND", f"There is no registered agent {agent_id!r}.")


def full(others: int, others_bytes: int, more_bytes: int) -> ResourceExhausted | None:
    """Return the error where there is no room for an agent beside others; None where there is."""
    if others >= AGENTS_LIMIT:
        has = f"{others} registered agents, as many as are allowed"
    elif others_bytes + more_bytes > AGENT_BYTES_LIMIT:
        has = f"registered agents of {others_bytes} bytes; with this one it may have {AGENT_BYTES_LIMIT}"
    else:
        return None
    return ResourceExhausted("QUOTA_EXCEEDED", f"This namespace has {has}: deregister some.")


class AgentStore(Protocol):
    """Keeps registered agents. The namespace is the first argument of everything; no reply depends on another namespace."""

    async def registered(self, namespace: str) -> list[StoredAgent]:
        """Return a namespace's agents, by their ids."""
        ...

    async def register(self, namespace: str, agent: StoredAgent, expected: str | None, once: Once) -> Registered:
        """Store an agent, or replace it; one that is registered exactly so already stays as it is.

        `expected` is the revision that it must have now, "" that there must be none. Raises Conflict (STALE_REVISION),
        ResourceExhausted (QUOTA_EXCEEDED), DuplicateRequest.
        """
        ...

    async def deregister(self, namespace: str, agent_id: str, expected: str | None, once: Once) -> Registered:
        """Remove an agent; return what it was. Raises NotFound (AGENT_NOT_FOUND), Conflict (STALE_REVISION), DuplicateRequest."""
        ...
