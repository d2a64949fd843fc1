"""The file by which a user's own programs find a server."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from orcs_client.address import Address
from orcs_client.tokens import TokenSource
from orcs_server.identity.discovery import Announcement, servers_folder


def environ_of(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def test_it_names_address_token_file_and_process_and_is_private(tmp_path: Path) -> None:
    announcement = Announcement("127.0.0.1", 50750, tmp_path / "orcs.db.token", environ_of(tmp_path))
    assert announcement.publish()
    path = tmp_path / "state" / "orcs" / "servers" / "127.0.0.1_50750.json"
    assert json.loads(path.read_bytes()) == {
        "address": "127.0.0.1:50750",
        "token_file": str(tmp_path / "orcs.db.token"),
        "pid": os.getpid(),
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    announcement.withdraw()
    assert not path.exists()
    announcement.withdraw()


def test_an_ipv6_address_and_no_token_are_written_as_documented(tmp_path: Path) -> None:
    announcement = Announcement("::1", 1, None, environ_of(tmp_path))
    announcement.publish()
    assert announcement.path.name == "--1_1.json"
    body = json.loads(announcement.path.read_bytes())
    assert (body["address"], body["token_file"]) == ("[::1]:1", None)


@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0", "::1", "localhost"])
def test_the_client_finds_the_token_under_any_loopback_name(tmp_path: Path, listening: str) -> None:
    token = tmp_path / "orcs.db.token"
    token.write_text("orcs_" + "a" * 43 + "\n")
    Announcement(listening, 4711, token, environ_of(tmp_path)).publish()
    for host in ("localhost", "127.0.0.1", "::1"):
        source = TokenSource(
            Address(host, 4711, tls=False, root_certificates=None), None, None, environ_of(tmp_path), insecure=False
        )
        assert source.current() == "orcs_" + "a" * 43


def test_a_file_that_another_server_took_over_is_left_alone(tmp_path: Path) -> None:
    announcement = Announcement("127.0.0.1", 1, None, environ_of(tmp_path))
    announcement.publish()
    announcement.path.write_text(json.dumps({"pid": os.getpid() + 1}))
    announcement.withdraw()
    assert announcement.path.exists()


def test_a_damaged_file_is_left_behind_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    announcement = Announcement("127.0.0.1", 1, None, environ_of(tmp_path))
    announcement.publish()
    announcement.path.write_text("{")
    announcement.withdraw()
    assert "was left behind" in caplog.text


def test_without_a_place_for_it_the_server_goes_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file in the way")
    assert not Announcement("127.0.0.1", 1, None, environ_of(tmp_path)).publish()
    assert "ORCS_TOKEN" in caplog.text


def test_the_folder_follows_the_environment() -> None:
    assert servers_folder({"HOME": "/h"}) == Path("/h/.local/state/orcs/servers")
    assert servers_folder({"HOME": "/h", "XDG_STATE_HOME": "relative"}) == Path("/h/.local/state/orcs/servers")
    assert servers_folder({"XDG_STATE_HOME": "/s"}) == Path("/s/orcs/servers")
    assert servers_folder({}) == Path.home() / ".local/state/orcs/servers"
