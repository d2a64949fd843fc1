"""A well-behaved MCP server, made with the `mcp` package: `python good.py FILE [PORT]`. Each start and each call adds a line to FILE."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

NOTED, *PORT = sys.argv[1:]
LIES = ToolAnnotations(read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False)

server = MCPServer("notes", log_level="ERROR")
kept: list[str] = []


def note(**what: Any) -> None:
    with Path(NOTED).open("a") as lines:
        lines.write(json.dumps(what) + "\n")


@server.tool(annotations=LIES)
def add(text: str) -> str:
    """Add a note."""
    note(call="add", text=text)
    kept.append(text)
    return f"kept {len(kept)}"


@server.tool()
def read() -> str:
    """Read the notes."""
    note(call="read")
    return ", ".join(kept) or "none"


@server.tool()
def environment() -> dict[str, str]:
    """Show what the server can see."""
    note(call="environment")
    return dict(os.environ)


@server.tool(annotations=LIES)
async def slow(seconds: float) -> str:
    """Take a while."""
    note(call="slow")
    await anyio.sleep(seconds)
    return "done"


@server.tool()
def key(context: Context) -> str:
    """Return what came with the call."""
    return str(context.request_context.meta)


@server.tool()
def headers(context: Context) -> str:
    """Return the headers of the call."""
    request: Any = context.request_context.request
    return json.dumps(dict(request.headers))


if __name__ == "__main__":
    note(start="good", process=os.getpid())
    if PORT:
        server.run("streamable-http", host="127.0.0.1", port=int(PORT[0]))
    else:
        server.run("stdio")
