"""Which server a client talks to, which token it sends there, and to whom it sends none."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import grpc
import pytest

from orcs_client import OrcsClient, SettingsError, Unauthenticated, Unavailable
from tests.client.certificates import self_signed
from tests.client.scripted_server import ScriptedServer, ScriptedWorkflows

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def announce(state: Path, name: str, token: str | None, pid: int | None = None) -> Path:
    """Do what a server does when it starts to listen."""
    token_file = state / "orcs.db.token"
    token_file.write_text(f"{token}\n")
    folder = state / "orcs" / "servers"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    announcement = folder / f"{name}.json"
    body = {"address": "x", "token_file": token and str(token_file), "pid": os.getpid() if pid is None else pid}
    announcement.write_text(json.dumps(body))
    announcement.chmod(0o600)
    return announcement


async def accepted(server: ScriptedServer, target: str | None = None, **settings: object) -> bool:
    async with OrcsClient(target or server.address, **settings) as client:  # type: ignore[arg-type]
        try:
            await client.get_workflow("w")
        except Unauthenticated:
            return False
        return True


def test_the_server_is_the_given_one_else_that_of_the_environment_else_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert OrcsClient().address == "127.0.0.1:50750"
    monkeypatch.setenv("ORCS_SERVER", "[::1]:7")
    assert OrcsClient().address == "[::1]:7"
    assert OrcsClient("https://orcs.example:443/").address == "orcs.example:443"


@pytest.mark.parametrize("target", ["nowhere", "host:0", "host:65536", "host:1/path", "ho st:1", "::1:5", "ftp://a:1"])
def test_what_is_no_address_is_refused(target: str) -> None:
    with pytest.raises(SettingsError, match="HOST:PORT"):
        OrcsClient(target)


async def test_a_token_is_taken_from_arguments_environment_and_files(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = state / "mounted"
    file.write_text(" secret\n")
    async with ScriptedServer(ScriptedWorkflows(token="secret")) as server:
        assert await accepted(server, token="secret")
        assert await accepted(server, token_file=file)
        assert not await accepted(server)
        monkeypatch.setenv("ORCS_TOKEN_FILE", str(file))
        assert await accepted(server)
        assert not await accepted(server, token="")
        monkeypatch.setenv("ORCS_TOKEN", "other")
        assert not await accepted(server)
        with pytest.raises(SettingsError, match="not both"):
            await accepted(server, token="secret", token_file=file)


async def test_the_token_of_a_server_of_the_same_user_is_found(state: Path) -> None:
    async with ScriptedServer(ScriptedWorkflows(token="secret")) as server:
        assert not await accepted(server)
        announce(state, f"127.0.0.1_{server.port}", "secret")
        assert await accepted(server)
        assert await accepted(server, f"localhost:{server.port}")


async def test_the_token_of_a_server_on_all_addresses_is_found_under_loopback(state: Path) -> None:
    async with ScriptedServer(ScriptedWorkflows(token="secret")) as server:
        announce(state, f"0.0.0.0_{server.port}", "secret")
        assert await accepted(server)


@pytest.mark.parametrize("fault", ["dead", "readable", "open folder", "damaged", "no token", "link"])
async def test_an_announcement_that_cannot_be_trusted_is_not_used(state: Path, fault: str) -> None:
    async with ScriptedServer(ScriptedWorkflows(token="secret")) as server:
        announcement = announce(state, f"127.0.0.1_{server.port}", "secret")
        assert await accepted(server)
        match fault:
            case "dead":
                gone = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
                await gone.wait()
                announce(state, announcement.stem, "secret", gone.pid)
            case "readable":
                announcement.chmod(0o640)
            case "open folder":
                announcement.parent.chmod(0o755)
            case "damaged":
                announcement.write_text("[1, 2")
            case "no token":
                announce(state, announcement.stem, None)
            case "link":
                announcement.symlink_to(announcement.rename(state / "elsewhere"))
        assert not await accepted(server)


async def test_a_token_that_was_replaced_is_found_again(state: Path) -> None:
    async with ScriptedServer(ScriptedWorkflows(token="first")) as server, OrcsClient(server.address) as client:
        announce(state, f"127.0.0.1_{server.port}", "first")
        await client.get_workflow("w")
        server.workflows.token = "second"
        announce(state, f"127.0.0.1_{server.port}", "second")
        await client.get_workflow("w")
        server.workflows.token = "third"
        announce(state, f"127.0.0.1_{server.port}", "third")
        assert len([item async for item in client.watch("w")]) == 5


async def test_no_token_travels_unencrypted_to_another_machine_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for target in ("192.0.2.1:1", "orcs.example:1", "http://orcs.example:1"):
        async with OrcsClient(target, token="secret", timeout=0.1) as client:
            with pytest.raises(SettingsError, match="unencrypted"):
                await client.get_workflow("w")
            with pytest.raises(SettingsError, match="unencrypted"):
                await anext(client.watch("w"))
    monkeypatch.setenv("ORCS_ALLOW_INSECURE_TOKEN", "1")
    async with ScriptedServer(ScriptedWorkflows(token="secret")) as server:
        assert await accepted(server, f"0.0.0.0:{server.port}", token="secret")


@pytest.mark.parametrize("content", ["", "   \n", "zwei worte", "größe", "x" * 600])
async def test_a_file_without_a_proper_token_is_an_error_that_names_it(state: Path, content: str) -> None:
    file = state / "bad"
    file.write_text(content)
    with pytest.raises(SettingsError, match="bad"):
        OrcsClient("127.0.0.1:1", token_file=file)._connection.metadata()
    with pytest.raises(SettingsError, match="missing"):
        OrcsClient("127.0.0.1:1", token_file=state / "missing")._connection.metadata()


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with ScriptedServer(ScriptedWorkflows()) as server:
        assert await accepted(server)


async def test_tls_is_checked_against_the_given_root_certificates(state: Path) -> None:
    key, certificate = self_signed("localhost")
    file = state / "roots.pem"
    file.write_bytes(certificate)
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    async with ScriptedServer(ScriptedWorkflows(token="secret"), credentials) as server:
        target = f"localhost:{server.port}"
        assert await accepted(server, target, tls_root_certificates=file, token="secret")
        assert await accepted(server, f"https://{target}", tls_root_certificates=certificate, token="secret")
        _, other = self_signed("localhost")
        with pytest.raises(Unavailable, match="ORCS_TLS_ROOT_CERTIFICATES"):
            await accepted(server, target, tls_root_certificates=other, token="secret")
        with pytest.raises(Unavailable, match="certificate for another name"):
            await accepted(server, server.address, tls_root_certificates=certificate, token="secret")
        with pytest.raises(Unavailable, match="if it wants TLS, write https://"):
            await accepted(server, server.address, token="secret")
    async with ScriptedServer(ScriptedWorkflows()) as server:
        with pytest.raises(Unavailable, match="answers without TLS"):
            await accepted(server, f"https://{server.address}", token="secret")
    file.write_text("not PEM")
    with pytest.raises(SettingsError, match="PEM"):
        OrcsClient(target, tls_root_certificates=file)
