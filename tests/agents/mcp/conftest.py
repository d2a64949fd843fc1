"""Servers of tools for a test, and that nothing is left of them afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from orcs_server.agents.mcp.servers import McpServers
from tests.agents.mcp.support import Noted, descendants, environ, gone

Open = Callable[..., McpServers]


@pytest.fixture
def noted(tmp_path: Path) -> Noted:
    return Noted(tmp_path)


@pytest.fixture
async def opened(noted: Noted) -> AsyncIterator[Open]:
    """Gives the tools of one program, `x`, or of many: `opened("good", timeout=1)`, `opened(a=table, b=table)`."""
    before = descendants()
    async with AsyncExitStack() as stack:

        def make(kind: str = "", variables: dict[str, str] | None = None, **settings: Any) -> McpServers:
            idle_s = settings.pop("idle_s", 300.0)
            tables = {"x": noted.server(kind, **settings)} if kind else settings
            servers = McpServers(tables, environ(**(variables or {})), idle_s=idle_s)
            stack.push_async_callback(servers.aclose)
            return servers

        yield make
    for process in {*noted.processes, *(descendants() - before)}:
        await gone(process)
