"""MCP servers that are programs: what they see, who shares them, when they end, and what comes of those that misbehave."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orcs_server.agents.idempotence import is_idempotent
from orcs_server.agents.mcp import limits
from orcs_server.agents.sensitivity import is_sensitive, is_trusted
from orcs_server.agents.toolbox import ToolTrouble
from orcs_server.config.mcp import McpServer
from orcs_server.errors import StartupError
from tests.agents.mcp.conftest import Open
from tests.agents.mcp.support import Noted, environ, gone, until, within

ROOT = Path(__file__).parents[3]
SECRETS = {
    "OPENAI_API_KEY": "sk-secret",
    "ORCS_TOKEN": "token-secret",
    "AWS_SECRET_ACCESS_KEY": "aws-secret",
    "NOTES_KEY": "notes-key",
}
HARMLESS = {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"}


async def test_tools_are_listed_under_their_servers_name_and_called(opened: Open, noted: Noted) -> None:
    servers = opened("good")
    tools = {tool.name: tool for tool in await servers.tools("ns", ["x"])}
    assert set(tools) == {"x__add", "x__read", "x__environment", "x__slow", "x__key", "x__headers"}
    assert tools["x__add"].description == "Add a note."
    assert set(tools["x__add"].params_json_schema["properties"]) == {"text"}
    assert await servers.call("ns", "x", "add", {"text": "tea"}) == "kept 1"
    assert await servers.call("ns", "x", "read", {}) == "tea"
    assert "thekey" in await servers.call("ns", "x", "key", {}, "thekey")
    assert "unknown" in (await servers.call("ns", "x", "nothing", {})).lower()
    assert "text" in await servers.call("ns", "x", "add", {"wrong": 1}), "the server says what is missing"
    assert noted.calls == ["add", "read"]


async def test_a_program_sees_what_is_declared_and_nothing_else(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    servers = opened("good", SECRETS, environment={"NOTES_FOLDER": "/n"}, pass_environment=["NOTES_KEY", "NOT_SET"])
    await servers.tools("ns", ["x"])
    seen = json.loads(await servers.call("ns", "x", "environment", {}))
    assert seen.keys() - HARMLESS == {"NOTES_FOLDER", "NOTES_KEY"}
    assert seen["NOTES_KEY"] == "notes-key"
    for secret in ("sk-secret", "token-secret", "aws-secret"):
        assert secret not in json.dumps(seen)


async def test_only_the_operators_lists_say_what_a_tool_may_do(opened: Open) -> None:
    tools = {tool.name: tool for tool in await opened("good").tools("ns", ["x"])}
    add = tools["x__add"]
    assert not is_idempotent(add), "the server says that it is"
    assert not is_trusted(add)
    assert add.needs_approval is False
    lists = {"idempotent": ["read"], "sensitive": ["add"], "trusted": ["*"], "needs_approval": ["slow"]}
    servers = opened("good", tools=["add", "read", "slow"], **lists)
    tools = {tool.name.removeprefix("x__"): tool for tool in await servers.tools("ns", ["x"])}
    assert set(tools) == {"add", "read", "slow"}
    assert [name for name, tool in tools.items() if is_idempotent(tool)] == ["read"]
    assert [name for name, tool in tools.items() if is_sensitive(tool)] == ["add"]
    assert all(is_trusted(tool) for tool in tools.values())
    assert [name for name, tool in tools.items() if tool.needs_approval] == ["slow"]


async def test_a_namespace_shares_a_program_and_another_has_its_own(opened: Open, noted: Noted) -> None:
    servers = opened("good")
    await asyncio.gather(*(servers.tools("a", ["x"]) for _ in range(5)))
    assert len(noted.processes) == 1, "many that begin at once start it once"
    await servers.call("a", "x", "add", {"text": "of a"})
    await servers.tools("b", ["x"])
    assert len(set(noted.processes)) == 2
    assert await servers.call("b", "x", "read", {}) == "none"
    assert await servers.call("a", "x", "read", {}) == "of a"


async def test_a_program_that_is_not_used_is_ended_and_started_again_when_it_is(opened: Open, noted: Noted) -> None:
    servers = opened("good", idle_s=0.2)
    await servers.tools("ns", ["x"])
    (first,) = noted.processes
    await gone(first)
    assert await servers.call("ns", "x", "read", {}) == "none"
    assert len(noted.processes) == 2


async def test_a_call_that_is_under_way_keeps_its_program(opened: Open, noted: Noted) -> None:
    servers = opened("good", idle_s=0.2)
    assert await servers.call("ns", "x", "slow", {"seconds": 1.5}) == "done"
    assert len(noted.processes) == 1


async def test_a_program_that_was_killed_is_started_again(opened: Open, noted: Noted) -> None:
    servers = opened("good")
    await servers.tools("ns", ["x"])
    os.kill(noted.processes[0], signal.SIGKILL)
    await gone(noted.processes[0])
    await until(lambda: servers._open["ns", "x"].result().ended, "its end is not noted")
    assert await servers.call("ns", "x", "read", {}) == "none"
    assert len(noted.processes) == 2


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("dies at start", "it ended before it had answered"),
        ("endless message", "it ended before it had answered"),
        ("thousands of tools", "it has 3000 tools, and 128 are taken at most: name those that are wanted in `tools`"),
        ("a huge schema", "its tool act is described by"),
        ("endless pages", "could not be used"),
        ("the same tool twice", "it lists two tools that are called like act"),
        ("a name that no model can call", "is too long for models"),
        ("no list", "does not speak MCP"),
    ],
)
async def test_a_bad_server_is_refused_with_the_reason(opened: Open, kind: str, said: str) -> None:
    servers = opened(kind)
    with pytest.raises(ToolTrouble) as trouble:
        await within(servers.tools("ns", ["x"]))
    assert said in str(trouble.value)
    assert "MCP server 'x'" in trouble.value.failure.message
    # Where a call needs it, the model is told the same.
    assert said in await within(servers.call("ns", "x", "act", {}))


@pytest.mark.parametrize("kind", ["hangs at start", "nonsense"])
async def test_a_server_that_does_not_answer_is_given_up(opened: Open, kind: str) -> None:
    servers = opened(kind, timeout=1)
    with pytest.raises(ToolTrouble, match="did not answer within 1 seconds") as trouble:
        await within(servers.tools("ns", ["x"]))
    assert trouble.value.failure.retryable


async def test_names_that_models_cannot_call_are_written_otherwise(opened: Open, noted: Noted) -> None:
    servers = opened("names of other kinds")
    assert [tool.name for tool in await servers.tools("ns", ["x"])] == ["x__act_now", "x__files_read_it"]
    await servers.call("ns", "x", "files/read it", {})
    assert noted.calls == ["files/read it"]


async def test_some_of_thousands_of_tools_may_be_named(opened: Open) -> None:
    servers = opened("thousands of tools", tools=["tool7", "tool2999"])
    assert [tool.name for tool in await servers.tools("ns", ["x"])] == ["x__tool7", "x__tool2999"]


@pytest.mark.parametrize("setting", ["tools", "needs_approval", "sensitive"])
async def test_a_tool_that_is_guarded_by_name_must_be_there(opened: Open, setting: str) -> None:
    servers = opened("good", **{setting: ["add", "delete"]})
    with pytest.raises(ToolTrouble, match=f"it has no tool delete, which {setting} names"):
        await servers.tools("ns", ["x"])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("dies in a call", "ended during the call: nobody knows whether the tool has acted"),
        ("an endless result", "ended during the call: nobody knows"),
        ("no result", "answered what is no answer: nobody knows"),
        ("failing", "The tool failed: no such note"),
        ("many kinds", "A text\n(image of type image/png, which is not shown)\n{"),
        ("structure only", '{"a": 1}'),
    ],
)
async def test_what_comes_of_a_call_is_told_as_text_and_it_is_made_once(
    opened: Open, noted: Noted, kind: str, said: str
) -> None:
    servers = opened(kind)
    await servers.tools("ns", ["x"])
    assert said in await within(servers.call("ns", "x", "act", {}))
    assert noted.calls == ["act"]
    # And the next call finds a server that lives.
    assert said in await within(servers.call("ns", "x", "other", {}))
    assert noted.calls == ["act", "other"]


async def test_a_call_that_hangs_is_given_up_and_others_go_on(opened: Open, noted: Noted) -> None:
    servers = opened(bad=noted.server("hangs in a call", timeout=6), good=noted.server("good"))
    await servers.tools("ns", ["bad", "good"])
    hanging = asyncio.create_task(servers.call("ns", "bad", "act", {}))
    assert await within(servers.call("ns", "good", "read", {})) == "none"
    assert "has not answered within 6 seconds" in await within(hanging)


async def test_a_long_result_is_cut(opened: Open) -> None:
    text = await opened("a huge result").call("ns", "x", "act", {})
    assert len(text) < limits.RESULT_CHARACTERS + 100
    assert text.endswith("(cut off: the result has 2000000 characters in all)")


async def test_the_tools_of_an_attempt_stay_what_they_were(opened: Open, noted: Noted) -> None:
    servers = opened("other tools at each start")
    (tool,) = await servers.tools("ns", ["x"])
    os.kill(noted.processes[0], signal.SIGKILL)
    await gone(noted.processes[0])
    await until(lambda: servers._open["ns", "x"].result().ended, "its end is not noted")
    assert await servers.call("ns", "x", tool.name.removeprefix("x__"), {}) == "acted"
    (other,) = await servers.tools("ns", ["x"])
    assert other.name != tool.name


async def test_what_programs_write_to_standard_error_is_logged_within_bounds(
    opened: Open, noted: Noted, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "orcs.mcp")
    with pytest.raises(ToolTrouble):
        await opened("dies at start").tools("ns", ["x"])
    await until(lambda: "no licence" in caplog.text, "it is not logged")
    caplog.clear()
    monkeypatch.setattr("orcs_server.agents.mcp.transports.LINES_LOGGED", 3)
    loud = McpServer(command="sh", args=("-c", "yes loud | head -c 100000 >&2; exec sleep 600"), timeout=2)
    with pytest.raises(ToolTrouble):
        await opened(loud=loud).tools("ns", ["loud"])
    assert caplog.messages.count("loud") == 3
    assert "more to its standard error than is logged" in caplog.text


async def test_a_program_that_is_not_there_and_one_that_cannot_be_run_are_said(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(ToolTrouble, match="is not found: correct command"):
        await opened(x=McpServer(command="no-such-program")).tools("ns", ["x"])
    (tmp_path / "here").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "here").chmod(0o755)
    with pytest.raises(ToolTrouble, match="it ended before"):
        await within(opened(x=McpServer(command="./here", cwd=tmp_path)).tools("ns", ["x"]))
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    with pytest.raises(ToolTrouble, match="it ended before"):
        await within(opened(x=McpServer(command=str(broken))).tools("ns", ["x"]))
    with pytest.raises(ToolTrouble, match="is not configured any more"):
        await opened("good").tools("ns", ["other"])


async def test_connections_are_shared_among_namespaces(
    opened: Open, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orcs_server.agents.mcp.servers.CONNECTIONS", 4)
    servers = opened(**{name: noted.server("many kinds") for name in ("a", "b", "c")})
    await servers.tools("greedy", ["a", "b"])
    with pytest.raises(ToolTrouble, match="has 2 connections to MCP servers") as full:
        await servers.tools("greedy", ["c"])
    assert full.value.failure.retryable
    await servers.tools("modest", ["a"])


async def test_the_end_of_a_program_is_the_end_of_its_children(opened: Open, noted: Noted) -> None:
    servers = opened("has children")
    assert await servers.call("ns", "x", "act", {}) == "acted"
    await servers.aclose()
    assert "going down" in await servers.call("ns", "x", "act", {})


SCRIPT = """
import asyncio, os, sys
from orcs_server.agents.mcp.servers import McpServers
from orcs_server.config.mcp import McpServer

async def main():
    table = McpServer(command=sys.executable, args=tuple(sys.argv[1:]), timeout=30)
    servers = McpServers({"x": table}, dict(os.environ))
    print(await servers.call("ns", "x", "act", {}), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["has children", "hangs in a call"])
async def test_nothing_is_left_of_a_program_when_its_server_is_killed(noted: Noted, kind: str) -> None:
    arguments = noted.table(kind)["args"]
    server = subprocess.Popen(  # noqa: ASYNC220 - it is killed, not awaited
        [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, cwd=ROOT, env=environ(PYTHONPATH=str(ROOT))
    )
    try:
        await until(lambda: bool(noted.calls), "it was not called")
        (program,) = noted.processes
    finally:
        server.kill()
        server.communicate()
    await gone(program)


async def test_closing_while_a_server_starts_leaves_nothing(opened: Open, noted: Noted) -> None:
    servers = opened("hangs at start")
    starting = asyncio.create_task(servers.tools("ns", ["x"]))
    await until(lambda: bool(noted.processes), "it was not started")
    await within(servers.aclose())
    with pytest.raises((asyncio.CancelledError, ToolTrouble)):
        await starting


def test_a_header_without_a_value_stops_the_start() -> None:
    table = McpServer(url="http://127.0.0.1:1/mcp", headers={"Authorization": "NOTES_TOKEN"})
    from orcs_server.agents.mcp.servers import McpServers

    with pytest.raises(StartupError, match=r"\[mcp.x\] needs a value for its header Authorization.*NOTES_TOKEN"):
        McpServers({"x": table}, {})
