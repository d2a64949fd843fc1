"""The calls about agents: which there are, and those of a namespace's own."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orcs_client import requests
from orcs_client.calls import Calls, pages
from orcs_client.plans import invalid, read_file, read_json
from orcs_client.v1 import agent_service_pb2
from orcs_client.v1.agent_service_pb2_grpc import AgentServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_a = agent_service_pb2
_SCHEMAS = ("output_schema", "outputSchema")


class AgentCalls(Calls):
    """Reads agents, registers them and takes them back."""

    @property
    def _agents(self) -> AgentServiceStub:
        return AgentServiceStub(self._connection.unary)

    async def get_agent(self, agent_id: str) -> _a.GetAgentResponse:
        """Read what the server says of one agent."""
        return await self._connection.call(self._agents.GetAgent, _a.GetAgentRequest(agent_id=agent_id))

    async def list_agents(self, *, page_size: int = 0) -> AsyncGenerator[_a.Agent, None]:
        """Yield the agents that can carry out tasks, ordered by id, fetched page by page."""
        request = _a.ListAgentsRequest(page_size=page_size)

        async def page(token: str) -> _a.ListAgentsResponse:
            request.page_token = token
            return await self._connection.call(self._agents.ListAgents, request)

        async for reply in pages(page):
            for agent in reply.agents:
                yield agent

    async def register_agent(
        self,
        agent: _a.AgentDeclaration,
        *,
        expected_revision: str | None = None,
        validate_only: bool = False,
        request_id: str | None = None,
    ) -> _a.RegisterAgentResponse:
        """Register an agent for the caller's namespace, or replace one. `expected_revision` is that which it has now, "" for none.

        Workflows that exist keep the agents that they were created with. Raises `Conflict` where the revision is another,
        `AlreadyExists` where the server has an agent of this id for everybody.
        """
        request = _a.RegisterAgentRequest(
            request_id=request_id or requests.new_request_id(),
            agent=agent,
            expected_revision=expected_revision,
            validate_only=validate_only,
        )
        return await self._connection.call(self._agents.RegisterAgent, request)

    async def deregister_agent(
        self,
        agent_id: str,
        *,
        expected_revision: str | None = None,
        validate_only: bool = False,
        request_id: str | None = None,
    ) -> _a.DeregisterAgentResponse:
        """Take an agent back: new workflows cannot name it, those that exist go on with it. Raises `NotFound`, `Conflict`."""
        request = _a.DeregisterAgentRequest(
            request_id=request_id or requests.new_request_id(),
            agent_id=agent_id,
            expected_revision=expected_revision,
            validate_only=validate_only,
        )
        return await self._connection.call(self._agents.DeregisterAgent, request)


def load_agent(path: str | Path) -> _a.AgentDeclaration:
    """Return the agent that a file declares: TOML where its name ends so, else JSON. Raises `InvalidArgument`."""
    text, name = read_file(path), str(path)
    if Path(path).suffix != ".toml":
        return parse_agent(text, name)
    try:
        fields = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise invalid(name, f"it is not valid TOML: {error}") from error
    return _declared(fields, name)


def parse_agent(text: str, name: str = "agent") -> _a.AgentDeclaration:
    """Return the agent that `text` declares in JSON: `{"id": "poet", "description": "…", "instructions": "…"}`.

    `output_schema` may be the schema itself in place of its text. What `GetAgent` replies is taken, too. Raises `InvalidArgument`,
    naming the place, for what is not JSON, an unknown or repeated field, and a wrong type.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(name, f"it is not valid JSON: {error}") from error
    return _declared(fields, name)


def _declared(fields: Any, name: str) -> _a.AgentDeclaration:
    if isinstance(fields, dict) and isinstance(fields.get("declaration"), dict):
        fields = fields["declaration"]
    if isinstance(fields, dict):
        fields = {
            key: json.dumps(value) if key in _SCHEMAS and isinstance(value, dict) else value
            for key, value in fields.items()
        }
    try:
        text = json.dumps(fields)
    except TypeError as error:
        raise invalid(name, f"this is no agent: {error}") from error
    return read_json(text, _a.AgentDeclaration(), name, "this is no agent", '{"id": "poet", …}')
