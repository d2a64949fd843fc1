"""Certificates and keys that do not work: which file it is, and what to do, before anything listens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization

from orcs_server.app import Server
from orcs_server.errors import StartupError
from orcs_server.rpc import certificates
from orcs_server.rpc.certificates import server_credentials
from tests.client.certificates import self_signed
from tests.rpc.servers import settings_in

KEY, CERTIFICATE = self_signed("localhost")
OTHER_KEY, _ = self_signed("localhost")
LOCKED_KEY = serialization.load_pem_private_key(KEY, None).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
)


def cut(pem: bytes) -> bytes:
    lines = pem.splitlines(keepends=True)
    return b"".join([lines[0], lines[1][:20], b"\n", lines[-1]])


Files = Callable[[bytes, bytes], tuple[Path, Path]]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    def write(certificate: bytes, key: bytes) -> tuple[Path, Path]:
        paths = tmp_path / "c.pem", tmp_path / "k.pem"
        for path, content in zip(paths, (certificate, key), strict=True):
            path.write_bytes(content)
        return paths

    return write


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        (KEY, CERTIFICATE, "c.pem holds a private key and .*k.pem a certificate: exchange"),
        (KEY, KEY, "c.pem holds no certificate"),
        (b"nothing", KEY, "c.pem holds no certificate"),
        (CERTIFICATE, CERTIFICATE, "k.pem holds no private key"),
        (CERTIFICATE, LOCKED_KEY, "k.pem asks for a passphrase"),
        (CERTIFICATE, OTHER_KEY, "k.pem does not belong to the certificate in .*c.pem"),
        (cut(CERTIFICATE), KEY, "c.pem is damaged"),
        (CERTIFICATE, cut(KEY), "private key in .*k.pem cannot be used"),
    ],
)
def test_the_file_that_is_wrong_is_named(files: Files, certificate: bytes, key: bytes, words: str) -> None:
    with pytest.raises(StartupError, match=words):
        server_credentials(*files(certificate, key))


def test_a_certificate_with_its_key_may_lie_in_one_file(files: Files) -> None:
    both, _ = files(CERTIFICATE + KEY, KEY)
    assert server_credentials(both, both) is not None


async def test_a_server_with_exchanged_files_does_not_blame_the_port(files: Files, tmp_path: Path) -> None:
    certificate, key = files(CERTIFICATE, KEY)
    settings = settings_in(tmp_path, tls_certificate=str(key), tls_key=str(certificate))
    with pytest.raises(StartupError, match="exchange --tls-certificate and --tls-key"):
        await Server(settings, {"XDG_STATE_HOME": str(tmp_path)}).start()


async def test_a_certificate_is_renewed_without_a_restart_and_a_broken_one_leaves_the_old_in_use(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(certificates, "LOOK_EVERY_S", 0.0)
    caplog.set_level(logging.INFO, logger="orcs.rpc")
    paths = files(CERTIFICATE, KEY)
    settings = settings_in(tmp_path, tls_certificate=str(paths[0]), tls_key=str(paths[1]))
    new_key, new_certificate = self_signed("localhost")
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server:
        port = server.address.port
        old = _channel(port, CERTIFICATE)
        await _call(old)
        # Half replaced, the key does not fit: the old ones serve on.
        paths[0].write_bytes(new_certificate)
        for _ in range(2):
            assert await _reached(port, CERTIFICATE)
        assert not await _reached(port, new_certificate)
        assert caplog.text.count("the old one stays in use") == 1
        assert "does not belong to the certificate" in caplog.text
        paths[1].write_bytes(new_key)
        assert await _reached(port, new_certificate)
        assert not await _reached(port, CERTIFICATE)
        assert "was read again" in caplog.text
        # Connections that stand go on.
        await _call(old)
        paths[1].unlink()
        assert await _reached(port, new_certificate)
        await old.close()


async def _reached(port: int, root: bytes) -> bool:
    """Return whether a new connection to the server finds this certificate there."""
    channel = _channel(port, root)
    try:
        await _call(channel)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    finally:
        await channel.close()
    return True


def _channel(port: int, root: bytes) -> grpc.aio.Channel:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", "localhost")]
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(root), options)


async def _call(channel: grpc.aio.Channel) -> None:
    check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
    await check(b"", timeout=20)


def test_what_is_read_again_is_what_has_changed_and_works(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LOOK_EVERY_S", 0.0)
    paths = files(CERTIFICATE, KEY)
    renewing = certificates._Renewing(*paths)
    assert renewing() is None
    new_key, new_certificate = self_signed("localhost")
    paths[0].write_bytes(new_certificate)
    assert renewing() is None
    paths[1].write_bytes(new_key)
    assert renewing() is not None
    assert renewing() is None
    paths[0].unlink()
    assert renewing() is None
    monkeypatch.setattr(certificates, "LOOK_EVERY_S", 60.0)
    paths[0].write_bytes(new_certificate)
    assert renewing() is None
