"""Settings of servers that run within a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orcs_server.app import Server
from orcs_server.config import Settings


def settings_in(folder: Path, **flags: Any) -> Settings:
    """Return settings for a server whose files lie in this folder."""
    given = {"listen": "127.0.0.1:0", "data": folder / "orcs.db", "offline_pace": 0, "drain_grace": 0, **flags}
    return Settings.load(given, environ={"HOME": str(folder)})


def token_for(server: Server, principal: str, namespace: str, *roles: str) -> str:
    """Return a token of a running server that knows tokens."""
    assert server.registry is not None
    return server.registry.create(principal, namespace, roles)
