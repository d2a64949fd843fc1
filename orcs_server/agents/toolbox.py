"""The tools that agents without code of their own may name: the built-in ones, and those of the operator's tool registry."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from agents import FunctionTool, Tool

from orcs_server.agents.loading import load_mapping
from orcs_server.agents.memory_tools import MEMORY_TOOLS
from orcs_server.agents.people_tools import PEOPLE_TOOLS
from orcs_server.errors import StartupError
from orcs_server.workflow.model import Failure, FailureKind

BUILTIN_TOOLS: Final[Mapping[str, Tool]] = {**PEOPLE_TOOLS, **MEMORY_TOOLS}
TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What all model servers take for a tool's name."""


class Known(NamedTuple):
    """What the configuration has names for."""

    tools: Collection[str]
    servers: Collection[str]

    def check(self, tools: Iterable[str], servers: Iterable[str], where: str) -> None:
        """Raise StartupError for a name of a tool or an MCP server that there is not; `where` names the table."""
        for names, there, what, how in (
            (tools, self.tools, "tool", "by the tool_registry"),
            (servers, self.servers, "MCP server", "by a table [mcp.NAME]"),
        ):
            for name in names:
                if name not in there:
                    known = ", ".join(sorted(there)) or "none"
                    raise StartupError(
                        f"{where} names the {what} {name!r}: there is {known}; add it {how}, or remove it"
                    )


class ToolTrouble(Exception):
    """A run cannot begin for want of its tools."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.failure = Failure(FailureKind.TOOL_FAILED, message, retryable=retryable)


class Toolbox:
    """Tools by their names."""

    def __init__(self, tools: Mapping[str, Tool] | None = None) -> None:
        """`tools` are there beside the built-in ones."""
        self._tools = {**(tools or {}), **BUILTIN_TOOLS}

    @classmethod
    def load(cls, reference: str | None) -> Toolbox:
        """Return the toolbox with the tools of a registry, `package.module:tools`. Raises StartupError."""
        if reference is None:
            return cls()
        where, tools = f"the tool registry {reference}", dict(load_mapping(reference, "tool registry"))
        for name, tool in tools.items():
            if not isinstance(tool, FunctionTool):
                raise StartupError(
                    f"{where} has a {type(tool).__name__} under {name!r}: decorate a function with @function_tool"
                )
            if tool.name != name or not TOOL_NAME.fullmatch(name):
                raise StartupError(
                    f"{where} has the tool {tool.name!r} under {name!r}: use its name, of a to z, 0 to 9, _ and -"
                )
            if name in BUILTIN_TOOLS or "__" in name:
                raise StartupError(
                    f"{where} must not have a tool {name!r}: that name is taken, or looks like an MCP server's"
                )
        return cls(tools)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._tools)

    def named(self, names: Iterable[str]) -> list[Tool]:
        """Return the tools of these names. Raises ToolTrouble."""
        try:
            return [self._tools[name] for name in names]
        except KeyError as error:
            raise ToolTrouble(
                f"The agent's tool {error.args[0]!r} is gone: start the server with it again (tool_registry)."
            ) from None


BUILTIN_ONLY: Final = Known(frozenset(BUILTIN_TOOLS), frozenset())
