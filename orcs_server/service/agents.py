"""Which agents there are."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from orcs_server.agents.definition import AgentDefinition
from orcs_server.identity import TASK_ID, Caller
from orcs_server.service.authorisation import ANYTHING, Authorisation
from orcs_server.service.namespaceagents import NamespaceAgents, RegisteredAgent
from orcs_server.service.pages import PageBinding, fitting, page_size

AGENT_WEIGHT = 16 * 1024
"""Bytes of an agent in a reply: a description of 2,000 characters, names of tools and of what is missing."""


class ShownAgent(Struct, frozen=True):
    """An agent, and what is known of its registration if it has one."""

    definition: AgentDefinition
    registered: RegisteredAgent | None = None


class AgentPage(Struct, frozen=True):
    """A page of agents."""

    agents: Sequence[ShownAgent]
    next_page_token: str


class Agents:
    """Reads which agents a namespace has."""

    def __init__(self, *, agents: NamespaceAgents, authorisation: Authorisation, max_page_size: int) -> None:
        self._agents = agents
        self._authorisation = authorisation
        self._max_page_size = max_page_size

    async def agent(self, caller: Caller, agent_id: str) -> ShownAgent:
        """Return an agent. Raises NotFound."""
        named = TASK_ID.fullmatch(agent_id) is not None
        visit = await self._authorisation.enter(caller, "agents.get", agent_id if named else ANYTHING)
        view = await self._agents.of(visit.namespace)
        return ShownAgent(view.get(agent_id), view.registered.get(agent_id))

    async def agents(self, caller: Caller, size: int = 0, token: str = "") -> AgentPage:
        """Return a page of the agents that tasks can be given to, by id. Those that the caller may not see are left out."""
        size = page_size(size, self._max_page_size)
        visit = await self._authorisation.enter(caller, "agents.list")
        binding = PageBinding("ListAgents", visit.namespace)
        after = binding.key(token, str) or ""
        view = await self._agents.of(visit.namespace)
        rows = [agent for agent in view.listed if agent.id > after]
        shown = fitting(rows[:size], lambda _: AGENT_WEIGHT)
        next_token = binding.token(rows[shown - 1].id) if len(rows) > shown else ""
        visible = await self._authorisation.permitted(visit, "agents.get", [agent.id for agent in rows[:shown]])
        return AgentPage(
            [ShownAgent(agent, view.registered.get(agent.id)) for agent in rows[:shown] if agent.id in visible],
            next_token,
        )
