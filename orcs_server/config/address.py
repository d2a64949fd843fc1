"""HOST:PORT: read, checked and written in one way."""

from __future__ import annotations

import ipaddress
import re

from msgspec import Struct

_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
_PORT = re.compile(r"[0-9]{1,5}")
_LAST_PORT = 65_535


class Address(Struct, frozen=True):
    """Where to listen. `host` is without brackets; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it. Names other than `localhost` count as reachable by others."""
        if self.host.lower() == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback


def parse_address(text: str) -> Address:
    """Read `HOST:PORT` or `[IPv6]:PORT`. Raises `ValueError` with what to write instead."""
    shown = ascii(text[:100])
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{shown} has no port: write HOST:PORT, as in 127.0.0.1:50750")
    if not _PORT.fullmatch(port) or int(port) > _LAST_PORT:
        raise ValueError(f"{shown} has a bad port: write a number from 0 to {_LAST_PORT} after the last colon")
    if not host:
        raise ValueError(
            f"{shown} has no host: write 127.0.0.1:{port}, or 0.0.0.0:{port} for every address of the machine"
        )
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port))
        except ValueError:
            raise ValueError(f"{shown} holds no IPv6 address in its brackets: write it as in [::1]:{port}") from None
    if ":" in host:
        raise ValueError(f"{shown} is ambiguous: put an IPv6 address into brackets, as in [::1]:50750")
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return Address(str(ipaddress.IPv4Address(host)), int(port))
        except ValueError:
            raise ValueError(f"{shown} holds no IPv4 address: write four numbers, as in 127.0.0.1:{port}") from None
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(f"{shown} holds no host name: write a name or an address, as in 127.0.0.1:{port}")
    return Address(host.lower(), int(port))
