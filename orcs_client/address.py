"""Where the server is, and whether the way there may carry a token."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orcs_client.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TARGET = "127.0.0.1:50750"

_TARGET = re.compile(
    r"(?P<scheme>https?://)?(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})/?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address. `tls` says that the connection is encrypted, checked against `root_certificates` (PEM) or,
    where that is None, against the public authorities that grpcio brings along.
    """

    host: str
    port: int
    tls: bool
    root_certificates: bytes | None

    @property
    def target(self) -> str:
        """HOST:PORT, as gRPC and people read it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether what is sent there never leaves this machine."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def find_address(
    target: str | None, root_certificates: str | Path | bytes | None, environ: Mapping[str, str]
) -> Address:
    """Return the address that `target` names, else ORCS_SERVER, else the default.

    Root certificates, given or named by ORCS_TLS_ROOT_CERTIFICATES (a PEM file), or `https://` before the address mean TLS.
    Raises `SettingsError` for an address that is none and for certificates that cannot be read.
    """
    text = (target or environ.get("ORCS_SERVER") or DEFAULT_TARGET).strip()
    match = _TARGET.fullmatch(text)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise SettingsError(
            f"{text[:200]!r} is not the address of a server: write HOST:PORT, for instance {DEFAULT_TARGET}, or https://HOST:PORT"
        )
    certificates = root_certificates or environ.get("ORCS_TLS_ROOT_CERTIFICATES") or None
    if match["scheme"] == "http://":
        if root_certificates:
            raise SettingsError(
                f"{text[:200]!r} says not to encrypt, so there is nothing to check with root certificates"
            )
        certificates = None
    if isinstance(certificates, str | Path):
        certificates = _read_certificates(Path(certificates))
    tls = match["scheme"] == "https://" or certificates is not None
    return Address(match["v6"] or match["host"], int(match["port"]), tls, certificates)


def _read_certificates(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"the root certificates {path} cannot be read: {error.strerror}") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise SettingsError(f"{path} holds no certificate: it must be a PEM file")
    return content
