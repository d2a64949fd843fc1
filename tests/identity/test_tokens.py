"""Tokens, with real files and real processes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import stat
from pathlib import Path

import pytest

from orcs_server.errors import InvalidArgument, NotFound, StartupError, Unavailable
from orcs_server.identity import ROLES, Caller
from orcs_server.identity.tokens import TokenRegistry, registry_file, token_file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "orcs.db"


def opened(data: Path) -> TokenRegistry:
    return TokenRegistry(data, recheck_seconds=0)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_private_token_with_every_role(data: Path) -> None:
    registry = opened(data)
    path = registry.ensure_own_token()
    assert path == token_file(data)
    token = path.read_text().strip()
    assert re.fullmatch(r"orcs_[A-Za-z0-9_-]{43}", token)
    caller = registry.authenticate(token)
    assert caller is not None
    assert (caller.namespace, caller.roles) == ("default", ROLES)
    assert (mode(path), mode(registry_file(data))) == (0o600, 0o600)
    assert token not in registry_file(data).read_text()
    assert hashlib.sha256(token.encode()).hexdigest() in registry_file(data).read_text()


def test_the_own_token_survives_a_restart(data: Path) -> None:
    opened(data).ensure_own_token()
    token = token_file(data).read_text()
    again = opened(data)
    again.ensure_own_token()
    assert token_file(data).read_text() == token
    assert len(again.list()) == 1


def test_a_lost_own_token_is_replaced_and_the_lost_one_no_longer_valid(data: Path) -> None:
    registry = opened(data)
    registry.ensure_own_token()
    lost = token_file(data).read_text().strip()
    token_file(data).unlink()
    registry.ensure_own_token()
    assert registry.authenticate(lost) is None
    assert registry.authenticate(token_file(data).read_text().strip()) is not None


def test_a_revoked_own_token_stays_revoked_after_a_restart(data: Path) -> None:
    registry = opened(data)
    registry.ensure_own_token()
    registry.create("ann", "default", ["view"])
    registry.revoke(next(entry.id for entry in registry.list() if entry.own))
    again = opened(data)
    again.ensure_own_token()
    assert [entry.principal for entry in again.list()] == ["ann"]
    token_file(data).unlink()
    assert again.ensure_own_token() is None


def test_a_token_that_the_operator_brings_takes_the_place_of_the_own_one(data: Path) -> None:
    registry = opened(data)
    registry.ensure_own_token()
    secret = "s" * 40
    assert registry.ensure_own_token(secret) is None
    assert registry.authenticate(secret) is not None
    assert registry.authenticate(token_file(data).read_text().strip()) is None
    registry.ensure_own_token(secret)
    assert len(registry.list()) == 1


@pytest.mark.parametrize("given", ["short", "x" * 600, "with space" * 5, "ä" * 40])
def test_a_brought_token_that_is_weak_or_odd_is_refused(data: Path, given: str) -> None:
    with pytest.raises(StartupError, match="32 to 512 visible ASCII"):
        opened(data).ensure_own_token(given)


def test_a_created_token_names_its_caller(data: Path) -> None:
    registry = opened(data)
    token = registry.create("bob", "user:7", ["operate", "view", "view"], note="CI")
    assert registry.authenticate(token) == Caller("bob", "user:7", ("view", "operate"))
    assert registry.list()[0].note == "CI"


@pytest.mark.parametrize("token", ["", "orcs_wrong", "x" * 100_000, "\udc80", "\x00"])
def test_an_unknown_token_names_nobody(data: Path, token: str) -> None:
    registry = opened(data)
    registry.ensure_own_token()
    assert registry.authenticate(token) is None


def test_an_expired_token_names_nobody(data: Path) -> None:
    now = [1_000]
    registry = TokenRegistry(data, now_us=lambda: now[0])
    token = registry.create("bob", "default", ["view"], expires_us=2_000)
    assert registry.authenticate(token) is not None
    now[0] = 2_000
    assert registry.authenticate(token) is None


def test_creating_names_every_violation(data: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        opened(data).create("a\x1b", "-bad", ["root"], expires_us=1, note="\n")
    assert {each.field for each in caught.value.violations} == {"principal", "namespace", "roles", "note", "expires"}
    with pytest.raises(InvalidArgument):
        opened(data).create("a", "default", [])
    assert not registry_file(data).exists()


def test_revoking_an_unknown_token_says_so(data: Path) -> None:
    with pytest.raises(NotFound, match="no token with the id 'nope'"):
        opened(data).revoke("nope")


def test_what_another_registry_creates_and_revokes_is_noticed(data: Path) -> None:
    server = opened(data)
    command_line = opened(data)
    token = command_line.create("eve", "default", ["view"])
    assert server.authenticate(token) is not None
    command_line.revoke(command_line.list()[0].id)
    assert server.authenticate(token) is None


def test_a_fresh_registry_is_not_looked_at_again(data: Path) -> None:
    server = TokenRegistry(data, recheck_seconds=3600)
    token = opened(data).create("eve", "default", ["view"])
    assert server.authenticate(token) is None


def test_a_removed_registry_lets_nobody_in(data: Path) -> None:
    server = opened(data)
    token = server.create("eve", "default", ["view"])
    registry_file(data).unlink()
    assert server.authenticate(token) is None


def test_a_registry_that_others_may_read_is_refused(data: Path) -> None:
    opened(data).ensure_own_token()
    registry_file(data).chmod(0o640)
    with pytest.raises(StartupError, match=r"mode 0640\): run `chmod 600"):
        opened(data)


def test_an_own_token_that_others_may_read_is_refused(data: Path) -> None:
    opened(data).ensure_own_token()
    token_file(data).chmod(0o604)
    with pytest.raises(StartupError, match="chmod 600"):
        opened(data).ensure_own_token()


def test_a_registry_of_another_user_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(data).ensure_own_token()
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StartupError, match="belongs to another user"):
        opened(data)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_a_registry_that_is_no_plain_file_is_refused(data: Path, kind: str) -> None:
    path = registry_file(data)
    if kind == "link":
        path.symlink_to(data)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path, 0o600)
    with pytest.raises(StartupError, match="plain file"):
        opened(data)


def written(data: Path, content: bytes) -> None:
    registry_file(data).write_bytes(content)
    registry_file(data).chmod(0o600)


ENTRY = {
    "id": "1",
    "sha256": "0" * 64,
    "principal": "a",
    "namespace": "default",
    "roles": ["view"],
    "created_us": 1,
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"\xff{}", "damaged"),
        (b'{"version": 1, "tokens": [], "more": 1}', "damaged"),
        (b'{"version": 3, "tokens": []}', "newer version"),
        (json.dumps({"version": 1, "tokens": [ENTRY | {"sha256": "zz"}]}).encode(), "bad sha256"),
        (json.dumps({"version": 1, "tokens": [ENTRY | {"roles": ["root"]}]}).encode(), "bad roles"),
        (b" " * (8 * 1024 * 1024 + 1), "larger than"),
    ],
)
def test_a_damaged_registry_is_refused_with_what_to_do(data: Path, content: bytes, message: str) -> None:
    written(data, content)
    with pytest.raises(StartupError, match=message):
        opened(data)


def test_while_the_registry_cannot_be_trusted_nobody_is_let_in(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = opened(data)
    token = server.create("eve", "default", ["view"])
    good = registry_file(data).read_bytes()
    written(data, b"{")
    with pytest.raises(Unavailable, match="server's log says why"):
        server.authenticate(token)
    assert "damaged" in caplog.text
    written(data, good)
    assert server.authenticate(token) is not None


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be written"):
        opened(tmp_path / "missing" / "orcs.db").ensure_own_token()


def _create_some(data: Path, name: str) -> None:
    registry = TokenRegistry(data)
    for _ in range(5):
        registry.create(name, "default", ["view"])


def test_processes_that_create_tokens_together_lose_none(data: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_create_some, args=(data, name)) for name in ("a", "b", "c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    principals = sorted(entry.principal for entry in opened(data).list())
    assert principals == ["a"] * 5 + ["b"] * 5 + ["c"] * 5


def test_a_failed_write_leaves_the_old_registry(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = opened(data)
    registry.create("a", "default", ["view"])
    before = registry_file(data).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        registry.create("b", "default", ["view"])
    assert registry_file(data).read_bytes() == before
    assert not list(data.parent.glob("*.new"))


def test_a_user_without_a_name_is_known_by_number(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    registry = opened(data)
    registry.ensure_own_token()
    assert registry.list()[0].principal == f"uid-{os.getuid()}"
