"""Which agents there are: the built-in ones, those of the configuration, and those of a registry of the operator's own code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from agents import Agent, FunctionTool
from agents.handoffs import Handoff

from orcs_server.agents.builtin import BUILTIN
from orcs_server.agents.definition import AGENT_ID, DEFAULT_MAX_TURNS, PLANNER_ID, AgentDefinition
from orcs_server.agents.loading import load_mapping
from orcs_server.agents.providers import model_settings
from orcs_server.agents.toolbox import BUILTIN_ONLY, Known
from orcs_server.config.tables import AgentTable
from orcs_server.errors import NotFound, StartupError

DESCRIPTION_LIMIT = 2_000
"""Characters of an agent's description."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class AgentCatalog:
    """All agents by their id, in a fixed order. Ids are `[a-z][a-z0-9_-]{0,62}`."""

    def __init__(self, definitions: Iterable[AgentDefinition]) -> None:
        self._agents = {definition.id: definition for definition in definitions}

    @classmethod
    def build(
        cls,
        tables: Mapping[str, AgentTable] | None = None,
        registry: str | None = None,
        planner_instructions: str | None = None,
        known: Known = BUILTIN_ONLY,
    ) -> AgentCatalog:
        """Put the catalog together: the registry's agents over the built-in ones, and the `[agents.NAME]` tables over both.

        `registry` is `package.module:name` of a mapping, or of a callable without arguments that returns one, from ids to Agents
        SDK agents. Its module is imported here. `known` are the tools and servers that tables may name. Raises StartupError for
        anything that cannot be an agent.
        """
        agents = {definition.id: definition for definition in BUILTIN}
        if planner_instructions is not None:
            agents[PLANNER_ID] = replace(agents[PLANNER_ID], instructions=planner_instructions)
        if registry is not None:
            agents.update({one.id: one for one in _registered(registry)})
        for name, table in (tables or {}).items():
            known.check(table.tools or (), table.mcp, f"[agents.{name}]")
            agents[name] = _configured(name, table, agents.get(name))
        return cls(agents.values())

    def get(self, agent_id: str) -> AgentDefinition:
        """Return an agent. Raises NotFound."""
        definition = self._agents.get(agent_id)
        if definition is None:
            raise NotFound("AGENT_NOT_FOUND", f"there is no agent {agent_id[:80]!r}: choose one of {self._named()}")
        return definition

    def list(self) -> tuple[AgentDefinition, ...]:
        """Return all agents, the planner included."""
        return tuple(self._agents.values())

    def assignable(self) -> tuple[AgentDefinition, ...]:
        """Return the agents that a plan may name."""
        return tuple(one for one in self._agents.values() if one.assignable)

    def revisions(self) -> tuple[tuple[str, str], ...]:
        """Return (id, revision) of the agents that a plan may name, to be pinned to a workflow."""
        return tuple((one.id, one.revision) for one in self.assignable())

    def _named(self) -> str:
        return ", ".join(one.id for one in self.assignable())


def _configured(name: str, table: AgentTable, base: AgentDefinition | None) -> AgentDefinition:
    if not AGENT_ID.fullmatch(name):
        raise StartupError(_bad_id(name, f"[agents.{name}]"))
    model_settings(table.settings, f"agents.{name}.settings")
    if base is None:
        if table.instructions is None:
            raise StartupError(
                f"[agents.{name}] needs instructions, since there is no built-in agent of this name to change"
            )
        base = AgentDefinition(
            id=name, instructions="", description=f"The agent {name} of this server's configuration."
        )
    if base.template is not None:
        if table.instructions is not None or table.model is not None or table.settings or table.tools is not None:
            raise StartupError(
                f"the agent {name} comes from the registry, which sets its instructions, model, settings and tools: "
                f"[agents.{name}] may change its description, max_turns and sensitive only, and add mcp"
            )
        return replace(
            base,
            description=table.description or base.description,
            max_turns=table.max_turns or base.max_turns,
            sensitive=table.sensitive or base.sensitive,
            mcp=tuple(dict.fromkeys(table.mcp)) or base.mcp,
        )
    acts = bool(table.tools or table.mcp)
    return replace(
        base,
        instructions=table.instructions or base.instructions,
        description=table.description or base.description,
        model=table.model or base.model,
        settings={**base.settings, **table.settings},
        max_turns=table.max_turns or (max(base.max_turns, DEFAULT_MAX_TURNS) if acts else base.max_turns),
        tools=base.tools if table.tools is None else tuple(dict.fromkeys(table.tools)),
        sensitive=table.sensitive or base.sensitive,
        mcp=tuple(dict.fromkeys(table.mcp)) or base.mcp,
        source="config",
    )


def _registered(reference: str) -> Iterable[AgentDefinition]:
    return read_registry(load_mapping(reference, "agent registry"), f"the registry {reference}")


def read_registry(agents: Mapping[Any, Any], where: str) -> Iterable[AgentDefinition]:
    """Yield the definitions of a mapping from ids to Agents SDK agents; `where` names it in errors. Raises StartupError."""
    for agent_id, agent in agents.items():
        if not isinstance(agent_id, str) or not AGENT_ID.fullmatch(agent_id):
            raise StartupError(_bad_id(agent_id, where))
        if agent_id == PLANNER_ID:
            raise StartupError(
                f"{where} must not hold an agent {PLANNER_ID!r}: change the planner with [agents.planner] or [prompts] planner"
            )
        if not isinstance(agent, Agent):
            raise StartupError(f"{where} has a {type(agent).__name__} under {agent_id!r}: put an agents.Agent there")
        yield definition_of(agent_id, agent)


def definition_of(agent_id: str, agent: Agent[Any]) -> AgentDefinition:
    """Return the definition of an Agents SDK agent, which every run copies."""
    instructions = agent.instructions if isinstance(agent.instructions, str) else ""
    model = agent.model if isinstance(agent.model, str) else None
    return AgentDefinition(
        id=agent_id,
        instructions=instructions,
        description=(agent.handoff_description or f"The agent {agent.name}.")[:DESCRIPTION_LIMIT],
        model=model,
        settings={name: value for name, value in agent.model_settings.to_json_dict().items() if value is not None},
        source="registry",
        tools=tuple(tool.name for tool in agent.tools),
        fingerprint=_fingerprint(agent),
        template=agent,
    )


def _fingerprint(agent: Agent[Any]) -> str:
    """Describe what else makes the agent what it is. Code counts by its name: a changed body alone does not show."""
    tools = [
        [tool.name, tool.description, tool.params_json_schema] if isinstance(tool, FunctionTool) else [tool.name]
        for tool in agent.tools
    ]
    handoffs = [one.agent_name if isinstance(one, Handoff) else one.name for one in agent.handoffs]
    guardrails = [
        *(one.get_name() for one in agent.input_guardrails),
        *(one.get_name() for one in agent.output_guardrails),
    ]
    dynamic = None if isinstance(agent.instructions, str) else getattr(agent.instructions, "__qualname__", "")
    content = [agent.name, dynamic, tools, handoffs, guardrails, repr(agent.output_type), repr(agent.tool_use_behavior)]
    # Addresses differ from one start of the server to the next, though nothing has changed.
    return _ADDRESS.sub("", json.dumps(content, sort_keys=True, default=repr))


def _bad_id(agent_id: object, where: str) -> str:
    return f"{where}: {agent_id!r} cannot be an agent's id: use at most 63 lower-case letters, digits, - and _, a letter first"
