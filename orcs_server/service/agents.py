"""Which agents there are."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from orcs_server.agents.catalog import AgentCatalog
from orcs_server.agents.definition import AgentDefinition
from orcs_server.identity import TASK_ID, Caller
from orcs_server.service.authorisation import ANYTHING, Authorisation
from orcs_server.service.pages import PageBinding, fitting, page_size

AGENT_WEIGHT = 16 * 1024
"""Bytes of an agent in a reply: a description of 2,000 characters, names of tools."""


class AgentPage(Struct, frozen=True):
    """A page of agents."""

    agents: Sequence[AgentDefinition]
    next_page_token: str


class Agents:
    """Reads the catalog of agents."""

    def __init__(self, *, catalog: AgentCatalog, authorisation: Authorisation, max_page_size: int) -> None:
        self._catalog = catalog
        self._authorisation = authorisation
        self._max_page_size = max_page_size

    async def agent(self, caller: Caller, agent_id: str) -> AgentDefinition:
        """Return an agent. Raises NotFound."""
        named = TASK_ID.fullmatch(agent_id) is not None
        await self._authorisation.enter(caller, "agents.get", agent_id if named else ANYTHING)
        return self._catalog.get(agent_id)

    async def agents(self, caller: Caller, size: int = 0, token: str = "") -> AgentPage:
        """Return a page of the agents that tasks can be given to, by id. Those that the caller may not see are left out."""
        size = page_size(size, self._max_page_size)
        visit = await self._authorisation.enter(caller, "agents.list")
        binding = PageBinding("ListAgents", visit.namespace)
        after = binding.key(token, str) or ""
        rows = sorted((agent for agent in self._catalog.assignable() if agent.id > after), key=lambda agent: agent.id)
        shown = fitting(rows[:size], lambda _: AGENT_WEIGHT)
        next_token = binding.token(rows[shown - 1].id) if len(rows) > shown else ""
        visible = await self._authorisation.permitted(visit, "agents.get", [agent.id for agent in rows[:shown]])
        return AgentPage([agent for agent in rows[:shown] if agent.id in visible], next_token)
