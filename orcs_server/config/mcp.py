"""The tables about what agents may use: `[mcp.NAME]`, a server of tools, and `[registration]`, what registered agents may name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from orcs_server.config.tables import Name, Positive, Table, Text, written

McpName = Annotated[
    str,
    Field(max_length=31),
    written(
        r"[a-z][a-z0-9-]*(_[a-z0-9-]+)*",
        "write the name of an MCP server: a lower-case letter, then up to 30 of a to z, 0 to 9, - and single _ between them",
    ),
]
Variable = Annotated[
    str,
    Field(max_length=200),
    written(r"[A-Za-z_][A-Za-z0-9_]*", "write the name of an environment variable"),
]
Header = Annotated[
    str, Field(max_length=200), written(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "write the name of an HTTP header")
]
ToolNames = tuple[Annotated[str, Field(min_length=1, max_length=200)], ...]
"""As the server itself calls its tools; `*` is all of them."""

_OF_A_PROGRAM = ("args", "cwd", "environment", "pass_environment")


class McpServer(Table):
    """A server whose tools agents may use by its name: a program that is started, or an address. In the file only."""

    command: Text | None = None
    """The program, found by PATH. It speaks MCP over its standard input and output."""
    args: tuple[Annotated[str, Field(max_length=32_768)], ...] = ()
    cwd: Path | None = None
    """Where it runs; relative to the configuration file's folder."""
    environment: dict[Variable, Annotated[str, Field(max_length=32_768)]] = Field(default_factory=dict)
    pass_environment: tuple[Variable, ...] = ()
    """Variables of the server that it gets, too, beside HOME, LANG, LC_ALL, LOGNAME, PATH, SHELL, TERM, TMPDIR, TZ and USER."""
    url: (
        Annotated[
            str,
            Field(max_length=2_000),
            written(
                r"https?://[^\s/?#@]+(/[^\s?#]*)?",
                "write the address of the MCP server, as in http://127.0.0.1:8000/mcp; no user, password, ? or #",
            ),
        ]
        | None
    ) = None
    """Of a server that speaks MCP by streamable HTTP."""
    headers: dict[Header, Variable] = Field(default_factory=dict)
    """Sent with every request; each value is what the environment variable of that name holds."""
    timeout: Positive = 60.0
    """Of its start and of each call, in seconds."""
    tools: ToolNames | None = None
    """Those that may be used; None: all that it lists."""
    needs_approval: ToolNames = ()
    """Those that wait for a person's approval."""
    idempotent: ToolNames = ()
    """Those that may run again after they were cut off. What the server says of itself counts for nothing."""
    sensitive: ToolNames = ()
    """Those that need an approval once the agent has read what comes from outside."""
    trusted: ToolNames = ()
    """Those that return no text that somebody outside could have written."""

    @model_validator(mode="after")
    def _one_of_both(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either a command or a url")
        if self.url is not None:
            for name in _OF_A_PROGRAM:
                if getattr(self, name):
                    raise ValueError(f"{name} goes with a command, not with a url")
        elif self.headers:
            raise ValueError("headers go with a url, not with a command")
        return self


class Registration(Table):
    """What agents that are registered by RPC may name, beside the server's default model and the built-in tools."""

    models: tuple[Name, ...] = ()
    tools: tuple[Name, ...] = ()
    """Of the `tool_registry`."""
    mcp: tuple[McpName, ...] = ()
