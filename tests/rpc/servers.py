"""Settings of servers that run within a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orcs_server.config import Settings


def settings_in(folder: Path, **flags: Any) -> Settings:
    """Return settings for a server whose files lie in this folder."""
    given = {"listen": "127.0.0.1:0", "data": folder / "orcs.db", "offline_pace": 0, "drain_grace": 0, **flags}
    return Settings.load(given, environ={"HOME": str(folder)})
