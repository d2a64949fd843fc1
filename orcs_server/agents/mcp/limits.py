"""How much of an MCP server is taken in."""

from __future__ import annotations

from typing import Final

MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Of one message of a server."""
TOOLS: Final = 128
"""Of one server, after its allow-list."""
TOOL_BYTES: Final = 32 * 1024
"""A tool's name, description and schema."""
ALL_TOOLS_BYTES: Final = 256 * 1024
PAGES: Final = 100
"""In which a server lists its tools."""
RESULT_CHARACTERS: Final = 65_536
"""Of a tool's result, as the model sees it."""
LINES_LOGGED: Final = 1_000
"""Of what a program writes to its standard error."""
CONNECTIONS: Final = 64
"""Open at once, shared: a namespace may not hold more than is still free."""
IDLE_S: Final = 300.0
"""After so long without use a connection is closed."""
CLOSES_WITHIN_S: Final = 10.0
