"""Certificates and keys that do not work: which file it is, and what to do, before anything listens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from orcs_server.app import Server
from orcs_server.errors import StartupError
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
