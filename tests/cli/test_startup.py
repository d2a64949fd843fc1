"""Commands that talk to a server import nothing of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.command_line import environ_for, orcs
from tests.server_process import ServerProcess

HEAVY = {"agents", "openai", "pydantic_settings", "aiosqlite", "sqlite3", "opentelemetry", "httpx", "jsonschema"}
HEAVY |= {"markdown_it", "msgspec"}
"""Not pydantic: typer itself reads its options with it."""
SERVER = {"orcs_server.app", "orcs_server.config", "orcs_server.agents", "orcs_server.service", "orcs_server.storage"}
PROGRAM = """
import sys
from orcs_server.cli.main import carry_out
code = carry_out(sys.argv[1:])
print("imported:", *sys.modules)
sys.exit(code)
"""


def test_the_list_of_commands_cuts_no_text() -> None:
    listed = [line for line in orcs("--help", COLUMNS="80").out.partition("Commands:")[2].splitlines() if line]
    assert len(listed) > 10
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("list",), ("agents",), ("run", "compare a and b"), ("list", "--json"), ("health",)]
)
def test_a_command_imports_neither_the_agents_sdk_nor_the_server(
    orcs_server_process: ServerProcess, arguments: tuple[str, ...]
) -> None:
    environ = environ_for(orcs_server_process)
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    imported = set(done.stdout.splitlines()[-1].split()[1:])
    assert "orcs_server.cli.main" in imported
    assert imported & (HEAVY | SERVER) == set()
    assert "rich" not in imported
