"""Tokens are created, listed and revoked beside the data file of a running server."""

from __future__ import annotations

import time
from pathlib import Path

from tests.cli.command_line import orcs
from tests.server_process import ServerProcess


def test_a_created_token_opens_its_namespace_until_it_is_revoked(
    orcs_server_process: ServerProcess, tmp_path: Path
) -> None:
    server, data = orcs_server_process, str(orcs_server_process.data)
    options = ("--namespace", "red", "--role", "view", "--note", "for the wall", "--expires", "1h", "--data", data)
    token = orcs("token", "create", "ann", *options).out.strip()
    entry = next(
        one for one in orcs("token", "list", "--data", data, "--json").json["tokens"] if one["principal"] == "ann"
    )
    assert (entry["namespace"], entry["roles"], entry["note"]) == ("red", ["view"], "for the wall")
    assert token not in orcs("token", "list", "--data", data).out
    stranger = {"ORCS_TOKEN": token, "XDG_STATE_HOME": str(tmp_path)}
    wait_until_known(server, stranger)
    assert orcs("info", "--json", server=server, **stranger).json["caller"] == {
        "principal": "ann",
        "namespace": "red",
        "roles": ["view"],
    }
    assert orcs("run", "compare a and b", "--detach", server=server, **stranger).code == 4
    rotated = orcs("token", "rotate", entry["id"], "--grace", "1h", "--data", data).out.strip()
    for text in (token, rotated):
        wait_until_known(server, {**stranger, "ORCS_TOKEN": text})
        assert orcs("info", server=server, **{**stranger, "ORCS_TOKEN": text}).code == 0
    listed = orcs("token", "list", "--data", data).out
    assert "(old text until " in listed
    assert rotated not in listed
    assert orcs("token", "revoke", entry["id"], "--data", data).code == 0
    again = orcs("token", "revoke", entry["id"], "--data", data)
    assert again.code == 4
    assert again.err.startswith("orcs: there is no token with the id")


def test_a_bad_token_is_refused_with_every_reason(tmp_path: Path) -> None:
    data = str(tmp_path / "orcs.db")
    done = orcs("token", "create", "a\nb", "--namespace", "not good", "--role", "emperor", "--data", data)
    assert done.code == 2
    assert [line.split(":")[0].strip() for line in done.err.splitlines()[1:]] == ["principal", "namespace", "roles"]


def test_one_reason_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    done = orcs("token", "create", "ann", "--role", "emperor", "--data", str(tmp_path / "orcs.db"))
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["orcs", "  roles"]


def wait_until_known(server: ServerProcess, stranger: dict[str, str]) -> None:
    """A running server looks for new tokens once a second."""
    for _ in range(50):
        if orcs("info", server=server, **stranger).code == 0:
            return
        time.sleep(0.1)
