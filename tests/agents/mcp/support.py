"""What the tests of MCP servers share: tables of servers that are real programs, and what those noted."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from orcs_server.config.mcp import McpServer

PROGRAMS = Path(__file__).with_name("programs.py")
GOOD = Path(__file__).with_name("good.py")
PATIENCE_S = 30.0


class Noted:
    """The file that a test's programs write to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "noted"

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    @property
    def calls(self) -> list[str]:
        return [one["call"] for one in self.all if "call" in one]

    @property
    def processes(self) -> list[int]:
        return [one["process"] for one in self.all if "start" in one]

    def table(self, kind: str, *more: str, **settings: Any) -> dict[str, Any]:
        """Return the settings of a server that is a program of this kind."""
        words = [str(GOOD)] if kind == "good" else [str(PROGRAMS), kind]
        program = {"command": sys.executable, "args": [*words, str(self.path), *more]}
        return {**program, "timeout": PATIENCE_S, **settings}

    def server(self, kind: str, **settings: Any) -> McpServer:
        return McpServer.model_validate(self.table(kind, **settings))


def environ(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **more}


def descendants() -> set[int]:
    """Return the process ids of all programs below this one."""
    return {one.pid for one in psutil.Process().children(recursive=True)}


async def until(holds: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what other programs do rings no bell here
            await asyncio.sleep(0.02)
    assert holds(), what


async def gone(process: int) -> None:
    """Wait until a process is no more, nor a zombie."""
    await until(lambda: not psutil.pid_exists(process), f"{process} lives")


async def within(awaitable: Awaitable[Any]) -> Any:
    """Await something that must not hang."""
    async with asyncio.timeout(PATIENCE_S):
        return await awaitable
