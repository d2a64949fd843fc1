"""What an agent is to the rest of ORCS: a frozen description with a revision. No Agents SDK here, so that whoever lists agents
does not load it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

AGENT_ID = re.compile(r"[a-z][a-z0-9_-]{0,62}")
PLANNER_ID = "planner"
"""The agent that makes plans; tasks cannot be assigned to it."""
DEFAULT_MAX_TURNS = 16

AgentSource = Literal["builtin", "config", "registry", "registered"]


@dataclass(frozen=True)
class AgentDefinition:
    """One agent: what it is told, which model it asks and how. Two definitions with equal content have equal revisions."""

    id: str
    instructions: str
    description: str = ""
    """For the planner and for people: what this agent is good at."""
    model: str | None = None
    """None means the server's default model."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Model settings by their Agents SDK names, such as temperature and max_tokens."""
    max_turns: int = DEFAULT_MAX_TURNS
    """Model calls in one run, at most."""
    source: AgentSource = "builtin"
    tools: tuple[str, ...] = ()
    """Names of the tools that the agent may call."""
    sensitive: tuple[str, ...] = ()
    """Names of those that need an approval once the agent has read what comes from outside, beside those declared so."""
    needs_approval: tuple[str, ...] = ()
    """Names of those that need an approval for every call, beside those declared so."""
    mcp: tuple[str, ...] = ()
    """Names of the MCP servers whose tools it may call, too."""
    output_schema: str = ""
    """A JSON Schema, as text, for the output of tasks that have none of their own."""
    name: str = ""
    """For people; empty: made from the id."""
    fingerprint: str = ""
    """What the fields above do not show of a registry's agent: its tools' schemas, handoffs, guardrails."""
    template: object | None = field(default=None, repr=False, compare=False)
    """A registry's SDK agent, which every run copies. Opaque outside this package."""

    @property
    def assignable(self) -> bool:
        """Whether a plan may give tasks to this agent."""
        return self.id != PLANNER_ID

    @cached_property
    def revision(self) -> str:
        """Twelve hexadecimal digits that change whenever the agent's content does."""
        return self.digest[:12]

    @cached_property
    def digest(self) -> str:
        """What the revision is the beginning of: too long for one agent to be made to look like another."""
        content = {
            "id": self.id,
            "instructions": self.instructions,
            "description": self.description,
            "model": self.model,
            "settings": dict(self.settings),
            "max_turns": self.max_turns,
            "tools": self.tools,
            "fingerprint": self.fingerprint,
        }
        # Only where there are any: what has none keeps the revision that it had before there could be.
        for part in ("sensitive", "needs_approval", "mcp", "output_schema", "name"):
            if getattr(self, part):
                content[part] = getattr(self, part)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr)
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
