"""`orcs memory`: entries and their past at the command line, and what hostile text does to a terminal: nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orcs_server.memory import Actor, Memory, ReadSet
from orcs_server.memory.values import encode
from orcs_server.storage.sqlite import SqliteStore
from tests.cli.command_line import orcs, orcs_on_terminal
from tests.server_process import ServerProcess

HOSTILE = "\x1b]0;owned\x07\x1b[2Jtea\u202eecin\nsecond line"

Said = Callable[..., str]


@pytest.fixture
def said(orcs_server_process: ServerProcess) -> Said:
    def say(*words: str, code: int = 0, **more: Any) -> str:
        done = orcs("memory", *words, server=orcs_server_process, **more)
        assert done.code == code, done.err
        return (done.out if code == 0 else done.err).strip()

    return say


def test_a_value_is_put_read_listed_found_and_deleted(
    said: Said, tmp_path: Path, orcs_server_process: ServerProcess
) -> None:
    scope = ("--scope", "shared:cli1")
    assert said("put", "tea", "green tea", *scope, "--ttl", "2h") == "version 1"
    assert said("put", "tea", "-", *scope, "--expect", "1", stdin="black tea") == "version 2"
    assert "is at version 2, not at version 1" in said("put", "tea", "x", *scope, "--expect", "1", code=4)
    file = tmp_path / "bytes"
    file.write_bytes(b"\x00\xff")
    said("put", "file", f"@{file}", *scope)
    said("put", "json", '{"a": 1}', "--as-json", *scope)
    assert said("get", "tea", *scope) == "black tea"
    assert said("get", "tea", *scope, "--version", "1") == "green tea"
    assert json.loads(said("get", "json", *scope, "--json"))["entry"]["value"]["json"] == '{"a": 1}'
    details = said("get", "tea", *scope, "--details")
    assert "version  2" in details
    assert "operator" in details
    rows = said("list", *scope).splitlines()
    assert [row.split()[-1] for row in rows] == ["KEY", "file", "json", "tea"]
    cut = orcs("memory", "list", *scope, "--limit", "2", server=orcs_server_process)
    assert len(cut.out.splitlines()) == 3
    assert "these are the first 2, and there are more: --limit 0 shows all" in cut.err
    assert orcs("memory", "list", *scope, "--limit", "3", server=orcs_server_process).err == ""
    assert "shared:cli1" in said("hot")
    assert json.loads(said("list", *scope, "--prefix", "t", "--json"))["entries"][0]["key"] == "tea"
    assert said("search", "black", *scope).splitlines()[1].split() == ["shared:cli1", "tea", "black", "tea"]
    unread = said("list", *scope, "--unread").splitlines()
    assert [row.split()[-1] for row in unread[1:]] == ["file"]
    assert said("share", "tea", "shared:cli2", *scope) == "version 1 in the other scope"
    assert said("delete", "tea", *scope) == "deleted by version 3"
    assert said("delete", "tea", *scope) == "there was nothing to delete"
    assert "There is no entry tea" in said("get", "tea", *scope, code=4)
    versions = json.loads(said("history", "tea", *scope, "--json"))["entries"]
    assert [(one["version"], one.get("deleted", False)) for one in versions] == [
        ("3", True),
        ("2", False),
        ("1", False),
    ]


def test_a_scope_goes_back_to_a_snapshot_and_a_key_to_a_version(said: Said) -> None:
    scope = ("--scope", "shared:cli3")
    said("put", "a", "1", *scope)
    number = said("snapshot", *scope, "--title", "Before").removeprefix("snapshot ")
    said("put", "a", "2", *scope)
    said("put", "b", "1", *scope)
    assert [row.split() for row in said("diff", number, *scope).splitlines()[1:]] == [
        ["version", "1", "version", "2", "a"],
        ["absent", "version", "1", "b"],
    ]
    assert said("restore", number, *scope) == "2 keys changed"
    assert said("get", "a", *scope) == "1"
    assert said("revert", "a", "2", *scope) == "version 4"
    assert said("get", "a", *scope) == "2"
    assert "Before" in said("snapshots", *scope)
    assert said("snapshots", *scope, "--forget", number) == f"snapshot {number} forgotten"
    assert said("revert", "--run", "none") == "that run has written nothing that is kept"
    assert "run.workflow_id" in said("revert", "--run", "no id", code=2)
    rows = [row.split() for row in said("scopes", "--prefix", "shared:cli3").splitlines()]
    assert [(row[0], row[-1]) for row in rows] == [("KEYS", "SCOPE"), ("1", "shared:cli3")]
    assert json.loads(said("scopes", "--prefix", "shared:cli3", "--json"))["scopes"][0]["entry_count"] == "1"
    assert "Name a key and its version" in said("revert", "a", code=2)
    assert "--yes" in said("purge", "a", *scope, code=2)
    assert said("purge", "--all", "--yes", *scope) == "6 versions erased"


def test_what_a_run_wrote_is_taken_back_and_what_was_made_of_it_is_named(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server()
    server.kill()
    asyncio.run(_write_as_agents(server.data))
    server.start()
    revert = ("memory", "revert", "--run", "w1")
    done = orcs(*revert, server=server)
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0][:3] == ["2", "keys", "reverted;"]
    assert " ".join(lines[1]) == "1 made by others from what the run wrote, and left alone: look at them"
    assert lines[2:] == [["SCOPE", "MADE", "FROM", "IT"], ["workflow:w2", "report"]]
    again = orcs(*revert, server=server)
    assert again.out.startswith("0 keys reverted; 0 deleted whose earlier value is no longer kept; 0 written by others")
    assert json.loads(orcs(*revert, "--json", server=server).out)["key_count"] == "1"


async def _write_as_agents(data: Path) -> None:
    """Have one workflow's agent write, its entry shared with another workflow, and that one's agent make something of it."""
    store = SqliteStore(data)
    await store.open()
    memory, reads = Memory(store), ReadSet()
    first, second = (Actor("ada", "research_agent", workflow, "t1", 1) for workflow in ("w1", "w2"))
    await memory.put("default", first, "fact", encode("bad"), "workflow:w1")
    await memory.share("default", Actor("ada"), "fact", "workflow:w1", "workflow:w2")
    await memory.get("default", second, "fact", "workflow:w2", reads)
    await memory.put("default", second, "report", encode("says: bad"), "workflow:w2", reads=reads)
    await memory.close()
    await store.close()


def test_rules_are_printed_and_read_back(said: Said, tmp_path: Path) -> None:
    rules = {
        "rules": [
            {"subject": "agent:research_agent", "scope": "shared:cli4", "permissions": ["MEMORY_PERMISSION_READ"]},
            {
                "subject": "agent:*",
                "scope": "global",
                "prefix": "secret:",
                "permissions": ["MEMORY_PERMISSION_READ"],
                "deny": True,
            },
        ]
    }
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rules))
    version = said("rules", "--set", str(file)).removeprefix("version ")
    printed = json.loads(said("rules", "--json"))
    assert (printed["version"], printed["rules"]) == (version, rules["rules"])
    assert said("rules").splitlines()[2].split() == ["forbids", "agent:*", "read", "global", "secret:"]
    file.write_text(json.dumps(printed))
    assert said("rules", "--set", str(file), "--expect", version) == f"version {int(version) + 1}"
    file.write_text('{"rules": [{"subject": 1}]}')
    assert "these are no access rules" in said("rules", "--set", str(file), code=2)


def test_what_was_stored_does_not_control_a_terminal(said: Said, orcs_server_process: ServerProcess) -> None:
    scope = ("--scope", "shared:cli5")
    said("put", "evil", "-", *scope, stdin=HOSTILE)
    for words in (("get", "evil"), ("get", "evil", "--details"), ("search", "second"), ("get", "evil", "--json")):
        shown = orcs_on_terminal("memory", *words, *scope, server=orcs_server_process).out
        assert "second line" in shown, words
        assert not {"\x1b", "\x07", "\u202e"} & set(shown), words
    # A program gets what was stored.
    done = orcs("memory", "get", "evil", *scope, server=orcs_server_process)
    assert done.out == HOSTILE + "\n"


def test_a_watch_prints_a_line_for_each_change_until_it_is_interrupted(
    said: Said, orcs_server_process: ServerProcess
) -> None:
    scope = ("--scope", "shared:cli6")
    begun = json.loads(said("put", "a", "1", *scope, "--json"))["cursor"]
    said("put", "b", "2", *scope)
    said("delete", "b", *scope)

    interrupted: list[int] = []

    def interrupt(pid: int, seen: str) -> None:
        if "deleted" in seen and not interrupted:
            interrupted.append(pid)
            os.kill(pid, signal.SIGINT)

    ended = orcs_on_terminal(
        "memory", "watch", *scope, "--after", begun, server=orcs_server_process, columns=200, watch=interrupt
    )
    assert ended.code == 130
    lines = [line for line in ended.out.splitlines() if "shared:cli6" in line]
    assert ["version 1 by" in lines[0], "deleted by" in lines[1]] == [True, True]
