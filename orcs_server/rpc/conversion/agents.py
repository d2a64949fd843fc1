"""Agents: what is declared, read from requests; what there is, written to replies."""

from __future__ import annotations

from typing import Final

from orcs_client.v1 import agent_service_pb2
from orcs_server.agents.definition import AgentDefinition, AgentSource
from orcs_server.rpc.conversion.times import timestamp
from orcs_server.service.agents import ShownAgent
from orcs_server.service.declarations import Declaration
from orcs_server.service.namespaceagents import RegisteredAgent

_a: Final = agent_service_pb2
_SOURCES: Final[dict[AgentSource, agent_service_pb2.AgentSource.ValueType]] = {
    "builtin": _a.AGENT_SOURCE_BUILTIN,
    "config": _a.AGENT_SOURCE_CONFIGURATION,
    "registry": _a.AGENT_SOURCE_CODE,
    "registered": _a.AGENT_SOURCE_REGISTERED,
}


def declaration(message: agent_service_pb2.AgentDeclaration) -> Declaration:
    return Declaration(
        id=message.id,
        name=message.name,
        description=message.description,
        instructions=message.instructions,
        output_schema=message.output_schema,
        model=message.model,
        tools=tuple(message.tools),
        mcp=tuple(message.mcp_servers),
        max_turns=message.max_turns,
        sensitive=tuple(message.sensitive),
        needs_approval=tuple(message.needs_approval),
    )


def agent(definition: AgentDefinition, registered: RegisteredAgent | None = None) -> agent_service_pb2.Agent:
    return _a.Agent(
        id=definition.id,
        name=definition.name or definition.id.replace("_", " ").capitalize(),
        description=definition.description,
        revision=definition.revision,
        model=definition.model or "",
        tools=definition.tools,
        mcp_servers=definition.mcp,
        source=_SOURCES[definition.source],
        missing=() if registered is None else registered.missing,
        update_time=None if registered is None else timestamp(registered.time_us),
    )


def shown_agent(shown: ShownAgent) -> agent_service_pb2.GetAgentResponse:
    registered = shown.registered
    return _a.GetAgentResponse(
        agent=agent(shown.definition, registered),
        declaration=None if registered is None else _declared(registered.declaration),
    )


def _declared(declared: Declaration) -> agent_service_pb2.AgentDeclaration:
    return _a.AgentDeclaration(
        id=declared.id,
        name=declared.name,
        description=declared.description,
        instructions=declared.instructions,
        output_schema=declared.output_schema,
        model=declared.model,
        tools=declared.tools,
        mcp_servers=declared.mcp,
        max_turns=declared.max_turns,
        sensitive=declared.sensitive,
        needs_approval=declared.needs_approval,
    )
