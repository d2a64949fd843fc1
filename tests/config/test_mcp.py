"""The tables `[mcp.NAME]` and `[registration]`: what they take, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orcs_server.app import Backend
from orcs_server.config import Settings
from orcs_server.errors import StartupError

HOME = {"HOME": "/home/ann"}


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    def load(text: str, environ: dict[str, str] | None = None) -> Settings:
        path = tmp_path / "orcs.toml"
        path.write_text(text)
        return Settings.load(config_file=path, environ={**HOME, **(environ or {})})

    return load


def test_servers_are_programs_or_addresses(toml: Any, tmp_path: Path) -> None:
    settings = toml(
        """
        [mcp.files]
        command = "files-server"
        args = ["--root", "/data"]
        cwd = "work"
        environment = { FILES_MODE = "ro" }
        pass_environment = ["FILES_KEY"]
        timeout = 20
        tools = ["read", "write"]
        needs_approval = ["write"]
        trusted = ["*"]

        [mcp.web-search_2]
        url = "https://search.example/mcp"
        headers = { Authorization = "SEARCH_TOKEN" }

        [registration]
        models = ["small-model"]
        mcp = ["files"]
        """
    )
    files, search = settings.mcp["files"], settings.mcp["web-search_2"]
    assert files.cwd == tmp_path / "work"
    assert files.environment == {"FILES_MODE": "ro"}
    assert (files.tools, files.needs_approval, files.idempotent) == (("read", "write"), ("write",), ())
    assert search.headers == {"Authorization": "SEARCH_TOKEN"}
    assert search.tools is None
    assert settings.registration.models == ("small-model",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mcp.a]", "give either a command or a url"),
        ("[mcp.a]\ncommand = 'x'\nurl = 'http://x/'", "give either a command or a url"),
        ("[mcp.a]\nurl = 'http://x/'\nargs = ['a']", "args goes with a command"),
        ("[mcp.a]\nurl = 'http://x/'\npass_environment = ['A']", "pass_environment goes with a command"),
        ("[mcp.a]\ncommand = 'x'\nheaders = { A = 'B' }", "headers go with a url"),
        ("[mcp.a]\nurl = 'http://me:secret@x/'", "no user, password"),
        ("[mcp.a]\nurl = 'file:///etc/passwd'", "the address of the MCP server"),
        ("[mcp.a]\nurl = 'http://x/'\nheaders = { 'A B' = 'C' }", "the name of an HTTP header"),
        ("[mcp.a]\nurl = 'http://x/'\nheaders = { A = 'Bearer secret' }", "the name of an environment variable"),
        ("[mcp.a]\ncommand = 'x'\nenvironment = { 'A=B' = 'C' }", "the name of an environment variable"),
        ("[mcp.a__b]\ncommand = 'x'", "the name of an MCP server"),
        ("[mcp.A]\ncommand = 'x'", "the name of an MCP server"),
        ("[mcp.a]\ncommand = 'x'\ntimeout = 0", "timeout"),
        ("[mcp.a]\ncommand = 'x'\nshell = true", "is not a setting"),
        ("mcp = 3", "write a table"),
    ],
)
def test_a_wrong_table_is_refused(toml: Any, text: str, said: str) -> None:
    with pytest.raises(StartupError, match=said) as refused:
        toml(text)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"), [("ORCS_MCP", '{"a": {"command": "rm"}}'), ("ORCS_REGISTRATION_MODELS", "large-model")]
)
def test_servers_and_what_may_be_named_are_not_taken_from_the_environment(variable: str, value: str) -> None:
    with pytest.raises(StartupError, match="is not taken from the environment: set it in the configuration file"):
        Settings.load(environ={**HOME, variable: value})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[registration]\nmcp = ['a']", r"\[registration\] names the MCP server 'a'"),
        ("[registration]\ntools = ['rm']", r"\[registration\] names the tool 'rm'"),
        ("[agents.data_agent]\nmcp = ['a']", r"\[agents.data_agent\] names the MCP server 'a'"),
        ("[mcp.a]\nurl = 'http://x/'\nheaders = { A = 'NOT_SET' }", "needs a value for its header A"),
    ],
)
def test_what_is_named_has_to_be_there_at_the_start(toml: Any, text: str, said: str) -> None:
    with pytest.raises(StartupError, match=said):
        Backend(toml(text), HOME)
