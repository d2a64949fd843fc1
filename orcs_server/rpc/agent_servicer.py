"""`orcs.v1.AgentService`: each method reads its request, calls the service and writes its reply."""

from __future__ import annotations

from orcs_client.v1 import agent_service_pb2
from orcs_server.identity import Caller
from orcs_server.rpc.conversion import agents
from orcs_server.service.services import Services
from orcs_server.service.validation import Findings

_a = agent_service_pb2


class AgentServicer:
    """`orcs.v1.AgentService`."""

    def __init__(self, services: Services) -> None:
        self._agents = services.agents
        self._registration = services.registration

    async def get_agent(self, request: _a.GetAgentRequest, caller: Caller) -> _a.GetAgentResponse:
        return agents.shown_agent(await self._agents.agent(caller, request.agent_id))

    async def list_agents(self, request: _a.ListAgentsRequest, caller: Caller) -> _a.ListAgentsResponse:
        page = await self._agents.agents(caller, request.page_size, request.page_token)
        return _a.ListAgentsResponse(
            agents=[agents.agent(one.definition, one.registered) for one in page.agents],
            next_page_token=page.next_page_token,
        )

    async def register_agent(self, request: _a.RegisterAgentRequest, caller: Caller) -> _a.RegisterAgentResponse:
        findings = Findings()
        if not request.HasField("agent"):
            findings.add("agent", "It is missing: say which agent.")
        registered = await self._registration.register(
            caller,
            agents.declaration(request.agent),
            request.expected_revision if request.HasField("expected_revision") else None,
            request.request_id,
            findings.all,
            only_check=request.validate_only,
        )
        return _a.RegisterAgentResponse(agent=agents.agent(registered.definition, registered))

    async def deregister_agent(self, request: _a.DeregisterAgentRequest, caller: Caller) -> _a.DeregisterAgentResponse:
        revision = await self._registration.deregister(
            caller,
            request.agent_id,
            request.expected_revision if request.HasField("expected_revision") else None,
            request.request_id,
            only_check=request.validate_only,
        )
        return _a.DeregisterAgentResponse(revision=revision)
