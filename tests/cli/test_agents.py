"""`orcs agents`: listing as ever; registering from a file, showing, taking back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.command_line import orcs
from tests.server_process import ServerProcess

TOML = """
id = "cli_poet"
description = "Writes verse."
instructions = '''
Rhyme about it.
'''
tools = ["ask_user"]

[output_schema]
type = "object"
properties = { verse = { type = "string" } }
"""


def test_an_agent_is_registered_shown_listed_and_taken_back(
    start_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = start_server()
    file = tmp_path / "poet.toml"
    file.write_text(TOML)
    checked = orcs("agents", "register", str(file), "--check", server=server)
    assert checked.out.startswith("cli_poet can be registered, revision "), checked.err
    made = orcs("agents", "register", str(file), "--expect", "", server=server)
    assert made.out == checked.out.replace("can be", "is")
    revision = made.out.split()[-1]
    shown = orcs("agents", "show", "cli_poet", server=server).out
    assert "comes from     registered" in shown
    assert revision in shown
    assert "Rhyme about it." in shown
    rows = orcs("agents", server=server).out.splitlines()
    assert rows[0].split() == ["ID", "MODEL", "TOOLS", "DESCRIPTION"]
    assert any(row.split() == ["cli_poet", "default", "ask_user", "Writes", "verse."] for row in rows)
    assert "cli_poet" in {one["id"] for one in orcs("agents", "--json", server=server).json["agents"]}
    # What `show --json` prints can be edited and registered.
    reply = orcs("agents", "show", "cli_poet", "--json", server=server).json
    reply["declaration"]["description"] = "Writes odes."
    changed = tmp_path / "poet.json"
    changed.write_text(json.dumps(reply))
    assert "read it again" in orcs("agents", "register", str(changed), "--expect", "x", server=server).err
    again = orcs("agents", "register", str(changed), "--expect", revision, "--json", server=server)
    assert again.json["agent"]["description"] == "Writes odes."
    assert "can be deregistered" in orcs("agents", "deregister", "cli_poet", "--check", server=server).out
    gone = orcs("agents", "deregister", "cli_poet", server=server)
    assert (gone.code, "no longer registered" in gone.out) == (0, True)
    assert orcs("agents", "show", "cli_poet", server=server).code == 4


def test_a_built_in_agent_is_shown_and_what_cannot_be_read_is_said(
    orcs_server_process: ServerProcess, tmp_path: Path
) -> None:
    server = orcs_server_process
    shown = orcs("agents", "show", "research_agent", server=server).out
    assert "comes from   builtin" in shown
    assert "registered" not in shown
    for name, text, said in (
        ("a.json", '{"id": "a", "command": "rm"}', "has no field 'command'"),
        ("b.json", "[1]", "must be a JSON object"),
        ("c.json", "{", "not valid JSON"),
        ("d.toml", "id = ", "not valid TOML"),
        ("e.toml", "id = 2026-01-01", "this is no agent"),
        ("f.json", '{"id": "research_agent", "description": "d", "instructions": "i"}', "choose another id"),
        ("g.json", '{"id": "x", "description": "d", "instructions": "i", "tools": ["rm"]}', "rm may not be named here"),
    ):
        file = tmp_path / name
        file.write_text(text)
        ended = orcs("agents", "register", str(file), server=server)
        assert ended.code in (2, 4), name
        assert said in ended.err, ended.err
