"""MCP servers that misbehave, each in one way: `python programs.py KIND FILE`. They speak raw JSON-RPC. Each start and each call adds
a line to FILE. `good.py` has one that is well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def note(file: str, **what: Any) -> None:
    with Path(file).open("a") as lines:
        lines.write(json.dumps(what) + "\n")


def raw(kind: str, file: str) -> None:
    """Misbehave before there is a request, or answer requests."""
    match kind:
        case "dies at start":
            sys.stderr.write("no licence\n")
            sys.exit(3)
        case "hangs at start":
            time.sleep(600)
        case "nonsense":
            for _ in range(100):
                say("<html>no JSON</html>\n")
            time.sleep(600)
        case "endless message":
            while True:
                say('{"jsonrpc": "2.0", "x": "' + "x" * 1_000_000)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            say(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer(kind, file, message)}) + "\n")


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def answer(kind: str, file: str, message: dict[str, Any]) -> dict[str, Any]:
    match message["method"]:
        case "initialize":
            return {
                "result": {
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": kind, "version": "1"},
                }
            }
        case "tools/list":
            return {"result": listing(kind)}
        case "tools/call":
            return {"result": called(kind, file, message)}
        case _:
            return {"error": {"code": -32601, "message": "no such method"}}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"Do {name}.", "inputSchema": {"type": "object"}, **more}


LISTED = 0


def listing(kind: str) -> dict[str, Any]:
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
            tools = [tool("act" * 30)]
        case "names of other kinds":
            tools = [tool("act.now"), tool("files/read it")]
        case "other tools at each start":
            tools = [tool(f"act{os.getpid()}")]
        case "no list":
            return {"tools": "none"}
        case _:
            tools = [tool("act"), tool("other")]
    return {"tools": tools}


ANSWERS: dict[str, dict[str, Any]] = {
    "a huge result": {"content": [{"type": "text", "text": "x" * 2_000_000}]},
    "an endless result": {"content": [{"type": "text", "text": "x" * 6_000_000}]},
    "no result": {"content": 3},
    "many kinds": {
        "content": [
            {"type": "text", "text": "A text"},
            {"type": "image", "data": "AAAA", "mimeType": "image/png"},
            {"type": "resource_link", "name": "a", "uri": "file:///a"},
        ]
    },
    "structure only": {"content": [], "structuredContent": {"a": 1}},
    "failing": {"content": [{"type": "text", "text": "no such note"}], "isError": True},
}


def called(kind: str, file: str, message: dict[str, Any]) -> dict[str, Any]:
    note(file, call=message["params"]["name"], process=os.getpid())
    match kind:
        case "dies in a call":
            os._exit(1)
        case "hangs in a call":
            time.sleep(600)
        case "has children":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return ANSWERS.get(kind, {"content": [{"type": "text", "text": "acted"}]})


if __name__ == "__main__":
    chosen, noted = sys.argv[1:]
    note(noted, start=chosen, process=os.getpid())
    raw(chosen, noted)
