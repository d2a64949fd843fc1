"""What the settings amount to in tools, servers and models that may be named, and by whom."""

from __future__ import annotations

from orcs_server.agents.toolbox import BUILTIN_TOOLS, Known, Toolbox
from orcs_server.config import Settings
from orcs_server.service.declarations import Nameable


def tooling(settings: Settings) -> tuple[Toolbox, Known, Nameable]:
    """Return the tools, what the configuration's agents may name, and what registered ones may. Raises StartupError."""
    toolbox = Toolbox.load(settings.tool_registry)
    known = Known(toolbox.names, frozenset(settings.mcp))
    aside = settings.registration
    known.check(aside.tools, aside.mcp, "[registration]")
    return (
        toolbox,
        known,
        Nameable(
            frozenset(aside.models),
            frozenset(BUILTIN_TOOLS) | frozenset(aside.tools),
            frozenset(aside.mcp),
        ),
    )
