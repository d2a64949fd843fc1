"""`orcs audit`: what was done, at the command line, and whether the log of it is whole."""

from __future__ import annotations

import json
from pathlib import Path

from orcs_server.storage.audit import SERVER, AuditDraft, details_of
from orcs_server.storage.sqlite import SqliteStore
from tests.cli.command_line import Ended, orcs
from tests.server_process import ServerProcess


def test_what_was_done_is_listed_exported_and_verified(orcs_server_process: ServerProcess) -> None:
    server = orcs_server_process

    def say(*words: str, code: int = 0) -> Ended:
        done = orcs(*words, server=server)
        assert done.code == code, done.err
        return done

    say("memory", "put", "k", "a value", "--scope", "shared:audited")
    say("memory", "delete", "k", "--scope", "shared:audited")
    say("pause", "no-such-workflow", code=4)
    about = ("--resource", "shared:audited", "--oldest-first")
    listed = say("audit", "list", *about, "--json").json["records"]
    assert [(one["operation"], one["outcome"]) for one in listed] == [("memory.write", "OK"), ("memory.delete", "OK")]
    rows = say("audit", "list", "--refused", "--operation", "workflows.pause", "--limit", "1").out.splitlines()
    assert rows[0].split() == ["NUMBER", "TIME", "WHO", "WHAT", "OUTCOME", "ABOUT", "DETAILS"]
    assert "workflows.pause" in rows[1]
    assert "WORKFLOW_NOT_FOUND" in rows[1]
    assert "no-such-workflow" in rows[1]
    assert say("audit", "list", "--principal", "nobody", "--since", "2h", "--before", "1s").out.count("\n") == 1
    newest = say("audit", "--json").json["records"]
    assert int(newest[0]["number"]) > int(newest[-1]["number"])
    assert say("audit").out.startswith("NUMBER")
    exported = say("audit", "export").json_lines
    assert [int(one["number"]) for one in exported] == list(range(1, len(exported) + 1))
    number = int(listed[0]["number"])
    assert int(say("audit", "export", "--after", str(number)).json_lines[0]["number"]) == number + 1
    verified = say("audit", "verify").out
    assert verified.startswith("intact: records 1 to ")
    head = verified.split()[-1]
    assert say("audit", "verify", "--expect", head, "--json").json["intact"]
    wrong = say("audit", "verify", "--expect", f"{number}:{'0' * 64}", code=1)
    assert wrong.out.startswith(f"record {number} does not fit: ")


def test_what_cannot_be_meant_is_said(orcs_server_process: ServerProcess) -> None:
    assert "is no head" in orcs("audit", "verify", "--expect", "7", server=orcs_server_process).err
    misplaced = orcs("audit", "--json", "verify", server=orcs_server_process)
    assert misplaced.code == 2
    assert "after `orcs audit verify`" in misplaced.err


async def test_what_belongs_to_no_namespace_is_read_from_the_file_itself(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orcs.db")
    await store.open()
    drafts = [
        AuditDraft(number, "", "GetServerInfo", outcome="TOKEN_INVALID", peer="ipv4:10.0.0.9", details=details)
        for number, details in ((1, ""), (2, details_of({"repeated": 7})))
    ]
    await store.audit.append(SERVER, drafts)
    done = orcs("audit", "server", "--data", str(tmp_path / "orcs.db"), "--json")
    assert done.code == 0, done.err
    assert [one["number"] for one in done.json["records"]] == ["2", "1"]
    shown = orcs("audit", "server", "--data", str(tmp_path / "orcs.db"), "--limit", "1").out.splitlines()
    assert len(shown) == 2
    assert "ipv4:10.0.0.9" in shown[1]
    assert json.dumps({"repeated": 7}, separators=(",", ":")) in shown[1]
    await store.close()
    assert orcs("audit", "server", "--data", str(tmp_path / "none.db")).code == 2
