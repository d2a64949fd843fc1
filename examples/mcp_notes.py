"""An MCP server with a notebook, which `orcs serve --config examples/mcp.toml` starts as `python examples/mcp_notes.py`. It speaks MCP
over its standard input and output.

Written with the `mcp` package, which comes with ORCS; a server in any language will do. Notes lie in the file that NOTES_FILE names.
"""

from __future__ import annotations

import os
from pathlib import Path

from mcp.server.mcpserver import MCPServer

NOTES = Path(os.environ.get("NOTES_FILE", "notes.txt"))

server = MCPServer("notes", log_level="ERROR")


@server.tool()
def read_notes() -> str:
    """Read all notes, one a line."""
    return NOTES.read_text() if NOTES.exists() else "There are no notes yet."


@server.tool()
def add_note(text: str) -> str:
    """Add a note of one line."""
    with NOTES.open("a") as file:
        file.write(" ".join(text.split()) + "\n")
    return "It is noted."


if __name__ == "__main__":
    server.run("stdio")
