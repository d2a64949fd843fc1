"""What registered agents are declared as, what may stand in a declaration, and the definition that comes of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from msgspec import Struct

from orcs_server.agents.definition import AGENT_ID, DEFAULT_MAX_TURNS, AgentDefinition
from orcs_server.service.validation import Findings, show
from orcs_server.storage.codec import damaged

NAME_LIMIT = 200
DESCRIPTION_LIMIT = 2_000
"""Characters; the planner is shown all of them."""
INSTRUCTIONS_LIMIT = 64 * 1024
"""Bytes."""
NAMES_LIMIT = 64
"""Names in one list."""
TURNS_LIMIT = 100
NAMED = 50
"""Names that a violation lists, at most."""


class Declaration(Struct, frozen=True, omit_defaults=True):
    """An agent as somebody declares it: texts, a schema, and names of what the operator has set aside."""

    id: str
    name: str = ""
    description: str = ""
    instructions: str = ""
    output_schema: str = ""
    model: str = ""
    tools: tuple[str, ...] = ()
    mcp: tuple[str, ...] = ()
    max_turns: int = 0
    sensitive: tuple[str, ...] = ()
    needs_approval: tuple[str, ...] = ()

    def pack(self) -> bytes:
        """Return the declaration as it is stored."""
        return msgspec.json.encode(self)


class Nameable(Struct, frozen=True):
    """What the operator has set aside for declarations."""

    models: Collection[str] = ()
    tools: Collection[str] = ()
    servers: Collection[str] = ()

    def missing(self, declared: Declaration) -> tuple[str, ...]:
        """Return what a declaration names that is not set aside."""
        models = (declared.model,) if declared.model else ()
        return (
            *(f"model {name}" for name in models if name not in self.models),
            *(f"tool {name}" for name in declared.tools if name not in self.tools),
            *(f"MCP server {name}" for name in declared.mcp if name not in self.servers),
        )


def unpack(stored: bytes) -> Declaration:
    """Return a stored declaration. Raises Unavailable when it is damaged."""
    try:
        return msgspec.json.decode(stored, type=Declaration)
    except msgspec.MsgspecError as error:
        raise damaged("a registered agent") from error


def definition_of(declared: Declaration) -> AgentDefinition:
    """Return the agent that a declaration makes."""
    acts = bool(declared.tools or declared.mcp)
    return AgentDefinition(
        id=declared.id,
        name=declared.name,
        instructions=declared.instructions,
        description=declared.description,
        model=declared.model or None,
        max_turns=declared.max_turns or DEFAULT_MAX_TURNS if acts else max(declared.max_turns, 1),
        source="registered",
        tools=declared.tools,
        mcp=declared.mcp,
        sensitive=declared.sensitive,
        needs_approval=declared.needs_approval,
        output_schema=declared.output_schema,
    )


def check_declaration(findings: Findings, declared: Declaration, nameable: Nameable) -> None:
    """Find everything that is wrong with a declaration."""
    check_agent_id(findings, "agent.id", declared.id)
    findings.line("agent.name", declared.name, NAME_LIMIT)
    if not declared.description.strip():
        findings.add("agent.description", "It is empty: say what the agent is good at, for the planner goes by it.")
    # Line breaks would make of one agent several, in the planner's list.
    findings.line("agent.description", declared.description, DESCRIPTION_LIMIT)
    if not declared.instructions.strip():
        findings.add("agent.instructions", "They are empty: say what the agent is to do.")
    findings.text("agent.instructions", declared.instructions, INSTRUCTIONS_LIMIT)
    findings.json_schema("agent.output_schema", declared.output_schema)
    findings.between("agent.max_turns", declared.max_turns, 0, TURNS_LIMIT)
    if declared.model:
        _check_names(findings, "agent.model", (declared.model,), nameable.models, "models", listed=False)
    _check_names(findings, "agent.tools", declared.tools, nameable.tools, "tools")
    _check_names(findings, "agent.mcp_servers", declared.mcp, nameable.servers, "mcp")
    for field, names in (("sensitive", declared.sensitive), ("needs_approval", declared.needs_approval)):
        _check_own_tools(findings, f"agent.{field}", names, declared)


def check_agent_id(findings: Findings, field: str, text: str) -> None:
    """The id of an agent, be there one or not."""
    if not AGENT_ID.fullmatch(text):
        findings.add(field, "An agent id has 1 to 63 lower-case letters, digits and _-, a letter first.")


def _check_names(
    findings: Findings,
    field: str,
    names: Sequence[str],
    allowed: Collection[str],
    setting: str,
    *,
    listed: bool = True,
) -> None:
    if not _few(findings, field, names):
        return
    may = ", ".join(sorted(allowed)[:NAMED])
    advice = (
        f"choose from {may}" if may else f"the operator sets none aside ([registration] {setting}), so leave it out"
    )
    for index, name in enumerate(names):
        place = f"{field}[{index}]" if listed else field
        if name not in allowed:
            findings.add(place, f"{show(name)} may not be named here: {advice}.")
        elif name in names[:index]:
            findings.add(place, f"{show(name)} is named twice: remove one.")


def _check_own_tools(findings: Findings, field: str, names: Sequence[str], declared: Declaration) -> None:
    """Names of tools as the agent sees them: its own, or `SERVER__TOOL` of one of its servers."""
    if not _few(findings, field, names):
        return
    for index, name in enumerate(names):
        server, joint, tool = name.partition("__")
        if name not in declared.tools and not (joint and tool and server in declared.mcp):
            findings.add(
                f"{field}[{index}]",
                f"{show(name)} is no tool of this agent: name one of its tools, or SERVER__TOOL of one of its mcp_servers.",
            )
        else:
            findings.line(f"{field}[{index}]", name, NAME_LIMIT)


def _few(findings: Findings, field: str, names: Sequence[str]) -> bool:
    if len(names) > NAMES_LIMIT:
        findings.add(field, f"There are {len(names)} names, {NAMES_LIMIT} are allowed: remove some.")
        return False
    return True
