"""MCP servers for the tests: `python programs.py KIND FILE`. The good ones are made with the `mcp` package, the bad ones speak raw
JSON-RPC. Each start and each call adds a line to FILE.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations


def note(file: str, **what: Any) -> None:
    with Path(file).open("a") as lines:
        lines.write(json.dumps(what) + "\n")


def good(file: str, transport: str = "stdio", port: int = 0) -> None:
    """Four tools; of one it lies that it is idempotent and harmless."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("notes", log_level="ERROR")
    kept: list[str] = []
    lies = ToolAnnotations(read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False)

    @server.tool(annotations=lies)
    def add(text: str) -> str:
        """Add a note."""
        note(file, call="add", text=text)
        kept.append(text)
        return f"kept {len(kept)}"

    @server.tool()
    def read() -> str:
        """Read the notes."""
        note(file, call="read")
        return ", ".join(kept) or "none"

    @server.tool()
    def environment() -> dict[str, str]:
        """Show what the server can see."""
        note(file, call="environment")
        return dict(os.environ)

    @server.tool()
    async def slow(seconds: float) -> str:
        """Take a while."""
        import anyio

        note(file, call="slow")
        await anyio.sleep(seconds)
        return "done"

    @server.tool()
    def key(context: Context) -> str:
        """Return what came with the call."""
        return str(context.request_context.meta)

    if transport == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=port)


def raw(kind: str, file: str) -> None:
    """A server that misbehaves in one way."""
    if kind == "dies at start":
        sys.stderr.write("no licence\n")
        sys.exit(3)
    if kind == "hangs at start":
        time.sleep(600)
    if kind == "nonsense":
        for _ in range(100):
            print("<html>no JSON</html>", flush=True)
        time.sleep(600)
    if kind == "endless message":
        while True:
            sys.stdout.write('{"jsonrpc": "2.0", "x": "' + "x" * 1_000_000)
            sys.stdout.flush()
    for line in sys.stdin:
        message = json.loads(line)
        method, number = message.get("method"), message.get("id")
        if number is None:
            continue
        if method == "initialize":
            answer: Any = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": kind, "version": "1"},
            }
        elif method == "tools/list":
            answer = listing(kind, message)
        elif method == "tools/call":
            answer = called(kind, file, message)
        elif method == "ping":
            answer = {}
        else:
            print(json.dumps({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no"}}), flush=True)
            continue
        print(json.dumps({"jsonrpc": "2.0", "id": number, "result": answer}), flush=True)


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"Do {name}.", "inputSchema": {"type": "object"}, **more}


LISTED = 0


def listing(kind: str, message: dict[str, Any]) -> dict[str, Any]:
    global LISTED  # noqa: PLW0603 - a program of one file
    LISTED += 1
    match kind:
        case "thousands of tools":
            tools = [tool(f"tool{number}") for number in range(3_000)]
        case "a huge schema":
            tools = [tool("act", inputSchema={"type": "object", "title": "x" * 1_000_000})]
        case "endless pages":
            return {"tools": [tool(f"tool{LISTED}")], "nextCursor": f"page{LISTED}"}
        case "the same tool twice":
            tools = [tool("act"), tool("act")]
        case "a name that no model can call":
            tools = [tool("act on\nit")]
        case "other tools at each start":
            tools = [tool(f"act{os.getpid()}")]
        case "no list":
            return {"tools": "none"}
        case _:
            tools = [tool("act"), tool("other")]
    return {"tools": tools}


def called(kind: str, file: str, message: dict[str, Any]) -> dict[str, Any]:
    note(file, call=message["params"]["name"], process=os.getpid())
    match kind:
        case "dies in a call":
            os._exit(1)
        case "hangs in a call":
            time.sleep(600)
        case "a huge result":
            return {"content": [{"type": "text", "text": "x" * 2_000_000}]}
        case "an endless result":
            return {"content": [{"type": "text", "text": "x" * 6_000_000}]}
        case "no result":
            return {"content": 3}
        case "many kinds":
            return {
                "content": [
                    {"type": "text", "text": "A text"},
                    {"type": "image", "data": "AAAA", "mimeType": "image/png"},
                    {"type": "resource_link", "name": "a", "uri": "file:///a"},
                ]
            }
        case "structure only":
            return {"content": [], "structuredContent": {"a": 1}}
        case "failing":
            return {"content": [{"type": "text", "text": "no such note"}], "isError": True}
        case "has children":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return {"content": [{"type": "text", "text": "acted"}]}


if __name__ == "__main__":
    chosen, noted, *rest = sys.argv[1:]
    note(noted, start=chosen, process=os.getpid())
    if chosen == "good":
        good(noted)
    elif chosen == "http":
        good(noted, "http", int(rest[0]))
    else:
        raw(chosen, noted)
